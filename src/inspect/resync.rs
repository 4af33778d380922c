//! Finding the next event after damage.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::error::InspectError;
use super::reader::EventReader;
use crate::binlog::event::EventHeader;
use crate::binlog::format_description::Checksum;
use crate::binlog::{CHECKSUM_LEN, HEADER_LEN};

const WINDOW_LEN: usize = 256 * 1024;

/// The offset of the first event at or after `from`: a header of a known type whose log_pos is the
/// event's end, and whose checksum, if the file has checksums, is right. `None` when there is none.
///
/// MariaDB 11.8 writes log_pos 0 into the events inside a transaction: there the checksum alone
/// decides.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn find_event(reader: &EventReader, from: u64) -> Result<Option<u64>, InspectError> {
    let file = reader.file();
    let io = |cause| InspectError::io("read", reader.path(), cause);
    let len = file.metadata().map_err(io)?.len();
    let checksummed = reader
        .format()
        .is_some_and(|format| format.checksum == Checksum::Crc32);
    let mut window = vec![0; WINDOW_LEN];
    let mut start = from;
    while start + HEADER_LEN as u64 <= len {
        let count = (len - start).min(WINDOW_LEN as u64) as usize;
        let Some(bytes) = window.get_mut(..count) else {
            break;
        };
        file.read_exact_at(bytes, start).map_err(io)?;
        for (at, head) in bytes.windows(HEADER_LEN).enumerate() {
            let offset = start + at as u64;
            let Some(header) = plausible(head, offset, len, checksummed) else {
                continue;
            };
            if !checksummed || has_right_checksum(file, offset, &header).map_err(io)? {
                return Ok(Some(offset));
            }
        }
        start += (count - HEADER_LEN + 1) as u64;
    }
    Ok(None)
}

fn plausible(head: &[u8], offset: u64, len: u64, checksummed: bool) -> Option<EventHeader> {
    let header = EventHeader::parse(head).ok()?;
    let end = offset + u64::from(header.event_size);
    let has_position = header.log_pos == end as u32 || (checksummed && header.log_pos == 0);
    let fits = end <= len && has_position;
    (fits && header.event_type.name() != "Unknown").then_some(header)
}

fn has_right_checksum(file: &File, offset: u64, header: &EventHeader) -> std::io::Result<bool> {
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
        file.read_exact_at(piece, at)?;
        hasher.update(piece);
        at += piece.len() as u64;
        left -= piece.len();
    }
    let mut stored = [0; CHECKSUM_LEN];
    file.read_exact_at(&mut stored, at)?;
    Ok(hasher.finalize() == u32::from_le_bytes(stored))
}
