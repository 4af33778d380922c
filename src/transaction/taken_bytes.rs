//! The events of the open transaction, taken out of the buffer to be filtered one by one.

use std::io;

use super::spill::SpillFile;

/// The open transaction's events after the opener, while they are outside [`super::body::Body`].
#[derive(Debug)]
pub(super) enum TakenBytes {
    Memory(Vec<u8>),
    Spilled(SpillFile),
}

impl TakenBytes {
    /// How many bytes the events have.
    pub(super) fn len(&self) -> u64 {
        match self {
            TakenBytes::Memory(bytes) => bytes.len() as u64,
            TakenBytes::Spilled(file) => file.len(),
        }
    }

    /// Reads from `start` to `end`, both offsets into these bytes.
    pub(super) fn read_from(&self, start: u64, end: u64) -> TakenReader<'_> {
        TakenReader {
            bytes: self,
            offset: start,
            end: end.min(self.len()),
        }
    }
}

/// Reads a part of [`TakenBytes`].
#[derive(Debug)]
pub(super) struct TakenReader<'a> {
    bytes: &'a TakenBytes,
    /// Offset of the next byte.
    offset: u64,
    /// Where the part ends. Invariant: at most `bytes.len()`.
    end: u64,
}

impl io::Read for TakenReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let Some(slot) = buffer.get_mut(..count) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        match self.bytes {
            TakenBytes::Memory(bytes) => {
                let from = self.offset as usize;
                let Some(part) = bytes.get(from..from + count) else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                slot.copy_from_slice(part);
            }
            TakenBytes::Spilled(file) => file.read_exact_at(slot, self.offset)?,
        }
        self.offset += count as u64;
        Ok(count)
    }
}
