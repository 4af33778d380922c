//! Why a transaction is not written.

/// Why a transaction was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The source's events do not fit into this log.
    #[error(
        "the source's format description ({found}) contradicts that of this relay log \
         ({expected}): their post-header lengths differ, so one file cannot hold both; upgrade the \
         sources to one version"
    )]
    Format {
        /// The version of the server whose events are in the log.
        expected: String,
        /// The source's version.
        found: String,
    },
    /// No file can hold the transaction.
    #[error(
        "transaction of {len} bytes: a binlog file holds at most 4 GiB; split it on the source"
    )]
    TooLarge {
        /// Its length in bytes.
        len: u64,
    },
}
