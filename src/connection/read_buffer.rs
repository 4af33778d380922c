//! The bytes that were read from the socket and not handed out yet.

use crate::protocol::InvalidMessage;
use crate::protocol::framing::{FrameReader, PacketPart, READ_BUFFER_MIN};

/// A buffer of fixed size. `start..end` holds the bytes that were read and not handed out.
///
/// `start <= end <= bytes.len()` always holds: only this file changes the two offsets, by counts
/// that were taken from the slices returned here.
pub(super) struct ReadBuffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    /// An empty buffer of `capacity` bytes, or of [`READ_BUFFER_MIN`] if that is more.
    pub(super) fn new(capacity: usize) -> ReadBuffer {
        let bytes = vec![0; capacity.max(READ_BUFFER_MIN)].into_boxed_slice();
        ReadBuffer {
            bytes,
            start: 0,
            end: 0,
        }
    }

    /// The buffer's size in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes that were read and not handed out.
    pub(super) fn available(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// A buffer of another size with the same bytes; of the next larger size that can hold them
    /// if `capacity` is too small.
    pub(super) fn resized(&self, capacity: usize) -> ReadBuffer {
        let available = self.available();
        let mut resized = ReadBuffer::new(capacity.max(available.len()));
        for (to, from) in resized.bytes.iter_mut().zip(available) {
            *to = *from;
        }
        resized.end = available.len();
        resized
    }

    /// The free space after the bytes that were read, at most `limit` bytes; empty when the buffer
    /// is full. A started packet moves to the front when less than half of the buffer is left;
    /// that happens at most once per filled buffer.
    pub(super) fn free_space(&mut self, limit: usize) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.bytes.len() - self.end < self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let end = self.end.saturating_add(limit).min(self.bytes.len());
        self.bytes.get_mut(self.end..end).unwrap_or_default()
    }

    /// Records that `count` bytes of [`ReadBuffer::free_space`] were filled.
    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Hands out the next packet, or part of a packet, that `frames` finds.
    pub(super) fn next_part(
        &mut self,
        frames: &mut FrameReader,
    ) -> Result<Option<PacketPart<'_>>, InvalidMessage> {
        let capacity = self.capacity();
        let available = self.bytes.get(self.start..self.end).unwrap_or_default();
        let Some((consumed, part)) = frames.next(available, capacity)? else {
            return Ok(None);
        };
        self.start = (self.start + consumed).min(self.end);
        Ok(Some(part))
    }
}
