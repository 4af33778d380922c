//! GTID_EVENT (33) and ANONYMOUS_GTID_EVENT (34).
//!
//! ```text
//!  0        19      20     36    44       45               53                61
//!  | header | flags | uuid | gno | type=2 | last_committed | sequence_number | …
//!  … immediate commit time (7; bit 55: the original one follows, 7)
//!  … transaction length (length-encoded)
//!  … immediate server version (4; bit 31: the original one follows, 4)
//!  … commit group ticket (8), optional
//! ```
//!
//! MySQL 5.6 ends at 44, 5.7 at 61. `transaction length` counts this event and all that follow up
//! to the commit, checksums included.

use super::content::{LogicalClock, MySqlGtidEvent, transaction_length};
use crate::binlog::event::{self, CHECKSUM_LEN, HEADER_LEN};
use crate::binlog::event_type::EventType;
use crate::binlog::fields::{EventError, FieldReader, put_length_encoded};
use crate::gtid::mysql::MAX_GNO;
use crate::gtid::{Gtid, Sid, Tag, Uuid};

const NAME: &str = "Gtid event";
const LOGICAL_CLOCK_TYPE: u8 = 2;
const LAST_COMMITTED_AT: usize = 45;
const SEQUENCE_NUMBER_AT: usize = 53;
const COMMIT_TIME_LEN: usize = 7;
const ORIGINAL_FOLLOWS: u64 = 1 << 55;

/// Reads the event's body.
pub(super) fn parse(
    event_type: Option<EventType>,
    body: &[u8],
) -> Result<MySqlGtidEvent, EventError> {
    let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
    fields.u8("flags")?;
    let uuid = Uuid(fields.array("uuid")?);
    let gno = read_gno(&mut fields)?;
    let gtid = (event_type != Some(EventType::ANONYMOUS_GTID)).then_some(Gtid {
        sid: Sid {
            uuid,
            tag: Tag::NONE,
        },
        gno,
    });
    if gtid.is_some() && gno == 0 {
        return Err(fields.invalid("gno", 36, 0, "1 or more"));
    }
    let mut parsed = MySqlGtidEvent {
        gtid,
        clock: None,
        transaction_length: None,
        original_commit_time_us: None,
    };
    if fields.remaining() == 0 || fields.u8("logical clock type")? != LOGICAL_CLOCK_TYPE {
        return Ok(parsed);
    }
    parsed.clock = Some(LogicalClock {
        last_committed: fields.u64("last_committed")? as i64,
        sequence_number: fields.u64("sequence_number")? as i64,
    });
    if fields.remaining() == 0 {
        return Ok(parsed);
    }
    parsed.original_commit_time_us = Some(read_commit_times(&mut fields)?);
    if fields.remaining() > 0 {
        parsed.transaction_length = Some(fields.length_encoded("transaction length")?);
    }
    Ok(parsed)
}

fn read_gno(fields: &mut FieldReader<'_>) -> Result<u64, EventError> {
    let at = fields.offset();
    let gno = fields.u64("gno")?;
    // What is above names no transaction, and could not be recorded as delivered.
    if gno > MAX_GNO {
        return Err(fields.invalid("gno", at, gno, "at most 2^63 - 2"));
    }
    Ok(gno)
}

/// Reads one or two commit times and returns the original one.
fn read_commit_times(fields: &mut FieldReader<'_>) -> Result<u64, EventError> {
    let immediate = fields.uint("immediate commit time", COMMIT_TIME_LEN)?;
    if immediate & ORIGINAL_FOLLOWS != 0 {
        return fields.uint("original commit time", COMMIT_TIME_LEN);
    }
    Ok(immediate)
}

/// As [`super::rewrite`], for this form; `event_size` is still the old one.
pub(super) fn rewrite(
    source: &[u8],
    clock: LogicalClock,
    rest_len: u64,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    let body = event::body(source, true);
    let start = out.len();
    let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
    fields.take("flags, uuid and gno", LAST_COMMITTED_AT - 1 - HEADER_LEN)?;
    if fields.remaining() == 0 || fields.u8("logical clock type")? != LOGICAL_CLOCK_TYPE {
        out.extend_from_slice(source); // MySQL 5.6: there is no clock to rewrite.
        return Ok(());
    }
    fields.take("logical clock", 16)?;
    let has_length = fields.remaining() > 0;
    if has_length {
        read_commit_times(&mut fields)?;
    }
    let head_len = fields.offset();
    let mut all = FieldReader::new(NAME, source, 0);
    out.extend_from_slice(all.take("fields up to the transaction length", head_len)?);
    let head = event::appended(out, start)?;
    let last_committed = clock.last_committed.to_le_bytes();
    event::patch(head, "last_committed", LAST_COMMITTED_AT, &last_committed)?;
    let number = clock.sequence_number.to_le_bytes();
    event::patch(head, "sequence_number", SEQUENCE_NUMBER_AT, &number)?;
    if has_length && fields.remaining() > 0 {
        fields.length_encoded("transaction length")?;
        let tail = fields.rest();
        let fixed = (head_len + tail.len() + CHECKSUM_LEN) as u64;
        put_length_encoded(
            out,
            transaction_length(fixed, rest_len, length_encoded_width),
        );
        out.extend_from_slice(tail);
    } else {
        out.extend_from_slice(fields.rest());
    }
    out.extend_from_slice(&[0; CHECKSUM_LEN]);
    Ok(())
}

fn length_encoded_width(value: u64) -> u64 {
    match value {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xff_ffff => 4,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogicalClock, MySqlGtidEvent, rewrite};
    use super::{EventType, event, put_length_encoded};
    use crate::binlog::event::EventHeader;
    use crate::gtid::mysql::MAX_GNO;

    fn sample(tail: &[u8]) -> Vec<u8> {
        let mut body = vec![1];
        body.extend_from_slice(&[0xab; 16]);
        body.extend_from_slice(&77u64.to_le_bytes());
        body.push(2);
        body.extend_from_slice(&5u64.to_le_bytes());
        body.extend_from_slice(&6u64.to_le_bytes());
        body.extend_from_slice(tail);
        let header = EventHeader {
            timestamp: 1,
            event_type: EventType::GTID,
            server_id: 86,
            event_size: 0,
            log_pos: 0,
            flags: 0,
        };
        event::build(header, &body)
    }

    fn modern(length: u64) -> Vec<u8> {
        let mut tail = 1_700_000_000_000_000u64.to_le_bytes()[..7].to_vec();
        put_length_encoded(&mut tail, length);
        tail.extend_from_slice(&90_704u32.to_le_bytes());
        sample(&tail)
    }

    #[test]
    fn gtid_events_of_all_versions_are_read() {
        let v57 = MySqlGtidEvent::parse(&sample(&[]), true).unwrap();
        assert_eq!(v57.gtid.unwrap().gno, 77);
        assert_eq!(
            v57.clock,
            Some(LogicalClock {
                last_committed: 5,
                sequence_number: 6
            })
        );
        assert_eq!(v57.transaction_length, None);
        let v8 = MySqlGtidEvent::parse(&modern(300), true).unwrap();
        assert_eq!(v8.transaction_length, Some(300));
        assert_eq!(v8.original_commit_time_us, Some(1_700_000_000_000_000));
        let mut v56 = sample(&[]);
        v56.truncate(44);
        let v56 = MySqlGtidEvent::parse(&v56, false).unwrap();
        assert_eq!((v56.gtid.unwrap().gno, v56.clock), (77, None));
    }

    #[test]
    fn numbers_that_name_no_transaction_are_refused() {
        let with = |gno: u64| {
            let mut event = sample(&[]);
            event[36..44].copy_from_slice(&gno.to_le_bytes());
            MySqlGtidEvent::parse(&event, true).map(|event| event.gtid.unwrap().gno)
        };
        assert_eq!(with(MAX_GNO), Ok(MAX_GNO));
        for gno in [0, MAX_GNO + 1, u64::MAX] {
            assert!(with(gno).is_err(), "{gno}");
        }
    }

    #[test]
    fn truncated_event_is_never_read_past_its_end() {
        let event = modern(300);
        for cut in 0..44 {
            assert!(
                MySqlGtidEvent::parse(&event[..cut], false).is_err(),
                "cut at {cut}"
            );
        }
        for cut in 44..event.len() {
            let _ = MySqlGtidEvent::parse(&event[..cut], false);
        }
    }

    #[test]
    fn rewritten_transaction_length_counts_the_event_itself() {
        let clock = LogicalClock {
            last_committed: 1000,
            sequence_number: 1001,
        };
        for rest in [
            0, 100, 150, 163, 164, 165, 180, 250, 300, 65_400, 65_450, 65_460, 65_536,
        ]
        .into_iter()
        .chain(16_777_100..16_777_220)
        {
            for length in [10, 300, 70_000, 20_000_000] {
                let mut out = Vec::new();
                rewrite(&modern(length), clock, rest, &mut out).unwrap();
                let parsed = MySqlGtidEvent::parse(&out, true).unwrap();
                assert_eq!(parsed.transaction_length, Some(out.len() as u64 + rest));
                assert_eq!(parsed.clock, Some(clock));
                assert_eq!(
                    EventHeader::parse(&out).unwrap().event_size as usize,
                    out.len()
                );
                assert_eq!(out[out.len() - 8..out.len() - 4], 90_704u32.to_le_bytes());
            }
        }
    }

    #[test]
    fn rewritten_mysql_57_event_keeps_its_form() {
        let clock = LogicalClock {
            last_committed: 9,
            sequence_number: 10,
        };
        let mut out = Vec::new();
        rewrite(&sample(&[]), clock, 500, &mut out).unwrap();
        assert_eq!(out.len(), sample(&[]).len());
        assert_eq!(
            MySqlGtidEvent::parse(&out, true).unwrap().clock,
            Some(clock)
        );
    }
}
