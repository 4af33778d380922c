//! One event of a binlog file.

use crate::binlog::FormatDescription;
use crate::binlog::early_row_events;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::rows::TABLE_ID_LEN;

/// The state of an event's checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumState {
    /// The checksum is right.
    Ok,
    /// The checksum is wrong.
    Bad,
    /// The file has no checksums.
    None,
}

impl ChecksumState {
    /// `ok`, `bad` or `none`.
    pub fn name(self) -> &'static str {
        match self {
            ChecksumState::Ok => "ok",
            ChecksumState::Bad => "bad",
            ChecksumState::None => "none",
        }
    }
}

/// An event at its offset in a file. Its bytes are in the reader until the next event is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEvent {
    /// Offset of its first byte.
    pub position: u64,
    /// Its header.
    pub header: EventHeader,
    /// Whether its checksum is right. If it is [`ChecksumState::Bad`], no field can be trusted.
    pub checksum: ChecksumState,
    /// Whether the reader holds all of its bytes, not just its head.
    pub whole: bool,
    /// Whether its log_pos is its end, or 0, or a position in another file, as in a server's relay log.
    pub log_pos_is_right: bool,
}

impl FileEvent {
    /// Offset of its end.
    pub fn end(&self) -> u64 {
        self.position + u64::from(self.header.event_size)
    }
}

/// The bytes of an event, and the context needed to read them.
#[derive(Debug, Clone, Copy)]
pub struct EventBytes<'a> {
    /// The event from its header on, or the head of it.
    pub event: &'a [u8],
    /// Whether its last four bytes are a checksum.
    pub checksummed: bool,
    /// The format description that applies to it.
    pub format: Option<&'a FormatDescription>,
}

impl<'a> EventBytes<'a> {
    /// The length of table ids, in bytes.
    pub fn table_id_len(&self) -> usize {
        self.format
            .map_or(TABLE_ID_LEN, early_row_events::table_id_len)
    }

    /// The body without checksum, or the head of it.
    pub fn body(&self) -> &'a [u8] {
        event::body(self.event, self.checksummed)
    }
}
