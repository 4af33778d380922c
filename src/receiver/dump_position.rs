//! The position of a dump in the source's binlog, as its control events report it.

use std::sync::Arc;

use super::error::ReceiverError;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::binlog::rotate::Rotate;
use crate::binlog::{EventError, EventType, FormatDescription, old_servers};
use crate::position::SourcePosition;
use crate::transaction::TransactionError;

/// The source's coordinates, and the format of its events.
#[derive(Debug, Clone)]
pub(super) struct DumpPosition {
    /// The end of the newest event.
    pub(super) at: SourcePosition,
    pub(super) format: Option<Arc<FormatDescription>>,
    /// When the file's format description was written, by the source's clock.
    pub(super) file_timestamp: u32,
    /// Whether `at` is the end of an event that was received, so that the next event begins there. A dump by GTID
    /// begins with events that are not sent.
    is_exact: bool,
    /// Whether the format description may have been changed on its way: it says that events have no checksums, and
    /// its own does not match.
    is_doubtful: bool,
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
            is_exact: false,
            is_doubtful: false,
        }
    }

    /// An event that is not a control event was received; it ends at `offset`, see [`DumpPosition::after`].
    pub(super) fn pass(&mut self, offset: u64) {
        self.at.offset = offset;
        self.is_exact = true;
    }

    /// Where an event of `len` bytes begins.
    fn begin_of(&self, header: &EventHeader, len: usize) -> SourcePosition {
        let mut begin = self.at.clone();
        if !self.is_exact && header.log_pos != 0 && !header.is_artificial() {
            let begin_by_end = self.after(header).saturating_sub(len as u64);
            begin.offset = begin.offset.max(begin_by_end);
        }
        begin
    }

    /// Whether the events end with a checksum. False before the first format description.
    pub(super) fn is_checksummed(&self) -> bool {
        self.format
            .as_ref()
            .is_some_and(|format| format.checksum == Checksum::Crc32)
    }

    /// The end offset of an event in the source's file; events that are not part of a file do not
    /// move it. A header holds only the lower 32 bits.
    #[inline]
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
        let is_description = header.event_type == EventType::FORMAT_DESCRIPTION;
        if !is_description && !is_generated(header) {
            self.check_description(event)?;
        }
        match header.event_type {
            EventType::ROTATE => self.rotate(header, event),
            EventType::FORMAT_DESCRIPTION => {
                let format = FormatDescription::parse(event).map_err(|cause| self.damage(cause))?;
                self.check_layout(&format)?;
                self.is_doubtful =
                    format.checksum == Checksum::None && event::verify_checksum(event).is_err();
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
        self.is_exact = false;
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
        self.pass(offset);
        Ok(Change::Position)
    }

    /// Verifies the checksum of a whole event that is in the file.
    pub(super) fn verify(&self, header: &EventHeader, event: &[u8]) -> Result<(), ReceiverError> {
        if !self.is_checksummed() {
            return Ok(());
        }
        let verified = event::verify_checksum(event);
        verified.map_err(|cause| self.broken(header, event.len(), cause.into()))
    }

    /// Refuses an event that ends with a checksum although it should not: then the format description was changed
    /// on its way, and the checksum would be taken for a part of the event.
    pub(super) fn check_description(&mut self, event: &[u8]) -> Result<(), ReceiverError> {
        if std::mem::take(&mut self.is_doubtful) && event::verify_checksum(event).is_ok() {
            return Err(self.contradiction(
                "an event with a checksum".to_owned(),
                "one without, by the format description",
            ));
        }
        Ok(())
    }

    /// Refuses a file in a format before MySQL 5.0, by its first event, and an event that contradicts the format
    /// description; any other event that is not a control event is accepted.
    #[inline]
    pub(super) fn check_file_format(
        &mut self,
        header: &EventHeader,
        event: &[u8],
    ) -> Result<(), ReceiverError> {
        if self.is_doubtful {
            self.check_description(event)?;
        }
        match header.event_type {
            EventType::START_V3 => Err(self.start_v3(event)),
            _ => Ok(()),
        }
    }

    /// The error for the first event of a file in a format before MySQL 5.0.
    #[cold]
    fn start_v3(&self, event: &[u8]) -> ReceiverError {
        let version = old_servers::version_in_start_v3(event);
        self.too_old(
            &version,
            "before MySQL 5.0, in a binlog format that is no longer supported",
        )
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

    /// The error for an event of which `len` bytes were received.
    pub(super) fn broken(
        &self,
        header: &EventHeader,
        len: usize,
        cause: TransactionError,
    ) -> ReceiverError {
        ReceiverError::Transaction {
            at: self.begin_of(header, len),
            cause,
        }
    }

    /// The error for an event whose packet has `found` bytes for it.
    pub(super) fn wrong_size(&self, header: &EventHeader, found: usize) -> ReceiverError {
        let cause = TransactionError::Size {
            event_type: header.event_type,
            expected: header.event_size.into(),
            found: found as u64,
        };
        self.broken(header, header.event_size as usize, cause)
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
mod tests;
