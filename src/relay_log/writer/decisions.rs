//! Decisions of an administrator about a source.

use super::Writer;
use crate::gtid::BinlogState;
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

    /// MariaDB: a new history of the server begins after `before`. No source has sent it yet. It is durable and
    /// published with the next file.
    pub fn forget_sent(&mut self, server_id: u32, before: &BinlogState) {
        self.sources.forget_sent(server_id, before);
    }

    /// The server_ids of the sources' own servers, by source number; 0 where it is not known.
    pub fn server_ids(&self) -> impl Iterator<Item = u32> + '_ {
        let sources = self.sources.as_slice().iter();
        sources.map(|source| source.server_id)
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
