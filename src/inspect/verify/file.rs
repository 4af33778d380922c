//! Verifies one log file against its commit index.

use std::path::PathBuf;

use super::transaction::{Fault, Found, FoundTransaction, next_event, read_next};
use super::{FileReport, PROBLEMS_PER_FILE_MAX, Problem};
use crate::binlog::EventType;
use crate::binlog::rotate::Rotate;
use crate::identity::Executed;
use crate::identity::Identity;
use crate::inspect::{EventReader, InspectError};
use crate::relay_log::index_reader::{self, IndexReader, NumberedRecord};
use crate::relay_log::index_record::{RECORD_LEN, Record};
use crate::relay_log::reader::FileHead;
use crate::relay_log::{LogBinding, LogDir, LogError};

/// Only the beginning of a statement is read: enough to distinguish BEGIN and COMMIT from others.
const EVENT_KEPT_MAX: usize = 64 * 1024;

/// Verifies file `number`, adds its transactions to `executed` and returns the findings.
pub(super) fn verify_file(
    log_dir: &LogDir,
    binding: &LogBinding,
    number: u64,
    is_newest: bool,
    executed: &mut Executed,
) -> FileReport {
    let mut check = FileCheck {
        number,
        log_path: log_dir.log_path(number),
        index_path: log_dir.index_path(number),
        next_file: log_dir.file_name(number + 1),
        is_newest,
        sequence: 0,
        durable_to: 0,
        marked_to: 0,
        durable_records: 0,
        report: FileReport {
            name: log_dir.file_name(number),
            ..FileReport::default()
        },
    };
    if let Err(stop) = check.run(binding, executed) {
        check.stop(stop);
    }
    check.report
}

/// Why reading stopped.
enum Stop {
    /// A problem at this offset of the log.
    Log(Fault),
    /// A problem at this offset of the index.
    Index(Fault),
    /// A file cannot be read.
    Unreadable(LogError),
}

struct FileCheck {
    number: u64,
    log_path: PathBuf,
    index_path: PathBuf,
    next_file: String,
    is_newest: bool,
    /// The newest transaction's sequence_number.
    sequence: i64,
    /// Bytes of the log known to have been on disk, by the records read.
    durable_to: u64,
    /// The same, by the durable mark.
    marked_to: u64,
    /// Records of the index known to have been on disk, by the durable mark.
    durable_records: u64,
    report: FileReport,
}

impl FileCheck {
    fn run(&mut self, binding: &LogBinding, executed: &mut Executed) -> Result<(), Stop> {
        let mark_damage = binding.mark_damage().filter(|_| self.is_newest);
        self.report.notes.extend(mark_damage.map(str::to_owned));
        let head = FileHead::read(&self.log_path).map_err(Stop::Unreadable)?;
        // An index that cannot be read is reported below.
        if let Ok(index) = IndexReader::open(&self.index_path) {
            let _ = apply_decisions(index, &head.previous, executed);
        }
        if head.previous != *executed {
            let what = format!(
                "the file lists [{}] as the transactions before it, expected [{}]",
                head.previous.to_text(),
                executed.to_text()
            );
            self.problem_in_log(0, what);
            *executed = head.previous.clone();
        }
        binding
            .check(self.number, &head)
            .map_err(Stop::Unreadable)?;
        let mut index = IndexReader::open(&self.index_path).map_err(Stop::Unreadable)?;
        let mut reader = EventReader::open(&self.log_path, EVENT_KEPT_MAX).map_err(read_error)?;
        self.read_head(&mut reader, head.end)?;
        let (durable_log, durable_records) = binding.durable(self.number);
        self.durable_records = durable_records;
        self.durable_to = head.end;
        self.marked_to = durable_log;
        self.report.verified_to = head.end;
        let mut index_end = RECORD_LEN as u64;
        while let Some(read) = self.next_step(&mut index, &mut index_end)? {
            let compared = self.compare(&index, &read, &mut reader, executed);
            if compared.is_err() {
                self.read_durable_to(&mut index);
            }
            compared?;
        }
        self.check_index_end(index_end)?;
        self.read_tail(&mut reader)
    }

    /// Reads the events before the first transaction.
    fn read_head(&self, reader: &mut EventReader, end: u64) -> Result<(), Stop> {
        while reader.offset() < end {
            next_event(reader).map_err(Stop::Log)?;
        }
        Ok(())
    }

    /// The next record that is a step.
    fn next_step(
        &mut self,
        index: &mut IndexReader<'_>,
        index_end: &mut u64,
    ) -> Result<Option<NumberedRecord>, Stop> {
        loop {
            let read = match index.next_record() {
                Ok(Some(read)) => read,
                Ok(None) => return Ok(None),
                Err(LogError::Index { offset, cause, .. }) => {
                    let what = cause.to_string();
                    return Err(Stop::Index(Fault { offset, what }));
                }
                Err(error) => return Err(Stop::Unreadable(error)),
            };
            *index_end = read.index_end();
            let Some(step) = read.record.step() else {
                continue;
            };
            self.report.steps += 1;
            let (durable_to, log_end) = (u64::from(step.durable_to), u64::from(step.log_end));
            if durable_to < self.durable_to {
                let what = format!(
                    "the record of log offset {log_end} has {durable_to} as the durable offset, \
                     expected {} to {log_end}",
                    self.durable_to
                );
                self.problem_in_index(read.index_end(), what);
            }
            self.durable_to = self.durable_to.max(durable_to);
            return Ok(Some(read));
        }
    }

    /// Reads the remaining records, for how much of the log is known to have been on disk.
    fn read_durable_to(&mut self, index: &mut IndexReader<'_>) {
        while let Ok(Some(read)) = index.next_record() {
            if let Some(step) = read.record.step() {
                self.durable_to = self.durable_to.max(u64::from(step.durable_to));
            }
        }
    }

    fn compare(
        &mut self,
        index: &IndexReader<'_>,
        read: &NumberedRecord,
        reader: &mut EventReader,
        executed: &mut Executed,
    ) -> Result<(), Stop> {
        let record = &read.record;
        let log_end = record.step().map_or(0, |step| u64::from(step.log_end));
        let Record::Transaction {
            transaction,
            executed_again,
            ..
        } = record
        else {
            if log_end != self.report.verified_to {
                let what = format!(
                    "{} record of log offset {log_end}, expected {}",
                    record.name(),
                    self.report.verified_to
                );
                self.problem_in_index(read.index_end() - RECORD_LEN as u64, what);
            }
            return Ok(());
        };
        let identity = index.identity(transaction).map_err(Stop::Unreadable)?;
        let found = match read_next(reader).map_err(Stop::Log)? {
            Found::Transaction(found) => found,
            Found::Rotate | Found::End => {
                let what = format!(
                    "no transaction here, expected {} up to {log_end}, as in the commit index",
                    identity
                );
                let offset = self.report.verified_to;
                return Err(Stop::Log(Fault { offset, what }));
            }
        };
        if found.end != log_end || !is_same(&found.identity, &identity) {
            let what = format!(
                "transaction {} up to {}, but the commit index has {} up to {log_end}",
                found.identity, found.end, identity
            );
            let offset = found.start;
            return Err(Stop::Log(Fault { offset, what }));
        }
        self.count(&found, *executed_again, executed);
        self.report.verified_to = found.end;
        Ok(())
    }

    fn count(&mut self, found: &FoundTransaction, executed_again: bool, executed: &mut Executed) {
        self.report.transactions += 1;
        let has_gtid = !matches!(found.identity, Identity::Anonymous(_));
        if has_gtid && executed.deliver(&found.identity) == executed_again {
            let identity = &found.identity;
            let what = match executed_again {
                false => format!("transaction {identity} is already in the log, or precedes it"),
                true => {
                    format!("transaction {identity} is not in the log before, as its record says")
                }
            };
            self.problem_in_log(found.start, what);
        }
        // MySQL 5.6 writes no clocks; such a transaction still counts.
        let expected = self.sequence + 1;
        let Some(clock) = found.clock else {
            self.sequence = expected;
            return;
        };
        if clock.sequence_number != expected {
            let what = format!(
                "sequence_number is {}, expected {expected}",
                clock.sequence_number
            );
            self.problem_in_log(found.start, what);
        }
        if clock.last_committed < 0 || clock.last_committed >= clock.sequence_number {
            let what = format!(
                "last_committed is {}, expected 0 or more and less than sequence_number {}",
                clock.last_committed, clock.sequence_number
            );
            self.problem_in_log(found.start, what);
        }
        self.sequence = clock.sequence_number;
    }

    /// Checks for a partial record at the end, which a killed relay leaves.
    fn check_index_end(&mut self, index_end: u64) -> Result<(), Stop> {
        let io = |cause| Stop::Unreadable(LogError::io("read", &self.index_path, cause));
        let len = std::fs::metadata(&self.index_path).map_err(io)?.len();
        let torn = len % RECORD_LEN as u64;
        if torn == 0 {
            return Ok(());
        }
        if self.is_newest {
            let note = format!("commit index: part of a record at its end ({torn} bytes)");
            self.report.notes.push(note);
        } else {
            let what = format!("{torn} bytes of a record at the end, expected a whole one");
            self.problem_in_index(len.max(index_end) - torn, what);
        }
        Ok(())
    }

    /// Reads the log after the last record: a ROTATE or, in the newest file, events that were not
    /// committed.
    fn read_tail(&mut self, reader: &mut EventReader) -> Result<(), Stop> {
        let offset = reader.offset();
        let event = match next_event(reader) {
            Ok(event) => event,
            Err(fault) if !self.is_newest => return Err(Stop::Log(fault)),
            Err(_) => {
                self.note_tail(offset);
                return Ok(());
            }
        };
        let Some(event) = event else {
            if !self.is_newest {
                let what = "the file ends here, expected a Rotate event".to_owned();
                return Err(Stop::Log(Fault { offset, what }));
            }
            return Ok(());
        };
        if event.header.event_type != EventType::ROTATE {
            if !self.is_newest {
                let what = format!(
                    "{} event without a record in the commit index, expected Rotate",
                    event.header.event_type
                );
                return Err(Stop::Log(Fault { offset, what }));
            }
            self.note_tail(offset);
            return Ok(());
        }
        let named = Rotate::parse(reader.body()).map(|rotate| rotate.file.to_vec());
        if named.as_deref() != Ok(self.next_file.as_bytes()) {
            let what = format!("Rotate event: expected one to {}", self.next_file);
            self.problem_in_log(offset, what);
        }
        let end = reader.offset();
        match next_event(reader) {
            Ok(None) => self.report.verified_to = end,
            _ => self.problem_in_log(end, "bytes after the Rotate event".to_owned()),
        }
        Ok(())
    }

    fn note_tail(&mut self, offset: u64) {
        self.report.notes.push(format!(
            "the file extends past offset {offset}, the last record of the commit index: not yet \
             committed; the next start truncates it"
        ));
    }

    /// The offset up to which the log is known to have been on disk.
    fn on_disk(&self) -> u64 {
        self.durable_to.max(self.marked_to)
    }

    /// Reports why reading stopped. The part of the newest file that was never known to be on disk
    /// may be missing.
    fn stop(&mut self, stop: Stop) {
        match stop {
            Stop::Log(fault) if self.is_newest && fault.offset >= self.on_disk() => {
                self.report.notes.push(format!(
                    "offset {}: {}; only the part up to offset {} is known to be on disk; the next \
                     start truncates the rest",
                    fault.offset,
                    fault.what,
                    self.on_disk()
                ));
            }
            Stop::Log(fault) => self.problem_in_log(fault.offset, fault.what),
            Stop::Index(fault) => self.index_damage(fault),
            Stop::Unreadable(error) => {
                let (path, offset, what) = match error {
                    LogError::Event {
                        path,
                        offset,
                        cause,
                    } => (path, offset, cause.to_string()),
                    LogError::Unexpected {
                        path,
                        offset,
                        found,
                        expected,
                    } => (path, offset, format!("{found}, expected {expected}")),
                    LogError::Index {
                        path,
                        offset,
                        cause,
                    } => (path, offset, cause.to_string()),
                    LogError::IndexMismatch { path, log, cause } => {
                        let log = log.display();
                        let what =
                            format!("{cause}; restore the commit index that belongs to {log}");
                        (path, 0, what)
                    }
                    other => (self.log_path.clone(), 0, other.to_string()),
                };
                self.problem(path, offset, what);
            }
        }
    }

    /// As in recovery, damage at the end of the newest index is the torn end of a write unless it is
    /// in the part that is known to have been on disk.
    fn index_damage(&mut self, fault: Fault) {
        let number = fault.offset / RECORD_LEN as u64;
        let is_durable = number < self.durable_records
            || index_reader::is_followed_by_proof(&self.index_path, number).unwrap_or(true);
        if self.is_newest && !is_durable && number > 0 {
            let note = format!("commit index, offset {}: {}", fault.offset, fault.what);
            self.report.notes.push(note);
        } else {
            self.problem_in_index(fault.offset, fault.what);
        }
    }

    fn problem_in_log(&mut self, offset: u64, what: String) {
        self.problem(self.log_path.clone(), offset, what);
    }

    fn problem_in_index(&mut self, offset: u64, what: String) {
        self.problem(self.index_path.clone(), offset, what);
    }

    fn problem(&mut self, path: PathBuf, offset: u64, what: String) {
        if self.report.problems.len() < PROBLEMS_PER_FILE_MAX {
            self.report.problems.push(Problem { path, offset, what });
        }
    }
}

/// Applies the decisions of an administrator with which the file begins to `executed`, the transactions
/// before the file. `listed` are those that the file lists.
fn apply_decisions(
    mut index: IndexReader<'_>,
    listed: &Executed,
    executed: &mut Executed,
) -> Result<(), LogError> {
    for record in index.read_head()? {
        if let Some((sid, first, last)) = index.counted(&record)?
            && let Executed::MySql(set) = executed
        {
            set.insert_interval(sid, first, last);
        }
        if let (Record::SkippedGtid(gtid), Executed::MariaDb(state)) = (&record, &mut *executed) {
            state.record(*gtid);
        }
        if let (
            Record::NewHistory { server_id },
            Executed::MariaDb(state),
            Executed::MariaDb(new),
        ) = (&record, &mut *executed, listed)
        {
            state.begin_again(*server_id, new);
        }
    }
    Ok(())
}

fn read_error(error: InspectError) -> Stop {
    match error {
        InspectError::Io {
            action,
            path,
            cause,
        } => Stop::Unreadable(LogError::Io {
            action,
            path,
            cause,
        }),
        other => Stop::Log(Fault {
            offset: 0,
            what: other.to_string(),
        }),
    }
}

/// Without GTIDs the fingerprint is only in the index.
fn is_same(in_log: &Identity, in_index: &Identity) -> bool {
    match (in_log, in_index) {
        (Identity::Anonymous(_), Identity::Anonymous(_)) => true,
        (in_log, in_index) => in_index == in_log,
    }
}
