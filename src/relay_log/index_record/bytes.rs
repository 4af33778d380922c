//! Fields of a record at fixed offsets, and its checksum.

use super::{RECORD_LEN, RecordError};
use crate::binlog::event;

/// The bytes of one record.
pub type RecordBytes = [u8; RECORD_LEN];

/// Bytes that the checksum covers; the last four bytes hold it.
pub(super) const COVERED_LEN: usize = RECORD_LEN - 4;

/// A record under construction. Offsets are constants below [`COVERED_LEN`].
pub(super) struct Fields(RecordBytes);

impl Fields {
    pub(super) fn new(kind: u8) -> Self {
        let mut fields = Self([0; RECORD_LEN]);
        fields.put(0, &[kind]);
        fields
    }

    pub(super) fn put(&mut self, at: usize, value: &[u8]) -> &mut Self {
        debug_assert!(at + value.len() <= COVERED_LEN);
        for (slot, byte) in self.0.iter_mut().skip(at).zip(value) {
            *slot = *byte;
        }
        self
    }

    pub(super) fn put_u16(&mut self, at: usize, value: u16) -> &mut Self {
        self.put(at, &value.to_le_bytes())
    }

    pub(super) fn put_u32(&mut self, at: usize, value: u32) -> &mut Self {
        self.put(at, &value.to_le_bytes())
    }

    pub(super) fn put_u64(&mut self, at: usize, value: u64) -> &mut Self {
        self.put(at, &value.to_le_bytes())
    }

    /// The record with its checksum.
    pub(super) fn seal(&self) -> RecordBytes {
        let mut bytes = self.0;
        let (covered, checksum) = bytes.split_at_mut(COVERED_LEN);
        checksum.copy_from_slice(&event::crc32(covered).to_le_bytes());
        bytes
    }
}

/// Checks a record's checksum.
pub(super) fn verify(record: &RecordBytes) -> Result<(), RecordError> {
    let (covered, _) = record.split_at(COVERED_LEN);
    let stored = get_u32(record, COVERED_LEN);
    let computed = event::crc32(covered);
    match stored == computed {
        true => Ok(()),
        false => Err(RecordError::Checksum { stored, computed }),
    }
}

fn get<const N: usize>(record: &RecordBytes, at: usize) -> [u8; N] {
    let mut value = [0; N];
    for (slot, byte) in value.iter_mut().zip(record.iter().skip(at)) {
        *slot = *byte;
    }
    value
}

pub(super) fn get_bytes<const N: usize>(record: &RecordBytes, at: usize) -> [u8; N] {
    get(record, at)
}

pub(super) fn get_u8(record: &RecordBytes, at: usize) -> u8 {
    u8::from_le_bytes(get(record, at))
}

pub(super) fn get_u16(record: &RecordBytes, at: usize) -> u16 {
    u16::from_le_bytes(get(record, at))
}

pub(super) fn get_u32(record: &RecordBytes, at: usize) -> u32 {
    u32::from_le_bytes(get(record, at))
}

pub(super) fn get_u64(record: &RecordBytes, at: usize) -> u64 {
    u64::from_le_bytes(get(record, at))
}
