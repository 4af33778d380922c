//! How long a row takes from the client that inserts it to a replica of the relay, and to one of the master.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::time::MissedTickBehavior;

use crate::support::raw_client::{Dumped, RawClient};
use crate::support::servers::{REPL_PASSWORD, REPL_USER, Server};

/// In front of the number of a row.
const MARK: &[u8] = b"row-";
/// Between two rows: 400 a second.
const ROW_EVERY: Duration = Duration::from_micros(2500);

/// When each row was sent or received, by number.
type Times = Arc<Mutex<Vec<Option<Instant>>>>;

/// A writer, and a replica of the relay and of the master.
pub struct LagMeter {
    stop: Arc<AtomicBool>,
    sent: Times,
    by_relay: Times,
    by_master: Times,
    readers: Vec<JoinHandle<()>>,
    writer: tokio::task::JoinHandle<()>,
}

/// Of the lags in a time, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Lags {
    pub p50: f64,
    pub p99: f64,
}

impl LagMeter {
    /// The table is created; rows are written from now on.
    pub async fn start(master: &Server, relay_port: u16) -> LagMeter {
        master
            .sql("CREATE DATABASE test; CREATE TABLE test.t (id INT PRIMARY KEY, note VARCHAR(40))")
            .await;
        let stop = Arc::new(AtomicBool::new(false));
        let [sent, by_relay, by_master] = [(); 3].map(|()| Times::default());
        let readers = vec![
            read(relay_port, 21, "relay-bin.000001", &by_relay, &stop),
            read(master.port, 22, "mysql-bin.000001", &by_master, &stop),
        ];
        let (mut conn, times, stopped) = (master.connect().await, sent.clone(), stop.clone());
        let writer = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(ROW_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 0.. {
                ticks.tick().await;
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                note(&times, number);
                let insert = format!("INSERT INTO test.t VALUES ({number}, 'row-{number:08}')");
                conn.query_drop(insert).await.expect("a row is inserted");
            }
        });
        LagMeter {
            stop,
            sent,
            by_relay,
            by_master,
            readers,
            writer,
        }
    }

    /// The lags of the rows that are sent in this time: at the relay's replica, and at the master's.
    pub async fn measure(&self, time: Duration) -> [Lags; 2] {
        let first = self.sent.lock().expect("no panic").len();
        tokio::time::sleep(time).await;
        let end = self.sent.lock().expect("no panic").len();
        // What was sent last must arrive.
        tokio::time::sleep(Duration::from_secs(2)).await;
        [&self.by_relay, &self.by_master].map(|times| self.lags(times, first, end))
    }

    fn lags(&self, received: &Times, first: usize, end: usize) -> Lags {
        let (sent, received) = (
            self.sent.lock().expect("no panic"),
            received.lock().expect("no panic"),
        );
        let mut lags: Vec<f64> = (first..end)
            .map(|number| {
                let at = received.get(number).copied().flatten();
                let at = at.unwrap_or_else(Instant::now); // Not there yet.
                let lag = at.saturating_duration_since(sent[number].expect("it was sent"));
                lag.as_secs_f64() * 1e3
            })
            .collect();
        lags.sort_by(f64::total_cmp);
        let at = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize];
        Lags {
            p50: at(0.5),
            p99: at(0.99),
        }
    }

    pub async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await.expect("the writer");
        for reader in self.readers {
            reader.join().expect("a replica");
        }
    }
}

fn note(times: &Times, number: usize) {
    let mut times = times.lock().expect("no panic");
    if times.len() <= number {
        times.resize(number + 1, None);
    }
    times[number] = Some(Instant::now());
}

fn read(
    port: u16,
    server_id: u32,
    file: &'static str,
    times: &Times,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (times, stop) = (times.clone(), stop.clone());
    let mut client = RawClient::connect("127.0.0.1", port);
    client.login(REPL_USER, REPL_PASSWORD).expect("a login");
    let uuid = format!("11111111-2222-3333-4444-{server_id:012}");
    client
        .prepare_dump(server_id, Some(&uuid))
        .expect("a replica");
    client.dump(server_id, file, 4, 0);
    client.set_read_timeout(Duration::from_millis(500));
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            match client.next_event() {
                Dumped::Event(event) => {
                    if let Some(number) = number_in(&event) {
                        note(&times, number);
                    }
                }
                Dumped::Silence => {}
                other => panic!("the dump ended: {other:?}"),
            }
        }
    })
}

/// The number after the mark.
fn number_in(event: &[u8]) -> Option<usize> {
    let at = event.windows(MARK.len()).position(|bytes| bytes == MARK)?;
    let digits = event.get(at + MARK.len()..at + MARK.len() + 8)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
