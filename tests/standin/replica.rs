//! A replica that sends the queries recorded from 5.5.59 and 5.7.23, and passes what it receives to the
//! replay model.

use std::net::TcpStream;
use std::time::Duration;

use mysql_common::scramble::scramble_native;

use super::event::number;
use super::io_thread::{IoThread, Position};
use super::version::Version;
use super::wire::{ErrorPacket, Wire, put_text, take_text};

const CLIENT_DEPRECATE_EOF: u32 = 1 << 24;
const CLIENT_CONNECT_ATTRS: u32 = 1 << 20;
const TOO_MANY_CONNECTIONS: u16 = 1040;
/// A dump that sends nothing for this long is at its end.
const SILENCE: Duration = Duration::from_secs(20);

/// Why a dump ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It was asked to stop there.
    Asked,
    /// The server closed the connection, or sent EOF.
    Closed,
    Error(ErrorPacket),
}

pub struct ReplicaStandin {
    pub version: Version,
    pub server_id: u32,
    pub password: String,
    address: (String, u16),
    pub io: IoThread,
    auto_position: bool,
    /// In the form of `@master_heartbeat_period`.
    pub heartbeat_ns: u64,
    uuid: String,
}

impl ReplicaStandin {
    pub fn new(version: Version, server_id: u32, address: (&str, u16), password: &str) -> Self {
        let start = ("relay-bin.000001".to_owned(), 4);
        ReplicaStandin {
            version,
            server_id,
            password: password.to_owned(),
            address: (address.0.to_owned(), address.1),
            io: IoThread::new(version, server_id, start),
            auto_position: false,
            heartbeat_ns: 30_000_001_024,
            uuid: format!("57575757-0000-0000-0000-{server_id:012}"),
        }
    }

    pub fn by_gtid(server_id: u32, address: (&str, u16), password: &str) -> Self {
        ReplicaStandin {
            io: IoThread::by_gtid(Version::V57, server_id),
            auto_position: true,
            ..Self::new(Version::V57, server_id, address, password)
        }
    }

    /// A fresh relay log from a position on: CHANGE MASTER TO.
    pub fn change_position(&mut self, position: Position) {
        self.io = IoThread::new(self.version, self.server_id, position);
    }

    /// Connects, asks, and receives events until `stop` holds after one, or the source ends it. A
    /// contradiction to the model fails the test.
    pub fn follow(&mut self, mut stop: impl FnMut(&IoThread) -> bool) -> Stop {
        let mut tries = 0;
        let mut wire = loop {
            match self.ask() {
                Ok(wire) => break wire,
                // Replicas try again when a server has no connections left.
                Err(error) if error.code == TOO_MANY_CONNECTIONS && tries < 1000 => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Stop::Error(error),
            }
        };
        loop {
            let Ok(packet) = wire.read() else {
                return Stop::Closed;
            };
            match packet.as_deref() {
                None | Some([0xFE, _, _, _, _]) => return Stop::Closed,
                Some([0xFF, ..]) => {
                    return Stop::Error(ErrorPacket::read(&packet.expect("a packet")));
                }
                Some([0, event @ ..]) => {
                    let before = self.io.position.clone();
                    if let Err(why) = self.io.receive(event) {
                        panic!("{:?} at {before:?}: {why}", self.version);
                    }
                    if stop(&self.io) {
                        return Stop::Asked;
                    }
                }
                Some(other) => panic!("a packet that begins with {}", other[0]),
            }
        }
    }

    /// Follows until `count` events are logged and the last transaction is complete.
    pub fn follow_to(&mut self, count: usize) {
        if self.io.events.len() >= count && self.io.is_between_transactions() {
            return;
        }
        let stop = self.follow(|io| io.events.len() >= count && io.is_between_transactions());
        let found = self.io.events.len();
        assert_eq!(
            stop,
            Stop::Asked,
            "after {found} of {count} events, at {:?}",
            self.io.position
        );
    }

    /// Everything up to the dump command.
    fn ask(&mut self) -> Result<Wire, ErrorPacket> {
        let stream = TcpStream::connect((self.address.0.as_str(), self.address.1))
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.address));
        stream.set_read_timeout(Some(SILENCE)).expect("a timeout");
        let mut session = Session::log_in(stream, self.version, &self.password)?;
        let clock = session.query("SELECT UNIX_TIMESTAMP()")?;
        let seconds = clock.as_ref().and_then(|row| row[0].parse::<u64>().ok());
        assert!(seconds.is_some(), "the source's clock: {clock:?}");
        let id = match self.version {
            Version::V55 => session
                .query("SHOW VARIABLES LIKE 'SERVER_ID'")?
                .map(|row| row[1].clone()),
            _ => session
                .query("SELECT @@GLOBAL.SERVER_ID")?
                .map(|row| row[0].clone()),
        };
        let id = id.and_then(|id| id.parse::<u32>().ok());
        assert!(
            id.is_some_and(|id| id != self.server_id),
            "the source's server_id: {id:?}"
        );
        session.query(&format!(
            "SET @master_heartbeat_period= {}",
            self.heartbeat_ns
        ))?;
        let checksummed = match self.version {
            Version::V55 => false,
            _ => self.ask_57(&mut session)?,
        };
        let register = [
            &[0x15][..],
            &self.server_id.to_le_bytes(),
            &[0; 3],
            &[0xEA, 0x0C],
            &[0; 8],
        ];
        session.command(&register.concat())?;
        self.io.connect(checksummed);
        session.wire.sequence = 0;
        session
            .wire
            .write(&self.dump_command())
            .expect("the dump is requested");
        Ok(session.wire)
    }

    /// Returns whether the source sends checksums.
    fn ask_57(&self, session: &mut Session) -> Result<bool, ErrorPacket> {
        let set = session.query("SET @master_binlog_checksum= @@global.binlog_checksum");
        let checksummed = match unless_unknown(set)? {
            None => false,
            Some(_) => {
                let row = session
                    .query("SELECT @master_binlog_checksum")?
                    .expect("a row");
                row[0] == "CRC32"
            }
        };
        let mode = unless_unknown(session.query("SELECT @@GLOBAL.GTID_MODE"))?.flatten();
        let mode = mode.map_or("OFF".to_owned(), |row| row[0].clone());
        let expected = if self.auto_position { "ON" } else { "OFF" };
        assert_eq!(mode, expected, "the source's gtid_mode");
        let uuid = unless_unknown(session.query("SELECT @@GLOBAL.SERVER_UUID"))?.flatten();
        assert!(uuid.is_none_or(|row| row[0].len() == 36 && row[0] != self.uuid));
        session.query(&format!("SET @slave_uuid= '{}'", self.uuid))?;
        Ok(checksummed)
    }

    fn dump_command(&self) -> Vec<u8> {
        let (file, offset) = &self.io.position;
        let id = self.server_id.to_le_bytes();
        if !self.auto_position {
            let mut command = vec![0x12];
            command.extend((*offset as u32).to_le_bytes());
            command.extend([0, 0]);
            command.extend(id);
            command.extend(file.bytes());
            return command;
        }
        let mut set = Vec::new();
        self.io.executed.encode(&mut set);
        let mut command = vec![0x1E, 0, 0];
        command.extend(id);
        command.extend([0; 4]);
        command.extend(4_u64.to_le_bytes());
        command.extend((set.len() as u32).to_le_bytes());
        command.extend(set);
        command
    }
}

/// The answer, or None to "Unknown system variable", which a replica tolerates.
fn unless_unknown<T>(answer: Result<T, ErrorPacket>) -> Result<Option<T>, ErrorPacket> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code == 1193 => Ok(None),
        Err(error) => Err(error),
    }
}

/// A connection before its dump.
struct Session {
    wire: Wire,
    short_end: bool,
}

impl Session {
    /// Logs in with the bytes of a recorded replica.
    fn log_in(stream: TcpStream, version: Version, password: &str) -> Result<Session, ErrorPacket> {
        let mut wire = Wire::new(stream);
        let greeting = wire.read().expect("a greeting").expect("a greeting");
        if greeting[0] == 0xFF {
            return Err(ErrorPacket::read(&greeting));
        }
        let name_end = greeting
            .iter()
            .position(|byte| *byte == 0)
            .expect("a version");
        let rest = &greeting[name_end + 1..];
        let offered = number(rest, 13, 2) | number(rest, 18, 2) << 16;
        let scramble = [&rest[4..12], &rest[31..43]].concat();
        let (capabilities, collation): (u32, u8) = match version {
            Version::V55 => (0x8008_A205, 8),
            _ => (0x81B8_A205, 8),
        };
        let capabilities = capabilities & (offered as u32 | 0x8000_0000);
        let mut response = capabilities.to_le_bytes().to_vec();
        response.extend((1_u32 << 30).to_le_bytes());
        response.push(collation);
        response.extend([0; 23]);
        response.extend(b"repl\0");
        let proof = scramble_native(&scramble, password.as_bytes()).expect("a password");
        put_text(&mut response, &proof);
        response.extend(b"mysql_native_password\0");
        if capabilities & CLIENT_CONNECT_ATTRS != 0 {
            let mut attributes = Vec::new();
            for text in [
                "program_name",
                "mysqld",
                "_client_role",
                "binary_log_listener",
            ] {
                put_text(&mut attributes, text.as_bytes());
            }
            put_text(&mut response, &attributes);
        }
        wire.write(&response).expect("the login is sent");
        let mut answer = wire.read().expect("an answer").expect("an answer");
        if answer.starts_with(b"\xfemysql_native_password\0") {
            let scramble = &answer[23..43];
            let proof = scramble_native(scramble, password.as_bytes()).expect("a password");
            wire.write(&proof).expect("the login is sent");
            answer = wire.read().expect("an answer").expect("an answer");
        }
        match answer[0] {
            0 => Ok(Session {
                wire,
                short_end: capabilities & CLIENT_DEPRECATE_EOF != 0,
            }),
            0xFF => Err(ErrorPacket::read(&answer)),
            other => panic!("a login that {version:?} does not know: {other:#x}"),
        }
    }

    fn command(&mut self, payload: &[u8]) -> Result<Vec<u8>, ErrorPacket> {
        self.wire.sequence = 0;
        self.wire.write(payload).expect("a command is sent");
        let answer = self.packet();
        match answer[0] {
            0xFF => Err(ErrorPacket::read(&answer)),
            _ => Ok(answer),
        }
    }

    fn packet(&mut self) -> Vec<u8> {
        self.wire.read().expect("a packet").expect("a packet")
    }

    /// The first row, if there is one; NULL is an empty text.
    fn query(&mut self, sql: &str) -> Result<Option<Vec<String>>, ErrorPacket> {
        let first = self.command(&[&[3], sql.as_bytes()].concat())?;
        let columns = usize::from(first[0]);
        if columns == 0 {
            return Ok(None);
        }
        let before_rows = columns + usize::from(!self.short_end);
        for _ in 0..before_rows {
            self.packet();
        }
        let mut row = None;
        loop {
            let packet = self.packet();
            if packet[0] == 0xFE && packet.len() < 9 {
                return Ok(row);
            }
            let mut rest = &packet[..];
            let texts = (0..columns).map(|_| take_text(&mut rest).unwrap_or_default());
            let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
            row.get_or_insert(texts.collect());
        }
    }
}
