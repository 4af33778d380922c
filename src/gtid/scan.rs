//! A cursor over text and one over bytes, whose errors have the offset.

use super::error::GtidError;

/// Reads a text from left to right.
pub(super) struct TextScanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> TextScanner<'a> {
    pub(super) fn new(text: &'a str) -> TextScanner<'a> {
        TextScanner { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The bytes for which `wanted` holds; it must hold for ASCII only.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| wanted(*b)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    pub(super) fn skip_space(&mut self) {
        self.take_while(|b| b.is_ascii_whitespace());
    }

    /// Skips `byte` if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), GtidError> {
        if self.eat(byte) {
            Ok(())
        } else {
            Err(self.error(expected))
        }
    }

    /// A decimal number in `min..=max`.
    pub(super) fn number(
        &mut self,
        min: u64,
        max: u64,
        expected: &'static str,
    ) -> Result<u64, GtidError> {
        let start = self.at;
        let digits = self.take_while(|b| b.is_ascii_digit());
        match digits.parse::<u64>() {
            Ok(n) if (min..=max).contains(&n) => Ok(n),
            _ if digits.is_empty() => Err(self.error(expected)),
            _ => Err(GtidError::text(expected, start, digits)),
        }
    }

    pub(super) fn end(&self, expected: &'static str) -> Result<(), GtidError> {
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.error(expected))
        }
    }

    /// An error about the next byte.
    pub(super) fn error(&self, expected: &'static str) -> GtidError {
        GtidError::text(expected, self.at, self.rest())
    }
}

/// Reads little-endian fields of an encoding; never past its end.
pub(super) struct ByteScanner<'a> {
    structure: &'static str,
    rest: &'a [u8],
    at: usize,
}

impl<'a> ByteScanner<'a> {
    pub(super) fn new(structure: &'static str, bytes: &'a [u8]) -> ByteScanner<'a> {
        ByteScanner {
            structure,
            rest: bytes,
            at: 0,
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        expected: &'static str,
    ) -> Result<[u8; N], GtidError> {
        let Some((array, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(expected));
        };
        self.rest = rest;
        self.at += N;
        Ok(*array)
    }

    pub(super) fn bytes(
        &mut self,
        length: usize,
        expected: &'static str,
    ) -> Result<&'a [u8], GtidError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.truncated(expected));
        };
        self.rest = rest;
        self.at += length;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, expected: &'static str) -> Result<u32, GtidError> {
        self.array(expected).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, expected: &'static str) -> Result<u64, GtidError> {
        self.array(expected).map(u64::from_le_bytes)
    }

    pub(super) fn end(&self) -> Result<(), GtidError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.truncated("its end"))
        }
    }

    fn truncated(&self, expected: &'static str) -> GtidError {
        self.error(expected, self.at, format!("{} bytes left", self.rest.len()))
    }

    /// An error about a field that began at byte `at`.
    pub(super) fn error(&self, expected: &'static str, at: usize, found: String) -> GtidError {
        GtidError::Binary {
            structure: self.structure,
            expected,
            at,
            found,
        }
    }
}
