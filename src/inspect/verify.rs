//! `binrelay verify`: checks that a relay log is sound and agrees with its commit indexes.
//!
//! For each file, in order: its first events list exactly the transactions of the files before it;
//! every event's checksum and log_pos are right; it consists of whole transactions; logical clocks
//! count 1, 2, 3 …; no transaction appears twice in the whole log, unless a
//! MariaDB master executed it twice; each one has its record in the
//! commit index, with its GTID and its end; a ROTATE to the next file ends it.
//!
//! The newest file may extend past its last record, and its records past the part that is known to
//! be on disk: a killed relay leaves such an end, and recovery truncates it. It is a note, not a
//! problem. The log is written before the index, and read after it, so a log can be verified while
//! a relay writes it. Memory is bounded by the GTID set, not by the log.

mod file;
mod transaction;

use std::fs;
use std::path::{Path, PathBuf};

use crate::identity::Executed;
use crate::relay_log::reader::FileHead;
use crate::relay_log::{LogBinding, LogDir, LogError};

/// The most problems reported for one file; further ones are usually consequences of these.
const PROBLEMS_PER_FILE_MAX: usize = 20;

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The offset in it.
    pub offset: u64,
    /// The finding, and the expected state.
    pub what: String,
}

/// The findings in one log file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileReport {
    /// Its name, without a directory.
    pub name: String,
    /// The offset up to which it was compared with its commit index.
    pub verified_to: u64,
    /// Transactions in it.
    pub transactions: u64,
    /// Steps in its commit index: transactions, dropped copies, changes of a source's position.
    pub steps: u64,
    /// Findings that are not problems: an end that is incomplete.
    pub notes: Vec<String>,
    /// Its problems.
    pub problems: Vec<Problem>,
}

/// The result of verifying a relay log.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// Each file, in their order.
    pub files: Vec<FileReport>,
    /// All transactions in the log or before it.
    pub executed: Executed,
}

impl VerifyReport {
    /// Whether there are no problems.
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
/// When there is not exactly one relay log, or its list or the head of its first file cannot be read: then
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

/// Finds the log by its list of files, `BASENAME.index`.
fn find_log(data_dir: &Path) -> Result<LogDir, LogError> {
    let io = |cause| LogError::io("read", data_dir, cause);
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        found.extend(name.strip_suffix(".index").map(str::to_owned));
    }
    match found.as_slice() {
        [basename] => Ok(LogDir {
            dir: data_dir.to_owned(),
            basename: basename.clone(),
        }),
        other => Err(LogError::NotOneLog {
            path: data_dir.to_owned(),
            lists: other.len(),
        }),
    }
}

#[cfg(test)]
mod tests;
