//! Where in a source's binlog the stream of a dump stands: what control events say.

use std::sync::Arc;

use super::error::ReceiverError;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::binlog::rotate::Rotate;
use crate::binlog::{EventError, EventType, FormatDescription};

/// The source's file and position, and what its events look like.
#[derive(Debug, Clone)]
pub(super) struct DumpPosition {
    pub(super) file: Arc<str>,
    /// Behind the newest event.
    pub(super) position: u64,
    pub(super) format: Option<Arc<FormatDescription>>,
    /// When the file's format description was written, by the source's clock.
    pub(super) file_timestamp: u32,
}

/// What a control event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// The stream goes on in another file or at another place.
    File,
    /// The events that follow may look different.
    Format,
    /// The position moved without a transaction.
    Position,
}

impl DumpPosition {
    pub(super) fn new() -> Self {
        Self {
            file: Arc::from(""),
            position: 0,
            format: None,
            file_timestamp: 0,
        }
    }

    /// Whether the events end with a checksum, as far as is known.
    pub(super) fn is_checksummed(&self) -> bool {
        self.format
            .as_ref()
            .is_some_and(|format| format.checksum == Checksum::Crc32)
    }

    /// The source's position behind an event, when there is one: events that stand in no file do
    /// not move it. A header has only the position's lower 32 bits.
    pub(super) fn after(&self, header: &EventHeader) -> u64 {
        if header.log_pos == 0 || header.is_artificial() {
            return self.position;
        }
        let next = self.position + u64::from(header.event_size);
        if next as u32 == header.log_pos {
            return next;
        }
        // The source left events out (a GTID dump, or events that it does not send). A place
        // behind is none: then event lengths add up, as in MySQL's replicas.
        self.ahead(header.log_pos).unwrap_or(next)
    }

    /// The place not before this one that has these lower 32 bits; `None` when they are rather
    /// those of a place before it.
    fn ahead(&self, low: u32) -> Option<u64> {
        let here = self.position as u32;
        let has_wrapped = here.saturating_sub(low) > 1 << 31;
        (low >= here || has_wrapped).then(|| self.position + u64::from(low.wrapping_sub(here)))
    }

    /// Takes in a whole control event.
    pub(super) fn control(
        &mut self,
        header: &EventHeader,
        event: &[u8],
    ) -> Result<Change, ReceiverError> {
        let has_checksum = match header.event_type {
            EventType::FORMAT_DESCRIPTION => !has_stale_checksum(event),
            EventType::ROTATE if is_made_up(header) => false, // It is tried below.
            _ => self.is_checksummed(),
        };
        if has_checksum {
            event::verify_checksum(event).map_err(|cause| self.damage(cause))?;
        }
        match header.event_type {
            EventType::ROTATE => self.rotate(header, event),
            EventType::FORMAT_DESCRIPTION => {
                let format = FormatDescription::parse(event).map_err(|cause| self.damage(cause))?;
                self.position = self.after(header);
                self.file_timestamp = header.timestamp;
                // A source sends the description again at every start of a dump; most often it
                // says nothing new.
                if self.format.as_deref() == Some(&format) {
                    return Ok(Change::Nothing);
                }
                self.format = Some(Arc::new(format));
                Ok(Change::Format)
            }
            EventType::HEARTBEAT => self.heartbeat(header, event),
            _ => {
                self.position = self.after(header);
                Ok(Change::Position)
            }
        }
    }

    fn rotate(&mut self, header: &EventHeader, event: &[u8]) -> Result<Change, ReceiverError> {
        // The first one comes before any format description, others between two of them; whether
        // they have a checksum can only be seen by trying.
        let checksummed = match self.format {
            Some(_) if !is_made_up(header) => self.is_checksummed(),
            _ => event::verify_checksum(event).is_ok(),
        };
        let body = event::body(event, checksummed);
        let rotate = Rotate::parse(body).map_err(|cause| self.damage(cause))?;
        let file = String::from_utf8_lossy(rotate.file);
        // A name with the remains of a wrong checksum must not be asked for next time.
        if !is_file_name(&file) {
            return Err(self.contradiction(
                format!("a rotate event to {file:?}"),
                "the name of a binlog file and its number",
            ));
        }
        if *file == *self.file && rotate.position == self.position {
            return Ok(Change::Nothing);
        }
        self.file = Arc::from(&*file);
        self.position = rotate.position;
        Ok(Change::File)
    }

    /// A heartbeat says where the source's dump stands; that must be where we stand, or further,
    /// when it left events out.
    fn heartbeat(&mut self, header: &EventHeader, event: &[u8]) -> Result<Change, ReceiverError> {
        let body = event::body(event, self.is_checksummed());
        let file = String::from_utf8_lossy(body);
        let Some(place) = self.ahead(header.log_pos).filter(|_| *file == *self.file) else {
            return Err(self.contradiction(
                format!("a heartbeat for {:?}:{}", &*file, header.log_pos),
                "one for the place where the stream stands",
            ));
        };
        self.position = place;
        Ok(Change::Position)
    }

    pub(super) fn damage(&self, cause: EventError) -> ReceiverError {
        ReceiverError::Transaction {
            file: self.file.to_string(),
            position: self.position,
            cause: cause.into(),
        }
    }

    pub(super) fn contradiction(&self, found: String, expected: &'static str) -> ReceiverError {
        let (file, position) = (self.file.to_string(), self.position);
        ReceiverError::Stream {
            file,
            position,
            found,
            expected,
        }
    }
}

/// Whether a format description's own checksum means nothing: for a dump that starts within a file
/// a source clears fields of it, and computes the checksum anew only if its events have one.
fn has_stale_checksum(event: &[u8]) -> bool {
    FormatDescription::parse(event)
        .is_ok_and(|format| format.checksum == Checksum::None && format.created == 0)
}

/// Whether a source made the rotate event up for the connection.
fn is_made_up(header: &EventHeader) -> bool {
    header.is_artificial() || header.timestamp == 0
}

/// All servers name binlog files `BASENAME.NUMBER`.
fn is_file_name(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(base, number)| {
        !base.is_empty()
            && !base.contains(|c: char| c.is_control() || c == '/' || c == '\u{fffd}')
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::rotate;

    fn header(log_pos: u32, event_size: u32) -> EventHeader {
        let event_type = EventType::XID;
        EventHeader {
            timestamp: 1,
            event_type,
            server_id: 1,
            event_size,
            log_pos,
            flags: 0,
        }
    }

    fn at(position: u64) -> DumpPosition {
        DumpPosition {
            file: Arc::from("bin.000001"),
            position,
            format: None,
            file_timestamp: 0,
        }
    }

    #[test]
    fn positions_go_on_behind_4_gib() {
        assert_eq!(at(100).after(&header(150, 50)), 150);
        assert_eq!(at(100).after(&header(0, 50)), 100);
        assert_eq!(at(100).after(&header(400, 50)), 400, "events were left out");
        let near = u64::from(u32::MAX) - 10;
        assert_eq!(at(near).after(&header(39, 50)), near + 50);
        assert_eq!(at(near + 50).after(&header(139, 100)), near + 150);
        let left_out = at(near - 1000).after(&header(39, 50));
        assert_eq!(
            left_out,
            near + 50,
            "events were left out on both sides of 4 GiB"
        );
        assert_eq!(
            at(1000).after(&header(500, 50)),
            1050,
            "a place never goes back"
        );
        assert_eq!(
            at((1 << 32) + 1000).after(&header(500, 50)),
            (1 << 32) + 1050
        );
    }

    #[test]
    fn artificial_rotates_name_the_file() {
        let mut place = DumpPosition::new();
        let event = rotate::artificial(86, "bin.000007", 4);
        let header = EventHeader::parse(&event).unwrap();
        assert_eq!(place.control(&header, &event).unwrap(), Change::File);
        assert_eq!((&*place.file, place.position), ("bin.000007", 4));
        assert_eq!(place.control(&header, &event).unwrap(), Change::Nothing);
        let bare = &event[..event.len() - 4];
        let mut fresh = DumpPosition::new();
        assert_eq!(fresh.control(&header, bare).unwrap(), Change::File);
        assert_eq!(&*fresh.file, "bin.000007", "a rotate without checksum");
    }

    /// Seen of MariaDB 10.11: within a file the description's position is cleared, its checksum
    /// is left as it was.
    #[test]
    fn descriptions_of_sources_without_checksums_may_have_stale_ones() {
        for (checksum, created, taken) in [
            (Checksum::None, 0, true),
            (Checksum::None, 5, false),
            (Checksum::Crc32, 0, false),
        ] {
            let format = FormatDescription {
                server_version: "10.11.14-MariaDB".to_owned(),
                created,
                post_header_lengths: vec![8; 171],
                checksum,
            };
            let mut event = format.encode(1, 86, 256, 0);
            event::write_checksum(&mut event).unwrap();
            event::set_log_pos(&mut event, 0).unwrap();
            let header = EventHeader::parse(&event).unwrap();
            assert_eq!(
                at(500).control(&header, &event).is_ok(),
                taken,
                "{format:?}"
            );
        }
    }

    #[test]
    fn heartbeats_are_checked() {
        let mut place = at(500);
        let beat = |file: &str, log_pos| {
            let header = EventHeader {
                event_type: EventType::HEARTBEAT,
                ..header(log_pos, 0)
            };
            let mut event = event::build(header, file.as_bytes());
            event.truncate(event.len() - 4); // This stream has no checksums.
            (EventHeader::parse(&event).unwrap(), event)
        };
        let (header, event) = beat("bin.000001", 700);
        assert_eq!(place.control(&header, &event).unwrap(), Change::Position);
        assert_eq!(place.position, 700);
        let (header, event) = beat("bin.000001", 600);
        assert!(place.control(&header, &event).is_err());
        let (header, event) = beat("bin.000002", 800);
        assert!(place.control(&header, &event).is_err());
        place.position = u64::from(u32::MAX) - 10;
        let (header, event) = beat("bin.000001", 89);
        assert_eq!(place.control(&header, &event).unwrap(), Change::Position);
        assert_eq!(place.position, (1 << 32) + 89, "behind 4 GiB");
        let (header, event) = beat("bin.000001", 80);
        assert!(place.control(&header, &event).is_err());
    }
}
