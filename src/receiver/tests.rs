//! Receivers against scripted sources on real sockets, with a real relay log behind them.

mod answers;
pub(crate) mod binlog;
mod changed_filter;
mod checks;
mod clock;
mod damage;
mod failures;
mod following;
mod histories;
mod joining;
mod moved_address;
mod orders;
mod reconnecting;
mod returned_server;
mod semi_sync;
pub(crate) mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::*;
use crate::binlog::event::{CHECKSUM_LEN, EventHeader, MAGIC};
use crate::binlog::format_description::Checksum;
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::mysql_gtid::MySqlGtidEvent;
use crate::binlog::{EventType, HEADER_LEN};
use crate::config::SourceConfig;
use crate::config::{FilterConfig, SyncPolicy};
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::identity::Executed;
use crate::identity::Identity;
use crate::log_thread::{LogThread, SourceCounters};
use crate::position::SourcePosition;
use crate::relay_log::{LogDir, LogOptions, ReplicaAcknowledgements, SourceProgress};
use crate::transaction::test_events as make;

const OWN: u32 = 900;

/// The part of a relay from its receivers to its log.
struct Relay {
    dir: tempfile::TempDir,
    context: ReceiverContext,
    counters: Vec<Arc<SourceCounters>>,
    statuses: Vec<Arc<SourceStatus>>,
    stop: watch::Sender<bool>,
    receivers: JoinSet<Result<(), ReceiverError>>,
    orders: Vec<OrderSender>,
    thread: std::thread::JoinHandle<()>,
}

/// The progress of a source before anything was received from it.
fn at_start(server_id: u32) -> SourceProgress {
    SourceProgress {
        position: SourcePosition::new("bin.000001", 4),
        server_id,
        ..SourceProgress::default()
    }
}

impl Relay {
    /// With an empty log, and sources at `progress`.
    fn start(flavor: Flavor, configs: Vec<SourceConfig>, progress: Vec<SourceProgress>) -> Self {
        Self::behind(Executed::empty(flavor), configs, progress)
    }

    fn behind(before: Executed, configs: Vec<SourceConfig>, progress: Vec<SourceProgress>) -> Self {
        Self::with(
            before,
            configs,
            progress,
            SyncPolicy::Commit,
            Arc::default(),
        )
    }

    fn with(
        before: Executed,
        configs: Vec<SourceConfig>,
        progress: Vec<SourceProgress>,
        sync: SyncPolicy,
        acknowledged: Arc<ReplicaAcknowledgements>,
    ) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let names = configs.iter().map(|config| &*config.name);
        let options = LogOptions {
            sync,
            ..log_options(dir.path(), names)
        };
        std::fs::create_dir_all(options.log_dir.spool_path()).unwrap();
        let format = match before.flavor() {
            Flavor::MySql => make::mysql_format(Checksum::Crc32),
            Flavor::MariaDb => make::mariadb_format(Checksum::Crc32),
        };
        let spool = options.log_dir.spool_path();
        let writer = LogThread::create(options, &format, before, progress).unwrap();
        let counters: Vec<_> = configs.iter().map(|_| Arc::default()).collect();
        let statuses: Vec<_> = configs.iter().map(|_| Arc::default()).collect();
        let (batches, queue) = mpsc::channel(8);
        let context = ReceiverContext {
            log: writer.log().clone(),
            queue: Queue {
                batches,
                memory: Arc::new(Semaphore::new(1024)),
                memory_kib: 1024,
            },
            identities: Arc::default(),
            paths: writer.paths().clone(),
            read_back: Arc::new(ReadBack::new(Vec::new())),
            acknowledged,
        };
        let runtime = tokio::runtime::Handle::current();
        let known = counters.clone();
        let thread = std::thread::spawn(move || writer.run(queue, &known, &runtime));
        let stop = watch::Sender::new(false);
        let mut receivers = JoinSet::new();
        let mut orders = Vec::new();
        for (number, config) in configs.into_iter().enumerate() {
            let (counters, status) = (&counters[number], &statuses[number]);
            let order = OrderSender::new(config.clone(), Activity::Follow);
            receivers.spawn(run(
                receiver_options(number as u16, config, &spool),
                context.clone(),
                (Arc::clone(counters), Arc::clone(status)),
                mpsc::channel(1).1,
                order.subscribe(),
                stop.subscribe(),
            ));
            orders.push(order);
        }
        Self {
            dir,
            context,
            counters,
            statuses,
            stop,
            receivers,
            orders,
            thread,
        }
    }

    /// Waits until the condition holds. The limit only ends tests that would never end.
    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .is_err()
        {
            let errors: Vec<_> = self
                .statuses
                .iter()
                .map(|status| status.last_error())
                .collect();
            panic!("never: {what}; the newest errors: {errors:?}");
        }
    }

    async fn until_executed(&self, identities: &[Identity]) {
        self.until("all is in the log", |relay| {
            let executed = relay.context.log.state().executed.clone();
            let mut copy = executed.clone();
            identities.iter().all(|identity| !copy.record(identity))
        })
        .await;
    }

    async fn until_failed(&self, source: usize) -> LastError {
        self.until("it failed", |relay| {
            relay.state(source) == SourceState::Failed
        })
        .await;
        self.statuses[source].last_error().unwrap()
    }

    fn state(&self, source: usize) -> SourceState {
        self.statuses[source].state()
    }

    fn progress(&self, source: usize) -> SourcePosition {
        let state = self.context.log.state();
        state.sources[source].position.clone()
    }

    fn kept(&self, source: usize) -> u64 {
        self.counters[source].kept.load(Ordering::Relaxed)
    }

    fn duplicates(&self, source: usize) -> u64 {
        self.counters[source].duplicate.load(Ordering::Relaxed)
    }

    /// Stops it; the transactions in its log, in order.
    async fn stop(mut self) -> Vec<Identity> {
        self.stop.send_replace(true);
        while let Some(ended) = self.receivers.join_next().await {
            let _ = ended.unwrap();
        }
        drop(self.context);
        let thread = self.thread;
        tokio::task::spawn_blocking(|| thread.join().unwrap())
            .await
            .unwrap();
        logged(self.dir.path())
    }
}

fn log_options<'a>(dir: &std::path::Path, names: impl Iterator<Item = &'a str>) -> LogOptions {
    LogOptions {
        log_dir: LogDir {
            dir: dir.to_owned(),
            basename: "relay-bin".to_owned(),
        },
        server_id: OWN,
        max_size: 1 << 30,
        sync: SyncPolicy::Commit,
        source_names: names.map(Arc::from).collect(),
        retention: crate::relay_log::RetentionOptions::default(),
        reserve: 0,
        hand_over_min: Duration::ZERO,
        stopping: Arc::new(AtomicBool::new(false)),
    }
}

pub(crate) fn receiver_options(
    number: u16,
    config: SourceConfig,
    spool: &std::path::Path,
) -> ReceiverOptions {
    ReceiverOptions {
        report: ("relay.example".to_owned(), 3306),
        number,
        config,
        server_id: OWN,
        server_uuid: Uuid([9; 16]),
        spill_dir: spool.to_owned(),
        spill_size: 1 << 20,
        max_transaction_size: 4 << 30,
    }
}

/// The statements in all log files, in order, except for BEGIN. The newest file may be written meanwhile.
fn logged_statements(dir: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for number in 1.. {
        let Ok(bytes) = std::fs::read(dir.join(format!("relay-bin.{number:06}"))) else {
            break;
        };
        let mut left = bytes.get(MAGIC.len()..).unwrap_or_default();
        while let Ok(header) = EventHeader::parse(left)
            && let Some((event, rest)) = left.split_at_checked(header.event_size as usize)
        {
            left = rest;
            let text = String::from_utf8_lossy(&event[..event.len() - CHECKSUM_LEN]).into_owned();
            if event[4] == EventType::QUERY.0 && !text.ends_with("BEGIN") {
                let statement = text.rsplit('\0').next().unwrap_or_default();
                found.push(statement.to_owned());
            }
        }
    }
    found
}

/// The openers in all log files.
fn logged(dir: &std::path::Path) -> Vec<Identity> {
    let mut found = Vec::new();
    for number in 1.. {
        let Ok(bytes) = std::fs::read(dir.join(format!("relay-bin.{number:06}"))) else {
            break;
        };
        for event in make::split(&bytes[MAGIC.len()..]) {
            assert!(event.len() > HEADER_LEN);
            match EventType(event[4]) {
                EventType::MARIADB_GTID => {
                    let opener = MariaDbGtidEvent::parse(&event, true).unwrap();
                    found.push(Identity::MariaDb(opener.gtid));
                }
                kind if kind.is_gtid() => {
                    let opener = MySqlGtidEvent::parse(&event, true).unwrap();
                    found.push(Identity::MySql(opener.gtid.unwrap()));
                }
                _ => {}
            }
        }
    }
    found
}

fn facts(server_id: u32) -> SourceFacts {
    SourceFacts {
        flavor: Flavor::MySql,
        version: "9.7.4".to_owned(),
        server_id,
        server_uuid: None,
        has_gtids: true,
        tls: "none".to_owned(),
        folds_case: false,
        writes_to_domain: None,
    }
}

#[test]
fn rules_that_never_match_on_a_mariadb_source_are_named() {
    let config = FilterConfig {
        replicate_do_db: vec!["Shop".to_owned(), "blog".to_owned()],
        replicate_rewrite_db: vec![("Ärger".to_owned(), "X".to_owned())],
        replicate_do_table: vec!["a.T".to_owned()],
        ..FilterConfig::default()
    };
    let folding = SourceFacts {
        flavor: Flavor::MariaDb,
        folds_case: true,
        ..facts(1)
    };
    let warning = folding.useless_rules(&config).unwrap();
    assert!(
        warning.contains(r#"["Shop", "Ärger"] never match"#),
        "{warning}"
    );
    assert_eq!(folding.useless_rules(&FilterConfig::default()), None);
    for (flavor, folds_case) in [(Flavor::MariaDb, false), (Flavor::MySql, true)] {
        let other = SourceFacts {
            flavor,
            folds_case,
            ..facts(1)
        };
        assert_eq!(other.useless_rules(&config), None);
    }
}

#[test]
fn equal_server_ids_are_refused() {
    let identities = Identities::default();
    identities.note(0, &facts(1), 900).unwrap();
    identities.note(0, &facts(1), 900).unwrap();
    identities.note(1, &facts(2), 900).unwrap();
    assert!(identities.note(2, &facts(1), 900).unwrap_err().is_failure());
    let own = identities.note(2, &facts(900), 900).unwrap_err();
    assert!(own.is_failure());
    identities.forget(0);
    identities.note(2, &facts(1), 900).unwrap();
}

/// Two dumps of one relay from one server: it would end the older one.
#[test]
fn server_whose_server_id_was_changed_is_the_same() {
    let identities = Identities::default();
    let server = |server_id| SourceFacts {
        server_uuid: Some("5e2e1dd6-0000-0000-0000-000000000001".to_owned()),
        ..facts(server_id)
    };
    identities.note(0, &server(18), 900).unwrap();
    assert!(identities.note(1, &server(118), 900).is_err());
    identities.note(0, &server(118), 900).unwrap();
}

#[tokio::test]
async fn source_is_displaced_until_it_is_forgotten() {
    let identities = Identities::default();
    identities.note(0, &facts(2), 900).unwrap();
    assert_eq!(identities.holder(&facts(2)), Some(0));
    identities.displace(0);
    identities.note(1, &facts(2), 900).unwrap();
    identities.displaced(0).await;
    identities.forget(0);
    let limit = Duration::from_millis(20);
    let waited = tokio::time::timeout(limit, identities.displaced(0)).await;
    assert!(waited.is_err(), "it may connect again");
    assert_eq!(identities.holder(&facts(2)), Some(1));
}
