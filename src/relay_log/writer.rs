//! Appending to the relay log: size limits, staging, group commit, rotation.
//!
//! The writer knows files, records, sync and publication, and nothing about how the merge decides.

mod bridge;
mod decisions;
mod error;
mod events;
mod finish;
mod head;
mod index_tail;
mod limits;
mod options;
mod own_format;
mod source_moves;
mod sources;
mod spill_copy;
mod syncing;
mod tail;
mod temporary_tables;

use std::sync::Arc;
use std::time::Instant;

pub use self::bridge::BridgeWriter;
pub use self::error::WriteError;
pub use self::index_tail::CarriedOver;
pub use self::options::{HAND_OVER_MIN, LogOptions};
pub(super) use self::own_format::{as_old, is_old};

use self::events::stage_transaction;
use self::head::{NewFile, begin_file, close_file, now, stage_control};
use self::index_tail::{IndexTail, record_of};
use self::own_format::{adapted, own_format};
use self::sources::Sources;
use self::syncing::{Files, Group, OnDisk, Publisher, Syncing};
use self::tail::{Disk, Tail};
use super::batch_count::BatchCount;
use super::durable_mark::DurableMark;
use super::error::LogError;
use super::index_record::{Record, Step};
use super::ledger::IndexLedger;
use super::names::Names;
use super::published::{LogState, RelayLog, SourceProgress};
use super::reserve::Reserve;
use crate::binlog::{FormatDescription, rotate};
use crate::config::SyncPolicy;
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::merge::Decision;
use crate::position::{RecordNumber, RelayLogPosition};
use crate::transaction::{Transaction, TransactionBatch};

/// A log that is opened for writing: its state, and the file with which it continues.
#[derive(Debug)]
pub struct OpenedLog {
    /// Its identity.
    pub log_id: Uuid,
    /// Its state. Its list of files does not have the new file yet.
    pub state: LogState,
    /// The number of the new file.
    pub number: u64,
}

/// The one writer of a relay log.
#[derive(Debug)]
pub struct Writer {
    options: LogOptions,
    log: Arc<RelayLog>,
    log_id: Uuid,
    disk: Disk,
    format: Arc<FormatDescription>,
    /// By source: the format of its newest batch.
    source_formats: Vec<Option<Arc<FormatDescription>>>,
    number: u64,
    tail: Tail,
    index: IndexTail,
    /// The two files of the tails.
    files: Arc<Files>,
    /// What was appended since the last commit.
    group: Group,
    /// Makes groups durable and publishes them. Invariant: durable ≤ published ≤ written, except under the `sync`
    /// policies that publish first.
    syncing: Syncing,
    has_transactions: bool,
    /// MariaDB: the commit id of the group that the newest transaction belongs to.
    group_id: u64,
    /// Each source's progress, by number. Published with the next commit.
    sources: Sources,
    last_sync: Instant,
}

impl Writer {
    /// Begins a file of the log: its first, or the one after the recovered files.
    ///
    /// # Errors
    /// When the files cannot be created.
    pub fn open(
        options: LogOptions,
        format: &FormatDescription,
        opened: OpenedLog,
        carried: &CarriedOver<'_>,
    ) -> Result<Self, LogError> {
        let OpenedLog {
            log_id,
            mut state,
            number,
        } = opened;
        let format = Arc::new(own_format(format));
        let file = NewFile {
            log_id,
            number,
            format: &format,
            carried,
            sources: &state.sources,
        };
        let reserve = Reserve::new(options.log_dir.reserve_path(), options.reserve);
        let begin = || begin_file(&options, &file, Names::new(options.source_names.clone()));
        let (tail, index) = reserve.spend(begin)?;
        state.files.push(number);
        reserve.spend(|| options.log_dir.write_list(&state.files))?;
        let end = RelayLogPosition {
            file: number,
            offset: tail.written,
        };
        let source_formats = vec![None; state.sources.len()];
        let kind = state.executed.kind();
        let list = options.log_dir.list_path();
        let sources = Sources::new(state.sources.clone(), kind, list);
        let version = format.server_version.clone();
        let shared = (options.open_retention()?, reserve);
        let log = RelayLog::new(options.log_dir.clone(), version, state, end, shared);
        let mark = log
            .reserve()
            .spend(|| DurableMark::open(&options.log_dir))?;
        let disk = Disk {
            log: log.clone(),
            stopping: options.stopping.clone(),
            waiting: Arc::default(),
        };
        let publisher = Publisher {
            disk: disk.clone(),
            mark,
            log_id,
        };
        let files = files_of(number, &tail, &index);
        let writer = Self {
            syncing: Syncing::start(
                publisher,
                (&files, written(&tail, &index)),
                options.hand_over_min,
            )?,
            group: Group::new(files.clone()),
            files,
            options,
            log,
            log_id,
            disk,
            format,
            source_formats,
            number,
            tail,
            index,
            has_transactions: false,
            group_id: 0,
            sources,
            last_sync: Instant::now(),
        };
        // Without waiting for space: nothing is lost yet, and the start must not hang.
        let (publisher, written) = (writer.syncing.publisher(), writer.written());
        let reserve = writer.log.reserve();
        reserve.spend(|| publisher.begin_mark(number, written))?;
        reserve.fill();
        Ok(writer)
    }

    /// Writes the closing ROTATE to the recovered log's newest file, whose end is `end`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close_recovered(options: &LogOptions, end: RelayLogPosition) -> Result<(), LogError> {
        let reserve = Reserve::new(options.log_dir.reserve_path(), options.reserve);
        reserve.spend(|| close_file(options, end))
    }

    /// The published log.
    pub fn log(&self) -> &Arc<RelayLog> {
        &self.log
    }

    /// The error for a violated invariant: the log must stop.
    pub fn internal_error(&self, what: String) -> LogError {
        LogError::Internal {
            path: self.tail.path.clone(),
            what,
        }
    }

    /// A source's progress, published or not.
    ///
    /// # Errors
    /// When there is no such source: a bug of the caller.
    pub fn progress(&self, source: u16) -> Result<&SourceProgress, LogError> {
        self.sources.get(source)
    }

    /// The relay's own server_id.
    pub fn server_id(&self) -> u32 {
        self.options.server_id
    }

    /// The name of a source or path, by number.
    pub fn source_name(&self, number: u16) -> Option<&Arc<str>> {
        self.options.source_names.get(usize::from(number))
    }

    /// The transactions delivered without GTIDs, up to the next record.
    pub fn ledger(&self) -> IndexLedger<'_> {
        IndexLedger {
            log_dir: &self.options.log_dir,
            source_names: &self.options.source_names,
            end: self.next_record(),
            staged: &self.index.tail.staged,
        }
    }

    /// Adds a source with the next number. [`Writer::start_file`] must follow.
    pub fn add_source(&mut self, name: Arc<str>) {
        self.options.source_names.push(name.clone());
        self.source_formats.push(None);
        self.sources.add();
        self.index.add_source(name);
    }

    /// The number of the next record of the index.
    pub fn next_record(&self) -> RecordNumber {
        RecordNumber {
            file: self.number,
            record: self.index.records(),
        }
    }

    /// Adopts the format description of `batch`, if it is not that of its source's previous batch.
    /// Returns whether the log's files need another one than the current file has, so that a new
    /// file must begin; see [`mod@own_format`].
    ///
    /// # Errors
    /// When it contradicts the log's.
    pub fn adopt_format(&mut self, batch: &TransactionBatch) -> Result<bool, WriteError> {
        let format = &batch.format;
        let Some(newest) = self.source_formats.get_mut(usize::from(batch.source)) else {
            return Ok(false); // No such source: reported when its progress is noted.
        };
        if newest
            .as_ref()
            .is_some_and(|newest| Arc::ptr_eq(newest, format))
        {
            return Ok(false);
        }
        let flavor = |format: &FormatDescription| Flavor::of_version(&format.server_version);
        if flavor(&self.format) != flavor(format) || !self.format.is_compatible_with(format) {
            return Err(WriteError::Format {
                expected: self.format.server_version.clone(),
                found: format.server_version.clone(),
            });
        }
        *newest = Some(format.clone());
        let other = adapted(&self.format, &self.source_formats);
        let is_other = other.is_some();
        if let Some(other) = other {
            self.format = Arc::new(other);
        }
        Ok(is_other)
    }

    /// Whether `batch` begins the log: it is the first batch after its source's start, and by then
    /// all sources have been read up to their starts. If so, a new file must begin; without it,
    /// recovery creates the log again.
    pub fn begins_with(&mut self, batch: &TransactionBatch) -> bool {
        !batch.before_start && self.sources.end_reading_back()
    }

    /// Appends a transaction's events, if it is new, and its record. Neither is durable or
    /// published before [`Writer::commit`]. Returns the record's number.
    ///
    /// # Errors
    /// When a write fails, or an invariant is violated. The writer must no longer be used then.
    pub fn write(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        decision: &Decision,
    ) -> Result<RecordNumber, LogError> {
        if let Decision::New(placement) = decision {
            if !placement.joins_group {
                // File and offset of the group's first member: unique in this log.
                self.group_id = (self.number << 32) | self.tail.end();
            }
            let placed = (placement, self.group_id);
            stage_transaction(&mut self.tail, &self.disk, batch, transaction, placed)?;
            if let Some(change) = &placement.half_change {
                self.index.stage_half(change);
            }
            self.group.push(transaction.identity);
            self.has_transactions = true;
        }
        self.sources.note(batch, transaction)?;
        self.stage_step(batch.source, |step, names, out| {
            record_of(decision, transaction, step, names, out)
        })
    }

    fn stage_step(
        &mut self,
        source: u16,
        make: impl FnOnce(Step, &mut Names, &mut Vec<u8>) -> Record,
    ) -> Result<RecordNumber, LogError> {
        let end = (self.tail.end(), self.syncing.on_disk());
        let file = self.number;
        let progress = self.sources.get(source)?;
        let record = self.index.stage_step(source, progress, end, make)?;
        Ok(RecordNumber { file, record })
    }

    /// Writes the appended transactions, and has them made durable (as the `sync` policy says) and published, while
    /// the next ones are appended. `batches` says how much was taken of each source.
    ///
    /// # Errors
    /// When a write fails, or the sync of an earlier group has failed. The writer must no longer be used then: after a
    /// failed sync the state of the files on disk is unknown.
    pub fn begin_commit(
        &mut self,
        batches: impl Iterator<Item = BatchCount>,
    ) -> Result<(), LogError> {
        let is_idle = self.syncing.is_idle();
        self.syncing.check()?;
        if is_idle && self.index.tail.staged.is_empty() && self.tail.staged.is_empty() {
            batches.for_each(|count| count.note_committed());
            return self.sync_when_due();
        }
        self.flush()?;
        let end = self.written();
        self.group.end((&self.files, end), &self.sources, batches);
        match self.options.sync {
            SyncPolicy::Commit => self.syncing.complete(&mut self.group)?,
            SyncPolicy::Interval(_) | SyncPolicy::Never => {
                self.syncing.publisher().publish(&mut self.group);
            }
        }
        self.sync_when_due()
    }

    /// Waits until everything that was committed is published.
    ///
    /// # Errors
    /// When the sync of a group has failed. The writer must no longer be used then.
    pub fn finish_commits(&mut self) -> Result<(), LogError> {
        self.syncing.finish()
    }

    /// As [`Writer::begin_commit`] and [`Writer::finish_commits`].
    ///
    /// # Errors
    /// As those.
    pub fn commit(&mut self) -> Result<(), LogError> {
        self.begin_commit([].into_iter())?;
        self.finish_commits()
    }

    /// Syncs data whose sync an interval policy has delayed, if the interval has passed.
    fn sync_when_due(&mut self) -> Result<(), LogError> {
        match self.options.sync {
            SyncPolicy::Interval(interval)
                if self.last_sync.elapsed() >= interval && !self.is_durable() =>
            {
                self.sync()
            }
            _ => Ok(()),
        }
    }

    /// Whether everything that was committed is on disk.
    pub fn is_durable(&self) -> bool {
        self.syncing.on_disk() == self.written()
    }

    fn written(&self) -> OnDisk {
        written(&self.tail, &self.index)
    }

    /// Syncs both files, while nothing is handed over to the sync thread.
    fn sync(&mut self) -> Result<(), LogError> {
        self.files.log.sync()?;
        self.files.index.sync()?;
        self.last_sync = Instant::now();
        self.note_synced()
    }

    /// Everything that was written is on disk.
    fn note_synced(&mut self) -> Result<(), LogError> {
        let written = self.written();
        self.syncing.set_on_disk(written);
        self.syncing.publisher().write_mark(self.number, written)
    }

    /// Commits the staged transactions and makes them durable, whatever the policy is.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn close(&mut self) -> Result<(), LogError> {
        self.commit()?;
        self.sync()?;
        // One more record states that everything is durable: the next start need not verify the
        // last group, and does not mistake damage in it for the torn end of a write.
        if let Some(source) = self.sources.first_known()
            && self.index.written_records() > self.index.head_records
        {
            self.record_position(source)?;
            self.flush()?;
            self.sync()?;
        }
        self.syncing.publisher().mark.sync()
    }

    fn publish(&mut self) {
        let end = self.written();
        self.group
            .end((&self.files, end), &self.sources, [].into_iter());
        self.syncing.publisher().publish(&mut self.group);
    }

    /// Replaces the log file by `file`, on which writes or syncs may fail.
    #[cfg(test)]
    pub(crate) fn replace_log_file(&mut self, file: std::fs::File) {
        self.tail.file = Arc::new(file.into());
        self.files = files_of(self.number, &self.tail, &self.index);
    }

    /// Writes the staged bytes, the log's first. Nothing is synced.
    fn flush(&mut self) -> Result<(), LogError> {
        self.disk.write(&mut self.tail)?;
        self.disk.write_with_reserve(|| self.index.tail.write_all())
    }

    /// Ends the current file and begins the next, whose index begins with `carried`.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn start_file(&mut self, carried: &CarriedOver<'_>) -> Result<(), LogError> {
        let next = self.number + 1;
        self.flush()?;
        let next_name = self.options.log_dir.file_name(next);
        let closing = rotate::closing(now(), self.options.server_id, 0, &next_name);
        stage_control(&mut self.tail, closing)?;
        self.flush()?;
        self.finish_commits()?;
        self.sync()?;
        let file = NewFile {
            log_id: self.log_id,
            number: next,
            format: &self.format,
            carried,
            sources: self.sources.as_slice(),
        };
        let (tail, index) = self
            .disk
            .begin(|| begin_file(&self.options, &file, self.index.next_names()))?;
        self.disk.write_with_reserve(|| self.log.list_file(next))?;
        self.log.reserve().fill();
        self.files = files_of(next, &tail, &index);
        self.tail = tail;
        self.index = index;
        self.number = next;
        self.has_transactions = false;
        self.note_synced()?;
        self.syncing.publisher().mark.sync()?;
        self.publish();
        self.log.retention().new_file.notify_one();
        Ok(())
    }
}

fn files_of(number: u64, tail: &Tail, index: &IndexTail) -> Arc<Files> {
    Arc::new(Files {
        number,
        log: tail.synced(),
        index: index.tail.synced(),
    })
}

fn written(tail: &Tail, index: &IndexTail) -> OnDisk {
    OnDisk {
        log: tail.written,
        records: index.written_records(),
    }
}
