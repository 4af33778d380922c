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
        let error = outcome.err();
        let failure = error.map(|error| format!("old log files cannot be removed: {error}"));
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
    if let Err(error) = log.retention().replicas.save() {
        tracing::warn!("what the replicas were sent cannot be recorded: {error}");
    }
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
        let removed = purge::enforce(log, SystemTime::now());
        removed.map_err(|error| error.to_string())?;
        retention.replicas.save().map_err(|error| error.to_string())
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
