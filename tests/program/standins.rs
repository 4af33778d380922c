//! The stand-ins against the recordings that they stand for: the source says what the recorded
//! servers said, byte for byte, and the replica asks what the recorded replicas asked.

use crate::recorded;
use crate::recorded::Conversation;
use crate::standin::answers::{self, UserVariables};
use crate::standin::binlog::Binlog;
use crate::standin::dump::{Dump, Step};
use crate::standin::event::{Group, HEARTBEAT, groups};
use crate::standin::io_thread::IoThread;
use crate::standin::recordings::recorded_binlog;
use crate::standin::replica::{ReplicaStandin, Stop};
use crate::standin::rewrite::rewrite;
use crate::standin::source::{SourceStandin, greeting};
use crate::standin::version::Version;
use binrelay::gtid::Uuid;

const COM_REGISTER_SLAVE: u8 = 0x15;

/// The recordings that have binlogs: kind, name, version of source and replica, GTIDs.
const PAIRS: [(&str, &str, Version, bool); 3] = [
    ("mysql-5.5", "replica-file", Version::V55, false),
    ("mysql-5.7", "replica-file", Version::V57, false),
    ("mysql-5.7", "replica-gtid", Version::V57, true),
];

fn conversation(kind: &str, name: &str) -> Conversation {
    let mut conversations = recorded::conversations(kind, name);
    assert_eq!(conversations.len(), 1, "{kind}/{name}");
    conversations.remove(0)
}

/// As the recorded server's, whose uuid is in the recording.
fn with_recorded_uuid(mut binlog: Binlog, conversation: &Conversation) -> Binlog {
    for exchange in conversation.exchanges() {
        if conversation.statement(&exchange) == Some("SELECT @@GLOBAL.SERVER_UUID")
            && let Some(row) = exchange.answer.get(2)
        {
            let text = std::str::from_utf8(&row.payload()[1..]).expect("a uuid");
            let uuid: Uuid = text.parse().expect("a uuid");
            binlog.uuid = Some(uuid);
        }
    }
    binlog
}

#[test]
fn greetings_are_the_recorded_ones_but_for_their_random_parts() {
    for (kind, name, version, _) in PAIRS {
        let recorded = conversation(kind, name);
        let mut ours = greeting(version);
        let theirs = recorded.packets[0].payload();
        let id = version.name().len() + 2;
        // The connection's number, and the two halves of the scramble.
        for random in [id..id + 4, id + 4..id + 12, id + 31..id + 43] {
            ours[random.clone()].copy_from_slice(&theirs[random]);
        }
        assert!(ours == theirs, "{kind}/{name}");
    }
}

#[test]
fn statements_are_answered_with_the_recorded_bytes() {
    let mut answered = 0;
    for (kind, name) in recorded::OLD {
        let version = match kind {
            "mysql-5.5" => Version::V55,
            "mysql-5.7" => Version::V57,
            _ => continue,
        };
        let conversation = conversation(kind, name);
        let gtids = name == "replica-gtid" || (kind, name) == ("mysql-5.7", "replica-semi-sync");
        let binlog = with_recorded_uuid(Binlog::new(version, 1, gtids), &conversation);
        let short_end = conversation.capabilities() & 1 << 24 != 0;
        let mut user = UserVariables::new();
        for exchange in conversation.exchanges() {
            let Some(sql) = conversation.statement(&exchange) else {
                continue;
            };
            if sql.contains("semi_sync") {
                continue; // The plugins are not part of the stand-ins.
            }
            let ours = answers::answer(sql, &mut user, &binlog).payloads(short_end);
            let theirs: Vec<&[u8]> = exchange
                .answer
                .iter()
                .map(|packet| packet.payload())
                .collect();
            assert_eq!(ours.len(), theirs.len(), "{}: {sql}", conversation.name);
            for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                // The clock's value is another one, of the same length.
                let is_clock = sql.contains("UNIX_TIMESTAMP") && theirs.starts_with(b"\x0a17");
                assert!(
                    is_clock && ours.len() == theirs.len() || ours == theirs,
                    "{}: {sql}: packet {number}: {}, not {}",
                    conversation.name,
                    ours.escape_ascii(),
                    theirs.escape_ascii()
                );
            }
            answered += 1;
        }
    }
    assert!(answered > 40, "{answered}");
}

/// The events that a recorded dump sent until the server's own end.
fn recorded_dump(conversation: &Conversation) -> (Vec<u8>, Vec<Vec<u8>>) {
    let exchanges = conversation.exchanges();
    let dump = exchanges.last().expect("a dump");
    assert!(dump.is_dump(), "{}", conversation.name);
    let packets = dump.answer.iter().map(|packet| packet.payload());
    let events = packets.filter(|payload| payload[0] == 0);
    (
        dump.command.payload().to_vec(),
        events.map(|payload| payload[1..].to_vec()).collect(),
    )
}

#[test]
fn dumps_are_the_recorded_ones_byte_for_byte() {
    for (kind, name, version, gtids) in PAIRS {
        let conversation = conversation(kind, name);
        let (command, expected) = recorded_dump(&conversation);
        let binlog = recorded_binlog(kind, name, version, gtids);
        let binlog = with_recorded_uuid(binlog, &conversation);
        let mut user = UserVariables::new();
        if version == Version::V57 {
            user.insert("master_binlog_checksum".to_owned(), "CRC32".to_owned());
        }
        let begun = Dump::begin(command[0] == 0x1E, &command[1..], &user, &binlog);
        let mut dump = begun.expect("it is not refused");
        let mut sent = Vec::new();
        while let Step::Send(event) = dump.step(&binlog) {
            sent.push(event);
        }
        let expected: Vec<_> = expected
            .into_iter()
            .filter(|event| event[4] != HEARTBEAT)
            .collect();
        assert_eq!(sent.len(), expected.len(), "{kind}/{name}");
        for (ours, theirs) in sent.iter().zip(&expected) {
            assert_eq!(
                ours.escape_ascii().to_string(),
                theirs.escape_ascii().to_string()
            );
        }
    }
}

/// The replay model accepts what real replicas accepted, and counts as they did: the heartbeat at the
/// end of one recording says where the replica was.
#[test]
fn the_replay_model_accepts_recorded_dumps() {
    for (kind, name, source, replica) in [
        ("mysql-5.5", "replica-file", Version::V55, Version::V55),
        ("mysql-5.5", "replica-mysql-5.7", Version::V55, Version::V57),
        ("mysql-5.7", "replica-file", Version::V57, Version::V57),
        ("mysql-5.7", "replica-gtid", Version::V57, Version::V57),
    ] {
        let conversation = conversation(kind, name);
        let (_, events) = recorded_dump(&conversation);
        let mut io = match name {
            "replica-gtid" => IoThread::by_gtid(replica, 2),
            _ => IoThread::new(replica, 2, ("m-bin.000001".to_owned(), 4)),
        };
        io.accepts_created = true;
        io.connect(source == Version::V57);
        for event in &events {
            io.receive(event)
                .unwrap_or_else(|why| panic!("{kind}/{name}: {why}"));
        }
        assert!(io.is_between_transactions());
        assert_eq!(io.position, io.applied, "{kind}/{name}");
        if name != "replica-mysql-5.7" {
            let binlog = recorded_binlog(kind, name, source, name == "replica-gtid");
            let all = binlog
                .events()
                .into_iter()
                .filter(|event| !event.is_control());
            assert!(all.eq(io.events.iter().cloned()), "{kind}/{name}");
            assert_eq!(io.position.1, binlog.newest().len(), "{kind}/{name}");
        } else {
            assert_eq!(io.heartbeats, 1);
        }
    }
}

/// The commands of a recorded replica, without what differs from run to run.
fn comparable_command(payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    if payload[0] == COM_REGISTER_SLAVE {
        // The replica's own port.
        payload[8..10].fill(0);
    }
    if payload.starts_with(b"\x03SET @slave_uuid= '") {
        payload[19..55].fill(b'0');
    }
    payload
}

#[test]
fn replicas_ask_as_recorded() {
    for (kind, name, version, gtids) in PAIRS {
        let conversation = conversation(kind, name);
        let binlog = recorded_binlog(kind, name, version, gtids);
        let count = binlog
            .events()
            .iter()
            .filter(|event| !event.is_control())
            .count();
        let source = SourceStandin::start(binlog, "repl");
        let address = ("127.0.0.1", source.port);
        let mut replica = match gtids {
            true => ReplicaStandin::by_gtid(2, address, "repl"),
            false => ReplicaStandin::new(version, 2, address, "repl"),
        };
        if version == Version::V55 {
            replica.heartbeat_ns = 1_799_999_979_520;
        }
        if !gtids {
            replica.change_position(("m-bin.000001".to_owned(), 4));
        }
        replica.io.accepts_created = true;
        replica.follow_to(count);
        let ours: Vec<_> = source
            .state()
            .commands
            .iter()
            .map(|bytes| comparable_command(bytes))
            .collect();
        let exchanges = conversation.exchanges();
        let theirs = exchanges
            .iter()
            .map(|exchange| comparable_command(exchange.command.payload()));
        let theirs: Vec<_> = theirs.collect();
        let text = |commands: &[Vec<u8>]| -> Vec<String> {
            commands
                .iter()
                .map(|bytes| bytes.escape_ascii().to_string())
                .collect()
        };
        assert_eq!(text(&ours), text(&theirs), "{kind}/{name}");
    }
}

/// Both stand-ins without a relay between: what follows holds for a relay only because it holds here.
#[test]
fn a_replica_that_reconnects_at_every_event_gets_all() {
    for (kind, name, version, gtids) in PAIRS {
        let binlog = recorded_binlog(kind, name, version, gtids);
        let all = binlog
            .events()
            .into_iter()
            .filter(|event| !event.is_control());
        let all: Vec<_> = all.collect();
        let source = SourceStandin::start(binlog, "repl");
        let address = ("127.0.0.1", source.port);
        let mut replica = match gtids {
            true => ReplicaStandin::by_gtid(2, address, "repl"),
            false => ReplicaStandin::new(version, 2, address, "repl"),
        };
        if !gtids {
            replica.change_position(("m-bin.000001".to_owned(), 4));
        }
        replica.io.accepts_created = true;
        let mut connections = 0;
        let mut most = 0;
        while replica.io.events.len() < all.len() || !replica.io.is_between_transactions() {
            let stop = replica.follow(|io| match gtids {
                // By GTID a part of a transaction is lost with the connection.
                true => {
                    let is_new = io.events.len() > most;
                    most = most.max(io.events.len());
                    is_new
                }
                false => !io.is_just_connected(),
            });
            assert_eq!(stop, Stop::Asked);
            connections += 1;
        }
        assert!(replica.io.events == all, "{kind}/{name}");
        assert!(connections >= all.len(), "{connections}");
    }
}

/// Type, length, and database and text of a statement.
type EventForm = (u8, usize, Option<(String, String)>);

/// The same statements, run once by 5.5.59 and once by 5.6.24 whose binlog is rewritten: the same kinds of
/// events and the same texts. (5.6's columns with times are of types that 5.5 does not have.)
#[test]
fn a_rewritten_binlog_has_the_form_of_the_old_server() {
    let [ours, _] = recorded::binlogs("mysql-5.6", "replica-mysql-5.5");
    let ours = rewrite(&ours, Version::V55);
    let theirs = recorded_binlog("mysql-5.5", "replica-file", Version::V55, false);
    let theirs = groups(&theirs.files[0].events(Version::V55));
    let form = |group: &Group| -> Vec<EventForm> {
        let events = group.iter();
        events
            .map(|event| (event.kind, event.len(false), event.statement()))
            .collect()
    };
    let is_of_table_a = |group: &&Group| {
        group
            .iter()
            .any(|event| event.table().is_some_and(|(_, table)| table == "a"))
    };
    let expected: Vec<_> = theirs
        .iter()
        .filter(|group| !is_of_table_a(group))
        .map(form)
        .collect();
    let found: Vec<_> = ours.iter().map(form).collect();
    assert!(found.len() > 20, "{}", found.len());
    assert_eq!(found, expected);
}
