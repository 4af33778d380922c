//! The protocol's basic types: little-endian integers, length-encoded integers and strings,
//! NUL-terminated strings. Binlog events contain the same length-encoded integers.

use super::InvalidMessage;
use std::borrow::Cow;

/// Reads one message's payload from start to end; every error names the message.
#[derive(Debug, Clone)]
pub(crate) struct WireReader<'a> {
    what: &'static str,
    length: usize,
    rest: &'a [u8],
}

impl<'a> WireReader<'a> {
    pub(crate) fn new(what: &'static str, payload: &'a [u8]) -> Self {
        WireReader {
            what,
            length: payload.len(),
            rest: payload,
        }
    }

    pub(crate) fn invalid(
        &self,
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> InvalidMessage {
        InvalidMessage {
            what: self.what,
            offset: self.length.saturating_sub(self.rest.len()),
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The remaining bytes; the reader is at the end afterwards.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], InvalidMessage> {
        match self.rest.split_at_checked(count) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(self.invalid(format!("{count} bytes"), self.left())),
        }
    }

    fn left(&self) -> String {
        format!("{} bytes left", self.rest.len())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidMessage> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(self.invalid(format!("{N} bytes"), self.left())),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, InvalidMessage> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, InvalidMessage> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u24(&mut self) -> Result<u32, InvalidMessage> {
        self.array::<3>()
            .map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, InvalidMessage> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, InvalidMessage> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes up to a NUL, which is consumed but not returned.
    pub(crate) fn until_nul(&mut self) -> Result<&'a [u8], InvalidMessage> {
        let Some(end) = self.rest.iter().position(|byte| *byte == 0) else {
            return Err(self.invalid("a NUL-terminated string", "no NUL"));
        };
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    pub(crate) fn length_encoded(&mut self) -> Result<u64, InvalidMessage> {
        let before = self.clone();
        match self.u8()? {
            0xFC => self.u16().map(u64::from),
            0xFD => self.u24().map(u64::from),
            0xFE => self.u64(),
            marker @ (0xFB | 0xFF) => Err(before.invalid(
                "a length-encoded integer",
                format!("the byte 0x{marker:02x}"),
            )),
            small => Ok(u64::from(small)),
        }
    }

    pub(crate) fn length_encoded_bytes(&mut self) -> Result<&'a [u8], InvalidMessage> {
        let length = self.length_encoded()?;
        match usize::try_from(length) {
            Ok(length) => self.bytes(length),
            Err(_) => Err(self.invalid(format!("{length} bytes"), self.left())),
        }
    }

    /// A value of a text row; NULL is the byte 0xFB.
    pub(crate) fn length_encoded_bytes_or_null(
        &mut self,
    ) -> Result<Option<&'a [u8]>, InvalidMessage> {
        if self.rest.first() == Some(&0xFB) {
            self.u8()?;
            return Ok(None);
        }
        self.length_encoded_bytes().map(Some)
    }

    /// A string after one length byte.
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8], InvalidMessage> {
        let length = self.u8()?;
        self.bytes(usize::from(length))
    }

    pub(crate) fn finish(&self) -> Result<(), InvalidMessage> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.invalid(
            "the end of the message",
            format!("{} more bytes", self.rest.len()),
        ))
    }
}

/// Text for messages: invalid UTF-8 is replaced, not refused.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Appends a length-encoded integer in its shortest form.
pub fn put_length_encoded(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    let [a, b, c, ..] = bytes;
    match value {
        0..=0xFA => out.push(a),
        0xFB..=0xFFFF => out.extend_from_slice(&[0xFC, a, b]),
        0x1_0000..=0xFF_FFFF => out.extend_from_slice(&[0xFD, a, b, c]),
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&bytes);
        }
    }
}

pub(crate) fn put_length_encoded_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length_encoded(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a NUL-terminated string. It ends at its first NUL, which it cannot contain.
pub(crate) fn put_until_nul(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().copied().take_while(|byte| *byte != 0));
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lenenc_integers_round_trip(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_length_encoded(&mut out, value);
            let mut reader = WireReader::new("test", &out);
            prop_assert_eq!(reader.length_encoded().unwrap(), value);
            prop_assert!(reader.finish().is_ok());
            for cut in 0..out.len() {
                prop_assert!(WireReader::new("test", &out[..cut]).length_encoded().is_err());
            }
        }
    }

    #[test]
    fn lenenc_boundaries_use_the_shortest_form() {
        for (value, length) in [
            (0xFA, 1),
            (0xFB, 3),
            (0xFFFF, 3),
            (0x1_0000, 4),
            (0xFF_FFFF, 4),
            (0x100_0000, 9),
        ] {
            let mut out = Vec::new();
            put_length_encoded(&mut out, value);
            assert_eq!(out.len(), length, "{value:#x}");
        }
    }

    #[test]
    fn a_huge_length_is_refused_without_allocating() {
        let bytes = [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        let error = WireReader::new("test", &bytes)
            .length_encoded_bytes()
            .unwrap_err();
        assert_eq!((error.what, error.offset), ("test", 9));
        assert_eq!(error.found, "1 bytes left");
    }

    #[test]
    fn bytes_after_the_message_are_an_error() {
        let mut reader = WireReader::new("test", b"abc");
        reader.u8().unwrap();
        let error = reader.finish().unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid test at byte 1: expected the end of the message, found 2 more bytes"
        );
    }
}
