//! Removing old log files while the relay runs, and recording what its replicas need.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::identity::Executed;
use crate::relay_log::RelayLog;
use crate::relay_log::purge;
use crate::relay_log::retention::space;
use crate::sender::{self, Replicas};
use crate::status::Parts;

/// How often the limits are compared with the files.
const INTERVAL: Duration = Duration::from_secs(10);
/// The same after a new file has begun.
const INTERVAL_MIN: Duration = Duration::from_millis(200);

/// What is compared.
pub(super) struct Keeper {
    parts: Arc<Parts>,
    replicas: Arc<Replicas>,
    /// The warnings about sources that were logged.
    logged: Mutex<Vec<String>>,
}

/// Compares the limits with the files until the relay stops.
pub(super) async fn run(
    keeper: Keeper,
    mut log: watch::Receiver<Option<Arc<RelayLog>>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let opened = tokio::select! {
        opened = log.wait_for(Option::is_some) => opened.ok().and_then(|log| log.clone()),
        _ = shutdown.wait_for(|stop| *stop) => None,
    };
    let Some(log) = opened else { return };
    let keeper = Arc::new(keeper);
    loop {
        let (working, on) = (keeper.clone(), log.clone());
        let step = tokio::task::spawn_blocking(move || working.step(&on)).await;
        let outcome = step.unwrap_or_else(|ended| match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Ok(()),
        });
        let failure = outcome.err();
        if log.retention().set_failure(failure.clone()) {
            tracing::warn!("{}", failure.unwrap_or_default());
        }
        let next = async {
            tokio::time::sleep(INTERVAL_MIN).await;
            let new_file = log.retention().new_file.notified();
            let _ = tokio::time::timeout(INTERVAL, new_file).await;
        };
        tokio::select! {
            () = next => {}
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
    }
    sender::remember_all(&log, &keeper.replicas);
    if let Err(error) = save_replicas(&log) {
        tracing::warn!("{error}");
    }
}

/// Removes what the limits say, and records what the replicas need. The error is a sentence.
fn enforce_and_record(log: &RelayLog, now: SystemTime) -> Result<(), String> {
    let removed = purge::enforce(log, now);
    removed.map_err(|error| format!("old log files cannot be removed: {error}"))?;
    save_replicas(log)
}

fn save_replicas(log: &RelayLog) -> Result<(), String> {
    let saved = log.retention().replicas.save();
    saved.map_err(|error| format!("what the replicas were sent cannot be recorded: {error}"))
}

impl Keeper {
    pub(super) fn new(parts: Arc<Parts>, replicas: Arc<Replicas>) -> Self {
        Self {
            parts,
            replicas,
            logged: Mutex::default(),
        }
    }

    fn step(&self, log: &RelayLog) -> Result<(), String> {
        self.note_sources(log);
        sender::remember_all(log, &self.replicas);
        let retention = log.retention();
        if let Ok(free) = space::free_bytes(&log.log_dir().dir) {
            retention.space.note(Instant::now(), free);
        }
        enforce_and_record(log, SystemTime::now())
    }

    /// With GTIDs: a source that is away keeps the files with what it may send copies of.
    fn note_sources(&self, log: &RelayLog) {
        let state = log.state().clone();
        let oldest = state.files.first().copied().unwrap_or_default();
        let newest = state.files.last().copied().unwrap_or_default();
        let has_gtids = state.executed != Executed::Anonymous;
        let followed = self.parts.followed(&state);
        for (name, is_at_end) in &followed {
            if has_gtids {
                log.retention()
                    .note_source(name, *is_at_end, oldest, newest);
            }
        }
        let is_followed = |name: &str| followed.iter().any(|(source, _)| source == name);
        log.retention().retain_sources(is_followed);
        let warnings = self.parts.source_warnings(&state);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in warnings.iter().filter(|warning| !logged.contains(warning)) {
            tracing::warn!("{warning}");
        }
        *logged = warnings;
        drop(logged);
        for source in self.parts.sources.now().iter() {
            if let Some(logs_updates) = source.status.logs_updates() {
                log.retention()
                    .note_updates(&source.config.name, logs_updates);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::binlog::format_description::Checksum;
    use crate::config::SyncPolicy;
    use crate::flavor::Flavor;
    use crate::log_thread::LogThread;
    use crate::position::RelayLogPosition;
    use crate::relay_log::retention::known_replicas::seen;
    use crate::relay_log::{LogDir, LogOptions, RetentionOptions};
    use crate::transaction::test_events as make;

    #[test]
    fn failure_names_what_could_not_be_done() {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions {
            log_dir: LogDir {
                dir: dir.path().to_owned(),
                basename: "relay-bin".to_owned(),
            },
            server_id: 900,
            max_size: 1 << 30,
            sync: SyncPolicy::Commit,
            source_names: Vec::new(),
            retention: RetentionOptions::default(),
            reserve: 0,
            hand_over_min: Duration::ZERO,
            stopping: Arc::new(AtomicBool::new(false)),
        };
        let before = Executed::empty(Flavor::MySql);
        let format = make::mysql_format(Checksum::Crc32);
        let thread = LogThread::create(options, &format, before, Vec::new()).unwrap();
        let log = thread.log();
        let end = RelayLogPosition { file: 1, offset: 4 };
        let replica = seen(11, None, ("db11".to_owned(), "repl".to_owned()), end);
        log.retention().replicas.note(replica);
        let record = dir.path().join("relay-bin.replicas");
        std::fs::create_dir(&record).unwrap();
        let enforced = || enforce_and_record(log, SystemTime::now());
        let failure = enforced().unwrap_err();
        let begin = "what the replicas were sent cannot be recorded: ";
        assert!(failure.starts_with(begin), "{failure}");
        std::fs::remove_dir(&record).unwrap();
        assert_eq!(enforced(), Ok(()));
        std::fs::remove_file(dir.path().join("relay-bin.000001")).unwrap();
        let failure = enforced().unwrap_err();
        let begin = "old log files cannot be removed: ";
        assert!(failure.starts_with(begin), "{failure}");
    }
}
