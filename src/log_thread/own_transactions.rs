//! Without GTIDs: transactions of a source's own server that other sources have delivered, and it has not sent.

use super::followed_sources::CounterTable;
use super::queue::{OwnExcused, OwnUnsent, RefusalNote};
use super::{LogThread, not_configured};
use crate::merge::copies::DeliveredGtids;
use crate::relay_log::LogError;

impl LogThread {
    /// Answers the question, and refuses the source if it has lost the transaction that is named in it.
    pub(super) fn answer_own_unsent(
        &mut self,
        question: OwnUnsent,
        counters: &CounterTable,
    ) -> Result<(), LogError> {
        let counters = counters.get(question.source);
        let counters = counters.ok_or_else(|| not_configured(&self.log, question.source))?;
        // A new path's first batch may still wait for the queue's memory: the log has nothing of that path.
        let Ok(progress) = self.log.progress(question.path) else {
            let _ = question.done.send(None);
            return Ok(());
        };
        let server_id = progress.server_id;
        let ledger = self.log.ledger();
        let unsent = self.merge.own_unsent(question.path, server_id, &ledger);
        if let (Some(unsent), Some((refused, end))) = (unsent, question.refused)
            && unsent == refused
            && counters.refusal.borrow().is_none()
            && !self
                .merge
                .excuse_repeated(question.path, server_id, unsent, &ledger)
        {
            let delivered = ledger.describe(unsent);
            let delivered = delivered.unwrap_or_else(|error| format!("unreadable: {error}"));
            let note = RefusalNote::Reused {
                expected: format!(
                    "its own transaction that another source has delivered ({delivered})"
                ),
                found: format!("a binlog without it, up to its end at {end}"),
            };
            counters.refusal.send_replace(Some(note));
        }
        // The receiver may have connected again meanwhile.
        let _ = question.done.send(unsent);
        Ok(())
    }

    /// By decision of an administrator, the source need not send what others have delivered until now.
    pub(super) fn excuse_own(&mut self, decision: OwnExcused) -> Result<(), LogError> {
        // As above: of a path that the log does not have, there is nothing to excuse.
        if let Ok(progress) = self.log.progress(decision.path) {
            let server_id = progress.server_id;
            let end = self.log.next_record();
            self.merge.excuse_own(decision.path, server_id, end);
        }
        // The administrator may have stopped waiting.
        let _ = decision.done.send(());
        Ok(())
    }
}
