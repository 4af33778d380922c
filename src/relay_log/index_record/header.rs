//! The header of a commit index, which binds it to its log file.

use super::bytes::{self, Fields, RecordBytes};
use super::{OLDEST_VERSION, RecordError, VERSION};
use crate::gtid::Uuid;
use crate::identity::IdentityKind;

const MAGIC: [u8; 4] = *b"BRIX";

/// The first record of a commit index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexHeader {
    /// How the log identifies its transactions.
    pub kind: IdentityKind,
    /// The relay log that it belongs to: a random UUID, generated when the log is created.
    pub log_id: Uuid,
    /// The number of the log file that it belongs to.
    pub file_number: u64,
    /// Length of that file's head in bytes: the events before the first transaction.
    pub log_head_len: u32,
    /// CRC32 of that head.
    pub log_head_crc: u32,
    /// Records of the index's own head, this one included: state carried over from the file
    /// before. They were on disk before the file was added to the list.
    pub head_records: u32,
}

impl IndexHeader {
    /// The record's bytes.
    pub fn encode(&self) -> RecordBytes {
        let kind = match self.kind {
            IdentityKind::MySql => 1,
            IdentityKind::MariaDb => 2,
            IdentityKind::Anonymous => 3,
        };
        Fields::new(0)
            .put(0, &MAGIC)
            .put_u16(4, VERSION)
            .put(6, &[kind])
            .put_u64(8, self.file_number)
            .put(16, &self.log_id.0)
            .put_u32(32, self.log_head_len)
            .put_u32(36, self.log_head_crc)
            .put_u32(40, self.head_records)
            .seal()
    }

    /// Reads a header.
    ///
    /// # Errors
    /// When it is damaged, or was written by another program or version.
    pub fn decode(record: &RecordBytes) -> Result<Self, RecordError> {
        if bytes::get_bytes::<4>(record, 0) != MAGIC {
            return Err(RecordError::Magic);
        }
        bytes::verify(record)?;
        match bytes::get_u16(record, 4) {
            OLDEST_VERSION..=VERSION => {}
            other => return Err(RecordError::Version(other)),
        }
        let kind = match bytes::get_u8(record, 6) {
            1 => IdentityKind::MySql,
            2 => IdentityKind::MariaDb,
            3 => IdentityKind::Anonymous,
            other => return Err(RecordError::Flavor(other)),
        };
        Ok(Self {
            kind,
            log_id: Uuid(bytes::get_bytes(record, 16)),
            file_number: bytes::get_u64(record, 8),
            log_head_len: bytes::get_u32(record, 32),
            log_head_crc: bytes::get_u32(record, 36),
            head_records: bytes::get_u32(record, 40),
        })
    }
}
