//! Finding the log's state again after a stop or a crash. The cases are listed in the
//! documentation of [`crate::relay_log`].

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::files::LogDir;
use super::index_file::{IndexFile, PlacedStep};
use super::index_record::{self, RECORD_LEN, Record, StepKind};
use super::reader::{FileHead, LogFile};
use super::replay_pairing::replay_pairing;
use super::{LogError, RelayLogPosition, SourceProgress};
use crate::binlog::FormatDescription;
use crate::identity::Identity;
use crate::identity::{Executed, IdentityKind};
use crate::merge::halves::OpenHalves;
use crate::merge::pairing::{LedgerPlace, Pairing};

/// Bytes that are written again at once.
const REWRITE_LEN: usize = 1024 * 1024;

/// A log's state, found again.
#[derive(Debug)]
pub struct Recovered {
    /// The newest file's format description.
    pub format: FormatDescription,
    /// All transactions in the log or before it.
    pub executed: Executed,
    /// All transactions before its first file.
    pub purged: Executed,
    /// The log files' numbers.
    pub files: Vec<u64>,
    /// Each source's progress, by its configured name.
    pub sources: HashMap<Arc<str>, SourceProgress>,
    /// Without GTIDs: what is known of copies.
    pub pairing: Pairing,
    /// The first halves whose second has not come.
    pub halves: OpenHalves,
    /// The end of the newest file.
    pub end: RelayLogPosition,
    /// What was cut off, in words; empty after a clean stop.
    pub repairs: Vec<String>,
}

/// Recovers the log in `log_dir`; `None` when there is none yet. `source_names` are the configured
/// ones, by number.
///
/// # Errors
/// When a file cannot be read or cut, or what was served before is damaged. Nothing is changed
/// then.
pub fn recover(log_dir: &LogDir, source_names: &[Arc<str>]) -> Result<Option<Recovered>, LogError> {
    let files = log_dir.read_list()?;
    refuse_unlisted(log_dir, &files)?;
    let (Some(first), Some(last)) = (files.first().copied(), files.last().copied()) else {
        return Ok(None);
    };
    let head = FileHead::read(&log_dir.log_path(last))?;
    let purged = match first == last {
        true => head.previous.clone(),
        false => FileHead::read(&log_dir.log_path(first))?.previous,
    };
    let mut repairs = Vec::new();
    let (durable, cut) = find_cut(log_dir, last, &head, &mut repairs)?;
    let mut recovered = Recovered {
        executed: head.previous.clone(),
        format: head.format,
        purged,
        files,
        sources: HashMap::new(),
        pairing: Pairing::new([]),
        halves: OpenHalves::default(),
        end: RelayLogPosition {
            file: last,
            offset: cut.log,
        },
        repairs,
    };
    let index = IndexFile::open(&log_dir.index_path(last))?;
    if index.kind() == IdentityKind::Anonymous {
        (recovered.executed, recovered.purged) = (Executed::Anonymous, Executed::Anonymous);
        let place = |file| LedgerPlace { file, record: 0 };
        recovered.pairing =
            replay_pairing(log_dir, source_names, place(first), place(last), cut.index)?;
    }
    replay(index, &cut, &mut recovered)?;
    if recovered.sources.values().any(|source| source.reading_back) {
        forget(log_dir, &recovered.files)?;
        return Ok(None);
    }
    settle(&log_dir.log_path(last), durable.log, cut.log)?;
    settle(&log_dir.index_path(last), durable.index, cut.index)?;
    Ok(Some(recovered))
}

/// Removes a log that had not begun: not one transaction is in it. The next start begins anew.
fn forget(log_dir: &LogDir, files: &[u64]) -> Result<(), LogError> {
    tracing::warn!("the first start was cut off before the relay log began: it is made anew");
    log_dir.write_list(&[])?;
    for number in files {
        for path in [log_dir.log_path(*number), log_dir.index_path(*number)] {
            std::fs::remove_file(&path).map_err(|cause| LogError::io("remove", &path, cause))?;
        }
    }
    Ok(())
}

/// A file comes into the list before its first transaction: what is not there has none, unless
/// the list was lost.
fn refuse_unlisted(log_dir: &LogDir, files: &[u64]) -> Result<(), LogError> {
    for number in log_dir.unlisted(files)? {
        let path = log_dir.log_path(number);
        let Ok(head) = FileHead::read(&path) else {
            continue; // Its creation was cut off.
        };
        if LogFile::open(&path)?.file_len()? > head.end {
            let list = log_dir.list_path();
            return Err(LogError::Unlisted { path, list });
        }
    }
    Ok(())
}

/// Offsets in the newest log file and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    log: u64,
    index: u64,
}

/// Up to where the two were known to be on disk, and up to where they are good.
fn find_cut(
    log_dir: &LogDir,
    number: u64,
    head: &FileHead,
    repairs: &mut Vec<String>,
) -> Result<(Cut, Cut), LogError> {
    let index_path = log_dir.index_path(number);
    let log_path = log_dir.log_path(number);
    let (last, damage) = scan_index(&index_path)?;
    let durable_to = last.map_or(head.end, |last| u64::from(last.step.durable_to));
    let recorded_end = last.map_or(head.end, |last| u64::from(last.step.log_end));
    if let Some(damage) = damage {
        if index_goes_on_behind(&index_path, &damage)? {
            return Err(damage);
        }
        repairs.push(format!("{damage}: cut off"));
    }
    let log = LogFile::open(&log_path)?;
    let log_len = log.file_len()?;
    let good_end = log.verified_end(durable_to.max(head.end), recorded_end)?;
    if good_end < durable_to {
        return Err(LogError::Unexpected {
            path: log_path,
            offset: log_len,
            found: "the file ends here".to_owned(),
            expected: "more: the commit index says that it was longer on disk; restore the file, \
                       or move data_dir away and seed the replicas anew",
        });
    }
    let cut = cut_at_transaction(&index_path, head.end, good_end)?;
    if cut.log < recorded_end {
        repairs.push(format!(
            "{}: only {} of {recorded_end} bytes were on disk, cut off there",
            log_path.display(),
            cut.log
        ));
    } else if log_len > cut.log {
        repairs.push(format!(
            "{}: {} bytes behind offset {} were never served, cut off",
            log_path.display(),
            log_len - cut.log,
            cut.log
        ));
    }
    let durable_records = last.map_or(0, |last| u64::from(last.step.durable_records));
    let durable = Cut {
        log: durable_to,
        index: durable_records * RECORD_LEN as u64,
    };
    Ok((durable, cut))
}

/// The last step that can be read, and what stopped the reading if not the end of the file.
fn scan_index(path: &Path) -> Result<(Option<PlacedStep>, Option<LogError>), LogError> {
    let mut index = IndexFile::open(path)?;
    let mut last = None;
    loop {
        match index.next_step() {
            Ok(Some(step)) => last = Some(step),
            Ok(None) => return Ok((last, None)),
            Err(damage @ LogError::Index { .. }) => return Ok((last, Some(damage))),
            Err(other) => return Err(other),
        }
    }
}

/// Whether a good record behind the damaged one says that the damaged one was on disk when it was
/// made: then this is not the torn end of a write.
fn index_goes_on_behind(path: &Path, damage: &LogError) -> Result<bool, LogError> {
    let LogError::Index { offset, .. } = damage else {
        return Ok(false);
    };
    let io = |cause| LogError::io("read", path, cause);
    let mut file = File::open(path).map_err(io)?;
    file.seek(SeekFrom::Start(*offset)).map_err(io)?;
    let mut records = BufReader::with_capacity(RECORD_LEN * 1024, file);
    let mut record = [0; RECORD_LEN];
    loop {
        match records.read_exact(&mut record) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(cause) => return Err(io(cause)),
        }
        if let Ok(Record::Step(step)) = index_record::decode(&record)
            && u64::from(step.durable_records) * RECORD_LEN as u64 > *offset
        {
            return Ok(true);
        }
    }
}

/// The last place in the index whose transactions all end at or before `log_end`.
fn cut_at_transaction(path: &Path, head_end: u64, log_end: u64) -> Result<Cut, LogError> {
    let mut index = IndexFile::open(path)?;
    let mut cut = Cut {
        log: head_end,
        index: RECORD_LEN as u64,
    };
    loop {
        match index.next_step() {
            Ok(Some(placed)) if u64::from(placed.step.log_end) <= log_end => {
                cut = Cut {
                    log: u64::from(placed.step.log_end),
                    index: placed.index_end,
                };
            }
            Ok(_) | Err(LogError::Index { .. }) => return Ok(cut),
            Err(other) => return Err(other),
        }
    }
}

/// Takes in the steps up to the cut.
fn replay(mut index: IndexFile, cut: &Cut, recovered: &mut Recovered) -> Result<(), LogError> {
    while let Ok(Some(PlacedStep { step, index_end })) = index.next_step() {
        if index_end > cut.index {
            break;
        }
        for change in index.take_half_changes()? {
            recovered.halves.apply(change);
        }
        let identity = index.identity(&step);
        if let (StepKind::Transaction, Some(identity)) = (step.kind, &identity) {
            recovered.executed.record(identity);
        }
        let file = index.source_file(&step);
        let progress = recovered
            .sources
            .entry(index.source_name(&step))
            .or_default();
        if progress.position.file != file {
            progress.position.file = file;
        }
        progress.position.offset = step.source_position;
        progress.server_id = step.source_server_id;
        if step.kind == StepKind::Moved {
            progress.first_timestamp = step.timestamp;
            progress.reading_back = step.is_no_copy;
        }
        if let Some(Identity::MariaDb(gtid)) = identity {
            progress.gtid_position.set(gtid);
        }
    }
    Ok(())
}

/// Cuts the file to `len` bytes, and makes those behind `durable` durable.
///
/// They are written again before the sync: if the system failed to write them earlier, it has
/// reported that once, and may hold them as written although the disk never got them.
fn settle(path: &Path, durable: u64, len: u64) -> Result<(), LogError> {
    let settle = || {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() > len {
            file.set_len(len)?;
        }
        let mut block = vec![0; REWRITE_LEN];
        let mut offset = durable;
        while offset < len {
            let wanted = usize::try_from(len - offset).unwrap_or(usize::MAX);
            let Some(piece) = block.get_mut(..wanted.min(REWRITE_LEN)) else {
                break;
            };
            file.read_exact_at(piece, offset)?;
            file.write_all_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        file.sync_all()
    };
    settle().map_err(|cause| LogError::io("cut", path, cause))
}
