//! MariaDB's events for clients that did not say that they know them: each is replaced by an
//! event of the same length and position that such a client can read.
//!
//! As MariaDB does: a GTID event that begins a transaction becomes BEGIN, anything else a
//! USER_VAR that is never used, or, where there is room, a comment.

use crate::binlog::event;
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::{CHECKSUM_LEN, EventHeader, EventType, HEADER_LEN};

/// Bytes of a Query event without default database and status variables, and with an empty
/// statement, between header and checksum: thread id 4, execution time 4, database length 1,
/// error code 2, length of the status variables 2, closing zero of the database 1.
const QUERY_FIXED_LEN: usize = 14;
/// The comment in place of an event, cut or filled up to the length that is needed.
const COMMENT: &[u8] = b"# An event that this replica does not know stood here";
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

/// The event in place of `event`, which is a whole one of a type that is replaced; `None` for
/// all others.
pub fn replacement(header: &EventHeader, event: &[u8]) -> Option<Vec<u8>> {
    if !is_replaced(header.event_type) {
        return None;
    }
    let body_len = event.len().checked_sub(HEADER_LEN + CHECKSUM_LEN)?;
    let opens_transaction = header.event_type == EventType::MARIADB_GTID
        && MariaDbGtidEvent::parse(event, true).is_ok_and(|gtid| !gtid.is_standalone());
    let (event_type, body) = if opens_transaction {
        (EventType::QUERY, query(b"BEGIN", body_len)?)
    } else if body_len > QUERY_FIXED_LEN {
        let text: Vec<u8> = COMMENT
            .iter()
            .copied()
            .chain(std::iter::repeat(b'.'))
            .take(body_len - QUERY_FIXED_LEN)
            .collect();
        (EventType::QUERY, query(&text, body_len)?)
    } else {
        (EventType::USER_VAR, user_variable(body_len)?)
    };
    let header = EventHeader {
        event_type,
        flags: header.flags | FLAG_SUPPRESS_USE,
        ..*header
    };
    Some(event::build(header, &body))
}

/// A Query of exactly `len` bytes: what is too many goes into the text, as spaces.
fn query(text: &[u8], len: usize) -> Option<Vec<u8>> {
    let padding = len.checked_sub(QUERY_FIXED_LEN + text.len())?;
    let mut body = vec![0; QUERY_FIXED_LEN];
    body.extend_from_slice(text);
    body.extend(std::iter::repeat_n(b' ', padding));
    Some(body)
}

/// A USER_VAR of exactly `len` bytes that sets a variable to NULL.
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
    fn a_transaction_begins_with_begin() {
        let (header, body) = replaced(&gtid(0));
        assert_eq!(header.event_type, EventType::QUERY);
        assert!(body.ends_with(b"\0BEGIN"));
        let (header, body) = replaced(&gtid(1));
        assert_eq!(header.event_type, EventType::QUERY);
        assert!(body.ends_with(b"\0# An "), "{body:?}");
    }

    #[test]
    fn short_events_become_variables() {
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
}
