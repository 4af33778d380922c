//! FORMAT_DESCRIPTION_EVENT (15): the format of the events that follow.
//!
//! ```text
//!  0         19          21             71        75             76               …
//!  | header  | version=4 | server name  | created | header len=19| post-header lengths |
//!  …                    | checksum algorithm (1) | CRC32 (4) |
//! ```
//!
//! The event carries the algorithm byte and four checksum bytes whatever the algorithm is, when
//! the server is MySQL ≥ 5.6.1 or MariaDB ≥ 5.3.

use super::event::{self, EventHeader, HEADER_LEN};
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};

const NAME: &str = "Format_desc event";
const SERVER_VERSION_LEN: usize = 50;
/// Bytes at the end: the algorithm and the checksum.
pub const ALGORITHM_AND_CHECKSUM_LEN: usize = 5;
/// Offset of the post-header lengths: that of type 1 comes first.
pub const POST_HEADER_LENGTHS_AT: usize = 76;

/// How the events of a file are checksummed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// `binlog_checksum=NONE`: events end with their body.
    None,
    /// `binlog_checksum=CRC32`: the last four bytes of each event.
    Crc32,
}

/// The contents of a format description event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatDescription {
    /// The server that wrote the file, as returned by `SELECT VERSION()`; at most 50 bytes.
    pub server_version: String,
    /// When the server started, if this is its first file since; 0 otherwise. A replica drops
    /// its temporary tables on any other value than 0.
    pub created: u32,
    /// Length of the fixed part of each event type's body, for type 1, 2, 3 …
    pub post_header_lengths: Vec<u8>,
    /// How the events that follow are checksummed.
    pub checksum: Checksum,
}

impl FormatDescription {
    /// Reads a whole event, header included. The checksum is not verified here.
    ///
    /// # Errors
    /// When the event is truncated, or is not of binlog version 4 with 19-byte headers.
    pub fn parse(event: &[u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new(NAME, event, 0);
        fields.take("header", HEADER_LEN)?;
        let version = fields.u16("binlog version")?;
        if version != 4 {
            return Err(fields.invalid("binlog version", HEADER_LEN, version.into(), "4"));
        }
        let server_version = fields.take("server version", SERVER_VERSION_LEN)?;
        let text = server_version
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or(&[]);
        let server_version = String::from_utf8_lossy(text).into_owned();
        let created = fields.u32("created")?;
        let header_length_at = fields.offset();
        let header_length = fields.u8("header length")?;
        if usize::from(header_length) != HEADER_LEN {
            let found = u64::from(header_length);
            return Err(fields.invalid("header length", header_length_at, found, "19"));
        }
        let has_algorithm = version_has_checksums(&server_version);
        let tail = if has_algorithm {
            ALGORITHM_AND_CHECKSUM_LEN
        } else {
            0
        };
        let count = fields.remaining().checked_sub(tail);
        let lengths = match count {
            Some(count) => fields.take("post-header lengths", count)?,
            None => fields.take("post-header lengths", tail)?,
        };
        let checksum = if has_algorithm {
            let at = fields.offset();
            match fields.u8("checksum algorithm")? {
                0 => Checksum::None,
                1 => Checksum::Crc32,
                found => {
                    let expected = "0 (none) or 1 (CRC32)";
                    return Err(fields.invalid("checksum algorithm", at, found.into(), expected));
                }
            }
        } else {
            Checksum::None
        };
        Ok(Self {
            server_version,
            created,
            post_header_lengths: lengths.to_vec(),
            checksum,
        })
    }

    /// Whether this event itself ends in a checksum. It does so if the server's version has
    /// checksums at all, whatever the algorithm of the other events.
    pub fn is_checksummed(&self) -> bool {
        version_has_checksums(&self.server_version)
    }

    /// Length of the fixed part of this type's body, in bytes; `None` when the server that wrote
    /// the file does not know the type.
    pub fn post_header_length(&self, event_type: EventType) -> Option<usize> {
        let index = usize::from(event_type.0).checked_sub(1)?;
        self.post_header_lengths
            .get(index)
            .map(|length| usize::from(*length))
    }

    /// The event, checksummed, as it is written at the start of a relay log file.
    pub fn encode(&self, timestamp: u32, server_id: u32, log_pos: u32, flags: u16) -> Vec<u8> {
        let mut body = Vec::with_capacity(64 + self.post_header_lengths.len());
        body.extend_from_slice(&4u16.to_le_bytes());
        let mut version = [0; SERVER_VERSION_LEN];
        for (slot, byte) in version.iter_mut().zip(self.server_version.bytes()) {
            *slot = byte;
        }
        body.extend_from_slice(&version);
        body.extend_from_slice(&self.created.to_le_bytes());
        body.push(HEADER_LEN as u8);
        body.extend_from_slice(&self.post_header_lengths);
        body.push(match self.checksum {
            Checksum::None => 0,
            Checksum::Crc32 => 1,
        });
        let event_type = EventType::FORMAT_DESCRIPTION;
        let header = EventHeader {
            timestamp,
            event_type,
            server_id,
            event_size: 0,
            log_pos,
            flags,
        };
        event::build(header, &body)
    }

    /// Whether a file that this describes may hold events of `other`: every event type known to
    /// both has a fixed part of the same length, except for types with a variable length.
    pub fn is_compatible_with(&self, other: &FormatDescription) -> bool {
        let lengths = self.post_header_lengths.iter();
        (1..)
            .zip(lengths.zip(&other.post_header_lengths))
            // A server writes 0 for types that it never writes itself; that is compatible.
            .all(|(number, (ours, theirs))| {
                let equal = ours == theirs || *ours == 0 || *theirs == 0;
                equal || has_variable_length(EventType(number))
            })
    }

    /// The post-header lengths of a file with events of both, which must be compatible.
    pub fn joined_post_header_lengths(&self, other: &FormatDescription) -> Vec<u8> {
        let (own, other) = (&self.post_header_lengths, &other.post_header_lengths);
        let known = |lengths: &[u8], at| lengths.get(at).copied().filter(|length| *length != 0);
        let length = |number: u8| {
            let at = usize::from(number) - 1;
            match has_variable_length(EventType(number)) {
                true => known(own, at).max(known(other, at)),
                false => known(own, at).or(known(other, at)),
            }
        };
        let count = own.len().max(other.len()).min(u8::MAX.into()) as u8;
        (1..=count)
            .map(|number| length(number).unwrap_or(0))
            .collect()
    }
}

/// Whether the fixed part's length may differ between events of one file: that of the format
/// description grows with the number of event types, and GTID events became longer in MySQL 5.7,
/// whose readers use the length of each event.
fn has_variable_length(event_type: EventType) -> bool {
    matches!(
        event_type,
        EventType::FORMAT_DESCRIPTION | EventType::GTID | EventType::ANONYMOUS_GTID
    )
}

/// The leading `major.minor.patch` of a server's version string; missing parts are 0.
pub fn version_numbers(version: &str) -> (u32, u32, u32) {
    let text = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

fn version_has_checksums(version: &str) -> bool {
    let numbers = version_numbers(version);
    if version.to_ascii_lowercase().contains("mariadb") {
        numbers >= (5, 3, 0)
    } else {
        numbers >= (5, 6, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> FormatDescription {
        FormatDescription {
            server_version: "9.7.4".to_owned(),
            created: 0,
            post_header_lengths: (1..=42).collect(),
            checksum: Checksum::Crc32,
        }
    }

    #[test]
    fn format_description_round_trips_and_truncation_is_safe() {
        let event = sample().encode(7, 900, 126, 0);
        event::verify_checksum(&event).unwrap();
        assert_eq!(FormatDescription::parse(&event), Ok(sample()));
        for cut in 0..80 {
            assert!(
                FormatDescription::parse(&event[..cut]).is_err(),
                "cut at {cut}"
            );
        }
        for cut in 80..event.len() {
            // Truncated inside the array it may be readable, but must differ from the complete one.
            assert_ne!(
                FormatDescription::parse(&event[..cut]),
                Ok(sample()),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn descriptions_of_two_versions_are_joined() {
        let of = |lengths: &[u8]| FormatDescription {
            post_header_lengths: lengths.to_vec(),
            ..sample()
        };
        // Those of MySQL 5.6.24 and 9.7.4, as in their files.
        let older = of(&[
            56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 92, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0,
            0, 0, 10, 10, 10, 25, 25, 0,
        ]);
        let newer = of(&[
            0, 13, 0, 8, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0, 99, 0, 4, 26, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0,
            0, 10, 10, 10, 42, 42, 0, 18, 52, 0, 10, 40, 0, 0,
        ]);
        assert!(older.is_compatible_with(&newer) && newer.is_compatible_with(&older));
        let joined = older.joined_post_header_lengths(&newer);
        assert_eq!(joined, newer.joined_post_header_lengths(&older));
        assert_eq!(joined.len(), 42);
        let entry = |number: usize| joined[number - 1];
        assert_eq!([1, 15, 33, 34, 40].map(entry), [56, 99, 42, 42, 40]);
        // Files with events of both stay compatible.
        let joined = of(&joined);
        assert_eq!(
            joined.joined_post_header_lengths(&older),
            joined.post_header_lengths
        );
        let mut other_rows = newer.clone();
        other_rows.post_header_lengths[29] = 8;
        assert!(!older.is_compatible_with(&other_rows));
    }

    #[test]
    fn servers_with_checksums_are_known_by_version() {
        assert_eq!(version_numbers("10.11.14-MariaDB-log"), (10, 11, 14));
        assert_eq!(version_numbers("5.5.5-10.11.14-MariaDB"), (10, 11, 14));
        assert_eq!(version_numbers("9.7"), (9, 7, 0));
        assert!(!version_has_checksums("5.5.62-log"));
        assert!(version_has_checksums("5.6.24"));
        assert!(version_has_checksums("10.5.1-MariaDB"));
    }

    #[test]
    fn post_header_length_is_found_by_type() {
        assert_eq!(sample().post_header_length(EventType::QUERY), Some(2));
        assert_eq!(
            sample().post_header_length(EventType::GTID_TAGGED),
            Some(42)
        );
        assert_eq!(sample().post_header_length(EventType(43)), None);
        assert_eq!(sample().post_header_length(EventType(0)), None);
    }
}
