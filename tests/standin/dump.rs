//! What a dump sends next: the rules of the two versions, without sockets.

use std::time::Duration;

use binrelay::gtid::GtidSet;

use super::answers::UserVariables;
use super::binlog::{Binlog, EventEnd, gtid_of};
use super::event::{
    ARTIFICIAL, CRC_LEN, Event, FORMAT_DESCRIPTION, GTID, HEARTBEAT, IN_USE, ROTATE, number,
};
use super::version::Version;
use super::wire::ErrorPacket;

const FIRST_EVENT: u64 = 4;
/// Offset of `created` in a format description.
const CREATED_AT: usize = 71;
const NON_BLOCK: u16 = 1;

/// The next thing that a dump does.
pub enum Step {
    Send(Vec<u8>),
    /// Nothing is new: wait, at most so long, then send a heartbeat.
    Wait(Option<Duration>),
    /// EOF, for clients that do not wait.
    End,
    Fail(ErrorPacket),
}

#[derive(PartialEq, Eq)]
enum Stage {
    /// The ROTATE that names the file comes next.
    Name,
    /// A format description that is not at its own place comes next.
    Format,
    Events,
}

pub struct Dump {
    file: usize,
    /// The offset of the next event.
    at: u64,
    stage: Stage,
    /// The event that was sent last, if it was one of the file.
    sent: Option<EventEnd>,
    /// The position in heartbeats.
    reported: u64,
    /// 5.7: the GTIDs that the replica has.
    excluded: Option<GtidSet>,
    is_skipping: bool,
    /// 5.7: the end of skipped events that no heartbeat has reported.
    skipped_to: Option<u64>,
    /// 5.7: whether the replica reads checksums; it is known only from the first file on.
    checksummed: bool,
    waits: bool,
    heartbeat: Option<Duration>,
    was_idle: bool,
}

impl Dump {
    /// The start that a dump command asks for.
    pub fn begin(
        by_gtid: bool,
        body: &[u8],
        user: &UserVariables,
        binlog: &Binlog,
    ) -> Result<Dump, ErrorPacket> {
        let request = Request::read(by_gtid, body);
        let file = match &request.set {
            Some(_) if !binlog.gtids => {
                return Err(ErrorPacket::fatal(
                    "The replication sender thread cannot start in AUTO_POSITION mode: this server \
                     has GTID_MODE = OFF instead of ON.",
                ));
            }
            Some(set) if request.file.is_empty() => file_for(set, binlog)?,
            _ => binlog.find(&request.file).ok_or_else(|| {
                ErrorPacket::fatal("Could not find first log file name in binary log index file")
            })?,
        };
        let size = binlog.files[file].len();
        if request.position < FIRST_EVENT || request.position > size {
            return Err(ErrorPacket::fatal(match binlog.version {
                Version::V55 => {
                    "Client requested master to start replication from impossible position"
                }
                _ if request.position < FIRST_EVENT => {
                    "Client requested master to start replication from position < 4"
                }
                _ => "Client requested master to start replication from position > file size",
            }));
        }
        let checksum = user.get("master_binlog_checksum");
        if binlog.version.is_checksummed() && checksum.is_none() {
            return Err(ErrorPacket::fatal(
                "Slave can not handle replication events with the checksum that master is configured \
                 to log",
            ));
        }
        let period = user.get("master_heartbeat_period");
        let period = period.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Dump {
            file,
            at: request.position,
            stage: Stage::Name,
            sent: None,
            reported: request.position,
            excluded: request.set,
            is_skipping: false,
            skipped_to: None,
            checksummed: checksum.is_some_and(|text| text == "CRC32"),
            waits: request.flags & NON_BLOCK == 0 && request.server_id != 0,
            heartbeat: (period > 0).then(|| Duration::from_nanos(period)),
            was_idle: false,
        })
    }

    /// The event of the file that the last step sent.
    pub fn end(&self) -> Option<EventEnd> {
        self.sent
    }

    pub fn has_more(&self, binlog: &Binlog) -> bool {
        self.file + 1 < binlog.files.len() || self.at < binlog.files[self.file].len()
    }

    pub fn step(&mut self, binlog: &Binlog) -> Step {
        self.sent = None;
        match self.stage {
            Stage::Name => {
                self.stage = match self.at {
                    FIRST_EVENT => Stage::Events,
                    _ => Stage::Format,
                };
                let mut body = self.at.to_le_bytes().to_vec();
                body.extend(binlog.files[self.file].name.bytes());
                Step::Send(self.made(binlog, ROTATE, ARTIFICIAL, 0, body))
            }
            Stage::Format => {
                self.stage = Stage::Events;
                self.checksummed = binlog.version.is_checksummed();
                let stored = binlog.files[self.file]
                    .event_at(FIRST_EVENT)
                    .expect("it is the first");
                Step::Send(self.displaced_format(stored, true))
            }
            Stage::Events => self.next_event(binlog),
        }
    }

    fn next_event(&mut self, binlog: &Binlog) -> Step {
        let file = &binlog.files[self.file];
        if !file.is_boundary(self.at) {
            return Step::Fail(ErrorPacket::fatal("bogus data in log event"));
        }
        let Some(stored) = file.event_at(self.at) else {
            return self.at_the_end(binlog);
        };
        self.was_idle = false;
        if self.is_skipped(stored, binlog) {
            self.at += stored.len() as u64;
            self.skipped_to = Some(self.at);
            return self.next_event(binlog);
        }
        if let Some(end) = self.skipped_to.take() {
            return Step::Send(self.heartbeat(binlog, end));
        }
        self.at += stored.len() as u64;
        self.sent = Some((self.file, self.at));
        self.reported = number(stored, 13, 4);
        if stored[4] != FORMAT_DESCRIPTION {
            return Step::Send(stored.to_vec());
        }
        self.checksummed = binlog.version.is_checksummed();
        let mut format = stored.to_vec();
        format[17] &= !(IN_USE as u8);
        match self.excludes_first(binlog) {
            true => Step::Send(self.displaced_format(stored, false)),
            false => Step::Send(format),
        }
    }

    fn at_the_end(&mut self, binlog: &Binlog) -> Step {
        if let Some(end) = self.skipped_to.take() {
            return Step::Send(self.heartbeat(binlog, end));
        }
        if self.file + 1 < binlog.files.len() {
            self.file += 1;
            self.at = FIRST_EVENT;
            self.stage = Stage::Name;
            return self.step(binlog);
        }
        if !self.waits {
            return Step::End;
        }
        if std::mem::replace(&mut self.was_idle, true) && self.heartbeat.is_some() {
            self.was_idle = false;
            let position = match binlog.version {
                // From the newest event's header.
                Version::V55 => self.reported,
                Version::V56 | Version::V57 => self.at,
            };
            return Step::Send(self.heartbeat(binlog, position));
        }
        Step::Wait(self.heartbeat)
    }

    /// 5.7: events of transactions that the replica has, from their GTID to the next one.
    fn is_skipped(&mut self, stored: &[u8], binlog: &Binlog) -> bool {
        let Some(excluded) = &self.excluded else {
            return false;
        };
        match stored[4] {
            GTID => {
                let read = Event::read(stored, binlog.version.checksums(GTID));
                let gtid = gtid_of(&read.expect("an event of the file").0).expect("its GTID");
                self.is_skipping = excluded.contains(&gtid);
            }
            ROTATE => return false,
            _ => {}
        }
        self.is_skipping
    }

    /// 5.7: whether the file's first transaction is skipped: then temporary tables are kept.
    fn excludes_first(&self, binlog: &Binlog) -> bool {
        let Some(excluded) = &self.excluded else {
            return false;
        };
        let events = binlog.files[self.file].events(binlog.version);
        let first = events.iter().find_map(gtid_of);
        first.is_some_and(|gtid| excluded.contains(&gtid))
    }

    /// A format description for a dump that does not begin with it.
    fn displaced_format(&self, stored: &[u8], clears_position: bool) -> Vec<u8> {
        let mut event = stored.to_vec();
        event[17] &= !(IN_USE as u8);
        event[CREATED_AT..CREATED_AT + 4].fill(0);
        if clears_position {
            event[13..17].fill(0);
        }
        if self.checksummed {
            let crc_at = event.len() - CRC_LEN;
            let crc = crc32fast::hash(&event[..crc_at]);
            event[crc_at..].copy_from_slice(&crc.to_le_bytes());
        }
        event
    }

    fn heartbeat(&self, binlog: &Binlog, position: u64) -> Vec<u8> {
        let name = binlog.files[self.file].name.as_bytes().to_vec();
        self.made(binlog, HEARTBEAT, 0, position as u32, name)
    }

    /// An event that is in no file.
    fn made(&self, binlog: &Binlog, kind: u8, flags: u16, log_pos: u32, body: Vec<u8>) -> Vec<u8> {
        let event = Event {
            timestamp: 0,
            kind,
            server_id: binlog.server_id,
            flags,
            body,
        };
        event.write(log_pos, self.checksummed)
    }
}

/// A dump command's fields.
struct Request {
    flags: u16,
    server_id: u32,
    file: String,
    position: u64,
    set: Option<GtidSet>,
}

impl Request {
    fn read(by_gtid: bool, body: &[u8]) -> Request {
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !by_gtid {
            return Request {
                position: number(body, 0, 4),
                flags: number(body, 4, 2) as u16,
                server_id: number(body, 6, 4) as u32,
                file: name(&body[10..]),
                set: None,
            };
        }
        let name_end = 10 + number(body, 6, 4) as usize;
        Request {
            flags: number(body, 0, 2) as u16,
            server_id: number(body, 2, 4) as u32,
            file: name(&body[10..name_end]),
            position: number(body, name_end, 8),
            set: Some(GtidSet::decode(&body[name_end + 12..]).expect("a GTID set")),
        }
    }
}

/// The newest file before which the replica has everything.
fn file_for(set: &GtidSet, binlog: &Binlog) -> Result<usize, ErrorPacket> {
    if !executed_of_own(set, binlog).is_subset_of(&binlog.executed()) {
        return Err(ErrorPacket::fatal(
            "Slave has more GTIDs than the master has, using the master's SERVER_UUID. This may \
             indicate that the end of the binary log was truncated or that the last binary log file \
             was lost.",
        ));
    }
    let mut files = (0..binlog.files.len()).rev();
    let found = files.find(|index| binlog.executed_before(*index).is_subset_of(set));
    Ok(found.expect("nothing is before the first file"))
}

fn executed_of_own(set: &GtidSet, binlog: &Binlog) -> GtidSet {
    let mut own = GtidSet::new();
    for (sid, first, last) in set.iter_intervals() {
        if Some(sid.uuid) == binlog.uuid {
            own.insert_interval(sid, first, last);
        }
    }
    own
}
