//! The restarts of the service: after SIGKILL by systemd, and by the upgrade of the package. Both are measured at the
//! replicas, to which the masters' clients write all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;

use super::Day;
use crate::support::packages::NEWER;
use crate::support::servers::Server;

/// What `binrelay help operation` says of the pause in which nothing is replicated.
const USUAL_PAUSE: Duration = Duration::from_secs(2);
/// The allowance on an idle machine, for a program that is not optimised. Where more processes wait for each processor
/// than that, everything takes so many times longer: with other tests at the same time, seen: 6.5 seconds at a load of 13.
const ALLOWED_FACTOR: f64 = 2.0;
/// A quarter of the replicas' connect retry: too long at any load.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// RestartSec= of the unit.
const RESTART_DELAY: Duration = Duration::from_secs(1);

impl Day {
    /// systemd starts the relay again, and the connections of the replicas wait in the socket that it has kept.
    pub(super) async fn kill_the_relay(&mut self) {
        let before = self.topology.relay.machine.process();
        self.restart_by("SIGKILL", RESTART_DELAY, |day| {
            let machine = &day.topology.relay.machine;
            machine.run("systemctl kill --signal=KILL binrelay");
            machine.wait_for_another(&before);
        })
        .await;
    }

    pub(super) async fn upgrade(&mut self) {
        let machine = Arc::clone(&self.topology.relay.machine);
        let (before, version) = (machine.process(), machine.version());
        let config = self.topology.relay.read_config();
        self.restart_by("the upgrade", Duration::ZERO, |_| {
            machine.install(NEWER, "--force-confold");
        })
        .await;
        assert_ne!(version, NEWER);
        assert_eq!(machine.version(), NEWER);
        assert_ne!(machine.process(), before, "the new program runs");
        machine.assert_restricted();
        assert_eq!(self.topology.relay.read_config(), config);
    }

    /// The relay restarts, and the replicas connect again, each one once.
    async fn restart_by(&mut self, what: &str, delay: Duration, restart: impl FnOnce(&Day)) {
        let watch = Watch::begin(&self.topology.replicas).await;
        // What the pause is compared with.
        self.load_on().await;
        let usual = watch.longest().await;
        let watch = Watch::begin(&self.topology.replicas).await;
        restart(self);
        let lost: Vec<usize> = self.lost.iter().map(|lost| lost + 1).collect();
        self.wait_for_dumps(&lost).await;
        self.lost = lost;
        self.topology.relay.wait_streaming().await;
        self.load_on().await;
        let longest = watch.longest().await;
        let load = load_per_processor();
        let limit = (USUAL_PAUSE + delay).mul_f64(load.max(ALLOWED_FACTOR));
        let limit = limit.min(LONGEST_PAUSE);
        eprintln!(
            "{}: {what}: the longest pauses of the replicas: {longest:?}, at most {limit:?} at a load of {load:.1}; \
             before: {usual:?}",
            self.mode
        );
        for pause in longest {
            assert!(pause <= limit, "{what}: {pause:?}, more than {limit:?}");
        }
    }
}

/// How many processes were running or waiting for each processor in the last minute.
fn load_per_processor() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").expect("the load");
    let load: f64 = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .expect("the load of the last minute");
    let processors = std::thread::available_parallelism().expect("their number");
    load / processors.get() as f64
}

/// Watches what replicas receive; what they apply may be older than the pause.
struct Watch {
    ends: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Duration>>,
}

impl Watch {
    async fn begin(replicas: &[Server]) -> Watch {
        let ends = Arc::new(AtomicBool::new(false));
        let tasks = replicas.iter().map(|replica| watch(replica, &ends));
        let tasks = join_all(tasks).await;
        Watch { ends, tasks }
    }

    /// The longest time in which each of them has received nothing.
    async fn longest(self) -> Vec<Duration> {
        self.ends.store(true, Ordering::Relaxed);
        let ended = join_all(self.tasks).await;
        ended
            .into_iter()
            .map(|longest| longest.expect("the replica answers"))
            .collect()
    }
}

async fn watch(replica: &Server, ends: &Arc<AtomicBool>) -> JoinHandle<Duration> {
    let mut conn = replica.connect().await;
    let (query, column) = match replica.kind.says_replica() {
        true => ("SHOW REPLICA STATUS", "Retrieved_Gtid_Set"),
        false => ("SHOW SLAVE STATUS", "Gtid_IO_Pos"),
    };
    let ends = Arc::clone(ends);
    tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        let mut received = (None, Instant::now());
        loop {
            let is_last = ends.load(Ordering::Relaxed);
            let row: Option<Row> = conn.query_first(query).await.expect("its status");
            let found: Option<String> = row.and_then(|row| row.get(column));
            assert!(found.is_some(), "no {column}");
            longest = longest.max(received.1.elapsed());
            if found != received.0 {
                received = (found, Instant::now());
            }
            if is_last {
                conn.disconnect().await.ok();
                return longest;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}
