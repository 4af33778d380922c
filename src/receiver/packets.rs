//! Reading a dump's packets as events.

use super::dump_position::DumpPosition;
use super::error::ReceiverError;
use crate::binlog::HEADER_LEN;
use crate::binlog::event::EventHeader;
use crate::connection::Connection;
use crate::protocol::framing::PacketPart;
use crate::protocol::{response, semi_sync};

/// An event, or a part of one that is larger than the read buffer.
#[derive(Debug)]
pub(super) enum DumpPart<'p> {
    /// A whole event.
    Event(EventHeader, &'p [u8]),
    /// The first bytes of a large event, at least its header.
    Begin(EventHeader, &'p [u8]),
    /// More bytes of a large event.
    Continue(&'p [u8]),
    /// The last bytes of a large event.
    End(&'p [u8]),
    /// The source ended the dump without an error.
    EndOfDump,
}

/// What was received of a dump.
#[derive(Debug)]
pub(super) struct Received<'p> {
    pub(super) part: DumpPart<'p>,
    /// Whether the source wants an acknowledgement of the event that begins here.
    pub(super) wants_acknowledgement: bool,
}

/// As [`next_received`], for a dump that is not semi-synchronous.
pub(super) fn next_part<'c>(
    connection: &'c mut Connection,
    position: &DumpPosition,
) -> Result<Option<DumpPart<'c>>, ReceiverError> {
    let received = next_received(connection, position, false)?;
    Ok(received.map(|received| received.part))
}

/// The next part of a dump that is in the read buffer; `None` when more must be read. `position`
/// is that of the dump, for errors.
///
/// # Errors
/// When the source sent an error, or a packet that is not an event, or one whose header for semi-sync
/// is missing or was not requested.
pub(super) fn next_received<'c>(
    connection: &'c mut Connection,
    position: &DumpPosition,
    is_semi_sync: bool,
) -> Result<Option<Received<'c>>, ReceiverError> {
    let rest = |part| {
        Some(Received {
            part,
            wants_acknowledgement: false,
        })
    };
    let (packet, is_whole) = match connection.buffered_part()? {
        None => return Ok(None),
        Some(PacketPart::Continue(bytes)) => return Ok(rest(DumpPart::Continue(bytes))),
        Some(PacketPart::End(bytes)) => return Ok(rest(DumpPart::End(bytes))),
        Some(PacketPart::Whole(packet)) => (packet, true),
        Some(PacketPart::Begin(packet)) => (packet, false),
    };
    if response::is_error(packet) {
        return Err(match response::parse_error(packet) {
            Ok(error) => ReceiverError::Source(error),
            Err(_) => position.contradiction("a malformed error packet".to_owned(), "an event"),
        });
    }
    if response::is_eof(packet) {
        return Ok(rest(DumpPart::EndOfDump));
    }
    let Some((0, bytes)) = packet.split_first() else {
        return Err(not_an_event(packet, position));
    };
    let (wants_acknowledgement, event) = match is_semi_sync {
        true => semi_sync::split_event(bytes).ok_or_else(|| {
            let found = "an event without the header of semi-synchronous replication";
            position.contradiction(found.to_owned(), "that header, which was requested")
        })?,
        false => (false, bytes),
    };
    if event.len() < HEADER_LEN {
        return Err(not_an_event(packet, position));
    }
    let header = EventHeader::parse(event).map_err(|cause| position.damage(cause))?;
    if !is_semi_sync && is_whole && header.event_size as usize != event.len() {
        check_no_semi_sync(event, position)?;
    }
    let part = match is_whole {
        true => DumpPart::Event(header, event),
        false => DumpPart::Begin(header, event),
    };
    Ok(Some(Received {
        part,
        wants_acknowledgement,
    }))
}

fn not_an_event(packet: &[u8], position: &DumpPosition) -> ReceiverError {
    position.contradiction(
        format!("a packet of {} bytes", packet.len()),
        "an event, which has at least 19 bytes",
    )
}

/// Checks that an event whose length is not that of its packet has no header for semi-sync.
fn check_no_semi_sync(bytes: &[u8], position: &DumpPosition) -> Result<(), ReceiverError> {
    let inner = semi_sync::split_event(bytes);
    let inner = inner.and_then(|(_, event)| Some((EventHeader::parse(event).ok()?, event)));
    match inner {
        Some((header, event)) if header.event_size as usize == event.len() => {
            let found = "an event with the header of semi-synchronous replication";
            Err(position.contradiction(found.to_owned(), "no such header: it was not requested"))
        }
        _ => Ok(()),
    }
}
