//! The sources of a running relay, against scripted sources on real sockets, with a real relay log behind them.

mod decisions;
mod filters;
mod late;

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::binlog::format_description::Checksum;
use crate::config::{AlertConfig, SyncPolicy};
use crate::flavor::Flavor;
use crate::identity::Executed;
use crate::log_thread::LogThread;
use crate::position::SourcePosition;
use crate::receiver::tests::binlog::Binlog;
use crate::receiver::tests::source::FakeSource;
use crate::receiver::{Queue, ReadBack, SourceState};
use crate::relay::supervisor::Supervisor;
use crate::relay_log::{
    LogDir, LogOptions, RelayLog, ReplicaAcknowledgements, ReplicaWait, RetentionOptions,
    SourceProgress,
};
use crate::sender::{ChangedSources, SourceChange};
use crate::status::SourceList;
use crate::transaction::test_events as make;

/// The part of a relay from its sources to its log.
struct Relay {
    _dir: tempfile::TempDir,
    channels: Channels,
    log: Arc<RelayLog>,
    /// Whether the log thread gets what is sent to it.
    gate: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    stages: JoinHandle<()>,
    thread: std::thread::JoinHandle<()>,
}

/// What the stages share, without sources.
fn parts(acknowledged: Arc<ReplicaAcknowledgements>) -> Arc<Parts> {
    Arc::new(Parts {
        server_id: 900,
        server_uuid: Uuid([9; 16]),
        started: Instant::now(),
        sources: SourceList::default(),
        conflicts: None,
        acknowledged,
        alert: Mutex::new(AlertConfig {
            replica_missing_after: Duration::ZERO,
            replica_lag: Duration::ZERO,
            source_silent: Duration::ZERO,
        }),
    })
}

fn template(spill_dir: PathBuf) -> ReceiverTemplate {
    ReceiverTemplate {
        server_id: 900,
        server_uuid: Uuid([9; 16]),
        report: ("relay.example".to_owned(), 3306),
        spill_dir,
        spill_size: 1 << 20,
        max_transaction_size: 4 << 30,
    }
}

impl Relay {
    /// With an empty log of MySQL transactions, and sources that are at the beginning of their binlogs.
    async fn start(sources: Vec<SourceConfig>) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let options = log_options(dir.path(), &sources);
        let spool = options.log_dir.spool_path();
        std::fs::create_dir_all(&spool).unwrap();
        let acknowledged = Arc::new(ReplicaAcknowledgements::new(ReplicaWait {
            replicas: 0,
            timeout: Duration::ZERO,
        }));
        let (parts, template) = (parts(acknowledged.clone()), template(spool));
        let progress = (1..).map(|server_id| SourceProgress {
            position: SourcePosition::new("bin.000001", 4),
            server_id,
            ..SourceProgress::default()
        });
        let progress = progress.take(sources.len()).collect();
        let configured = Configured {
            sources,
            filter: SharedFilter::default(),
            changes: ChannelChanges::default(),
        };
        let mut channels =
            Channels::new(dir.path().to_owned(), template, configured, parts.clone());
        let before = Executed::empty(Flavor::MySql);
        let format = make::mysql_format(Checksum::Crc32);
        let writer = LogThread::create(options, &format, before, progress).unwrap();
        let (log, paths) = (writer.log().clone(), writer.paths().clone());
        let gate = watch::Sender::new(true);
        let (batches, queue) = gated(gate.subscribe());
        let known: Vec<_> = parts
            .sources
            .now()
            .iter()
            .map(|one| one.counters.clone())
            .collect();
        let runtime = tokio::runtime::Handle::current();
        let thread = std::thread::spawn(move || writer.run(queue, &known, &runtime));
        let context = ReceiverContext {
            log: log.clone(),
            queue: Queue {
                batches,
                memory: Arc::new(Semaphore::new(1024)),
                memory_kib: 1024,
            },
            identities: Arc::default(),
            paths,
            read_back: Arc::new(ReadBack::new(Vec::new())),
            acknowledged,
        };
        let stop = watch::Sender::new(false);
        let mut supervisor = Supervisor::new(stop.subscribe());
        channels.start(context, supervisor.spawner(), stop.subscribe());
        let stages = tokio::spawn(async move {
            supervisor.wait_for_shutdown().await.unwrap();
            supervisor.drain().await.unwrap();
        });
        Self {
            _dir: dir,
            channels,
            log,
            gate,
            stop,
            stages,
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
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(waited.is_ok(), "never: {what}");
    }

    /// Waits until the source streams, and all of its binlog is in the log.
    async fn until_received(&self, name: &str, source: &FakeSource) {
        let binlog = source.state().binlog.clone();
        self.until("all is in the log", |relay| {
            let mut executed = relay.log.state().executed.clone();
            let mut all = binlog.executed().iter();
            all.all(|identity| !executed.record(identity))
                && relay.position(name) == binlog.end()
                && relay.state(name) == SourceState::Streaming
        })
        .await;
    }

    fn source(&self, name: &str) -> &SourceParts {
        &self.channels.find(name).expect("a source").parts
    }

    fn state(&self, name: &str) -> SourceState {
        self.source(name).status.state()
    }

    /// Up to where the source was received.
    fn position(&self, name: &str) -> SourcePosition {
        let number = usize::from(self.source(name).number);
        let state = self.log.state();
        let progress = state.sources.get(number).cloned();
        progress.unwrap_or_default().position
    }

    async fn ask(&mut self, change: SourceChange) -> ChangedSources {
        self.channels.apply(change).await.unwrap()
    }

    /// Why it is refused.
    async fn refused(&mut self, change: SourceChange) -> String {
        match self.channels.apply(change).await {
            Err(SourceChangeError::Refused(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        drop((self.channels, self.gate));
        self.stages.await.unwrap();
        let thread = self.thread;
        tokio::task::spawn_blocking(|| thread.join().unwrap())
            .await
            .unwrap();
    }
}

fn log_options(dir: &std::path::Path, sources: &[SourceConfig]) -> LogOptions {
    LogOptions {
        log_dir: LogDir {
            dir: dir.to_owned(),
            basename: "relay-bin".to_owned(),
        },
        server_id: 900,
        max_size: 1 << 30,
        sync: SyncPolicy::Commit,
        source_names: sources.iter().map(|one| Arc::from(&*one.name)).collect(),
        retention: RetentionOptions::default(),
        reserve: 0,
        hand_over_min: Duration::ZERO,
        stopping: Arc::new(AtomicBool::new(false)),
    }
}

/// A queue whose batches wait while `open` is false.
fn gated(mut open: watch::Receiver<bool>) -> (mpsc::Sender<Queued>, mpsc::Receiver<Queued>) {
    let (batches, mut waiting) = mpsc::channel(8);
    let (passed, queue) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Some(queued) = waiting.recv().await {
            let _ = open.wait_for(|open| *open).await;
            if passed.send(queued).await.is_err() {
                return;
            }
        }
    });
    (batches, queue)
}

fn stop(name: &str) -> SourceChange {
    SourceChange::Stop(vec![name.to_owned()])
}

fn start(name: &str) -> SourceChange {
    SourceChange::Start(vec![name.to_owned()])
}
