//! The options of a dump, its errors, and its messages.

use std::io;

use crate::inspect::error::InspectError;
use crate::inspect::gtid_selection::GtidSelection;

/// Which events are shown, and how.
#[derive(Debug, Clone, Default)]
pub struct DumpOptions {
    /// JSON instead of text.
    pub json: bool,
    /// Begin at this offset of the first file.
    pub start_position: Option<u64>,
    /// End before the first event at or after this offset of the last file.
    pub stop_position: Option<u64>,
    /// Begin at the first event of this time (seconds since 1970) or later.
    pub start_time: Option<i64>,
    /// End before the first event of this time or later.
    pub stop_time: Option<i64>,
    /// Only events of these databases, and those that structure transactions; all if empty.
    pub databases: Vec<String>,
    /// Only these transactions.
    pub gtids: Option<GtidSelection>,
    /// Also the values of rows.
    pub rows: bool,
    /// Continue after damage.
    pub force: bool,
}

/// Why a dump ended early.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A file cannot be read, or no further.
    #[error(transparent)]
    Input(#[from] InspectError),
    /// The lines cannot be written.
    #[error("cannot write the listing: {0}")]
    Output(#[source] io::Error),
}

/// Messages reported alongside the lines.
#[derive(Debug)]
pub enum Remark {
    /// Damage, after which the dump continues (`force`).
    Damage(InspectError),
    /// A problem that is not damage: a sentence with file and offset.
    Warning(String),
}
