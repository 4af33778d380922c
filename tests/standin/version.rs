//! What the old versions differ in, as recorded of 5.5.59, 5.6.24 and 5.7.23.

use super::event::{Event, FORMAT_DESCRIPTION, PREVIOUS_GTIDS};

/// A version of MySQL that a stand-in plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// 5.5.59.
    V55,
    /// 5.6.24 with `binlog_checksum=NONE`, as a 5.5 replica needs it; as a source only.
    V56,
    /// 5.7.23.
    V57,
}

/// Lengths of the fixed parts of the event types, from type 1 on.
const LENGTHS_55: [u8; 27] = [
    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 84, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0,
];
const LENGTHS_56: [u8; 35] = [
    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 92, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0, 0, 0,
    10, 10, 10, 25, 25, 0,
];
const LENGTHS_57: [u8; 38] = [
    56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 95, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0, 0, 0,
    10, 10, 10, 42, 42, 0, 18, 52, 0,
];

impl Version {
    /// What the server reports as its version.
    pub fn name(self) -> &'static str {
        match self {
            Version::V55 => "5.5.59-log",
            Version::V56 => "5.6.24-log",
            Version::V57 => "5.7.23-log",
        }
    }

    /// Whether its events end with a CRC32: the default since 5.6.6; 5.5 does not know it.
    pub fn is_checksummed(self) -> bool {
        self == Version::V57
    }

    /// Whether its events of this type end with a CRC32: from 5.6.1 on the format description always
    /// does.
    pub fn checksums(self, kind: u8) -> bool {
        match self {
            Version::V55 => false,
            Version::V56 => kind == FORMAT_DESCRIPTION,
            Version::V57 => true,
        }
    }

    /// The capabilities in its greeting.
    pub fn capabilities(self) -> u32 {
        match self {
            Version::V55 => 0x800F_F7FF,
            Version::V56 => 0x807F_F7FF,
            Version::V57 => 0x81FF_F7FF,
        }
    }

    /// Lengths of the fixed parts of the event types that it knows, from type 1 on.
    pub fn lengths(self) -> &'static [u8] {
        match self {
            Version::V55 => &LENGTHS_55,
            Version::V56 => &LENGTHS_56,
            Version::V57 => &LENGTHS_57,
        }
    }

    /// The first event of a file; `created` is 0 unless it is the first file since the server's start.
    pub fn format_description(self, timestamp: u32, server_id: u32, created: u32) -> Event {
        let mut body = 4_u16.to_le_bytes().to_vec();
        let mut name = self.name().as_bytes().to_vec();
        name.resize(50, 0);
        body.extend(name);
        body.extend(created.to_le_bytes());
        body.push(19);
        body.extend(self.lengths());
        if self.checksums(FORMAT_DESCRIPTION) {
            body.push(u8::from(self.is_checksummed()));
        }
        Event {
            timestamp,
            kind: FORMAT_DESCRIPTION,
            server_id,
            flags: 0,
            body,
        }
    }

    /// The event after it that lists the GTIDs of the files before; 5.5 has none.
    pub fn previous_gtids(self, timestamp: u32, server_id: u32, set: &[u8]) -> Option<Event> {
        (self == Version::V57).then(|| Event {
            timestamp,
            kind: PREVIOUS_GTIDS,
            server_id,
            flags: 0x80,
            body: set.to_vec(),
        })
    }
}
