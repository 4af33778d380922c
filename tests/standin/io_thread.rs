//! A replay model of a replica's receiving thread: for each event that arrives it does what
//! `queue_event` of 5.5.59 or 5.7.23 does, and says why the real one would stop.
//!
//! - The position counts event lengths. A ROTATE sets it; a format description with `log_pos` 0, a
//!   heartbeat and a STOP do not move it.
//! - After a ROTATE nothing but a format description (or another ROTATE) is understood, since the
//!   thread has forgotten the format.
//! - 5.5: events with the replica's own server_id count, but are not logged. A heartbeat must name
//!   exactly the counted position. Nothing has a checksum, and no type above 26 exists (27 is the
//!   heartbeat). What is logged is what 5.5 reads of an event (`reading_55`); a User_var that no
//!   statement uses and an Xid between two transactions have no effect.
//! - 5.7: a format description says whether checksums follow, and they must be right. A heartbeat must
//!   not be behind the counted position; with auto-position it may be ahead and then moves it.
//! - The applier's position is what `log_pos` says at the end of a transaction.

use binrelay::gtid::GtidSet;

use super::binlog::gtid_of;
use super::event::{
    ANONYMOUS_GTID, APPEND_BLOCK, ARTIFICIAL, Boundary, DELETE_ROWS_V1, EXECUTE_LOAD_QUERY, Event,
    FORMAT_DESCRIPTION, GTID, HEARTBEAT, PREVIOUS_GTIDS, QUERY, ROTATE, STOP, TABLE_MAP,
    WRITE_ROWS_V1, XID, number,
};
use super::reading_55::{as_read, is_unused_variable};
use super::version::Version;

/// File name and offset.
pub type Position = (String, u64);

/// The event types whose fixed parts 5.5 reads: the shortest and the longest that it understands. It
/// skips what it does not know of those of rows and blocks.
const FIXED_PARTS_55: [(u8, u8, u8); 8] = [
    (QUERY, 13, 13),
    (ROTATE, 8, 8),
    (APPEND_BLOCK, 4, u8::MAX),
    (EXECUTE_LOAD_QUERY, 26, 26),
    (TABLE_MAP, 8, 8),
    (WRITE_ROWS_V1, 8, u8::MAX),
    (WRITE_ROWS_V1 + 1, 8, u8::MAX),
    (DELETE_ROWS_V1, 8, u8::MAX),
];

#[derive(Clone, Debug)]
pub struct IoThread {
    version: Version,
    server_id: u32,
    auto_position: bool,
    gtids: bool,
    /// The position that the next dump is asked from.
    pub position: Position,
    /// The applier's position: where a replica whose relay log was lost resumes.
    pub applied: Position,
    /// What the relay log contains of the source's transactions.
    pub events: Vec<Event>,
    /// After each transaction: how many events there were, and the applier's position.
    pub boundaries: Vec<(usize, Position)>,
    /// GTIDs of whole transactions.
    pub executed: GtidSet,
    pub heartbeats: usize,
    /// Servers say when they were started, and replicas drop their temporary tables then; the relay says so
    /// only when a source's restart has ended all those that are open.
    pub accepts_created: bool,
    boundary: Boundary,
    /// The position after the first ROTATE of the connection.
    connected_at: Option<Position>,
    /// Lengths of the fixed parts; None before the format description.
    format: Option<Vec<u8>>,
    checksummed: bool,
    /// 5.7: sequence_number of the newest transaction of the file.
    sequence: u64,
}

impl IoThread {
    pub fn new(version: Version, server_id: u32, start: Position) -> IoThread {
        IoThread {
            version,
            server_id,
            auto_position: false,
            gtids: false,
            position: start.clone(),
            applied: start,
            events: Vec::new(),
            boundaries: Vec::new(),
            executed: GtidSet::new(),
            heartbeats: 0,
            accepts_created: false,
            boundary: Boundary::default(),
            connected_at: None,
            format: None,
            checksummed: false,
            sequence: 0,
        }
    }

    /// With gtid_mode=ON and auto-position.
    pub fn by_gtid(version: Version, server_id: u32) -> IoThread {
        IoThread {
            auto_position: true,
            gtids: true,
            ..IoThread::new(version, server_id, (String::new(), 4))
        }
    }

    /// A new connection whose source has answered whether it sends checksums.
    pub fn connect(&mut self, checksummed: bool) {
        self.format = None;
        self.connected_at = None;
        self.checksummed = checksummed;
        self.sequence = 0;
        if self.auto_position {
            // A part of a transaction is rolled back and arrives again.
            let whole = self.boundaries.last().map_or(0, |(count, _)| *count);
            self.events.truncate(whole);
            self.boundary = Boundary::default();
        }
    }

    /// Whether nothing that moves the position has arrived on the current connection.
    pub fn is_just_connected(&self) -> bool {
        self.connected_at
            .as_ref()
            .is_none_or(|at| *at == self.position)
    }

    /// Whether the newest transaction is whole.
    pub fn is_between_transactions(&self) -> bool {
        !self.boundary.is_inside
    }

    /// Takes an event as it was received.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        let kind = *bytes.get(4).ok_or("an event without header")?;
        let checksummed = match kind {
            // Its own checksum is described in itself.
            FORMAT_DESCRIPTION => self.version == Version::V57 && describes_checksum(bytes)?,
            _ => self.checksummed,
        };
        let (event, log_pos) = Event::read(bytes, checksummed)?;
        match kind {
            FORMAT_DESCRIPTION => return self.format_description(&event, log_pos, bytes),
            ROTATE => return self.rotate(&event),
            STOP => return Ok(()),
            _ => {}
        }
        let known = self
            .format
            .as_ref()
            .ok_or_else(|| format!("{event:?} before a format"))?;
        let in_format = usize::from(kind)
            .checked_sub(1)
            .and_then(|index| known.get(index));
        if in_format.is_none() {
            return Err(format!("{event:?}: not in the format description"));
        }
        match kind {
            HEARTBEAT => return self.heartbeat(&event, log_pos),
            PREVIOUS_GTIDS if self.version == Version::V57 => {
                self.position.1 += bytes.len() as u64;
                self.applied = self.position.clone();
                return Ok(());
            }
            _ => {}
        }
        self.check_known(&event)?;
        self.position.1 += bytes.len() as u64;
        if self.version == Version::V55 && event.server_id == self.server_id {
            if !self.boundary.is_inside {
                self.applied = self.position.clone();
            }
            return Ok(());
        }
        self.log(event, log_pos)
    }

    fn check_known(&mut self, event: &Event) -> Result<(), String> {
        match self.version {
            Version::V55 if event.kind > 26 => Err(format!("{event:?}: 5.5 stops at it")),
            Version::V57 if event.kind > 38 => Err(format!("{event:?}: 5.7 stops at it")),
            Version::V57 if event.kind == GTID && !self.gtids => {
                Err(format!("{event:?}: gtid_mode is OFF on the replica"))
            }
            Version::V57 if event.kind == ANONYMOUS_GTID && self.gtids => {
                Err(format!("{event:?}: gtid_mode is ON on the replica"))
            }
            Version::V57 if event.is_opener() => self.check_clock(event),
            _ => Ok(()),
        }
    }

    /// LOGICAL_CLOCK: numbers grow, and nothing waits for itself or for what comes later.
    fn check_clock(&mut self, event: &Event) -> Result<(), String> {
        if event.body.len() != 42 {
            return Err(format!("{event:?}: {} bytes, not 42", event.body.len()));
        }
        let (committed, sequence) = (number(&event.body, 26, 8), number(&event.body, 34, 8));
        if event.body[25] != 2 || committed >= sequence || sequence <= self.sequence {
            return Err(format!(
                "{event:?}: clock {committed}, {sequence} after {}",
                self.sequence
            ));
        }
        self.sequence = sequence;
        Ok(())
    }

    /// Appends to the relay log.
    fn log(&mut self, event: Event, log_pos: u32) -> Result<(), String> {
        let event = match (self.version, &self.format) {
            (Version::V55, Some(lengths)) => as_read(&event, lengths)?,
            _ => event,
        };
        if self.version == Version::V55 && is_unused_variable(&event) {
            return Ok(());
        }
        if self.version == Version::V55 && event.kind == XID && !self.boundary.is_inside {
            // Nothing to commit, but the applier's position moves.
            self.applied = (self.position.0.clone(), log_pos.into());
            return Ok(());
        }
        self.boundary.feed(&event);
        self.events.push(event);
        if self.boundary.is_inside {
            return Ok(());
        }
        if log_pos != 0 {
            self.applied = (self.position.0.clone(), log_pos.into());
        }
        let begin = self.boundaries.last().map_or(0, |(count, _)| *count);
        if let Some(gtid) = self.events.get(begin).and_then(gtid_of)
            && !self.executed.insert(gtid)
        {
            return Err(format!(
                "a transaction for the second time: {:?}",
                self.events[begin]
            ));
        }
        self.boundaries
            .push((self.events.len(), self.applied.clone()));
        Ok(())
    }

    fn rotate(&mut self, event: &Event) -> Result<(), String> {
        if event.body.len() < 9 {
            return Err(format!("{event:?}: no file name"));
        }
        let (offset, name) = event.body.split_at(8);
        let name = String::from_utf8(name.to_vec());
        let name = name.map_err(|_| format!("{event:?}: no file name"))?;
        if name
            .rsplit('.')
            .next()
            .is_none_or(|digits| digits.parse::<u32>().is_err())
        {
            return Err(format!("{event:?}: not the name of a binlog"));
        }
        if event.timestamp == 0 && event.flags & ARTIFICIAL == 0 {
            return Err(format!("{event:?}: neither of the file nor artificial"));
        }
        self.position = (name, number(offset, 0, 8));
        self.connected_at.get_or_insert(self.position.clone());
        if self.is_between_transactions() {
            self.applied = self.position.clone();
        }
        self.format = None;
        Ok(())
    }

    fn format_description(
        &mut self,
        event: &Event,
        log_pos: u32,
        bytes: &[u8],
    ) -> Result<(), String> {
        let body = &event.body;
        if body.len() < 58 || number(body, 0, 2) != 4 || body[56] != 19 {
            return Err(format!("{event:?}: not of version 4"));
        }
        if number(body, 52, 4) != 0 && !self.accepts_created {
            return Err(format!(
                "{event:?}: created is not 0: temporary tables are dropped"
            ));
        }
        let version = String::from_utf8_lossy(&body[2..52]).into_owned();
        let version = version.trim_end_matches('\0');
        if !version.starts_with(|first: char| first.is_ascii_digit() && first != '0') {
            return Err(format!("{event:?}: the version {version:?} has no number"));
        }
        let mut lengths = bytes[76..].to_vec();
        if self.version == Version::V57 {
            self.checksummed = describes_checksum(bytes)?;
            if has_algorithm(version) {
                lengths.truncate(lengths.len() - 5);
            }
        } else {
            for (kind, least, most) in FIXED_PARTS_55 {
                let found = lengths.get(usize::from(kind) - 1);
                if found.is_none_or(|found| !(least..=most).contains(found)) {
                    return Err(format!("type {kind} with a fixed part of {found:?}"));
                }
            }
        }
        self.format = Some(lengths);
        self.sequence = 0;
        if log_pos != 0 {
            self.position.1 += bytes.len() as u64;
        }
        Ok(())
    }

    fn heartbeat(&mut self, event: &Event, log_pos: u32) -> Result<(), String> {
        self.heartbeats += 1;
        let (name, offset) = &mut self.position;
        if event.body != name.as_bytes() {
            return Err(format!(
                "{event:?}: a heartbeat for another file than {name}"
            ));
        }
        let reported = u64::from(log_pos);
        let is_right = match self.version {
            Version::V55 => reported == *offset,
            _ => reported >= *offset,
        };
        if !is_right {
            return Err(format!(
                "a heartbeat at {reported}, the replica is at {offset}"
            ));
        }
        if self.auto_position {
            *offset = reported;
        }
        Ok(())
    }
}

/// Whether a server of this version writes the algorithm's byte into its format description: since
/// 5.6.1.
fn has_algorithm(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let mut next = || {
        numbers
            .next()
            .and_then(|text| text.parse::<u32>().ok())
            .unwrap_or(0)
    };
    (next(), next(), next()) >= (5, 6, 1)
}

/// Whether the events after this format description end with a checksum.
fn describes_checksum(event: &[u8]) -> Result<bool, String> {
    let version = event
        .get(21..71)
        .ok_or("a format description that is cut short")?;
    let version = String::from_utf8_lossy(version);
    let version = version.trim_end_matches('\0');
    if !has_algorithm(version) {
        return Ok(false);
    }
    match event.len().checked_sub(5).map(|at| event[at]) {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        other => Err(format!("checksum algorithm {other:?}")),
    }
}
