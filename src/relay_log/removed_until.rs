//! The newest transaction of each server that is no longer in the log, in a file of its own.
//!
//! `relay-bin.removed` has a line `server_id seconds` for each server of which transactions were removed with
//! their files: no transaction that is later, by that server's clock, was removed. So a transaction that the
//! remaining files do not have can be distinguished from a copy of a removed one. Its line `before N` says that the
//! relay itself removed the files before number N.
//!
//! It is written before the files are removed from the list, so that it is never older than the list.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::UNIX_EPOCH;

use rustix::io::Errno;

use super::error::LogError;
use super::files::LogDir;
use super::index_reader::IndexReader;
use super::index_record::{Record, RecordedIdentity};
use crate::atomic_file;
use crate::merge::pairing::second;
use crate::utc;

/// Permission bits: it has only numbers.
const MODE: u32 = 0o640;

/// By server_id: the time of the newest removed transaction, in seconds since 1970.
pub type RemovedUntil = BTreeMap<u32, u32>;

/// The file's content.
#[derive(Debug, Default)]
struct Removed {
    before: u64,
    until: RemovedUntil,
}

/// The times; empty where nothing was removed.
///
/// # Errors
/// When the file cannot be read.
pub fn read(log_dir: &LogDir) -> Result<RemovedUntil, LogError> {
    Ok(read_all(log_dir)?.until)
}

/// The relay itself has removed files before this number, or was about to; 0 where it has removed none.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn removed_before(log_dir: &LogDir) -> Result<u64, LogError> {
    Ok(read_all(log_dir)?.before)
}

fn read_all(log_dir: &LogDir) -> Result<Removed, LogError> {
    let path = log_dir.removed_path();
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Removed::default()),
        read => read.map_err(|cause| LogError::io("read", &path, cause))?,
    };
    let mut removed = Removed::default();
    for line in text.lines() {
        parse(line, &mut removed).ok_or_else(|| {
            let cause = io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is neither \"before FILE_NUMBER\" nor \"SERVER_ID SECONDS\": restore the file",
            );
            LogError::io("read", &path, cause)
        })?;
    }
    Ok(removed)
}

fn parse(line: &str, removed: &mut Removed) -> Option<()> {
    match line.split_once(' ')? {
        ("before", number) => removed.before = number.parse().ok()?,
        (server_id, seconds) => {
            let times = &mut removed.until;
            times.insert(server_id.parse().ok()?, seconds.parse().ok()?);
        }
    }
    Some(())
}

/// The file's new content, with the transactions of the log's `files`, which will be removed.
///
/// Of a damaged index nothing needs to be known but what its file may have had: for each server that it, the head of
/// the next one, or the file knows, a transaction up to when the log file was last written.
///
/// # Errors
/// When an index cannot be read for another reason than damage.
pub(super) fn with(log_dir: &LogDir, files: &[u64]) -> Result<String, LogError> {
    let Removed {
        mut before,
        until: mut times,
    } = read_all(log_dir)?;
    for file in files {
        before = before.max(file + 1);
        let mut servers = BTreeSet::new();
        let Err(damage) = add(log_dir, *file, &mut times, &mut servers)? else {
            continue;
        };
        let path = log_dir.log_path(*file);
        let modified = std::fs::metadata(&path).and_then(|found| found.modified());
        let modified = modified.map_err(|cause| LogError::io("read", &path, cause))?;
        let written = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = u32::try_from(written.as_secs()).unwrap_or(u32::MAX);
        servers.extend(times.keys());
        let _ = add_servers(log_dir, file + 1, &mut servers);
        tracing::warn!(
            "{damage}; the file is removed all the same, and its transactions count as removed up to {}",
            utc::unix_seconds(written)
        );
        for server_id in servers {
            let newest = times.entry(server_id).or_default();
            *newest = written.max(*newest);
        }
    }
    let lines = times
        .iter()
        .map(|(server_id, seconds)| format!("{server_id} {seconds}\n"));
    Ok(std::iter::once(format!("before {before}\n"))
        .chain(lines)
        .collect())
}

/// Adds the transactions of `file`, and the servers that its index names. The inner error is the first damage in the
/// index.
fn add(
    log_dir: &LogDir,
    file: u64,
    times: &mut RemovedUntil,
    servers: &mut BTreeSet<u32>,
) -> Result<Result<(), LogError>, LogError> {
    let mut index = match IndexReader::open(&log_dir.index_path(file)) {
        Err(error) if is_damage(&error) => return Ok(Err(error)),
        index => index?,
    };
    let mut whole = Ok(());
    loop {
        match index.next_record() {
            Ok(None) => return Ok(whole),
            Ok(Some(read)) => {
                servers.extend(servers_of(&read.record));
                note(&read.record, times);
            }
            Err(error @ LogError::Index { .. }) => {
                whole = whole.and(Err(error));
                index.skip_damaged()?;
            }
            Err(error) if is_damage(&error) => return Ok(whole.and(Err(error))),
            Err(error) => return Err(error),
        }
    }
}

/// Whether an index is damaged, or a part of the disk is: reading it again does not help.
fn is_damage(error: &LogError) -> bool {
    match error {
        LogError::Index { .. } => true,
        LogError::Io { cause, .. } => {
            let is_bad = cause.raw_os_error() == Some(Errno::IO.raw_os_error());
            is_bad
                || [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof].contains(&cause.kind())
        }
        _ => false,
    }
}

/// The servers that the head of an index names.
fn add_servers(log_dir: &LogDir, file: u64, servers: &mut BTreeSet<u32>) -> Result<(), LogError> {
    let mut index = IndexReader::open(&log_dir.index_path(file))?;
    for record in index.read_head()? {
        servers.extend(servers_of(&record));
    }
    Ok(())
}

fn servers_of(record: &Record) -> impl Iterator<Item = u32> {
    let origin = match record {
        Record::PathQueue { key, .. } => Some(key.origin),
        Record::SourceGtid { gtid, .. } => Some(gtid.server_id),
        _ => record
            .transaction()
            .map(|transaction| transaction.server_id),
    };
    let source = record.step().map(|step| step.source_server_id);
    origin
        .into_iter()
        .chain(source.filter(|server_id| *server_id != 0))
}

fn note(record: &Record, times: &mut RemovedUntil) {
    let (Record::Transaction { transaction, .. } | Record::BeforeStart { transaction, .. }) =
        record
    else {
        return;
    };
    let seconds = match transaction.identity {
        RecordedIdentity::Anonymous(fingerprint) => second(&fingerprint),
        _ => u32::try_from(transaction.commit_time_us() / 1_000_000).unwrap_or(u32::MAX),
    };
    let newest = times.entry(transaction.server_id).or_default();
    *newest = seconds.max(*newest);
}

/// Writes the file.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(log_dir: &LogDir, text: &str) -> Result<(), LogError> {
    atomic_file::replace(&log_dir.removed_path(), text.as_bytes(), MODE).map_err(|error| {
        LogError::Io {
            action: error.operation,
            path: error.path,
            cause: error.cause,
        }
    })
}
