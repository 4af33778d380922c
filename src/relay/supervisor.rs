//! Watches the stages: one that ends when it should not ends the process, with the reason.
//!
//! A relay without one of its stages is worse than none: a dead receiver would look as if its
//! source had nothing to send, a dead accept loop would refuse replicas while `status` exits 0.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;

use super::error::RelayError;

/// Time limit for the stages to end at shutdown. Long, because the log thread may be writing a
/// transaction of gigabytes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Time limit for the other stages to end after one has died.
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);

/// A long-lived task or thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accepts replicas and SQL clients.
    AcceptLoop,
    /// Answers `binrelay status`.
    AdminLoop,
    /// Reports to the service manager.
    ServiceManager,
    /// Answers HTTP clients.
    HttpLoop,
    /// Makes the log thread give up waiting for disk space when the relay stops.
    ShutdownWatcher,
    /// Follows the source of this name.
    Receiver(String),
    /// Asks the source of this name for the end of its binlog.
    ControlConnection(String),
    /// Changes the sources.
    SourceChanges,
    /// Removes old log files.
    Retention,
    /// Reloads the configuration at SIGHUP.
    Reload,
    /// Writes the relay log.
    LogThread,
    /// Finds conflicts of the sources.
    ConflictFinder,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::AcceptLoop => f.write_str("the accept loop of the listener"),
            Stage::AdminLoop => f.write_str("the accept loop of the admin socket"),
            Stage::ServiceManager => f.write_str("the reports to the service manager"),
            Stage::HttpLoop => f.write_str("the accept loop of the HTTP listener"),
            Stage::ShutdownWatcher => f.write_str("the shutdown watcher"),
            Stage::Receiver(source) => write!(f, "the receiver of source \"{source}\""),
            Stage::ControlConnection(source) => {
                write!(f, "the control connection of source \"{source}\"")
            }
            Stage::SourceChanges => f.write_str("the changes of the sources"),
            Stage::Retention => f.write_str("the removal of old log files"),
            Stage::Reload => f.write_str("the reload of the configuration"),
            Stage::LogThread => f.write_str("the log thread"),
            Stage::ConflictFinder => f.write_str("the detection of conflicts"),
        }
    }
}

/// How a stage returned. A panic is neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageEnd {
    /// As it does at shutdown. At any other time this is a defect.
    Stopped,
    /// As it may at any time: `status` shows why.
    Finished,
}

/// The stages that run.
#[derive(Debug)]
pub(super) struct Supervisor {
    stages: JoinSet<StageEnd>,
    names: HashMap<Id, Stage>,
    shutdown: watch::Receiver<bool>,
    spawner: Spawner,
    added: mpsc::UnboundedReceiver<NewStage>,
}

/// A stage that is started while others run.
struct NewStage(Stage, Pin<Box<dyn Future<Output = StageEnd> + Send>>);

impl fmt::Debug for NewStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewStage({:?})", self.0)
    }
}

/// Starts stages while others run.
#[derive(Debug, Clone)]
pub(super) struct Spawner(mpsc::UnboundedSender<NewStage>);

impl Spawner {
    /// Starts a stage as a task, unless the relay stops.
    pub(super) fn spawn(
        &self,
        stage: Stage,
        task: impl Future<Output = StageEnd> + Send + 'static,
    ) {
        let _ = self.0.send(NewStage(stage, Box::pin(task)));
    }
}

impl Supervisor {
    /// Of no stages yet. They are expected to end once `shutdown` is true.
    pub(super) fn new(shutdown: watch::Receiver<bool>) -> Self {
        let (spawner, added) = mpsc::unbounded_channel();
        Self {
            stages: JoinSet::new(),
            names: HashMap::new(),
            shutdown,
            spawner: Spawner(spawner),
            added,
        }
    }

    /// For stages that are started later; they start while [`Supervisor::wait_for_shutdown`] waits.
    pub(super) fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Starts a stage as a task.
    pub(super) fn spawn(
        &mut self,
        stage: Stage,
        task: impl Future<Output = StageEnd> + Send + 'static,
    ) {
        let task = self.stages.spawn(task);
        self.names.insert(task.id(), stage);
    }

    /// Watches a stage that is a thread.
    pub(super) fn watch_thread(&mut self, stage: Stage, thread: thread::JoinHandle<StageEnd>) {
        let join = move || match thread.join() {
            Ok(end) => end,
            // The task ends as the thread did.
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let task = self.stages.spawn_blocking(join);
        self.names.insert(task.id(), stage);
    }

    /// Waits until the relay is to stop.
    ///
    /// # Errors
    /// When a stage ends before that.
    pub(super) async fn wait_for_shutdown(&mut self) -> Result<(), RelayError> {
        let mut shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                // A dropped sender counts as well.
                _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
                Some(ended) = self.stages.join_next_with_id() => self.check(ended)?,
                Some(NewStage(stage, task)) = self.added.recv() => self.spawn(stage, task),
            }
        }
    }

    /// Waits until all stages have ended.
    ///
    /// # Errors
    /// When one panics, or does not end in time.
    pub(super) async fn drain(&mut self) -> Result<(), RelayError> {
        self.drain_within(DRAIN_TIMEOUT).await
    }

    async fn drain_within(&mut self, limit: Duration) -> Result<(), RelayError> {
        self.drop_added();
        let mut outcome = Ok(());
        let draining = async {
            while let Some(ended) = self.stages.join_next_with_id().await {
                let checked = self.check(ended);
                outcome = std::mem::replace(&mut outcome, Ok(())).and(checked);
            }
        };
        let is_drained = timeout(limit, draining).await.is_ok();
        match outcome {
            Ok(()) if !is_drained => {
                let mut stages: Vec<String> = self.names.values().map(Stage::to_string).collect();
                stages.sort();
                Err(RelayError::StagesStuck {
                    stages: stages.join(", "),
                    seconds: limit.as_secs(),
                })
            }
            outcome => outcome,
        }
    }

    /// Ends all stages at once. The log thread ends by itself when no receiver is left; it gets a
    /// moment for that.
    pub(super) async fn abort(&mut self) {
        self.drop_added();
        self.stages.abort_all();
        let ending = async { while self.stages.join_next().await.is_some() {} };
        let _ = timeout(ABORT_TIMEOUT, ending).await;
    }

    /// Stages that were not started hold ends of the queue into the log.
    fn drop_added(&mut self) {
        self.added.close();
        while self.added.try_recv().is_ok() {}
    }

    fn check(&mut self, ended: Result<(Id, StageEnd), JoinError>) -> Result<(), RelayError> {
        let (id, reason) = match ended {
            Ok((id, StageEnd::Finished)) => (id, None),
            Ok((id, StageEnd::Stopped)) if self.is_stopping() => (id, None),
            Ok((id, StageEnd::Stopped)) => (id, Some("it returned while the relay runs".into())),
            Err(error) => (error.id(), Some(panic_message(error))),
        };
        let stage = self.names.remove(&id);
        let (Some(stage), Some(reason)) = (stage, reason) else {
            return Ok(());
        };
        Err(RelayError::StageEnded {
            stage: stage.to_string(),
            reason,
        })
    }

    fn is_stopping(&self) -> bool {
        *self.shutdown.borrow() || self.shutdown.has_changed().is_err()
    }
}

/// Why a task did not return: the message of its panic.
fn panic_message(error: JoinError) -> String {
    let panic = match error.try_into_panic() {
        Ok(panic) => panic,
        Err(error) => return error.to_string(),
    };
    let text = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or_else(|_| "no message".to_owned(), |text| (*text).to_owned()),
    };
    format!("panic: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor() -> (Supervisor, watch::Sender<bool>) {
        let shutdown = watch::Sender::new(false);
        (Supervisor::new(shutdown.subscribe()), shutdown)
    }

    async fn until_shutdown(mut shutdown: watch::Receiver<bool>) -> StageEnd {
        let _ = shutdown.wait_for(|stop| *stop).await;
        StageEnd::Stopped
    }

    #[tokio::test]
    async fn stages_may_end_at_shutdown() {
        let (mut supervisor, shutdown) = supervisor();
        supervisor.spawn(Stage::AcceptLoop, until_shutdown(shutdown.subscribe()));
        supervisor.spawn(Stage::AdminLoop, until_shutdown(shutdown.subscribe()));
        shutdown.send_replace(true);
        supervisor.wait_for_shutdown().await.unwrap();
        supervisor.drain().await.unwrap();
    }

    #[tokio::test]
    async fn panic_in_a_task_is_reported_with_its_message() {
        let (mut supervisor, shutdown) = supervisor();
        supervisor.spawn(Stage::AcceptLoop, until_shutdown(shutdown.subscribe()));
        let receiver = Stage::Receiver("m1".to_owned());
        supervisor.spawn(receiver, async { panic!("index {} of 3", 4) });
        let error = supervisor.wait_for_shutdown().await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(
                "the receiver of source \"m1\" ended unexpectedly: panic: index 4 of 3; "
            ),
            "{text}"
        );
        supervisor.abort().await;
    }

    #[tokio::test]
    async fn panic_in_a_thread_is_reported_with_its_message() {
        let (mut supervisor, _shutdown) = supervisor();
        let thread = thread::spawn(|| -> StageEnd { panic!("no such source") });
        supervisor.watch_thread(Stage::LogThread, thread);
        let text = supervisor
            .wait_for_shutdown()
            .await
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("the log thread ended unexpectedly: panic: no such source; "),
            "{text}"
        );
    }

    #[tokio::test]
    async fn stage_that_returns_early_is_reported() {
        let (mut supervisor, _shutdown) = supervisor();
        supervisor.spawn(Stage::AdminLoop, async { StageEnd::Stopped });
        let text = supervisor
            .wait_for_shutdown()
            .await
            .unwrap_err()
            .to_string();
        assert!(text.contains("the admin socket"), "{text}");
        assert!(text.contains("returned while the relay runs"), "{text}");
    }

    #[tokio::test]
    async fn stage_may_finish_while_the_relay_runs() {
        let (mut supervisor, shutdown) = supervisor();
        supervisor.spawn(Stage::Receiver("m1".to_owned()), async {
            StageEnd::Finished
        });
        let limit = Duration::from_millis(50);
        let waited = timeout(limit, supervisor.wait_for_shutdown()).await;
        assert!(waited.is_err(), "{waited:?}");
        shutdown.send_replace(true);
        supervisor.drain().await.unwrap();
    }

    #[tokio::test]
    async fn panic_during_the_shutdown_is_reported() {
        let (mut supervisor, shutdown) = supervisor();
        let stop = shutdown.subscribe();
        supervisor.spawn(Stage::AcceptLoop, async {
            until_shutdown(stop).await;
            panic!("too late")
        });
        supervisor.spawn(Stage::AdminLoop, until_shutdown(shutdown.subscribe()));
        shutdown.send_replace(true);
        supervisor.wait_for_shutdown().await.unwrap();
        let text = supervisor.drain().await.unwrap_err().to_string();
        assert!(text.contains("too late"), "{text}");
    }

    #[tokio::test]
    async fn stage_that_does_not_stop_is_named() {
        let (mut supervisor, shutdown) = supervisor();
        supervisor.spawn(Stage::AcceptLoop, std::future::pending());
        shutdown.send_replace(true);
        let limit = Duration::from_secs(1);
        let text = supervisor
            .drain_within(limit)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("the accept loop of the listener did not stop within 1 s"),
            "{text}"
        );
    }
}
