//! Recording which temporary tables are open on the replicas.

use super::Writer;
use crate::merge::temporary_tables::TableChange;

impl Writer {
    /// Stages changes of the open temporary tables, before the record of the transaction that made
    /// them.
    pub fn record_temporary_tables(&mut self, changes: &[TableChange]) {
        self.index.stage_temporary_tables(changes);
    }

    /// Whether a source's own server has this server_id.
    pub fn follows(&self, server_id: u32) -> bool {
        let mut sources = self.sources.as_slice().iter();
        sources.any(|source| source.server_id == server_id)
    }
}
