//! Events of binlog format 4 as plain data, read and written without the relay's own code: the
//! stand-ins must not share its mistakes.

use std::fmt;

pub const HEADER_LEN: usize = 19;
pub const CRC_LEN: usize = 4;

pub const QUERY: u8 = 2;
pub const STOP: u8 = 3;
pub const ROTATE: u8 = 4;
pub const INTVAR: u8 = 5;
pub const APPEND_BLOCK: u8 = 9;
pub const EXEC_LOAD: u8 = 10;
pub const DELETE_FILE: u8 = 11;
pub const RAND: u8 = 13;
pub const USER_VAR: u8 = 14;
pub const FORMAT_DESCRIPTION: u8 = 15;
pub const XID: u8 = 16;
pub const BEGIN_LOAD_QUERY: u8 = 17;
pub const EXECUTE_LOAD_QUERY: u8 = 18;
pub const TABLE_MAP: u8 = 19;
pub const WRITE_ROWS_V1: u8 = 23;
pub const DELETE_ROWS_V1: u8 = 25;
pub const INCIDENT: u8 = 26;
pub const HEARTBEAT: u8 = 27;
pub const ROWS_QUERY: u8 = 29;
pub const WRITE_ROWS_V2: u8 = 30;
pub const DELETE_ROWS_V2: u8 = 32;
pub const GTID: u8 = 33;
pub const ANONYMOUS_GTID: u8 = 34;
pub const PREVIOUS_GTIDS: u8 = 35;

/// The file is open: set in the format description of the newest file.
pub const IN_USE: u16 = 0x1;
/// The server made the event for one connection.
pub const ARTIFICIAL: u16 = 0x20;

/// An event without what depends on its place: position, length and checksum.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    pub timestamp: u32,
    pub kind: u8,
    pub server_id: u32,
    pub flags: u16,
    pub body: Vec<u8>,
}

/// A number of `width` bytes, little-endian; the caller has checked the length.
pub fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let field = &bytes[at..at + width];
    field
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Event {
    /// Takes an event apart; the error says what is wrong with it. Returns its `log_pos` too.
    pub fn read(bytes: &[u8], checksummed: bool) -> Result<(Event, u32), String> {
        let tail = if checksummed { CRC_LEN } else { 0 };
        if bytes.len() < HEADER_LEN + tail {
            return Err(format!("an event of {} bytes", bytes.len()));
        }
        let size = number(bytes, 9, 4) as usize;
        if size != bytes.len() {
            return Err(format!(
                "a packet of {} bytes with an event of {size}",
                bytes.len()
            ));
        }
        let (event, crc) = bytes.split_at(bytes.len() - tail);
        if checksummed && crc32fast::hash(event) != number(crc, 0, 4) as u32 {
            return Err(format!("a wrong checksum in an event of type {}", bytes[4]));
        }
        let read = Event {
            timestamp: number(event, 0, 4) as u32,
            kind: event[4],
            server_id: number(event, 5, 4) as u32,
            flags: number(event, 17, 2) as u16,
            body: event[HEADER_LEN..].to_vec(),
        };
        Ok((read, number(event, 13, 4) as u32))
    }

    pub fn write(&self, log_pos: u32, checksummed: bool) -> Vec<u8> {
        let size = self.len(checksummed) as u32;
        let mut bytes = self.timestamp.to_le_bytes().to_vec();
        bytes.push(self.kind);
        bytes.extend(self.server_id.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(log_pos.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(&self.body);
        if checksummed {
            let crc = crc32fast::hash(&bytes);
            bytes.extend(crc.to_le_bytes());
        }
        bytes
    }

    pub fn len(&self, checksummed: bool) -> usize {
        HEADER_LEN + self.body.len() + if checksummed { CRC_LEN } else { 0 }
    }

    /// The statement of a Query event, and its default database.
    pub fn statement(&self) -> Option<(String, String)> {
        if self.kind != QUERY {
            return None;
        }
        let database_len = usize::from(self.body[8]);
        let variables_len = number(&self.body, 11, 2) as usize;
        let (database, text) = self.body[13 + variables_len..].split_at(database_len);
        let text = String::from_utf8_lossy(&text[1..]).into_owned();
        Some((String::from_utf8_lossy(database).into_owned(), text))
    }

    /// The database and the name in a TABLE_MAP event.
    pub fn table(&self) -> Option<(String, String)> {
        if self.kind != TABLE_MAP {
            return None;
        }
        let mut rest = &self.body[8..];
        let mut name = || {
            let (text, tail) = rest[1..].split_at(usize::from(rest[0]));
            rest = &tail[1..];
            String::from_utf8_lossy(text).into_owned()
        };
        Some((name(), name()))
    }

    /// Whether it belongs to the file or to the connection instead of to a transaction.
    pub fn is_control(&self) -> bool {
        matches!(
            self.kind,
            STOP | ROTATE | FORMAT_DESCRIPTION | HEARTBEAT | PREVIOUS_GTIDS
        )
    }

    /// GTID or ANONYMOUS_GTID.
    pub fn is_opener(&self) -> bool {
        matches!(self.kind, GTID | ANONYMOUS_GTID)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event {
            timestamp,
            kind,
            server_id,
            flags,
            body,
        } = self;
        write!(
            f,
            "type {kind}, server_id {server_id}, time {timestamp}, flags {flags:#x}: {}",
            body.escape_ascii()
        )
    }
}

/// The events of a transaction, opener included.
pub type Group = Vec<Event>;

/// The transactions among `events`, control events left out. The last one may lack its end.
pub fn groups(events: &[Event]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut state = Boundary::default();
    for event in events.iter().filter(|event| !event.is_control()) {
        if !state.is_inside {
            groups.push(Group::new());
        }
        state.feed(event);
        groups.last_mut().expect("just begun").push(event.clone());
    }
    groups
}

/// Where transactions begin and end, event by event.
#[derive(Clone, Copy, Default, Debug)]
pub struct Boundary {
    /// Whether the newest event did not end its transaction.
    pub is_inside: bool,
    has_begun: bool,
}

impl Boundary {
    pub fn feed(&mut self, event: &Event) {
        let ends = match event.kind {
            XID => true,
            QUERY => {
                let (_, text) = event.statement().expect("a statement");
                let begins = text == "BEGIN";
                self.has_begun |= begins;
                let ends = matches!(text.as_str(), "COMMIT" | "ROLLBACK");
                ends || !self.has_begun
            }
            _ if event.is_opener() => {
                self.has_begun = false;
                false
            }
            // An event that only prepares the statement after it.
            INTVAR | RAND | USER_VAR | BEGIN_LOAD_QUERY | APPEND_BLOCK => false,
            _ => !self.has_begun,
        };
        self.has_begun &= !ends;
        self.is_inside = !ends;
    }
}
