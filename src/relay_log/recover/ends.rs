//! Up to where the newest log file and its index are on disk, and up to where they are good.

use std::path::Path;

use crate::relay_log::check::LogBinding;
use crate::relay_log::error::LogError;
use crate::relay_log::files::LogDir;
use crate::relay_log::index_reader::{self, IndexReader};
use crate::relay_log::index_record::{RECORD_LEN, Step};
use crate::relay_log::reader::{FileHead, LogFile};

/// Offsets in the newest log file and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) log: u64,
    pub(super) index: u64,
}

/// The offsets up to which the two files were known to be on disk, and those up to which they are
/// good.
pub(super) fn find_ends(
    log_dir: &LogDir,
    number: u64,
    head: &FileHead,
    binding: &LogBinding,
    repairs: &mut Vec<String>,
) -> Result<(Ends, Ends), LogError> {
    repairs.extend(binding.mark_damage().map(str::to_owned));
    let index_path = log_dir.index_path(number);
    let log_path = log_dir.log_path(number);
    let IndexScan { last, damage } = scan_index(&index_path)?;
    let (marked_log, marked_records) = binding.durable(number);
    let durable_records = last.map_or(0, |last| u64::from(last.durable_records));
    let durable_to = last.map_or(head.end, |last| u64::from(last.durable_to));
    let recorded_end = last.map_or(head.end, |last| u64::from(last.log_end));
    let durable = Ends {
        // A ROTATE after the last transaction may be durable, too; it is truncated, because the
        // next file is not in the list.
        log: durable_to.max(marked_log.min(recorded_end)),
        index: durable_records.max(marked_records) * RECORD_LEN as u64,
    };
    if let Some((number, damage)) = damage {
        let is_durable = number * (RECORD_LEN as u64) < durable.index;
        if is_durable || index_reader::is_followed_by_proof(&index_path, number)? {
            return Err(damage);
        }
        repairs.push(format!("{damage}: truncated there"));
    }
    let log = LogFile::open(&log_path)?;
    let log_len = log.file_len()?;
    let good_end = log.verified_end(durable.log.max(head.end), recorded_end)?;
    if good_end < durable.log {
        return Err(LogError::Unexpected {
            path: log_path,
            offset: log_len,
            found: "the file ends here".to_owned(),
            expected: "more: the commit index or relay-bin.durable says that it was longer on \
                       disk; restore the file, or move data_dir away and seed the replicas again",
        });
    }
    let good = last_good_step(&index_path, head.end, good_end)?;
    if good.log < recorded_end {
        repairs.push(format!(
            "{}: only {} of {recorded_end} bytes were on disk; truncated there",
            log_path.display(),
            good.log
        ));
    } else if log_len > good.log {
        repairs.push(format!(
            "{}: {} bytes after offset {} were never served; truncated",
            log_path.display(),
            log_len - good.log,
            good.log
        ));
    }
    Ok((durable, good))
}

/// The result of reading an index up to its end, or to the first damaged record.
struct IndexScan {
    /// The last step that was read.
    last: Option<Step>,
    /// The number of the damaged record, and the error.
    damage: Option<(u64, LogError)>,
}

fn scan_index(path: &Path) -> Result<IndexScan, LogError> {
    let mut index = IndexReader::open(path)?;
    let mut last = None;
    loop {
        match index.next_record() {
            Ok(Some(read)) => last = read.record.step().copied().or(last),
            Ok(None) => return Ok(IndexScan { last, damage: None }),
            Err(damage @ LogError::Index { .. }) => {
                let damage = Some((index.next_number(), damage));
                return Ok(IndexScan { last, damage });
            }
            Err(other) => return Err(other),
        }
    }
}

/// The end of the last step up to which all transactions end at or before `log_end`.
fn last_good_step(path: &Path, head_end: u64, log_end: u64) -> Result<Ends, LogError> {
    let mut index = IndexReader::open(path)?;
    let mut good = Ends {
        log: head_end,
        index: u64::from(index.header().head_records) * RECORD_LEN as u64,
    };
    loop {
        match index.next_record() {
            Ok(Some(read)) => match read.record.step() {
                Some(step) if u64::from(step.log_end) > log_end => return Ok(good),
                Some(step) => {
                    good = Ends {
                        log: u64::from(step.log_end),
                        index: read.index_end().max(good.index),
                    };
                }
                None => {}
            },
            Ok(None) | Err(LogError::Index { .. }) => return Ok(good),
            Err(other) => return Err(other),
        }
    }
}
