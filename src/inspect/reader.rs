//! Reading a binlog file event by event, with bounded memory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::InspectError;
use super::file_event::{ChecksumState, EventBytes, FileEvent};
use crate::binlog::early_row_events;
use crate::binlog::event::{self, EventHeader, FLAG_ARTIFICIAL};
use crate::binlog::format_description::Checksum;
use crate::binlog::{CHECKSUM_LEN, EventType, FormatDescription, HEADER_LEN, MAGIC};

/// The most bytes of an event that are kept: enough to count the rows of nearly every rows event. Of a
/// larger event only the head is kept; the rest is only used for the checksum.
pub const EVENT_KEPT_MAX: usize = 64 * 1024 * 1024;
/// Offset of the first event.
pub(super) const FIRST_EVENT: u64 = MAGIC.len() as u64;
/// The first bytes of a file encrypted by MySQL.
const ENCRYPTED_MAGIC: [u8; 4] = [0xfd, b'b', b'i', b'n'];
/// Header flag of a server's relay log (LOG_EVENT_RELAY_LOG_F).
const FLAG_RELAY_LOG: u16 = 0x40;
const BLOCK_LEN: usize = 64 * 1024;
/// Memory used for a large event is released above this, in bytes.
const KEPT_BETWEEN_EVENTS: usize = 1024 * 1024;

/// Reads one file.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    input: BufReader<File>,
    kept_max: usize,
    /// Offset of the next event.
    offset: u64,
    format: Option<FormatDescription>,
    /// Whether `log_pos` is an offset in this file, not in that of a source.
    has_own_positions: bool,
    /// What `log_pos` exceeds an event's end by, modulo 4 GiB, in the part of an assembled file that
    /// is being read.
    log_pos_shift: u32,
    /// Whether `log_pos` was not an event's end somewhere.
    has_foreign_log_pos: bool,
    kept: Vec<u8>,
    checksummed: bool,
    encrypted: bool,
}

impl EventReader {
    /// Opens the file; at most `kept_max` bytes of an event (and a few more) are kept.
    ///
    /// # Errors
    /// When it cannot be opened, is encrypted or is not a binlog.
    pub fn open(path: &Path, kept_max: usize) -> Result<Self, InspectError> {
        let file = File::open(path).map_err(|cause| InspectError::io("open", path, cause))?;
        let mut reader = Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(BLOCK_LEN, file),
            kept_max: kept_max.max(BLOCK_LEN),
            offset: FIRST_EVENT,
            format: None,
            has_own_positions: true,
            log_pos_shift: 0,
            has_foreign_log_pos: false,
            kept: Vec::new(),
            checksummed: false,
            encrypted: false,
        };
        let mut magic = [0; MAGIC.len()];
        let found = reader.read_up_to(&mut magic)?;
        if magic == ENCRYPTED_MAGIC {
            return Err(InspectError::Encrypted {
                path: path.to_owned(),
                offset: 0,
                by: "MySQL's binlog_encryption",
            });
        }
        if magic != MAGIC {
            let cause = match found {
                4 => {
                    format!("not a binlog file: it begins with {magic:02x?}, expected {MAGIC:02x?}")
                }
                _ => format!("not a binlog file: it has {found} bytes, expected 4 or more"),
            };
            return Err(InspectError::damaged(path, 0, cause));
        }
        Ok(reader)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Offset of the next event, or of the one that could not be read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The format description that applies to the next event.
    pub fn format(&self) -> Option<&FormatDescription> {
        self.format.as_ref()
    }

    /// The bytes of the event that was read last, from its header on: all of them if it is
    /// [whole](FileEvent::whole), otherwise the first ones.
    pub fn event(&self) -> &[u8] {
        &self.kept
    }

    /// Whether the last four of [`EventReader::event`] are its checksum.
    pub fn is_checksummed(&self) -> bool {
        self.checksummed
    }

    /// The event that was read last.
    pub fn bytes(&self) -> EventBytes<'_> {
        EventBytes {
            event: &self.kept,
            checksummed: self.checksummed,
            format: self.format.as_ref(),
        }
    }

    /// The body of the event that was read last, without checksum, or the head of it.
    pub fn body(&self) -> &[u8] {
        event::body(&self.kept, self.checksummed)
    }

    /// Continues at `offset`, where an event must begin.
    ///
    /// # Errors
    /// When the operating system reports an error.
    pub fn seek(&mut self, offset: u64) -> Result<(), InspectError> {
        let sought = self.input.seek(SeekFrom::Start(offset));
        sought.map_err(|cause| InspectError::io("seek in", &self.path, cause))?;
        self.offset = offset;
        Ok(())
    }

    /// The next event; `None` at the end of the file. An event with a wrong checksum or log_pos is
    /// returned as such; the caller decides whether that is damage.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged in another way, or is encrypted from here on.
    pub fn next_event(&mut self) -> Result<Option<FileEvent>, InspectError> {
        let position = self.offset;
        if self.encrypted {
            return Err(InspectError::Encrypted {
                path: self.path.clone(),
                offset: position,
                by: "MariaDB's encrypt_binlog",
            });
        }
        let mut head = [0; HEADER_LEN];
        let found = self.read_up_to(&mut head)?;
        if found == 0 {
            return Ok(None);
        }
        if found < HEADER_LEN {
            let cause = format!("truncated: an event header has 19 bytes, {found} are left");
            return Err(self.damaged(position, cause));
        }
        let mut header =
            EventHeader::parse(&head).map_err(|cause| self.damaged(position, cause))?;
        if let Some(format) = &self.format {
            header.event_type = early_row_events::event_type(format, header.event_type.0);
        }
        if self.format.is_none() && header.event_type != EventType::FORMAT_DESCRIPTION {
            let reason = match header.event_type {
                EventType::START_V3 => ": MySQL 4.1 or older wrote it, which is not supported",
                _ => "",
            };
            let cause = format!(
                "the file begins with a {} event, expected Format_desc (binlog version 4){reason}",
                header.event_type
            );
            return Err(self.damaged(position, cause));
        }
        self.checksummed = self.has_checksum(&header);
        let mut event = self.read_event(position, head, header)?;
        self.check(&event)?;
        event.log_pos_is_right = self.is_right_log_pos(&event);
        self.offset = event.end();
        Ok(Some(event))
    }

    fn has_checksum(&self, header: &EventHeader) -> bool {
        // For a format description that is known only after it was read.
        header.event_type != EventType::FORMAT_DESCRIPTION
            && self
                .format
                .as_ref()
                .is_some_and(|format| format.checksum == Checksum::Crc32)
    }

    fn read_event(
        &mut self,
        position: u64,
        head: [u8; HEADER_LEN],
        header: EventHeader,
    ) -> Result<FileEvent, InspectError> {
        let size = header.event_size as usize;
        if self.checksummed && size < HEADER_LEN + CHECKSUM_LEN {
            let cause = format!("event_size is {size}, expected 23 or more with a checksum");
            return Err(self.damaged(position, cause));
        }
        self.kept.clear();
        self.kept.shrink_to(KEPT_BETWEEN_EVENTS);
        self.kept.extend_from_slice(&head);
        let whole = size <= self.kept_max + CHECKSUM_LEN;
        let kept = if whole { size } else { self.kept_max };
        let read = (&mut self.input)
            .take((kept - HEADER_LEN) as u64)
            .read_to_end(&mut self.kept);
        read.map_err(|cause| InspectError::io("read", &self.path, cause))?;
        if self.kept.len() < kept {
            return Err(self.truncated(position, &header, self.kept.len()));
        }
        let checksum = if !whole {
            self.read_rest(position, &header)?
        } else if header.event_type == EventType::FORMAT_DESCRIPTION {
            self.adopt_format(position, &header)?
        } else if !self.checksummed {
            ChecksumState::None
        } else if event::verify_checksum(&self.kept).is_ok() {
            ChecksumState::Ok
        } else {
            ChecksumState::Bad
        };
        Ok(FileEvent {
            position,
            header,
            checksum,
            whole,
            log_pos_is_right: true,
        })
    }

    /// Reads the part of an event that is not kept. It is at least as long as a checksum.
    fn read_rest(
        &mut self,
        position: u64,
        header: &EventHeader,
    ) -> Result<ChecksumState, InspectError> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.kept);
        let mut done = self.kept.len();
        let mut left = (header.event_size as usize).saturating_sub(done + CHECKSUM_LEN);
        let mut block = vec![0; BLOCK_LEN];
        while left > 0 {
            let Some(piece) = block.get_mut(..left.min(BLOCK_LEN)) else {
                break;
            };
            let found = self.read_up_to(piece)?;
            if found < piece.len() {
                return Err(self.truncated(position, header, done + found));
            }
            hasher.update(piece);
            done += found;
            left -= found;
        }
        let mut last = [0; CHECKSUM_LEN];
        let found = self.read_up_to(&mut last)?;
        if found < CHECKSUM_LEN {
            return Err(self.truncated(position, header, done + found));
        }
        Ok(if !self.checksummed {
            ChecksumState::None
        } else if hasher.finalize() == u32::from_le_bytes(last) {
            ChecksumState::Ok
        } else {
            ChecksumState::Bad
        })
    }

    fn adopt_format(
        &mut self,
        position: u64,
        header: &EventHeader,
    ) -> Result<ChecksumState, InspectError> {
        let format =
            FormatDescription::parse(&self.kept).map_err(|cause| self.damaged(position, cause))?;
        let right = event::verify_checksum(&self.kept);
        self.checksummed = format.is_checksummed();
        let state = match (&right, format.checksum) {
            _ if !self.checksummed => ChecksumState::None,
            (Ok(()), _) => ChecksumState::Ok,
            // Some servers leave the four bytes empty when they write no checksums.
            (Err(_), Checksum::None) => ChecksumState::None,
            (Err(_), Checksum::Crc32) => ChecksumState::Bad,
        };
        if let (ChecksumState::Bad, Err(cause)) = (state, right) {
            // All following events depend on this one: without it none can be read.
            return Err(self.damaged(position, cause));
        }
        // A source that sends its binlog from a position on describes the format with log_pos 0, and a
        // tool that stores what it gets (`--raw --start-position`) writes that into its file.
        let is_excerpt = header.log_pos == 0;
        if self.format.is_some() || is_excerpt || header.flags & FLAG_RELAY_LOG != 0 {
            self.has_own_positions = false;
        }
        self.format = Some(format);
        Ok(state)
    }

    /// Checks on an event other than its checksum.
    fn check(&mut self, event: &FileEvent) -> Result<(), InspectError> {
        let header = &event.header;
        if event.checksum == ChecksumState::Bad {
            return Ok(());
        }
        let unknown = header.event_type.name() == "Unknown";
        if unknown && event.checksum == ChecksumState::None {
            let cause = format!("event type {}: expected a known type", header.event_type.0);
            return Err(self.damaged(event.position, cause));
        }
        if header.flags & FLAG_ARTIFICIAL != 0 {
            // Only a server's relay log holds events generated for a connection.
            self.has_own_positions = false;
        }
        if header.event_type == EventType::START_ENCRYPTION {
            self.encrypted = true;
        }
        Ok(())
    }

    fn is_right_log_pos(&self, event: &FileEvent) -> bool {
        let (log_pos, end) = (event.header.log_pos, event.end() as u32);
        !self.has_own_positions
            || log_pos == 0
            || log_pos == end
            || log_pos == self.shifted(end)
            || event.checksum == ChecksumState::Bad
    }

    /// The log_pos of an event that ends at `end`, in the part of an assembled file that is being
    /// read.
    pub(super) fn shifted(&self, end: u32) -> u32 {
        end.wrapping_add(self.log_pos_shift)
    }

    /// Whether log_pos was an event's end in every event up to here.
    pub(super) fn expects_own_log_pos(&self) -> bool {
        self.has_own_positions && !self.has_foreign_log_pos
    }

    /// Accepts that log_pos differs from an event's end as it does in `event`, from there on. Returns
    /// whether that is the first time in the file.
    pub(super) fn accept_log_pos(&mut self, event: &FileEvent) -> bool {
        self.log_pos_shift = event.header.log_pos.wrapping_sub(event.end() as u32);
        !std::mem::replace(&mut self.has_foreign_log_pos, true)
    }

    /// What is wrong with the log_pos of `event`.
    pub(super) fn wrong_log_pos(&self, event: &FileEvent) -> String {
        let header = &event.header;
        format!(
            "{} event: log_pos is {}, expected {}, the event's end: events before it are missing, or \
             the file was assembled from parts of others, or its server was older than MySQL 5.1.18 \
             (further ones are not reported)",
            header.event_type,
            header.log_pos,
            event.end() as u32
        )
    }

    fn truncated(&self, position: u64, header: &EventHeader, found: usize) -> InspectError {
        let cause = format!(
            "{} event: truncated: it has {} bytes, the file ends after {found}",
            header.event_type, header.event_size
        );
        self.damaged(position, cause)
    }

    fn damaged(&self, position: u64, cause: impl ToString) -> InspectError {
        InspectError::damaged(&self.path, position, cause)
    }

    /// Fills `buffer` as far as the file goes; returns how far.
    fn read_up_to(&mut self, buffer: &mut [u8]) -> Result<usize, InspectError> {
        let mut done = 0;
        while let Some(left) = buffer.get_mut(done..).filter(|left| !left.is_empty()) {
            match self.input.read(left) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(InspectError::io("read", &self.path, cause)),
            }
        }
        Ok(done)
    }

    /// The open file, for reads at other offsets.
    pub(super) fn file(&self) -> &File {
        self.input.get_ref()
    }
}
