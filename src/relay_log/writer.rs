//! Appending to the relay log: staging, group commit, rotation.

mod begin;
mod error;
mod place;
mod steps;
mod tail;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

pub use self::error::AppendError;

use self::begin::{begin_file, close_file, now, own_format, stage_control, widened};
use self::tail::{Tail, wait_for_room, write_staged};
use super::files::LogDir;
use super::index_record::RECORD_LEN;
use super::ledger::IndexLedger;
use super::names::Names;
use super::recover::Recovered;
use super::{LogError, LogState, RelayLog, RelayLogPosition, SourceProgress, half_record};
use crate::binlog::{FormatDescription, rotate};
use crate::config::SyncPolicy;
use crate::flavor::Flavor;
use crate::identity::Executed;
use crate::identity::Identity;
use crate::merge::pairing::{LedgerPlace, Pairing};
use crate::merge::{Decision, Merge};
use crate::transaction::{Transaction, TransactionBatch};

/// Bytes gathered before they are written, without sync, in the middle of a group.
const STAGED_LEN_MAX: usize = 4 * 1024 * 1024;
/// Room kept at the end of a file for the closing ROTATE and what headers may grow by.
const CLOSING_ROOM: u64 = 64 * 1024;

/// How the log is to be written.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Where the files are.
    pub log_dir: LogDir,
    /// The relay's own server_id, for its control events.
    pub server_id: u32,
    /// A new file begins after this many bytes.
    pub max_size: u64,
    /// When the log is synced.
    pub sync: SyncPolicy,
    /// The configured sources' names, by number.
    pub source_names: Vec<Arc<str>>,
    /// Set to have a write that waits for room on the disk given up.
    pub stopping: Arc<AtomicBool>,
}

/// The one writer of a relay log.
#[derive(Debug)]
pub struct Writer {
    options: LogOptions,
    log: Arc<RelayLog>,
    merge: Merge,
    format: Arc<FormatDescription>,
    /// The newest format description found compatible, to compare batches quickly.
    seen_format: Option<Arc<FormatDescription>>,
    number: u64,
    tail: Tail,
    index: Tail,
    /// Invariant: durable ≤ published ≤ written, but for the `sync` policies that publish first.
    durable: u64,
    /// The same of the index, in records.
    durable_records: u64,
    /// Records that the index began with.
    head_records: u64,
    names: Names,
    has_transactions: bool,
    /// MariaDB: the commit id of the group that the newest transaction belongs to.
    group_id: u64,
    /// Delivered since the last publication.
    fresh: Vec<Identity>,
    progress: Vec<SourceProgress>,
    /// By source: whether it was warned of that its own binlog repeats GTIDs.
    warned_of_repetition: Vec<bool>,
    /// When each source's server was started, by its own clock; 0 when that is not known.
    source_starts: Vec<u32>,
    /// By source: whether it was told since then that it repeats what it has replicated.
    told_of_repetitions: Vec<bool>,
    last_sync: Instant,
}

impl Writer {
    /// Begins a new log whose first file says that `purged` lies before it. `sources` is where
    /// each source starts.
    ///
    /// # Errors
    /// When the files cannot be made.
    pub fn create(
        options: LogOptions,
        format: &FormatDescription,
        purged: Executed,
        mut sources: Vec<SourceProgress>,
    ) -> Result<Self, LogError> {
        sources.resize(options.source_names.len(), SourceProgress::default());
        let state = LogState {
            executed: purged.clone(),
            purged,
            files: Vec::new(),
            sources,
        };
        let begin = LedgerPlace { file: 1, record: 0 };
        let pairing = Pairing::new(options.source_names.iter().map(|_| begin));
        let merge = Merge::new(options.server_id, state.executed.clone(), pairing);
        Self::open(options, format, state, merge, 1)
    }

    /// Goes on with a recovered log, in a new file.
    ///
    /// # Errors
    /// When the files cannot be made.
    pub fn resume(options: LogOptions, recovered: Recovered) -> Result<Self, LogError> {
        let sources = options
            .source_names
            .iter()
            .map(|name| recovered.sources.get(name).cloned().unwrap_or_default())
            .collect();
        close_file(&options, recovered.end)?;
        let state = LogState {
            executed: recovered.executed,
            purged: recovered.purged,
            files: recovered.files,
            sources,
        };
        let merge = Merge::new(options.server_id, state.executed.clone(), recovered.pairing)
            .with_halves(recovered.halves);
        let number = recovered.end.file + 1;
        Self::open(options, &recovered.format, state, merge, number)
    }

    fn open(
        options: LogOptions,
        format: &FormatDescription,
        mut state: LogState,
        mut merge: Merge,
        number: u64,
    ) -> Result<Self, LogError> {
        let format = Arc::new(own_format(format));
        for progress in &state.sources {
            merge.begin_origin(progress.server_id, progress.first_timestamp);
        }
        let mut names = Names::new(options.source_names.clone());
        let (tail, index) = begin_file(
            &options,
            number,
            &format,
            &merge,
            &state.sources,
            &mut names,
        )?;
        state.files.push(number);
        options.log_dir.write_list(&state.files)?;
        let end = RelayLogPosition {
            file: number,
            offset: tail.written,
        };
        let progress = state.sources.clone();
        let version = format.server_version.clone();
        let log = RelayLog::new(options.log_dir.clone(), version, state, end);
        Ok(Self {
            durable: tail.written,
            durable_records: records_in(&index),
            head_records: records_in(&index),
            options,
            log,
            merge,
            format,
            seen_format: None,
            number,
            tail,
            index,
            names,
            has_transactions: false,
            group_id: 0,
            fresh: Vec::new(),
            warned_of_repetition: vec![false; progress.len()],
            source_starts: vec![0; progress.len()],
            told_of_repetitions: vec![false; progress.len()],
            progress,
            last_sync: Instant::now(),
        })
    }

    /// What the others see of the log.
    pub fn log(&self) -> &Arc<RelayLog> {
        &self.log
    }

    /// Appends a transaction if it is new; it is neither durable nor published before
    /// [`Writer::commit`].
    ///
    /// # Errors
    /// See [`AppendError`]. After `Log` the writer must not be used any more.
    pub fn append(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Result<Decision, AppendError> {
        self.adopt_format(&batch.format)?;
        self.begin_log(batch)?;
        let len = transaction.len();
        let fits = |end: u64| end.saturating_add(len) <= u64::from(u32::MAX) - CLOSING_ROOM;
        if !fits(0) {
            return Err(AppendError::TooLarge { len });
        }
        let full = self.tail.end() >= self.options.max_size || !fits(self.tail.end());
        if full && self.has_transactions {
            self.rotate()?;
        }
        if !fits(self.tail.end()) {
            return Err(AppendError::TooLarge { len });
        }
        self.note_source_start(batch);
        let ledger = IndexLedger {
            log_dir: &self.options.log_dir,
            source_names: &self.options.source_names,
            end: self.index_place(),
            staged: &self.index.staged,
        };
        let decision = self.merge.place(batch, transaction, &ledger)?;
        if let Decision::New(place) = decision {
            self.place_events(batch, transaction, place)?;
            if let Some(change) = self.merge.take_half_change() {
                half_record::encode(&change, &mut self.index.staged);
            }
            self.fresh.push(transaction.identity);
            self.has_transactions = true;
        }
        if decision == Decision::Duplicate {
            self.warn_of_repetition(batch, transaction);
        }
        self.record_step(decision, batch, transaction);
        Ok(decision)
    }

    /// Takes in that the source of `batch`, which has no transactions, stands at another place.
    ///
    /// # Errors
    /// When the log fails.
    pub fn move_source(&mut self, batch: &TransactionBatch) -> Result<(), LogError> {
        self.begin_log(batch)?;
        self.note_source_start(batch);
        self.note_progress(batch, batch.source_end.offset, None);
        self.record_progress(batch.source, false);
        Ok(())
    }

    /// The first batch that does not lie before its source's start begins the log: all sources
    /// have been read up to their starts. Until then recovery makes the log anew; the next file
    /// ends that.
    fn begin_log(&mut self, batch: &TransactionBatch) -> Result<(), LogError> {
        let mut reading_back = false;
        if !batch.before_start {
            for progress in &mut self.progress {
                reading_back |= std::mem::take(&mut progress.reading_back);
            }
        }
        match reading_back {
            true => self.rotate(),
            false => Ok(()),
        }
    }

    /// Makes all that was appended durable (under the `sync` policy) and publishes it.
    ///
    /// # Errors
    /// When a write or a sync fails. The writer must not be used any more then: what a failed
    /// sync left on disk is unknown.
    pub fn commit(&mut self) -> Result<(), LogError> {
        if self.index.staged.is_empty() && self.tail.staged.is_empty() {
            return self.sync_when_due();
        }
        self.flush()?;
        match self.options.sync {
            SyncPolicy::Commit => self.sync()?,
            SyncPolicy::Interval(_) | SyncPolicy::Never => {}
        }
        self.publish();
        self.sync_when_due()
    }

    /// Syncs what an interval policy has put off, if its time has come.
    fn sync_when_due(&mut self) -> Result<(), LogError> {
        match self.options.sync {
            SyncPolicy::Interval(interval)
                if self.last_sync.elapsed() >= interval
                    && (self.durable < self.tail.written
                        || self.durable_records < records_in(&self.index)) =>
            {
                self.sync()
            }
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.tail.sync()?;
        self.index.sync()?;
        self.durable = self.tail.written;
        self.durable_records = records_in(&self.index);
        self.last_sync = Instant::now();
        Ok(())
    }

    /// Commits what is left and makes it durable whatever the policy is.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn close(&mut self) -> Result<(), LogError> {
        self.commit()?;
        self.sync()?;
        // One more record says so: the next start need not verify what is durable, and does not
        // take damage in it for the torn end of a write.
        if self.durable_records == self.head_records {
            return Ok(());
        }
        let known = self
            .progress
            .iter()
            .position(|progress| !progress.position.is_unknown());
        if let Some(source) = known {
            self.record_progress(source as u16, false);
        }
        self.flush()?;
        self.index.sync()
    }

    fn publish(&mut self) {
        let end = RelayLogPosition {
            file: self.number,
            offset: self.tail.written,
        };
        let (fresh, progress) = (&mut self.fresh, &self.progress);
        self.log.publish(end, |state| {
            for identity in fresh.drain(..) {
                state.executed.record(&identity);
            }
            state.sources.clone_from(progress);
            if state.files.last() != Some(&end.file) {
                state.files.push(end.file);
            }
        });
    }

    /// Has the log written to `file` from now on, which can be one that fails.
    #[cfg(test)]
    pub(super) fn break_log(&mut self, file: std::fs::File) {
        self.tail.file = file;
    }

    /// Writes what is staged, log first. Nothing is synced.
    fn flush(&mut self) -> Result<(), LogError> {
        let (log, stopping) = (self.log.clone(), self.options.stopping.clone());
        write_staged(&mut self.tail, &log, &stopping)?;
        write_staged(&mut self.index, &log, &stopping)
    }

    /// Ends the current file and begins the next.
    fn rotate(&mut self) -> Result<(), LogError> {
        let next = self.number + 1;
        self.flush()?;
        let closing = rotate::closing(
            now(),
            self.options.server_id,
            0,
            &self.options.log_dir.file_name(next),
        );
        stage_control(&mut self.tail, closing)?;
        self.flush()?;
        self.sync()?;
        self.merge.start_file();
        let (log, stopping) = (self.log.clone(), self.options.stopping.clone());
        let (tail, index) = wait_for_room(&log, &stopping, || {
            begin_file(
                &self.options,
                next,
                &self.format,
                &self.merge,
                &self.progress,
                &mut self.names,
            )
        })?;
        let mut files = log.state().files.clone();
        files.push(next);
        wait_for_room(&log, &stopping, || self.options.log_dir.write_list(&files))?;
        self.durable = tail.written;
        self.durable_records = records_in(&index);
        self.head_records = self.durable_records;
        self.tail = tail;
        self.index = index;
        self.number = next;
        self.has_transactions = false;
        self.publish();
        Ok(())
    }

    /// Takes over what a newer source's format description adds, in a new file.
    fn adopt_format(&mut self, format: &Arc<FormatDescription>) -> Result<(), AppendError> {
        if self
            .seen_format
            .as_ref()
            .is_some_and(|seen| Arc::ptr_eq(seen, format))
        {
            return Ok(());
        }
        let flavor = |format: &FormatDescription| Flavor::of_version(&format.server_version);
        if flavor(&self.format) != flavor(format) || !self.format.is_compatible_with(format) {
            return Err(AppendError::Format {
                expected: self.format.server_version.clone(),
                found: format.server_version.clone(),
            });
        }
        if let Some(wider) = widened(&self.format, format) {
            self.format = Arc::new(wider);
            self.rotate()?;
        }
        self.seen_format = Some(format.clone());
        Ok(())
    }
}

/// How many records, the header included, are in the index file.
fn records_in(index: &Tail) -> u64 {
    index.written / RECORD_LEN as u64
}
