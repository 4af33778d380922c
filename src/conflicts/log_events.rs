//! Reads the events of transactions in the published log, mostly one after the other.

use super::window::Written;
use crate::binlog::EventType;
use crate::binlog::event::{self, EventHeader, HEADER_LEN};
use crate::binlog::payload::PayloadEvents;
use crate::position::RelayLogPosition;
use crate::relay_log::reader::LogFile;
use crate::relay_log::{LogDir, LogError};

/// Bytes read at once.
const BLOCK_LEN: usize = 256 * 1024;
/// The largest event that is read.
const EVENT_MAX: u32 = 16 * 1024 * 1024;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was read.
    Read,
    /// It cannot be read, or is too large.
    Unreadable,
    /// No more events are wanted.
    Enough,
}

/// Reads log files in blocks.
#[derive(Debug)]
pub struct LogEvents {
    log_dir: LogDir,
    file: Option<(u64, LogFile)>,
    block: Vec<u8>,
    /// The block's offset in the file.
    at: u64,
    /// How far the log may be read.
    end: RelayLogPosition,
}

impl LogEvents {
    /// Of the log in `log_dir`, published up to `end`.
    pub fn new(log_dir: LogDir, end: RelayLogPosition) -> Self {
        Self {
            log_dir,
            file: None,
            block: Vec::new(),
            at: 0,
            end,
        }
    }

    /// The log is published up to `end`.
    pub fn set_end(&mut self, end: RelayLogPosition) {
        self.end = end;
    }

    /// Gives `take` the table maps and rows events of a transaction: type, and body without header and checksum. Returns how
    /// many events could not be read.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn visit(
        &mut self,
        written: &Written,
        take: &mut dyn FnMut(EventType, &[u8]) -> Taken,
    ) -> Result<u64, LogError> {
        let mut unreadable = 0;
        let mut offset = u64::from(written.begin);
        let end = u64::from(written.end);
        while offset + HEADER_LEN as u64 <= end {
            let head = self.slice(written.file, offset, HEADER_LEN)?;
            let Ok(header) = EventHeader::parse(head) else {
                return Ok(unreadable + 1);
            };
            let size = header.event_size;
            let next = offset + u64::from(size);
            if (size as usize) < HEADER_LEN || next > end {
                return Ok(unreadable + 1);
            }
            let event_type = header.event_type;
            if !is_wanted(event_type) && event_type != EventType::TRANSACTION_PAYLOAD {
                offset = next;
                continue;
            }
            let taken = match size <= EVENT_MAX {
                false => Taken::Unreadable,
                true => {
                    let event = self.slice(written.file, offset, size as usize)?;
                    let body = event::body(event, true);
                    match event_type {
                        EventType::TRANSACTION_PAYLOAD => visit_payload(body, take),
                        _ => take(event_type, body),
                    }
                }
            };
            match taken {
                Taken::Read => {}
                Taken::Unreadable => unreadable += 1,
                Taken::Enough => break,
            }
            offset = next;
        }
        Ok(unreadable)
    }

    fn slice(&mut self, file: u64, offset: u64, len: usize) -> Result<&[u8], LogError> {
        let is_open = self.file.as_ref().is_some_and(|(open, _)| *open == file);
        if !is_open {
            let opened = LogFile::open(&self.log_dir.log_path(file))?;
            self.file = Some((file, opened));
            self.block.clear();
        }
        let end = self.at + self.block.len() as u64;
        if offset < self.at || offset + len as u64 > end {
            self.read_block(file, offset, len)?;
        }
        let at = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
        Ok(self.block.get(at..at.saturating_add(len)).unwrap_or(&[]))
    }

    fn read_block(&mut self, file: u64, offset: u64, len: usize) -> Result<(), LogError> {
        let Some((_, log)) = &self.file else {
            return Ok(());
        };
        let end = match file == self.end.file {
            true => self.end.offset,
            false => log.file_len()?,
        };
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let block_len = left.min(BLOCK_LEN).max(len);
        self.block.resize(block_len, 0);
        self.at = offset;
        let read = log.read_exact_at(&mut self.block, offset);
        if read.is_err() {
            self.block.clear();
        }
        read
    }
}

fn is_wanted(event_type: EventType) -> bool {
    event_type == EventType::TABLE_MAP || event_type.is_rows()
}

fn visit_payload(body: &[u8], take: &mut dyn FnMut(EventType, &[u8]) -> Taken) -> Taken {
    let Ok(Some(mut events)) = PayloadEvents::new(body, EVENT_MAX as usize) else {
        return Taken::Unreadable;
    };
    let mut all = Taken::Read;
    loop {
        match events.next_event() {
            Ok(None) => return all,
            Ok(Some((header, _))) if !is_wanted(header.event_type) => {}
            Ok(Some((header, true))) => {
                match take(header.event_type, event::body(events.event(), false)) {
                    Taken::Read => {}
                    Taken::Unreadable => all = Taken::Unreadable,
                    Taken::Enough => return Taken::Enough,
                }
            }
            Ok(Some((_, false))) => all = Taken::Unreadable,
            Err(_) => return Taken::Unreadable,
        }
    }
}
