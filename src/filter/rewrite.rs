//! `replicate_rewrite_db`: another database in a statement event or a table map.
//!
//! Only the event's own field changes, never a statement's text. The length of the event changes
//! with that of the name.

use crate::binlog::EventType;
use crate::binlog::query::Query;
use crate::binlog::rows::TableMap;
use crate::binlog::status_variables::{StatusVariables, TOO_MANY_DATABASES, UPDATED_DATABASES};

/// Where the length of the database's name stands in the body of a statement event.
const QUERY_DATABASE_LEN_AT: usize = 8;
/// Where the length of the status variables stands in it.
const QUERY_VARIABLES_LEN_AT: usize = 11;
/// The fixed part of a QUERY event's body.
const QUERY_FIXED_LEN: usize = 13;
/// Where the length of the database's name stands in the body of a table map.
const MAP_DATABASE_LEN_AT: usize = 8;

/// Writes to `out` the body of a statement event (or its head) with another default database.
///
/// The databases that the statement is said to change are left out, "too many to name" instead:
/// a replica that applies databases in parallel must not take the old name for another database.
pub(super) fn query(
    event_type: EventType,
    body: &[u8],
    query: &Query<'_>,
    variables: &StatusVariables,
    database: &str,
    out: &mut Vec<u8>,
) {
    let fixed_len = match event_type {
        EventType::EXECUTE_LOAD_QUERY => QUERY_FIXED_LEN + 13,
        _ => QUERY_FIXED_LEN,
    };
    out.clear();
    out.extend_from_slice(body.get(..fixed_len).unwrap_or(&[]));
    match &variables.updated_databases {
        Some(range) => {
            let before = query.status_variables.get(..range.start);
            let behind = query.status_variables.get(range.end..);
            out.extend_from_slice(before.unwrap_or(&[]));
            out.extend_from_slice(&[UPDATED_DATABASES, TOO_MANY_DATABASES]);
            out.extend_from_slice(behind.unwrap_or(&[]));
        }
        None => out.extend_from_slice(query.status_variables),
    }
    let variables_len = (out.len() - fixed_len.min(out.len())) as u16;
    if let Some(slot) = out.get_mut(QUERY_DATABASE_LEN_AT) {
        *slot = database.len() as u8; // At most 64 characters, as the configuration sees to.
    }
    if let Some(slot) = out.get_mut(QUERY_VARIABLES_LEN_AT..QUERY_VARIABLES_LEN_AT + 2) {
        slot.copy_from_slice(&variables_len.to_le_bytes());
    }
    out.extend_from_slice(database.as_bytes());
    out.push(0);
    out.extend_from_slice(query.statement);
}

/// Writes to `out` the body of a table map (or its head) with another database.
pub(super) fn table_map(body: &[u8], map: &TableMap<'_>, database: &str, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(body.get(..MAP_DATABASE_LEN_AT).unwrap_or(&[]));
    out.push(database.len() as u8); // At most 64 characters, as the configuration sees to.
    out.extend_from_slice(database.as_bytes());
    let behind = MAP_DATABASE_LEN_AT + 1 + map.database.len();
    out.extend_from_slice(body.get(behind..).unwrap_or(&[]));
}
