//! MariaDB's transaction opener: GTID_EVENT (162).
//!
//! ```text
//!  0        19       27          31       32
//!  | header | seq_no | domain_id | flags2 | commit_id (8) if flag 2 | XID if flag 64 or 128 …
//!  … | extra flags | engines (1) if extra flag 1 | seq_no of START ALTER (8) if extra flag 4 or 8 | …
//!
//!  XID: | format id (4) | length of gtrid | length of bqual | gtrid bqual |
//! ```
//!
//! The extra flags are there if anything is; padding reads as none.
//!
//! The header's server_id completes the GTID. Without `standalone` the event itself is the BEGIN.

use super::event::{self, CHECKSUM_LEN, EventHeader, HEADER_LEN};
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};
use crate::gtid::MariaDbGtid;

/// flags2: one statement without BEGIN and COMMIT.
pub const FLAG_STANDALONE: u8 = 1;
/// flags2: a commit id follows; neighbours with the same one committed as a group.
pub const FLAG_GROUP_COMMIT_ID: u8 = 2;
/// flags2: only transactional tables were changed.
pub const FLAG_TRANSACTIONAL: u8 = 4;

/// flags2: it prepares an XA transaction, or ends a prepared one; its XID follows.
const FLAGS_XA: u8 = 64 | 128;
/// Extra flags: a count of engines follows.
const EXTRA_FLAG_ENGINES: u8 = 1;
/// Extra flags: the first half of an ALTER.
const EXTRA_FLAG_START_ALTER: u8 = 2;
/// Extra flags: the second half, COMMIT (4) or ROLLBACK (8).
const EXTRA_FLAGS_END_ALTER: u8 = 4 | 8;

const FLAGS2_AT: usize = 31;
const COMMIT_ID_AT: usize = 32;
/// The event with neither commit id nor XID is padded to this length of body.
const SHORT_BODY_LEN: usize = 19;

/// The fields of a GTID event that the relay reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MariaDbGtidEvent {
    /// The GTID, with the header's server_id.
    pub gtid: MariaDbGtid,
    /// `FLAG_*` bits.
    pub flags2: u8,
    /// The id that the members of one group commit share.
    pub commit_id: Option<u64>,
    /// Which half of an ALTER it is, with `binlog_alter_two_phase` (MariaDB 10.8).
    pub alter: Option<AlterHalf>,
}

/// The halves of an ALTER that a replica begins before the master has ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterHalf {
    /// START ALTER.
    Start,
    /// COMMIT ALTER or ROLLBACK ALTER.
    End {
        /// The seq_no of the START, whose domain and server_id are the same.
        start_seq_no: u64,
    },
}

impl MariaDbGtidEvent {
    /// Reads a whole event with its header and, when `checksummed`, its checksum.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn parse(event: &[u8], checksummed: bool) -> Result<Self, EventError> {
        let header = EventHeader::parse(event)?;
        let mut fields =
            FieldReader::new("Gtid event", event::body(event, checksummed), HEADER_LEN);
        let seq_no = fields.u64("seq_no")?;
        let domain_id = fields.u32("domain_id")?;
        let flags2 = fields.u8("flags2")?;
        let commit_id = match flags2 & FLAG_GROUP_COMMIT_ID {
            0 => None,
            _ => Some(fields.u64("commit_id")?),
        };
        if flags2 & FLAGS_XA != 0 {
            fields.u32("XID's format id")?;
            let lengths = [fields.u8("length of gtrid")?, fields.u8("length of bqual")?];
            let len = lengths.map(usize::from).iter().sum();
            fields.take("XID", len)?;
        }
        let gtid = MariaDbGtid {
            domain_id,
            server_id: header.server_id,
            seq_no,
        };
        Ok(Self {
            gtid,
            flags2,
            commit_id,
            alter: alter_half(&mut fields)?,
        })
    }

    /// Whether the group is one statement without BEGIN and COMMIT.
    pub fn is_standalone(&self) -> bool {
        self.flags2 & FLAG_STANDALONE != 0
    }
}

/// Reads the extra flags, if there are any.
fn alter_half(fields: &mut FieldReader<'_>) -> Result<Option<AlterHalf>, EventError> {
    if fields.remaining() == 0 {
        return Ok(None);
    }
    let flags = fields.u8("extra flags")?;
    if flags & EXTRA_FLAG_ENGINES != 0 {
        fields.u8("engines")?;
    }
    if flags & EXTRA_FLAGS_END_ALTER != 0 {
        let start_seq_no = fields.u64("seq_no of START ALTER")?;
        return Ok(Some(AlterHalf::End { start_seq_no }));
    }
    Ok((flags & EXTRA_FLAG_START_ALTER != 0).then_some(AlterHalf::Start))
}

/// Sets the commit id in an event that has one; leaves others alone.
///
/// # Errors
/// When the event ends before its flags or inside the commit id.
pub fn set_commit_id(event: &mut [u8], commit_id: u64) -> Result<(), EventError> {
    match event.get(FLAGS2_AT) {
        Some(flags2) if flags2 & FLAG_GROUP_COMMIT_ID == 0 => Ok(()),
        // Without flags2 this fails as well: they come before the commit id.
        _ => event::patch(event, "commit_id", COMMIT_ID_AT, &commit_id.to_le_bytes()),
    }
}

/// The opener of an empty group with the GTID of `event` (whole, checksummed): the remainder of a
/// group whose every statement is filtered out. A COMMIT must follow.
///
/// # Errors
/// As [`MariaDbGtidEvent::parse`].
pub fn empty_group(event: &[u8]) -> Result<Vec<u8>, EventError> {
    let header = EventHeader::parse(event)?;
    let parsed = MariaDbGtidEvent::parse(event, true)?;
    let mut body = Vec::with_capacity(SHORT_BODY_LEN);
    body.extend_from_slice(&parsed.gtid.seq_no.to_le_bytes());
    body.extend_from_slice(&parsed.gtid.domain_id.to_le_bytes());
    body.push(FLAG_TRANSACTIONAL);
    body.resize(SHORT_BODY_LEN, 0);
    let header = EventHeader {
        event_type: EventType::MARIADB_GTID,
        ..header
    };
    debug_assert_eq!(HEADER_LEN + SHORT_BODY_LEN + CHECKSUM_LEN, 42);
    Ok(event::build(header, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(flags2: u8) -> Vec<u8> {
        let mut body = 99u64.to_le_bytes().to_vec();
        body.extend_from_slice(&3u32.to_le_bytes());
        body.push(flags2);
        body.extend_from_slice(&0x0102_0304_0506_0708u64.to_le_bytes()[..]);
        let header = EventHeader {
            timestamp: 1,
            event_type: EventType::MARIADB_GTID,
            server_id: 18,
            event_size: 0,
            log_pos: 0,
            flags: 0,
        };
        event::build(header, &body)
    }

    #[test]
    fn event_is_read_and_truncation_is_safe() {
        let event = sample(FLAG_GROUP_COMMIT_ID);
        let parsed = MariaDbGtidEvent::parse(&event, true).unwrap();
        assert_eq!(parsed.gtid.to_string(), "3-18-99");
        assert_eq!(parsed.commit_id, Some(0x0102_0304_0506_0708));
        for cut in 0..40 {
            assert!(
                MariaDbGtidEvent::parse(&event[..cut], false).is_err(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn halves_of_an_alter_are_distinguished_and_truncation_is_safe() {
        let xid = [1, 0, 0, 0, 2, 1, b'a', b'b', b'c'];
        let end = [&[8][..], &77u64.to_le_bytes()].concat();
        let engines = [&[1 | 4, 2][..], &77u64.to_le_bytes()].concat();
        for (flags2, fields, expected) in [
            (FLAG_STANDALONE, vec![2], Some(AlterHalf::Start)),
            (
                FLAG_STANDALONE,
                end,
                Some(AlterHalf::End { start_seq_no: 77 }),
            ),
            (
                FLAG_STANDALONE,
                engines,
                Some(AlterHalf::End { start_seq_no: 77 }),
            ),
            (64, [&xid[..], &[2]].concat(), Some(AlterHalf::Start)),
            (128, xid.to_vec(), None),
            (0, vec![16, 1, 2, 3, 4], None),
        ] {
            let mut body = [0; 12].to_vec();
            body.push(flags2);
            body.extend_from_slice(&fields);
            let header = EventHeader::parse(&sample(0)).unwrap();
            let event = event::build(header, &body);
            let parsed = MariaDbGtidEvent::parse(&event, true).unwrap();
            assert_eq!(parsed.alter, expected, "{fields:?}");
            for cut in 0..event.len() {
                let _ = MariaDbGtidEvent::parse(&event[..cut], false);
            }
        }
    }

    #[test]
    fn commit_id_is_set_only_in_an_event_that_has_one() {
        let mut event = sample(FLAG_GROUP_COMMIT_ID);
        set_commit_id(&mut event, 5).unwrap();
        assert_eq!(
            MariaDbGtidEvent::parse(&event, true).unwrap().commit_id,
            Some(5)
        );
        let mut event = sample(FLAG_STANDALONE);
        let before = event.clone();
        set_commit_id(&mut event, 5).unwrap();
        assert_eq!(event, before);
        let mut event = sample(FLAG_GROUP_COMMIT_ID);
        for len in 0..COMMIT_ID_AT + 8 {
            assert!(set_commit_id(&mut event[..len], 5).is_err(), "length {len}");
        }
    }

    #[test]
    fn empty_group_keeps_only_the_gtid() {
        let empty = empty_group(&sample(FLAG_STANDALONE | FLAG_GROUP_COMMIT_ID)).unwrap();
        let parsed = MariaDbGtidEvent::parse(&empty, true).unwrap();
        assert_eq!(parsed.gtid.to_string(), "3-18-99");
        assert!(!parsed.is_standalone());
        assert_eq!(parsed.commit_id, None);
        event::verify_checksum(&empty).unwrap();
    }
}
