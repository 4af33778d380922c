//! Reading a dump's packets as events.

use super::dump_position::DumpPosition;
use super::error::ReceiverError;
use crate::binlog::HEADER_LEN;
use crate::binlog::event::EventHeader;
use crate::connection::Connection;
use crate::protocol::framing::{FRAME_PAYLOAD_MAX, PacketPart};
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
    if let Some((length, payload)) = connection.incomplete_packet() {
        check_length(length, payload, position, is_semi_sync)?;
    }
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

/// Checks by the header of an event that its packet, of which more is to arrive, is not longer than the event: the
/// relay would wait for bytes that never come. `length` is that of the packet's first frame.
fn check_length(
    length: usize,
    payload: &[u8],
    position: &DumpPosition,
    is_semi_sync: bool,
) -> Result<(), ReceiverError> {
    let [0, bytes @ ..] = payload else {
        return Ok(());
    };
    let with_header = semi_sync::split_event(bytes).map(|(_, event)| event);
    let event = match is_semi_sync {
        true => with_header.unwrap_or_default(),
        false => bytes,
    };
    let has_length = |event: &[u8], size: u32| {
        let found = (length + event.len()).saturating_sub(payload.len());
        match length < FRAME_PAYLOAD_MAX {
            true => found == size as usize,
            false => found <= size as usize,
        }
    };
    if event.len() < HEADER_LEN {
        return Ok(());
    }
    let header = EventHeader::parse(event).map_err(|cause| position.damage(cause))?;
    if has_length(event, header.event_size) {
        return Ok(());
    }
    // A header for semi-sync that was not requested is refused when the packet is there.
    let unasked = with_header.and_then(|event| Some((EventHeader::parse(event).ok()?, event)));
    if unasked.is_some_and(|(header, event)| has_length(event, header.event_size)) {
        return Ok(());
    }
    Err(position.wrong_size(
        &header,
        (length + event.len()).saturating_sub(payload.len()),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::{EventType, event};

    #[test]
    fn packet_that_is_longer_than_its_event_is_refused_before_it_has_arrived() {
        let header = EventHeader {
            timestamp: 1,
            event_type: EventType::XID,
            server_id: 1,
            event_size: 0,
            log_pos: 0,
            flags: 0,
        };
        let event = event::build(header, &[7; 100]);
        let position = DumpPosition::new();
        for (prefix, is_semi_sync) in [
            (&[0][..], false),
            (&[0, 0xEF, 1], true),
            // Refused as a whole packet, with the reason.
            (&[0, 0xEF, 1], false),
        ] {
            let packet = [prefix, &event].concat();
            for arrived in [0, 1, 10, 30, packet.len() - 1] {
                let (payload, _) = packet.split_at(arrived);
                let check = |len| check_length(len, payload, &position, is_semi_sync);
                check(packet.len()).unwrap();
                for wrong in [packet.len() - 1, packet.len() + 1, FRAME_PAYLOAD_MAX] {
                    let is_readable = arrived >= prefix.len() + HEADER_LEN;
                    assert_eq!(check(wrong).is_err(), is_readable, "{wrong}, {arrived}");
                }
            }
        }
        let error = [0xff; 40];
        check_length(500, &error, &position, false).unwrap();
    }
}
