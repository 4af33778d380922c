//! Reading a source's binlog without taking it in: to find a start, and what lies before it.

use std::sync::Arc;
use std::time::Duration;

use super::dump_position::{Change, DumpPosition};
use super::error::ReceiverError;
use super::listening::Listening;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::{EventType, Opener};
use crate::connection::{Connection, Phase};
use crate::gtid::{BinlogState, GtidSet};
use crate::identity::Identity;
use crate::identity::{Executed, IdentityKind};
use crate::protocol::framing::PacketPart;
use crate::protocol::response;
use crate::transaction::boundary::{self, Boundary};

/// What a scan of the source's binlog found.
pub(super) struct Scanned {
    pub(super) place: DumpPosition,
    pub(super) before: Executed,
    boundary: Boundary,
    /// The file that the dump has left, and its end.
    left: Option<(Arc<str>, u64)>,
}

/// Where a scan ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    /// At this place of the first file; `None`: before the first transaction.
    pub(super) place: Option<u64>,
    /// Whether a person gave it: then it must be the border of a transaction.
    pub(super) is_given: bool,
}

/// Reads a dump that was asked for from its start up to `until`, and gathers the transactions that
/// it passes.
pub(super) async fn scan(
    connection: &mut Connection,
    read_timeout: Duration,
    kind: IdentityKind,
    until: Until,
) -> Result<Scanned, ReceiverError> {
    connection.set_phase(Phase::Dump);
    let mut scanned = Scanned {
        place: DumpPosition::new(),
        before: match kind {
            IdentityKind::Anonymous => Executed::Anonymous,
            known => Executed::empty(known.flavor()),
        },
        boundary: Boundary::Outside,
        left: None,
    };
    let mut listening = Listening::new(read_timeout);
    let (mut skipping, mut heard) = (false, false);
    loop {
        let Some(part) = connection.buffered_part()? else {
            if std::mem::take(&mut heard) {
                listening.heard(connection);
            }
            listening.fill(connection).await?;
            continue;
        };
        heard = true;
        let packet = match part {
            PacketPart::Whole(packet) => packet,
            PacketPart::Begin(head) => {
                skipping = true;
                head
            }
            PacketPart::Continue(_) => continue,
            PacketPart::End(_) => {
                skipping = false;
                continue;
            }
        };
        if response::is_error(packet) {
            return Err(match response::parse_error(packet) {
                Ok(error) => ReceiverError::Source(error),
                Err(_) => scanned
                    .place
                    .contradiction("a broken error".to_owned(), "an event"),
            });
        }
        if response::is_eof(packet) {
            break;
        }
        let event = packet.get(1..).unwrap_or(&[]);
        scanned.take(event, skipping)?;
        if scanned.is_there(event, until)? {
            break;
        }
    }
    match until.place {
        Some(place) => scanned.checked(place, until.is_given),
        None => Ok(scanned),
    }
}

impl Scanned {
    /// Whether the event says what lies before the file.
    fn has_previous(&self, event: &[u8]) -> bool {
        let kind = event.get(4).map(|kind| EventType(*kind));
        matches!(kind, Some(EventType::PREVIOUS_GTIDS | EventType::GTID_LIST))
    }

    /// Whether the scan ends behind `event`.
    fn is_there(&mut self, event: &[u8], until: Until) -> Result<bool, ReceiverError> {
        let Some(place) = until.place else {
            // Without GTIDs nothing says what lies before the file.
            if self.before == Executed::Anonymous {
                return Ok(self.place.format.is_some());
            }
            let kind = EventType(event.get(4).copied().unwrap_or_default());
            if kind.is_gtid() || self.has_previous(event) {
                return Ok(true);
            }
            // To read on until there are GTIDs would leave these out without a word.
            return match kind.is_control() || kind == EventType::IGNORABLE {
                true => Ok(false),
                false => Err(self.without_gtids()),
            };
        };
        Ok(match self.left.take() {
            // The file's own end is a place in it, even if the dump is in the next already.
            Some((file, end)) => {
                (self.place.file, self.place.position) = (file, end);
                true
            }
            None => self.place.format.is_some() && self.place.position >= place,
        })
    }

    fn without_gtids(&self) -> ReceiverError {
        let format = self.place.format.as_deref();
        ReceiverError::setup(
            format!(
                "the source's file {} holds transactions without GTIDs, written by version {}",
                self.place.file,
                format.map_or("?", |format| &format.server_version)
            ),
            "give a start behind them (a later file, as \"FILE:4\") and seed the replicas there, or \
             purge them on the source once the replicas have them",
        )
    }

    /// The scan's result, if it has ended where it was to end.
    fn checked(self, place: u64, is_given: bool) -> Result<Self, ReceiverError> {
        let (file, end) = (&self.place.file, self.place.position);
        if end < place || (is_given && end > place) {
            return Err(ReceiverError::setup(
                format!(
                    "start = \"{file}:{place}\" is no event's border: the events nearest to it end \
                     at {end}"
                ),
                "give a position that SHOW BINLOG EVENTS or mysqlbinlog lists",
            ));
        }
        if is_given && self.boundary != Boundary::Outside {
            return Err(ReceiverError::setup(
                format!("start = \"{file}:{place}\" is inside a transaction"),
                "give the position before a GTID event, or before a BEGIN where there are no GTIDs",
            ));
        }
        Ok(self)
    }

    /// Takes in an event, or the head of a large one.
    fn take(&mut self, event: &[u8], is_head: bool) -> Result<(), ReceiverError> {
        let header = EventHeader::parse(event).map_err(|cause| self.place.damage(cause))?;
        let checksummed = self.place.is_checksummed();
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
                return Err(self.place.contradiction(
                    format!(
                        "a {} event of {} bytes",
                        header.event_type, header.event_size
                    ),
                    "one of at most 1 MiB",
                ));
            }
            kind if kind.is_gtid() => {
                let opener = Opener::parse(event, checksummed && !is_head)
                    .map_err(|cause| self.place.damage(cause))?;
                self.before.record(&Identity::of_opener(&opener));
            }
            EventType::ROTATE | EventType::FORMAT_DESCRIPTION | EventType::HEARTBEAT => {
                let (file, end) = (self.place.file.clone(), self.place.after(&header));
                let change = self.place.control(&header, event)?;
                if change != Change::Position {
                    self.boundary = Boundary::Outside; // The source was cut off in it.
                }
                if *self.place.file != *file && !file.is_empty() {
                    self.left = Some((file, end));
                }
                return Ok(());
            }
            _ => {}
        }
        let format = self.place.format.as_deref();
        let without_opener = format.is_some_and(boundary::has_groups_without_opener);
        let checksummed = checksummed && !is_head;
        self.boundary = self
            .boundary
            .after_event(header.event_type, event, checksummed, without_opener)
            .map_err(|cause| self.place.damage(cause))?;
        self.place.position = self.place.after(&header);
        Ok(())
    }
}
