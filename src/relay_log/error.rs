//! Errors of the relay log.

use std::io;
use std::path::{Path, PathBuf};

use super::index_record::RecordError;
use crate::binlog::EventError;

/// An error of the relay log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// An operation of the operating system failed.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// The list of log files has an unexpected line.
    #[error(
        "{}, line {line}: found {found:?}, expected {expected:?}; restore the list (one file name per line, without gaps)",
        path.display()
    )]
    List {
        /// The list.
        path: PathBuf,
        /// The line number, from 1.
        line: usize,
        /// The line's text.
        found: String,
        /// The name of the next file.
        expected: String,
    },
    /// The list of log files is older than the log.
    #[error(
        "{} does not name {expected}, which was written: it is an older copy; restore the list \
         (one file name per line), or move data_dir away and seed the replicas again",
        path.display()
    )]
    OldList {
        /// The list.
        path: PathBuf,
        /// The newest file's name.
        expected: String,
    },
    /// A directory holds no relay log, or more than one.
    #[error(
        "{}: found {lists} lists of log files (*.index), expected 1; name the data_dir of one relay",
        path.display()
    )]
    NotOneLog {
        /// The directory.
        path: PathBuf,
        /// Lists of log files in it.
        lists: usize,
    },
    /// A commit index is damaged.
    #[error("{}, offset {offset}: {cause}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Offset in it.
        offset: u64,
        /// The problem.
        #[source]
        cause: RecordError,
    },
    /// A commit index does not belong to its log file.
    #[error(
        "{}: {cause}; restore the commit index that belongs to {} (from the same data_dir and the \
         same time), or move data_dir away and seed the replicas again; nothing was changed",
        path.display(),
        log.display()
    )]
    IndexMismatch {
        /// The index.
        path: PathBuf,
        /// The log file.
        log: PathBuf,
        /// The mismatch.
        #[source]
        cause: IndexMismatch,
    },
    /// There is no durable mark, and the newest log file does not end where its commit index says.
    #[error(
        "{} is missing, {} ends at offset {log_len}, and its commit index at offset {log_end}: it is not known what \
         replicas have received; restore {0} and the commit index of this data_dir, or, if only {0} was lost, create it \
         as an empty file",
        path.display(),
        log.display()
    )]
    NoDurableMark {
        /// The mark.
        path: PathBuf,
        /// The log file.
        log: PathBuf,
        /// Its end.
        log_len: u64,
        /// Its end according to its index, as far as that is not damaged.
        log_end: u64,
    },
    /// The durable mark has another version, or belongs to another relay log.
    #[error(
        "{}: {found}, expected {expected}; restore the file of this data_dir, or, if the log files \
         and their commit indexes are known to be complete, replace it by an empty file",
        path.display()
    )]
    DurableMark {
        /// The file.
        path: PathBuf,
        /// Its content.
        found: String,
        /// The expected content.
        expected: String,
    },
    /// A log file is damaged.
    #[error("{}, offset {offset}: {cause}", path.display())]
    Event {
        /// The log file.
        path: PathBuf,
        /// Offset in it.
        offset: u64,
        /// The problem.
        #[source]
        cause: EventError,
    },
    /// A file has unexpected content.
    #[error("{}, offset {offset}: {found}, expected {expected}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// Offset in it.
        offset: u64,
        /// The content.
        found: String,
        /// The expected content, and the action where there is one.
        expected: &'static str,
    },
    /// A log file with transactions is not in the list.
    #[error(
        "{} holds transactions, but is not in {}; restore the list (one file name per line), or \
         move data_dir away and seed the replicas again",
        path.display(),
        list.display()
    )]
    Unlisted {
        /// The log file.
        path: PathBuf,
        /// The list.
        list: PathBuf,
    },
    /// A file is older than the list, and the relay has not removed it.
    #[error(
        "{} is older than the first file in {}, but binrelay has not removed it; restore the list (one file name \
         per line, from the oldest file on); if the file is not of this log, move it to another directory",
        path.display(),
        list.display()
    )]
    ListedTooLate {
        /// The log file or index.
        path: PathBuf,
        /// The list.
        list: PathBuf,
    },
    /// An invariant is violated: a bug of binrelay. Nothing was written.
    #[error("{}: internal error: {what}", path.display())]
    Internal {
        /// The file that was to be written.
        path: PathBuf,
        /// The violated invariant.
        what: String,
    },
}

impl LogError {
    /// An error of the operating system.
    pub fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        LogError::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    /// Whether the disk, or a quota, is full.
    pub fn is_disk_full(&self) -> bool {
        let LogError::Io { cause, .. } = self else {
            return false;
        };
        matches!(
            cause.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// Why a commit index does not belong to its log file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexMismatch {
    /// There is no such file.
    #[error("the commit index is missing")]
    Missing,
    /// It is too short to hold its header and head, which are on disk before the log file is used.
    #[error("the commit index ends at {len} bytes, within its head")]
    NoHead {
        /// Its length in bytes.
        len: u64,
    },
    /// It belongs to another kind of server.
    #[error("the commit index belongs to a {found} log, but the log file holds {expected} events")]
    Flavor {
        /// The index's.
        found: &'static str,
        /// The log's.
        expected: &'static str,
    },
    /// It belongs to another relay's log.
    #[error("the commit index belongs to another relay log: log_id {found}, expected {expected}")]
    LogId {
        /// The index's.
        found: String,
        /// The log's.
        expected: String,
    },
    /// It belongs to another file of the log.
    #[error("the commit index belongs to log file number {found}, expected {expected}")]
    FileNumber {
        /// The index's.
        found: u64,
        /// The log file's.
        expected: u64,
    },
    /// It was written for a log file with another head.
    #[error(
        "the commit index belongs to a log file with another head: checksum {found:#010x} of \
         {len} bytes, expected {expected:#010x}"
    )]
    Head {
        /// The checksum in the index.
        found: u32,
        /// The checksum of the log file's head.
        expected: u32,
        /// The length of the head in the index.
        len: u32,
    },
    /// It ends before records that were on disk.
    #[error(
        "the commit index is an older copy, or was truncated: it ends with {records} records at \
         log offset {log_end}, but {durable_records} records up to log offset {durable_to} were \
         on disk and may have been served"
    )]
    Older {
        /// Its records, the header included.
        records: u64,
        /// The log offset up to which they describe the log.
        log_end: u64,
        /// Records that were on disk.
        durable_records: u64,
        /// Bytes of the log that were on disk.
        durable_to: u64,
    },
    /// It does not describe all of a log file that was completed.
    #[error(
        "the commit index is an older copy, or was truncated: it describes the log file up to \
         offset {log_end} of {log_len}, where the closing Rotate event was expected"
    )]
    Incomplete {
        /// The log offset up to which its records describe the log.
        log_end: u64,
        /// Length of the log file in bytes.
        log_len: u64,
    },
}
