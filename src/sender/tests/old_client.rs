//! Streams to clients that do not know checksums, with the positions as MySQL 5.5 computes them.

use super::fixture::*;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::rotate::Rotate;
use crate::binlog::{EventType, HEADER_LEN};
use crate::connection::Connection;
use crate::protocol::response::{is_eof, is_error, parse_error};
use std::time::Duration;
use tokio::time::timeout;

const BEGIN: (EventType, &[u8]) = (EventType::QUERY, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0BEGIN");
const XID: (EventType, &[u8]) = (EventType::XID, &[1; 8]);
const TABLE_MAP: (EventType, &[u8]) = (
    EventType::TABLE_MAP,
    b"\x01\0\0\0\0\0\x01\0\x04test\0\x01t\0\x01\x03\0\x01",
);
const ROWS: (EventType, &[u8]) = (
    EventType::WRITE_ROWS_V1,
    b"\x01\0\0\0\0\0\x01\0\x01\x01\xfe\x07\0\0\0",
);

fn query(text: &[u8]) -> Vec<u8> {
    [&[0; 14], text].concat()
}

/// A log of several files with all kinds of events that MySQL 5.5 writes, and Rows_query.
fn small_log() -> TestLog {
    let mut log = TestLog::without_gtids(1000);
    let insert = query(b"INSERT INTO t VALUES (1)");
    let mut load = query(b"LOAD DATA INFILE 'x' INTO TABLE t");
    load.splice(13..13, [0; 13]);
    for number in 0..4u8 {
        let intvar = [2, number, 0, 0, 0, 0, 0, 0, 0];
        log.transaction(&[(EventType::QUERY, &query(b"CREATE TABLE t (a INT)"))]);
        log.transaction(&[
            BEGIN,
            (EventType::INTVAR, &intvar),
            (EventType::RAND, &[number; 16]),
            (EventType::USER_VAR, b"\x01\0\0\0x\x01"),
            (EventType::QUERY, &insert),
            XID,
        ]);
        let rows_query = (EventType::ROWS_QUERY, &b"\x18INSERT INTO t VALUES (7)"[..]);
        log.transaction(&[BEGIN, rows_query, TABLE_MAP, ROWS, XID]);
        log.transaction(&[
            BEGIN,
            (EventType::BEGIN_LOAD_QUERY, b"\x01\0\0\x001\n2\n"),
            (EventType::APPEND_BLOCK, b"\x01\0\0\x003\n4\n"),
            (EventType::EXECUTE_LOAD_QUERY, &load),
            XID,
        ]);
    }
    assert!(log.log().state().files.len() > 2);
    log
}

/// A replica of MySQL 5.5: the binlog's file and the position from which it would reconnect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Place {
    file: String,
    position: u64,
}

/// The next event, or None at the end.
async fn next_event(connection: &mut Connection) -> Option<(EventHeader, Vec<u8>)> {
    let packet = timeout(Duration::from_secs(20), connection.read_packet(64 << 20));
    let packet = packet.await.expect("a packet in time").unwrap();
    if is_eof(&packet) {
        return None;
    }
    if is_error(&packet) {
        panic!("{}", parse_error(&packet).unwrap());
    }
    let header = EventHeader::parse(&packet[1..]).unwrap();
    assert_eq!(header.event_size as usize, packet.len() - 1);
    Some((header, packet[1..].to_vec()))
}

impl Place {
    /// Counts as MySQL 5.5 does.
    fn advance(&mut self, header: &EventHeader, event: &[u8]) {
        match header.event_type {
            EventType::ROTATE => {
                let rotate = Rotate::parse(&event[HEADER_LEN..]).unwrap();
                self.file = String::from_utf8(rotate.file.to_vec()).unwrap();
                self.position = rotate.position;
            }
            EventType::FORMAT_DESCRIPTION if header.log_pos == 0 => {}
            EventType::FORMAT_DESCRIPTION => self.position += event.len() as u64,
            EventType::STOP => panic!("MySQL 5.5 does not count this event"),
            _ => {
                self.position += event.len() as u64;
                assert_eq!(u64::from(header.log_pos), self.position, "{header:?}");
            }
        }
    }
}

/// All events of a dump, each with the place after it, which begins with the requested one.
async fn dumped(sender: &TestSender, start: &Place) -> Vec<(Place, Vec<u8>)> {
    let mut connection = sender.connect("repl").await.unwrap();
    let command = by_position(&start.file, start.position as u32, 1, 11);
    connection.write_command(&command).await.unwrap();
    let mut place = start.clone();
    let mut events = Vec::new();
    while let Some((header, event)) = next_event(&mut connection).await {
        place.advance(&header, &event);
        events.push((place.clone(), event));
    }
    events
}

fn event_type(event: &[u8]) -> EventType {
    EventHeader::parse(event).unwrap().event_type
}

#[tokio::test]
async fn a_dump_continues_exactly_after_any_event() {
    let log = small_log();
    let sender = TestSender::of(&log).await;
    let start = Place {
        file: "relay-bin.000001".to_owned(),
        position: 4,
    };
    let all = dumped(&sender, &start).await;
    let end = log.log().published();
    let last = Place {
        file: log.log().log_dir().file_name(end.file),
        position: end.offset,
    };
    assert_eq!(all.last().unwrap().0, last);
    let sent: Vec<EventType> = all.iter().map(|(_, event)| event_type(event)).collect();
    for of_5_6 in [EventType::PREVIOUS_GTIDS, EventType::ROWS_QUERY] {
        assert!(!sent.contains(&of_5_6));
    }
    assert!(sent.contains(&EventType::WRITE_ROWS_V1));
    for (number, (place, event)) in all.iter().enumerate() {
        // After the real Rotate the place is that after the artificial one.
        if event_type(event) == EventType::ROTATE {
            continue;
        }
        let again = dumped(&sender, place).await;
        assert_eq!(again[0].0, *place, "the artificial Rotate");
        let format = EventHeader::parse(&again[1].1).unwrap();
        assert_eq!(format.event_type, EventType::FORMAT_DESCRIPTION);
        assert_eq!(format.log_pos, 0);
        event::verify_checksum(&again[1].1).unwrap();
        assert!(again[2..] == all[number + 1..], "{place:?}");
    }
}

#[tokio::test]
async fn large_events_pass_in_any_block() {
    let mut log = TestLog::without_gtids(1 << 30);
    let large: Vec<u8> = (0..5 << 20).map(|byte: u32| byte as u8).collect();
    for len in [0xFF_FFFF - 38 - 1, 0xFF_FFFF - 38, 700_000, 20 << 20] {
        log.transaction(&[(EventType::QUERY, &query(&vec![b'x'; len]))]);
    }
    let block = [&[1, 0, 0, 0], &large[..]].concat();
    let mut load = query(b"LOAD DATA INFILE 'x' INTO TABLE t");
    load.splice(13..13, [0; 13]);
    let rows_query = [&[1], &large[..]].concat();
    let rows = [&ROWS.1[..8], &large[..]].concat();
    let user_var = [&b"\x01\0\0\0x\0\0\x3f\0\0\0\0\0\x50\0"[..], &large].concat();
    log.transaction(&[
        BEGIN,
        (EventType::BEGIN_LOAD_QUERY, &block),
        (EventType::EXECUTE_LOAD_QUERY, &load),
        (EventType::USER_VAR, &user_var),
        (EventType::QUERY, &query(b"INSERT INTO t VALUES (@x)")),
        (EventType::ROWS_QUERY, &rows_query),
        TABLE_MAP,
        (EventType::WRITE_ROWS_V1, &rows),
        XID,
    ]);
    let sender = TestSender::of(&log).await;
    let start = Place {
        file: "relay-bin.000001".to_owned(),
        position: 4,
    };
    let all = dumped(&sender, &start).await;
    assert_eq!(all.last().unwrap().0.position, log.log().published().offset);
    let holds = |wanted, at: usize| {
        let mut events = all.iter().map(|(_, event)| event);
        let event = events.find(|event| event_type(event) == wanted && event.len() > 1 << 20);
        event.is_some_and(|event| event[at..at + large.len()] == large)
    };
    assert!(holds(EventType::BEGIN_LOAD_QUERY, 19 + 8));
    assert!(holds(EventType::WRITE_ROWS_V1, 19 + 12));
    assert!(holds(EventType::USER_VAR, 19 + 15));
}

#[tokio::test]
async fn heartbeats_have_the_position_that_the_replica_has_counted() {
    let mut log = small_log();
    let sender = TestSender::of(&log).await;
    let mut connection = sender.connect("repl").await.unwrap();
    connection
        .execute("SET @master_heartbeat_period= 20000000")
        .await
        .unwrap();
    let command = by_position("relay-bin.000001", 4, 0, 11);
    connection.write_command(&command).await.unwrap();
    let mut place = Place::default();
    let (mut beats, mut written) = (0, 0);
    while written < 20 || beats < 3 {
        let (header, event) = next_event(&mut connection).await.unwrap();
        if header.event_type != EventType::HEARTBEAT {
            place.advance(&header, &event);
            continue;
        }
        beats += 1;
        assert_eq!(u64::from(header.log_pos), place.position);
        assert_eq!(event[HEADER_LEN..], *place.file.as_bytes());
        if written < 20 {
            written += 1;
            log.transaction(&[BEGIN, TABLE_MAP, ROWS, XID]);
        }
    }
}

#[tokio::test]
async fn transactions_with_gtids_are_refused_with_the_reason() {
    let mut log = TestLog::empty(crate::flavor::Flavor::MySql, 1 << 20);
    log.mysql(1, b"CREATE TABLE t (a INT)");
    let sender = TestSender::of(&log).await;
    let mut connection = sender.connect("repl").await.unwrap();
    let command = by_position("relay-bin.000001", 4, 0, 11);
    connection.write_command(&command).await.unwrap();
    for _ in 0..3 {
        next_event(&mut connection).await.unwrap();
    }
    let packet = connection.read_packet(1000).await.unwrap();
    let error = parse_error(&packet).unwrap();
    assert_eq!(error.code, 1236);
    assert_eq!(
        error.message,
        "Replica can not handle Gtid events, at file relay-bin.000001, position 287: set \
         gtid_mode = OFF on its sources, or use a newer replica. It does not set \
         @master_binlog_checksum, so it is served as MySQL 5.5"
    );
}
