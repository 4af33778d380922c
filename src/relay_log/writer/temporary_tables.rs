//! Recording which temporary tables are open on the replicas.

use super::Writer;
use crate::merge::temporary_tables::TableChange;

impl Writer {
    /// Stages changes of the open temporary tables, before the record of the transaction that made
    /// them.
    pub fn record_temporary_tables(&mut self, changes: &[TableChange]) {
        self.index.stage_temporary_tables(changes);
    }
}
