//! Turns blocks of a log file into packets, event by event, without a copy or an allocation per
//! event. Transactions that the replica already has are skipped.

use super::control_events;
use super::dump_request::{DumpStart, EventSupport, SkipRule};
use super::old_replicas;
use super::packets::Packets;
use super::refusals::Wording;
use super::until::{FLAG_UNTIL_REACHED, Until};
use super::without_checksums::{self, Form, HEAD_LEN, Rewriting};
use crate::binlog::mariadb_gtid::MariaDbGtidEvent;
use crate::binlog::{EventError, EventHeader, EventType, HEADER_LEN, Opener, event};
use crate::gtid::GtidSet;
use crate::protocol::ServerError;
use crate::relay_log::coordinates::SkipKind;
use crate::relay_log::reader::FIRST_EVENT;

/// A GTID event larger than this is damaged.
const GTID_EVENT_LEN_MAX: usize = 64 * 1024;

/// Why the walk cannot continue.
#[derive(Debug)]
pub enum WalkError {
    /// The error to send to the replica.
    Refusal(ServerError),
    /// The file is damaged.
    Damage(EventError),
    /// The end that the replica requested is reached: everything before it is in the output.
    EndReached,
    /// An invariant of this code is violated; sending more would send wrong bytes.
    Internal(&'static str),
}

impl From<EventError> for WalkError {
    fn from(error: EventError) -> Self {
        WalkError::Damage(error)
    }
}

impl From<ServerError> for WalkError {
    fn from(error: ServerError) -> Self {
        WalkError::Refusal(error)
    }
}

/// What the walk does with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Sends it.
    Sent,
    /// Skips it with the rest of its group.
    Skipped,
    /// Skips it alone: the client does not want this type, or was sent a replacement.
    Unwanted,
    /// Sends what [`Walk::rewriting`] makes of it.
    Rewritten,
}

/// The state of a walk through the log.
#[derive(Debug)]
pub struct Walk {
    /// Makes packets of events.
    pub packets: Packets,
    /// The timestamp of the event sent last; 0 before the first.
    pub timestamp: u32,
    /// Offset of the newest event.
    pub last_event: u64,
    /// Whether heartbeats are HEARTBEAT_V2 events.
    pub heartbeat_v2: bool,
    server_id: u32,
    wording: Wording,
    file_name: String,
    skip: SkipRule,
    until: Option<Until>,
    annotate_rows: bool,
    support: EventSupport,
    /// Whether the current group is skipped.
    skipping: bool,
    /// Whether the replica lacks it all the same: it is after the end of a dump.
    lacks_skipped: bool,
    /// MySQL: the end of the range that was skipped since the last sent event.
    skipped_to: Option<u64>,
    /// MariaDB: whether the current group is the last one to be skipped in its domain.
    reached: bool,
    /// Bytes of the current event that have not passed through the walk.
    event_left: u64,
    /// What is done with them.
    event_fate: Fate,
    /// How the current event is rewritten, if it is.
    rewriting: Option<Rewriting>,
}

impl Walk {
    /// A walk that starts as `start` says. It takes the transactions to skip from it.
    pub fn new(start: &mut DumpStart, server_id: u32, wording: Wording, file_name: String) -> Self {
        Self {
            packets: Packets::new(start.is_semi_sync, start.position > FIRST_EVENT),
            timestamp: 0,
            last_event: start.position,
            heartbeat_v2: start.heartbeat_v2,
            server_id,
            wording,
            file_name,
            skip: std::mem::replace(&mut start.skip, SkipRule::Nothing),
            until: start.until.clone(),
            annotate_rows: start.annotate_rows,
            support: start.support,
            skipping: false,
            lacks_skipped: false,
            skipped_to: None,
            reached: false,
            event_left: 0,
            event_fate: Fate::Sent,
            rewriting: None,
        }
    }

    /// The current file's name.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Continues in the next file.
    pub fn start_file(&mut self, file_name: String) {
        self.file_name = file_name;
        self.skipping = false;
        self.packets.start_file();
    }

    /// Appends a packet with one event.
    ///
    /// # Errors
    /// The packet before is not complete.
    pub fn put_event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<(), WalkError> {
        self.put_event_of_file(event, None, out)
    }

    /// As [`Walk::put_event`], for one that replaces the event of the file that ends at `end`.
    fn put_event_of_file(
        &mut self,
        event: &[u8],
        end: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), WalkError> {
        self.begin_packet(event.len() as u64, end, out)?;
        self.packets.put(out, event);
        Ok(())
    }

    fn begin_packet(
        &mut self,
        event_len: u64,
        end: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Result<(), WalkError> {
        let begun = self.packets.begin(event_len, end, out);
        begun.map_err(WalkError::Internal)
    }

    /// Appends a packet with a checksummed event that was generated for the connection; without
    /// the checksum for a client that does not know checksums.
    ///
    /// # Errors
    /// The packet before is not complete, or the event is too short.
    pub fn put_artificial(
        &mut self,
        mut event: Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), WalkError> {
        if self.support == EventSupport::NoChecksums {
            event::remove_checksum(&mut event)?;
        }
        self.put_event(&event, out)
    }

    /// Appends a heartbeat: everything before `position` was sent or skipped.
    ///
    /// # Errors
    /// As [`Walk::put_artificial`].
    pub fn put_heartbeat(&mut self, position: u64, out: &mut Vec<u8>) -> Result<(), WalkError> {
        let event =
            control_events::heartbeat(self.server_id, &self.file_name, position, self.heartbeat_v2);
        self.put_artificial(event, out)
    }

    /// Appends a heartbeat inside a long skipped range, if there is one.
    ///
    /// # Errors
    /// As [`Walk::put_event`].
    pub fn put_skip_heartbeat(&mut self, out: &mut Vec<u8>) -> Result<(), WalkError> {
        match self.skipped_to {
            Some(position) => self.put_heartbeat(position, out),
            None => Ok(()),
        }
    }

    /// Appends the packets of the events in `bytes`, which are at `offset` of the file, and
    /// returns how many of the bytes were processed. The rest is the beginning of an event that
    /// must be complete to be decided on.
    ///
    /// # Errors
    /// See [`WalkError`].
    pub fn block(
        &mut self,
        bytes: &[u8],
        offset: u64,
        out: &mut Vec<u8>,
    ) -> Result<usize, WalkError> {
        let mut rest = bytes;
        loop {
            if self.event_left > 0 {
                let len = rest
                    .len()
                    .min(usize::try_from(self.event_left).unwrap_or(usize::MAX));
                let Some((part, after)) = rest.split_at_checked(len) else {
                    return Err(WalkError::Internal(
                        "an event's part is longer than its block",
                    ));
                };
                match self.event_fate {
                    Fate::Sent => self.packets.put(out, part),
                    Fate::Skipped | Fate::Unwanted => {}
                    Fate::Rewritten => {
                        if let Some(rewriting) = &mut self.rewriting {
                            rewriting.put(part, &mut self.packets.frames, out);
                            self.packets.end_if_complete();
                        }
                    }
                }
                rest = after;
                self.advance(len as u64, offset + (bytes.len() - rest.len()) as u64);
            }
            if rest.len() < HEADER_LEN || self.event_left > 0 {
                return Ok(bytes.len() - rest.len());
            }
            let at = offset + (bytes.len() - rest.len()) as u64;
            let header = EventHeader::parse(rest)?;
            if self.needs_more(&header, rest.len()) {
                return Ok(bytes.len() - rest.len());
            }
            let size = header.event_size as usize;
            self.begin_event(&header, rest.get(..size).unwrap_or(rest), at, out)?;
        }
    }

    /// Whether more of an event than `found` bytes must be read before it is decided on.
    fn needs_more(&self, header: &EventHeader, found: usize) -> bool {
        let size = header.event_size as usize;
        let must_be_complete = match self.support {
            EventSupport::All => header.event_type.is_gtid(),
            EventSupport::NoMariaDbEvents => {
                header.event_type.is_gtid() || old_replicas::is_replaced(header.event_type)
            }
            EventSupport::NoChecksums => return found < size.min(HEAD_LEN),
        };
        must_be_complete && found < size && size <= GTID_EVENT_LEN_MAX
    }

    /// Skips bytes of the current event that need not be read, at most `limit`, and returns their
    /// number.
    pub fn pass_over(&mut self, offset: u64, limit: u64) -> u64 {
        if matches!(self.event_fate, Fate::Sent | Fate::Rewritten) {
            return 0;
        }
        let len = self.event_left.min(limit);
        self.advance(len, offset + len);
        len
    }

    /// Whether the walk is inside an event.
    pub fn is_in_event(&self) -> bool {
        self.event_left > 0
    }

    /// The walk has reached `position`, and nothing follows for now: reports a skipped range
    /// before it to the replica.
    ///
    /// # Errors
    /// [`WalkError::EndReached`], and as [`Walk::put_event`].
    pub fn end_region(&mut self, position: u64, out: &mut Vec<u8>) -> Result<(), WalkError> {
        self.report_skipped(position, out)?;
        self.check_end(position, out)
    }

    /// MySQL: whether transactions are skipped that the replica had when the dump began.
    pub fn skips_a_set(&self) -> bool {
        matches!(&self.skip, SkipRule::Set(set) if !set.is_empty())
    }

    /// The walk has passed the transactions in `passed`: those of them that the replica had need not be
    /// remembered any longer. They do not come again.
    pub fn forget(&mut self, passed: &GtidSet) {
        if let SkipRule::Set(set) = &mut self.skip {
            set.remove(passed);
        }
    }

    /// Between two transactions: ends the walk if the replica wants no more.
    fn check_end(&mut self, position: u64, out: &mut Vec<u8>) -> Result<(), WalkError> {
        let Some(until) = self.until.as_ref().filter(|until| until.is_reached()) else {
            return Ok(());
        };
        let list =
            control_events::gtid_list(self.server_id, position, &until.seen, FLAG_UNTIL_REACHED);
        self.put_event(&list, out)?;
        Err(WalkError::EndReached)
    }

    fn advance(&mut self, len: u64, end: u64) {
        self.event_left -= len;
        if self.event_left == 0
            && self.event_fate == Fate::Skipped
            && matches!(self.skip, SkipRule::Set(_))
        {
            self.skipped_to = Some(end);
        }
    }

    /// Decides on the event at `at`, of which `bytes` is the whole or the beginning.
    fn begin_event(
        &mut self,
        header: &EventHeader,
        bytes: &[u8],
        at: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), WalkError> {
        self.last_event = at;
        self.event_left = u64::from(header.event_size);
        if self.support == EventSupport::NoChecksums {
            return self.begin_without_checksum(header, bytes, at, out);
        }
        let end = Some(at + u64::from(header.event_size));
        let event_type = header.event_type;
        if event_type.is_gtid() {
            self.report_reached(at, out)?;
            self.check_end(at, out)?;
            self.skipping = self.is_skipped(event_type, bytes, at)?;
            if let Some(until) = &mut self.until {
                let passes = until.passes_end(MariaDbGtidEvent::parse(bytes, true)?.gtid);
                self.lacks_skipped = passes && !self.skipping;
                self.skipping |= passes;
            }
        } else if event_type.is_control() {
            self.report_reached(at, out)?;
            if event_type != EventType::FORMAT_DESCRIPTION {
                self.check_end(at, out)?;
            }
            self.skipping = false;
        }
        let is_annotation = event_type == EventType::ANNOTATE_ROWS;
        let is_replaced = self.support == EventSupport::NoMariaDbEvents
            && old_replicas::is_replaced(event_type)
            && (event_type != EventType::MARIADB_GTID || bytes.len() == header.event_size as usize)
            && !(is_annotation && self.annotate_rows);
        self.event_fate = if self.skipping {
            Fate::Skipped
        } else if is_annotation && !self.annotate_rows && !is_replaced {
            Fate::Unwanted
        } else {
            Fate::Sent
        };
        if !event_type.is_control() {
            let is_lacked = self.skipping && self.lacks_skipped;
            self.packets
                .note_event(is_lacked || self.event_fate == Fate::Sent);
        }
        if self.event_fate != Fate::Sent {
            return Ok(());
        }
        self.report_skipped(at, out)?;
        if header.timestamp != 0 {
            self.timestamp = header.timestamp;
        }
        if is_replaced {
            let replacement = old_replicas::replacement(header, bytes)?;
            self.event_fate = Fate::Unwanted;
            return self.put_event_of_file(&replacement, end, out);
        }
        self.begin_packet(u64::from(header.event_size), end, out)
    }

    /// As [`Walk::begin_event`], for a client that does not know checksums: no GTIDs, so that
    /// nothing is skipped.
    fn begin_without_checksum(
        &mut self,
        header: &EventHeader,
        bytes: &[u8],
        at: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), WalkError> {
        let end = Some(at + u64::from(header.event_size));
        if !header.event_type.is_control() {
            self.packets.note_event(true);
        }
        match without_checksums::form(header, bytes)? {
            Form::Replaced(replacement) => {
                self.event_fate = Fate::Unwanted;
                self.put_event_of_file(&replacement, end, out)?;
            }
            Form::Rewritten(rewriting) => {
                self.event_fate = Fate::Rewritten;
                self.rewriting = Some(rewriting);
                self.begin_packet(u64::from(header.event_size), end, out)?;
            }
            Form::Unreadable(cause) => {
                let error = self.wording.unreadable(cause, &self.file_name, at);
                return Err(error.into());
            }
        }
        if header.timestamp != 0 {
            self.timestamp = header.timestamp;
        }
        Ok(())
    }

    /// MariaDB: if the last group to be skipped in a domain has ended, reports that.
    fn report_reached(&mut self, position: u64, out: &mut Vec<u8>) -> Result<(), WalkError> {
        if let (true, SkipRule::UpTo { seen, .. }) = (self.reached, &self.skip) {
            let list = control_events::gtid_list(self.server_id, position, seen, 0);
            self.reached = false;
            self.put_event(&list, out)?;
        }
        if let SkipRule::UpTo { domains, .. } = &self.skip
            && domains.is_empty()
            && !self.reached
        {
            self.skip = SkipRule::Nothing;
        }
        Ok(())
    }

    fn report_skipped(&mut self, position: u64, out: &mut Vec<u8>) -> Result<(), WalkError> {
        if let Some(end) = self.skipped_to.take() {
            self.put_heartbeat(end, out)?;
        }
        self.report_reached(position, out)
    }

    /// Whether the group that begins with this GTID event is skipped.
    fn is_skipped(
        &mut self,
        event_type: EventType,
        bytes: &[u8],
        at: u64,
    ) -> Result<bool, WalkError> {
        match &mut self.skip {
            SkipRule::Nothing => Ok(false),
            SkipRule::Set(set) => {
                if event_type == EventType::ANONYMOUS_GTID {
                    let error = self.wording.anonymous_transaction(&self.file_name, at);
                    return Err(error.into());
                }
                Ok(match Opener::parse(bytes, true)? {
                    Opener::MySql(opener) => opener.gtid.is_some_and(|gtid| set.contains(&gtid)),
                    Opener::MariaDb(_) => false,
                })
            }
            SkipRule::UpTo {
                domains,
                seen,
                strict,
            } => {
                let gtid = MariaDbGtidEvent::parse(bytes, true)?.gtid;
                seen.record(gtid);
                let Some(skip) = domains.get(&gtid.domain_id).copied() else {
                    return Ok(false);
                };
                if gtid == skip.upto {
                    domains.remove(&gtid.domain_id);
                    self.reached = true;
                    return Ok(true);
                }
                let is_later = gtid.seq_no > skip.upto.seq_no;
                if is_later && gtid.server_id == skip.upto.server_id {
                    if *strict {
                        return Err(self.wording.gtid_hole(skip.upto).into());
                    }
                    domains.remove(&gtid.domain_id);
                    return Ok(false);
                }
                match (skip.kind, is_later) {
                    (SkipKind::InLog, _) | (SkipKind::Ahead, false) => Ok(true),
                    (SkipKind::Ahead, true) => {
                        domains.remove(&gtid.domain_id);
                        Ok(false)
                    }
                    (SkipKind::EmptyDomain, true) => {
                        Err(self.wording.gtid_diverged(skip.upto).into())
                    }
                    (SkipKind::EmptyDomain, false) => {
                        Err(self.wording.gtid_not_found(skip.upto).into())
                    }
                }
            }
        }
    }
}
