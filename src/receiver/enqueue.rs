//! From a receiver into the queue of the log thread.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::error::ReceiverError;
use super::options::{ReceiverContext, ReceiverOptions};
use super::status::SourceStatus;
use crate::log_thread::{Queued, QueuedBatch, SourceCounters};
use crate::transaction::TransactionBatch;

/// The memory that a batch keeps allocated, in KiB, rounded up.
fn batch_kib(batch: &TransactionBatch) -> u32 {
    u32::try_from(batch.memory_len() / 1024 + 1).unwrap_or(u32::MAX)
}

/// Puts a batch into the queue of the log thread, once that has memory for it.
pub(super) async fn enqueue(
    batch: TransactionBatch,
    options: &ReceiverOptions,
    context: &ReceiverContext,
    status: &SourceStatus,
    counters: &SourceCounters,
) -> Result<(), ReceiverError> {
    if !batch.before_start {
        context.read_back.wait_for_all().await;
    }
    let received_at = Instant::now();
    let newest = batch
        .transactions
        .last()
        .map(|transaction| transaction.timestamp);
    status.count_batch(batch.transactions.len(), newest);
    let queue = &context.queue;
    let memory_kib = batch_kib(&batch).min(queue.memory_kib);
    let memory = queue.memory.clone().acquire_many_owned(memory_kib).await;
    let memory = memory.map_err(|_| ReceiverError::LogClosed)?;
    let source = options.number;
    let queued = Queued::Batch(QueuedBatch {
        batch,
        source,
        received_at,
        memory,
    });
    let room = queue.batches.reserve().await;
    let room = room.map_err(|_| ReceiverError::LogClosed)?;
    counters.queued.fetch_add(1, Ordering::Release);
    room.send(queued);
    Ok(())
}
