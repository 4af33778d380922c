//! A source that an administrator continues at another position.
//!
//! The decision is written into the head of a new log file: the source's position, the transactions that count
//! as delivered, and, without GTIDs, that the source's path begins again. So it is durable as a whole, or not
//! at all.

use super::followed_sources::CounterTable;
use super::queue::{Continuation, DeliveredChange};
use super::{LogThread, not_configured};
use crate::relay_log::{LogError, removed_until};

impl LogThread {
    /// Continues a source at another position; answers when that is durable. A refusal of the source's
    /// transactions ends.
    pub(super) fn continue_source(
        &mut self,
        continuation: Continuation,
        counters: &CounterTable,
    ) -> Result<(), LogError> {
        let Continuation {
            path,
            source,
            progress,
            new_history,
            change,
            done,
        } = continuation;
        let counters = counters.get(source);
        let counters = counters.ok_or_else(|| not_configured(&self.log, source))?;
        let delivered = self.merge.executed().clone();
        let (mut new_server, mut counted, mut skipped) = (None, None, Vec::new());
        match &change {
            DeliveredChange::None => {}
            DeliveredChange::Counted(gtids) => {
                // Other sources may have delivered some of them since the decision was verified.
                let missing = self.merge.count_delivered(gtids);
                self.counted.union_with(&missing);
                counted = Some(missing);
            }
            DeliveredChange::Skipped(gtids) => skipped = self.merge.count_skipped(gtids),
            DeliveredChange::NewHistory(server_id, before) => {
                self.merge.begin_history(*server_id, before);
                self.log.forget_sent(*server_id, before);
                new_server = Some(*server_id);
            }
        }
        let begin = self.log.log().keep_for_path();
        let repeats = new_history.then(|| (begin, self.log.next_record()));
        if new_history {
            self.end_sessions(path, progress.server_id);
        }
        let removed_until = removed_until::read(self.log.log().log_dir())?;
        // Another server's binlog was received on this path: it may have had transactions of the one that answers now.
        let is_another = self.log.progress(path)?.is_of_another(progress.server_id);
        let own = (!is_another).then_some(progress.server_id);
        self.merge.begin_path(path, own, repeats, &removed_until);
        self.log.replace_progress(path, progress)?;
        self.start_file_with(new_server, &skipped)?;
        self.log
            .replace_executed(self.merge.executed(), counted.as_ref());
        counters.accept();
        // The administrator may have stopped waiting.
        let _ = done.send(delivered);
        Ok(())
    }
}
