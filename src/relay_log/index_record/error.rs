//! Why a record of a commit index cannot be read.

use super::{OLDEST_VERSION, VERSION};

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The CRC32 does not match.
    #[error("checksum mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// The record's last four bytes.
        stored: u32,
        /// The checksum of the others.
        computed: u32,
    },
    /// A kind that this version does not know.
    #[error("unknown record kind {0}, expected 1 to 24")]
    Kind(u8),
    /// A kind that does not occur in a log of this flavor.
    #[error("record kind {kind} does not occur in {log}")]
    KindOfOther {
        /// The kind.
        kind: u8,
        /// The kind of log.
        log: &'static str,
    },
    /// A field has a value that is never written.
    #[error("{field} is {found}, expected {expected}")]
    Value {
        /// Which field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// The values that are written.
        expected: &'static str,
    },
    /// The definition of a number is missing.
    #[error("{what} number {number} is used, but not defined before")]
    Undefined {
        /// The kind of number: source, source file or origin.
        what: &'static str,
        /// The number.
        number: u32,
    },
    /// The file does not begin with a header.
    #[error("not a commit index: it does not begin with BRIX")]
    Magic,
    /// Another version wrote it.
    #[error(
        "commit index format {0}, but this version of binrelay reads formats {OLDEST_VERSION} to {VERSION}; use the \
         version that wrote it, or move data_dir away and seed the replicas again"
    )]
    Version(u16),
    /// A flavor that does not exist.
    #[error("unknown flavor {0}, expected 1 to 3")]
    Flavor(u8),
}
