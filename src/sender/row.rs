//! A row of a table, as expressions read it.

use super::sql_errors::{ambiguous_column, unknown_column};
use super::value::Value;
use crate::protocol::ServerError;

/// A column of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowColumn {
    /// The name that the statement gives to its table.
    pub table: String,
    /// Its own name.
    pub name: &'static str,
}

/// A row of a table, or of two tables that are joined.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The columns.
    pub columns: &'a [RowColumn],
    /// Their values. References: a row of one table is joined with many of another.
    pub values: &'a [&'a Value],
}

impl<'a> Row<'a> {
    /// A row with these columns and values.
    pub fn new(columns: &'a [RowColumn], values: &'a [&'a Value]) -> Self {
        Self { columns, values }
    }

    /// The value of a column, as [`Self::index`] finds it.
    ///
    /// # Errors
    /// There is no such column, or there are several.
    pub fn value(&self, table: &str, name: &str) -> Result<&'a Value, ServerError> {
        let value = self.values.get(self.index(table, name)?);
        value.copied().ok_or_else(|| unknown_column(name))
    }

    /// The index of a column, ignoring the case of its name; `table` is empty where the statement names none.
    ///
    /// # Errors
    /// There is no such column, or there are several.
    pub fn index(&self, table: &str, name: &str) -> Result<usize, ServerError> {
        let is_meant = |column: &RowColumn| {
            column.name.eq_ignore_ascii_case(name)
                && (table.is_empty() || column.table.eq_ignore_ascii_case(table))
        };
        let columns = self.columns.iter().enumerate();
        let mut found = columns.filter(|(_, column)| is_meant(column));
        let (index, _) = found.next().ok_or_else(|| unknown_column(name))?;
        match found.next() {
            Some(_) => Err(ambiguous_column(name)),
            None => Ok(index),
        }
    }
}
