//! The commit indexes as the record of the transactions delivered with GTIDs.

use std::io;

use super::error::LogError;
use super::index_reader::IndexReader;
use super::index_record::{RECORD_LEN, Record, Recorded, RecordedIdentity};
use super::ledger::IndexLedger;
use super::reader::FileHead;
use crate::identity::{CopyEvidence, Identity};
use crate::merge::copies::{DeliveredGtid, DeliveredGtids, GtidCursor, GtidOrigin};
use crate::position::RecordNumber;

impl DeliveredGtids for IndexLedger<'_> {
    fn locate(&self, identity: &Identity) -> Result<Option<RecordNumber>, String> {
        for file in (1..=self.end.file).rev() {
            match FileHead::read(&self.log_dir.log_path(file)) {
                Ok(head) if head.previous.contains(identity) => {}
                Ok(_) => return Ok(Some(RecordNumber { file, record: 0 })),
                Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                    return Ok(None); // Removed, with the files before it.
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(None)
    }

    fn read_gtids(
        &self,
        cursor: &mut GtidCursor,
        origin: &GtidOrigin,
        accept: &mut dyn FnMut(DeliveredGtid) -> bool,
    ) -> Result<(), String> {
        loop {
            let read = self.read_index(cursor, origin, accept);
            let is_stopped = read.map_err(|error| error.to_string())?;
            if is_stopped || cursor.next.file >= self.end.file {
                return Ok(());
            }
            *cursor = GtidCursor {
                next: RecordNumber {
                    file: cursor.next.file + 1,
                    record: 0,
                },
                origin_number: None,
            };
        }
    }

    fn describe(&self, record: RecordNumber) -> Result<String, String> {
        let found = self.describe_record(record);
        found.map_err(|error| error.to_string())
    }
}

impl IndexLedger<'_> {
    /// Opens the index of `file`; `None` when it was removed with its log file.
    fn open(&self, file: u64) -> Result<Option<IndexReader<'_>>, LogError> {
        let staged_records = (self.staged.len() / RECORD_LEN) as u64;
        match IndexReader::open(&self.log_dir.index_path(file)) {
            Ok(index) if file == self.end.file => {
                let from = self.end.record.saturating_sub(staged_records);
                Ok(Some(index.with_staged(from, self.staged)))
            }
            Ok(index) => Ok(Some(index)),
            Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads one index up to its end, or until `accept` returns false: then the result is true.
    fn read_index(
        &self,
        cursor: &mut GtidCursor,
        origin: &GtidOrigin,
        accept: &mut dyn FnMut(DeliveredGtid) -> bool,
    ) -> Result<bool, LogError> {
        let file = cursor.next.file;
        let is_last = file == self.end.file;
        let Some(mut index) = self.open(file)? else {
            return Ok(false);
        };
        index.seek(cursor.next.record)?;
        while !is_last || index.next_number() < self.end.record {
            let Some(read) = index.next_record()? else {
                break;
            };
            cursor.next.record = read.number + 1;
            let transaction = match &read.record {
                Record::Origin { number, .. } => {
                    if index.origin(*number).map(GtidOrigin::MySql) == Some(*origin) {
                        cursor.origin_number = Some(*number);
                    }
                    continue;
                }
                Record::Transaction { transaction, .. } => transaction,
                _ => continue,
            };
            let record = RecordNumber {
                file,
                record: read.number,
            };
            if let Some((number, evidence)) = of_origin(transaction, origin, cursor.origin_number)
                && !accept(DeliveredGtid {
                    number,
                    evidence,
                    record,
                })
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn describe_record(&self, record: RecordNumber) -> Result<String, LogError> {
        let Some(mut index) = self.open(record.file)? else {
            return Ok("its file was removed".to_owned());
        };
        while let Some(read) = index.next_record()? {
            if read.number == record.record
                && let Some(step) = read.record.step()
            {
                return Ok(format!(
                    "from {}, ending at {} there and at {}:{} of the relay log",
                    index.name_of(step)?,
                    index.position(step)?,
                    self.log_dir.file_name(record.file),
                    step.log_end
                ));
            }
        }
        Ok("its record was removed".to_owned())
    }
}

/// Number and evidence of the transaction, if it is one of `origin`, which has `origin_number` in its
/// index.
fn of_origin(
    transaction: &Recorded,
    origin: &GtidOrigin,
    origin_number: Option<u32>,
) -> Option<(u64, CopyEvidence)> {
    match (transaction.identity, origin) {
        (
            RecordedIdentity::MySql {
                origin,
                gno,
                evidence,
            },
            GtidOrigin::MySql(_),
        ) if Some(origin) == origin_number => Some((gno, evidence)),
        (
            RecordedIdentity::MariaDb {
                domain_id: domain,
                seq_no,
                evidence,
            },
            GtidOrigin::MariaDb {
                domain_id,
                server_id,
            },
        ) if domain == *domain_id && transaction.server_id == *server_id => {
            Some((seq_no, evidence))
        }
        _ => None,
    }
}
