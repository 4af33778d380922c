//! The 19-byte event header, and the CRC32 at an event's end.

use std::sync::LazyLock;

use super::event_type::EventType;
use super::fields::EventError;

/// The first four bytes of every binlog file.
pub const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];
/// Bytes of an event header.
pub const HEADER_LEN: usize = 19;
/// Bytes of the checksum that follows the body.
pub const CHECKSUM_LEN: usize = 4;

/// Header flag of a format description event: the file was not closed.
pub const FLAG_BINLOG_IN_USE: u16 = 0x1;
/// Header flag of statements that depend on their connection: on its temporary tables.
pub const FLAG_THREAD_SPECIFIC: u16 = 0x4;
/// Header flag of events that a server generated for one connection; they are not part of a file.
pub const FLAG_ARTIFICIAL: u16 = 0x20;
/// Header flag of events that a replica may skip when it does not know them.
pub const FLAG_IGNORABLE: u16 = 0x80;

const TYPE_AT: usize = 4;
const SERVER_ID_AT: usize = 5;
const EVENT_SIZE_AT: usize = 9;
const LOG_POS_AT: usize = 13;
const FLAGS_AT: usize = 17;

/// The fields common to all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHeader {
    /// Seconds since 1970, by the clock of the server that ran the statement.
    pub timestamp: u32,
    /// The type of the body.
    pub event_type: EventType,
    /// The server_id of the event's origin. The relay never rewrites it.
    pub server_id: u32,
    /// Bytes of header, body and checksum.
    pub event_size: u32,
    /// Offset of the next event in its file, modulo 4 GiB; 0 when the event is not part of a file.
    pub log_pos: u32,
    /// `FLAG_*` bits.
    pub flags: u16,
}

impl EventHeader {
    /// Reads the header at the start of `bytes`, which may be longer.
    ///
    /// # Errors
    /// When there are fewer than 19 bytes, or `event_size` is below 19.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, EventError> {
        // Read at several stages for every event: as one array, whose length is checked once.
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(truncated_header(bytes));
        };
        #[rustfmt::skip]
        let [t0, t1, t2, t3, kind, s0, s1, s2, s3, z0, z1, z2, z3, p0, p1, p2, p3, f0, f1] = *head;
        let header = Self {
            timestamp: u32::from_le_bytes([t0, t1, t2, t3]),
            event_type: EventType(kind),
            server_id: u32::from_le_bytes([s0, s1, s2, s3]),
            event_size: u32::from_le_bytes([z0, z1, z2, z3]),
            log_pos: u32::from_le_bytes([p0, p1, p2, p3]),
            flags: u16::from_le_bytes([f0, f1]),
        };
        match header.event_size as usize {
            HEADER_LEN.. => Ok(header),
            _ => Err(size_below_header(header.event_size)),
        }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let parts: [&[u8]; 6] = [
            &self.timestamp.to_le_bytes(),
            &[self.event_type.0],
            &self.server_id.to_le_bytes(),
            &self.event_size.to_le_bytes(),
            &self.log_pos.to_le_bytes(),
            &self.flags.to_le_bytes(),
        ];
        for (slot, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *slot = *byte;
        }
        bytes
    }

    /// Whether the server generated this event for the connection.
    pub fn is_artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0
    }
}

/// The error for fewer bytes than a header has: it names the first field that is not whole.
#[cold]
fn truncated_header(bytes: &[u8]) -> EventError {
    let fields = [
        ("timestamp", 0, TYPE_AT),
        ("type", TYPE_AT, 1),
        ("server_id", SERVER_ID_AT, 4),
        ("event_size", EVENT_SIZE_AT, 4),
        ("log_pos", LOG_POS_AT, 4),
        ("flags", FLAGS_AT, 2),
    ];
    let cut = |(_, at, len): &(&str, usize, usize)| at + len > bytes.len();
    let (field, offset, needed) = fields
        .into_iter()
        .find(cut)
        .unwrap_or(("flags", FLAGS_AT, 2));
    EventError::Truncated {
        event: "event header",
        field,
        offset,
        needed: needed as u64,
        found: bytes.len().saturating_sub(offset),
    }
}

#[cold]
fn size_below_header(size: u32) -> EventError {
    EventError::Invalid {
        event: "event header",
        field: "event_size",
        offset: EVENT_SIZE_AT,
        found: size.into(),
        expected: "at least 19",
    }
}

/// The CRC32 of `bytes`.
///
/// Which implementation suits the processor is determined once, not for each event.
#[inline]
pub fn crc32(bytes: &[u8]) -> u32 {
    static OF_NOTHING: LazyLock<crc32fast::Hasher> = LazyLock::new(crc32fast::Hasher::new);
    let mut hasher = OF_NOTHING.clone();
    hasher.update(bytes);
    hasher.finalize()
}

/// The name of the type of `event`, which may be too short to have one.
fn name_of(event: &[u8]) -> &'static str {
    event
        .get(TYPE_AT)
        .map_or("event", |event_type| EventType(*event_type).name())
}

/// Overwrites the field called `field` at offset `at` of `event`, a whole event or the head of
/// one, with `value`.
///
/// # Errors
/// When the event ends before or inside the field. It is unchanged then.
pub fn patch(
    event: &mut [u8],
    field: &'static str,
    at: usize,
    value: &[u8],
) -> Result<(), EventError> {
    let slot = event
        .get_mut(at..)
        .and_then(|tail| tail.get_mut(..value.len()));
    match slot {
        Some(slot) => {
            slot.copy_from_slice(value);
            Ok(())
        }
        None => Err(EventError::Unwritable {
            event: name_of(event),
            field,
            offset: at,
            needed: value.len(),
            found: event.len(),
        }),
    }
}

/// Sets `event_size` in an event's header.
///
/// # Errors
/// As [`patch`].
pub fn set_event_size(event: &mut [u8], size: u32) -> Result<(), EventError> {
    patch(event, "event_size", EVENT_SIZE_AT, &size.to_le_bytes())
}

/// Sets `log_pos` in an event's header.
///
/// # Errors
/// As [`patch`].
pub fn set_log_pos(event: &mut [u8], log_pos: u32) -> Result<(), EventError> {
    patch(event, "log_pos", LOG_POS_AT, &log_pos.to_le_bytes())
}

/// Sets the flags in an event's header.
///
/// # Errors
/// As [`patch`].
pub fn set_flags(event: &mut [u8], flags: u16) -> Result<(), EventError> {
    patch(event, "flags", FLAGS_AT, &flags.to_le_bytes())
}

/// The event that was appended to `out` from offset `start` on, for patching.
///
/// # Errors
/// When `out` does not reach `start`.
pub fn appended(out: &mut [u8], start: usize) -> Result<&mut [u8], EventError> {
    let found = out.len();
    out.get_mut(start..).ok_or(EventError::Unwritable {
        event: "appended event",
        field: "header",
        offset: start,
        needed: HEADER_LEN,
        found,
    })
}

/// Splits an event into the bytes that the checksum covers and the checksum itself.
fn split_checksum(event: &[u8]) -> Result<(&[u8], u32), EventError> {
    match event.split_last_chunk::<CHECKSUM_LEN>() {
        Some((covered, stored)) if covered.len() >= HEADER_LEN => {
            Ok((covered, u32::from_le_bytes(*stored)))
        }
        _ => Err(EventError::Truncated {
            event: name_of(event),
            field: "checksum",
            offset: HEADER_LEN,
            needed: CHECKSUM_LEN as u64,
            found: event.len().saturating_sub(HEADER_LEN),
        }),
    }
}

/// Verifies the CRC32 in the last four bytes of `event`.
///
/// For a format description event it is computed with the in-use flag cleared, as the servers do:
/// they clear that flag in the file when they close it.
///
/// # Errors
/// When the event is too short for a checksum, or it does not match.
pub fn verify_checksum(event: &[u8]) -> Result<(), EventError> {
    let (covered, stored) = split_checksum(event)?;
    let is_format = event.get(TYPE_AT) == Some(&EventType::FORMAT_DESCRIPTION.0);
    let computed = if is_format {
        checksum_without_in_use(covered)
    } else {
        crc32(covered)
    };
    if stored == computed {
        return Ok(());
    }
    Err(EventError::Checksum {
        event: name_of(event),
        stored,
        computed,
    })
}

fn checksum_without_in_use(covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    match covered.split_at_checked(FLAGS_AT) {
        Some((before, [low, rest @ ..])) => {
            hasher.update(before);
            hasher.update(&[*low & !(FLAG_BINLOG_IN_USE as u8)]);
            hasher.update(rest);
        }
        _ => hasher.update(covered), // There are no flags.
    }
    hasher.finalize()
}

/// Computes the CRC32 and writes it into the last four bytes of `event`, a whole one.
///
/// # Errors
/// When the event is too short for a header and a checksum. It is unchanged then.
pub fn write_checksum(event: &mut [u8]) -> Result<(), EventError> {
    if let Some((covered, stored)) = event.split_last_chunk_mut::<CHECKSUM_LEN>()
        && covered.len() >= HEADER_LEN
    {
        *stored = crc32(covered).to_le_bytes();
        return Ok(());
    }
    Err(EventError::Unwritable {
        event: name_of(event),
        field: "checksum",
        offset: HEADER_LEN,
        needed: CHECKSUM_LEN,
        found: event.len(),
    })
}

/// The checksum of an event whose header was changed: `stored` is its checksum with the header `before`, and `rest_len`
/// the number of bytes between header and checksum, which are not needed.
///
/// CRC32 is linear: the checksums of two byte strings of one length differ by that of their difference, without the
/// constants, here the header's followed by zeros.
pub fn checksum_with_header(stored: u32, (before, after): (&[u8], &[u8]), rest_len: u64) -> u32 {
    let difference = crc32fast::hash(before) ^ crc32fast::hash(after);
    let mut shifted = crc32fast::Hasher::new_with_initial_len(difference, 0);
    shifted.combine(&crc32fast::Hasher::new_with_initial_len(0, rest_len));
    stored ^ shifted.finalize()
}

/// Removes the checksum from `event`, a whole one, which becomes shorter.
///
/// # Errors
/// When the event is too short for a header and a checksum. It is unchanged then.
pub fn remove_checksum(event: &mut Vec<u8>) -> Result<(), EventError> {
    let (covered, _) = split_checksum(event)?;
    let len = covered.len();
    event.truncate(len);
    set_event_size(event, len as u32)
}

/// Builds a whole event around `body`: header with `event_size`, the body, and the checksum.
pub fn build(mut header: EventHeader, body: &[u8]) -> Vec<u8> {
    let size = HEADER_LEN + body.len() + CHECKSUM_LEN;
    header.event_size = size as u32;
    let mut event = Vec::with_capacity(size);
    event.extend_from_slice(&header.encode());
    event.extend_from_slice(body);
    let checksum = crc32fast::hash(&event);
    event.extend_from_slice(&checksum.to_le_bytes());
    event
}

/// The body of a whole event, without header and, where `checksummed`, without checksum; empty when
/// the event is too short for these.
pub fn body(event: &[u8], checksummed: bool) -> &[u8] {
    let end = if checksummed {
        event.len().saturating_sub(CHECKSUM_LEN)
    } else {
        event.len()
    };
    event.get(HEADER_LEN..end).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> EventHeader {
        EventHeader {
            timestamp: 0x0102_0304,
            event_type: EventType::XID,
            server_id: 86,
            event_size: 31,
            log_pos: 4000,
            flags: FLAG_IGNORABLE,
        }
    }

    #[test]
    fn checksum_of_a_changed_header_needs_no_second_pass() {
        for body_len in [0usize, 1, 5, 64, 1000, 70_000, 1 << 20] {
            let body: Vec<u8> = (0..body_len).map(|at| (at * 7 % 251) as u8).collect();
            let whole = build(sample(), &body);
            let (covered, stored) = whole.split_last_chunk::<CHECKSUM_LEN>().unwrap();
            let stored = u32::from_le_bytes(*stored);
            for log_pos in [0, 4000, u32::MAX] {
                let mut moved = covered.to_vec();
                set_log_pos(&mut moved, log_pos).unwrap();
                let headers = (&covered[..HEADER_LEN], &moved[..HEADER_LEN]);
                let found = checksum_with_header(stored, headers, body_len as u64);
                assert_eq!(found, crc32fast::hash(&moved), "{body_len} {log_pos}");
            }
        }
    }

    #[test]
    fn headers_round_trip_and_truncation_is_safe() {
        let bytes = sample().encode();
        assert_eq!(EventHeader::parse(&bytes), Ok(sample()));
        let fields = [
            ("timestamp", 0, 4),
            ("type", 4, 1),
            ("server_id", 5, 4),
            ("event_size", 9, 4),
            ("log_pos", 13, 4),
            ("flags", 17, 2),
        ];
        for (field, offset, needed) in fields {
            for found in 0..needed {
                let cut = EventHeader::parse(&bytes[..offset + found]);
                let expected = EventError::Truncated {
                    event: "event header",
                    field,
                    offset,
                    needed: needed as u64,
                    found,
                };
                assert_eq!(cut, Err(expected));
            }
        }
    }

    #[test]
    fn event_smaller_than_its_header_is_refused() {
        let bytes = EventHeader {
            event_size: 18,
            ..sample()
        }
        .encode();
        assert!(EventHeader::parse(&bytes).is_err());
    }

    #[test]
    fn flipped_bit_breaks_the_checksum() {
        let event = build(sample(), &42u64.to_le_bytes());
        assert_eq!(event.len(), 31);
        verify_checksum(&event).unwrap();
        for bit in 0..event.len() * 8 {
            let mut damaged = event.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(verify_checksum(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn format_description_in_use_keeps_its_checksum() {
        let header = EventHeader {
            event_type: EventType::FORMAT_DESCRIPTION,
            ..sample()
        };
        let mut event = build(header, &[7; 90]);
        verify_checksum(&event).unwrap();
        set_flags(&mut event, header.flags | FLAG_BINLOG_IN_USE).unwrap();
        verify_checksum(&event).unwrap();
    }

    #[test]
    fn field_past_the_end_of_an_event_is_refused_and_nothing_is_written() {
        let whole = build(sample(), &42u64.to_le_bytes());
        for len in 0..whole.len() {
            let before = &whole[..len];
            let mut event = before.to_vec();
            let results = [
                (set_event_size(&mut event, 31), EVENT_SIZE_AT + 4),
                (set_log_pos(&mut event, 4000), LOG_POS_AT + 4),
                (set_flags(&mut event, FLAG_IGNORABLE), FLAGS_AT + 2),
            ];
            for (result, end) in results {
                assert_eq!(result.is_ok(), len >= end, "{result:?}");
            }
            assert_eq!(event, before);
            let written = write_checksum(&mut event);
            assert_eq!(written.is_ok(), len >= HEADER_LEN + CHECKSUM_LEN);
            assert_eq!(event == before, written.is_err());
        }
        let mut short = whole[..16].to_vec();
        let error = set_log_pos(&mut short, 1).unwrap_err().to_string();
        let expected =
            "Xid: cannot write log_pos: it needs 4 bytes at byte 13, the event has 16 bytes";
        assert_eq!(error, expected);
        assert!(appended(&mut short, 17).is_err());
    }
}
