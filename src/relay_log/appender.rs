//! The one thread that merges and appends: it drains all that is ready, writes it once, syncs
//! once, and publishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::{AppendError, Condition, LogError, Writer};
use crate::merge::Decision;
use crate::transaction::TransactionBatch;

/// How many bytes go into one group at most, before it is made durable.
const GROUP_LEN_MAX: u64 = 16 * 1024 * 1024;
/// How often an idle log looks whether a put-off sync is due.
const IDLE_TICK: Duration = Duration::from_millis(50);

/// A batch on its way to the log, with the share of the queue's memory that it holds.
#[derive(Debug)]
pub struct QueuedBatch {
    /// The transactions.
    pub batch: TransactionBatch,
    /// Given back when the batch is in the log.
    pub memory: OwnedSemaphorePermit,
}

/// What the appender tells about one source, and to it.
#[derive(Debug)]
pub struct SourceLedger {
    /// Transactions appended.
    pub kept: AtomicU64,
    /// Second copies dropped.
    pub duplicate: AtomicU64,
    /// Of those appended: left empty by the filter.
    pub filtered: AtomicU64,
    /// Why the log refuses this source's transactions, once it does.
    pub refusal: watch::Sender<Option<String>>,
}

impl Default for SourceLedger {
    fn default() -> Self {
        Self {
            kept: AtomicU64::new(0),
            duplicate: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            refusal: watch::Sender::new(None),
        }
    }
}

/// Runs on a thread of its own until every sender of the queue is gone, or the log fails.
/// `ledgers` has one entry for each configured source.
pub fn run(
    mut writer: Writer,
    mut queue: mpsc::Receiver<QueuedBatch>,
    ledgers: &[Arc<SourceLedger>],
    runtime: &Handle,
) {
    let log = writer.log().clone();
    loop {
        crate::fault::inject("log_thread");
        let next = runtime.block_on(async { tokio::time::timeout(IDLE_TICK, queue.recv()).await });
        let outcome = match next {
            Ok(Some(first)) => append_group(&mut writer, first, &mut queue, ledgers),
            Ok(None) => {
                if let Err(error) = writer.close() {
                    fail(&log, &error);
                }
                return;
            }
            Err(_) => writer.commit(),
        };
        if let Err(error) = outcome {
            fail(&log, &error);
            // The queue is closed with this receiver: the sources stop, what is durable is
            // served on.
            return;
        }
    }
}

fn fail(log: &super::RelayLog, error: &LogError) {
    let message = format!(
        "{error}; nothing more is taken in, what is durable is still served; mend the disk and \
         restart binrelay"
    );
    tracing::error!("the relay log failed: {message}");
    log.set_condition(Condition::Failed(message));
}

fn append_group(
    writer: &mut Writer,
    first: QueuedBatch,
    queue: &mut mpsc::Receiver<QueuedBatch>,
    ledgers: &[Arc<SourceLedger>],
) -> Result<(), LogError> {
    let mut len = 0;
    let mut next = Some(first);
    while let Some(QueuedBatch { batch, memory }) = next {
        len += batch.len();
        if let Some(ledger) = ledgers.get(usize::from(batch.source)) {
            append_batch(writer, &batch, ledger)?;
        }
        batch.recycle();
        drop(memory);
        next = if len < GROUP_LEN_MAX {
            queue.try_recv().ok()
        } else {
            None
        };
    }
    writer.commit()
}

fn append_batch(
    writer: &mut Writer,
    batch: &TransactionBatch,
    ledger: &SourceLedger,
) -> Result<(), LogError> {
    if ledger.refusal.borrow().is_some() {
        return Ok(()); // What follows a refused transaction must not be taken in.
    }
    if batch.is_empty() {
        return writer.move_source(batch);
    }
    let (mut kept, mut duplicate, mut filtered) = (0, 0, 0);
    for transaction in &batch.transactions {
        match writer.append(batch, transaction) {
            Ok(Decision::New(_)) => {
                kept += 1;
                filtered += u64::from(transaction.emptied);
            }
            Ok(
                Decision::Duplicate | Decision::Repeated | Decision::Own | Decision::BeforeOrigin,
            ) => duplicate += 1,
            Ok(Decision::BeforeStart) => {}
            Err(AppendError::Log(error)) => return Err(error),
            Err(refusal) => {
                ledger.refusal.send_replace(Some(refusal.to_string()));
                break;
            }
        }
    }
    ledger.kept.fetch_add(kept, Ordering::Relaxed);
    ledger.duplicate.fetch_add(duplicate, Ordering::Relaxed);
    ledger.filtered.fetch_add(filtered, Ordering::Relaxed);
    Ok(())
}
