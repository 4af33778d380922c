//! The answer to a statement.

use super::binlog_events::EventListing;
use super::budget::{StatementLimits, too_large_result};
use super::variables::Warning;
use super::waits::Wait;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind;

/// The answer to a statement; errors are [`ServerError`]s.
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
    /// The statement must wait, and then be evaluated again with the result.
    Wait(Wait),
}

impl Answer {
    /// Rows with these columns.
    pub fn rows(columns: &[(&str, ColumnKind)], rows: Vec<Vec<Option<String>>>) -> Self {
        let columns = columns
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind));
        Answer::Rows {
            columns: columns.collect(),
            rows,
        }
    }

    /// Checks the size of a result. Events that are read while they are sent need no memory, and are not limited.
    ///
    /// # Errors
    /// It is too large.
    pub fn check_size(self, limits: StatementLimits) -> Result<Self, ServerError> {
        let Answer::Rows { columns, rows } = &self else {
            return Ok(self);
        };
        let names = columns.iter().map(|(name, _)| name.len());
        let values = rows.iter().flatten().flatten().map(String::len);
        match names.chain(values).sum::<usize>() <= limits.result_len {
            true => Ok(self),
            false => Err(too_large_result(limits)),
        }
    }
}
