//! Reads one transaction of a log file, and checks it without the index.

use crate::binlog::mysql_gtid::LogicalClock;
use crate::binlog::{EventType, FormatDescription, Opener, event};
use crate::flavor::Flavor;
use crate::identity::{Fingerprint, Identity};
use crate::inspect::{ChecksumState, EventReader, FileEvent, InspectError};
use crate::transaction::boundary::{Boundary, begins_without_opener};

/// The content of the log at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole transaction.
    Transaction(FoundTransaction),
    /// A ROTATE event: the file is finished.
    Rotate,
    /// The end of the file.
    End,
}

/// A transaction of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundTransaction {
    pub(super) identity: Identity,
    /// MySQL's logical clock.
    pub(super) clock: Option<LogicalClock>,
    /// Offset of its first event.
    pub(super) start: u64,
    /// Offset of its end.
    pub(super) end: u64,
}

/// Where and why reading stopped.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) offset: u64,
    pub(super) what: String,
}

/// Reads the transaction, or the ROTATE event, at the current offset of `reader`.
pub(super) fn read_next(reader: &mut EventReader) -> Result<Found, Fault> {
    let Some(opener) = next_event(reader)? else {
        return Ok(Found::End);
    };
    let start = opener.position;
    let event_type = opener.header.event_type;
    if event_type == EventType::ROTATE {
        return Ok(Found::Rotate);
    }
    let fault = |what: String| Fault {
        offset: start,
        what,
    };
    // MySQL before 5.7 writes no openers, and the log contains its sources' events.
    let is_mysql =
        |format: &FormatDescription| Flavor::of_version(&format.server_version) == Flavor::MySql;
    let bare = begins_without_opener(event_type) && reader.format().is_some_and(is_mysql);
    if !event_type.is_gtid() && !bare {
        return Err(fault(format!(
            "{event_type} event outside any transaction, expected a GTID event"
        )));
    }
    let parsed = match bare {
        true => None,
        false => Some(
            Opener::parse(reader.event(), reader.is_checksummed())
                .map_err(|error| fault(error.to_string()))?,
        ),
    };
    let after = |boundary: Boundary, reader: &EventReader, event: &FileEvent| {
        let (event_type, checksummed) = (event.header.event_type, reader.is_checksummed());
        let after = boundary.after_event(event_type, reader.event(), checksummed, bare);
        after.map_err(|error| Fault {
            offset: event.position,
            what: error.to_string(),
        })
    };
    let mut boundary = after(Boundary::Outside, reader, &opener)?;
    let mut end = opener.end();
    while boundary != Boundary::Outside {
        let Some(event) = next_event(reader)? else {
            return Err(fault(format!(
                "the file ends at {end}, inside the transaction that begins here"
            )));
        };
        let event_type = event.header.event_type;
        if event_type.is_gtid() || event_type.is_control() {
            return Err(Fault {
                offset: event.position,
                what: format!("{event_type} event inside the transaction that begins at {start}"),
            });
        }
        boundary = after(boundary, reader, &event)?;
        end = event.end();
    }
    let length = parsed.as_ref().and_then(Opener::transaction_length);
    if let Some(length) = length.filter(|length| *length != end - start) {
        return Err(fault(format!(
            "transaction_length is {length}, expected {}",
            end - start
        )));
    }
    Ok(Found::Transaction(FoundTransaction {
        identity: parsed.as_ref().map_or(
            Identity::Anonymous(Fingerprint::default()),
            Identity::of_opener,
        ),
        clock: parsed.as_ref().and_then(Opener::clock),
        start,
        end,
    }))
}

/// The next event, with the right checksum and log_pos.
pub(super) fn next_event(reader: &mut EventReader) -> Result<Option<FileEvent>, Fault> {
    let offset = reader.offset();
    let fault = |what: String| Fault { offset, what };
    let event = match reader.next_event() {
        Ok(Some(event)) => event,
        Ok(None) => return Ok(None),
        Err(InspectError::Damaged { offset, cause, .. }) => {
            return Err(Fault {
                offset,
                what: cause,
            });
        }
        Err(error) => return Err(fault(error.to_string())),
    };
    match event.checksum {
        ChecksumState::Ok => {}
        ChecksumState::Bad => {
            let cause = match event::verify_checksum(reader.event()) {
                Err(cause) if event.whole => cause.to_string(),
                _ => format!("{} event: checksum mismatch", event.header.event_type),
            };
            return Err(fault(cause));
        }
        ChecksumState::None => return Err(fault("event without a checksum".to_owned())),
    }
    if event.header.log_pos != event.end() as u32 {
        return Err(fault(format!(
            "{} event: log_pos is {}, expected {}",
            event.header.event_type,
            event.header.log_pos,
            event.end() as u32
        )));
    }
    Ok(Some(event))
}
