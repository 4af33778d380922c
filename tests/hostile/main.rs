//! Every recorded packet and event, truncated at every length and changed in every byte: no panic, no
//! hang, no memory beyond the input's own size and a constant.
//!
//! A program of its own, since the memory that is measured is the whole process's.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../recorded/assembling.rs"]
mod assembling;
mod damage;
#[path = "../recorded/mod.rs"]
mod recorded;

use std::collections::HashSet;

use assembling::{assembler, flavor};
use binrelay::binlog::columns::Columns;
use binrelay::binlog::event::{self, EventHeader};
use binrelay::binlog::format_description::FormatDescription;
use binrelay::binlog::mariadb_gtid::MariaDbGtidEvent;
use binrelay::binlog::mysql_gtid::MySqlGtidEvent;
use binrelay::binlog::payload::PayloadEvents;
use binrelay::binlog::query::Query;
use binrelay::binlog::rotate::Rotate;
use binrelay::binlog::row_images::{Cell, RawValue, RowImages};
use binrelay::binlog::row_value::Value;
use binrelay::binlog::rows::{RowsHead, TableMap};
use binrelay::binlog::statement_context::{self, Intvar, UserVar};
use binrelay::binlog::status_variables::{StatusVariables, UpdatedDatabases};
use binrelay::binlog::xa_prepare::XaPrepare;
use binrelay::binlog::{EventType, compressed, json_diff, load_data};
use binrelay::filter::{Filter, RuleLists};
use binrelay::gtid::{BinlogState, GtidSet, ReceivedGtidSet};
use binrelay::protocol::auth::{ClientAuth, Protection, Secret, ServerKey};
use binrelay::protocol::command::Command;
use binrelay::protocol::framing::{FrameReader, READ_BUFFER_MIN};
use binrelay::protocol::handshake::{Greeting, HandshakeResponse, SslRequest};
use binrelay::protocol::response::{QueryResponseReader, ResultLimits};
use binrelay::protocol::semi_sync::{Acknowledgement, split_event};
use binrelay::transaction::Assembler;
use damage::Trial;
use recorded::KINDS;

/// What a parser of packets may keep: names, a list of columns.
const PACKET_ALLOWANCE: usize = 4 << 10;
/// What a parser of events may keep: one's own copy of what it expands, a table of columns. The
/// memory of zstd is not counted: that library allocates its own, at most a window of 128 MiB.
const EVENT_ALLOWANCE: usize = 128 << 10;
/// What compressed columns, and events, may expand to here.
const EXPANDED_MAX: usize = 1 << 16;
/// Longer rows events are those of the table that has a column of every type.
const WIDE_LEN: usize = 512;

/// What clients send: logins and commands.
#[test]
fn damaged_packets_of_clients_cause_no_panic() {
    let mut trial = Trial::new("packets of clients", PACKET_ALLOWANCE);
    let mut seen = HashSet::new();
    for conversation in recorded::all() {
        for packet in conversation
            .packets
            .iter()
            .filter(|packet| packet.from_client)
        {
            let payload = packet.payload();
            if !seen.insert(payload.to_vec()) {
                continue;
            }
            trial.damage(&conversation.name, payload, &mut |bytes| {
                let _ = SslRequest::decode(bytes);
                let _ = HandshakeResponse::decode(bytes);
                let _ = Acknowledgement::decode(bytes);
                let _ = split_event(bytes);
                if let Ok(Command::BinlogDumpGtid(dump)) = Command::parse(bytes) {
                    let _ = GtidSet::decode(dump.set);
                    let _ = ReceivedGtidSet::decode(dump.set);
                }
            });
        }
    }
    trial.finish(120);
}

/// The largest sets that replicas can send, of one source with many gaps and of many sources: both take
/// less than twice the memory of their encodings, also while they are read, and while what the log has is removed.
#[test]
fn largest_gtid_sets_take_less_than_twice_their_size() {
    const LEN: usize = 15_600_000;
    let _turn = damage::turn();
    let mut gaps = 1u64.to_le_bytes().to_vec();
    gaps.extend_from_slice(&[7; 16]);
    let count = (LEN - 32) as u64 / 16;
    gaps.extend_from_slice(&count.to_le_bytes());
    for gno in (1..=count).map(|number| 2 * number) {
        gaps.extend_from_slice(&gno.to_le_bytes());
        gaps.extend_from_slice(&(gno + 1).to_le_bytes());
    }
    let sources_count = (LEN - 8) as u128 / 40;
    let mut sources = (sources_count as u64).to_le_bytes().to_vec();
    for number in 0..sources_count {
        sources.extend_from_slice(&number.to_be_bytes());
        for field in [1u64, 1, 6] {
            sources.extend_from_slice(&field.to_le_bytes());
        }
    }
    let logged =
        "07070707-0707-0707-0707-070707070707:5-1001, 00000000-0000-0000-0000-000000000009:1-9";
    let logged: GtidSet = logged.parse().expect("a set");
    for (what, bytes) in [("gaps", gaps), ("sources", sources)] {
        let (kept, peak) = damage::memory_of(|| {
            let mut set = ReceivedGtidSet::decode(&bytes).expect("a set");
            set.remove(&logged);
            assert!(!set.is_empty() && set.missing_of(&logged) == logged);
            set
        });
        println!("{what}: {} bytes, kept {kept}, peak {peak}", bytes.len());
        assert!(kept < 2 * bytes.len(), "{what}: {kept}");
        assert!(peak < 2 * bytes.len(), "{what}: {peak}");
    }
}

/// Every packet in its frame, damaged also there.
#[test]
fn damaged_frames_cause_no_panic() {
    let mut trial = Trial::new("frames", PACKET_ALLOWANCE);
    let mut seen = HashSet::new();
    for conversation in recorded::all() {
        for packet in &conversation.packets {
            if !seen.insert(packet.bytes.clone()) {
                continue;
            }
            trial.damage(&conversation.name, &packet.bytes, &mut |bytes| {
                let mut reader = FrameReader::new();
                reader.set_sequence(packet.sequence());
                let mut rest = bytes;
                while let Ok(Some((used, _))) = reader.next(rest, READ_BUFFER_MIN) {
                    rest = &rest[used..];
                }
            });
        }
    }
    trial.finish(600);
}

/// What servers send until a client is logged in.
#[test]
fn damaged_logins_cause_no_panic() {
    let mut trial = Trial::new("logins", PACKET_ALLOWANCE);
    let password = Secret::new("fixture-password");
    let mut seen = HashSet::new();
    for conversation in recorded::all() {
        let packets = conversation.login();
        let greeting = packets[0].payload();
        trial.damage(&conversation.name, greeting, &mut |bytes| {
            let _ = Greeting::decode(bytes);
        });
        let greeting = Greeting::decode(greeting).expect("a greeting");
        let from_server: Vec<&[u8]> = packets[2..]
            .iter()
            .filter(|packet| !packet.from_client)
            .map(|packet| packet.payload())
            .collect();
        for (index, payload) in from_server.iter().enumerate() {
            // The scramble in a greeting or a switch is another each time.
            if payload[0] != 0xFE && !seen.insert((greeting.auth_plugin.clone(), payload.to_vec()))
            {
                continue;
            }
            trial.damage(&conversation.name, payload, &mut |bytes| {
                let (plugin, scramble) = (&greeting.auth_plugin, &greeting.scramble);
                let mut auth = ClientAuth::new(
                    plugin,
                    scramble,
                    &password,
                    Protection::Plain(ServerKey::Requested),
                );
                for before in &from_server[..index] {
                    let _ = auth.on_packet(before);
                }
                let _ = auth.on_packet(bytes);
            });
        }
    }
    trial.finish(80);
}

/// The answers to statements, each packet of them damaged in its turn.
#[test]
fn damaged_answers_cause_no_panic() {
    let mut trial = Trial::new("answers", PACKET_ALLOWANCE);
    let mut seen = HashSet::new();
    for conversation in recorded::all() {
        if !conversation.has_classic_results() {
            continue;
        }
        for exchange in conversation.exchanges() {
            if exchange.is_dump() {
                continue;
            }
            let packets: Vec<&[u8]> = exchange.answer.iter().map(|p| p.payload()).collect();
            if !seen.insert(packets.concat()) {
                continue;
            }
            for (index, payload) in packets.iter().enumerate() {
                trial.damage(&conversation.name, payload, &mut |bytes| {
                    let mut reader = QueryResponseReader::new(ResultLimits::default());
                    let behind = &packets[index + 1..];
                    let (before, damaged) = (&packets[..index], [bytes]);
                    for packet in before.iter().chain(&damaged).chain(behind) {
                        if !matches!(reader.push(packet), Ok(None)) {
                            break;
                        }
                    }
                });
            }
        }
    }
    trial.finish(100);
}

/// The events of a kind: those of its binlog, and those that it sent.
fn events(kind: &str) -> Vec<Vec<u8>> {
    let file = recorded::binlog(kind);
    let mut events: Vec<Vec<u8>> = recorded::events(&file)
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    for conversation in recorded::conversations(kind, "replica-file") {
        for exchange in conversation.exchanges().iter().filter(|e| e.is_dump()) {
            let packets = exchange.answer.iter().map(|packet| packet.payload());
            events.extend(packets.map(|packet| packet[1..].to_vec()));
        }
    }
    events
}

/// A damaged event as a source could send it: with a right size and checksum.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut event = bytes.to_vec();
    let size = event.len() as u32;
    // An event too short for these fields is sent without them.
    let _ = event::set_event_size(&mut event, size);
    let _ = event::write_checksum(&mut event);
    event
}

/// Everything that reads an event alone.
fn parse(event_type: EventType, event: &[u8]) {
    let body = event::body(event, true);
    match event_type {
        EventType::FORMAT_DESCRIPTION => {
            let _ = FormatDescription::parse(event);
        }
        EventType::MARIADB_GTID => {
            let _ = MariaDbGtidEvent::parse(event, true);
        }
        gtid if gtid.is_gtid() => {
            let _ = MySqlGtidEvent::parse(event, true);
        }
        EventType::PREVIOUS_GTIDS => {
            let _ = GtidSet::decode(body);
        }
        EventType::GTID_LIST => {
            let _ = BinlogState::decode_gtid_list(body);
        }
        EventType::ROTATE => {
            let _ = Rotate::parse(body);
        }
        EventType::TABLE_MAP => {
            let _ = (TableMap::parse(body), Columns::parse(body));
        }
        EventType::INTVAR => {
            let _ = Intvar::parse(body);
        }
        EventType::RAND => {
            let _ = statement_context::parse_rand(body);
        }
        EventType::USER_VAR => {
            let _ = UserVar::parse(body);
        }
        EventType::XA_PREPARE => {
            let _ = XaPrepare::parse(body);
        }
        EventType::BEGIN_LOAD_QUERY | EventType::APPEND_BLOCK => {
            let _ = load_data::file_id(event_type, body);
        }
        EventType::QUERY | EventType::QUERY_COMPRESSED | EventType::EXECUTE_LOAD_QUERY => {
            parse_statement(event_type, body);
        }
        EventType::TRANSACTION_PAYLOAD => {
            if let Ok(Some(mut events)) = PayloadEvents::new(body, EXPANDED_MAX) {
                while let Ok(Some(_)) = events.next_event() {}
            }
        }
        rows if rows.is_rows() => {
            let _ = RowsHead::parse(body);
        }
        _ => {}
    }
}

fn parse_statement(event_type: EventType, body: &[u8]) {
    let Ok(query) = Query::parse(event_type, body) else {
        return;
    };
    let _ = (
        query.opens_transaction(),
        query.ended_xid(),
        query.ddl_xid(),
    );
    let _ = StatusVariables::parse(query.status_variables);
    let _ = UpdatedDatabases::parse(query.status_variables).map(|names| names.names().count());
    if event_type == EventType::QUERY_COMPRESSED {
        let _ = compressed::decompress("Query event", query.statement, 0, EXPANDED_MAX);
    }
    if event_type == EventType::EXECUTE_LOAD_QUERY {
        let _ = load_data::file_id(event_type, body);
        let _ = load_data::file_name_end(body);
    }
}

#[test]
fn damaged_events_cause_no_panic() {
    let mut trial = Trial::new("events alone", EVENT_ALLOWANCE);
    for kind in KINDS {
        for event in events(kind) {
            let event_type = EventType(event[4]);
            trial.damage(&format!("{kind}: {event_type}"), &event, &mut |bytes| {
                let _ = EventHeader::parse(bytes);
                let _ = event::verify_checksum(bytes);
                parse(event_type, bytes);
            });
        }
    }
    trial.finish(500);
}

/// Decodes all values of a rows event.
fn read_rows(event_type: EventType, event: &[u8], columns: &Columns) {
    let body = event::body(event, true);
    let Ok(Some(images)) = RowImages::parse(event_type, body, columns, EXPANDED_MAX) else {
        return;
    };
    let _ = images.count();
    for row in images.rows() {
        let Ok(row) = row else { break };
        row.image
            .iter()
            .chain(row.after.iter().flatten())
            .for_each(read_value);
    }
}

fn read_value(cell: &Cell<'_>) {
    match cell.value {
        RawValue::Null => {}
        RawValue::JsonDiff(bytes) => drop(json_diff::decode(bytes)),
        RawValue::Bytes(bytes) => drop(Value::decode(cell.column, bytes)),
    }
}

/// Rows with their table map, one or the other damaged.
#[test]
fn damaged_rows_and_table_maps_cause_no_panic() {
    let mut trial = Trial::new("rows and their tables", EVENT_ALLOWANCE).coarse();
    let mut seen = HashSet::new();
    for kind in KINDS {
        let events = events(kind);
        let mut maps: Vec<&[u8]> = Vec::new();
        for event in &events {
            let event_type = EventType(event[4]);
            if event_type == EventType::TABLE_MAP {
                maps.push(event);
            }
            // Wide rows are those of the newest kinds with some columns less.
            let is_newest = ["mysql-9.7", "mariadb-11.8"].contains(&kind);
            if !event_type.is_rows() || (event.len() > WIDE_LEN && !is_newest) {
                continue;
            }
            let id = RowsHead::parse(event::body(event, true))
                .expect("a head")
                .table_id;
            let of_table = |map: &&&[u8]| {
                TableMap::parse(event::body(map, true)).is_ok_and(|map| map.table_id == id)
            };
            let map = maps.iter().rev().find(of_table).expect("its table map");
            let columns = Columns::parse(event::body(map, true)).expect("columns");
            trial.damage(&format!("{kind}: {event_type}"), event, &mut |bytes| {
                read_rows(event_type, bytes, &columns);
            });
            // The description of the columns follows the table's id.
            if !seen.insert((event_type, map[27..map.len() - 4].to_vec())) {
                continue;
            }
            trial.damage(
                &format!("{kind}: {event_type}'s table"),
                map,
                &mut |bytes| {
                    if let Ok(columns) = Columns::parse(event::body(bytes, true)) {
                        read_rows(event_type, event, &columns);
                    }
                },
            );
        }
    }
    trial.finish(120);
}

fn rewriting_assembler(kind: &str, format: &FormatDescription) -> Assembler {
    let lists = RuleLists {
        wild_do_table: vec!["other.%".to_owned()],
        rewrite_db: vec![("test".to_owned(), "other".to_owned())],
        ..RuleLists::default()
    };
    assembler(format.clone(), Filter::new(lists, flavor(kind), false))
}

/// Whole events, and nothing else.
fn check_events(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let header = EventHeader::parse(bytes).expect("an event begins here");
        bytes = &bytes[header.event_size as usize..];
    }
}

/// Transactions with one damaged event, through the filter; the damage has a right checksum.
#[test]
fn damaged_events_of_transactions_cause_no_panic() {
    let mut trial = Trial::new("events in their transactions", EVENT_ALLOWANCE).coarse();
    for kind in KINDS {
        let events = events(kind);
        let format = FormatDescription::parse(&events[0]).expect("a format description");
        let mut before: Vec<&[u8]> = Vec::new();
        for event in &events {
            let event_type = EventType(event[4]);
            if event_type.is_control() {
                continue;
            }
            if event_type.is_gtid() {
                before.clear();
            }
            trial.damage(&format!("{kind}: {event_type}"), event, &mut |bytes| {
                let mut assembler = rewriting_assembler(kind, &format);
                for event in &before {
                    assembler.event(event, 1).expect("a recorded event");
                }
                if assembler.event(&sealed(bytes), 1).is_err() {
                    assembler.abandon();
                }
                if let Some(batch) = assembler.take_batch() {
                    check_events(&batch.bytes);
                }
            });
            before.push(event);
        }
    }
    trial.finish(400);
}
