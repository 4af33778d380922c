//! Checks whether each commit index belongs to its log file. `run` and `verify` share them. A
//! foreign index or an older copy must neither be used nor be "repaired": recovery would truncate
//! transactions that replicas have.
//!
//! | problem | detected by |
//! |---|---|
//! | the index is missing, or shorter than its head | its length |
//! | it belongs to another kind of server | the flavor in its header and in the log file's head |
//! | it belongs to another relay log | log_id in its header, in the other indexes and in `relay-bin.durable` |
//! | it belongs to another file of the log (swapped) | the file number in its header |
//! | it was written for a log file with another head | the checksum of the log file's head in its header |
//! | it is an older copy, of a completed file | its last step must end where the closing ROTATE begins |
//! | it is an older copy, of the newest file | it must have all records that are on disk according to `relay-bin.durable`; without that file, the log file must end with it |

use std::io;

use super::durable_mark::{Durable, FoundMark};
use super::error::{IndexMismatch, LogError};
use super::files::LogDir;
use super::index_reader::IndexReader;
use super::index_record::{IndexHeader, RECORD_LEN};
use super::reader::{FileHead, LogFile};
use crate::gtid::Uuid;

/// The data that all commit indexes of one relay log must agree with.
#[derive(Debug, Clone)]
pub struct LogBinding {
    log_dir: LogDir,
    newest: u64,
    /// `None` if neither the durable mark nor an index has it.
    log_id: Option<Uuid>,
    durable: Option<Durable>,
    mark_damage: Option<String>,
    has_no_mark: bool,
}

impl LogBinding {
    /// Reads the log's identity, its durable mark and the numbers of its files.
    ///
    /// # Errors
    /// When one of these cannot be read, or the list of files is older than the log.
    pub fn read(log_dir: &LogDir) -> Result<(Self, Vec<u64>), LogError> {
        // In this order, because `verify` also reads logs that are being written: a file is added
        // to the list before the mark names it.
        let FoundMark {
            durable,
            damage,
            is_missing,
        } = Durable::read(log_dir)?;
        let files = log_dir.read_list()?;
        let newest = files.last().copied().unwrap_or(0);
        // Indexes that cannot be read are reported when their files are checked.
        let open = |number: &u64| IndexReader::open_for_lookup(&log_dir.index_path(*number)).ok();
        let log_ids = files.iter().filter_map(open);
        let log_ids: Vec<Uuid> = log_ids.map(|index| index.header().log_id).collect();
        if let Some(durable) = durable {
            check_mark(log_dir, &durable, &files, &log_ids)?;
            if durable.file > newest {
                return Err(LogError::OldList {
                    path: log_dir.list_path(),
                    expected: log_dir.file_name(durable.file),
                });
            }
        }
        let log_id = durable.map(|durable| durable.log_id);
        let log_id = log_id.or_else(|| log_ids.first().copied());
        let binding = Self {
            log_dir: log_dir.clone(),
            newest,
            log_id,
            durable,
            mark_damage: damage,
            has_no_mark: is_missing,
        };
        Ok((binding, files))
    }

    /// The relay log's identity, if the durable mark or an index has it.
    pub fn log_id(&self) -> Option<Uuid> {
        self.log_id
    }

    /// A message if the durable mark is damaged, so that it proves nothing.
    pub fn mark_damage(&self) -> Option<&str> {
        self.mark_damage.as_deref()
    }

    /// Bytes of file `number` and records of its index that are known to be on disk.
    pub fn durable(&self, number: u64) -> (u64, u64) {
        match self.durable {
            Some(durable) if durable.file == number => (durable.log, durable.records.into()),
            _ => (0, 0),
        }
    }

    /// Checks that the index of file `number`, whose head is `head`, belongs to it.
    ///
    /// # Errors
    /// When it does not, or cannot be read. Nothing is changed.
    pub fn check(&self, number: u64, head: &FileHead) -> Result<(), LogError> {
        let mismatch = |cause| LogError::IndexMismatch {
            path: self.log_dir.index_path(number),
            log: self.log_dir.log_path(number),
            cause,
        };
        let len = self
            .index_len(number)?
            .ok_or_else(|| mismatch(IndexMismatch::Missing))?;
        if len < RECORD_LEN as u64 {
            return Err(mismatch(IndexMismatch::NoHead { len }));
        }
        let index = IndexReader::open_for_lookup(&self.log_dir.index_path(number))?;
        let header = *index.header();
        let log = LogFile::open(&self.log_dir.log_path(number))?;
        let found = match self.header_mismatch(number, &header, head, &log)? {
            Some(found) => Some(found),
            None if len < u64::from(header.head_records) * RECORD_LEN as u64 => {
                Some(IndexMismatch::NoHead { len })
            }
            None if number == self.newest => {
                let found = self.newest_mismatch(number, len, index)?;
                if self.has_no_mark && found.is_none() {
                    self.check_without_mark(number, head, &log)?;
                }
                found
            }
            None => completed_mismatch(len, index, head, &log)?,
        };
        found.map_or(Ok(()), |cause| Err(mismatch(cause)))
    }

    fn index_len(&self, number: u64) -> Result<Option<u64>, LogError> {
        let path = self.log_dir.index_path(number);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(LogError::io("read", &path, cause)),
        }
    }

    fn header_mismatch(
        &self,
        number: u64,
        header: &IndexHeader,
        head: &FileHead,
        log: &LogFile,
    ) -> Result<Option<IndexMismatch>, LogError> {
        let (of_index, of_log) = (header.kind.flavor(), head.previous.flavor());
        if of_index != of_log {
            let (found, expected) = (of_index.name(), of_log.name());
            return Ok(Some(IndexMismatch::Flavor { found, expected }));
        }
        if let Some(expected) = self.log_id
            && expected != header.log_id
        {
            let (found, expected) = (header.log_id.to_string(), expected.to_string());
            return Ok(Some(IndexMismatch::LogId { found, expected }));
        }
        if header.file_number != number {
            let found = header.file_number;
            let expected = number;
            return Ok(Some(IndexMismatch::FileNumber { found, expected }));
        }
        let expected = log.crc_of_head(head.end)?;
        if (u64::from(header.log_head_len), header.log_head_crc) != (head.end, expected) {
            return Ok(Some(IndexMismatch::Head {
                found: header.log_head_crc,
                expected,
                len: header.log_head_len,
            }));
        }
        Ok(None)
    }

    /// The mark is created before the first transaction, and nothing removes it: without it, an older index could pass for
    /// one that lost its tail in a crash, and so could an older log file.
    fn check_without_mark(
        &self,
        number: u64,
        head: &FileHead,
        log: &LogFile,
    ) -> Result<(), LogError> {
        let index = IndexReader::open_for_lookup(&self.log_dir.index_path(number))?;
        let log_end = end_before_damage(index)?.unwrap_or(head.end);
        let log_len = log.file_len()?;
        // The start of a version that removed the mark may have been interrupted after that.
        if log_len == log_end || log.ends_with_rotate(log_end)? {
            return Ok(());
        }
        Err(LogError::NoDurableMark {
            path: self.log_dir.durable_path(),
            log: log.path().to_owned(),
            log_len,
            log_end,
        })
    }

    /// The mismatch of the newest index, which must have all records that are known to be on disk.
    fn newest_mismatch(
        &self,
        number: u64,
        len: u64,
        index: IndexReader<'_>,
    ) -> Result<Option<IndexMismatch>, LogError> {
        let (durable_to, durable_records) = self.durable(number);
        let records = len / RECORD_LEN as u64;
        if records >= durable_records {
            return Ok(None);
        }
        Ok(Some(IndexMismatch::Older {
            records,
            log_end: last_log_end(records, index)?.unwrap_or(0),
            durable_records,
            durable_to,
        }))
    }
}

/// If the mark contradicts all of several indexes, or the only index and the list, the mark is the foreign file.
fn check_mark(
    log_dir: &LogDir,
    durable: &Durable,
    files: &[u64],
    log_ids: &[Uuid],
) -> Result<(), LogError> {
    let Some(log_id) = log_ids.first() else {
        return Ok(());
    };
    let is_alone = files.len() == 1 && files.first() >= Some(&durable.file);
    let is_foreign = !is_alone
        && log_ids.len() == files.len()
        && log_ids.iter().all(|other| other == log_id)
        && durable.log_id != *log_id;
    match is_foreign {
        true => Err(LogError::DurableMark {
            path: log_dir.durable_path(),
            found: format!("log_id {}", durable.log_id),
            expected: format!("log_id {log_id} as in all commit indexes"),
        }),
        false => Ok(()),
    }
}

/// The mismatch of the index of a completed file, which must describe the whole file.
fn completed_mismatch(
    len: u64,
    index: IndexReader<'_>,
    head: &FileHead,
    log: &LogFile,
) -> Result<Option<IndexMismatch>, LogError> {
    let log_end = last_log_end(len / RECORD_LEN as u64, index)?.unwrap_or(head.end);
    let log_len = log.file_len()?;
    if log.is_cut_at(log_end)? {
        return Err(LogError::Unexpected {
            path: log.path().to_owned(),
            offset: log_len,
            found: "the file ends here".to_owned(),
            expected: "a Rotate event that ends it; restore the file",
        });
    }
    let is_complete = log.ends_with_rotate(log_end)?;
    Ok((!is_complete).then_some(IndexMismatch::Incomplete { log_end, log_len }))
}

/// The log end of the last step before the first damaged record.
fn end_before_damage(mut index: IndexReader<'_>) -> Result<Option<u64>, LogError> {
    let mut end = None;
    index.seek(1)?;
    loop {
        match index.next_record() {
            Ok(Some(read)) => end = read.record.step().map(|step| step.log_end.into()).or(end),
            Ok(None) | Err(LogError::Index { .. }) => return Ok(end),
            Err(error) => return Err(error),
        }
    }
}

/// The log end of the last step before record `end`.
fn last_log_end(end: u64, mut index: IndexReader<'_>) -> Result<Option<u64>, LogError> {
    // Definitions of a long name or xid may precede the end without a step after them.
    const LOOK_BACK: u64 = 64;
    let mut from = end.saturating_sub(LOOK_BACK).max(1);
    loop {
        index.seek(from)?;
        let mut last = None;
        while index.next_number() < end {
            match index.next_record() {
                Ok(Some(read)) => last = read.record.step().map(|step| step.log_end).or(last),
                Ok(None) => break,
                Err(LogError::Index { .. }) => index.skip_damaged()?,
                Err(error) => return Err(error),
            }
        }
        if last.is_some() || from == 1 {
            return Ok(last.map(u64::from));
        }
        from = from.saturating_sub(LOOK_BACK).max(1);
    }
}
