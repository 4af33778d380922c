//! Without GTIDs: whether a source's binlog has the transactions of its own server that another source has
//! delivered.
//!
//! A server that was restored from an older copy, or has lost its newest transactions in a crash, need not
//! contradict what was received from itself: perhaps only a peer had delivered what it has lost. With GTIDs its
//! `gtid_executed` shows that. Without, order does: what a peer has, the server's own binlog had before. So the
//! oldest transaction that a peer has delivered and the own path has not sent is looked at; then the server is
//! asked for the end of its binlog. If the own path has reached that end, and still has not sent the transaction,
//! the binlog does not have it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::connect::{connect, within};
use super::error::ReceiverError;
use super::options::{ReceiverContext, ReceiverOptions};
use super::source_queries::source_end;
use super::status::{SourceState, SourceStatus};
use crate::identity::Executed;
use crate::log_thread::{OwnUnsent, Queued};
use crate::position::{RecordNumber, SourcePosition};

/// The pause between two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long the own path is given to reach the end of the binlog.
const REACH_LIMIT: Duration = Duration::from_secs(60);

/// Looks for lost transactions again and again. If there is one, the log refuses the source's transactions, which
/// is how the caller notices.
pub(super) async fn watch(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    status: &SourceStatus,
) -> ReceiverError {
    if context.log.state().executed != Executed::Anonymous {
        return std::future::pending().await;
    }
    loop {
        sleep(INTERVAL).await;
        if status.state() != SourceState::Streaming {
            continue;
        }
        let path = status.path().unwrap_or(options.number);
        let looked = look(options, context, path).await;
        if matches!(looked, Err(ReceiverError::LogClosed)) {
            return ReceiverError::LogClosed;
        }
    }
}

/// An error that is not of the log proves nothing: the dump notices what is wrong.
async fn look(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    path: u16,
) -> Result<(), ReceiverError> {
    let Some(unsent) = ask(options, context, path, None).await? else {
        return Ok(());
    };
    let (mut connection, facts) = connect(options).await?;
    let received = |context: &ReceiverContext| {
        let state = context.log.state();
        let progress = state.sources.get(usize::from(path));
        progress.map(|progress| (progress.server_id, progress.position.clone()))
    };
    let is_followed =
        |context: &ReceiverContext| received(context).is_some_and(|(id, _)| id == facts.server_id);
    if !is_followed(context) {
        return Ok(());
    }
    let asking = source_end(&mut connection, &facts);
    let end = within(options.config.read_timeout, asking).await?;
    let reaching = async {
        loop {
            if received(context).is_none_or(|(_, at)| at == end || end.precedes(&at)) {
                return;
            }
            sleep(INTERVAL / 10).await;
        }
    };
    let reached = tokio::time::timeout(REACH_LIMIT, reaching).await;
    if reached.is_ok() && is_followed(context) {
        ask(options, context, path, Some((unsent, end))).await?;
    }
    Ok(())
}

/// The oldest transaction of the path's own server that another path has delivered and it has not sent. If that
/// is still the first one of `refused`, although the path has reached the position, the source is refused.
async fn ask(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    path: u16,
    refused: Option<(RecordNumber, SourcePosition)>,
) -> Result<Option<RecordNumber>, ReceiverError> {
    let (done, answered) = oneshot::channel();
    let question = OwnUnsent {
        path,
        source: options.number,
        refused,
        done,
    };
    let queued = Queued::OwnUnsent(Box::new(question));
    let sent = context.queue.batches.send(queued).await;
    sent.map_err(|_| ReceiverError::LogClosed)?;
    answered.await.map_err(|_| ReceiverError::LogClosed)
}
