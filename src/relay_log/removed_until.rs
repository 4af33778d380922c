//! The newest transaction of each server that is no longer in the log, in a file of its own.
//!
//! `relay-bin.removed` has a line `server_id seconds` for each server of which transactions were removed with
//! their files: no transaction that is later, by that server's clock, was removed. So a transaction that the
//! remaining files do not have can be distinguished from a copy of a removed one.
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

/// The file's content; empty where nothing was removed.
///
/// # Errors
/// When it cannot be read.
pub fn read(log_dir: &LogDir) -> Result<RemovedUntil, LogError> {
    let path = log_dir.removed_path();
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(RemovedUntil::new()),
        read => read.map_err(|cause| LogError::io("read", &path, cause))?,
    };
    let mut times = RemovedUntil::new();
    for line in text.lines() {
        let parsed = line.split_once(' ').and_then(|(server_id, seconds)| {
            Some((server_id.parse().ok()?, seconds.parse().ok()?))
        });
        let (server_id, seconds): (u32, u32) = parsed.ok_or_else(|| {
            let cause = io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is not \"SERVER_ID SECONDS\": restore the file",
            );
            LogError::io("read", &path, cause)
        })?;
        times.insert(server_id, seconds);
    }
    Ok(times)
}

/// Adds the transactions of the log's `files`, which will be removed, and writes the file.
///
/// # Errors
/// When an index cannot be read, or the file cannot be written.
pub(super) fn add(log_dir: &LogDir, files: &[u64]) -> Result<(), LogError> {
    let mut times = read(log_dir)?;
    for file in files {
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
    let text: String = lines.collect();
    atomic_file::replace(&log_dir.removed_path(), text.as_bytes(), MODE).map_err(|error| {
        LogError::Io {
            action: error.operation,
            path: error.path,
            cause: error.cause,
        }
    })
}
