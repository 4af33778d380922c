//! The position of a dump in the source's binlog, as its control events report it.

use std::sync::Arc;

use super::error::ReceiverError;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::binlog::rotate::Rotate;
use crate::binlog::{EventError, EventType, FormatDescription, old_servers};
use crate::position::SourcePosition;

/// The source's coordinates, and the format of its events.
#[derive(Debug, Clone)]
pub(super) struct DumpPosition {
    /// The end of the newest event.
    pub(super) at: SourcePosition,
    pub(super) format: Option<Arc<FormatDescription>>,
    /// When the file's format description was written, by the source's clock.
    pub(super) file_timestamp: u32,
}

/// What a control event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// The stream continues in another file or at another offset.
    File,
    /// The events that follow may have another format.
    Format,
    /// The position moved without a transaction.
    Position,
}

impl DumpPosition {
    pub(super) fn new() -> Self {
        Self {
            at: SourcePosition::default(),
            format: None,
            file_timestamp: 0,
        }
    }

    /// Whether the events end with a checksum. False before the first format description.
    pub(super) fn is_checksummed(&self) -> bool {
        self.format
            .as_ref()
            .is_some_and(|format| format.checksum == Checksum::Crc32)
    }

    /// The end offset of an event in the source's file; events that are not part of a file do not
    /// move it. A header holds only the lower 32 bits.
    pub(super) fn after(&self, header: &EventHeader) -> u64 {
        if header.log_pos == 0 || header.is_artificial() {
            return self.at.offset;
        }
        let next = self.at.offset + u64::from(header.event_size);
        if next as u32 == header.log_pos {
            return next;
        }
        // The source skipped events (a GTID dump, or events that it does not send). An offset
        // before the current one is not valid: then event lengths add up, as in MySQL's replicas.
        self.ahead(header.log_pos).unwrap_or(next)
    }

    /// The first offset from the current one on that has these lower 32 bits; `None` when they
    /// rather belong to an offset before it.
    fn ahead(&self, low: u32) -> Option<u64> {
        let here = self.at.offset as u32;
        let has_wrapped = here.saturating_sub(low) > 1 << 31;
        (low >= here || has_wrapped).then(|| self.at.offset + u64::from(low.wrapping_sub(here)))
    }

    /// Applies a whole control event.
    pub(super) fn control(
        &mut self,
        header: &EventHeader,
        event: &[u8],
    ) -> Result<Change, ReceiverError> {
        let has_checksum = match header.event_type {
            EventType::FORMAT_DESCRIPTION => is_checksum_valid(event),
            EventType::ROTATE if is_generated(header) => false, // Tried below.
            _ => self.is_checksummed(),
        };
        if has_checksum {
            event::verify_checksum(event).map_err(|cause| self.damage(cause))?;
        }
        match header.event_type {
            EventType::ROTATE => self.rotate(header, event),
            EventType::FORMAT_DESCRIPTION => {
                let format = FormatDescription::parse(event).map_err(|cause| self.damage(cause))?;
                self.check_layout(&format)?;
                self.at.offset = self.after(header);
                self.file_timestamp = header.timestamp;
                // A source sends the description again at every start of a dump; most often it is
                // unchanged.
                if self.format.as_deref() == Some(&format) {
                    return Ok(Change::Nothing);
                }
                self.format = Some(Arc::new(format));
                Ok(Change::Format)
            }
            EventType::HEARTBEAT => self.heartbeat(header, event),
            _ => {
                self.at.offset = self.after(header);
                Ok(Change::Position)
            }
        }
    }

    fn rotate(&mut self, header: &EventHeader, event: &[u8]) -> Result<Change, ReceiverError> {
        // The first one precedes any format description, others come between two of them; only a
        // trial shows whether they have a checksum.
        let checksummed = match self.format {
            Some(_) if !is_generated(header) => self.is_checksummed(),
            _ => event::verify_checksum(event).is_ok(),
        };
        let body = event::body(event, checksummed);
        let rotate = Rotate::parse(body).map_err(|cause| self.damage(cause))?;
        let file = String::from_utf8_lossy(rotate.file);
        // A name with the remains of a wrong checksum must not be requested next time.
        if !is_file_name(&file) {
            return Err(self.contradiction(
                format!("a rotate event to {file:?}"),
                "the name of a binlog file and its number",
            ));
        }
        let to = SourcePosition::new(&*file, rotate.position);
        if to == self.at {
            return Ok(Change::Nothing);
        }
        self.at = to;
        Ok(Change::File)
    }

    /// A heartbeat reports the position of the source's dump; that must be the current position, or
    /// one after it when the source skipped events.
    fn heartbeat(&mut self, header: &EventHeader, event: &[u8]) -> Result<Change, ReceiverError> {
        let body = event::body(event, self.is_checksummed());
        let file = String::from_utf8_lossy(body);
        let ahead = self.ahead(header.log_pos);
        let Some(offset) = ahead.filter(|_| *file == *self.at.file) else {
            return Err(self.contradiction(
                format!("a heartbeat for {:?}:{}", &*file, header.log_pos),
                "one for the position of the stream",
            ));
        };
        self.at.offset = offset;
        Ok(Change::Position)
    }

    /// Refuses a file in a format before MySQL 5.0, by its first event; any other event is accepted.
    pub(super) fn check_file_format(
        &self,
        header: &EventHeader,
        event: &[u8],
    ) -> Result<(), ReceiverError> {
        if header.event_type != EventType::START_V3 {
            return Ok(());
        }
        let version = old_servers::version_in_start_v3(event);
        Err(self.too_old(
            &version,
            "before MySQL 5.0, in a binlog format that is no longer supported",
        ))
    }

    /// Refuses a file of a development version with events of another layout.
    fn check_layout(&self, format: &FormatDescription) -> Result<(), ReceiverError> {
        match old_servers::differing_type(format) {
            None => Ok(()),
            Some(event_type) => {
                let reason = format!(
                    "a development version whose {event_type} events are not those of a release"
                );
                Err(self.too_old(&format.server_version, &reason))
            }
        }
    }

    fn too_old(&self, version: &str, reason: &str) -> ReceiverError {
        ReceiverError::setup(
            format!(
                "the source's file {} was written by version {version}, {reason}",
                self.at.file
            ),
            "purge it on the source (PURGE BINARY LOGS TO a later file) and seed the replicas again \
             from a state after it",
        )
    }

    pub(super) fn damage(&self, cause: EventError) -> ReceiverError {
        ReceiverError::Transaction {
            at: self.at.clone(),
            cause: cause.into(),
        }
    }

    pub(super) fn contradiction(&self, found: String, expected: &'static str) -> ReceiverError {
        ReceiverError::Stream {
            at: self.at.clone(),
            found,
            expected,
        }
    }
}

/// Whether a format description's own checksum must match. Servers without checksums, whose files a
/// newer source sends as they are, write none. For a dump that starts within a file a source clears
/// fields of the event, and recomputes its checksum only if the file's events have one.
fn is_checksum_valid(event: &[u8]) -> bool {
    FormatDescription::parse(event).map_or(true, |format| {
        let may_be_stale = format.checksum == Checksum::None && format.created == 0;
        format.is_checksummed() && !may_be_stale
    })
}

/// Whether the source generated the rotate event for this connection.
fn is_generated(header: &EventHeader) -> bool {
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

    fn at(offset: u64) -> DumpPosition {
        DumpPosition {
            at: SourcePosition::new("bin.000001", offset),
            format: None,
            file_timestamp: 0,
        }
    }

    #[test]
    fn positions_continue_past_4_gib() {
        assert_eq!(at(100).after(&header(150, 50)), 150);
        assert_eq!(at(100).after(&header(0, 50)), 100);
        assert_eq!(at(100).after(&header(400, 50)), 400, "events were skipped");
        let near = u64::from(u32::MAX) - 10;
        assert_eq!(at(near).after(&header(39, 50)), near + 50);
        assert_eq!(at(near + 50).after(&header(139, 100)), near + 150);
        let skipped = at(near - 1000).after(&header(39, 50));
        assert_eq!(
            skipped,
            near + 50,
            "events were skipped on both sides of 4 GiB"
        );
        assert_eq!(
            at(1000).after(&header(500, 50)),
            1050,
            "an offset never goes back"
        );
        assert_eq!(
            at((1 << 32) + 1000).after(&header(500, 50)),
            (1 << 32) + 1050
        );
    }

    #[test]
    fn artificial_rotate_names_the_file() {
        let mut position = DumpPosition::new();
        let event = rotate::artificial(86, "bin.000007", 4);
        let header = EventHeader::parse(&event).unwrap();
        assert_eq!(position.control(&header, &event).unwrap(), Change::File);
        assert_eq!(position.at, SourcePosition::new("bin.000007", 4));
        assert_eq!(position.control(&header, &event).unwrap(), Change::Nothing);
        let bare = &event[..event.len() - 4];
        let mut fresh = DumpPosition::new();
        assert_eq!(fresh.control(&header, bare).unwrap(), Change::File);
        assert_eq!(&*fresh.at.file, "bin.000007", "a rotate without checksum");
    }

    /// Observed with MariaDB 10.11: within a file the description's position is cleared, and its
    /// checksum left unchanged.
    #[test]
    fn stale_checksum_of_a_description_is_accepted_from_sources_without_checksums() {
        for (checksum, created, is_accepted) in [
            (Checksum::None, 0, true),
            (Checksum::None, 5, false),
            (Checksum::Crc32, 0, false),
        ] {
            let format = FormatDescription {
                server_version: "10.11.14-MariaDB".to_owned(),
                created,
                post_header_lengths: vec![0; 171],
                checksum,
            };
            let mut event = format.encode(1, 86, 256, 0);
            event::write_checksum(&mut event).unwrap();
            event::set_log_pos(&mut event, 0).unwrap();
            let header = EventHeader::parse(&event).unwrap();
            assert_eq!(
                at(500).control(&header, &event).is_ok(),
                is_accepted,
                "{format:?}"
            );
        }
    }

    /// A newer source sends the format description of an old file as it is in the file.
    #[test]
    fn description_of_a_server_without_checksums_has_none() {
        for created in [0, 5] {
            let mut event = mysql_55(27, created);
            let header = EventHeader::parse(&event).unwrap();
            let mut position = at(4);
            let change = position.control(&header, &event).unwrap();
            assert_eq!(change, Change::Format);
            assert!(!position.is_checksummed());
            assert_eq!(position.at.offset, 107);
            assert_eq!(position.format.unwrap().post_header_lengths.len(), 27);
            event[76 + 1] = 12; // The fixed part of Query events.
            let error = at(4).control(&header, &event).unwrap_err().to_string();
            let expected = "the source's file bin.000001 was written by version 5.5.59-log, a \
                            development version whose Query events are not those of a release";
            assert!(error.starts_with(expected), "{error}");
        }
    }

    /// As MySQL 5.5.59 writes it.
    fn mysql_55(types: u8, created: u32) -> Vec<u8> {
        let mut lengths = vec![
            56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 84, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0,
        ];
        lengths.truncate(types.into());
        let format = FormatDescription {
            server_version: "5.5.59-log".to_owned(),
            created,
            post_header_lengths: lengths,
            checksum: Checksum::None,
        };
        let mut event = format.encode(1, 86, 107, 0);
        event.truncate(event.len() - 5);
        let len = event.len() as u32;
        event::set_event_size(&mut event, len).unwrap();
        event
    }

    #[test]
    fn file_before_5_0_is_refused_with_its_name_and_version() {
        let mut body = vec![3, 0];
        body.extend_from_slice(b"4.1.24-log");
        body.resize(56, 0);
        let header = EventHeader {
            event_type: EventType::START_V3,
            ..header(79, 0)
        };
        let mut event = event::build(header, &body);
        event.truncate(event.len() - 4);
        let error = at(4).check_file_format(&header, &event).unwrap_err();
        assert!(error.is_failure());
        let expected = "the source's file bin.000001 was written by version 4.1.24-log, before \
                        MySQL 5.0, in a binlog format that is no longer supported; purge";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn heartbeats_are_checked() {
        let mut position = at(500);
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
        assert_eq!(position.control(&header, &event).unwrap(), Change::Position);
        assert_eq!(position.at.offset, 700);
        let (header, event) = beat("bin.000001", 600);
        assert!(position.control(&header, &event).is_err());
        let (header, event) = beat("bin.000002", 800);
        assert!(position.control(&header, &event).is_err());
        position.at.offset = u64::from(u32::MAX) - 10;
        let (header, event) = beat("bin.000001", 89);
        assert_eq!(position.control(&header, &event).unwrap(), Change::Position);
        assert_eq!(position.at.offset, (1 << 32) + 89, "past 4 GiB");
        let (header, event) = beat("bin.000001", 80);
        assert!(position.control(&header, &event).is_err());
    }
}
