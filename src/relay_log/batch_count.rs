//! How many of a source's batches are in the log.

use std::sync::Arc;

use tokio::sync::watch;

/// A number of a source's batches, and what follows how many of them are in the log.
#[derive(Debug, Clone)]
pub struct BatchCount {
    /// So many were taken.
    pub taken: u64,
    /// Batches after which the log was committed.
    pub committed: Arc<watch::Sender<u64>>,
    /// Batches whose transactions, or records that they were left out, are on disk.
    pub durable: Arc<watch::Sender<u64>>,
}

impl BatchCount {
    /// The log was committed after these batches.
    pub(super) fn note_committed(&self) {
        self.note(&self.committed);
    }

    /// Everything of these batches is on disk.
    pub fn note_durable(&self) {
        self.note(&self.durable);
    }

    /// The counts never go back: each group is counted once, in the order in which they were written.
    fn note(&self, mark: &watch::Sender<u64>) {
        mark.send_if_modified(|count| {
            debug_assert!(*count <= self.taken, "{count} batches are counted already");
            let is_new = *count != self.taken;
            *count = self.taken;
            is_new
        });
    }
}
