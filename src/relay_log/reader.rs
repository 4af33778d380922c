//! Reading log files: their heads, and event by event.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::LogError;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::{EventType, FormatDescription, HEADER_LEN, MAGIC};
use crate::data_file;
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidSet};
use crate::identity::Executed;

/// Offset of the first event in every binlog file.
pub const FIRST_EVENT: u64 = 4;
/// Bytes read at once when a file is verified.
const BLOCK_LEN: usize = 1024 * 1024;
/// The largest head event that is read into memory.
const HEAD_EVENT_LEN_MAX: u32 = 64 * 1024 * 1024;

/// A log file, open for reading.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
}

impl LogFile {
    /// Opens the file and checks that it begins like a binlog.
    ///
    /// # Errors
    /// When it cannot be opened or is not a binlog.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file =
            data_file::open_to_read(path).map_err(|cause| LogError::io("open", path, cause))?;
        let log = Self {
            file,
            path: path.to_owned(),
        };
        let mut magic = [0; MAGIC.len()];
        log.read_exact_at(&mut magic, 0)?;
        if magic != MAGIC {
            return Err(log.unexpected(0, format!("{magic:02x?}"), "the first bytes of a binlog"));
        }
        Ok(log)
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn file_len(&self) -> Result<u64, LogError> {
        let metadata = self.file.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|cause| self.io("read", cause))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads exactly `buffer.len()` bytes from `offset`.
    ///
    /// # Errors
    /// When the file ends before, or cannot be read.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), LogError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|cause| self.io("read", cause))
    }

    /// The header of the event at `offset`.
    ///
    /// # Errors
    /// When there is none.
    pub fn header_at(&self, offset: u64) -> Result<EventHeader, LogError> {
        let mut head = [0; HEADER_LEN];
        self.read_exact_at(&mut head, offset)?;
        EventHeader::parse(&head).map_err(|cause| self.damage(offset, cause))
    }

    /// Whether the event at `offset` is a Rotate event and the last of the file.
    ///
    /// # Errors
    /// When the file's length cannot be read; damage is not an error here.
    pub fn ends_with_rotate(&self, offset: u64) -> Result<bool, LogError> {
        let len = self.file_len()?;
        Ok(self.header_at(offset).is_ok_and(|header| {
            let end = offset.checked_add(header.event_size.into());
            header.event_type == EventType::ROTATE && end == Some(len)
        }))
    }

    /// Whether the file ends at `offset`, before it, or within a Rotate event there.
    ///
    /// # Errors
    /// When the file's length cannot be read.
    pub fn is_cut_at(&self, offset: u64) -> Result<bool, LogError> {
        let len = self.file_len()?;
        Ok(match self.header_at(offset) {
            Ok(header) => {
                header.event_type == EventType::ROTATE
                    && offset.saturating_add(header.event_size.into()) > len
            }
            Err(_) => len.saturating_sub(offset) < HEADER_LEN as u64,
        })
    }

    /// The whole event at `offset`, verified, if it is no larger than 64 MiB.
    ///
    /// # Errors
    /// When there is none, it is larger, or its checksum is wrong.
    pub fn event_at(&self, offset: u64) -> Result<Vec<u8>, LogError> {
        let size = self.header_at(offset)?.event_size;
        if size > HEAD_EVENT_LEN_MAX {
            let found = format!("an event of {size} bytes");
            return Err(self.unexpected(offset, found, "at most 64 MiB"));
        }
        let mut event = vec![0; size as usize];
        self.read_exact_at(&mut event, offset)?;
        event::verify_checksum(&event).map_err(|cause| self.damage(offset, cause))?;
        Ok(event)
    }

    /// CRC32 of the file's first `len` bytes.
    ///
    /// # Errors
    /// When the file is shorter, or cannot be read.
    pub fn crc_of_head(&self, len: u64) -> Result<u32, LogError> {
        let mut hasher = crc32fast::Hasher::new();
        let mut block = vec![0; BLOCK_LEN.min(usize::try_from(len).unwrap_or(BLOCK_LEN))];
        let mut offset = 0;
        while offset < len {
            let left = usize::try_from(len - offset).unwrap_or(usize::MAX);
            let piece_len = left.min(block.len());
            let (piece, _) = block.split_at_mut(piece_len);
            self.read_exact_at(piece, offset)?;
            hasher.update(piece);
            offset += piece_len as u64;
        }
        Ok(hasher.finalize())
    }

    /// The end of the last of the consecutive events from `from` on that end at or before `to` and
    /// have the right checksum and log_pos. `from` must be an event boundary.
    ///
    /// # Errors
    /// When the file cannot be read; damage is not an error here.
    pub fn verified_end(&self, from: u64, to: u64) -> Result<u64, LogError> {
        let end = to.min(self.file_len()?);
        let mut offset = from.min(end);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))
            .map_err(|cause| self.io("read", cause))?;
        let mut events = BufReader::with_capacity(BLOCK_LEN, file);
        while offset < end {
            match verified_size(&mut events, offset, end - offset) {
                Ok(Some(size)) => offset += size,
                Ok(None) => break,
                Err(cause) => return Err(self.io("read", cause)),
            }
        }
        Ok(offset)
    }

    fn io(&self, action: &'static str, cause: std::io::Error) -> LogError {
        LogError::io(action, &self.path, cause)
    }

    fn damage(&self, offset: u64, cause: crate::binlog::EventError) -> LogError {
        LogError::Event {
            path: self.path.clone(),
            offset,
            cause,
        }
    }

    fn unexpected(&self, offset: u64, found: String, expected: &'static str) -> LogError {
        LogError::Unexpected {
            path: self.path.clone(),
            offset,
            found,
            expected,
        }
    }
}

/// Reads the event at `offset`; returns its size, if it is at most `size_max` and log_pos and
/// checksum are right.
fn verified_size(
    events: &mut BufReader<&File>,
    offset: u64,
    size_max: u64,
) -> io::Result<Option<u64>> {
    const FRAME_LEN: u64 = (HEADER_LEN + event::CHECKSUM_LEN) as u64;
    if size_max < FRAME_LEN {
        return Ok(None);
    }
    let mut head = [0; HEADER_LEN];
    events.read_exact(&mut head)?;
    let Ok(header) = EventHeader::parse(&head) else {
        return Ok(None);
    };
    let size = u64::from(header.event_size);
    if !(FRAME_LEN..=size_max).contains(&size) || header.log_pos != (offset + size) as u32 {
        return Ok(None);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head);
    let mut left = (size - FRAME_LEN) as usize;
    while left > 0 {
        let block = events.fill_buf()?;
        let piece = block.get(..left.min(block.len())).unwrap_or(block);
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(piece);
        let len = piece.len();
        events.consume(len);
        left -= len;
    }
    let mut stored = [0; event::CHECKSUM_LEN];
    events.read_exact(&mut stored)?;
    Ok((hasher.finalize() == u32::from_le_bytes(stored)).then_some(size))
}

/// The head of a log file: the events before its first transaction.
#[derive(Debug, Clone)]
pub struct FileHead {
    /// The relay's format description.
    pub format: FormatDescription,
    /// The format description event's bytes.
    pub format_event: Vec<u8>,
    /// All transactions of the files before it.
    pub previous: Executed,
    /// Offset of the first transaction.
    pub end: u64,
}

impl FileHead {
    /// Reads the head of the log file at `path`.
    ///
    /// # Errors
    /// When it is damaged, or not a file of a relay log.
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let log = LogFile::open(path)?;
        let format_event = log.event_at(FIRST_EVENT)?;
        let format = FormatDescription::parse(&format_event)
            .map_err(|cause| log.damage(FIRST_EVENT, cause))?;
        let offset = FIRST_EVENT + format_event.len() as u64;
        let event = log.event_at(offset)?;
        let header = EventHeader::parse(&event).map_err(|cause| log.damage(offset, cause))?;
        let body = event::body(&event, true);
        let flavor = Flavor::of_version(&format.server_version);
        let previous = match (flavor, header.event_type) {
            (Flavor::MySql, EventType::PREVIOUS_GTIDS) => {
                GtidSet::decode(body).map(Executed::MySql)
            }
            (Flavor::MariaDb, EventType::GTID_LIST) => {
                BinlogState::decode_gtid_list(body).map(|(state, _)| Executed::MariaDb(state))
            }
            (_, found) => {
                let expected = "the Previous_gtids or Gtid_list event of a relay log";
                return Err(log.unexpected(offset, format!("{found} event"), expected));
            }
        };
        let previous = previous.map_err(|cause| {
            log.unexpected(offset, cause.to_string(), "a GTID set that can be read")
        })?;
        Ok(Self {
            format,
            end: offset + event.len() as u64,
            format_event,
            previous,
        })
    }
}
