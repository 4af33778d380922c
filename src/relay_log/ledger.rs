//! The commit indexes as the ledger of the transactions delivered without GTIDs.

use std::io;
use std::sync::Arc;

use super::error::LogError;
use super::files::LogDir;
use super::index_reader::{IndexReader, NumberedRecord};
use super::index_record::{Record, RecordedIdentity};
use crate::merge::pairing::{Delivered, Ledger};
use crate::position::RecordNumber;

/// The number of a source that is no longer configured.
pub(super) const NOT_CONFIGURED: u16 = u16::MAX;

/// Reads commit indexes from a record to an end, across files.
#[derive(Debug)]
pub struct IndexLedger<'a> {
    /// Where the files are.
    pub log_dir: &'a LogDir,
    /// The configured sources' names, by number.
    pub source_names: &'a [Arc<str>],
    /// Exclusive end: the first record not read.
    pub end: RecordNumber,
    /// The last records before `end`, which are not in the file yet.
    pub staged: &'a [u8],
}

/// How the reading of one index ended.
enum Stopped {
    /// The caller has enough; the value is the next record to read.
    At(u64),
    AtEnd,
}

impl Ledger for IndexLedger<'_> {
    fn read(
        &self,
        from: RecordNumber,
        origin: u32,
        accept: &mut dyn FnMut(Delivered) -> bool,
    ) -> Result<Option<RecordNumber>, String> {
        let mut next = from;
        while next.file <= self.end.file {
            let file = next.file;
            let read = self.read_file(next, origin, accept);
            match read.map_err(|error| error.to_string())? {
                Stopped::At(record) => return Ok(Some(RecordNumber { file, record })),
                Stopped::AtEnd => {
                    next = RecordNumber {
                        file: file + 1,
                        record: 0,
                    }
                }
            }
        }
        Ok(None)
    }
}

impl IndexLedger<'_> {
    fn read_file(
        &self,
        from: RecordNumber,
        origin: u32,
        accept: &mut dyn FnMut(Delivered) -> bool,
    ) -> Result<Stopped, LogError> {
        let is_last = from.file == self.end.file;
        let staged_records = (self.staged.len() / super::index_record::RECORD_LEN) as u64;
        let mut index = match IndexReader::open(&self.log_dir.index_path(from.file)) {
            Ok(index) if is_last => {
                index.with_staged(self.end.record.saturating_sub(staged_records), self.staged)
            }
            Ok(index) => index,
            // Removed with its log file: its transactions count as skipped.
            Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                return Ok(Stopped::AtEnd);
            }
            Err(error) => return Err(error),
        };
        index.read_head()?; // It defines all sources.
        index.seek(from.record)?;
        while !is_last || index.next_number() < self.end.record {
            let Some(read) = index.next_record()? else {
                break;
            };
            if let Some(delivered) = self.delivered(&index, &read, from.file, origin)
                && !accept(delivered)
            {
                return Ok(Stopped::At(index.next_number()));
            }
        }
        Ok(Stopped::AtEnd)
    }

    fn delivered(
        &self,
        index: &IndexReader<'_>,
        read: &NumberedRecord,
        file: u64,
        origin: u32,
    ) -> Option<Delivered> {
        let (step, transaction, may_be_repetition) = match &read.record {
            Record::Transaction {
                step,
                transaction,
                may_be_repetition,
                ..
            } => (step, transaction, *may_be_repetition),
            Record::BeforeStart { step, transaction } => (step, transaction, false),
            _ => return None,
        };
        let RecordedIdentity::Anonymous(fingerprint) = transaction.identity else {
            return None;
        };
        (transaction.server_id == origin).then(|| Delivered {
            record: RecordNumber {
                file,
                record: read.number,
            },
            fingerprint,
            path: current_number(index, step.source, self.source_names),
            may_be_repetition,
        })
    }
}

/// The number that a source of an index has in the current configuration, or [`NOT_CONFIGURED`].
pub(super) fn current_number(
    index: &IndexReader<'_>,
    source: u16,
    source_names: &[Arc<str>],
) -> u16 {
    let name = index.source_name(source);
    let mut configured = (0..).zip(source_names);
    let found = configured.find(|(_, known)| Some(*known) == name.as_ref());
    found.map_or(NOT_CONFIGURED, |(number, _)| number)
}
