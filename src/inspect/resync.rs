//! Finding the next event after damage.
//!
//! The search accepts an offset if the bytes there are a header of a known type, the event fits into
//! the file, and its checksum, if the file has checksums, is right. Before a checksum is computed,
//! one of these must hold, so that the search does not read the file again and again:
//!
//! - log_pos is the event's end; or, with checksums, 0: MariaDB 11.8 writes that into the events inside
//!   a transaction
//! - the event ends where the file ends
//! - another header follows, and its log_pos is this one's plus its size: in a server's relay log,
//!   and in a file assembled from parts of others, log_pos is a position in another file. Without
//!   checksums a few more headers must follow.
//! - with checksums, another header follows and the event is small
//!
//! The last three are tried only when the first finds nothing, unless the file is known to be such
//! a file: the value of a column may be a binlog file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::error::InspectError;
use super::file_event::FileEvent;
use super::reader::EventReader;
use crate::binlog::event::EventHeader;
use crate::binlog::format_description::Checksum;
use crate::binlog::{CHECKSUM_LEN, HEADER_LEN};

const WINDOW_LEN: usize = 256 * 1024;
/// Headers that must follow an event without checksum whose log_pos is not its end.
const FOLLOWERS: u32 = 3;
/// Up to this size, in bytes, a checksum is computed if nothing but the next header suggests it.
const SMALL_EVENT: u32 = 64 * 1024;

/// The offset of the first event at or after `from`; `None` when there is none.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn find_event(reader: &EventReader, from: u64) -> Result<Option<u64>, InspectError> {
    let io = |cause| InspectError::io("read", reader.path(), cause);
    let mut search = Search::new(reader).map_err(io)?;
    let found = search.first_from(from).map_err(io)?;
    if found.is_some() || search.any_log_pos {
        return Ok(found);
    }
    search.any_log_pos = true;
    search.first_from(from).map_err(io)
}

/// Whether `event` has the right size: the file ends with it, a header whose log_pos continues its own
/// follows it, or a few headers of known types follow one another.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn is_followed(reader: &EventReader, event: &FileEvent) -> Result<bool, InspectError> {
    let io = |cause| InspectError::io("read", reader.path(), cause);
    let search = Search::new(reader).map_err(io)?;
    let next = search.header_at(event.end()).map_err(io)?;
    if next.is_some_and(|next| is_linked(&event.header, &next)) {
        return Ok(true);
    }
    search.has_headers(event.end()).map_err(io)
}

/// Whether the log_pos of an event continues that of the one before it.
fn is_linked(header: &EventHeader, next: &EventHeader) -> bool {
    next.log_pos == header.log_pos.wrapping_add(next.event_size)
}

struct Search<'a> {
    reader: &'a EventReader,
    file: &'a File,
    len: u64,
    checksummed: bool,
    /// Whether log_pos may be a position in another file.
    any_log_pos: bool,
}

impl<'a> Search<'a> {
    fn new(reader: &'a EventReader) -> io::Result<Self> {
        let format = reader.format();
        Ok(Search {
            reader,
            file: reader.file(),
            len: reader.file().metadata()?.len(),
            checksummed: format.is_some_and(|format| format.checksum == Checksum::Crc32),
            any_log_pos: !reader.expects_own_log_pos(),
        })
    }

    fn first_from(&self, from: u64) -> io::Result<Option<u64>> {
        let mut window = vec![0; WINDOW_LEN];
        let mut start = from;
        while start + HEADER_LEN as u64 <= self.len {
            let count = (self.len - start).min(WINDOW_LEN as u64) as usize;
            let Some(bytes) = window.get_mut(..count) else {
                break;
            };
            self.file.read_exact_at(bytes, start)?;
            for (at, head) in bytes.windows(HEADER_LEN).enumerate() {
                let offset = start + at as u64;
                if self.is_event(head, offset)? {
                    return Ok(Some(offset));
                }
            }
            start += (count - HEADER_LEN + 1) as u64;
        }
        Ok(None)
    }

    fn is_event(&self, head: &[u8], offset: u64) -> io::Result<bool> {
        let Some(header) = self.header(head, offset) else {
            return Ok(false);
        };
        if !self.is_plausible(&header, offset)? {
            return Ok(false);
        }
        Ok(!self.checksummed || self.has_right_checksum(offset, &header)?)
    }

    /// The header in `head`, if its type is known and the event fits into the file.
    fn header(&self, head: &[u8], offset: u64) -> Option<EventHeader> {
        let header = EventHeader::parse(head).ok()?;
        let fits = offset + u64::from(header.event_size) <= self.len;
        (fits && header.event_type.name() != "Unknown").then_some(header)
    }

    fn header_at(&self, offset: u64) -> io::Result<Option<EventHeader>> {
        if offset + HEADER_LEN as u64 > self.len {
            return Ok(None);
        }
        let mut head = [0; HEADER_LEN];
        self.file.read_exact_at(&mut head, offset)?;
        Ok(self.header(&head, offset))
    }

    fn is_plausible(&self, header: &EventHeader, offset: u64) -> io::Result<bool> {
        let end = offset + u64::from(header.event_size);
        let log_pos = header.log_pos;
        let has_position = log_pos == end as u32 || log_pos == self.reader.shifted(end as u32);
        if has_position || (self.checksummed && log_pos == 0) {
            return Ok(true);
        }
        if !self.any_log_pos || end == self.len {
            return Ok(self.any_log_pos);
        }
        let Some(next) = self.header_at(end)? else {
            return Ok(false);
        };
        let is_linked = is_linked(header, &next);
        if self.checksummed {
            return Ok(is_linked || header.event_size <= SMALL_EVENT);
        }
        Ok(is_linked && self.has_headers(end)?)
    }

    /// Whether so many headers of known types follow one another from `offset` on, or up to the end of
    /// the file.
    fn has_headers(&self, mut offset: u64) -> io::Result<bool> {
        for _ in 0..FOLLOWERS {
            if offset == self.len {
                return Ok(true);
            }
            match self.header_at(offset)? {
                Some(header) => offset += u64::from(header.event_size),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn has_right_checksum(&self, offset: u64, header: &EventHeader) -> io::Result<bool> {
        let Some(mut left) = (header.event_size as usize).checked_sub(CHECKSUM_LEN) else {
            return Ok(false);
        };
        let mut hasher = crc32fast::Hasher::new();
        let mut block = vec![0; left.min(WINDOW_LEN)];
        let mut at = offset;
        while left > 0 {
            let Some(piece) = block.get_mut(..left.min(WINDOW_LEN)) else {
                break;
            };
            self.file.read_exact_at(piece, at)?;
            hasher.update(piece);
            at += piece.len() as u64;
            left -= piece.len();
        }
        let mut stored = [0; CHECKSUM_LEN];
        self.file.read_exact_at(&mut stored, at)?;
        Ok(hasher.finalize() == u32::from_le_bytes(stored))
    }
}
