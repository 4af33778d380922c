//! Many clients of a relay at once: how much memory each of them takes there, and whether replicas can log in while
//! others only knock.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::raw_client::{Dumped, RawClient, connect_from};
use super::relay::{Relay, RelayOptions, SourceOptions};
use super::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, UNPRIVILEGED_USER};

/// An encoded GTID set nearly as large as a packet: every second transaction of one server.
const LARGEST_SET_LEN: usize = 15_600_000;
/// From where clients knock, and from where replicas log in.
const KNOCKING: [u8; 4] = [127, 0, 0, 3];
const REPLICAS: [u8; 4] = [127, 0, 0, 4];
/// Threads that knock.
const KNOCKERS: u32 = 6;

pub struct ManyClients {
    pub master: Server,
    pub relay: Relay,
}

/// What a dump with a large set of GTIDs takes.
#[derive(Clone, Copy, Debug)]
pub struct SetFigures {
    pub set_kib: u64,
    /// At most, while it lasted.
    pub peak_kib: u64,
    /// Once the dump has reached the end of the log.
    pub at_end_kib: u64,
    /// Once it has ended.
    pub after_kib: u64,
}

/// What came of logins while others knocked.
#[derive(Clone, Copy, Debug)]
pub struct KnockFigures {
    pub attempts_per_second: u64,
    pub logins: u32,
    pub succeeded: u32,
    pub slowest: Duration,
}

impl ManyClients {
    /// MySQL, whose replicas send sets of GTIDs. `program` is the relay's, if it is not the tests'. `limits` are the lines
    /// of this section, and those of sections after it.
    pub async fn start(program: Option<&std::path::Path>, limits: &str) -> ManyClients {
        let master = Server::start(Kind::MySql, ServerOptions::new(86)).await;
        let mut options = RelayOptions::new(vec![SourceOptions::of("m1", &master)]);
        if let Some(program) = program {
            options.program = program.into();
        }
        options.replicate_do_db.clear();
        options.log_extra.push(format!("[limits]\n{limits}"));
        let relay = Relay::start(options);
        relay.wait_streaming().await;
        master
            .sql("CREATE DATABASE test; CREATE TABLE test.t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)")
            .await;
        ManyClients { master, relay }
    }

    /// What an allocator keeps of an earlier measurement, and what the first logins need, is not what each client needs.
    async fn start_again(&mut self) {
        self.relay.terminate();
        self.relay.restart();
        self.relay.wait_streaming().await;
        drop((0..20).map(|_| self.idle()).collect::<Vec<_>>());
    }

    fn idle(&self) -> RawClient {
        let mut client = RawClient::connect("127.0.0.1", self.relay.port);
        client
            .login(UNPRIVILEGED_USER, REPL_PASSWORD)
            .expect("a login");
        client
    }

    /// Memory for each of so many clients that have logged in and do nothing, in bytes.
    pub async fn idle_bytes(&mut self, count: u64) -> u64 {
        self.start_again().await;
        let before = self.relay.rss_kib();
        let clients: Vec<RawClient> = (0..count).map(|_| self.idle()).collect();
        let after = self.relay.rss_kib();
        drop(clients);
        after.saturating_sub(before) * 1024 / count
    }

    /// Memory for each of so many replicas that receive `rows` rows as they are written, in bytes, at most.
    pub async fn streaming_bytes(&mut self, count: u32, rows: u32) -> u64 {
        self.start_again().await;
        let before = self.relay.rss_kib();
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let readers: Vec<JoinHandle<()>> = (0..count)
            .map(|number| self.stream(1000 + number, &stop, &received))
            .collect();
        self.reset_peak();
        let events = || received.load(Ordering::Relaxed);
        for number in 0..rows {
            let insert = format!("INSERT INTO test.t (a) VALUES ({number})");
            self.master.sql(&insert).await;
        }
        let mut last = 0;
        while events() > last {
            last = events();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let peak = self.peak_kib();
        // Each transaction has five events.
        let wanted = u64::from(count) * u64::from(rows) * 5;
        assert!(
            last >= wanted,
            "{last} events were received, {wanted} were to come"
        );
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().expect("a replica");
        }
        peak.saturating_sub(before) * 1024 / u64::from(count)
    }

    fn stream(
        &self,
        server_id: u32,
        stop: &Arc<AtomicBool>,
        received: &Arc<AtomicU64>,
    ) -> JoinHandle<()> {
        let mut client = self.replica(server_id);
        client.set_read_timeout(Duration::from_millis(500));
        let (stop, received) = (Arc::clone(stop), Arc::clone(received));
        let reading = move || {
            while !stop.load(Ordering::Relaxed) {
                match client.next_event() {
                    Dumped::Event(_) => {
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                    Dumped::Silence => {}
                    other => panic!("the dump ended: {other:?}"),
                }
            }
        };
        let thread = thread::Builder::new().stack_size(128 * 1024);
        thread.spawn(reading).expect("a thread")
    }

    fn replica(&self, server_id: u32) -> RawClient {
        let mut client = RawClient::connect("127.0.0.1", self.relay.port);
        begin_dump(&mut client, server_id);
        client
    }

    /// So many replicas that the relay has sent the whole log, which is short: they do not read it.
    pub async fn replicas(&self, count: u32) -> Vec<RawClient> {
        let replicas = (0..count).map(|number| self.replica(1000 + number));
        let replicas: Vec<RawClient> = replicas.collect();
        let are_streaming = |status: &serde_json::Value| {
            let replicas = status["replicas"].as_array().expect("replicas");
            let streaming = replicas.iter().filter(|one| one["state"] == "streaming");
            streaming.count() == count as usize
        };
        let relay = &self.relay;
        relay
            .wait_status("all replicas are streaming", 30, are_streaming)
            .await;
        replicas
    }

    /// A dump with the largest set of GTIDs.
    pub async fn largest_set(&mut self) -> SetFigures {
        self.start_again().await;
        let set = largest_set();
        let before = self.relay.rss_kib();
        self.reset_peak();
        let mut client = RawClient::connect("127.0.0.1", self.relay.port);
        client.login(REPL_USER, REPL_PASSWORD).expect("a login");
        client
            .prepare_dump(999, Some(&uuid_of(999)))
            .expect("a replica");
        client.dump_gtid_set(999, 0, &set);
        client.set_read_timeout(Duration::from_secs(2));
        loop {
            match client.next_event() {
                Dumped::Event(_) => {}
                Dumped::Silence => break,
                other => panic!("the dump ended: {other:?}"),
            }
        }
        let peak = self.peak_kib();
        let at_end = self.relay.rss_kib();
        drop(client);
        thread::sleep(Duration::from_secs(1));
        SetFigures {
            set_kib: set.len() as u64 / 1024,
            peak_kib: peak.saturating_sub(before),
            at_end_kib: at_end.saturating_sub(before),
            after_kib: self.relay.rss_kib().saturating_sub(before),
        }
    }

    /// Clients connect and leave as fast as they can, from one address; replicas log in from another.
    pub fn knock(&self, logins: u32) -> KnockFigures {
        let stop = Arc::new(AtomicBool::new(false));
        let attempts = Arc::new(AtomicU64::new(0));
        let port = self.relay.port;
        let knockers: Vec<JoinHandle<()>> = (0..KNOCKERS)
            .map(|_| {
                let (stop, attempts) = (Arc::clone(&stop), Arc::clone(&attempts));
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if let Ok(stream) = connect_from(KNOCKING, port) {
                            // Without a state that would use up the ports.
                            let socket = socket2::SockRef::from(&stream);
                            socket.set_linger(Some(Duration::ZERO)).ok();
                        }
                        attempts.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(1));
        let begin = (Instant::now(), attempts.load(Ordering::Relaxed));
        let (mut succeeded, mut slowest) = (0, Duration::ZERO);
        for number in 0..logins {
            let began = Instant::now();
            let login = thread::spawn(move || log_in(port, 2000 + number));
            succeeded += u32::from(login.join().is_ok());
            slowest = slowest.max(began.elapsed());
        }
        let count = attempts.load(Ordering::Relaxed) - begin.1;
        let seconds = begin.0.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        for knocker in knockers {
            knocker.join().expect("a thread");
        }
        KnockFigures {
            attempts_per_second: (count as f64 / seconds) as u64,
            logins,
            succeeded,
            slowest,
        }
    }

    /// The peak of the relay's memory is counted from now on.
    fn reset_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.relay.child().id());
        fs::write(path, "5").expect("the peak is reset");
    }

    fn peak_kib(&self) -> u64 {
        self.relay.rss_peak_kib()
    }
}

/// The first event of a dump shows that the login was that of a replica.
fn log_in(port: u16, server_id: u32) {
    let mut client = RawClient::connect_from(REPLICAS, port);
    begin_dump(&mut client, server_id);
    let event = client.next_event();
    assert!(matches!(event, Dumped::Event(_)), "{event:?}");
}

/// Logs in as a replica and asks for the whole log.
fn begin_dump(client: &mut RawClient, server_id: u32) {
    client.login(REPL_USER, REPL_PASSWORD).expect("a login");
    client
        .prepare_dump(server_id, Some(&uuid_of(server_id)))
        .expect("a replica");
    client.dump(server_id, "relay-bin.000001", 4, 0);
}

fn uuid_of(server_id: u32) -> String {
    format!("11111111-2222-3333-4444-{server_id:012}")
}

/// A set of GTIDs nearly as large as a packet, encoded.
pub fn largest_set() -> Vec<u8> {
    let intervals = (LARGEST_SET_LEN - 32) as u64 / 16;
    let mut set = 1_u64.to_le_bytes().to_vec();
    set.extend_from_slice(&[7; 16]);
    set.extend_from_slice(&intervals.to_le_bytes());
    for number in 0..intervals {
        let first = 1 + number * 2;
        set.extend_from_slice(&first.to_le_bytes());
        set.extend_from_slice(&(first + 1).to_le_bytes());
    }
    set
}
