//! The queue into the log thread, and the per-source counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::error::Refusal;
use crate::gtid::{BinlogState, GtidSet, MariaDbGtid};
use crate::identity::Executed;
use crate::merge::MergeError;
use crate::position::{RecordNumber, SourcePosition};
use crate::relay_log::{BatchCount, SourceProgress};
use crate::transaction::TransactionBatch;

/// A batch in the queue, with its share of the queue's memory.
#[derive(Debug)]
pub struct QueuedBatch {
    /// The transactions.
    pub batch: TransactionBatch,
    /// The configured source that they are from: its number. That of the batch is its path's.
    pub source: u16,
    /// When it was received.
    pub received_at: Instant,
    /// Released when the batch is in the log.
    pub memory: OwnedSemaphorePermit,
}

/// A source that continues at another position, by decision of an administrator; or the start of one that joins.
#[derive(Debug)]
pub struct Continuation {
    /// The number of the path that continues.
    pub path: u16,
    /// The number of its configured source.
    pub source: u16,
    /// The position, and the GTIDs before it. It has no newest transaction.
    pub progress: SourceProgress,
    /// Whether the source's binlog is not the one that was received.
    pub new_history: bool,
    /// How it changes the transactions that count as delivered.
    pub change: DeliveredChange,
    /// Answered when the decision is durable, with the transactions that were delivered before it.
    pub done: oneshot::Sender<Executed>,
}

/// How a [`Continuation`] changes the transactions that count as delivered.
#[derive(Debug)]
pub enum DeliveredChange {
    /// Not at all.
    None,
    /// MySQL: these GTIDs count as delivered, too.
    Counted(GtidSet),
    /// MariaDB: so do these, and those of their servers before them.
    Skipped(Vec<MariaDbGtid>),
    /// MariaDB: a new history of this server begins after these transactions.
    NewHistory(u32, BinlogState),
}

/// Without GTIDs: the question which of its own server's transactions a path has not sent, although another one has
/// delivered them.
#[derive(Debug)]
pub struct OwnUnsent {
    /// The number of the path.
    pub path: u16,
    /// The number of its configured source.
    pub source: u16,
    /// The source is refused if that is still this one, although the path has reached the end of its binlog, which
    /// was this position when the transaction had been delivered.
    pub refused: Option<(RecordNumber, SourcePosition)>,
    /// For the record of the first such transaction.
    pub done: oneshot::Sender<Option<RecordNumber>>,
}

/// Without GTIDs: the decision that a source need not send the transactions of its own server that others have
/// delivered until now. It ends with the relay.
#[derive(Debug)]
pub struct OwnExcused {
    /// The number of the path.
    pub path: u16,
    /// Answered when it is carried out.
    pub done: oneshot::Sender<()>,
}

/// A source that is followed from now on, or no more.
#[derive(Debug)]
pub struct FollowChange {
    /// Its number. Its path must have been added to [`Paths`](super::Paths).
    pub source: u16,
    /// Its name.
    pub name: Arc<str>,
    /// Its counters; `None` if it is removed.
    pub counters: Option<Arc<SourceCounters>>,
    /// Answered when it is carried out.
    pub done: oneshot::Sender<()>,
}

/// What receivers send to the log thread.
#[derive(Debug)]
pub enum Queued {
    /// Transactions.
    Batch(QueuedBatch),
    /// A decision about a source.
    Continuation(Box<Continuation>),
    /// A question.
    OwnUnsent(Box<OwnUnsent>),
    /// Another decision about a source.
    OwnExcused(OwnExcused),
    /// A source that is followed from now on, or no more.
    Follow(Box<FollowChange>),
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
    /// Transactions that the source has logged a second time: appended or dropped.
    pub repeated: AtomicU64,
    /// Batches that the receiver has put into the queue.
    pub queued: AtomicU64,
    /// Batches that the log thread has taken from the queue.
    pub taken: AtomicU64,
    /// Batches after which the log was committed.
    pub committed: Arc<watch::Sender<u64>>,
    /// Batches whose transactions, or records that they were left out, are on disk.
    pub durable: Arc<watch::Sender<u64>>,
    /// Why the log refuses this source's transactions, once it does.
    pub refusal: watch::Sender<Option<RefusalNote>>,
    /// Transactions of its own server that count as copies, but cannot be compared with what was delivered: it was
    /// removed. `None` if there are none, or an administrator has continued the source since then.
    pub unverified: watch::Sender<Option<Unverified>>,
}

/// Transactions of a source that could not be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// Their number.
    pub count: u64,
    /// The GTID of the first one.
    pub first: String,
}

impl Default for SourceCounters {
    fn default() -> Self {
        Self {
            kept: AtomicU64::new(0),
            duplicate: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            committed: Arc::default(),
            durable: Arc::default(),
            refusal: watch::Sender::new(None),
            unverified: watch::Sender::new(None),
        }
    }
}

/// Why the log refuses a source's transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusalNote {
    /// Another reason, as text.
    Other(String),
    /// The source sends another transaction under the GTID of a delivered one, or lacks one of its own that another
    /// source has delivered.
    Reused {
        /// The GTID and the delivered transaction.
        expected: String,
        /// The other one, or what it sends instead.
        found: String,
    },
}

impl From<Refusal> for RefusalNote {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Merge(MergeError::Reused {
                gtid,
                delivered,
                end,
                times,
            }) => RefusalNote::Reused {
                expected: format!("a copy of {gtid} as it was delivered ({delivered})"),
                found: format!(
                    "another transaction with this GTID ({times}, ending at {end}), so a master has \
                     assigned the GTID again"
                ),
            },
            Refusal::Merge(MergeError::Skipped { gtid, skipped, end }) => RefusalNote::Reused {
                expected: format!(
                    "its own transaction {skipped}, which another source has delivered"
                ),
                found: format!("{gtid} (ending at {end}) in its place"),
            },
            other => RefusalNote::Other(other.to_string()),
        }
    }
}

impl SourceCounters {
    /// Counts transactions that could not be verified; `first` is the GTID of the first one.
    pub fn note_unverified(&self, count: u64, first: impl FnOnce() -> String) {
        self.unverified.send_modify(|noted| match noted {
            Some(noted) => noted.count += count,
            None => {
                let first = first();
                *noted = Some(Unverified { count, first });
            }
        });
    }

    /// An administrator has decided about the source: a refusal ends, and what could not be verified was accepted.
    pub fn accept(&self) {
        self.refusal.send_replace(None);
        self.unverified.send_replace(None);
    }

    /// Waits until every batch of the source that is in the queue now is in the log and committed:
    /// until then, the source's position in the log is not the one to resume from.
    pub async fn wait_until_committed(&self) {
        let queued = self.queued.load(Ordering::Acquire);
        let mut committed = self.committed.subscribe();
        // It cannot be closed while `self` exists.
        let _ = committed.wait_for(|count| *count >= queued).await;
    }

    /// The batches that were taken from the queue.
    pub(super) fn batch_count(&self) -> BatchCount {
        BatchCount {
            taken: self.taken.load(Ordering::Relaxed),
            committed: self.committed.clone(),
            durable: self.durable.clone(),
        }
    }
}
