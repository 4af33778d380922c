//! The queue into the log thread, and the per-source counters.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::transaction::TransactionBatch;

/// A batch in the queue, with its share of the queue's memory.
#[derive(Debug)]
pub struct QueuedBatch {
    /// The transactions.
    pub batch: TransactionBatch,
    /// The configured source that they are from: its number. That of the batch is its path's.
    pub source: u16,
    /// Released when the batch is in the log.
    pub memory: OwnedSemaphorePermit,
}

/// Per-source counters, and the refusal that stops the source.
#[derive(Debug)]
pub struct SourceCounters {
    /// Transactions appended.
    pub kept: AtomicU64,
    /// Second copies dropped.
    pub duplicate: AtomicU64,
    /// Appended transactions that the filter emptied.
    pub filtered: AtomicU64,
    /// Batches that the receiver has put into the queue.
    pub queued: AtomicU64,
    /// Batches that the log thread has taken from the queue.
    pub taken: AtomicU64,
    /// Batches after which the log was committed.
    pub committed: watch::Sender<u64>,
    /// Why the log refuses this source's transactions, once it does.
    pub refusal: watch::Sender<Option<String>>,
}

impl Default for SourceCounters {
    fn default() -> Self {
        Self {
            kept: AtomicU64::new(0),
            duplicate: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            committed: watch::Sender::new(0),
            refusal: watch::Sender::new(None),
        }
    }
}

impl SourceCounters {
    /// Waits until every batch of the source that is in the queue now is in the log and committed:
    /// until then, the source's position in the log is not the one to resume from.
    pub async fn wait_until_committed(&self) {
        let queued = self.queued.load(Ordering::Acquire);
        let mut committed = self.committed.subscribe();
        // It cannot be closed while `self` exists.
        let _ = committed.wait_for(|count| *count >= queued).await;
    }

    /// Notes that the log was committed after all batches that were taken from the queue.
    pub(super) fn note_commit(&self) {
        let taken = self.taken.load(Ordering::Relaxed);
        self.committed.send_if_modified(|count| {
            let is_new = *count != taken;
            *count = taken;
            is_new
        });
    }
}
