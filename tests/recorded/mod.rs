//! The recordings in `proto-fixtures`: conversations, packet by packet, and binlogs.
//!
//! Read with the standard library only: the parsers that the recordings test have no part in it.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; each test crate uses its own part"
)]

use std::path::{Path, PathBuf};

/// The kinds of servers, as `tools/server` names them.
pub const KINDS: [&str; 5] = [
    "mysql-5.6",
    "mysql-9.7",
    "mariadb-10.5",
    "mariadb-10.11",
    "mariadb-11.8",
];

/// Recorded of every kind; those that know semi-sync replication have one more.
pub const NAMES: [&str; 6] = [
    "logins",
    "relay-file",
    "relay-gtid",
    "replica-file",
    "replica-gtid",
    "tool",
];
pub const SEMI_SYNC: &str = "replica-semi-sync";

/// Servers that are in no package registry, and replicas of theirs with other kinds: by kind of the
/// source and name.
pub const OLD: [(&str, &str); 9] = [
    ("mysql-5.5", "replica-file"),
    ("mysql-5.5", "replica-mysql-5.6"),
    ("mysql-5.5", "replica-mysql-5.7"),
    ("mysql-5.5", "replica-semi-sync"),
    ("mysql-5.6", "replica-mysql-5.5"),
    ("mysql-5.6", "replica-mysql-5.7"),
    ("mysql-5.7", "replica-file"),
    ("mysql-5.7", "replica-gtid"),
    ("mysql-5.7", "replica-semi-sync"),
];

const CLIENT_LONG_PASSWORD: u32 = 1;
/// Of the four bytes before the user's name.
const MARIADB_CLIENT_CACHE_METADATA: u32 = 1 << 4;
const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;
const CLIENT_QUERY_ATTRIBUTES: u32 = 1 << 27;
const COM_QUERY: u8 = 3;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_BINLOG_DUMP_GTID: u8 = 0x1E;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub from_client: bool,
    /// With its header of 4 bytes.
    pub bytes: Vec<u8>,
}

impl Packet {
    pub fn sequence(&self) -> u8 {
        self.bytes[3]
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[4..]
    }
}

/// One connection: the login, then commands with their answers.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// `KIND/NAME, connection N`.
    pub name: String,
    pub packets: Vec<Packet>,
}

/// A command and all that came back.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub command: &'a Packet,
    pub answer: Vec<&'a Packet>,
    /// Acknowledgements of semi-sync replication, while a dump streams.
    pub acknowledgements: Vec<&'a Packet>,
}

/// How a statement was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Ok,
    Error,
    /// So many columns.
    Rows(usize),
}

impl Conversation {
    /// The packets up to the end of the login, the server's OK or ERR included.
    pub fn login(&self) -> &[Packet] {
        let commands = self
            .packets
            .iter()
            .position(|packet| packet.from_client && packet.sequence() == 0);
        &self.packets[..commands.unwrap_or(self.packets.len())]
    }

    /// Everything after the login.
    pub fn exchanges(&self) -> Vec<Exchange<'_>> {
        let mut exchanges: Vec<Exchange<'_>> = Vec::new();
        for packet in &self.packets[self.login().len()..] {
            match exchanges.last_mut() {
                Some(last) if !packet.from_client => last.answer.push(packet),
                Some(last) if last.is_dump() && packet.payload()[0] == 0xEF => {
                    last.acknowledgements.push(packet);
                }
                _ => exchanges.push(Exchange {
                    command: packet,
                    answer: Vec::new(),
                    acknowledgements: Vec::new(),
                }),
            }
        }
        exchanges
    }

    /// The capabilities that client and server have in common.
    pub fn capabilities(&self) -> u32 {
        let client = self.packets[1].payload();
        let greeting = self.packets[0].payload();
        let version_end = greeting
            .iter()
            .position(|byte| *byte == 0)
            .expect("a version");
        // After the connection's id, 8 bytes of scramble and a NUL.
        let at = version_end + 14;
        let server = [
            greeting[at],
            greeting[at + 1],
            greeting[at + 5],
            greeting[at + 6],
        ];
        u32::from_le_bytes([client[0], client[1], client[2], client[3]])
            & u32::from_le_bytes(server)
    }

    /// Whether results have the classic form: EOF after columns and rows (CLIENT_DEPRECATE_EOF
    /// would leave it out), a column count and nothing else first (MariaDB's clients, which do not
    /// set CLIENT_LONG_PASSWORD, may ask for a byte more).
    pub fn has_classic_results(&self) -> bool {
        let client = self.packets[1].payload();
        let of_mariadb = u32::from_le_bytes([client[28], client[29], client[30], client[31]]);
        let has_more = self.capabilities() & CLIENT_LONG_PASSWORD == 0
            && of_mariadb & MARIADB_CLIENT_CACHE_METADATA != 0;
        self.capabilities() & CLIENT_DEPRECATE_EOF == 0 && !has_more
    }

    /// The statement in a COM_QUERY, without the attributes that MySQL 8.0+ may put before it.
    pub fn statement<'a>(&self, exchange: &Exchange<'a>) -> Option<&'a str> {
        let (command, text) = exchange.command.payload().split_first()?;
        if *command != COM_QUERY {
            return None;
        }
        let text = match self.capabilities() & CLIENT_QUERY_ATTRIBUTES {
            0 => text,
            // No parameters, one set of them.
            _ => text.strip_prefix(&[0, 1]).expect("no attributes"),
        };
        Some(std::str::from_utf8(text).expect("a statement in UTF-8"))
    }
}

impl Exchange<'_> {
    pub fn is_dump(&self) -> bool {
        matches!(
            self.command.payload()[0],
            COM_BINLOG_DUMP | COM_BINLOG_DUMP_GTID
        )
    }

    pub fn answered(&self) -> Answered {
        let first = self.answer.first().expect("an answer").payload();
        match first[0] {
            0 => Answered::Ok,
            0xFF => Answered::Error,
            columns => Answered::Rows(columns.into()),
        }
    }
}

fn directory(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("proto-fixtures")
        .join(kind)
}

/// The binlog of a kind.
pub fn binlog(kind: &str) -> Vec<u8> {
    file(kind, "basic.binlog")
}

/// A file of a kind.
pub fn file(kind: &str, name: &str) -> Vec<u8> {
    std::fs::read(directory(kind).join(name))
        .unwrap_or_else(|error| panic!("{kind}/{name}: {error}"))
}

/// The two binlog files of the source of a recording in [`OLD`]; not all have them.
pub fn binlogs(kind: &str, name: &str) -> [Vec<u8>; 2] {
    ["000001", "000002"].map(|number| file(kind, &format!("{name}.{number}")))
}

/// The whole events of a binlog file.
pub fn events(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = file.strip_prefix(b"\xfebin").expect("a binlog");
    let mut events = Vec::new();
    while let Some(size) = rest.get(9..13) {
        let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]);
        let (event, tail) = rest.split_at(size as usize);
        events.push(event);
        rest = tail;
    }
    assert!(rest.is_empty(), "{} bytes after the last event", rest.len());
    events
}

/// The names of a kind's recordings.
pub fn names(kind: &str) -> Vec<&'static str> {
    let mut names = NAMES.to_vec();
    names.extend((kind != "mysql-5.6").then_some(SEMI_SYNC));
    names
}

/// The connections of one recording.
pub fn conversations(kind: &str, name: &str) -> Vec<Conversation> {
    let path = directory(kind).join(format!("{name}.packets"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut conversations: Vec<Conversation> = Vec::new();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("#", _)) => {}
            Some(("connection", number)) => conversations.push(Conversation {
                name: format!("{kind}/{name}, connection {number}"),
                packets: Vec::new(),
            }),
            Some((direction @ (">" | "<"), hex)) => {
                let bytes = from_hex(hex);
                let length = usize::from(bytes[0]) | usize::from(bytes[1]) << 8;
                assert_eq!(bytes.len(), 4 + length, "{}: {line}", path.display());
                let open = conversations.last_mut().expect("a connection");
                open.packets.push(Packet {
                    from_client: direction == ">",
                    bytes,
                });
            }
            _ => panic!("{}: {line}", path.display()),
        }
    }
    conversations
}

/// Every connection of every kind.
pub fn all() -> Vec<Conversation> {
    let mut all = Vec::new();
    for kind in KINDS {
        for name in names(kind) {
            all.extend(conversations(kind, name));
        }
    }
    all
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("hexadecimal digits") as u8;
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
