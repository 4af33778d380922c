//! `replicate_rewrite_db`: another database in a statement event or a table map.
//!
//! Only the event's own field changes, never the text of a statement. The length of the event changes
//! with that of the name.

use crate::binlog::event::HEADER_LEN;
use crate::binlog::fields::FieldReader;
use crate::binlog::query::Query;
use crate::binlog::rows::TableMap;
use crate::binlog::status_variables::{StatusVariables, TOO_MANY_DATABASES, UPDATED_DATABASES};
use crate::binlog::{EventError, EventType};

/// Bytes of the fields of an EXECUTE_LOAD_QUERY event between the fixed part of a statement event
/// and the status variables.
const LOAD_QUERY_FIELDS_LEN: usize = 13;

/// Writes to `out` the body of a statement event (or its head) with another default database.
///
/// The list of databases that the statement changes is replaced by "too many to name": a replica
/// that applies databases in parallel must not use the old name.
///
/// # Errors
/// When `query` or `variables` were not read from `body`, or the name is too long.
pub(super) fn query(
    event_type: EventType,
    body: &[u8],
    query: &Query<'_>,
    variables: &StatusVariables,
    database: &str,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    let mut old = FieldReader::new("Query event", body, HEADER_LEN);
    let mut listed = FieldReader::new("Query event", query.status_variables, HEADER_LEN);
    let (before, after): (&[u8], &[u8]) = match &variables.updated_databases {
        Some(range) => {
            let before = listed.take("status variables", range.start)?;
            listed.take("updated databases", range.len())?;
            (before, &[UPDATED_DATABASES, TOO_MANY_DATABASES])
        }
        None => (&[], &[]),
    };
    let after_list = listed.rest();
    let variables_len = before.len() + after.len() + after_list.len();
    let variables_len = u16::try_from(variables_len).map_err(|_| {
        let expected = "at most 65535";
        old.invalid(
            "status variables length",
            30,
            variables_len as u64,
            expected,
        )
    })?;
    out.clear();
    out.extend_from_slice(old.take("thread_id and exec_time", 8)?);
    old.u8("database length")?;
    out.push(name_len(&old, database)?);
    out.extend_from_slice(old.take("error code", 2)?);
    old.u16("status variables length")?;
    out.extend_from_slice(&variables_len.to_le_bytes());
    if event_type == EventType::EXECUTE_LOAD_QUERY {
        out.extend_from_slice(old.take("load data fields", LOAD_QUERY_FIELDS_LEN)?);
    }
    out.extend_from_slice(before);
    out.extend_from_slice(after);
    out.extend_from_slice(after_list);
    out.extend_from_slice(database.as_bytes());
    out.push(0);
    out.extend_from_slice(query.statement);
    Ok(())
}

/// Writes to `out` the body of a table map (or its head) with another database.
///
/// # Errors
/// When `map` was not read from `body`, or the name is too long.
pub(super) fn table_map(
    body: &[u8],
    map: &TableMap<'_>,
    database: &str,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    let mut old = FieldReader::new("Table_map event", body, HEADER_LEN);
    out.clear();
    out.extend_from_slice(old.take("table id and flags", 8)?);
    old.u8("database length")?;
    old.take("database", map.database.len())?;
    out.push(name_len(&old, database)?);
    out.extend_from_slice(database.as_bytes());
    out.extend_from_slice(old.rest());
    Ok(())
}

/// The length of a database's name; the configuration limits it to 255 bytes.
fn name_len(fields: &FieldReader<'_>, database: &str) -> Result<u8, EventError> {
    u8::try_from(database.len()).map_err(|_| {
        let offset = fields.offset();
        let found = database.len() as u64;
        fields.invalid("database length", offset, found, "at most 255")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewritten_statement_keeps_all_other_fields() {
        let variables = [0, 1, 2, 3, 4, 12, 1, b'a', 0, 7, 5, 0];
        let mut body = vec![1, 0, 0, 0, 2, 0, 0, 0, 1, 3, 0, variables.len() as u8, 0];
        body.extend(variables);
        body.extend(b"a\0insert");
        let parsed = Query::parse(EventType::QUERY, &body).unwrap();
        let found = StatusVariables::parse(parsed.status_variables).unwrap();
        let mut out = Vec::new();
        query(EventType::QUERY, &body, &parsed, &found, "other", &mut out).unwrap();
        let again = Query::parse(EventType::QUERY, &out).unwrap();
        assert_eq!(again.status_variables, [0, 1, 2, 3, 4, 12, 254, 7, 5, 0]);
        assert_eq!(
            (again.database, again.statement),
            (&b"other"[..], &b"insert"[..])
        );
        assert_eq!(
            (again.thread_id, again.exec_time, again.error_code),
            (1, 2, 3)
        );
        let too_long = "x".repeat(256);
        assert!(
            query(
                EventType::QUERY,
                &body,
                &parsed,
                &found,
                &too_long,
                &mut out
            )
            .is_err()
        );
        for cut in 0..13 {
            let head = &body[..cut];
            let result = query(EventType::QUERY, head, &parsed, &found, "other", &mut out);
            assert!(result.is_err(), "cut at {cut}");
        }
    }
}
