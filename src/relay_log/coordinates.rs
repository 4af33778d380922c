//! From GTIDs to positions in the relay log, and back.
//!
//! These functions read published data only. They block on the disk: do not call them where
//! blocking is not allowed.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::LogError;
use super::index_reader::{IndexReader, NumberedRecord};
use super::index_record::{RECORD_LEN, Record};
use super::published::RelayLog;
use super::reader::{FIRST_EVENT, FileHead, LogFile};
use crate::gtid::{BinlogState, GtidPosition, MariaDbGtid, ReceivedGtidSet};
use crate::identity::Identity;

/// The most records without a step that are read to find the next step.
const DEFINITIONS_MAX: u64 = 4096;

/// Up to where the log file may be read: the published end in the newest file, the file's end in
/// the older ones. `None` when the log has no such file.
///
/// # Errors
/// When the file cannot be read.
pub fn readable_end(log: &RelayLog, file: u64) -> Result<Option<u64>, LogError> {
    if !log.state().files.contains(&file) {
        return Ok(None);
    }
    // Read after the list of files: it may name a newer file, never an older one.
    let published = log.published();
    if file == published.file {
        return Ok(Some(published.offset));
    }
    LogFile::open(&log.log_dir().log_path(file))?
        .file_len()
        .map(Some)
}

/// The number of the file with this name; the first file's for an empty name. `None` when the log
/// does not have the file, or no longer has it.
pub fn file_by_name(log: &RelayLog, name: &[u8]) -> Option<u64> {
    let state = log.state();
    if name.is_empty() {
        return state.files.first().copied();
    }
    let name = std::str::from_utf8(name).ok()?;
    let name = name.strip_prefix("./").unwrap_or(name);
    let number = log.log_dir().file_number(name)?;
    state.files.contains(&number).then_some(number)
}

/// Whether an event begins at `position` of the file, or the readable part ends there.
///
/// The commit index has a transaction boundary nearby; from there event headers are read.
///
/// # Errors
/// When a file cannot be read.
pub fn is_event_boundary(log: &RelayLog, file: u64, position: u64) -> Result<bool, LogError> {
    let Some(end) = readable_end(log, file)? else {
        return Ok(false);
    };
    if position > end {
        return Ok(false);
    }
    if position == end {
        return Ok(true);
    }
    Ok(event_at_or_after(log, file, position)? == position)
}

/// The offset of the first event that begins at or after `position`, or the end of the readable
/// part if there is none. `position` must not be after that end.
///
/// # Errors
/// When a file cannot be read.
pub fn event_at_or_after(log: &RelayLog, file: u64, position: u64) -> Result<u64, LogError> {
    if position <= FIRST_EVENT {
        return Ok(FIRST_EVENT);
    }
    let boundary = transaction_end_before(&log.log_dir().index_path(file), position)?;
    let log_file = LogFile::open(&log.log_dir().log_path(file))?;
    let mut offset = boundary.unwrap_or(FIRST_EVENT);
    while offset < position {
        offset += u64::from(log_file.header_at(offset)?.event_size);
    }
    Ok(offset)
}

/// The last transaction end at or before `position`, by binary search in the commit index: every
/// step's *log end* is a transaction end, and they ascend.
fn transaction_end_before(path: &Path, position: u64) -> Result<Option<u64>, LogError> {
    let len = std::fs::metadata(path)
        .map_err(|cause| LogError::io("read", path, cause))?
        .len();
    let mut index = IndexReader::open_for_lookup(path)?;
    let head_records = u64::from(index.header().head_records);
    let (mut low, mut high) = (head_records, len / RECORD_LEN as u64);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match step_at_or_after(&mut index, middle, high)? {
            Some((record, end)) if end <= position => {
                found = Some(end);
                low = record + 1;
            }
            _ => high = middle,
        }
    }
    Ok(found)
}

/// The first step from record `from` on and before `to`: its record number and log end. A record
/// that cannot be read is still being written and counts as the end.
fn step_at_or_after(
    index: &mut IndexReader<'_>,
    from: u64,
    to: u64,
) -> Result<Option<(u64, u64)>, LogError> {
    index.seek(from)?;
    while index.next_number() < to.min(from.saturating_add(DEFINITIONS_MAX)) {
        match index.next_record() {
            Ok(Some(NumberedRecord { record, number })) => {
                if let Some(step) = record.step() {
                    return Ok(Some((number, u64::from(step.log_end))));
                }
            }
            Ok(None) | Err(LogError::Index { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// MariaDB: the newest GTID of each domain before `position` of the file, as `BINLOG_GTID_POS()`
/// reports it; `None` when that position is not in the log or not between two transactions. A
/// replica uses the result as its own position, so it must be exact.
///
/// # Errors
/// When a file cannot be read.
pub fn gtid_position_at(
    log: &RelayLog,
    file: u64,
    position: u64,
) -> Result<Option<GtidPosition>, LogError> {
    let Some(end) = readable_end(log, file)? else {
        return Ok(None);
    };
    if position > end {
        return Ok(None);
    }
    let head = FileHead::read(&log.log_dir().log_path(file))?;
    let Some(mut state) = head.previous.as_mariadb().cloned() else {
        return Ok(None);
    };
    let format_end = FIRST_EVENT + head.format_event.len() as u64;
    if position <= FIRST_EVENT || position == format_end || position == head.end {
        return Ok(Some(state.position()));
    }
    let mut is_boundary = false;
    let mut index = IndexReader::open(&log.log_dir().index_path(file))?;
    while let Some(NumberedRecord { record, .. }) = index.next_record()? {
        let Some(step) = record.step() else {
            continue;
        };
        let log_end = u64::from(step.log_end);
        if log_end > position {
            break;
        }
        is_boundary |= log_end == position;
        if let Record::Transaction { transaction, .. } = &record
            && let Identity::MariaDb(gtid) = index.identity(transaction)?
        {
            state.record_again(gtid);
        }
        // Later records are not needed, and may not be written yet.
        if log_end >= end {
            break;
        }
    }
    // The closing ROTATE is the last event.
    let is_end = position == end;
    Ok((is_boundary || is_end).then(|| state.position()))
}

/// The identity of a file's first transaction, if it has one.
///
/// # Errors
/// When its index cannot be read.
pub fn first_identity(log: &RelayLog, file: u64) -> Result<Option<Identity>, LogError> {
    let head = FileHead::read(&log.log_dir().log_path(file))?;
    if readable_end(log, file)?.is_none_or(|end| end <= head.end) {
        return Ok(None);
    }
    let mut index = IndexReader::open(&log.log_dir().index_path(file))?;
    while let Some(NumberedRecord { record, .. }) = index.next_record()? {
        if let Record::Transaction { transaction, .. } = &record {
            return index.identity(transaction).map(Some);
        }
    }
    Ok(None)
}

/// MySQL: the newest file before which all transactions are in `set`; `None` when there is no such
/// file, or it was removed.
///
/// # Errors
/// When a file cannot be read.
pub fn start_for_set(log: &RelayLog, set: &ReceivedGtidSet) -> Result<Option<u64>, LogError> {
    let files = log.state().files.clone();
    for number in files.into_iter().rev() {
        let head = FileHead::read(&log.log_dir().log_path(number))?;
        if head
            .previous
            .as_mysql()
            .is_some_and(|previous| set.contains_all(previous))
        {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Where a MariaDB replica's stream starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionStart {
    /// The file.
    pub file: u64,
    /// The GTIDs up to which each domain's transactions are skipped. They are not before the file.
    pub skip: BTreeMap<u32, Skip>,
    /// All transactions before the file.
    pub before: BinlogState,
}

/// The point up to which a domain's transactions are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// The last GTID that the replica has.
    pub upto: MariaDbGtid,
    /// How it relates to the log.
    pub kind: SkipKind,
}

/// How the GTID of a replica's position relates to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipKind {
    /// It is in the log.
    InLog,
    /// The log has no transaction of that domain yet.
    EmptyDomain,
    /// The replica is ahead, and declared that as intended (`slave_gtid_ignore_duplicates`).
    Ahead,
}

/// Why there is no start for a GTID position.
#[derive(Debug, thiserror::Error)]
pub enum PositionError {
    /// The log has neither the GTID nor a later one of its domain.
    #[error("GTID {0} is not in the relay log")]
    NotFound(MariaDbGtid),
    /// The log does not have the GTID, but higher ones of its domain.
    #[error("GTID {0} is not in the relay log and has diverged: the log continued without it")]
    Diverged(MariaDbGtid),
    /// Transactions after the position were removed.
    #[error("the transactions after GTID position {0} are no longer in the relay log")]
    Purged(GtidPosition),
    /// A file cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Finds where a replica whose position is `position` continues.
///
/// # Errors
/// See [`PositionError`].
pub fn start_for_position(
    log: &RelayLog,
    position: &GtidPosition,
    ignore_duplicates: bool,
) -> Result<PositionStart, PositionError> {
    let (executed, files) = {
        let state = log.state();
        let executed = state.executed.as_mariadb().cloned().unwrap_or_default();
        (executed, state.files.clone())
    };
    let mut skips = BTreeMap::new();
    for upto in position.iter() {
        let kind = skip_kind(&executed, upto, ignore_duplicates)?;
        skips.insert(upto.domain_id, Skip { upto, kind });
    }
    for number in files.into_iter().rev() {
        let head = FileHead::read(&log.log_dir().log_path(number))?;
        let Some(before) = head.previous.as_mariadb() else {
            continue;
        };
        if let Some(skip) = skips_from(before, &skips) {
            return Ok(PositionStart {
                file: number,
                skip,
                before: before.clone(),
            });
        }
    }
    Err(PositionError::Purged(position.clone()))
}

fn skip_kind(
    executed: &BinlogState,
    gtid: MariaDbGtid,
    ignore_duplicates: bool,
) -> Result<SkipKind, PositionError> {
    if executed.contains(&gtid) {
        return Ok(SkipKind::InLog);
    }
    match executed.last_in_domain(gtid.domain_id) {
        None => Ok(SkipKind::EmptyDomain),
        Some(last) if last.seq_no > gtid.seq_no => Err(PositionError::Diverged(gtid)),
        Some(_) if ignore_duplicates => Ok(SkipKind::Ahead),
        Some(_) => Err(PositionError::NotFound(gtid)),
    }
}

/// The skips that remain when the stream starts after the transactions of `before`; `None` when the
/// replica lacks one of these.
fn skips_from(before: &BinlogState, skips: &BTreeMap<u32, Skip>) -> Option<BTreeMap<u32, Skip>> {
    let mut left = skips.clone();
    for last in before.position().iter() {
        let skip = skips.get(&last.domain_id)?;
        if skip.kind == SkipKind::InLog && before.contains(&skip.upto) {
            if last != skip.upto {
                return None;
            }
            left.remove(&last.domain_id);
        }
    }
    Some(left)
}
