//! Bytes of a binlog as strings of JSON, for every field of `dump --json` that holds text or bytes.
//!
//! A binlog does not say in which character set the text in it is, and it holds bytes that are not text.
//! Bytes that are valid UTF-8 are a string with that text. All others are a string of `0x` and two
//! hexadecimal digits a byte. So is text that itself begins with `0x`; therefore a string that
//! begins with `0x` always stands for bytes, and no two values look the same.

use serde::{Serialize, Serializer};

/// What a string of bytes begins with.
const BYTES_PREFIX: &str = "0x";

/// Bytes that are serialized as a string, see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JsonText<'a>(pub(super) &'a [u8]);

impl Serialize for JsonText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.starts_with(BYTES_PREFIX) => serializer.serialize_str(text),
            _ => serializer.serialize_str(&hex(self.0)),
        }
    }
}

/// Bytes as `0x` and hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let mut text = String::with_capacity(BYTES_PREFIX.len() + 2 * bytes.len());
    text.push_str(BYTES_PREFIX);
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.extend(DIGITS.get(usize::from(digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &[u8]) -> String {
        serde_json::to_string(&JsonText(bytes)).unwrap()
    }

    #[test]
    fn each_value_has_a_string_of_its_own() {
        let cases: [(&[u8], &str); 10] = [
            (b"", r#""""#),
            (b"a\\x41\n\"", r#""a\\x41\n\"""#),
            ("größer\0".as_bytes(), r#""größer\u0000""#),
            (b"gr\xf6\xdfer", r#""0x6772f6df6572""#),
            // CP932: the second byte of a character can be a backslash.
            (b"\x83\x5c", r#""0x835c""#),
            (b"\xff", r#""0xff""#),
            (b"0xff", r#""0x30786666""#),
            (b"0x", r#""0x3078""#),
            (b"0X1", r#""0X1""#),
            (b" 0xff", r#"" 0xff""#),
        ];
        for (bytes, expected) in cases {
            assert_eq!(json(bytes), expected);
            assert_eq!(bytes_of(&json(bytes)), bytes, "{expected}");
        }
    }

    /// How a reader gets the bytes back.
    fn bytes_of(json: &str) -> Vec<u8> {
        let text: String = serde_json::from_str(json).unwrap();
        match text.strip_prefix("0x") {
            None => text.into_bytes(),
            Some(digits) => (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect(),
        }
    }
}
