//! The log thread: where all sources' transactions become one log.
//!
//! ```text
//! receivers ──batches──▶ queue ──▶ 1 file ─▶ 2 decide ─▶ 3 write ─▶ 4 settle ──▶ commit
//!                                  (log)     (merge)     (log)      (merge)      sync, publish
//! ```
//!
//! It drains the batches that are ready, up to `GROUP_LEN_MAX`, processes each transaction in four
//! steps ([`LogThread::append`]), and hands the group over: with `sync = "commit"` the sync thread
//! makes it durable and publishes it while the next group is appended, unless the disk is so fast that
//! this thread does it at once. The merge knows nothing about
//! files, and the log knows nothing about how the merge decides: only this module uses both.
//!
//! An error of one source (another kind of server, a transaction that cannot be aligned) stops that
//! source. An error of the log stops the thread; transactions that are already durable are still
//! served.

mod decisions;
mod error;
mod followed_sources;
mod opening;
mod own_transactions;
mod paths;
mod queue;
mod retention;
mod source;
mod temporary_tables;
#[cfg(test)]
mod tests;

pub use error::{AppendError, Refusal};
pub use paths::{NewPath, PathKind, Paths};
pub use queue::{
    Continuation, DeliveredChange, FollowChange, OwnExcused, OwnUnsent, Queued, QueuedBatch,
    RefusalNote, SourceCounters, Unverified,
};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::followed_sources::CounterTable;
use self::paths::has_one_live;
use self::retention::FollowedPaths;
use self::source::{Repetition, Source};
use crate::gtid::{GtidSet, MariaDbGtid};
use crate::identity::{Identity, IdentityKind};
use crate::merge::temporary_tables::TemporaryTables;
use crate::merge::{Decision, Merge};
use crate::position::RecordNumber;
use crate::relay_log::{CarriedOver, Condition, LogError, RelayLog, Writer, removed_until};
use crate::transaction::{Transaction, TransactionBatch};

/// The most bytes in one group, before it is made durable.
const GROUP_LEN_MAX: u64 = 16 * 1024 * 1024;
/// How often an idle log checks whether a delayed sync is due.
const IDLE_TICK: Duration = Duration::from_millis(50);

/// The merge, and the log that it writes to.
#[derive(Debug)]
pub struct LogThread {
    log: Writer,
    merge: Merge,
    /// By source number. Invariant: one for each name in the log's options.
    sources: Vec<Source>,
    paths: Arc<Paths>,
    /// Those on the replicas.
    temporary_tables: TemporaryTables,
    /// MySQL: GTIDs that count as delivered by decision of an administrator.
    counted: GtidSet,
    /// MariaDB: the servers of which a new history began within the log.
    earlier_histories: BTreeSet<u32>,
    followed: FollowedPaths,
    /// The log's oldest file, when the merge was last given what was removed.
    first_file: Option<u64>,
}

impl LogThread {
    /// The published log.
    pub fn log(&self) -> &Arc<RelayLog> {
        self.log.log()
    }

    /// The names of the paths, to which others are added.
    pub fn paths(&self) -> &Arc<Paths> {
        &self.paths
    }

    /// Adds the paths that were not added yet. A new file begins, whose index defines them.
    fn add_paths(&mut self) -> Result<(), LogError> {
        let first = self.log.log().keep_for_path();
        // After the first file is known: what was removed before it is in the times.
        let removed_until = removed_until::read(self.log.log().log_dir())?;
        for path in self.paths.from(self.sources.len()) {
            self.merge.add_path(first, &path.before, &removed_until);
            let kind = PathKind::of(&path.name, &self.followed.names());
            self.sources.push(Source::new(path.name.clone(), kind));
            self.log.add_source(path.name);
        }
        let kinds = self.sources.iter().map(|source| source.kind);
        self.merge.set_one_path(has_one_live(kinds));
        self.start_file()
    }

    /// Processes the next transaction of `batch` in the four steps. It is neither durable nor
    /// published before [`LogThread::commit`].
    ///
    /// # Errors
    /// See [`AppendError`]. After `Log` nothing more may be appended.
    pub fn append(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Result<Decision, AppendError> {
        // 1. A file with space for it: another one where this one is full, or its format
        //    description does not fit.
        self.prepare_file(batch, transaction)?;
        // 2. Is it new, or a copy? A new one gets its clock and commit group.
        let decision = self.decide(batch, transaction)?;
        self.report(batch, transaction, &decision)?;
        if decision == Decision::Resent {
            return Ok(decision); // Nothing is new, not even the source's position.
        }
        // 3. If it is new, its events are appended; its record is, in any case.
        let record = self.log.write(batch, transaction, &decision)?;
        // 4. Copies that arrive later are compared with it.
        self.merge
            .settle(batch, transaction, &decision, record)
            .map_err(|error| self.log.internal_error(error.to_string()))?;
        Ok(decision)
    }

    fn prepare_file(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Result<(), AppendError> {
        let len = transaction.len();
        let is_full = self.log.is_full(len)?;
        let is_other_format = self.log.adopt_format(batch)?;
        self.note_ended_sessions(batch)?;
        self.note_new_session(batch, transaction);
        let begins = self.log.begins_with(batch) || self.ends_temporary_tables();
        if begins || is_other_format || is_full {
            self.start_file()?;
        }
        self.log.check_fits(len)?;
        self.check_session(batch, transaction)?;
        self.note_source(batch)?;
        Ok(())
    }

    fn start_file(&mut self) -> Result<(), LogError> {
        self.start_file_with(None, &[])
    }

    /// Begins the next file. `new_history` is the server of which a new history begins with it, `skipped` are
    /// transactions that count as delivered from there on, with those of their servers before them.
    fn start_file_with(
        &mut self,
        new_history: Option<u32>,
        skipped: &[MariaDbGtid],
    ) -> Result<(), LogError> {
        let next = self.log.next_record().file + 1;
        self.merge.start_file(next, self.log.server_ids());
        let ends_temporary_tables = self.ends_temporary_tables();
        if ends_temporary_tables {
            self.temporary_tables.clear();
        }
        let kept = (&self.counted, &self.earlier_histories);
        let carried = carried_over(&self.merge, &self.temporary_tables, kept, next);
        let carried = CarriedOver {
            ends_temporary_tables,
            new_history,
            skipped,
            ..carried
        };
        self.log.start_file(&carried)?;
        self.followed.report(&self.log, &carried.paths);
        self.earlier_histories.extend(new_history);
        Ok(())
    }

    /// Records what is new about the source of `batch`, before its transactions are compared with
    /// others.
    fn note_source(&mut self, batch: &TransactionBatch) -> Result<(), LogError> {
        if batch.source_first_timestamp != 0 && self.log.record_first_timestamp(batch)? {
            self.merge
                .begin_origin(batch.source_server_id, batch.source_first_timestamp);
        }
        self.note_restart(batch)
    }

    /// Records a restart of the source's server, which may log again the last transactions that it
    /// replicated.
    fn note_restart(&mut self, batch: &TransactionBatch) -> Result<(), LogError> {
        if !self.source(batch.source)?.has_restarted(batch) {
            return Ok(());
        }
        let is_anonymous = self.merge.executed().kind() == IdentityKind::Anonymous;
        if is_anonymous && !self.log.progress(batch.source)?.position.is_unknown() {
            self.merge.note_restart(batch.source);
            self.log.record_restart(batch.source)?;
        }
        Ok(())
    }

    fn report(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        decision: &Decision,
    ) -> Result<(), LogError> {
        let repetition = match decision {
            Decision::New(placement) if placement.executed_again => Repetition::ExecutedAgain,
            Decision::New(placement) if placement.may_be_repetition => Repetition::Delivered,
            Decision::Repeated => match &transaction.identity {
                gtid @ Identity::MariaDb(_) if !self.merge.executed().contains(gtid) => {
                    Repetition::AheadOfServer
                }
                _ => Repetition::Dropped,
            },
            Decision::Unverified => {
                let progress = self.log.progress(batch.source)?;
                let has_sent = matches!(
                    transaction.identity,
                    Identity::MariaDb(gtid) if progress.sent.contains(&gtid)
                );
                self.source(batch.source)?
                    .report_unverified(batch, transaction, has_sent);
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.source(batch.source)?
            .report_repetition(batch, transaction, repetition);
        Ok(())
    }

    fn source(&mut self, source: u16) -> Result<&mut Source, LogError> {
        source_of(&mut self.sources, &self.log, source)
    }

    /// Records that the source of `batch`, which has no transactions, has moved.
    ///
    /// # Errors
    /// When the log fails.
    pub fn move_source(&mut self, batch: &TransactionBatch) -> Result<(), LogError> {
        self.note_ended_sessions(batch)?;
        let begins = self.log.begins_with(batch) || self.ends_temporary_tables();
        if begins || self.log.is_index_full() {
            self.start_file()?;
        }
        self.note_source(batch)?;
        self.log.move_source(batch)
    }

    /// As [`Writer::commit`].
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn commit(&mut self) -> Result<(), LogError> {
        self.log.commit()
    }

    /// Writes the group, and has it completed while the next one is appended.
    fn begin_commit(&mut self, counters: &CounterTable) -> Result<(), LogError> {
        self.log
            .begin_commit(counters.iter().map(|source| source.batch_count()))
    }

    /// As [`Writer::close`].
    ///
    /// # Errors
    /// As [`Writer::close`].
    pub fn close(&mut self) -> Result<(), LogError> {
        self.log.close()
    }

    /// Replaces the log file by `file`, on which writes or syncs may fail.
    #[cfg(test)]
    fn replace_log_file(&mut self, file: std::fs::File) {
        self.log.replace_log_file(file);
    }

    /// Runs until every sender of the queue is dropped, or the log fails. It blocks: run it in a
    /// thread of its own. `counters` has one entry for each source that is followed at first.
    pub fn run(
        mut self,
        mut queue: mpsc::Receiver<Queued>,
        counters: &[Arc<SourceCounters>],
        runtime: &Handle,
    ) {
        let mut counters = CounterTable::new(counters);
        // What was there when the log was opened is on disk.
        if self.log.is_durable() {
            self.log().note_durable();
        }
        loop {
            crate::fault::inject("log_thread");
            let next =
                runtime.block_on(async { tokio::time::timeout(IDLE_TICK, queue.recv()).await });
            let outcome = match next {
                Ok(Some(first)) => self.append_group(first, &mut queue, &mut counters),
                Ok(None) => {
                    if let Err(error) = self.close() {
                        fail(self.log(), &error);
                    }
                    return;
                }
                Err(_) => self.begin_commit(&counters),
            };
            if outcome.is_ok() && self.log.is_durable() {
                self.log().note_durable();
                counters
                    .iter()
                    .for_each(|source| source.batch_count().note_durable());
            }
            let outcome = outcome.and_then(|()| self.serve_requests());
            if let Err(error) = outcome {
                // What was handed over before the error is published if its sync succeeds; else this error came first.
                let _ = self.log.finish_commits();
                fail(self.log(), &error);
                // Dropping the receiver closes the queue: the sources stop. Transactions that are
                // already durable are still served.
                return;
            }
        }
    }

    fn append_group(
        &mut self,
        first: Queued,
        queue: &mut mpsc::Receiver<Queued>,
        counters: &mut CounterTable,
    ) -> Result<(), LogError> {
        let mut len = 0;
        let mut next = Some(first);
        while let Some(queued) = next {
            match queued {
                Queued::Batch(queued) => {
                    let QueuedBatch {
                        batch,
                        source,
                        received_at,
                        memory,
                    } = queued;
                    len += batch.len();
                    let is_other_path = self.followed.note(source, batch.source);
                    let source = counters.get(source);
                    let source = source.ok_or_else(|| not_configured(&self.log, batch.source))?;
                    if usize::from(batch.source) >= self.sources.len() {
                        self.add_paths()?;
                    } else if is_other_path {
                        self.followed.publish(self.log.log());
                    }
                    self.append_batch(&batch, source)?;
                    self.log.note_received(received_at);
                    source.taken.fetch_add(1, Ordering::Relaxed);
                    batch.recycle();
                    drop(memory);
                }
                Queued::Continuation(continuation) => {
                    self.continue_source(*continuation, counters)?;
                }
                Queued::OwnUnsent(question) => self.answer_own_unsent(*question, counters)?,
                Queued::OwnExcused(decision) => self.excuse_own(decision)?,
                Queued::Follow(change) => self.change_followed(*change, counters)?,
            }
            next = if len < GROUP_LEN_MAX {
                queue.try_recv().ok()
            } else {
                None
            };
        }
        self.begin_commit(counters)
    }

    fn append_batch(
        &mut self,
        batch: &TransactionBatch,
        counters: &SourceCounters,
    ) -> Result<(), LogError> {
        if counters.refusal.borrow().is_some() {
            return Ok(()); // Nothing after a refused transaction may be appended.
        }
        if batch.is_empty() {
            return self.move_source(batch);
        }
        let (mut kept, mut duplicate, mut filtered, mut repeated) = (0, 0, 0, 0);
        for transaction in &batch.transactions {
            match self.append(batch, transaction) {
                Ok(Decision::New(placement)) => {
                    kept += 1;
                    repeated += u64::from(placement.executed_again || placement.may_be_repetition);
                    filtered += u64::from(transaction.emptied);
                }
                Ok(Decision::Repeated) => {
                    duplicate += 1;
                    repeated += 1;
                }
                Ok(Decision::Unverified) => {
                    duplicate += 1;
                    counters.note_unverified(1, || transaction.identity.to_string());
                }
                Ok(
                    Decision::Duplicate
                    | Decision::Resent
                    | Decision::Own
                    | Decision::Cleanup
                    | Decision::BeforeOrigin,
                ) => duplicate += 1,
                Ok(Decision::BeforeStart) => {}
                Err(AppendError::Log(error)) => return Err(error),
                Err(AppendError::Refused(refusal)) => {
                    counters.refusal.send_replace(Some(refusal.into()));
                    break;
                }
            }
        }
        counters.kept.fetch_add(kept, Ordering::Relaxed);
        counters.duplicate.fetch_add(duplicate, Ordering::Relaxed);
        counters.filtered.fetch_add(filtered, Ordering::Relaxed);
        counters.repeated.fetch_add(repeated, Ordering::Relaxed);
        Ok(())
    }
}

fn source_of<'a>(
    sources: &'a mut [Source],
    log: &Writer,
    source: u16,
) -> Result<&'a mut Source, LogError> {
    let found = sources.get_mut(usize::from(source));
    found.ok_or_else(|| not_configured(log, source))
}

/// The error for a batch of an unknown source: a bug of the receiver.
fn not_configured(log: &Writer, source: u16) -> LogError {
    log.internal_error(format!("source number {source} is not configured"))
}

/// The state with which the index of file `number` begins.
fn carried_over<'a>(
    merge: &'a Merge,
    temporary_tables: &'a TemporaryTables,
    (counted, earlier_histories): (&'a GtidSet, &'a BTreeSet<u32>),
    number: u64,
) -> CarriedOver<'a> {
    let end = RecordNumber {
        file: number,
        record: 0,
    };
    CarriedOver {
        executed: merge.executed(),
        halves: merge.halves(),
        paths: merge.pairing().states(end).collect(),
        temporary_tables,
        ends_temporary_tables: false,
        counted,
        new_history: None,
        skipped: &[],
        earlier_histories,
    }
}

fn fail(log: &RelayLog, error: &LogError) {
    let message = format!(
        "{error}; nothing more is appended, transactions already on disk are still served; repair \
         the disk and restart binrelay"
    );
    tracing::error!("the relay log failed: {message}");
    log.set_condition(Condition::Failed(message));
}
