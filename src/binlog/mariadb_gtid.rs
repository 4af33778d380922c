//! MariaDB's transaction opener: GTID_EVENT (162).
//!
//! ```text
//!  0        19       27          31       32
//!  | header | seq_no | domain_id | flags2 | commit_id (8) if flag 2 | XID … if flag 64 or 128
//! ```
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

const FLAGS2_AT: usize = 31;
const COMMIT_ID_AT: usize = 32;
/// The event with neither commit id nor XID is padded to this length of body.
const SHORT_BODY_LEN: usize = 19;

/// What is read from a GTID event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MariaDbGtidEvent {
    /// The GTID, with the header's server_id.
    pub gtid: MariaDbGtid,
    /// `FLAG_*` bits.
    pub flags2: u8,
    /// The id that the members of one group commit share.
    pub commit_id: Option<u64>,
}

impl MariaDbGtidEvent {
    /// Reads a whole event with its header and, when `checksummed`, its checksum.
    ///
    /// # Errors
    /// When it is cut short.
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
        let gtid = MariaDbGtid {
            domain_id,
            server_id: header.server_id,
            seq_no,
        };
        Ok(Self {
            gtid,
            flags2,
            commit_id,
        })
    }

    /// Whether the group is one statement without BEGIN and COMMIT.
    pub fn is_standalone(&self) -> bool {
        self.flags2 & FLAG_STANDALONE != 0
    }
}

/// Sets the commit id in an event that has one; leaves others alone.
pub fn set_commit_id(event: &mut [u8], commit_id: u64) {
    if event
        .get(FLAGS2_AT)
        .is_some_and(|flags2| flags2 & FLAG_GROUP_COMMIT_ID != 0)
    {
        event::patch(event, COMMIT_ID_AT, &commit_id.to_le_bytes());
    }
}

/// The opener of an empty group with the GTID of `event` (whole, checksummed): what is left of a
/// group of which every statement is filtered out. A COMMIT must follow.
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
    fn reads_and_is_cut_safely() {
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
    fn commit_ids_are_set_only_where_there_is_one() {
        let mut event = sample(FLAG_GROUP_COMMIT_ID);
        set_commit_id(&mut event, 5);
        assert_eq!(
            MariaDbGtidEvent::parse(&event, true).unwrap().commit_id,
            Some(5)
        );
        let mut event = sample(FLAG_STANDALONE);
        let before = event.clone();
        set_commit_id(&mut event, 5);
        assert_eq!(event, before);
    }

    #[test]
    fn an_empty_group_keeps_the_gtid_only() {
        let empty = empty_group(&sample(FLAG_STANDALONE | FLAG_GROUP_COMMIT_ID)).unwrap();
        let parsed = MariaDbGtidEvent::parse(&empty, true).unwrap();
        assert_eq!(parsed.gtid.to_string(), "3-18-99");
        assert!(!parsed.is_standalone());
        assert_eq!(parsed.commit_id, None);
        event::verify_checksum(&empty).unwrap();
    }
}
