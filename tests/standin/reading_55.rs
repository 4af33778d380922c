//! How MySQL 5.5 reads an event: what of its bytes has a meaning there, as its constructors in
//! `log_event.cc` take them apart.
//!
//! | event | read | ignored |
//! |---|---|---|
//! | Query, Execute_load_query | the fixed part; status variables up to the first unknown code; database; statement | status variables from an unknown code on |
//! | rows | table id, flags; what follows a fixed part of the length that the format description says | the rest of a longer fixed part |
//! | Append_block, Begin_load_query | file id; what follows the fixed part of Append_block | the rest of a longer fixed part |
//! | Table_map, Intvar, RAND, User_var, Xid, Incident, Delete_file, Exec_load | fields whose lengths the event or the type says | what follows |

use super::event::{
    APPEND_BLOCK, BEGIN_LOAD_QUERY, DELETE_FILE, DELETE_ROWS_V1, EXEC_LOAD, EXECUTE_LOAD_QUERY,
    Event, INCIDENT, INTVAR, QUERY, RAND, TABLE_MAP, USER_VAR, WRITE_ROWS_V1, XID, number,
};

/// MAX_SIZE_LOG_EVENT_STATUS: with more the statement is not valid.
const STATUS_LEN_MAX: usize = 638;
/// MYSQL_TYPE_BIT is the last of the lower types, MYSQL_TYPE_NEWDECIMAL the first of the higher.
const UNKNOWN_COLUMN_TYPES: std::ops::Range<u8> = 17..246;

/// The event without what 5.5 ignores. `lengths` are those of the format description. The error
/// says why 5.5 stops.
pub fn as_read(event: &Event, lengths: &[u8]) -> Result<Event, String> {
    let fixed = |kind: u8| usize::from(lengths[usize::from(kind) - 1]);
    let body = &event.body;
    let short = || format!("{event:?}: cut short");
    let upto = |len: usize| body.get(..len).map(<[u8]>::to_vec).ok_or_else(short);
    let without_gap = |kept: usize, fixed: usize| match body.get(fixed..) {
        Some(rest) if fixed >= kept => Ok([&body[..kept], rest].concat()),
        _ => Err(format!("{event:?}: a fixed part of {fixed} bytes")),
    };
    let read = match event.kind {
        QUERY | EXECUTE_LOAD_QUERY => statement(event, fixed(event.kind))?,
        WRITE_ROWS_V1..=DELETE_ROWS_V1 => without_gap(8, fixed(event.kind))?,
        // Begin_load_query is read with the length of Append_block, too.
        APPEND_BLOCK | BEGIN_LOAD_QUERY => without_gap(4, fixed(APPEND_BLOCK))?,
        TABLE_MAP => table_map(event)?,
        INTVAR => upto(9)?,
        RAND => upto(16)?,
        XID => upto(8)?,
        DELETE_FILE | EXEC_LOAD => upto(4)?,
        INCIDENT => upto(3 + usize::from(*body.get(2).ok_or_else(short)?))?,
        USER_VAR => user_variable(body).ok_or_else(short)?,
        other => return Err(format!("5.5 does not read type {other}: {event:?}")),
    };
    Ok(Event {
        body: read,
        ..event.clone()
    })
}

fn statement(event: &Event, fixed: usize) -> Result<Vec<u8>, String> {
    let body = &event.body;
    if body.len() < fixed || fixed < 13 {
        return Err(format!("{event:?}: a fixed part of {fixed} bytes"));
    }
    let len = number(body, 11, 2) as usize;
    if len > STATUS_LEN_MAX.min(body.len() - fixed) {
        return Err(format!("{event:?}: {len} bytes of status variables"));
    }
    let (variables, rest) = body[fixed..].split_at(len);
    let known = known_variables(variables).ok_or_else(|| format!("{event:?}: status variables"))?;
    let mut read = body[..fixed].to_vec();
    read[11..13].copy_from_slice(&(known as u16).to_le_bytes());
    read.extend(&variables[..known]);
    read.extend(rest);
    Ok(read)
}

/// The length of the status variables before the first that 5.5 does not know. It ends with the
/// invoker, too: there it falls through to unknown codes.
fn known_variables(variables: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(code) = variables.get(at) {
        let value = &variables[at + 1..];
        let text = |from: usize| Some(1 + usize::from(*value.get(from)?));
        let len = match code {
            0 | 3 | 10 => 4,
            1 | 9 => 8,
            2 => text(0)? + 1,
            4 => 6,
            5 | 6 => text(0)?,
            7 | 8 => 2,
            11 => {
                let user = text(0)?;
                let end = at + 1 + user + text(user)?;
                return (end <= variables.len()).then_some(end);
            }
            _ => return Some(at),
        };
        at += 1 + len;
    }
    (at == variables.len()).then_some(at)
}

fn table_map(event: &Event) -> Result<Vec<u8>, String> {
    let body = &event.body;
    let read = || -> Option<(&[u8], usize)> {
        let mut at = 8;
        for _ in 0..2 {
            at += 2 + usize::from(*body.get(at)?);
        }
        let columns = length(body, &mut at)?;
        let types = body.get(at..at + columns)?;
        at += columns;
        let metadata = length(body, &mut at)?;
        let end = at + metadata + columns.div_ceil(8);
        (end <= body.len()).then_some((types, end))
    };
    let (types, end) = read().ok_or_else(|| format!("{event:?}: cut short"))?;
    if let Some(unknown) = types
        .iter()
        .find(|kind| UNKNOWN_COLUMN_TYPES.contains(kind))
    {
        return Err(format!("{event:?}: column type {unknown}"));
    }
    Ok(body[..end].to_vec())
}

/// A length-encoded number of columns or bytes.
fn length(body: &[u8], at: &mut usize) -> Option<usize> {
    let first = *body.get(*at)?;
    let width = match first {
        0xFC => 2,
        0xFB | 0xFD.. => return None,
        short => {
            *at += 1;
            return Some(short.into());
        }
    };
    let value = (*at + 1 + width <= body.len()).then(|| number(body, *at + 1, width))?;
    *at += 1 + width;
    Some(value as usize)
}

/// Name, NULL or not; type, character set, value, flags. Without flags, as a text is logged, they are 0.
fn user_variable(body: &[u8]) -> Option<Vec<u8>> {
    let after_name = 4 + body.get(..4).map(|_| number(body, 0, 4) as usize)?;
    if *body.get(after_name)? != 0 {
        return Some(body[..=after_name].to_vec());
    }
    let value_at = after_name + 10;
    body.get(..value_at)?;
    let end = value_at + number(body, value_at - 4, 4) as usize;
    let mut read = body.get(..end)?.to_vec();
    read.push(body.get(end).copied().unwrap_or(0));
    Some(read)
}

/// Whether it assigns to a variable that no statement uses: harmless wherever it is.
pub fn is_unused_variable(event: &Event) -> bool {
    event.kind == USER_VAR && event.body.starts_with(b"\x01\0\0\0!\x01")
}
