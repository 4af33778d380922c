//! Coordinates in a binlog.
//!
//! A file name and an offset have a meaning only together with a server. So there are two types:
//! positions in a *source's* binlog and positions in the *relay log*. A [`RecordNumber`] is a
//! position in the commit indexes of the relay log.

use std::fmt;
use std::sync::Arc;

/// Coordinates in a source's binlog, as that source reports them.
///
/// They are not valid in the relay log, nor in another server's binlog. Only positions of one binlog are
/// ordered, see [`SourcePosition::precedes`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourcePosition {
    /// The binlog file's name, without a directory. Empty if nothing was received yet.
    pub file: Arc<str>,
    /// Offset in the file, in bytes. A source can have files of more than 4 GiB.
    pub offset: u64,
}

impl SourcePosition {
    /// The position at `offset` of `file`.
    pub fn new(file: impl Into<Arc<str>>, offset: u64) -> Self {
        Self {
            file: file.into(),
            offset,
        }
    }

    /// Whether this position is before `other` in a binlog that has both; false where the names of the
    /// files do not show it.
    pub fn precedes(&self, other: &SourcePosition) -> bool {
        if self.file == other.file {
            return self.offset < other.offset;
        }
        let split = |file: &str| -> Option<(String, u64)> {
            let (base, number) = file.rsplit_once('.')?;
            Some((base.to_owned(), number.parse().ok()?))
        };
        match (split(&self.file), split(&other.file)) {
            (Some((base, number)), Some((other_base, other_number))) => {
                base == other_base && number < other_number
            }
            _ => false,
        }
    }

    /// Whether the position is unknown: nothing was received from the source.
    pub fn is_unknown(&self) -> bool {
        self.file.is_empty()
    }
}

impl Default for SourcePosition {
    fn default() -> Self {
        Self::new("", 0)
    }
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// Coordinates in the relay log.
///
/// As the end of the part that may be served it never decreases, and the bytes before it never
/// change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayLogPosition {
    /// The file's number: 1 is `relay-bin.000001`.
    pub file: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
}

/// A record of a commit index, see [`crate::relay_log::index_record`]. Record numbers order all
/// records of a relay log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RecordNumber {
    /// The number of the relay log file that the index belongs to.
    pub file: u64,
    /// The record's number in that index; the header is 0.
    pub record: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_one_binlog_are_ordered_by_the_number_of_the_file() {
        let at = SourcePosition::new;
        assert!(at("bin.000001", 900).precedes(&at("bin.000002", 4)));
        assert!(at("bin.999999", 900).precedes(&at("bin.1000000", 4)));
        assert!(at("bin.000002", 4).precedes(&at("bin.000002", 5)));
        assert!(!at("bin.000002", 5).precedes(&at("bin.000002", 5)));
        assert!(!at("bin.000002", 4).precedes(&at("bin.000001", 900)));
        assert!(!at("bin.000001", 4).precedes(&at("other.000002", 4)));
        assert!(!at("", 0).precedes(&at("bin.000001", 4)));
    }
}
