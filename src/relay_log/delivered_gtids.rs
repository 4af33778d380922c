//! The commit indexes as the record of the transactions delivered with GTIDs.

use std::collections::HashMap;
use std::io;

use super::error::LogError;
use super::index_reader::IndexReader;
use super::index_record::{RECORD_LEN, Record, Recorded, RecordedIdentity, Step};
use super::ledger::{IndexLedger, NOT_CONFIGURED};
use super::reader::FileHead;
use crate::identity::{CopyEvidence, Identity};
use crate::merge::copies::{DeliveredGtid, DeliveredGtids, GtidCursor, GtidOrigin, SentRecord};
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

    fn read_sent(
        &self,
        from: Option<u64>,
        origin: &GtidOrigin,
        accept: &mut dyn FnMut(SentRecord),
    ) -> Result<(), String> {
        let mut first = from.unwrap_or(self.end.file);
        while from.is_none() && first > 1 && self.log_dir.index_path(first - 1).exists() {
            first -= 1;
        }
        let mut files = first..=self.end.file;
        files
            .try_for_each(|file| self.read_sent_of(file, origin, accept))
            .map_err(|error| error.to_string())
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

    /// As [`DeliveredGtids::read_sent`], from one index.
    fn read_sent_of(
        &self,
        file: u64,
        origin: &GtidOrigin,
        accept: &mut dyn FnMut(SentRecord),
    ) -> Result<(), LogError> {
        let Some(mut index) = self.open(file)? else {
            return Ok(());
        };
        let is_last = file == self.end.file;
        let head = index.read_head()?;
        let mut paths = HashMap::new();
        accept(SentRecord::File);
        for record in &head {
            if let Record::SourceGtid {
                step,
                gtid,
                is_highest: true,
            } = record
                && let Some((of_gtid, number)) = GtidOrigin::split(&Identity::MariaDb(*gtid))
                && of_gtid == *origin
            {
                let path = self.path_of(&index, step, &mut paths)?;
                accept(SentRecord::Highest { path, number });
            }
        }
        while !is_last || index.next_number() < self.end.record {
            let Some(read) = index.next_record()? else {
                break;
            };
            let (step, transaction, executed_again) = match &read.record {
                Record::Transaction {
                    step,
                    transaction,
                    executed_again,
                    ..
                } => (step, transaction, *executed_again),
                Record::Copy { step, transaction } => (step, transaction, false),
                _ => continue,
            };
            if let Some((number, _)) = of_origin(transaction, origin, None) {
                accept(SentRecord::Transaction {
                    path: self.path_of(&index, step, &mut paths)?,
                    server_id: step.source_server_id,
                    number,
                    end: index.position(step)?,
                    executed_again,
                });
            }
        }
        Ok(())
    }

    /// The number of the step's path in the log; `known` are those by their number in the index.
    fn path_of(
        &self,
        index: &IndexReader<'_>,
        step: &Step,
        known: &mut HashMap<u16, u16>,
    ) -> Result<u16, LogError> {
        if let Some(path) = known.get(&step.source) {
            return Ok(*path);
        }
        let name = index.name_of(step)?;
        let mut numbered = (0..).zip(self.source_names);
        let found = numbered.find(|(_, known)| **known == name);
        let path = found.map_or(NOT_CONFIGURED, |(number, _)| number);
        known.insert(step.source, path);
        Ok(path)
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
