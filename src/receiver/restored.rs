//! Whether the binlog of a source with a changed history was restored.

use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::history;
use super::newest_own;
use super::options::{ReceiverContext, ReceiverOptions};
use super::without_transactions;
use crate::identity::Executed;
use crate::relay_log::SourceProgress;

/// Whether the source's binlog certainly is the one that was received up to `old`, although another one was recorded.
/// `executed` are the transactions of the relay log. By GTID, another server may answer at the source's address than the
/// one whose binlog was received last: only its own newest transactions show its history.
///
/// # Errors
/// When the source or the log cannot be read.
pub(super) async fn is_restored(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    facts: &SourceFacts,
    (old, executed): (&SourceProgress, &Executed),
) -> Result<bool, ReceiverError> {
    if facts.follows_by_gtid(&options.config) {
        return match old.last.is_none() || old.is_of_another(facts.server_id) {
            true => newest_own::is_restored(options, &context.log, facts, old, executed).await,
            false => history::is_restored(options, facts, old).await,
        };
    }
    if old.last.is_some() && !history::is_restored(options, facts, old).await? {
        return Ok(false);
    }
    match without_transactions::verify(options, context, facts, old).await {
        Ok(is_proved) => Ok(is_proved || old.last.is_some()),
        Err(ReceiverError::History { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
