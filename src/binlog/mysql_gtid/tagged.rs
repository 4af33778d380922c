//! GTID_TAGGED_LOG_EVENT (42): the transaction opener of MySQL 8.3+ when the GTID has a tag.
//!
//! The body is one message of MySQL's serialization library: `version`, `size` (of the whole
//! message, these three included), `last non-ignorable field id`, then `(field id, value)` pairs
//! in ascending order, all of them variable-length integers. Such an integer's first byte ends in
//! as many one-bits as bytes follow; signed values are zigzag-encoded first. Fields:
//! 0 flags, 1 uuid (16 integers), 2 gno (signed), 3 tag (length, bytes), 4 last_committed (signed),
//! 5 sequence_number (signed), 6 immediate and 7 original commit time in microseconds,
//! 8 transaction length, 9 immediate and 10 original server version, 11 commit group ticket.

use super::content::{LogicalClock, MySqlGtidEvent, transaction_length};
use crate::binlog::event::{self, CHECKSUM_LEN, HEADER_LEN};
use crate::binlog::fields::{EventError, FieldReader};
use crate::gtid::mysql::MAX_GNO;
use crate::gtid::{Gtid, Sid, Tag, Uuid};

const NAME: &str = "Gtid_tagged event";
const UUID: u64 = 1;
const GNO: u64 = 2;
const TAG: u64 = 3;
const LAST_COMMITTED: u64 = 4;
const SEQUENCE_NUMBER: u64 = 5;
const IMMEDIATE_TIME: u64 = 6;
const ORIGINAL_TIME: u64 = 7;
const TRANSACTION_LENGTH: u64 = 8;
const LAST_KNOWN_FIELD: u64 = 11;

fn read_varint(fields: &mut FieldReader<'_>, name: &'static str) -> Result<u64, EventError> {
    let first = fields.u8(name)?;
    let more = first.trailing_ones() as usize;
    let rest = fields.uint(name, more)?;
    if more >= 7 {
        return Ok(rest); // The first byte has no bits of the value.
    }
    Ok((rest << (7 - more)) | u64::from(first >> (more + 1)))
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    let bits = 64 - value.leading_zeros() as usize;
    let more = bits.saturating_sub(1) / 7;
    if more >= 8 {
        out.push(0xff);
        out.extend_from_slice(&value.to_le_bytes());
        return;
    }
    let raw = (value << (more + 1)) | ((1 << more) - 1);
    out.extend(raw.to_le_bytes().iter().take(more + 1));
}

fn varint_width(value: u64) -> u64 {
    let bits = u64::from(64 - value.leading_zeros());
    (bits.saturating_sub(1) / 7).min(8) + 1
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// One `(id, value)` pair; `raw` is the value's bytes.
struct Field<'a> {
    id: u64,
    raw: &'a [u8],
}

/// Reads the message's three leading integers; returns the version and the last non-ignorable
/// field's id.
fn read_message_header(fields: &mut FieldReader<'_>) -> Result<(u64, u64), EventError> {
    let total = fields.remaining() as u64;
    let version = read_varint(fields, "serialization version")?;
    let at = fields.offset();
    let size = read_varint(fields, "message size")?;
    if size != total {
        return Err(fields.invalid("message size", at, size, "the size of the event's body"));
    }
    let last = read_varint(fields, "last non-ignorable field")?;
    Ok((version, last))
}

fn read_field<'a>(fields: &mut FieldReader<'a>) -> Result<Field<'a>, EventError> {
    let at = fields.offset();
    let id = read_varint(fields, "field id")?;
    if id > LAST_KNOWN_FIELD {
        return Err(fields.invalid("field id", at, id, "a known field, 0 to 11"));
    }
    let mut end = fields.clone();
    match id {
        UUID => {
            for _ in 0..16 {
                read_varint(&mut end, "uuid")?;
            }
        }
        TAG => {
            let length = read_varint(&mut end, "tag length")?;
            end.take("tag", usize::try_from(length).unwrap_or(usize::MAX))?;
        }
        _ => {
            read_varint(&mut end, "value")?;
        }
    }
    let raw = fields.take("value", fields.remaining() - end.remaining())?;
    Ok(Field { id, raw })
}

fn read_uuid(raw: &[u8]) -> Result<Uuid, EventError> {
    let mut fields = FieldReader::new(NAME, raw, 0);
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        let value = read_varint(&mut fields, "uuid")?;
        *byte = u8::try_from(value)
            .map_err(|_| fields.invalid("uuid", fields.offset(), value, "a byte"))?;
    }
    Ok(Uuid(uuid))
}

fn read_tag(raw: &[u8]) -> Result<Tag, EventError> {
    let mut fields = FieldReader::new(NAME, raw, 0);
    let length = read_varint(&mut fields, "tag length")?;
    Tag::from_bytes(fields.rest()).map_err(|_| {
        fields.invalid(
            "tag",
            0,
            length,
            "a tag of at most 32 letters, digits and _",
        )
    })
}

/// Reads the event's body.
pub(super) fn parse(body: &[u8]) -> Result<MySqlGtidEvent, EventError> {
    let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
    read_message_header(&mut fields)?;
    let mut uuid = None;
    let mut gno = None;
    let mut tag = Tag::NONE;
    let mut clock = LogicalClock {
        last_committed: 0,
        sequence_number: 0,
    };
    let mut length = None;
    let (mut immediate, mut original) = (None, None);
    while fields.remaining() > 0 {
        let field = read_field(&mut fields)?;
        let mut value = FieldReader::new(NAME, field.raw, fields.offset() - field.raw.len());
        match field.id {
            UUID => uuid = Some(read_uuid(field.raw)?),
            TAG => tag = read_tag(field.raw)?,
            GNO => gno = Some(unzigzag(read_varint(&mut value, "gno")?)),
            LAST_COMMITTED => {
                clock.last_committed = unzigzag(read_varint(&mut value, "last_committed")?);
            }
            SEQUENCE_NUMBER => {
                clock.sequence_number = unzigzag(read_varint(&mut value, "sequence_number")?);
            }
            IMMEDIATE_TIME => immediate = Some(read_varint(&mut value, "commit time")?),
            ORIGINAL_TIME => original = Some(read_varint(&mut value, "original commit time")?),
            TRANSACTION_LENGTH => length = Some(read_varint(&mut value, "transaction length")?),
            _ => {}
        }
    }
    let gno = gno.unwrap_or(0);
    let gno = u64::try_from(gno).unwrap_or(0);
    let (Some(uuid), 1..=MAX_GNO) = (uuid, gno) else {
        return Err(fields.invalid(
            "uuid and gno",
            HEADER_LEN,
            gno,
            "a uuid, and a gno from 1 to 2^63 - 2",
        ));
    };
    Ok(MySqlGtidEvent {
        gtid: Some(Gtid {
            sid: Sid { uuid, tag },
            gno,
        }),
        clock: Some(clock),
        transaction_length: length,
        original_commit_time_us: original.or(immediate),
    })
}

/// As [`super::rewrite`], for this form; `event_size` is still the old one.
pub(super) fn rewrite(
    source: &[u8],
    clock: LogicalClock,
    rest_len: u64,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    let body = event::body(source, true);
    let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
    let (version, last) = read_message_header(&mut fields)?;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut has_length = false;
    while fields.remaining() > 0 {
        let field = read_field(&mut fields)?;
        if field.id == TRANSACTION_LENGTH {
            has_length = true;
            continue;
        }
        let part = if field.id < TRANSACTION_LENGTH {
            &mut before
        } else {
            &mut after
        };
        put_varint(part, field.id);
        match field.id {
            LAST_COMMITTED => put_varint(part, zigzag(clock.last_committed)),
            SEQUENCE_NUMBER => put_varint(part, zigzag(clock.sequence_number)),
            _ => part.extend_from_slice(field.raw),
        }
    }
    let others = before.len()
        + after.len()
        + varint_width(version) as usize
        + varint_width(last) as usize
        + usize::from(has_length); // The length's field id is one byte.
    // The size field counts itself, and the transaction length counts both: settle them together.
    let (mut size, mut length) = (others as u64, 0);
    loop {
        let length_width = if has_length { varint_width(length) } else { 0 };
        let next_size = others as u64 + length_width + varint_width(size);
        let fixed = (HEADER_LEN + CHECKSUM_LEN) as u64 + next_size - length_width;
        let next_length = transaction_length(fixed, rest_len, varint_width);
        if next_size == size && (next_length == length || !has_length) {
            break;
        }
        (size, length) = (next_size.max(size), next_length.max(length));
    }
    out.extend_from_slice(FieldReader::new(NAME, source, 0).take("header", HEADER_LEN)?);
    put_varint(out, version);
    put_varint(out, size);
    put_varint(out, last);
    out.extend_from_slice(&before);
    if has_length {
        put_varint(out, TRANSACTION_LENGTH);
        put_varint(out, length);
    }
    out.extend_from_slice(&after);
    out.extend_from_slice(&[0; CHECKSUM_LEN]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::event::EventHeader;
    use crate::binlog::event_type::EventType;

    fn sample(length: u64, tag: &str) -> Vec<u8> {
        numbered(12, length, tag)
    }

    fn numbered(gno: i64, length: u64, tag: &str) -> Vec<u8> {
        let mut message = Vec::new();
        put_varint(&mut message, 0); // The last non-ignorable field.
        put_varint(&mut message, 0);
        put_varint(&mut message, 1);
        put_varint(&mut message, UUID);
        for byte in 0..16u64 {
            put_varint(&mut message, byte * 17);
        }
        put_varint(&mut message, GNO);
        put_varint(&mut message, zigzag(gno));
        put_varint(&mut message, TAG);
        put_varint(&mut message, tag.len() as u64);
        message.extend_from_slice(tag.as_bytes());
        for (id, value) in [(4, zigzag(3)), (5, zigzag(4)), (6, 1_700_000_000_000_000)] {
            put_varint(&mut message, id);
            put_varint(&mut message, value);
        }
        for (id, value) in [(TRANSACTION_LENGTH, length), (9, 90_704)] {
            put_varint(&mut message, id);
            put_varint(&mut message, value);
        }
        let mut body = Vec::new();
        put_varint(&mut body, 1);
        let mut size = message.len() as u64 + 1;
        size += varint_width(size + 1);
        put_varint(&mut body, size);
        body.extend_from_slice(&message);
        let header = EventHeader {
            timestamp: 1,
            event_type: EventType::GTID_TAGGED,
            server_id: 86,
            event_size: 0,
            log_pos: 0,
            flags: 0,
        };
        event::build(header, &body)
    }

    #[test]
    fn numbers_that_name_no_transaction_are_refused() {
        let with = |gno| MySqlGtidEvent::parse(&numbered(gno, 400, "blue"), true);
        assert_eq!(with(i64::MAX - 1).unwrap().gtid.unwrap().gno, MAX_GNO);
        for gno in [0, -1, i64::MIN, i64::MAX] {
            assert!(with(gno).is_err(), "{gno}");
        }
    }

    #[test]
    fn variable_length_integers_round_trip() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                assert_eq!(bytes.len() as u64, varint_width(value), "{value}");
                let mut fields = FieldReader::new("test", &bytes, 0);
                assert_eq!(read_varint(&mut fields, "value"), Ok(value));
                assert_eq!(fields.remaining(), 0);
            }
        }
        for value in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn tagged_gtid_is_read_and_truncation_is_safe() {
        let event = sample(400, "blue");
        let parsed = MySqlGtidEvent::parse(&event, true).unwrap();
        assert_eq!(parsed.gtid.unwrap().gno, 12);
        assert_eq!(parsed.gtid.unwrap().sid.tag.as_str(), "blue");
        assert_eq!(parsed.clock.unwrap().sequence_number, 4);
        assert_eq!(parsed.transaction_length, Some(400));
        for cut in (0..event.len()).filter(|cut| *cut != event.len() - CHECKSUM_LEN) {
            assert!(
                MySqlGtidEvent::parse(&event[..cut], false).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn rewritten_tagged_event_has_correct_lengths() {
        for rest in (0..300)
            .chain(16_200..16_400)
            .chain([2_097_000, 2_097_152, 1 << 31])
        {
            for sequence in [1, 63, 64, 8191, 8192, 1 << 40] {
                let clock = LogicalClock {
                    last_committed: sequence - 1,
                    sequence_number: sequence,
                };
                let mut out = Vec::new();
                super::super::rewrite(&sample(9, "a_tag"), clock, rest, &mut out).unwrap();
                let parsed = MySqlGtidEvent::parse(&out, true).unwrap();
                assert_eq!(parsed.clock, Some(clock));
                assert_eq!(parsed.transaction_length, Some(out.len() as u64 + rest));
            }
        }
    }
}
