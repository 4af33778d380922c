//! The queue into the log thread, and the per-source counters.

use std::sync::atomic::AtomicU64;

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::transaction::TransactionBatch;

/// A batch in the queue, with its share of the queue's memory.
#[derive(Debug)]
pub struct QueuedBatch {
    /// The transactions.
    pub batch: TransactionBatch,
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
    /// Why the log refuses this source's transactions, once it does.
    pub refusal: watch::Sender<Option<String>>,
}

impl Default for SourceCounters {
    fn default() -> Self {
        Self {
            kept: AtomicU64::new(0),
            duplicate: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            refusal: watch::Sender::new(None),
        }
    }
}
