//! Decisions of an administrator about a source.

use super::Writer;
use crate::gtid::{BinlogState, GtidSet};
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

    /// Publishes another set of transactions that count as delivered. `counted` are those of them that no file has.
    pub fn replace_executed(&self, executed: &Executed, counted: Option<&GtidSet>) {
        let mut state = self.log.state();
        state.executed = executed.clone();
        // Files may be removed at the same time: what they had is not lost from the set.
        if let (Some(counted), Executed::MySql(purged)) = (counted, &mut state.purged) {
            purged.union_with(counted);
        }
    }
}
