//! MariaDB's events for clients that did not announce that they know them: each is replaced by an
//! event of the same length and position that such a client can read.
//!
//! As on MariaDB servers, a GTID event that begins a transaction becomes BEGIN; any other event
//! becomes a comment or, if it is too short for that, a USER_VAR that is never used.

use crate::binlog::event;
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::{CHECKSUM_LEN, EventError, EventHeader, EventType, HEADER_LEN};

/// Bytes of a Query event without default database and status variables, and with an empty
/// statement, between header and checksum: thread id 4, execution time 4, database length 1,
/// error code 2, length of the status variables 2, terminating NUL of the database 1.
const QUERY_FIXED_LEN: usize = 14;
/// The comment in place of an event, truncated or padded to the required length.
const COMMENT: &[u8] = b"# An event that this replica does not know was here";
/// The shortest body that can be replaced: a USER_VAR with an empty name, set to NULL.
const REPLACED_BODY_LEN_MIN: u64 = 5;
/// The code of no status variable.
const UNKNOWN_VARIABLE: u8 = 0xff;
/// Header flag: the default database does not matter.
const FLAG_SUPPRESS_USE: u16 = 0x8;

/// Whether events of this type are replaced.
pub fn is_replaced(event_type: EventType) -> bool {
    matches!(
        event_type,
        EventType::MARIADB_GTID
            | EventType::GTID_LIST
            | EventType::BINLOG_CHECKPOINT
            | EventType::ANNOTATE_ROWS
    )
}

/// The event in place of one of a type that [`is_replaced`]. `event` is the whole of it or its beginning; a GTID event
/// must be whole.
///
/// # Errors
/// The event is too short for its type, so that no replacement of its length exists.
pub fn replacement(header: &EventHeader, event: &[u8]) -> Result<Vec<u8>, EventError> {
    let too_short = || EventError::Truncated {
        event: header.event_type.name(),
        field: "body",
        offset: HEADER_LEN,
        needed: REPLACED_BODY_LEN_MIN,
        found: (header.event_size as usize).saturating_sub(HEADER_LEN + CHECKSUM_LEN),
    };
    let body_len = (header.event_size as usize)
        .checked_sub(HEADER_LEN + CHECKSUM_LEN)
        .ok_or_else(too_short)?;
    let opens_transaction = header.event_type == EventType::MARIADB_GTID
        && MariaDbGtidEvent::parse(event, true).is_ok_and(|gtid| !gtid.is_standalone());
    let (event_type, body) = if opens_transaction {
        (
            EventType::QUERY,
            query(b"BEGIN", body_len).ok_or_else(too_short)?,
        )
    } else if body_len > QUERY_FIXED_LEN {
        let text: Vec<u8> = COMMENT
            .iter()
            .copied()
            .chain(std::iter::repeat(b'.'))
            .take(body_len - QUERY_FIXED_LEN)
            .collect();
        (
            EventType::QUERY,
            query(&text, body_len).ok_or_else(too_short)?,
        )
    } else {
        let body = user_variable(body_len).ok_or_else(too_short)?;
        (EventType::USER_VAR, body)
    };
    let header = EventHeader {
        event_type,
        flags: header.flags | FLAG_SUPPRESS_USE,
        ..*header
    };
    Ok(event::build(header, &body))
}

/// BEGIN in place of a MariaDB GTID event with `header`, of the same length, for a client that
/// does not know checksums.
///
/// # Errors
/// The event is too short, so that no replacement of its length exists.
pub fn begin(header: &EventHeader) -> Result<Vec<u8>, EventError> {
    let body_len = (header.event_size as usize).saturating_sub(HEADER_LEN);
    let body = query(b"BEGIN", body_len).ok_or(EventError::Truncated {
        event: header.event_type.name(),
        field: "body",
        offset: HEADER_LEN,
        needed: REPLACED_BODY_LEN_MIN,
        found: body_len,
    })?;
    let header = EventHeader {
        event_type: EventType::QUERY,
        flags: header.flags | FLAG_SUPPRESS_USE,
        ..*header
    };
    Ok([&header.encode()[..], &body].concat())
}

/// A Query of exactly `len` bytes; `None` if `text` does not fit. It is padded with an unknown
/// status variable, which replicas ignore. Spaces after the text would hide a BEGIN from replicas
/// that filter by database.
fn query(text: &[u8], len: usize) -> Option<Vec<u8>> {
    let padding = len.checked_sub(QUERY_FIXED_LEN + text.len())?;
    let padding_len = u16::try_from(padding).ok()?;
    let mut body = vec![0; QUERY_FIXED_LEN - 3];
    body.extend(padding_len.to_le_bytes());
    body.extend(std::iter::repeat_n(UNKNOWN_VARIABLE, padding));
    body.push(0);
    body.extend_from_slice(text);
    Some(body)
}

/// A USER_VAR of exactly `len` bytes that sets a variable to NULL; `None` if that is too short.
fn user_variable(len: usize) -> Option<Vec<u8>> {
    let name_len = len.checked_sub(5)?;
    let mut body = (name_len as u32).to_le_bytes().to_vec();
    body.extend(b"!binrelay".iter().cycle().take(name_len));
    body.push(1);
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::query::Query;
    use crate::gtid::BinlogState;

    fn gtid(flags2: u8) -> Vec<u8> {
        let mut body = 7u64.to_le_bytes().to_vec();
        body.extend([0, 0, 0, 0, flags2, 0, 0, 0, 0, 0, 0]);
        let header = EventHeader {
            timestamp: 5,
            event_type: EventType::MARIADB_GTID,
            server_id: 1,
            event_size: 0,
            log_pos: 400,
            flags: 8,
        };
        event::build(header, &body)
    }

    fn replaced(event: &[u8]) -> (EventHeader, Vec<u8>) {
        let header = EventHeader::parse(event).unwrap();
        let replacement = replacement(&header, event).unwrap();
        event::verify_checksum(&replacement).unwrap();
        assert_eq!(replacement.len(), event.len());
        let new = EventHeader::parse(&replacement).unwrap();
        assert_eq!(
            (new.log_pos, new.timestamp),
            (header.log_pos, header.timestamp)
        );
        (new, event::body(&replacement, true).to_vec())
    }

    #[test]
    fn a_gtid_event_becomes_begin_or_a_comment() {
        let (header, body) = replaced(&gtid(0));
        assert_eq!(header.event_type, EventType::QUERY);
        assert!(body.ends_with(b"\0BEGIN"));
        let (header, body) = replaced(&gtid(1));
        assert_eq!(header.event_type, EventType::QUERY);
        assert!(body.ends_with(b"\0# An "), "{body:?}");
    }

    #[test]
    fn a_longer_gtid_event_becomes_exactly_begin() {
        // With a commit id, and with more that follows.
        for extra in 0..40 {
            let mut body = 7u64.to_le_bytes().to_vec();
            body.extend([0, 0, 0, 0, 2]);
            body.extend(vec![0; 8 + extra]);
            let header = EventHeader::parse(&gtid(2)).unwrap();
            let (header, body) = replaced(&event::build(header, &body));
            let query = Query::parse(header.event_type, &body).unwrap();
            assert_eq!((query.statement, query.database), (&b"BEGIN"[..], &b""[..]));
        }
    }

    #[test]
    fn a_short_event_becomes_a_user_variable() {
        let mut body = Vec::new();
        BinlogState::new().encode_gtid_list(&mut body);
        let header = EventHeader {
            timestamp: 5,
            event_type: EventType::GTID_LIST,
            server_id: 1,
            event_size: 0,
            log_pos: 285,
            flags: 0,
        };
        let (header, body) = replaced(&event::build(header, &body));
        assert_eq!(header.event_type, EventType::USER_VAR);
        assert_eq!(body, b"\x01\0\0\0!\x01");
    }

    #[test]
    fn an_event_that_is_too_short_is_refused() {
        let header = EventHeader {
            timestamp: 5,
            event_type: EventType::GTID_LIST,
            server_id: 1,
            event_size: 0,
            log_pos: 285,
            flags: 0,
        };
        for len in 0..5 {
            let event = event::build(header, &vec![0; len]);
            let error = replacement(&header, &event).unwrap_err();
            assert!(matches!(error, EventError::Truncated { .. }), "{error}");
        }
    }
}
