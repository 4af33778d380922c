//! The description of an event.

use std::sync::Arc;

use crate::binlog::columns::Columns;
use crate::identity::Identity;

/// Compressed statements, rows events and columns are expanded up to this size, in bytes.
pub(super) const UNCOMPRESSED_MAX: usize = 64 * 1024 * 1024;

/// The description of one event. Names and statements are the bytes in the event; their character set is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// The transaction that it opens; `None` in other events and in ANONYMOUS_GTID.
    pub identity: Option<Identity>,
    /// The default database of a statement, or the table's.
    pub database: Option<Vec<u8>>,
    /// The table of a table map or of rows.
    pub table: Option<Vec<u8>>,
    /// A statement, or the text that a server added to rows.
    pub statement: Option<Vec<u8>>,
    /// Rows events only: the number of rows; `Some(None)` when it is not known.
    pub rows: Option<Option<u64>>,
    /// Rows events only: the table, if its table map was read.
    pub changed: Option<Arc<Table>>,
    /// Whether the event is a statement that only structures a transaction, like BEGIN.
    pub is_transaction_keyword: bool,
    /// The whole description on one line.
    pub text: String,
}

impl Description {
    /// The GTID that it opens, as text.
    pub fn gtid(&self) -> Option<String> {
        match self.identity {
            Some(Identity::MySql(gtid)) => Some(gtid.to_string()),
            Some(Identity::MariaDb(gtid)) => Some(gtid.to_string()),
            Some(Identity::Anonymous(_)) | None => None,
        }
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}

/// A table, as its map describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub(super) database: Vec<u8>,
    pub(super) name: Vec<u8>,
    /// As shown in a line of text.
    pub(super) shown: String,
    /// Database and table, quoted as in SQL.
    pub quoted: String,
    /// Its columns.
    pub columns: Columns,
}
