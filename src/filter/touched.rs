//! The objects that a statement changes.

use super::parser::TableName;

/// The objects that a statement changes, as far as its text determines them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Touched {
    /// It names no table; table rules do not apply.
    Nothing,
    /// It only reads tables.
    OnlyReads,
    /// These tables, in this order.
    Tables(Vec<TableName>),
    /// Those of these tables that the event's table map selects, by their number.
    Update(Vec<TableName>),
    /// Some of these tables.
    UpdateAmong(Vec<TableName>),
    /// Accounts and privileges, perhaps those on a table.
    Accounts(Option<TableName>),
    /// A database. ALTER DATABASE may omit its name.
    Database,
    /// DROP TEMPORARY TABLE IF EXISTS, which always runs.
    Always,
}
