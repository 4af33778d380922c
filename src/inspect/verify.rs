//! `binrelay verify`: whether a relay's log is sound, and agrees with its commit index.
//!
//! For each file, in their order: its head says exactly what the files before hold; every event's
//! checksum and position are right; it consists of whole transactions; logical clocks count
//! 1, 2, 3 …; no transaction is there twice in the whole log; each one has its record in the
//! commit index, with its GTID and its end; a ROTATE to the next file ends it.
//!
//! The newest file may go on behind its last record, and its records may go on behind what is
//! known to be on disk: that is what a kill leaves, and recovery cuts it off. Such an end is a
//! note and no problem. The index is read before the log, which is written first: so a log can be
//! verified while a relay writes it. Memory is bounded by the GTID set, not by the log.

mod file;
mod transaction;

use std::fs;
use std::path::{Path, PathBuf};

use crate::identity::Executed;
use crate::relay_log::reader::FileHead;
use crate::relay_log::{LogBinding, LogDir, LogError};

/// Problems that are kept of one file; what is behind them follows from them, mostly.
const PROBLEMS_PER_FILE_MAX: usize = 20;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What was found, and what was expected.
    pub what: String,
}

/// What was found in one log file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileReport {
    /// Its name, without folder.
    pub name: String,
    /// The offset up to which it was compared with its commit index.
    pub verified_to: u64,
    /// Transactions in it.
    pub transactions: u64,
    /// Steps in its commit index: transactions, dropped copies, moves of a source.
    pub steps: u64,
    /// What is not wrong, but not finished either.
    pub notes: Vec<String>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// Each file, in their order.
    pub files: Vec<FileReport>,
    /// All transactions in the log or before it.
    pub executed: Executed,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.files.iter().all(|file| file.problems.is_empty())
    }

    /// Transactions in all files.
    pub fn transactions(&self) -> u64 {
        self.files.iter().map(|file| file.transactions).sum()
    }
}

/// Verifies the relay log in `data_dir`. Nothing is changed.
///
/// # Errors
/// When there is no relay log, its list cannot be read, or the first file's head cannot: then
/// nothing can be compared.
pub fn verify(data_dir: &Path) -> Result<VerifyReport, LogError> {
    let log_dir = find_log(data_dir)?;
    let (binding, numbers) = LogBinding::read(&log_dir)?;
    let Some(first) = numbers.first() else {
        return Err(LogError::Unexpected {
            path: log_dir.list_path(),
            offset: 0,
            found: "an empty list".to_owned(),
            expected: "the names of the log's files",
        });
    };
    let mut executed = FileHead::read(&log_dir.log_path(*first))?.previous;
    let mut files = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let is_newest = index + 1 == numbers.len();
        files.push(file::verify_file(
            &log_dir,
            &binding,
            *number,
            is_newest,
            &mut executed,
        ));
    }
    Ok(VerifyReport { files, executed })
}

/// The log by its list of files, `BASENAME.index`.
fn find_log(data_dir: &Path) -> Result<LogDir, LogError> {
    let io = |cause| LogError::io("read", data_dir, cause);
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        found.extend(name.strip_suffix(".index").map(str::to_owned));
    }
    found.sort();
    let unexpected = |found| LogError::Unexpected {
        path: data_dir.to_owned(),
        offset: 0,
        found,
        expected: "one file NAME.index, the list of a relay log's files",
    };
    match found.as_slice() {
        [basename] => Ok(LogDir {
            dir: data_dir.to_owned(),
            basename: basename.clone(),
        }),
        [] => Err(unexpected("no such file".to_owned())),
        many => Err(unexpected(format!("{} of them", many.len()))),
    }
}

#[cfg(test)]
mod tests;
