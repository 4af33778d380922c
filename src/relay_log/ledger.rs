//! The commit indexes as the ledger of the transactions delivered without GTIDs.

use std::collections::HashMap;
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
            // Also if it was removed: then it must not be needed any more (`Pairing::lose_before`).
            Err(error) => return Err(error),
        };
        index.skip_head()?; // It defines all sources.
        let numbers = ConfiguredNumbers::of(&index, self.source_names);
        index.seek(from.record)?;
        while !is_last || index.next_number() < self.end.record {
            let Some(read) = index.next_record()? else {
                break;
            };
            if let Some(delivered) = delivered(&read, from.file, origin, &numbers)
                && !accept(delivered)
            {
                return Ok(Stopped::At(index.next_number()));
            }
        }
        Ok(Stopped::AtEnd)
    }
}

fn delivered(
    read: &NumberedRecord,
    file: u64,
    origin: u32,
    numbers: &ConfiguredNumbers,
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
        path: numbers.get(step.source),
        may_be_repetition,
    })
}

/// The numbers that the sources of one index have in the current configuration.
#[derive(Debug)]
pub(super) struct ConfiguredNumbers(HashMap<u16, u16>);

impl ConfiguredNumbers {
    /// Of the sources that the records read before define.
    pub(super) fn of(index: &IndexReader<'_>, source_names: &[Arc<str>]) -> Self {
        let numbers = index.source_names().filter_map(|(source, name)| {
            let mut configured = (0..).zip(source_names);
            let (number, _) = configured.find(|(_, known)| known.as_bytes() == name)?;
            Some((source, number))
        });
        Self(numbers.collect())
    }

    /// The number, or [`NOT_CONFIGURED`].
    pub(super) fn get(&self, source: u16) -> u16 {
        self.find(source).unwrap_or(NOT_CONFIGURED)
    }

    /// The number, if the source is still configured.
    pub(super) fn find(&self, source: u16) -> Option<u16> {
        self.0.get(&source).copied()
    }
}
