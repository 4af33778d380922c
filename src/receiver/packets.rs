//! Reading a dump's packets as events.

use super::dump_position::DumpPosition;
use super::error::ReceiverError;
use crate::binlog::HEADER_LEN;
use crate::binlog::event::EventHeader;
use crate::connection::Connection;
use crate::protocol::framing::PacketPart;
use crate::protocol::response;

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

/// The next part of a dump that is in the read buffer; `None` when more must be read. `position`
/// is that of the dump, for errors.
///
/// # Errors
/// When the source sent an error, or a packet that is not an event.
pub(super) fn next_part<'c>(
    connection: &'c mut Connection,
    position: &DumpPosition,
) -> Result<Option<DumpPart<'c>>, ReceiverError> {
    let (packet, is_whole) = match connection.buffered_part()? {
        None => return Ok(None),
        Some(PacketPart::Continue(bytes)) => return Ok(Some(DumpPart::Continue(bytes))),
        Some(PacketPart::End(bytes)) => return Ok(Some(DumpPart::End(bytes))),
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
        return Ok(Some(DumpPart::EndOfDump));
    }
    let event = match packet.split_first() {
        Some((0, event)) if event.len() >= HEADER_LEN => event,
        _ => {
            return Err(position.contradiction(
                format!("a packet of {} bytes", packet.len()),
                "an event, which has at least 19 bytes",
            ));
        }
    };
    let header = EventHeader::parse(event).map_err(|cause| position.damage(cause))?;
    Ok(Some(match is_whole {
        true => DumpPart::Event(header, event),
        false => DumpPart::Begin(header, event),
    }))
}
