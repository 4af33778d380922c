//! MySQL's sets as the body of PREVIOUS_GTIDS_LOG_EVENT and in COM_BINLOG_DUMP_GTID.
//!
//! Little-endian: a header of 8 bytes, then for each source its UUID (16 bytes), the number of
//! intervals (8) and the intervals: start (8), end exclusive (8). A set without tags has the
//! number of sources as its header. One with tags has `1 << 56 | sources << 8 | 1`, and after
//! each UUID the tag: its length as mysqld's variable-length integer, which for at most 32 is
//! one byte of twice the value, and its text.

use super::error::GtidError;
use super::intervals::{Interval, Intervals};
use super::mysql::{GtidSet, MAX_GNO, Sid, Tag, Uuid};
use super::scan::ByteScanner;

const TAGGED: u64 = 1;
const FORMAT_SHIFT: u32 = 56;

impl GtidSet {
    /// Appends the encoding: the older form when no GTID in the set has a tag.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let tagged = self.has_tags();
        let sources = self.sources.len() as u64;
        let header = if tagged {
            TAGGED << FORMAT_SHIFT | sources << 8 | TAGGED
        } else {
            sources
        };
        out.extend_from_slice(&header.to_le_bytes());
        for (sid, intervals) in &self.sources {
            out.extend_from_slice(&sid.uuid.0);
            if tagged {
                let tag = sid.tag.as_str().as_bytes();
                out.push((tag.len() as u8) << 1);
                out.extend_from_slice(tag);
            }
            out.extend_from_slice(&(intervals.iter().len() as u64).to_le_bytes());
            for Interval { start, end } in intervals.iter() {
                out.extend_from_slice(&start.to_le_bytes());
                out.extend_from_slice(&(end + 1).to_le_bytes());
            }
        }
    }

    /// Reads an encoding that fills `bytes`. Sources may be in any order (some clients do not sort
    /// them) and without intervals.
    ///
    /// # Errors
    /// When it is truncated or followed by other bytes, its format is unknown, a source appears
    /// twice, or intervals are empty, out of range or not in order with a gap between neighbours.
    pub fn decode(bytes: &[u8]) -> Result<GtidSet, GtidError> {
        let mut set = GtidSet::new();
        for_each_source(bytes, |scanner, sid, at| {
            let mut intervals = Vec::new();
            for_each_interval(scanner, |interval| intervals.push(interval))?;
            let intervals = Intervals::from_unsorted(intervals);
            if !intervals.is_empty() && set.sources.insert(sid, intervals).is_some() {
                return Err(scanner.error("each source once", at, format!("{sid} again")));
            }
            Ok(())
        })?;
        Ok(set)
    }
}

/// Reads an encoding that fills `bytes`. `read` gets each source and its offset, and must read its
/// intervals with [`for_each_interval`].
pub(super) fn for_each_source(
    bytes: &[u8],
    mut read: impl FnMut(&mut ByteScanner<'_>, Sid, usize) -> Result<(), GtidError>,
) -> Result<(), GtidError> {
    let mut scanner = ByteScanner::new("GTID set", bytes);
    let header = scanner.u64("the number of sources (8 bytes)")?;
    let (tagged, sources) = match header >> FORMAT_SHIFT {
        0 => (false, header),
        TAGGED => (true, (header & !(0xff << FORMAT_SHIFT)) >> 8),
        other => {
            return Err(scanner.error("format 0 or 1 (tagged)", 7, format!("format {other}")));
        }
    };
    // A false count ends at the first missing byte; no memory is allocated by it.
    for _ in 0..sources {
        let at = scanner.at();
        let uuid = Uuid(scanner.array("a UUID (16 bytes)")?);
        let tag = if tagged {
            decode_tag(&mut scanner)?
        } else {
            Tag::NONE
        };
        read(&mut scanner, Sid { uuid, tag }, at)?;
    }
    scanner.end()
}

fn decode_tag(scanner: &mut ByteScanner<'_>) -> Result<Tag, GtidError> {
    let at = scanner.at();
    let [length] = scanner.array("the length of a tag (1 byte)")?;
    if length & 1 != 0 {
        let found = format!("byte {length:#04x}");
        return Err(scanner.error("the length of a tag, at most 32", at, found));
    }
    let tag = scanner.bytes(usize::from(length >> 1), "a tag")?;
    Tag::from_bytes(tag).map_err(|e| scanner.error("a valid tag", at + 1, e.to_string()))
}

/// Reads the intervals of one source.
pub(super) fn for_each_interval(
    scanner: &mut ByteScanner<'_>,
    mut visit: impl FnMut(Interval),
) -> Result<(), GtidError> {
    let count = scanner.u64("the number of intervals (8 bytes)")?;
    let mut previous_end = 0;
    for _ in 0..count {
        let at = scanner.at();
        let start = scanner.u64("the start of an interval (8 bytes)")?;
        let end = scanner.u64("the end of an interval (8 bytes)")?;
        if start <= previous_end || end <= start || end > MAX_GNO + 1 {
            let found = format!("{start} up to {end} (exclusive) after {previous_end}");
            return Err(scanner.error("intervals within range, in order and apart", at, found));
        }
        visit(Interval {
            start,
            end: end - 1,
        });
        previous_end = end;
    }
    Ok(())
}
