//! How changes reach the task that owns the sources.

use tokio::sync::{mpsc, oneshot, watch};

use super::Channels;
use crate::config::{SharedFilter, SourceConfig};
use crate::relay::supervisor::StageEnd;
use crate::sender::{ChangedSources, SourceChange, SourceChangeError, SourceChanges};

/// The most requests that wait.
const WAITING_MAX: usize = 16;

/// What is asked for.
enum What {
    /// A statement's change.
    Change(SourceChange),
    /// The configuration file was read again: its sources, and the filter of sources that are added.
    Configured(Vec<SourceConfig>, SharedFilter),
}

/// A request, and where its result is awaited.
pub(in crate::relay) struct ChannelRequest {
    what: What,
    answer: oneshot::Sender<Result<ChangedSources, SourceChangeError>>,
}

/// Sends changes of the sources to the task that owns them.
#[derive(Debug, Clone)]
pub struct ChannelHandle(mpsc::Sender<ChannelRequest>);

impl ChannelHandle {
    /// A handle, and the other end of it.
    pub(in crate::relay) fn new() -> (Self, mpsc::Receiver<ChannelRequest>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// For statements.
    pub(in crate::relay) fn changes(&self) -> SourceChanges {
        let handle = self.clone();
        SourceChanges::new(move |change| {
            let (answer, answered) = oneshot::channel();
            let what = What::Change(change);
            let sent = handle.0.blocking_send(ChannelRequest { what, answer });
            sent.map_err(|_| stopping())?;
            answered.blocking_recv().map_err(|_| stopping())?
        })
    }

    /// Applies the sources of a configuration file that was read again: those that are new are followed, those that
    /// are gone are removed, and those that differ get their new settings. What was changed at run time keeps its
    /// precedence. `filter` is that of sources that are added by statements. It blocks.
    ///
    /// # Errors
    /// When the relay log has failed, or a change takes too long.
    pub(in crate::relay) fn configure(
        &self,
        sources: Vec<SourceConfig>,
        filter: SharedFilter,
    ) -> Result<ChangedSources, SourceChangeError> {
        let (answer, answered) = oneshot::channel();
        let what = What::Configured(sources, filter);
        let sent = self.0.blocking_send(ChannelRequest { what, answer });
        sent.map_err(|_| stopping())?;
        answered.blocking_recv().map_err(|_| stopping())?
    }
}

fn stopping() -> SourceChangeError {
    SourceChangeError::Refused("the relay is stopping".to_owned())
}

impl Channels {
    /// Carries out requests until the relay stops.
    pub(in crate::relay) async fn run(
        mut self,
        mut requests: mpsc::Receiver<ChannelRequest>,
        mut shutdown: watch::Receiver<bool>,
    ) -> StageEnd {
        let serving = async {
            while let Some(request) = requests.recv().await {
                self.answer(request).await;
            }
        };
        tokio::select! {
            () = serving => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        StageEnd::Stopped
    }

    /// Carries out a request and answers it.
    pub(in crate::relay) async fn answer(&mut self, request: ChannelRequest) {
        let outcome = match request.what {
            What::Change(change) => self.apply(change).await,
            What::Configured(sources, filter) => self.configure(sources, filter).await,
        };
        // Whoever asked may have stopped waiting.
        let _ = request.answer.send(outcome);
    }
}
