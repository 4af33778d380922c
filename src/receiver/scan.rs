//! Reading a source's binlog without recording it: to find a start, and what precedes it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::dump_position::{Change, DumpPosition};
use super::error::ReceiverError;
use super::listening::Listening;
use super::packets::{DumpPart, next_part};
use crate::binlog::event::{self, EventHeader};
use crate::binlog::{EventType, Opener};
use crate::connection::{Connection, Phase};
use crate::gtid::{BinlogState, GtidSet};
use crate::identity::{Executed, Identity, IdentityKind};
use crate::position::SourcePosition;
use crate::transaction::boundary::{self, Boundary};

/// The result of a scan of the source's binlog.
pub(super) struct Scanned {
    pub(super) position: DumpPosition,
    pub(super) before: Executed,
    /// MariaDB: the newest number of each (domain, server) pair that had a higher one before, as after RESET MASTER on
    /// that server. Which of both the next transactions follow cannot be seen.
    went_back: BTreeMap<(u32, u32), u64>,
    boundary: Boundary,
    /// The end of the file that the dump has just left.
    left: Option<SourcePosition>,
    /// Where [`Until::position`] was reached.
    reached: Option<Reached>,
}

/// The boundary at which a position was reached.
#[derive(Debug, Clone, Copy)]
struct Reached {
    offset: u64,
    boundary: Boundary,
}

/// Where a scan ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Until {
    /// Before the first transaction.
    FirstTransaction,
    /// At the source's end, in the first file that is sent.
    SourceEnd(SourcePosition),
    /// At the configured start, in the first file that is sent: it must be a transaction boundary.
    ConfiguredStart(SourcePosition),
}

impl Until {
    /// The position, unless it is to be found.
    pub(super) fn position(&self) -> Option<&SourcePosition> {
        match self {
            Until::FirstTransaction => None,
            Until::SourceEnd(position) | Until::ConfiguredStart(position) => Some(position),
        }
    }
}

/// Reads a requested dump from its start up to `until`, and collects the transactions that precede
/// that position.
pub(super) async fn scan(
    connection: &mut Connection,
    read_timeout: Duration,
    kind: IdentityKind,
    until: &Until,
) -> Result<Scanned, ReceiverError> {
    connection.set_phase(Phase::Dump);
    let mut scanned = Scanned {
        position: DumpPosition::new(),
        before: match kind {
            IdentityKind::Anonymous => Executed::Anonymous,
            known => Executed::empty(known.flavor()),
        },
        went_back: BTreeMap::new(),
        boundary: Boundary::Outside,
        left: None,
        reached: None,
    };
    let mut listening = Listening::new(read_timeout);
    let mut has_read = false;
    loop {
        let Some(part) = next_part(connection, &scanned.position)? else {
            if std::mem::take(&mut has_read) {
                listening.heard(connection);
            }
            listening.fill(connection).await?;
            continue;
        };
        has_read = true;
        let (header, event, is_head) = match part {
            DumpPart::Event(header, event) => (header, event, false),
            DumpPart::Begin(header, head) => (header, head, true),
            DumpPart::Continue(_) | DumpPart::End(_) => continue,
            DumpPart::EndOfDump => break,
        };
        scanned.pass(&header, event, is_head)?;
        if scanned.is_finished(header.event_type, until)? {
            break;
        }
    }
    scanned.checked(until)
}

impl Scanned {
    /// Whether the scan ends after an event of this type.
    fn is_finished(&mut self, kind: EventType, until: &Until) -> Result<bool, ReceiverError> {
        let Some(end) = until.position() else {
            return self.is_before_first_transaction(kind);
        };
        if let Some(file_end) = self.left.take()
            && self.reached.is_none()
        {
            // The file's own end is a position in it, even if the dump is in the next already.
            self.position.at = file_end;
            return Ok(true);
        }
        let offset = self.position.at.offset;
        if self.reached.is_none() && offset >= end.offset {
            let boundary = self.boundary;
            self.reached = Some(Reached { offset, boundary });
        }
        // A position in the file's head precedes the list of the earlier transactions.
        let is_head = matches!(kind, EventType::ROTATE | EventType::FORMAT_DESCRIPTION);
        match self.reached {
            None => Ok(false),
            Some(reached) if reached.offset < offset || is_head => {
                self.is_before_first_transaction(kind)
            }
            Some(_) => Ok(true),
        }
    }

    fn is_before_first_transaction(&self, kind: EventType) -> Result<bool, ReceiverError> {
        // Without GTIDs nothing lists the transactions of earlier files.
        if self.before == Executed::Anonymous {
            return Ok(self.position.format.is_some());
        }
        let lists_earlier = matches!(kind, EventType::PREVIOUS_GTIDS | EventType::GTID_LIST);
        if kind.is_gtid() || lists_earlier {
            return Ok(true);
        }
        // To read on until there are GTIDs would silently skip these transactions.
        match kind.is_control() || kind == EventType::IGNORABLE {
            true => Ok(false),
            false => Err(self.without_gtids()),
        }
    }

    fn without_gtids(&self) -> ReceiverError {
        let format = self.position.format.as_deref();
        ReceiverError::setup(
            format!(
                "the source's file {} contains transactions without GTIDs, written by version {}",
                self.position.at.file,
                format.map_or("?", |format| &format.server_version)
            ),
            "configure a start after them (a later file, as \"FILE:4\") and seed the replicas \
             there, or purge them on the source once the replicas have them",
        )
    }

    /// The scan's result, if it has ended at `until`.
    fn checked(self, until: &Until) -> Result<Self, ReceiverError> {
        let Some(expected) = until.position() else {
            return Ok(self);
        };
        let is_configured = matches!(until, Until::ConfiguredStart(_));
        let file = &self.position.at.file;
        let (end, boundary) = match self.reached {
            Some(reached) => (reached.offset, reached.boundary),
            None => (self.position.at.offset, self.boundary),
        };
        let start = expected.offset;
        if end < start || (is_configured && end > start) {
            return Err(ReceiverError::setup(
                format!(
                    "start = \"{file}:{start}\" is not an event boundary; the nearest events end \
                     at {end}"
                ),
                "use a position that SHOW BINLOG EVENTS or mysqlbinlog lists",
            ));
        }
        if is_configured && boundary != Boundary::Outside {
            return Err(ReceiverError::setup(
                format!("start = \"{file}:{start}\" is inside a transaction"),
                "use the position before a Gtid or Anonymous_Gtid event (MySQL 5.6 without GTIDs: \
                 before a BEGIN)",
            ));
        }
        match self.went_back.first_key_value() {
            None => Ok(self),
            Some((pair, newest)) => Err(self.numbers_went_back(start, *pair, *newest)),
        }
    }

    /// The higher number may be of a history that has ended, as after RESET MASTER: then those up to it are still to come.
    /// Or the newest transactions were executed again: then they are not.
    fn numbers_went_back(
        &self,
        start: u64,
        (domain_id, server_id): (u32, u32),
        newest: u64,
    ) -> ReceiverError {
        let state = self.before.as_mariadb();
        let highest = state.and_then(|state| state.highest(domain_id, server_id));
        let file = &self.position.at.file;
        ReceiverError::setup(
            format!(
                "{file}:{start} is after transaction {domain_id}-{server_id}-{newest}, which this file has \
                 after {domain_id}-{server_id}-{}: server_id {server_id} was reset, or has executed transactions again",
                highest.unwrap_or(newest)
            ),
            "run FLUSH BINARY LOGS on the source, and use the beginning of its new file (\"FILE:4\")",
        )
    }

    fn record(&mut self, identity: Identity) {
        if let (Identity::MariaDb(gtid), Executed::MariaDb(state)) = (&identity, &self.before) {
            let pair = (gtid.domain_id, gtid.server_id);
            match state.highest(gtid.domain_id, gtid.server_id) {
                Some(highest) if gtid.seq_no < highest => {
                    self.went_back.insert(pair, gtid.seq_no);
                }
                _ => {
                    self.went_back.remove(&pair);
                }
            }
        }
        self.before.record(&identity);
    }

    /// Passes an event, or the head of a large one.
    fn pass(
        &mut self,
        header: &EventHeader,
        event: &[u8],
        is_head: bool,
    ) -> Result<(), ReceiverError> {
        if matches!(
            header.event_type,
            EventType::ROTATE | EventType::FORMAT_DESCRIPTION | EventType::HEARTBEAT
        ) {
            return self.pass_control(header, event);
        }
        self.position.check_file_format(header, event)?;
        // What follows a transaction's beginning may be damaged on the source's disk: `binrelay continue --at` passes over it.
        if !is_head && (self.boundary == Boundary::Outside || header.event_type.is_gtid()) {
            self.position.verify(header, event)?;
        }
        let checksummed = self.position.is_checksummed();
        let body = event::body(event, checksummed && !is_head);
        let list_error = |what| move |cause| ReceiverError::Gtid { what, cause };
        match header.event_type {
            EventType::PREVIOUS_GTIDS if self.before == Executed::Anonymous => {}
            EventType::PREVIOUS_GTIDS if !is_head => {
                let set = GtidSet::decode(body)
                    .map_err(list_error("the source's Previous_gtids event"))?;
                self.before = Executed::MySql(set);
            }
            EventType::GTID_LIST if !is_head => {
                let (state, _) = BinlogState::decode_gtid_list(body)
                    .map_err(list_error("the source's Gtid_list event"))?;
                self.before = Executed::MariaDb(state);
            }
            EventType::PREVIOUS_GTIDS | EventType::GTID_LIST => {
                return Err(self.position.contradiction(
                    format!(
                        "a {} event of {} bytes",
                        header.event_type, header.event_size
                    ),
                    "one of at most 1 MiB",
                ));
            }
            kind if kind.is_gtid() => {
                let opener = Opener::parse(event, checksummed && !is_head)
                    .map_err(|cause| self.position.damage(cause))?;
                self.record(Identity::of_opener(&opener));
            }
            _ => {}
        }
        let format = self.position.format.as_deref();
        let without_opener = format.is_some_and(boundary::has_groups_without_opener);
        let checksummed = checksummed && !is_head;
        self.boundary = self
            .boundary
            .after_event(header.event_type, event, checksummed, without_opener)
            .map_err(|cause| self.position.damage(cause))?;
        self.position.pass(self.position.after(header));
        Ok(())
    }

    fn pass_control(&mut self, header: &EventHeader, event: &[u8]) -> Result<(), ReceiverError> {
        let from = self.position.at.file.clone();
        let end = self.position.after(header);
        let change = self.position.control(header, event)?;
        if change != Change::Position {
            self.boundary = Boundary::Outside; // The source crashed while it wrote a transaction.
        }
        if self.position.at.file != from && !from.is_empty() {
            self.left = Some(SourcePosition::new(from, end));
        }
        Ok(())
    }
}
