//! MySQL's binary JSON, as text.
//!
//! ```text
//!  document  type 1 | value
//!  object    count | size | for each key: offset, length 2 | for each value: type 1, offset or value | …
//!  array     count | size | for each value: type 1, offset or value | …
//! ```
//! Counts, sizes and offsets have 2 bytes, in the large forms 4; offsets are relative to the count
//! field. Values that fit into an offset are stored in its place. Strings begin with their length
//! (7 bits per byte, lowest first); opaque values with a column type, followed by their length.
//!
//! Offsets may point anywhere, several to the same bytes, so the length of the text is limited to
//! that of a valid document of that length.

use super::columns::column_type;
use super::fields::{EventError, FieldReader};
use super::temporal::{DateTime, Time};
use super::{decimal, float_text};

const NAME: &str = "JSON document";
/// The servers' limit for the depth of a document.
const DEPTH_MAX: usize = 100;
/// More characters than one byte of any valid document yields, and an allowance for the smallest.
const CHARS_PER_BYTE: usize = 8;
const CHARS_MORE: usize = 64;
/// Line length of MySQL's base64.
const BASE64_LINE: usize = 76;

const SMALL_OBJECT: u8 = 0;
const LARGE_OBJECT: u8 = 1;
const SMALL_ARRAY: u8 = 2;
const LARGE_ARRAY: u8 = 3;
const LITERAL: u8 = 4;
const INT16: u8 = 5;
const UINT16: u8 = 6;
const INT32: u8 = 7;
const UINT32: u8 = 8;
const INT64: u8 = 9;
const UINT64: u8 = 10;
const DOUBLE: u8 = 11;
const STRING: u8 = 12;
const OPAQUE: u8 = 15;

/// The type of a document's top-level value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object or an array.
    Container,
    /// A number, `true`, `false` or `null`.
    Bare,
    /// A string, or a value that is written as one.
    String,
}

/// A document as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The type of its top-level value.
    pub shape: Shape,
    /// Its text; of a [`Shape::String`] the characters without quotation marks and escapes.
    pub text: Vec<u8>,
}

impl Document {
    /// Reads a document. An empty one is `null`, as for the servers.
    ///
    /// # Errors
    /// When it is truncated, points past its end, or yields more text than its length allows.
    pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
        let Some((value_type, value)) = bytes.split_first() else {
            let text = b"null".to_vec();
            let shape = Shape::Bare;
            return Ok(Self { shape, text });
        };
        let mut writer = Writer {
            text: Vec::new(),
            chars_max: bytes.len().saturating_mul(CHARS_PER_BYTE) + CHARS_MORE,
        };
        let shape = match *value_type {
            STRING => {
                let text = variable_length(&mut FieldReader::new(NAME, value, 1))?;
                writer.push(text)?;
                Shape::String
            }
            OPAQUE => {
                let (shape, text) = opaque(value)?;
                writer.push(&text)?;
                shape
            }
            SMALL_OBJECT..=LARGE_ARRAY => {
                writer.value(*value_type, value, 0)?;
                Shape::Container
            }
            _ => {
                writer.value(*value_type, value, 0)?;
                Shape::Bare
            }
        };
        let text = writer.text;
        Ok(Self { shape, text })
    }

    /// The text as JSON, strings in quotation marks.
    pub fn into_json(self) -> Vec<u8> {
        match self.shape {
            Shape::String => {
                let mut text = Vec::with_capacity(self.text.len() + 2);
                push_quoted(&mut text, &self.text);
                text
            }
            _ => self.text,
        }
    }
}

struct Writer {
    text: Vec<u8>,
    chars_max: usize,
}

impl Writer {
    fn push(&mut self, text: &[u8]) -> Result<(), EventError> {
        self.text.extend_from_slice(text);
        self.check()
    }

    fn check(&self) -> Result<(), EventError> {
        if self.text.len() <= self.chars_max {
            return Ok(());
        }
        Err(EventError::Invalid {
            event: NAME,
            field: "length of the text",
            offset: 0,
            found: self.text.len() as u64,
            expected: "no more than a document of this length can yield",
        })
    }

    fn quoted(&mut self, text: &[u8]) -> Result<(), EventError> {
        push_quoted(&mut self.text, text);
        self.check()
    }

    fn value(&mut self, value_type: u8, value: &[u8], depth: usize) -> Result<(), EventError> {
        let mut fields = FieldReader::new(NAME, value, 0);
        if depth > DEPTH_MAX {
            return Err(fields.invalid("depth", 0, depth as u64, "100 or less"));
        }
        let number = match value_type {
            SMALL_OBJECT => return self.container(value, Container::new(true, 2), depth),
            LARGE_OBJECT => return self.container(value, Container::new(true, 4), depth),
            SMALL_ARRAY => return self.container(value, Container::new(false, 2), depth),
            LARGE_ARRAY => return self.container(value, Container::new(false, 4), depth),
            STRING => return self.quoted(variable_length(&mut fields)?),
            OPAQUE => {
                let (shape, text) = opaque(value)?;
                return match shape {
                    Shape::String => self.quoted(&text),
                    _ => self.push(&text),
                };
            }
            LITERAL => match fields.u8("literal")? {
                0 => "null".to_owned(),
                1 => "true".to_owned(),
                2 => "false".to_owned(),
                found => return Err(fields.invalid("literal", 0, found.into(), "0, 1 or 2")),
            },
            INT16 => (fields.u16("number")? as i16).to_string(),
            UINT16 => fields.u16("number")?.to_string(),
            INT32 => (fields.u32("number")? as i32).to_string(),
            UINT32 => fields.u32("number")?.to_string(),
            INT64 => (fields.u64("number")? as i64).to_string(),
            UINT64 => fields.u64("number")?.to_string(),
            DOUBLE => float_text::json(f64::from_bits(fields.u64("number")?)),
            found => return Err(fields.invalid("type", 0, found.into(), "0 to 12 or 15")),
        };
        self.push(number.as_bytes())
    }

    fn container(
        &mut self,
        bytes: &[u8],
        container: Container,
        depth: usize,
    ) -> Result<(), EventError> {
        let Container { is_object, width } = container;
        let mut fields = FieldReader::new(NAME, bytes, 0);
        let count = fields.uint("count", width)?;
        let size = fields.uint("size", width)?;
        if size > bytes.len() as u64 {
            return Err(fields.invalid("size", width, size, "no more than the bytes available"));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut keys = FieldReader::new(NAME, &[], 0);
        if is_object {
            let at = fields.offset();
            let table = fields.take("keys", count.saturating_mul(width + 2))?;
            keys = FieldReader::new(NAME, table, at);
        }
        let at = fields.offset();
        let entries = fields.take("values", count.saturating_mul(width + 1))?;
        let mut entries = FieldReader::new(NAME, entries, at);
        self.push(if is_object { b"{" } else { b"[" })?;
        for number in 0..count {
            if number > 0 {
                self.push(b", ")?;
            }
            if is_object {
                let offset = keys.uint("offset of a key", width)?;
                let length = keys.u16("length of a key")?;
                let mut key = at_offset(bytes, offset)?;
                self.quoted(key.take("key", length.into())?)?;
                self.push(b": ")?;
            }
            let value_type = entries.u8("type")?;
            let inline = entries.take("offset of a value", width)?;
            let is_inline = match value_type {
                LITERAL | INT16 | UINT16 => true,
                INT32 | UINT32 => width == 4,
                _ => false,
            };
            if is_inline {
                self.value(value_type, inline, depth + 1)?;
            } else {
                let offset = FieldReader::new(NAME, inline, 0).uint("offset", width)?;
                let value = at_offset(bytes, offset)?.rest();
                self.value(value_type, value, depth + 1)?;
            }
        }
        self.push(if is_object { b"}" } else { b"]" })
    }
}

#[derive(Clone, Copy)]
struct Container {
    is_object: bool,
    /// Bytes of counts, sizes and offsets.
    width: usize,
}

impl Container {
    fn new(is_object: bool, width: usize) -> Self {
        Self { is_object, width }
    }
}

fn at_offset(bytes: &[u8], offset: u64) -> Result<FieldReader<'_>, EventError> {
    let mut fields = FieldReader::new(NAME, bytes, 0);
    fields.take("offset", usize::try_from(offset).unwrap_or(usize::MAX))?;
    Ok(fields)
}

/// Bytes preceded by their length.
fn variable_length<'a>(fields: &mut FieldReader<'a>) -> Result<&'a [u8], EventError> {
    let at = fields.offset();
    let mut length = 0_u64;
    for number in 0..5 {
        let byte = fields.u8("length")?;
        length |= u64::from(byte & 0x7f) << (7 * number);
        if byte & 0x80 == 0 {
            return fields.take("string", usize::try_from(length).unwrap_or(usize::MAX));
        }
    }
    Err(fields.invalid("length", at, length, "5 bytes or less"))
}

/// The text of a value of a type that JSON does not have.
fn opaque(bytes: &[u8]) -> Result<(Shape, Vec<u8>), EventError> {
    let mut fields = FieldReader::new(NAME, bytes, 0);
    let value_type = fields.u8("column type")?;
    let value = variable_length(&mut fields)?;
    let text = match value_type {
        column_type::NEWDECIMAL => {
            let mut fields = FieldReader::new(NAME, value, 0);
            let precision = fields.u8("precision")?;
            let scale = fields.u8("scale")?;
            let text = decimal::decode(fields.rest(), precision, scale)?;
            return Ok((Shape::Bare, text.into_bytes()));
        }
        column_type::DATE => DateTime::decode_packed(value)?.date.to_string(),
        column_type::DATETIME | column_type::TIMESTAMP => {
            DateTime::decode_packed(value)?.to_string()
        }
        column_type::TIME => Time::decode_packed(value)?.to_string(),
        _ => format!("base64:type{value_type}:{}", base64(value)),
    };
    Ok((Shape::String, text.into_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len() / 3 * 4 + 4);
    let mut line = 0;
    for chunk in bytes.chunks(3) {
        if line == BASE64_LINE {
            text.push('\n');
            line = 0;
        }
        line += 4;
        let bits = (0..3).fold(0_usize, |bits, number| {
            bits << 8 | usize::from(chunk.get(number).copied().unwrap_or(0))
        });
        for number in 0..4 {
            let digit = DIGITS.get(bits >> (18 - 6 * number) & 0x3f).copied();
            match digit.filter(|_| number <= chunk.len()) {
                Some(digit) => text.push(char::from(digit)),
                None => text.push('='),
            }
        }
    }
    text
}

/// Appends a JSON string.
fn push_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
