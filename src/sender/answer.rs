//! The answer to a statement.

use super::binlog_events::EventListing;
use super::variables::Warning;
use crate::protocol::response::ColumnKind;

/// The answer to a statement; errors are [`ServerError`](crate::protocol::ServerError)s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No rows.
    Ok,
    /// No rows; SHOW WARNINGS has these.
    Warned(Vec<Warning>),
    /// Rows.
    Rows {
        /// Names and types.
        columns: Vec<(String, ColumnKind)>,
        /// Values.
        rows: Vec<Vec<Option<String>>>,
    },
    /// Rows that are read while they are sent.
    Events(EventListing),
}
