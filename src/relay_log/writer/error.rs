//! Why a transaction is not appended.

use crate::merge::MergeError;
use crate::relay_log::LogError;

/// Why a transaction was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The source is at fault: it must stop, the others go on.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The source's events do not fit into this log.
    #[error(
        "the source's format description ({found}) contradicts that of this relay log \
         ({expected}): their events have different fixed parts, and one file cannot hold both"
    )]
    Format {
        /// The version of the server whose events the log holds.
        expected: String,
        /// The source's version.
        found: String,
    },
    /// The transaction cannot be put in any file.
    #[error(
        "transaction of {len} bytes: a binlog file holds at most 4 GiB; split it on the source"
    )]
    TooLarge {
        /// Its length in bytes.
        len: u64,
    },
    /// The log itself failed, and must not be written any more.
    #[error(transparent)]
    Log(#[from] LogError),
}
