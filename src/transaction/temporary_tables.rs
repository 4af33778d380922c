//! The statements of a transaction that create, rename or drop temporary tables.

use std::borrow::Cow;

use crate::binlog::event::{CHECKSUM_LEN, EventHeader, FLAG_THREAD_SPECIFIC, HEADER_LEN};
use crate::binlog::query::Query;
use crate::binlog::status_variables::StatusVariables;
use crate::binlog::{EventError, EventType, compressed};
use crate::filter::{
    Rename, TemporaryTableChange, changed_tables, renamed_tables, temporary_table_change,
};

/// The most bytes of a compressed statement that are read: its beginning, with the tables' names.
const EXPANDED_MAX: usize = 1024 * 1024;

/// The most statements of one transaction that are recorded.
const STATEMENTS_MAX: usize = 1024;

/// A statement that changes the temporary tables of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporaryTableStatement {
    /// The session, on the transaction's origin.
    pub thread_id: u32,
    /// When it began there, in seconds since 1970. Re-logging preserves it.
    pub timestamp: u32,
    /// The change.
    pub change: TemporaryTableChange,
}

/// A statement of a transaction, with what it shows of its session's temporary tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatement {
    /// The session, on the transaction's origin.
    pub thread_id: u32,
    /// How it changes temporary tables; `None` if it uses none.
    pub temporary: Option<TemporaryTableChange>,
    /// If it uses none: the tables whose rows it changes, as far as that is certain.
    pub changed: Vec<Box<[u8]>>,
    /// MariaDB, if the event says that it uses none: the tables that it renames, and their new names. It says so also
    /// where a table is a temporary one (seen with 10.11).
    pub renamed: Vec<Rename>,
}

/// The statements in `events`, whole events of a transaction as the relay log has them, except for
/// those that use temporary tables and do not change which there are.
pub fn session_statements(
    events: &[u8],
    mariadb: bool,
) -> impl Iterator<Item = SessionStatement> + '_ {
    let mut rest = events;
    let events = std::iter::from_fn(move || {
        let header = EventHeader::parse(rest).ok()?;
        let (event, after) = rest.split_at_checked((header.event_size as usize).max(HEADER_LEN))?;
        rest = after;
        Some((header, event))
    });
    events.filter_map(move |(header, event)| {
        let body = event.get(HEADER_LEN..event.len().checked_sub(CHECKSUM_LEN)?)?;
        if depends_on_session(&header) {
            let statement = read(&header, body, true, mariadb).ok()??;
            return Some(SessionStatement {
                thread_id: statement.thread_id,
                temporary: Some(statement.change),
                changed: Vec::new(),
                renamed: Vec::new(),
            });
        }
        if header.event_type != EventType::QUERY {
            return None;
        }
        let query = Query::parse(header.event_type, body).ok()?;
        let variables = StatusVariables::parse(query.status_variables).ok()?;
        let changed = changed_tables(query.statement, true, query.database, &variables, mariadb);
        let renamed = match mariadb {
            true => renamed_tables(query.statement, query.database, &variables, mariadb),
            false => Vec::new(),
        };
        Some(SessionStatement {
            thread_id: query.thread_id,
            temporary: None,
            changed,
            renamed,
        })
    })
}

/// Whether an event is a statement that depends on its session's temporary tables.
pub(super) fn depends_on_session(header: &EventHeader) -> bool {
    header.flags & FLAG_THREAD_SPECIFIC != 0
        && matches!(
            header.event_type,
            EventType::QUERY | EventType::QUERY_COMPRESSED
        )
}

/// The change by the statement in `body`, an event or the beginning of one (then `whole` is false).
pub(super) fn read(
    header: &EventHeader,
    body: &[u8],
    whole: bool,
    mariadb: bool,
) -> Result<Option<TemporaryTableStatement>, EventError> {
    let query = Query::parse(header.event_type, body)?;
    let (text, whole) = match header.event_type {
        EventType::QUERY_COMPRESSED => {
            let offset = HEADER_LEN + body.len() - query.statement.len();
            let (text, all) =
                compressed::expand_head("Query event", query.statement, offset, EXPANDED_MAX)?;
            (Cow::Owned(text), all && whole)
        }
        _ => (Cow::Borrowed(query.statement), whole),
    };
    let variables = StatusVariables::parse(query.status_variables)?;
    let change = temporary_table_change(&text, whole, query.database, &variables, mariadb);
    Ok(change.map(|change| TemporaryTableStatement {
        thread_id: query.thread_id,
        timestamp: header.timestamp,
        change,
    }))
}

/// Adds `statement` to those of its transaction. Too many of them end with one that is unclear.
pub(super) fn add(
    statements: &mut Vec<TemporaryTableStatement>,
    statement: TemporaryTableStatement,
) {
    match statements.len() {
        STATEMENTS_MAX => {}
        len if len + 1 == STATEMENTS_MAX => statements.push(TemporaryTableStatement {
            change: TemporaryTableChange::Unclear,
            ..statement
        }),
        _ => statements.push(statement),
    }
}
