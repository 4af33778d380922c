//! Decisions of an administrator about a source.

use super::Writer;
use crate::identity::Executed;
use crate::relay_log::error::LogError;
use crate::relay_log::published::SourceProgress;

impl Writer {
    /// Replaces the progress of a source. It is durable and published with the next file.
    ///
    /// # Errors
    /// When there is no such source.
    pub fn replace_progress(
        &mut self,
        source: u16,
        progress: SourceProgress,
    ) -> Result<(), LogError> {
        self.sources.replace(source, progress)
    }

    /// Publishes other sets of transactions: all that count as delivered, and those of them that are in no file.
    pub fn replace_executed(&self, executed: &Executed, purged: Option<Executed>) {
        let mut state = self.log.state();
        state.executed = executed.clone();
        if let Some(purged) = purged {
            state.purged = purged;
        }
    }
}
