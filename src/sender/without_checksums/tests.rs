//! What a reader that works as MySQL 5.5 does reads in the events that are sent to it.

use super::*;
use crate::binlog::FormatDescription;
use crate::binlog::format_description::Checksum;
use crate::binlog::rotate;
use crate::gtid::{BinlogState, GtidSet};

/// The format description of MySQL 5.6.24, as a relay log has it.
fn stored_format() -> Vec<u8> {
    let lengths: [u8; 35] = [
        56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 92, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0, 0,
        0, 10, 10, 10, 25, 25, 0,
    ];
    let format = FormatDescription {
        server_version: "5.6.24-log".to_owned(),
        created: 0,
        post_header_lengths: lengths.to_vec(),
        checksum: Checksum::Crc32,
    };
    format.encode(7, 900, 120, 0)
}

fn event(event_type: EventType, body: &[u8]) -> Vec<u8> {
    let header = EventHeader {
        timestamp: 1_700_000_000,
        event_type,
        server_id: 86,
        event_size: 0,
        log_pos: 4711,
        flags: 0,
    };
    event::build(header, body)
}

/// The event that is sent, whose bytes arrive in parts of `part` bytes after the head; the packet's
/// frame header is checked and removed.
fn sent_in_parts(event: &[u8], part: usize) -> Result<Form, EventError> {
    let header = EventHeader::parse(event)?;
    let head = event.len().min(HEAD_LEN.max(part));
    let mut rewriting = match form(&header, &event[..head])? {
        Form::Rewritten(rewriting) => rewriting,
        other => return Ok(other),
    };
    let (mut frames, mut out) = (FrameWriter::new(), Vec::new());
    frames.begin(event.len() as u64);
    rewriting.put(&event[..head], &mut frames, &mut out);
    for bytes in event[head..].chunks(part) {
        rewriting.put(bytes, &mut frames, &mut out);
    }
    assert!(frames.is_complete(), "{:?}", header.event_type);
    assert_eq!(out.len(), 4 + event.len());
    Ok(Form::Replaced(out.split_off(4)))
}

fn sent(event: &[u8]) -> Vec<u8> {
    let of_parts = |part| match sent_in_parts(event, part) {
        Ok(Form::Replaced(sent)) => sent,
        other => panic!("{other:?}"),
    };
    let whole = of_parts(usize::MAX);
    for part in [1, 3, 4, 5, 1000] {
        assert!(of_parts(part) == whole, "in parts of {part} bytes");
    }
    whole
}

/// The sent event has the length and all fields of the header of the stored one.
fn body_of_same_length(stored: &[u8]) -> Vec<u8> {
    let sent = sent(stored);
    assert_eq!(sent.len(), stored.len());
    assert_eq!(EventHeader::parse(&sent), EventHeader::parse(stored));
    sent[HEADER_LEN..].to_vec()
}

/// Length of the fixed part, as MySQL 5.5 finds it in the format description event.
fn fixed(event_type: EventType) -> usize {
    let format = format_description(&stored_format()).unwrap();
    usize::from(format[76 + usize::from(event_type.0) - 1])
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// A Query or Execute_load_query as MySQL 5.5 reads it: the fixed part, the status variables up
/// to the first unknown code (here 12), the database, the statement.
fn read_query(event_type: EventType, body: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>) {
    let fixed_len = fixed(event_type);
    let status_len = number(&body[11..13]);
    assert!(status_len <= STATUS_VARIABLES_LEN_MAX);
    let status = &body[fixed_len..fixed_len + status_len];
    // In these tests only flags2 (code 0, 4 bytes) is known.
    let known = match status {
        [0, ..] => 5,
        _ => 0,
    };
    assert!(status.get(known).is_none_or(|code| *code > 11));
    let database_len = usize::from(body[8]);
    let rest = &body[fixed_len + status_len..];
    let mut fixed_part = body[..fixed_len].to_vec();
    fixed_part[11..13].fill(0);
    (
        fixed_part,
        status[..known].to_vec(),
        rest[..database_len].to_vec(),
        rest[database_len + 1..].to_vec(),
    )
}

#[test]
fn statements_are_read_as_they_were_logged() {
    let long = vec![b'x'; 3 * HEAD_LEN];
    let longest = [&[12][..], &vec![7; STATUS_VARIABLES_LEN_MAX - 5]].concat();
    let statements: [&[u8]; 4] = [b"", b"BEGIN", b"INSERT INTO t VALUES (1)", &long];
    let variables: [&[u8]; 4] = [
        b"",
        b"\0\x01\0\0\x40",
        b"\0\x01\0\0\0\x0c\x01db\0",
        &longest,
    ];
    for (event_type, extra) in [(EventType::QUERY, 0), (EventType::EXECUTE_LOAD_QUERY, 13)] {
        for statement in statements {
            for status in variables {
                let mut body = vec![9, 0, 0, 0, 1, 0, 0, 0, 2, 3, 0];
                body.extend((status.len() as u16).to_le_bytes());
                body.extend((0..extra).map(|byte| byte + 100));
                let fixed_part = body.clone();
                body.extend_from_slice(status);
                body.extend_from_slice(b"db\0");
                body.extend_from_slice(statement);
                let sent = body_of_same_length(&event(event_type, &body));
                let read = read_query(event_type, &sent);
                let known = status.get(..5).filter(|known| known[0] == 0);
                let mut expected = fixed_part;
                expected[11..13].fill(0);
                assert_eq!(read.0, expected);
                assert_eq!(read.1, known.unwrap_or(&[]));
                assert_eq!(read.2, b"db");
                assert!(read.3 == statement);
            }
        }
    }
}

#[test]
fn rows_and_blocks_of_files_follow_the_longer_fixed_part() {
    for len in [0, 1, 3, 4, 5, 200, 2 * HEAD_LEN] {
        let content: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        for (event_type, fixed_len) in FIXED_LENGTHS {
            let body = [&vec![0x55; fixed_len], &content[..]].concat();
            let sent = body_of_same_length(&event(event_type, &body));
            assert_eq!(fixed(event_type), fixed_len + 4);
            assert_eq!(sent[..fixed_len], body[..fixed_len]);
            assert!(sent[fixed_len + 4..] == content, "{event_type}");
            // A reader with the usual length finds no number of columns.
            assert_eq!(sent[fixed_len], 0xff);
        }
    }
}

#[test]
fn other_events_end_with_zeros() {
    let mut table_map = vec![1, 0, 0, 0, 0, 0, 1, 0, 2];
    table_map.extend(b"db\0\x01t\0\x03\x03\x0f\xfe\x04\x28\0\xfe\x10\x07");
    let user_var = [
        &b"\x01\0\0\0x\0\0\x3f\0\0\0"[..],
        &(2 * HEAD_LEN as u32).to_le_bytes(),
        &vec![b'v'; 2 * HEAD_LEN],
    ]
    .concat();
    for (event_type, body) in [
        (EventType::INTVAR, b"\x02\x07\0\0\0\0\0\0\0".to_vec()),
        (EventType::RAND, vec![7; 16]),
        (EventType::USER_VAR, user_var),
        (EventType::XID, vec![7; 8]),
        (EventType::INCIDENT, b"\x01\0\x04lost".to_vec()),
        (EventType::DELETE_FILE, vec![7; 4]),
        (EventType::TABLE_MAP, table_map),
    ] {
        let sent = body_of_same_length(&event(event_type, &body));
        assert!(sent == [&body[..], &[0; 4]].concat(), "{event_type}");
    }
}

#[test]
fn the_format_description_is_as_mysql_5_6_without_checksums_sends_it() {
    let stored = stored_format();
    let sent = sent(&stored);
    event::verify_checksum(&sent).unwrap();
    let format = FormatDescription::parse(&sent).unwrap();
    assert_eq!(format.checksum, Checksum::None);
    assert_eq!(sent.len(), stored.len());
    let changed: Vec<usize> = (0..sent.len() - 4)
        .filter(|at| sent[*at] != stored[*at])
        .collect();
    let at = |number: usize| 76 + number - 1;
    let algorithm = sent.len() - 5;
    assert_eq!(changed, [at(9), at(17), at(23), at(24), at(25), algorithm]);
    // MySQL 9.7 writes 0 for event types that it does not write.
    let mut newer = FormatDescription::parse(&stored).unwrap();
    newer.post_header_lengths[22..25].fill(0);
    let sent = format_description(&newer.encode(7, 900, 120, 0)).unwrap();
    assert_eq!(sent[at(23)..at(26)], [12, 12, 12]);
    newer.post_header_lengths.truncate(24);
    assert!(format_description(&newer.encode(7, 900, 120, 0)).is_err());
}

#[test]
fn rotates_are_shortened() {
    let stored = rotate::closing(1_700_000_000, 900, 500, "relay-bin.000002");
    let sent = sent(&stored);
    let header = EventHeader::parse(&sent).unwrap();
    assert_eq!(header.event_size as usize, sent.len());
    assert_eq!(header.log_pos, 500);
    assert_eq!(sent[HEADER_LEN..], *b"\x04\0\0\0\0\0\0\0relay-bin.000002");
}

/// The type and the body of the event that is sent instead.
fn replaced(stored: &[u8]) -> (EventType, Vec<u8>) {
    let sent = sent(stored);
    assert_eq!(sent.len(), stored.len());
    let (old, new) = (EventHeader::parse(stored), EventHeader::parse(&sent));
    let (old, new) = (old.unwrap(), new.unwrap());
    assert_eq!(new.event_size, old.event_size);
    assert_eq!((new.timestamp, new.log_pos), (old.timestamp, old.log_pos));
    assert_eq!(new.server_id, old.server_id);
    (new.event_type, sent[HEADER_LEN..].to_vec())
}

#[test]
fn events_between_transactions_become_a_commit_of_nothing() {
    let mut set = Vec::new();
    GtidSet::new().encode(&mut set);
    let mut list = Vec::new();
    BinlogState::new().encode_gtid_list(&mut list);
    for (event_type, body) in [
        (EventType::PREVIOUS_GTIDS, set),
        (EventType::ANONYMOUS_GTID, vec![7; 42]),
        (EventType::GTID_LIST, list),
        (EventType::GTID_LIST, vec![7; 3 * HEAD_LEN]),
        (EventType::BINLOG_CHECKPOINT, b"\x04\0\0\0file".to_vec()),
        (
            EventType::MARIADB_GTID,
            [&[0; 12][..], &[1, 0, 0, 0, 0, 0, 0]].concat(),
        ),
    ] {
        let (sent_type, sent) = replaced(&event(event_type, &body));
        assert_eq!(sent_type, EventType::XID);
        assert!(sent.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn events_about_rows_set_a_variable_to_null() {
    for text in [
        "",
        "x",
        "INSERT INTO t VALUES (1)",
        &"y".repeat(2 * HEAD_LEN),
    ] {
        let rows_query = event(EventType::ROWS_QUERY, &[&[1], text.as_bytes()].concat());
        let mut stored = vec![rows_query];
        if text.len() > 1 {
            stored.push(event(EventType::ANNOTATE_ROWS, text.as_bytes()));
            let mut unknown = event(EventType(99), text.as_bytes());
            event::set_flags(&mut unknown, FLAG_IGNORABLE).unwrap();
            stored.push(unknown);
        }
        for stored in stored {
            if stored.len() < HEADER_LEN + USER_VAR_BODY.len() {
                assert!(sent_in_parts(&stored, 1).is_err());
                continue;
            }
            let (sent_type, sent) = replaced(&stored);
            assert_eq!(sent_type, EventType::USER_VAR);
            assert_eq!(sent[..6], *USER_VAR_BODY);
            assert!(sent[6..].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn a_group_of_mariadb_begins_with_begin() {
    for extra in [0, 1, 8, 200] {
        let body = [&[0; 19][..], &vec![0; extra]].concat();
        let (sent_type, sent) = replaced(&event(EventType::MARIADB_GTID, &body));
        assert_eq!(sent_type, EventType::QUERY);
        let (_, known, database, statement) = read_query(sent_type, &sent);
        assert_eq!((known, database), (vec![], vec![]));
        assert_eq!(statement, b"BEGIN");
    }
}

#[test]
fn events_of_newer_versions_are_refused() {
    let unreadable = |stored: &[u8]| match sent_in_parts(stored, 1000) {
        Ok(Form::Unreadable(cause)) => cause,
        other => panic!("{other:?}"),
    };
    for event_type in [
        1, 6, 7, 8, 12, 20, 30, 33, 36, 38, 39, 40, 42, 164, 165, 166, 200,
    ] {
        let event_type = EventType(event_type);
        let stored = event(event_type, &[7; 100]);
        assert_eq!(unreadable(&stored), Unreadable::Event(event_type));
    }
    for column_type in 0..=255 {
        let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0, 2];
        body.extend(b"db\0\x01t\0\x02\x03");
        body.extend([column_type, 0, 0]);
        let stored = event(EventType::TABLE_MAP, &body);
        if (17..=245).contains(&column_type) {
            assert_eq!(unreadable(&stored), Unreadable::Column(column_type));
        } else {
            sent(&stored);
        }
    }
    let status_len = (STATUS_VARIABLES_LEN_MAX - 3) as u16;
    let mut body = vec![0; 11];
    body.extend(status_len.to_le_bytes());
    body.resize(2000, 12);
    let stored = event(EventType::QUERY, &body);
    assert_eq!(unreadable(&stored), Unreadable::StatusVariables);
}

#[test]
fn truncated_events_are_refused_or_keep_their_length() {
    for event_type in 0..=255 {
        for len in 0..60 {
            for flags in [0, FLAG_IGNORABLE] {
                let mut stored = event(EventType(event_type), &[1; 60]);
                stored.truncate(HEADER_LEN + len);
                event::set_event_size(&mut stored, (HEADER_LEN + len) as u32).unwrap();
                event::set_flags(&mut stored, flags).unwrap();
                // The lengths are checked in there.
                let _ = sent_in_parts(&stored, 7);
            }
        }
    }
}
