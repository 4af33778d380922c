//! Every recorded event that the relay rewrites: with nothing to change it gives the same bytes,
//! and what is rewritten there and back is what it was.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod assembling;
mod recorded;

use assembling::{assembler, flavor};
use binrelay::binlog::EventType;
use binrelay::binlog::event::{self, EventHeader};
use binrelay::binlog::format_description::FormatDescription;
use binrelay::binlog::mariadb_gtid::{self, MariaDbGtidEvent};
use binrelay::binlog::mysql_gtid::{self, LogicalClock, MySqlGtidEvent};
use binrelay::binlog::query::Query;
use binrelay::binlog::rotate::{self, Rotate};
use binrelay::binlog::rows::{self, RowsHead};
use binrelay::binlog::status_variables::StatusVariables;
use binrelay::filter::{Filter, RuleLists};
use binrelay::gtid::{BinlogState, GtidSet};
use recorded::KINDS;

fn type_of(event: &[u8]) -> EventType {
    EventType(event[4])
}

/// The events of a kind's binlog, in transactions; those outside are alone.
fn transactions(events: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut transactions: Vec<Vec<Vec<u8>>> = Vec::new();
    for event in events {
        let is_inside = transactions
            .last()
            .is_some_and(|open| type_of(&open[0]).is_gtid() && !type_of(event).is_control());
        match transactions.last_mut() {
            Some(open) if is_inside && !type_of(event).is_gtid() => open.push(event.clone()),
            _ => transactions.push(vec![event.clone()]),
        }
    }
    transactions
}

fn events(kind: &str) -> Vec<Vec<u8>> {
    let file = recorded::binlog(kind);
    let events = recorded::events(&file);
    events.into_iter().map(<[u8]>::to_vec).collect()
}

#[test]
fn headers_and_checksums() {
    for kind in KINDS {
        for event in events(kind) {
            let name = format!("{kind}: {}", type_of(&event));
            let header = EventHeader::parse(&event).expect("a header");
            let mut again = header.encode().to_vec();
            again.extend_from_slice(event::body(&event, true));
            again.extend_from_slice(&[0; 4]);
            event::set_event_size(&mut again, event.len() as u32).expect("a whole event");
            event::set_log_pos(&mut again, header.log_pos).expect("a whole event");
            event::set_flags(&mut again, header.flags).expect("a whole event");
            event::write_checksum(&mut again).expect("a whole event");
            assert!(again == event, "{name}");
            let built = event::build(header, event::body(&event, true));
            assert!(built == event, "{name}");
        }
    }
}

#[test]
fn control_events() {
    for kind in KINDS {
        let mut seen = 0;
        for event in events(kind) {
            let header = EventHeader::parse(&event).expect("a header");
            let EventHeader {
                timestamp,
                server_id,
                log_pos,
                flags,
                ..
            } = header;
            let body = event::body(&event, true);
            let again = match header.event_type {
                EventType::FORMAT_DESCRIPTION => {
                    let format = FormatDescription::parse(&event).expect("a description");
                    format.encode(timestamp, server_id, log_pos, flags)
                }
                EventType::ROTATE => {
                    let next = Rotate::parse(body).expect("a rotate event");
                    assert_eq!(next.position, 4);
                    let file = std::str::from_utf8(next.file).expect("a name");
                    rotate::closing(timestamp, server_id, log_pos, file)
                }
                EventType::PREVIOUS_GTIDS => {
                    let mut out = Vec::new();
                    GtidSet::decode(body).expect("a set").encode(&mut out);
                    event::build(header, &out)
                }
                EventType::GTID_LIST => {
                    let mut out = Vec::new();
                    let (state, _) = BinlogState::decode_gtid_list(body).expect("a list");
                    state.encode_gtid_list(&mut out);
                    event::build(header, &out)
                }
                _ => continue,
            };
            assert!(again == event, "{kind}: {}", header.event_type);
            seen += 1;
        }
        assert_eq!(seen, 3, "{kind}");
    }
}

/// With its own clock and length a GTID event is what it was, also after it had another clock.
#[test]
fn gtid_events() {
    for kind in KINDS {
        let mut openers = 0;
        for transaction in transactions(&events(kind)) {
            let opener = &transaction[0];
            if !type_of(opener).is_gtid() {
                continue;
            }
            openers += 1;
            let rest_len = transaction[1..]
                .iter()
                .map(|event| event.len() as u64)
                .sum();
            let log_pos = EventHeader::parse(opener).expect("a header").log_pos;
            let again = match type_of(opener) {
                EventType::MARIADB_GTID => mariadb_there_and_back(opener),
                _ => mysql_there_and_back(opener, rest_len, log_pos),
            };
            assert!(
                again == *opener,
                "{kind} at {log_pos}: {again:02x?}, not {opener:02x?}"
            );
        }
        assert!(openers > 20, "{kind}");
    }
}

fn mysql_there_and_back(opener: &[u8], rest_len: u64, log_pos: u32) -> Vec<u8> {
    let parsed = MySqlGtidEvent::parse(opener, true).expect("a GTID event");
    // MySQL 5.6 has none, and then it is not written either.
    let own = parsed.clock.unwrap_or(LogicalClock {
        last_committed: 0,
        sequence_number: 1,
    });
    let rewrite = |event: &[u8], clock| {
        let mut out = Vec::new();
        mysql_gtid::rewrite(event, clock, rest_len, &mut out).expect("it was read before");
        event::set_log_pos(&mut out, log_pos).expect("a whole event");
        event::write_checksum(&mut out).expect("a whole event");
        out
    };
    let far = LogicalClock {
        last_committed: 1 << 40,
        sequence_number: (1 << 40) + 1,
    };
    let there = rewrite(&rewrite(opener, own), far);
    let clock = MySqlGtidEvent::parse(&there, true)
        .expect("it is read again")
        .clock;
    assert!(clock == parsed.clock.map(|_| far), "{clock:?}");
    rewrite(&there, own)
}

fn mariadb_there_and_back(opener: &[u8]) -> Vec<u8> {
    let mut event = opener.to_vec();
    if let Some(own) = MariaDbGtidEvent::parse(opener, true)
        .expect("a GTID event")
        .commit_id
    {
        mariadb_gtid::set_commit_id(&mut event, own).expect("a whole event");
        assert!(event == opener, "with nothing to change");
        mariadb_gtid::set_commit_id(&mut event, own + 1).expect("a whole event");
        assert!(event != opener, "another commit id");
        mariadb_gtid::set_commit_id(&mut event, own).expect("a whole event");
    } else {
        mariadb_gtid::set_commit_id(&mut event, 7).expect("a whole event");
    }
    event
}

#[test]
fn ends_of_statements() {
    for kind in KINDS {
        let mut ends = 0;
        for event in events(kind) {
            if type_of(&event).is_rows() {
                let head = RowsHead::parse(event::body(&event, true)).expect("a head");
                let mut again = event.clone();
                rows::set_statement_end(&mut again).expect("a whole event");
                event::write_checksum(&mut again).expect("a whole event");
                assert_eq!(again == event, head.ends_statement(), "{kind}");
                ends += usize::from(head.ends_statement());
            }
        }
        assert!(ends > 5, "{kind}");
    }
}

/// What the assembler makes of events, with right checksums: one list for each transaction.
fn assemble(kind: &str, events: &[Vec<u8>], format: &[u8], lists: RuleLists) -> Vec<Vec<Vec<u8>>> {
    let format = FormatDescription::parse(format).expect("a format description");
    let mut assembler = assembler(format, Filter::new(lists, flavor(kind), false));
    for event in events {
        if !type_of(event).is_control() {
            let taken = assembler.event(event, 4);
            taken.unwrap_or_else(|error| panic!("{kind}: {}: {error}", type_of(event)));
        }
    }
    let batch = assembler.take_batch().expect("a batch");
    let of_one = |transaction: &binrelay::transaction::Transaction| {
        let rest = transaction.rest.clone();
        let start = transaction
            .opener
            .as_ref()
            .map_or(rest.start, |opener| opener.start);
        let mut rest = &batch.bytes[start..rest.end];
        let mut events = Vec::new();
        while let Ok(header) = EventHeader::parse(rest) {
            let (event, tail) = rest.split_at(header.event_size as usize);
            events.push(event.to_vec());
            event::write_checksum(events.last_mut().expect("just pushed")).expect("a whole event");
            rest = tail;
        }
        events
    };
    let mut transactions: Vec<Vec<Vec<u8>>> = batch.transactions.iter().map(of_one).collect();
    for transaction in &mut transactions {
        transaction[0] = with_length_of(transaction, &transaction[0]);
    }
    transactions
}

/// As the relay log does: `opener` with the length that it has before the events of `transaction`.
fn with_length_of(transaction: &[Vec<u8>], opener: &[u8]) -> Vec<u8> {
    if type_of(opener) == EventType::MARIADB_GTID {
        return opener.to_vec();
    }
    let rest_len = transaction[1..]
        .iter()
        .map(|event| event.len() as u64)
        .sum();
    let log_pos = EventHeader::parse(opener).expect("a header").log_pos;
    mysql_there_and_back(opener, rest_len, log_pos)
}

fn recorded_transactions(events: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut recorded = transactions(events);
    recorded.retain(|transaction| type_of(&transaction[0]).is_gtid());
    recorded
}

/// Without rules, and with rules that fit nothing.
#[test]
fn what_passes_is_not_changed() {
    for kind in KINDS {
        let events = events(kind);
        let never = || vec!["never".to_owned()];
        let nothing_fits = RuleLists {
            ignore_db: never(),
            ignore_table: vec!["never.never".to_owned()],
            wild_ignore_table: vec!["never%.%".to_owned()],
            rewrite_db: vec![("never".to_owned(), "ever".to_owned())],
            ..RuleLists::default()
        };
        for lists in [RuleLists::default(), nothing_fits] {
            let found = assemble(kind, &events, &events[0], lists);
            assert!(found == recorded_transactions(&events), "{kind}");
        }
    }
}

/// The event without the list of databases that its statement changes, which is not kept when
/// its database is renamed: a shorter name may stand in it.
fn without_updated_databases(event: &[u8]) -> Vec<u8> {
    let body = event::body(event, true);
    let event_type = type_of(event);
    let is_statement = [
        EventType::QUERY,
        EventType::QUERY_COMPRESSED,
        EventType::EXECUTE_LOAD_QUERY,
    ];
    if !is_statement.contains(&event_type) {
        return event.to_vec();
    }
    let query = Query::parse(event_type, body).expect("a statement");
    let variables = StatusVariables::parse(query.status_variables).expect("variables");
    let Some(range) = variables.updated_databases else {
        return event.to_vec();
    };
    let mut rest = query.status_variables.to_vec();
    rest.drain(range);
    [&event[..9], query.database, query.statement, &rest].concat()
}

#[test]
fn renamed_databases_come_back() {
    let rename = |from: &str, to: &str| RuleLists {
        rewrite_db: vec![(from.to_owned(), to.to_owned())],
        ..RuleLists::default()
    };
    for kind in KINDS {
        let events = events(kind);
        let recorded = recorded_transactions(&events);
        let longer = "a_database_with_a_longer_name";
        let there = assemble(kind, &events, &events[0], rename("test", longer));
        let back = assemble(kind, &there.concat(), &events[0], rename(longer, "test"));
        assert_eq!(back.len(), recorded.len(), "{kind}");
        let (mut renamed, mut opened) = (0, 0);
        for ((ours, there), theirs) in back.iter().zip(&there).zip(&recorded) {
            let is_payload = |event: &Vec<u8>| type_of(event) == EventType::TRANSACTION_PAYLOAD;
            if theirs.iter().any(is_payload) {
                // A compressed transaction stays open once something in it is renamed.
                assert!(
                    ours.len() > theirs.len() && !ours.iter().any(is_payload),
                    "{kind}"
                );
                opened += 1;
                continue;
            }
            renamed += usize::from(there != theirs);
            let mut ours = ours.clone();
            // It is shorter without the lists of databases.
            ours[0] = with_length_of(theirs, &ours[0]);
            let compared = |events: &[Vec<u8>]| -> Vec<Vec<u8>> {
                events
                    .iter()
                    .map(|event| without_updated_databases(event))
                    .collect()
            };
            assert!(
                compared(&ours) == compared(theirs),
                "{kind}: {ours:02x?}, not {theirs:02x?}"
            );
        }
        assert!(renamed > 15, "{kind}: {renamed}");
        assert_eq!(opened, usize::from(kind == "mysql-9.7"), "{kind}");
    }
}
