//! Hand-made events of both flavors, for tests of this stage and of the relay log.

use std::sync::Arc;

use crate::binlog::event::{self, CHECKSUM_LEN, EventHeader, HEADER_LEN};
use crate::binlog::format_description::Checksum;
use crate::binlog::mysql_gtid::{self, LogicalClock};
use crate::binlog::{EventType, FormatDescription};
use crate::filter::{Filter, RuleLists};
use crate::flavor::Flavor;
use crate::gtid::{Gtid, Sid, Tag, Uuid};

/// The timestamp of all hand-made events.
pub(crate) const TIMESTAMP: u32 = 1_700_000_000;

/// The format description of a MySQL source.
pub(crate) fn mysql_format(checksum: Checksum) -> Arc<FormatDescription> {
    format("8.0.41", 41, checksum)
}

/// The format description of a MySQL 5.6 source.
pub(crate) fn mysql56_format(checksum: Checksum) -> Arc<FormatDescription> {
    format("5.6.24-log", 35, checksum)
}

/// The format description of a MariaDB source.
pub(crate) fn mariadb_format(checksum: Checksum) -> Arc<FormatDescription> {
    format("10.11.14-MariaDB", 171, checksum)
}

fn format(version: &str, types: usize, checksum: Checksum) -> Arc<FormatDescription> {
    let lengths = (1..=types).map(|event_type| match event_type {
        2 | 165 => 13,
        4 | 19 | 23..=25 | 166..=168 => 8,
        17 | 161 | 163 => 4,
        18 => 26,
        26 => 2,
        30..=32 | 169..=171 => 10,
        33 | 34 => 25,
        162 => 19,
        _ => 0,
    });
    Arc::new(FormatDescription {
        server_version: version.to_owned(),
        created: 0,
        post_header_lengths: lengths.collect(),
        checksum,
    })
}

/// A filter that keeps these databases; all when there is none.
pub(crate) fn keeping(databases: &[&str]) -> Filter {
    let lists = RuleLists {
        do_db: databases.iter().map(|name| (*name).to_owned()).collect(),
        ..RuleLists::default()
    };
    Filter::new(lists, Flavor::MySql, false)
}

/// An event of any type.
pub(crate) fn event(event_type: EventType, server_id: u32, body: &[u8]) -> Vec<u8> {
    let header = EventHeader {
        timestamp: TIMESTAMP,
        event_type,
        server_id,
        event_size: 0,
        log_pos: 0,
        flags: 0,
    };
    event::build(header, body)
}

/// The event as a source without checksums sends it.
pub(crate) fn without_checksum(event: &[u8]) -> Vec<u8> {
    let mut event = event[..event.len() - CHECKSUM_LEN].to_vec();
    let size = event.len() as u32;
    event::set_event_size(&mut event, size).unwrap();
    event
}

/// A GTID; `uuid` fills the UUID, an empty `tag` is none.
pub(crate) fn gtid(uuid: u8, tag: &str, gno: u64) -> Gtid {
    Gtid {
        sid: Sid {
            uuid: Uuid([uuid; 16]),
            tag: Tag::parse(tag).unwrap(),
        },
        gno,
    }
}

pub(crate) fn clock(last_committed: i64, sequence_number: i64) -> LogicalClock {
    LogicalClock {
        last_committed,
        sequence_number,
    }
}

/// GTID_EVENT or GTID_TAGGED of a transaction whose other events have `rest_len` bytes.
pub(crate) fn mysql_gtid(
    server_id: u32,
    gtid: Gtid,
    clock: LogicalClock,
    rest_len: u64,
) -> Vec<u8> {
    let draft = if gtid.sid.tag.is_empty() {
        let mut body = vec![1];
        body.extend_from_slice(&gtid.sid.uuid.0);
        body.extend_from_slice(&gtid.gno.to_le_bytes());
        body.push(2);
        body.extend_from_slice(&[0; 16]); // The clock.
        body.extend_from_slice(&[1, 2, 3, 4, 5, 6, 0]); // When it committed.
        body.push(100); // The transaction's length.
        body.extend_from_slice(&80_041u32.to_le_bytes());
        event(EventType::GTID, server_id, &body)
    } else {
        event(EventType::GTID_TAGGED, server_id, &tagged_body(gtid))
    };
    let mut event = Vec::new();
    mysql_gtid::rewrite(&draft, clock, rest_len, &mut event).unwrap();
    event::write_checksum(&mut event).unwrap();
    event
}

fn tagged_body(gtid: Gtid) -> Vec<u8> {
    let small = |value: u64| {
        assert!(value < 128, "one byte each is enough here");
        (value << 1) as u8
    };
    let mut body = vec![small(0), small(0), small(0), small(0), small(1), small(1)];
    for byte in gtid.sid.uuid.0 {
        body.push(small(byte.into()));
    }
    body.push(small(2));
    // gno as a number of two bytes, zigzag-encoded.
    body.extend_from_slice(&(((gtid.gno as u16) << 1 << 2) | 1).to_le_bytes());
    let tag = gtid.sid.tag;
    body.extend_from_slice(&[small(3), small(tag.as_str().len() as u64)]);
    body.extend_from_slice(tag.as_str().as_bytes());
    body.extend([4, 0, 5, 0, 6, 1, 8, 0].map(small));
    body[1] = small(body.len() as u64);
    body
}

/// A whole MySQL transaction: its opener and `events`.
pub(crate) fn mysql_group(
    server_id: u32,
    gtid: Gtid,
    clock: LogicalClock,
    events: Vec<Vec<u8>>,
) -> Vec<Vec<u8>> {
    let rest_len = events.iter().map(|event| event.len() as u64).sum();
    let mut group = vec![mysql_gtid(server_id, gtid, clock, rest_len)];
    group.extend(events);
    group
}

/// MariaDB's GTID_EVENT.
pub(crate) fn mariadb_gtid(
    server_id: u32,
    domain_id: u32,
    seq_no: u64,
    flags2: u8,
    commit_id: Option<u64>,
) -> Vec<u8> {
    let mut body = seq_no.to_le_bytes().to_vec();
    body.extend_from_slice(&domain_id.to_le_bytes());
    body.push(flags2 | if commit_id.is_some() { 2 } else { 0 });
    if let Some(id) = commit_id {
        body.extend_from_slice(&id.to_le_bytes());
    }
    if flags2 & (64 | 128) != 0 {
        body.extend_from_slice(b"\x01\0\0\0\x01\0x");
    }
    body.resize(body.len().max(19), 0);
    event(EventType::MARIADB_GTID, server_id, &body)
}

/// One statement of MariaDB that is a half of an ALTER: the START, or with the seq_no of the START
/// its end.
pub(crate) fn alter_half(
    server_id: u32,
    seq_no: u64,
    start: Option<u64>,
    database: &str,
) -> Vec<Vec<u8>> {
    const STANDALONE: u8 = 1;
    let mut body = seq_no.to_le_bytes().to_vec();
    body.extend_from_slice(&0u32.to_le_bytes());
    body.push(STANDALONE);
    match start {
        None => body.push(2),
        Some(start) => {
            body.push(4);
            body.extend_from_slice(&start.to_le_bytes());
        }
    }
    body.resize(body.len().max(19), 0);
    vec![
        event(EventType::MARIADB_GTID, server_id, &body),
        query(server_id, database, "ALTER TABLE t ADD c INT"),
    ]
}

/// QUERY_EVENT.
pub(crate) fn query(server_id: u32, database: &str, statement: &str) -> Vec<u8> {
    let mut body = vec![0; 13];
    body[8] = database.len() as u8;
    body.extend_from_slice(database.as_bytes());
    body.push(0);
    body.extend_from_slice(statement.as_bytes());
    event(EventType::QUERY, server_id, &body)
}

pub(crate) fn xid(server_id: u32) -> Vec<u8> {
    event(EventType::XID, server_id, &77u64.to_le_bytes())
}

/// XA_PREPARE of the xid `X'<hex of name>',X'',1`.
pub(crate) fn xa_prepare(server_id: u32, one_phase: bool, name: &str) -> Vec<u8> {
    let mut body = vec![u8::from(one_phase), 1, 0, 0, 0, name.len() as u8];
    body.extend_from_slice(&[0; 7]);
    body.extend_from_slice(name.as_bytes());
    event(EventType::XA_PREPARE, server_id, &body)
}

/// The events that prepare a MySQL XA transaction that changes a table of `database`.
pub(crate) fn xa_prepared(server_id: u32, gtid: Gtid, name: &str, database: &str) -> Vec<Vec<u8>> {
    let clock = clock(gtid.gno as i64 - 1, gtid.gno as i64);
    let events = vec![
        query(server_id, "", "XA START X'61',X'',1"),
        table_map(server_id, 1, database),
        rows(server_id, 1, true, 9),
        query(server_id, "", "XA END X'61',X'',1"),
        xa_prepare(server_id, false, name),
    ];
    mysql_group(server_id, gtid, clock, events)
}

/// An event that prepares a statement, or any other event whose type alone matters.
pub(crate) fn plain(event_type: EventType, server_id: u32) -> Vec<u8> {
    event(event_type, server_id, &[2, 1, 0, 0, 0, 0, 0, 0, 0])
}

pub(crate) fn table_map(server_id: u32, table_id: u8, database: &str) -> Vec<u8> {
    let mut body = vec![table_id, 0, 0, 0, 0, 0, 1, 0, database.len() as u8];
    body.extend_from_slice(database.as_bytes());
    body.extend_from_slice(b"\0\x01t\0\x01\x03\0\x01");
    event(EventType::TABLE_MAP, server_id, &body)
}

/// WRITE_ROWS with `len` bytes of rows.
pub(crate) fn rows(server_id: u32, table_id: u8, ends_statement: bool, len: usize) -> Vec<u8> {
    let mut body = vec![table_id, 0, 0, 0, 0, 0, u8::from(ends_statement), 0, 2, 0];
    body.extend((0..len).map(|at| (at * 7 % 251) as u8));
    event(EventType::WRITE_ROWS, server_id, &body)
}

/// TRANSACTION_PAYLOAD around `stream`, which is said to hold `uncompressed` bytes.
pub(crate) fn payload(
    server_id: u32,
    compression: u8,
    uncompressed: u64,
    stream: &[u8],
) -> Vec<u8> {
    let mut body = Vec::new();
    let mut field = |number: u8, value: &[u8]| {
        body.extend_from_slice(&[number, value.len() as u8]);
        body.extend_from_slice(value);
    };
    match compression {
        255 => field(2, &[252, 255, 0]),
        small => field(2, &[small]),
    }
    for (number, value) in [(3, uncompressed), (1, stream.len() as u64)] {
        let mut bytes = vec![254];
        bytes.extend_from_slice(&value.to_le_bytes());
        field(number, &bytes);
    }
    body.push(0);
    body.extend_from_slice(stream);
    event(EventType::TRANSACTION_PAYLOAD, server_id, &body)
}

/// The events as in a payload: without checksums.
pub(crate) fn payload_events(events: &[Vec<u8>]) -> Vec<u8> {
    let events = events.iter().map(|event| without_checksum(event));
    events.collect::<Vec<_>>().concat()
}

/// Splits bytes into events; each must have the size its header says.
pub(crate) fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let size = EventHeader::parse(bytes).unwrap().event_size as usize;
        let (event, rest) = bytes.split_at(size);
        events.push(event.to_vec());
        bytes = rest;
    }
    events
}

/// Types of events in order, a statement event as its statement.
pub(crate) fn outline(events: &[Vec<u8>]) -> Vec<String> {
    let name = |event: &Vec<u8>| {
        let event_type = EventHeader::parse(event).unwrap().event_type;
        if event_type != EventType::QUERY {
            return event_type.name().to_owned();
        }
        let body = event::body(event, true);
        let query = crate::binlog::query::Query::parse(event_type, body).unwrap();
        String::from_utf8(query.statement.to_vec()).unwrap()
    };
    events.iter().map(name).collect()
}

#[test]
fn builders_make_what_the_parsers_read() {
    for tag in ["", "blue"] {
        let gtid = gtid(7, tag, 99);
        let event = mysql_gtid(86, gtid, clock(4, 5), 400);
        event::verify_checksum(&event).unwrap();
        let parsed = mysql_gtid::MySqlGtidEvent::parse(&event, true).unwrap();
        assert_eq!(parsed.gtid, Some(gtid));
        assert_eq!(parsed.clock, Some(clock(4, 5)));
        assert_eq!(parsed.transaction_length, Some(400 + event.len() as u64));
    }
    assert_eq!(without_checksum(&xid(1)).len(), HEADER_LEN + 8);
}
