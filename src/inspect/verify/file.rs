//! Verifying one log file against its commit index.

use std::path::PathBuf;

use super::transaction::{Fault, Found, FoundTransaction, next_event, read_next};
use super::{FileReport, PROBLEMS_PER_FILE_MAX, Problem};
use crate::binlog::EventType;
use crate::binlog::rotate::Rotate;
use crate::identity::Executed;
use crate::identity::Identity;
use crate::inspect::{EventReader, InspectError};
use crate::relay_log::index_file::{IndexFile, PlacedStep};
use crate::relay_log::index_record::{RECORD_LEN, Step, StepKind};
use crate::relay_log::reader::FileHead;
use crate::relay_log::{LogDir, LogError};

/// Statements are read only as far as to tell BEGIN and COMMIT from others.
const EVENT_KEPT_MAX: usize = 64 * 1024;

/// Verifies file `number`, adds its transactions to `executed` and says what was found.
pub(super) fn verify_file(
    log_dir: &LogDir,
    number: u64,
    is_newest: bool,
    executed: &mut Executed,
) -> FileReport {
    let mut check = FileCheck {
        log_path: log_dir.log_path(number),
        index_path: log_dir.index_path(number),
        next_file: log_dir.file_name(number + 1),
        is_newest,
        sequence: 0,
        durable_to: 0,
        report: FileReport {
            name: log_dir.file_name(number),
            ..FileReport::default()
        },
    };
    if let Err(stop) = check.run(executed) {
        check.stop(stop);
    }
    check.report
}

/// Why reading stopped.
enum Stop {
    /// At this offset of the log.
    Log(Fault),
    /// At this offset of the index.
    Index(Fault),
    /// A file cannot be read.
    Unreadable(LogError),
}

struct FileCheck {
    log_path: PathBuf,
    index_path: PathBuf,
    next_file: String,
    is_newest: bool,
    /// The newest transaction's sequence_number.
    sequence: i64,
    /// The log's offset that is known to have been on disk.
    durable_to: u64,
    report: FileReport,
}

impl FileCheck {
    fn run(&mut self, executed: &mut Executed) -> Result<(), Stop> {
        let head = FileHead::read(&self.log_path).map_err(Stop::Unreadable)?;
        if head.previous != *executed {
            let what = format!(
                "the file says that [{}] lies before it, expected [{}]",
                head.previous.to_text(),
                executed.to_text()
            );
            self.problem_in_log(0, what);
            *executed = head.previous.clone();
        }
        let mut index = IndexFile::open(&self.index_path).map_err(Stop::Unreadable)?;
        let (of_index, of_log) = (index.kind().flavor(), executed.flavor());
        if of_index != of_log {
            let what = format!("of {of_index}, the log is of {of_log}");
            return Err(Stop::Index(Fault { offset: 0, what }));
        }
        let mut reader = EventReader::open(&self.log_path, EVENT_KEPT_MAX).map_err(read_error)?;
        self.read_head(&mut reader, head.end)?;
        self.durable_to = head.end;
        self.report.verified_to = head.end;
        let mut index_end = RECORD_LEN as u64;
        while let Some(placed) = self.next_step(&mut index, index_end)? {
            index_end = placed.index_end;
            let compared = self.compare(&index, &placed, &mut reader, executed);
            if compared.is_err() {
                self.read_durable_to(&mut index);
            }
            compared?;
        }
        self.check_index_end(index_end)?;
        self.read_tail(&mut reader)
    }

    /// Reads over the events before the first transaction.
    fn read_head(&self, reader: &mut EventReader, end: u64) -> Result<(), Stop> {
        while reader.offset() < end {
            next_event(reader).map_err(Stop::Log)?;
        }
        Ok(())
    }

    fn next_step(
        &mut self,
        index: &mut IndexFile,
        index_end: u64,
    ) -> Result<Option<PlacedStep>, Stop> {
        let placed = match index.next_step() {
            Ok(placed) => placed,
            Err(LogError::Index { offset, cause, .. }) => {
                let what = cause.to_string();
                return Err(Stop::Index(Fault { offset, what }));
            }
            Err(error) => return Err(Stop::Unreadable(error)),
        };
        let Some(placed) = placed else {
            return Ok(None);
        };
        self.report.steps += 1;
        let durable_to = u64::from(placed.step.durable_to);
        let log_end = u64::from(placed.step.log_end);
        if durable_to < self.durable_to || durable_to > log_end {
            let what = format!(
                "record of offset {log_end} says that {durable_to} was on disk, expected {} to \
                 {log_end}",
                self.durable_to
            );
            self.problem_in_index(index_end, what);
        }
        self.durable_to = self.durable_to.max(durable_to);
        Ok(Some(placed))
    }

    /// Takes from the records that are left how much of the log is known to have been on disk.
    fn read_durable_to(&mut self, index: &mut IndexFile) {
        while let Ok(Some(placed)) = index.next_step() {
            self.durable_to = self.durable_to.max(u64::from(placed.step.durable_to));
        }
    }

    fn compare(
        &mut self,
        index: &IndexFile,
        placed: &PlacedStep,
        reader: &mut EventReader,
        executed: &mut Executed,
    ) -> Result<(), Stop> {
        let step = &placed.step;
        let log_end = u64::from(step.log_end);
        if step.kind != StepKind::Transaction {
            if log_end != self.report.verified_to {
                let what = format!(
                    "{} record of log offset {log_end}, expected {}",
                    kind_name(step),
                    self.report.verified_to
                );
                self.problem_in_index(placed.index_end - RECORD_LEN as u64, what);
            }
            return Ok(());
        }
        let identity = index.identity(step);
        let found = match read_next(reader).map_err(Stop::Log)? {
            Found::Transaction(found) => found,
            Found::Rotate | Found::End => {
                let what = format!(
                    "no transaction here, expected {} up to {log_end}, as the commit index has it",
                    known_text(&identity)
                );
                let offset = self.report.verified_to;
                return Err(Stop::Log(Fault { offset, what }));
            }
        };
        if found.end != log_end || !is_same(&found.identity, &identity) {
            let what = format!(
                "transaction {} up to {}, but the commit index has {} up to {log_end}",
                identity_text(&found.identity),
                found.end,
                known_text(&identity)
            );
            let offset = found.start;
            return Err(Stop::Log(Fault { offset, what }));
        }
        self.count(&found, executed);
        self.report.verified_to = found.end;
        Ok(())
    }

    fn count(&mut self, found: &FoundTransaction, executed: &mut Executed) {
        self.report.transactions += 1;
        if !matches!(found.identity, Identity::Anonymous(_)) && !executed.record(&found.identity) {
            let what = format!(
                "transaction {} is in the log, or before it, already",
                identity_text(&found.identity)
            );
            self.problem_in_log(found.start, what);
        }
        // MySQL 5.6 writes no clocks; among others such a transaction counts all the same.
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

    /// Reads what is behind the last record: a ROTATE, or in the newest file what was not yet
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

    /// Reports why reading stopped. The part of the newest file that was never known to be on disk
    /// may be missing.
    fn stop(&mut self, stop: Stop) {
        match stop {
            Stop::Log(fault) if self.is_newest && fault.offset >= self.durable_to => {
                self.report.notes.push(format!(
                    "offset {}: {}; known to be on disk up to {} only; the next start truncates it",
                    fault.offset, fault.what, self.durable_to
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
                    other => (self.log_path.clone(), 0, other.to_string()),
                };
                self.problem(path, offset, what);
            }
        }
    }

    /// A damaged record is the torn end of a write if it is the newest file's last.
    fn index_damage(&mut self, fault: Fault) {
        let len = std::fs::metadata(&self.index_path).map_or(u64::MAX, |metadata| metadata.len());
        let is_last = fault.offset.saturating_add(RECORD_LEN as u64) >= len;
        if self.is_newest && is_last && fault.offset > 0 {
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

fn kind_name(step: &Step) -> &'static str {
    match step.kind {
        StepKind::Transaction => "transaction",
        StepKind::Duplicate => "dropped copy",
        StepKind::Moved => "source position",
        StepKind::SourceGtid => "source GTID",
        StepKind::BeforeStart => "transaction before the start",
    }
}

/// Without GTIDs the log does not hold the identity that the index has.
fn is_same(in_log: &Identity, in_index: &Option<Identity>) -> bool {
    match (in_log, in_index) {
        (Identity::Anonymous(_), Some(Identity::Anonymous(_))) => true,
        (in_log, in_index) => in_index.as_ref() == Some(in_log),
    }
}

fn known_text(identity: &Option<Identity>) -> String {
    identity
        .as_ref()
        .map_or_else(|| "of an unknown name".to_owned(), identity_text)
}

fn identity_text(identity: &Identity) -> String {
    match identity {
        Identity::MySql(gtid) => gtid.to_string(),
        Identity::MariaDb(gtid) => gtid.to_string(),
        Identity::Anonymous(_) => "without GTID".to_owned(),
    }
}
