//! Reading fixed-width and packed fields out of an event, and writing single fields into one, with
//! errors that name the event, the field and the offset.

/// Appends a length-encoded integer (the inverse of [`FieldReader::length_encoded`]): as in the
/// protocol.
pub use crate::protocol::put_length_encoded;

/// Why the bytes of an event are invalid. Offsets count from the event's first byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The event ends before or inside a required field.
    #[error("{event}: truncated at byte {offset}: {field} needs {needed} bytes, {found} are left")]
    Truncated {
        /// The event's name.
        event: &'static str,
        /// The field that was read.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// How many bytes the field has.
        needed: u64,
        /// How many bytes are there.
        found: usize,
    },
    /// A field holds an invalid value.
    #[error("{event}: {field} at byte {offset} is {found}, expected {expected}")]
    Invalid {
        /// The event's name.
        event: &'static str,
        /// The field that was read.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// The value found.
        found: u64,
        /// The valid values.
        expected: &'static str,
    },
    /// A field cannot be written into the event: the event ends before or inside it.
    #[error(
        "{event}: cannot write {field}: it needs {needed} bytes at byte {offset}, the event has \
         {found} bytes"
    )]
    Unwritable {
        /// The event's name.
        event: &'static str,
        /// The field that was to be written.
        field: &'static str,
        /// Where the field starts.
        offset: usize,
        /// How many bytes the field has.
        needed: usize,
        /// How many bytes the event has.
        found: usize,
    },
    /// The event's CRC32 does not match its bytes.
    #[error("{event}: checksum mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// The event's name.
        event: &'static str,
        /// The checksum in the event's last four bytes.
        stored: u32,
        /// The checksum of the other bytes.
        computed: u32,
    },
}

/// A cursor over one event's bytes.
///
/// Every read either advances or fails with the event, the field and the offset; nothing is
/// allocated.
#[derive(Debug, Clone)]
pub struct FieldReader<'a> {
    event: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> FieldReader<'a> {
    /// Reads `bytes`, which start `offset` bytes into the event called `event`.
    pub fn new(event: &'static str, bytes: &'a [u8], offset: usize) -> Self {
        Self {
            event,
            bytes,
            offset,
        }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The offset, from the event's start, of the next byte.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Takes the next `count` bytes.
    pub fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], EventError> {
        match self.bytes.split_at_checked(count) {
            Some((taken, rest)) => {
                self.bytes = rest;
                self.offset += count;
                Ok(taken)
            }
            None => Err(self.truncated(field, count as u64)),
        }
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes;
        self.offset += rest.len();
        self.bytes = &[];
        rest
    }

    /// Takes `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], EventError> {
        match self.bytes.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.bytes = rest;
                self.offset += N;
                Ok(*taken)
            }
            None => Err(self.truncated(field, N as u64)),
        }
    }

    /// Reads one byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, EventError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }

    /// Reads two bytes.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, EventError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    /// Reads four bytes.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, EventError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    /// Reads eight bytes.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, EventError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// Reads `width` bytes (at most 8) as one integer.
    pub fn uint(&mut self, field: &'static str, width: usize) -> Result<u64, EventError> {
        let taken = self.take(field, width)?;
        Ok(taken
            .iter()
            .rev()
            .fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    /// Reads a length-encoded integer of the client/server protocol (1, 3, 4 or 9 bytes).
    pub fn length_encoded(&mut self, field: &'static str) -> Result<u64, EventError> {
        let offset = self.offset;
        match self.u8(field)? {
            small @ 0..=250 => Ok(u64::from(small)),
            252 => self.uint(field, 2),
            253 => self.uint(field, 3),
            254 => self.uint(field, 8),
            found => Err(EventError::Invalid {
                event: self.event,
                field,
                offset,
                found: u64::from(found),
                expected: "the first byte of a length-encoded integer (0–250, 252–254)",
            }),
        }
    }

    /// The error that says that `field`, read at `offset`, holds `found`.
    pub fn invalid(
        &self,
        field: &'static str,
        offset: usize,
        found: u64,
        expected: &'static str,
    ) -> EventError {
        EventError::Invalid {
            event: self.event,
            field,
            offset,
            found,
            expected,
        }
    }

    fn truncated(&self, field: &'static str, needed: u64) -> EventError {
        EventError::Truncated {
            event: self.event,
            field,
            offset: self.offset,
            needed,
            found: self.bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_encoded_integers_round_trip_and_truncation_is_safe() {
        for value in [
            0,
            1,
            250,
            251,
            252,
            0xffff,
            0x1_0000,
            0xff_ffff,
            0x100_0000,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            put_length_encoded(&mut bytes, value);
            let mut reader = FieldReader::new("test", &bytes, 0);
            assert_eq!(reader.length_encoded("value"), Ok(value));
            assert_eq!(reader.remaining(), 0);
            for cut in 0..bytes.len() {
                let error = FieldReader::new("test", &bytes[..cut], 0).length_encoded("value");
                assert!(
                    matches!(error, Err(EventError::Truncated { .. })),
                    "cut at {cut}"
                );
            }
        }
        assert!(
            FieldReader::new("test", &[251], 0)
                .length_encoded("value")
                .is_err()
        );
        assert!(
            FieldReader::new("test", &[255], 0)
                .length_encoded("value")
                .is_err()
        );
    }

    #[test]
    fn error_names_event_field_and_offset() {
        let mut reader = FieldReader::new("QUERY event", &[1, 2, 3], 19);
        assert_eq!(reader.u16("a"), Ok(0x0201));
        let error = reader.u32("thread_id").unwrap_err().to_string();
        assert_eq!(
            error,
            "QUERY event: truncated at byte 21: thread_id needs 4 bytes, 1 are left"
        );
    }
}
