//! The newest transaction of each server that is no longer in the log, in a file of its own.
//!
//! `relay-bin.removed` has a line `server_id seconds` for each server of which transactions were removed with
//! their files: no transaction that is later, by that server's clock, was removed. So a transaction that the
//! remaining files do not have can be distinguished from a copy of a removed one. Its line `before N` says that the
//! relay itself removed the files before number N.
//!
//! It is written before the files are removed from the list, so that it is never older than the list.

use std::collections::BTreeMap;
use std::io;

use super::error::LogError;
use super::files::LogDir;
use super::index_reader::IndexReader;
use super::index_record::{Record, RecordedIdentity};
use crate::atomic_file;
use crate::merge::pairing::second;

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

/// Adds the transactions of the log's `files`, which will be removed, and writes the file.
///
/// # Errors
/// When an index cannot be read, or the file cannot be written.
pub(super) fn add(log_dir: &LogDir, files: &[u64]) -> Result<(), LogError> {
    let Removed {
        mut before,
        until: mut times,
    } = read_all(log_dir)?;
    for file in files {
        before = before.max(file + 1);
        let mut index = IndexReader::open(&log_dir.index_path(*file))?;
        while let Some(read) = index.next_record()? {
            let transaction = match &read.record {
                Record::Transaction { transaction, .. }
                | Record::BeforeStart { transaction, .. } => transaction,
                _ => continue,
            };
            let seconds = match transaction.identity {
                RecordedIdentity::Anonymous(fingerprint) => second(&fingerprint),
                _ => u32::try_from(transaction.commit_time_us() / 1_000_000).unwrap_or(u32::MAX),
            };
            let newest = times.entry(transaction.server_id).or_default();
            *newest = seconds.max(*newest);
        }
    }
    let lines = times
        .iter()
        .map(|(server_id, seconds)| format!("{server_id} {seconds}\n"));
    let text: String = std::iter::once(format!("before {before}\n"))
        .chain(lines)
        .collect();
    atomic_file::replace(&log_dir.removed_path(), text.as_bytes(), MODE).map_err(|error| {
        LogError::Io {
            action: error.operation,
            path: error.path,
            cause: error.cause,
        }
    })
}
