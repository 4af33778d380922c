//! Semi-synchronous replication: two bytes before each event of a dump, and the packet that
//! acknowledges one.
//!
//! ```text
//! packet of an event:  │ 00 │ EF │ flag │ event …                    │   flag 1: acknowledge this event
//! acknowledgement:     │ EF │ position (8, little-endian) │ file name │
//! ```
//! An acknowledgement goes from the replica to the source on the connection of the dump. Its packet
//! number is 0. The number of the source's next packet after an event with flag 1 is 1; of a compressed
//! packet it is 0 in MySQL and 1 in MariaDB. An acknowledgement of a position is one of everything before
//! it. (`plugin/semisync` of MySQL, `sql/semisync_master.cc` of MariaDB.)

use super::InvalidMessage;

/// The first byte of both.
pub const MAGIC: u8 = 0xEF;
/// The flag of an event that is to be acknowledged.
const WANTS_ACKNOWLEDGEMENT: u8 = 1;
/// Bytes before the file name of an acknowledgement.
const NAME_AT: usize = 9;
/// The longest file name, in bytes: servers' FN_REFLEN less one.
const NAME_LEN_MAX: usize = 511;
/// The longest acknowledgement, in bytes.
pub const ACKNOWLEDGEMENT_LEN_MAX: usize = NAME_AT + NAME_LEN_MAX;

/// The bytes before an event, after the packet's leading 00.
pub fn event_header(wants_acknowledgement: bool) -> [u8; 2] {
    [MAGIC, u8::from(wants_acknowledgement)]
}

/// Splits the bytes that follow a packet's leading 00: whether the event is to be acknowledged, and
/// the event; `None` when they do not begin with such a header.
pub fn split_event(bytes: &[u8]) -> Option<(bool, &[u8])> {
    let ([magic, flag], event) = bytes.split_first_chunk::<2>()?;
    let is_header = *magic == MAGIC && *flag & !WANTS_ACKNOWLEDGEMENT == 0;
    is_header.then_some((*flag == WANTS_ACKNOWLEDGEMENT, event))
}

/// Everything up to a position is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// The name of the source's binlog file.
    pub file: &'a [u8],
    /// The position in it.
    pub position: u64,
}

impl<'a> Acknowledgement<'a> {
    /// Replaces `out` by the packet's payload. A name that is too long is truncated; servers have none.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(MAGIC);
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend(self.file.iter().take(NAME_LEN_MAX));
    }

    /// Reads a packet's payload.
    ///
    /// # Errors
    /// It is not an acknowledgement.
    pub fn decode(packet: &'a [u8]) -> Result<Self, InvalidMessage> {
        let invalid = |offset, expected: &'static str, found: String| InvalidMessage {
            what: "semi-sync acknowledgement",
            offset,
            expected: expected.into(),
            found: found.into(),
        };
        let fields = packet.split_first_chunk::<NAME_AT>();
        let Some(([magic, position @ ..], file)) = fields else {
            let found = format!("{} bytes", packet.len());
            return Err(invalid(0, "at least 9 bytes", found));
        };
        if *magic != MAGIC {
            return Err(invalid(0, "byte 239", format!("{magic}")));
        }
        if file.is_empty() || file.len() > NAME_LEN_MAX {
            let found = format!("{} bytes", file.len());
            return Err(invalid(NAME_AT, "a file name of 1 to 511 bytes", found));
        }
        Ok(Self {
            file,
            position: u64::from_le_bytes(*position),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_byte_for_byte_that_of_a_replica() {
        let sent = Acknowledgement {
            file: b"m.000003",
            position: 0x0102_0304,
        };
        let mut packet = vec![1, 2, 3];
        sent.encode(&mut packet);
        assert_eq!(packet, b"\xef\x04\x03\x02\x01\0\0\0\0m.000003");
        assert_eq!(Acknowledgement::decode(&packet).unwrap(), sent);
    }

    #[test]
    fn an_acknowledgement_is_refused_when_cut_or_of_another_kind() {
        let packet = b"\xef\x04\x03\x02\x01\0\0\0\0m";
        for len in 0..packet.len() {
            assert!(Acknowledgement::decode(&packet[..len]).is_err(), "{len}");
        }
        assert!(Acknowledgement::decode(packet).is_ok());
        assert!(Acknowledgement::decode(b"\x01\x04\x03\x02\x01\0\0\0\0m").is_err());
        let long = |name: usize| [&packet[..9], &vec![b'm'; name]].concat();
        assert!(Acknowledgement::decode(&long(511)).is_ok());
        assert!(Acknowledgement::decode(&long(512)).is_err());
    }

    #[test]
    fn the_header_of_an_event_is_split_off_only_where_it_is() {
        assert_eq!(split_event(b"\xef\x00event"), Some((false, &b"event"[..])));
        assert_eq!(split_event(b"\xef\x01event"), Some((true, &b"event"[..])));
        assert_eq!(split_event(b"\xef\x01"), Some((true, &b""[..])));
        for other in [&b"\xef\x02event"[..], b"\xee\x01event", b"\xef", b""] {
            assert_eq!(split_event(other), None, "{other:?}");
        }
        assert_eq!(event_header(true), *b"\xef\x01");
        assert_eq!(event_header(false), *b"\xef\x00");
    }
}
