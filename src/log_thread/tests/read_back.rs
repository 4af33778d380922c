//! Reads a relay log's files byte by byte, independently of the relay's own reader and index.

use std::fs;

use super::*;
use crate::binlog::event::{self, EventHeader, MAGIC};
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::mysql_gtid::MySqlGtidEvent;
use crate::binlog::rotate::Rotate;
use crate::binlog::{CHECKSUM_LEN, EventType, HEADER_LEN};
use crate::gtid::{BinlogState, GtidSet};

/// A transaction as a replica sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) identity: Identity,
    pub(super) server_id: u32,
    /// The events after the opener, without position and checksum.
    pub(super) rest: Vec<Vec<u8>>,
    pub(super) commit_id: Option<u64>,
    /// The number of its file.
    pub(super) file: u64,
    /// Its end offset there.
    pub(super) end: u64,
}

/// An event without position and checksum.
pub(super) fn without_position(event: &[u8]) -> Vec<u8> {
    let mut event = event[..event.len() - CHECKSUM_LEN].to_vec();
    event::set_log_pos(&mut event, 0).unwrap();
    event
}

/// All transactions of the log; asserts the invariants of each event and file.
pub(super) fn transactions(log_dir: &LogDir) -> Vec<Found> {
    let files = log_dir.read_list().unwrap();
    let mut found = Vec::new();
    let mut before: Option<Executed> = None;
    for number in &files {
        let bytes = fs::read(log_dir.log_path(*number)).unwrap();
        assert!(bytes.len() <= u32::MAX as usize);
        let last = files.last() == Some(number);
        let previous = read_file(&bytes, log_dir, *number, last, &mut found);
        let executed = before.get_or_insert_with(|| previous.clone());
        assert_eq!(
            *executed, previous,
            "the transactions that file {number} lists as before it"
        );
        for transaction in found.iter().filter(|found| found.file == *number) {
            // A MariaDB master can execute a GTID again.
            let is_new = executed.deliver(&transaction.identity);
            let is_mariadb = matches!(transaction.identity, Identity::MariaDb(_));
            assert!(is_new || is_mariadb, "twice: {transaction:?}");
        }
    }
    found
}

/// Splits a file into events; each must be whole, with the right checksum and log_pos.
pub(super) fn events(bytes: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(bytes[..4], MAGIC);
    let mut offset = 4;
    let events = make::split(&bytes[4..]);
    for event in &events {
        offset += event.len();
        event::verify_checksum(event).unwrap();
        let header = EventHeader::parse(event).unwrap();
        assert_eq!(header.log_pos as usize, offset, "{header:?}");
    }
    events
}

fn read_file(
    bytes: &[u8],
    log_dir: &LogDir,
    number: u64,
    last: bool,
    found: &mut Vec<Found>,
) -> Executed {
    let mut offset = 4;
    let mut sequence = 0;
    let mut previous = None;
    let events = events(bytes);
    let from = found.len();
    for (at, event) in events.iter().enumerate() {
        offset += event.len() as u64;
        let event_type = EventHeader::parse(event).unwrap().event_type;
        let body = event::body(event, true);
        match event_type {
            EventType::FORMAT_DESCRIPTION => {
                assert_eq!(at, 0);
                assert_eq!(FormatDescription::parse(event).unwrap().created, 0);
            }
            EventType::PREVIOUS_GTIDS | EventType::GTID_LIST => {
                assert_eq!(at, 1);
                previous = Some(match event_type {
                    EventType::GTID_LIST => {
                        Executed::MariaDb(BinlogState::decode_gtid_list(body).unwrap().0)
                    }
                    _ => Executed::MySql(GtidSet::decode(body).unwrap()),
                });
            }
            EventType::ROTATE => {
                assert!(
                    at + 1 == events.len() && !last,
                    "a Rotate event in the newest file"
                );
                let next = log_dir.file_name(number + 1);
                assert_eq!(Rotate::parse(body).unwrap().file, next.as_bytes());
            }
            _ if event_type.is_gtid() => {
                sequence += 1;
                found.push(opener(event, sequence, number));
            }
            _ => {
                assert!(found.len() > from, "an event before the first transaction");
                found.last_mut().unwrap().rest.push(without_position(event));
            }
        }
        if let Some(transaction) = found[from..].last_mut()
            && event_type != EventType::ROTATE
        {
            transaction.end = offset;
        }
    }
    let rotated = events
        .last()
        .map(|event| EventHeader::parse(event).unwrap().event_type);
    assert_eq!(
        rotated == Some(EventType::ROTATE),
        !last,
        "the end of file {number}"
    );
    check_lengths(&events, &found[from..]);
    previous.unwrap()
}

fn opener(event: &[u8], sequence: i64, file: u64) -> Found {
    let header = EventHeader::parse(event).unwrap();
    let (identity, commit_id) = if header.event_type == EventType::MARIADB_GTID {
        let parsed = MariaDbGtidEvent::parse(event, true).unwrap();
        (Identity::MariaDb(parsed.gtid), parsed.commit_id)
    } else {
        let parsed = MySqlGtidEvent::parse(event, true).unwrap();
        let clock = parsed.clock.unwrap();
        assert_eq!(clock.sequence_number, sequence);
        assert!(clock.last_committed < sequence && clock.last_committed >= 0);
        (Identity::MySql(parsed.gtid.unwrap()), None)
    };
    Found {
        identity,
        server_id: header.server_id,
        rest: Vec::new(),
        commit_id,
        file,
        end: 0,
    }
}

fn check_lengths(events: &[Vec<u8>], found: &[Found]) {
    let openers = events.iter().filter(|event| {
        let event_type = EventHeader::parse(event).unwrap().event_type;
        event_type == EventType::GTID || event_type == EventType::GTID_TAGGED
    });
    for (opener, found) in openers.zip(found) {
        let rest: usize = found
            .rest
            .iter()
            .map(|event| event.len() + CHECKSUM_LEN)
            .sum();
        let length = MySqlGtidEvent::parse(opener, true)
            .unwrap()
            .transaction_length;
        assert_eq!(length, Some((opener.len() + rest) as u64));
        assert!(opener.len() > HEADER_LEN);
    }
}
