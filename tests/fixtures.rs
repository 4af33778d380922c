//! The recorded conversations, through the parsers of both of the relay's sides: what each master
//! said is read as a client reads it, what each replica and tool said as a server reads it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod assembling;
mod recorded;

use assembling::{assembler, flavor};
use binrelay::binlog::event::{self, EventHeader};
use binrelay::binlog::rotate::Rotate;
use binrelay::binlog::{EventType, FormatDescription};
use binrelay::filter::Filter;
use binrelay::flavor::Flavor;
use binrelay::gtid::GtidSet;
use binrelay::protocol::auth::{AuthError, AuthPlugin, AuthStep, ClientAuth, Secret};
use binrelay::protocol::command::{BINLOG_DUMP_NON_BLOCK, Command};
use binrelay::protocol::framing::{FrameReader, READ_BUFFER_MIN, put_packet};
use binrelay::protocol::handshake::{Greeting, HandshakeResponse};
use binrelay::protocol::response::{
    QueryResponse, QueryResponseReader, ResultLimits, is_eof, is_error,
};
use binrelay::protocol::{ProtocolError, StoredPassword};
use recorded::{Answered, Conversation, Exchange, KINDS, SEMI_SYNC};

const PASSWORD: &str = "fixture-password";

/// A login as both sides see it.
struct Login {
    greeting: Greeting,
    response: HandshakeResponse,
}

fn login(conversation: &Conversation) -> Login {
    let packets = conversation.login();
    let greeting = Greeting::decode(packets[0].payload());
    let response = HandshakeResponse::decode(packets[1].payload());
    Login {
        greeting: greeting.unwrap_or_else(|error| panic!("{}: {error}", conversation.name)),
        response: response.unwrap_or_else(|error| panic!("{}: {error}", conversation.name)),
    }
}

fn kind_of(conversation: &Conversation) -> &'static str {
    let kinds = KINDS.iter().rev();
    kinds
        .copied()
        .find(|kind| conversation.name.starts_with(&format!("{kind}/")))
        .expect("a kind")
}

#[test]
fn greetings_and_their_answers_are_read_and_written() {
    for conversation in recorded::all() {
        let Login { greeting, response } = login(&conversation);
        let name = &conversation.name;
        let kind = kind_of(&conversation);
        let version = greeting.server_version.trim_start_matches("5.5.5-");
        assert!(
            version.starts_with(&kind[kind.find('-').unwrap() + 1..]),
            "{name}"
        );
        assert_eq!(
            Flavor::of_version(&greeting.server_version),
            flavor(kind),
            "{name}"
        );
        let again = Greeting::decode(&greeting.encode()).expect("what was written is read");
        assert_eq!(again, greeting, "{name}");
        assert!(
            ["fixture", "fixture_ed25519", "nobody"].contains(&response.user.as_str()),
            "{name}: {response:?}"
        );
        assert_eq!(response.database, None, "{name}");
        assert!(!response.auth_plugin.is_empty(), "{name}");
        let again =
            HandshakeResponse::decode(&response.encode()).expect("what was written is read");
        assert!(again == response, "{name}: {again:?}");
    }
}

/// Our client, in the place of the recorded one, would have said the same; our server accepts what
/// was said, and nothing else.
#[test]
fn logins_have_the_answers_that_we_would_give() {
    let stored = StoredPassword::from_plaintext(PASSWORD);
    let (mut accepted, mut refused, mut switched) = (0, 0, 0);
    for conversation in recorded::all() {
        let Login { greeting, response } = login(&conversation);
        let name = &conversation.name;
        let right = Secret::new(PASSWORD);
        let wrong = Secret::new("wrong");
        let last = conversation.login().last().expect("packets");
        let is_refused = is_error(last.payload());
        let is_wrong = is_refused && response.user == "fixture";
        let password = if is_wrong { &wrong } else { &right };
        let mut auth = ClientAuth::new(&greeting.auth_plugin, &greeting.scramble, password, false);
        // MariaDB 11.8's clients begin with an answer to a plugin of their own choice.
        if auth.plugin().name() == response.auth_plugin {
            let ours = auth.response().expect("an answer");
            assert_eq!(*ours, *response.auth_response, "{name}");
        }
        let plugin = AuthPlugin::from_name(&response.auth_plugin).expect("a known plugin");
        let verified = stored.verify(plugin, &greeting.scramble, &response.auth_response);
        if plugin == auth.plugin() {
            assert_eq!(verified, !is_wrong, "{name}");
        }
        let mut packets = conversation.login()[2..].iter().peekable();
        let mut outcome = None;
        while let Some(packet) = packets.next() {
            assert!(!packet.from_client, "{name}");
            match auth.on_packet(packet.payload()) {
                Ok(AuthStep::Send(ours)) => {
                    let theirs = packets.next().expect("an answer");
                    assert!(theirs.from_client, "{name}");
                    let is_random = theirs.payload().len() == 256;
                    assert_eq!(ours.len(), theirs.payload().len(), "{name}");
                    assert!(is_random || *ours == theirs.payload(), "{name}");
                    switched += usize::from(!is_random && ours.len() > 1);
                }
                Ok(AuthStep::Read) => {}
                Ok(AuthStep::Done(_)) => outcome = Some(Ok(())),
                Err(AuthError::Protocol(ProtocolError::Server(error))) => {
                    outcome = Some(Err(error));
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
        match outcome.unwrap_or_else(|| panic!("{name}: no end of the login")) {
            Ok(()) => accepted += 1,
            Err(error) => {
                assert!(error.is_access_denied(), "{name}: {error}");
                assert!(is_refused, "{name}");
                refused += 1;
            }
        }
    }
    // A wrong password and an unknown user of each kind; ed25519 of each MariaDB.
    assert_eq!(refused, 2 * KINDS.len());
    assert!(switched >= 3, "{switched}");
    assert!(accepted > 40, "{accepted}");
}

/// Results of clients that want the classic form, which is the one that ours wants.
#[test]
fn answers_are_read_to_their_last_packet() {
    let mut results = 0;
    for conversation in recorded::all() {
        if !conversation.has_classic_results() {
            continue;
        }
        for exchange in conversation.exchanges() {
            if exchange.is_dump() || exchange.answer.is_empty() {
                continue;
            }
            let name = format!(
                "{}: {:?}",
                conversation.name,
                conversation.statement(&exchange)
            );
            let mut reader = QueryResponseReader::new(ResultLimits::default());
            let (last, before) = exchange.answer.split_last().expect("an answer");
            for packet in before {
                assert!(matches!(reader.push(packet.payload()), Ok(None)), "{name}");
            }
            match (reader.push(last.payload()), exchange.answered()) {
                (Ok(Some(QueryResponse::Ok(_))), Answered::Ok) => {}
                (Ok(Some(QueryResponse::Rows(result))), Answered::Rows(columns)) => {
                    assert_eq!(result.columns.len(), columns, "{name}");
                    assert!(result.columns.iter().all(|name| !name.is_empty()), "{name}");
                    assert_eq!(result.rows.len(), before.len() - columns - 2, "{name}");
                    results += 1;
                }
                (Err(ProtocolError::Server(error)), Answered::Error) => {
                    assert!(error.code >= 1000 && error.sqlstate.len() == 5, "{name}");
                }
                (found, expected) => panic!("{name}: {found:?}, expected {expected:?}"),
            }
        }
    }
    assert!(results > 60, "{results}");
}

/// The event in a packet of a dump; MySQL and MariaDB put two bytes before it for semi-sync.
fn event_of(packet: &[u8], semi_sync: bool) -> &[u8] {
    match (packet, semi_sync) {
        ([0, 0xEF, 0 | 1, event @ ..], true) | ([0, event @ ..], false) => event,
        _ => panic!("no event: {packet:02x?}"),
    }
}

/// How many transactions our client side finds in a dump, and how many there are.
fn transactions(exchange: &Exchange<'_>, semi_sync: bool) -> (usize, usize) {
    let (mut found, mut openers) = (0, 0);
    let mut assembling = None;
    for packet in &exchange.answer {
        if is_eof(packet.payload()) {
            assert_eq!(exchange.answer.last(), Some(packet), "EOF ends it");
            break;
        }
        let event = event_of(packet.payload(), semi_sync);
        let header = EventHeader::parse(event).expect("a header");
        assert_eq!(header.event_size as usize, event.len());
        assert_eq!(header.encode()[..], event[..19]);
        let is_first_rotate = header.is_artificial() && header.event_type == EventType::ROTATE;
        if !is_first_rotate {
            event::verify_checksum(event).expect("a right checksum");
        }
        match header.event_type {
            EventType::ROTATE => {
                let without = &event[19..];
                let rotate = Rotate::parse(without).expect("a rotate event");
                assert!(rotate.file.starts_with(b"mysql-bin.00000"), "{rotate:?}");
            }
            EventType::FORMAT_DESCRIPTION => {
                let format = FormatDescription::parse(event).expect("a format description");
                assembling = Some(assembler(format, Filter::default()));
            }
            control if control.is_control() => {}
            other => {
                openers += usize::from(other.is_gtid());
                let assembler = assembling.as_mut().expect("a format description before");
                assembler
                    .event(event, header.log_pos.into())
                    .expect("an event");
                let batch = assembler.take_batch();
                found += batch.map_or(0, |batch| batch.transactions.len());
            }
        }
    }
    (found, openers)
}

#[test]
fn every_dump_is_read_to_its_last_transaction() {
    let mut dumps = 0;
    for conversation in recorded::all() {
        let semi_sync = conversation.name.contains(SEMI_SYNC);
        for exchange in conversation.exchanges() {
            if !exchange.is_dump() {
                continue;
            }
            let (found, openers) = transactions(&exchange, semi_sync);
            assert!(found > 0, "{}", conversation.name);
            assert_eq!(found, openers, "{}", conversation.name);
            dumps += 1;
            assert_eq!(
                semi_sync,
                !exchange.acknowledgements.is_empty(),
                "{}",
                conversation.name
            );
        }
    }
    // Each kind: two replicas, two relays, one or two tools; semi-sync.
    assert!(dumps >= 5 * KINDS.len(), "{dumps}");
}

#[test]
fn commands_are_understood() {
    let (mut registered, mut dumps) = (0, 0);
    for conversation in recorded::all() {
        let name = &conversation.name;
        let server_id = match name {
            _ if name.contains("/relay-") => 900,
            _ if name.contains("/replica-") => 2,
            _ => 0,
        };
        for exchange in conversation.exchanges() {
            let payload = exchange.command.payload();
            match Command::parse(payload).unwrap_or_else(|error| panic!("{name}: {error}")) {
                Command::Query(text) => assert!(!text.is_empty(), "{name}"),
                Command::Quit => assert!(exchange.answer.is_empty(), "{name}"),
                Command::RegisterReplica(replica) => {
                    assert_eq!(
                        (replica.server_id, replica.source_id),
                        (server_id, 0),
                        "{name}"
                    );
                    registered += 1;
                }
                Command::BinlogDump(dump) => {
                    assert!(dump.position >= 4, "{name}");
                    assert_eq!(dump.server_id, server_id, "{name}");
                    let is_named = dump.file.starts_with(b"mysql-bin.00000");
                    // MariaDB by GTID names no file.
                    assert!(is_named || dump.file.is_empty(), "{name}: {dump:?}");
                    dumps += 1;
                }
                Command::BinlogDumpGtid(dump) => {
                    assert_eq!(dump.server_id, server_id, "{name}");
                    let waits = dump.flags & BINLOG_DUMP_NON_BLOCK == 0;
                    // At its first contact the relay reads no further than the log's end.
                    assert!(waits == (server_id != 0) || server_id == 900, "{name}");
                    let set = GtidSet::decode(dump.set).expect("a set");
                    let has_some = name.contains("/tool") || name.contains(SEMI_SYNC);
                    assert_eq!(set.is_empty(), !has_some, "{name}: {set}");
                    dumps += 1;
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(registered >= 4 * KINDS.len(), "{registered}");
    assert!(dumps >= 5 * KINDS.len(), "{dumps}");
}

/// Packets are cut out of the stream, and put into one, as they stood there.
#[test]
fn frames_are_the_recorded_ones() {
    for conversation in recorded::all() {
        let exchanges = conversation.exchanges();
        let answers = exchanges.iter().map(|exchange| &exchange.answer);
        for answer in answers.filter(|answer| !answer.is_empty()) {
            let first = answer[0].sequence();
            let stream: Vec<u8> = answer
                .iter()
                .flat_map(|packet| packet.bytes.clone())
                .collect();
            let mut reader = FrameReader::new();
            reader.set_sequence(first);
            let (mut at, mut written, mut sequence) = (0, Vec::new(), first);
            for packet in answer {
                let (used, part) = reader
                    .next(&stream[at..], READ_BUFFER_MIN)
                    .unwrap_or_else(|error| panic!("{}: {error}", conversation.name))
                    .expect("a packet");
                assert!(part.is_last(), "{}", conversation.name);
                assert_eq!(part.bytes(), packet.payload(), "{}", conversation.name);
                put_packet(&mut written, &mut sequence, part.bytes());
                at += used;
            }
            assert_eq!(at, stream.len(), "{}", conversation.name);
            assert!(written == stream, "{}", conversation.name);
        }
    }
}
