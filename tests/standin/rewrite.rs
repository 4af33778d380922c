//! Binlogs of servers that can be had, in the form of those that cannot: what MySQL 5.6 logged as 5.5
//! would have, and what 9.7 logged as 5.7 would have. Transactions that the older version could not
//! have logged are left out.
//!
//! | | 5.6 → 5.5 | 9.7 → 5.7 |
//! |---|---|---|
//! | GTID events | dropped | cut to 42 bytes of body |
//! | row events | version 2 becomes 1 | extra data is dropped |
//! | row queries | dropped | kept |
//! | table maps | with temporal types of 5.6: left out | without optional metadata; VECTOR: left out |
//! | status variables | up to 11 (invoker) | up to 15 |
//! | collation 255 | – | becomes 45 |
//! | compressed transactions, tagged GTIDs, partial updates | – | left out |

use super::event::{
    ANONYMOUS_GTID, DELETE_ROWS_V2, Event, FORMAT_DESCRIPTION, GTID, Group, QUERY, ROWS_QUERY,
    TABLE_MAP, WRITE_ROWS_V2, groups, number,
};
use super::version::Version;

/// From version 2 to version 1.
const ROWS_V2_TO_V1: u8 = 7;
const GTID_BODY_LEN: usize = 42;
/// TIMESTAMP2, DATETIME2 and TIME2.
const TEMPORAL_TYPES_OF_56: [u8; 3] = [17, 18, 19];
const TYPED_ARRAY: u8 = 20;
const VECTOR: u8 = 242;
const PARTIAL_UPDATE_ROWS: u8 = 39;
const GTID_TAGGED: u8 = 42;

/// All events of a file, and whether it has checksums.
pub fn read(file: &[u8]) -> Vec<Event> {
    let mut rest = &file[4..];
    let mut events = Vec::new();
    let mut checksummed = false;
    while !rest.is_empty() {
        let (event, tail) = rest.split_at(number(rest, 9, 4) as usize);
        rest = tail;
        if event[4] == FORMAT_DESCRIPTION {
            // These servers write the algorithm before the checksum.
            checksummed = event[event.len() - 5] == 1;
        }
        let read = Event::read(event, checksummed);
        events.push(read.unwrap_or_else(|error| panic!("{error}")).0);
    }
    events
}

/// The transactions of a file, rewritten.
pub fn rewrite(file: &[u8], to: Version) -> Vec<Group> {
    let events = read(file);
    let is_opener = |event: &Event| event.is_opener() || event.kind == GTID_TAGGED;
    let groups = match events.iter().any(is_opener) {
        false => groups(&events),
        true => by_opener(&events, is_opener),
    };
    let rewritten = groups.iter().filter_map(|group| {
        let mut out = Group::new();
        for event in group {
            match rewrite_event(event, to) {
                Rewritten::Event(event) => out.push(event),
                Rewritten::Dropped => {}
                Rewritten::Unknown => return None,
            }
        }
        Some(out)
    });
    rewritten.collect()
}

fn by_opener(events: &[Event], is_opener: impl Fn(&Event) -> bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for event in events.iter().filter(|event| !event.is_control()) {
        if is_opener(event) {
            groups.push(Group::new());
        }
        groups
            .last_mut()
            .expect("an opener comes first")
            .push(event.clone());
    }
    groups
}

enum Rewritten {
    Event(Event),
    Dropped,
    /// The older version has nothing like it.
    Unknown,
}

fn rewrite_event(event: &Event, to: Version) -> Rewritten {
    let mut event = event.clone();
    match (event.kind, to) {
        (GTID | ANONYMOUS_GTID | ROWS_QUERY, Version::V55) => return Rewritten::Dropped,
        (GTID | ANONYMOUS_GTID, Version::V57) => event.body.truncate(GTID_BODY_LEN),
        (WRITE_ROWS_V2..=DELETE_ROWS_V2, _) => {
            let extra_len = number(&event.body, 8, 2) as usize;
            event.body.drain(10..8 + extra_len);
            match to {
                Version::V57 => event.body[8..10].copy_from_slice(&[2, 0]),
                Version::V55 | Version::V56 => {
                    event.body.drain(8..10);
                    event.kind -= ROWS_V2_TO_V1;
                }
            }
        }
        (TABLE_MAP, _) => {
            let (types, end) = table_map(&event.body);
            let is_unknown = |kind: &u8| match to {
                Version::V55 => TEMPORAL_TYPES_OF_56.contains(kind),
                Version::V56 | Version::V57 => matches!(*kind, VECTOR | TYPED_ARRAY),
            };
            if types.iter().any(is_unknown) {
                return Rewritten::Unknown;
            }
            event.body.truncate(end);
        }
        (QUERY, _) => {
            let (_, text) = event.statement().expect("a statement");
            if text.ends_with("START TRANSACTION") {
                return Rewritten::Unknown;
            }
            shorten_variables(&mut event.body, to);
        }
        (PARTIAL_UPDATE_ROWS.., _) => return Rewritten::Unknown,
        (kind, _) if usize::from(kind) > to.lengths().len() => return Rewritten::Unknown,
        _ => {}
    }
    Rewritten::Event(event)
}

/// The column types in a TABLE_MAP's body, and where what 5.7 knows of it ends.
fn table_map(body: &[u8]) -> (&[u8], usize) {
    let mut at = 8;
    for _ in 0..2 {
        at += 2 + usize::from(body[at]);
    }
    let length = |at: &mut usize| {
        let (length, width) = match body[*at] {
            0xFC => (number(body, *at + 1, 2) as usize, 3),
            short => (usize::from(short), 1),
        };
        *at += width;
        length
    };
    let columns = length(&mut at);
    let types = &body[at..at + columns];
    at += columns;
    let metadata = length(&mut at);
    (types, at + metadata + columns.div_ceil(8))
}

/// Keeps the status variables that the version writes.
fn shorten_variables(body: &mut Vec<u8>, to: Version) {
    let len = number(body, 11, 2) as usize;
    let mut rest = &body[13..13 + len];
    let mut kept = Vec::new();
    let newest = match to {
        Version::V55 => 11,
        Version::V56 | Version::V57 => 15,
    };
    // Codes grow, so that nothing after a newer one is an older one.
    while let Some((code, tail)) = rest.split_first().filter(|(code, _)| **code <= newest) {
        let (value, tail) = tail.split_at(variable_len(*code, tail));
        kept.push(*code);
        kept.extend(value);
        // Character sets: client, connection, server.
        if *code == 4 {
            let at = kept.len() - 6;
            for pair in kept[at..].chunks_mut(2).filter(|pair| **pair == [255, 0]) {
                pair[0] = 45;
            }
        }
        if *code == 8 && kept.ends_with(&[255, 0]) {
            let at = kept.len() - 2;
            kept[at] = 45;
        }
        rest = tail;
    }
    body[11..13].copy_from_slice(&(kept.len() as u16).to_le_bytes());
    body.splice(13..13 + len, kept);
}

/// The length of a status variable's value.
fn variable_len(code: u8, value: &[u8]) -> usize {
    let text = |at: usize| 1 + usize::from(value[at]);
    match code {
        0 | 3 | 10 => 4,
        1 | 9 => 8,
        4 => 6,
        5 | 6 => text(0),
        7 | 8 => 2,
        11 => text(0) + text(text(0)),
        // So many names, each with a NUL; 254 stands for more than are listed.
        12 if value[0] == 254 => 1,
        12 => {
            let ends = value
                .iter()
                .enumerate()
                .skip(1)
                .filter(|(_, byte)| **byte == 0);
            let last = ends.map(|(at, _)| at).nth(usize::from(value[0]) - 1);
            last.expect("as many names as counted") + 1
        }
        13 => 3,
        other => panic!("status variable {other}"),
    }
}
