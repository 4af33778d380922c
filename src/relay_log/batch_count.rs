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

    /// The counts only go forward. Two groups without any bytes can be counted in either order, by the sync thread and by
    /// the log thread, which finds everything on disk: what counts for a later group counts for the earlier ones.
    fn note(&self, mark: &watch::Sender<u64>) {
        mark.send_if_modified(|count| {
            let is_new = *count < self.taken;
            *count = self.taken.max(*count);
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_go_forward() {
        let of = |taken, first: &BatchCount| BatchCount {
            taken,
            ..first.clone()
        };
        let first = BatchCount {
            taken: 3,
            committed: Arc::default(),
            durable: Arc::default(),
        };
        let second = of(4, &first);
        second.note_durable();
        first.note_durable();
        assert_eq!(*first.durable.borrow(), 4);
        first.note_committed();
        second.note_committed();
        assert_eq!(*first.committed.borrow(), 4);
    }
}
