//! Bridges: binlog files that bring one replica to a position in the log.
//!
//! `bridge.000001` has the transactions that a replica lacks among those before a position, in the
//! order of the log, and ends with a ROTATE to that position. A replica that starts at
//! `bridge.000001:4` continues in the log by itself. Bridges are not in the list of log files: only
//! a replica that names one reads it. A bridge is kept as long as the log file that it leads to.
//!
//! A *rescue* is a bridge for a source: it has what the source lacks, and leads nowhere, because a source
//! must not follow the log. Its ROTATE leads to its own end. It is kept until an administrator removes it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::error::LogError;
use super::files::LogDir;
use super::held::{Continuation, Held, LogPart, Logged};
use super::reader::{FIRST_EVENT, FileHead, LogFile};
use super::writer::{BridgeWriter, as_old, is_old};
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::rotate::Rotate;
use crate::binlog::{EventType, FormatDescription, event};
use crate::gtid::GtidPosition;
use crate::identity::Executed;
use crate::position::RelayLogPosition;
use crate::{atomic_file, data_file};

/// The part of a bridge's name before the dot. It is not available as the log's own name.
pub const BASENAME: &str = "bridge";
/// Permission bits of the file with the newest number.
const NEWEST_MODE: u32 = 0o640;

/// A file that replicas may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedFile {
    /// A log file.
    Log(u64),
    /// A bridge.
    Bridge(Bridge),
}

/// A complete bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bridge {
    /// Its number.
    pub number: u64,
    /// Where its readers continue in the log; `None` for a rescue, at whose end they wait.
    pub next: Option<RelayLogPosition>,
}

impl ServedFile {
    /// Its name, without directory.
    pub fn name(self, log_dir: &LogDir) -> String {
        match self {
            ServedFile::Log(number) => log_dir.file_name(number),
            ServedFile::Bridge(bridge) => name(bridge.number),
        }
    }

    /// Its path.
    pub fn path(self, log_dir: &LogDir) -> PathBuf {
        log_dir.dir.join(self.name(log_dir))
    }
}

/// The name of the bridge with this number.
pub fn name(number: u64) -> String {
    format!("{BASENAME}.{number:06}")
}

fn number_of(text: &str) -> Option<u64> {
    let text = text.strip_prefix("./").unwrap_or(text);
    let digits = text.strip_prefix(BASENAME)?.strip_prefix('.')?;
    let number = u64::from(digits.parse::<u32>().ok()?);
    (name(number) == text).then_some(number)
}

/// The bridge with this name; `None` when there is none.
///
/// # Errors
/// When it cannot be read.
pub fn named(log_dir: &LogDir, name: &[u8]) -> Result<Option<Bridge>, LogError> {
    let number = std::str::from_utf8(name).ok().and_then(number_of);
    let Some(number) = number.filter(|_| log_dir.basename != BASENAME) else {
        return Ok(None);
    };
    match open(log_dir, number) {
        Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        file => Ok(Some(Bridge {
            number,
            next: end_of(&file?, log_dir, number)?,
        })),
    }
}

fn open(log_dir: &LogDir, number: u64) -> Result<LogFile, LogError> {
    LogFile::open(&log_dir.dir.join(name(number)))
}

/// Where the ROTATE at the end of the bridge with this number leads; `None` to itself.
fn end_of(
    file: &LogFile,
    log_dir: &LogDir,
    number: u64,
) -> Result<Option<RelayLogPosition>, LogError> {
    let (mut offset, len) = (FIRST_EVENT, file.file_len()?);
    while offset < len {
        let header = file.header_at(offset)?;
        if header.event_type == EventType::ROTATE {
            let rotate = file.event_at(offset)?;
            let parsed = Rotate::parse(event::body(&rotate, true));
            let next = parsed.ok().and_then(|rotate| {
                let target = std::str::from_utf8(rotate.file).ok()?;
                if number_of(target) == Some(number) {
                    return Some(None);
                }
                Some(Some(RelayLogPosition {
                    file: log_dir.file_number(target)?,
                    offset: rotate.position,
                }))
            });
            return next.ok_or_else(|| incomplete(file, offset));
        }
        offset += u64::from(header.event_size);
    }
    Err(incomplete(file, offset))
}

fn incomplete(file: &LogFile, offset: u64) -> LogError {
    LogError::Unexpected {
        path: file.path().to_owned(),
        offset,
        found: "no Rotate event to a file of the relay log".to_owned(),
        expected: "one at the end of a bridge; remove the file and attach the replica again",
    }
}

/// Whether an event of the file begins at `position`, or it ends there.
///
/// # Errors
/// When it cannot be read.
pub fn is_event_boundary(
    log_dir: &LogDir,
    bridge: Bridge,
    position: u64,
) -> Result<bool, LogError> {
    let file = open(log_dir, bridge.number)?;
    let mut offset = FIRST_EVENT;
    while offset < position.min(file.file_len()?) {
        offset += u64::from(file.header_at(offset)?.event_size);
    }
    Ok(offset == position)
}

/// MariaDB: as [`super::coordinates::gtid_position_at`], for a position in a bridge.
///
/// # Errors
/// When it cannot be read.
pub fn gtid_position_at(
    log_dir: &LogDir,
    bridge: Bridge,
    position: u64,
) -> Result<Option<GtidPosition>, LogError> {
    let file = open(log_dir, bridge.number)?;
    let head = FileHead::read(file.path())?;
    let Some(mut state) = head.previous.as_mariadb().cloned() else {
        return Ok(None);
    };
    if position == FIRST_EVENT {
        return Ok(Some(state.position()));
    }
    let (mut offset, len) = (head.end, file.file_len()?);
    while offset < len {
        let header = file.header_at(offset)?;
        let is_between = header.event_type.is_gtid() || header.event_type == EventType::ROTATE;
        if offset >= position {
            return Ok((offset == position && is_between).then(|| state.position()));
        }
        if header.event_type.is_gtid()
            && let Ok(opener) = MariaDbGtidEvent::parse(&file.event_at(offset)?, true)
        {
            state.record(opener.gtid);
        }
        offset += u64::from(header.event_size);
    }
    Ok((offset == position).then(|| state.position()))
}

/// The numbers of the bridges, in order, and the paths of incomplete ones.
fn list(log_dir: &LogDir) -> Result<(Vec<u64>, Vec<PathBuf>), LogError> {
    let io = |cause| LogError::io("read", &log_dir.dir, cause);
    let (mut numbers, mut incomplete) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(&log_dir.dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let text = path.file_name().and_then(|name| name.to_str());
        let text = text.unwrap_or_default();
        if text == format!("{BASENAME}.tmp") {
            incomplete.push(path);
        } else {
            numbers.extend(number_of(text));
        }
    }
    numbers.sort_unstable();
    Ok((numbers, incomplete))
}

/// The file with the highest number that was ever assigned.
fn newest_path(log_dir: &LogDir) -> PathBuf {
    log_dir.dir.join(format!("{BASENAME}.newest"))
}

/// Assigns the next number, durably. None is assigned twice, even if bridges are removed: a replica that has not
/// finished one would continue in the middle of another.
fn next_number(log_dir: &LogDir) -> Result<u64, LogError> {
    let path = newest_path(log_dir);
    let assigned = match fs::read_to_string(&path) {
        Ok(text) => match text.trim_end().parse::<u32>() {
            Ok(number) => u64::from(number),
            Err(_) => {
                return Err(LogError::Unexpected {
                    path,
                    offset: 0,
                    found: text.chars().take(20).collect(),
                    expected: "the number of the newest bridge; write the highest number into the file that \
                               a bridge of this relay ever had",
                });
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(cause) => return Err(LogError::io("read", &path, cause)),
    };
    let (numbers, _) = list(log_dir)?;
    let number = numbers.last().copied().unwrap_or_default().max(assigned) + 1;
    let text = format!("{number}\n");
    atomic_file::replace(&path, text.as_bytes(), NEWEST_MODE).map_err(|error| LogError::Io {
        action: error.operation,
        path: error.path,
        cause: error.cause,
    })?;
    Ok(number)
}

/// Writes a bridge with the transactions that a replica lacks before `continuation`. `executed` are
/// those that it has, for the file's head.
///
/// # Errors
/// When the log cannot be read, or the file cannot be written. It does not exist then.
pub fn write(
    part: &LogPart<'_>,
    server_id: u32,
    held: &Held,
    executed: &Executed,
    continuation: &Continuation,
) -> Result<Bridge, LogError> {
    let next = continuation.from;
    let is_before = |logged: &Logged| (logged.file, logged.end) <= (next.file, next.offset);
    let contains = |logged: &Logged| !held.has(logged) && is_before(logged);
    let (bridge, _) = write_file(part, server_id, executed, Some(next), &contains)?;
    Ok(bridge)
}

/// Writes a rescue with the transactions that `contains` selects. Returns it, and the end of its last
/// transaction. `executed` is for the file's head.
///
/// # Errors
/// As [`write()`].
pub fn write_rescue(
    part: &LogPart<'_>,
    server_id: u32,
    executed: &Executed,
    contains: &dyn Fn(&Logged) -> bool,
) -> Result<(Bridge, u64), LogError> {
    write_file(part, server_id, executed, None, contains)
}

fn write_file(
    part: &LogPart<'_>,
    server_id: u32,
    executed: &Executed,
    next: Option<RelayLogPosition>,
    contains: &dyn Fn(&Logged) -> bool,
) -> Result<(Bridge, u64), LogError> {
    let number = next_number(part.log_dir)?;
    let path = part.log_dir.dir.join(name(number));
    let newest = next.map_or(part.end.file, |next| next.file);
    let head = FileHead::read(&part.log_dir.log_path(newest))?;
    // Its reader may have temporary tables, which live on.
    let mut format = FormatDescription {
        created: 0,
        ..head.format.clone()
    };
    if *executed == Executed::Anonymous && !is_old(&format) && has_old(part, newest, contains)? {
        format = as_old(format);
    }
    let mut writer = BridgeWriter::create(part.log_dir, path, server_id, &format, executed)?;
    let (mut checked, mut copied) = (newest, newest);
    part.visit::<LogError>(&mut |visited| {
        let Some(logged) = visited.logged.filter(|logged| contains(logged)) else {
            return Ok(());
        };
        if logged.file != checked {
            check_format(part.log_dir, logged.file, &head)?;
            checked = logged.file;
        }
        check_temporary_tables(part, &writer, (copied, logged.file))?;
        copied = logged.file;
        writer.append(&logged)
    })?;
    if let Some(next) = next {
        check_temporary_tables(part, &writer, (copied, next.file))?;
    }
    let end = writer.close(next)?;
    Ok((Bridge { number, next }, end))
}

/// Whether `contains` selects a transaction of a file whose version says that its statements are those of a MySQL before
/// 5.6.6; `newest` is the newest file from which any is selected.
fn has_old(
    part: &LogPart<'_>,
    newest: u64,
    contains: &dyn Fn(&Logged) -> bool,
) -> Result<bool, LogError> {
    let mut old = BTreeSet::new();
    for number in part.files.iter().filter(|number| **number <= newest) {
        if is_old(&FileHead::read(&part.log_dir.log_path(*number))?.format) {
            old.insert(*number);
        }
    }
    let mut found = false;
    if !old.is_empty() {
        part.visit::<LogError>(&mut |visited| {
            let selected = visited.logged.filter(|logged| contains(logged));
            found |= selected.is_some_and(|logged| old.contains(&logged.file));
            Ok(())
        })?;
    }
    Ok(found)
}

/// A bridge cannot end temporary tables, as a log file does with whose head the replicas drop theirs: none of the
/// files after the first one of `files` up to the second may do that if the bridge has used some.
fn check_temporary_tables(
    part: &LogPart<'_>,
    writer: &BridgeWriter<'_>,
    (after, up_to): (u64, u64),
) -> Result<(), LogError> {
    if !writer.uses_temporary_tables() {
        return Ok(());
    }
    let between = |number: &&u64| after < **number && **number <= up_to;
    for number in part.files.iter().filter(between) {
        let path = part.log_dir.log_path(*number);
        if FileHead::read(&path)?.format.created != 0 {
            return Err(LogError::Unexpected {
                path,
                offset: FIRST_EVENT,
                found: "the end of temporary tables, which transactions before it use".to_owned(),
                expected: "none between the transactions that the replica lacks; let the replica follow its \
                           source a little further, or use a newer dump",
            });
        }
    }
    Ok(())
}

/// One file must be able to hold the events of both.
fn check_format(log_dir: &LogDir, number: u64, head: &FileHead) -> Result<(), LogError> {
    let path = log_dir.log_path(number);
    let other = FileHead::read(&path)?;
    if head.format.is_compatible_with(&other.format) {
        return Ok(());
    }
    Err(LogError::Unexpected {
        path,
        offset: FIRST_EVENT,
        found: format!("events of version {}", other.format.server_version),
        expected: "the format of the newer files; attach the replica from a newer position or dump",
    })
}

/// The bridges that can be read and lead into the log: their numbers, where to, and when they were written.
///
/// # Errors
/// When the directory cannot be read.
pub fn targets(log_dir: &LogDir) -> Result<Vec<(u64, RelayLogPosition, SystemTime)>, LogError> {
    if log_dir.basename == BASENAME {
        return Ok(Vec::new());
    }
    let (numbers, _) = list(log_dir)?;
    let targets = numbers.into_iter().filter_map(|number| {
        let file = open(log_dir, number).ok()?;
        let written = fs::metadata(file.path()).ok()?.modified().ok()?;
        Some((number, end_of(&file, log_dir, number).ok()??, written))
    });
    Ok(targets.collect())
}

/// Removes bridges that lead to a log file that was removed.
///
/// # Errors
/// As [`remove_useless`].
pub fn remove_without_target(log_dir: &LogDir, files: &[u64]) -> Result<(), LogError> {
    let is_gone = |next: &RelayLogPosition| files.first().is_some_and(|first| next.file < *first);
    for (number, ..) in targets(log_dir)?
        .iter()
        .filter(|(_, next, _)| is_gone(next))
    {
        let path = log_dir.dir.join(name(*number));
        tracing::info!(
            "{}: removed, because the log file that it leads to was removed",
            path.display()
        );
        data_file::remove(&path).map_err(|cause| LogError::io("remove", &path, cause))?;
    }
    Ok(())
}

/// Removes bridges that lead to a log file that was removed, and incomplete ones. `files` are the
/// numbers of the log files.
///
/// # Errors
/// When the directory cannot be read, or a file cannot be removed.
pub fn remove_useless(log_dir: &LogDir, files: &[u64]) -> Result<(), LogError> {
    if log_dir.basename == BASENAME {
        return Ok(());
    }
    let (numbers, mut useless) = list(log_dir)?;
    for number in numbers {
        let leads_to = open(log_dir, number).and_then(|file| end_of(&file, log_dir, number));
        let is_needed =
            leads_to.is_ok_and(|next| next.is_none_or(|next| files.contains(&next.file)));
        if !is_needed {
            useless.push(log_dir.dir.join(name(number)));
        }
    }
    for path in useless {
        tracing::info!(
            "{}: removed, because it is incomplete or leads to no log file",
            path.display()
        );
        data_file::remove(&path).map_err(|cause| LogError::io("remove", &path, cause))?;
    }
    Ok(())
}
