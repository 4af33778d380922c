//! MariaDB's compressed statements and rows (`log_bin_compress`), and the values of its compressed
//! columns.
//!
//! ```text
//!  0                                            1                      1 + n
//!  | 0x80 | algorithm << 4 (0: zlib) | width n | length, big-endian n | zlib stream …
//! ```
//!
//! In columns the first byte is 0 before a value that is not compressed, else 0x80 (zlib), with the
//! bit 8 for a deflate stream without zlib's frame. An empty value has no bytes at all.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, ZlibDecoder};

use super::fields::{EventError, FieldReader};

const MARK: u8 = 0x80;
/// In columns: a deflate stream without frame.
const BARE: u8 = 0x08;

/// The first `max` bytes of what `bytes` expand to, and whether that is all of it. `bytes` may be
/// the first part of the whole; they stand `offset` bytes into the event called `event`.
///
/// # Errors
/// When the bytes do not begin like such a stream.
pub fn expand_head(
    event: &'static str,
    bytes: &[u8],
    offset: usize,
    max: usize,
) -> Result<(Vec<u8>, bool), EventError> {
    let mut fields = FieldReader::new(event, bytes, offset);
    let first = mark(&mut fields)?;
    let length = announced_length(&mut fields, first)?;
    let mut expanded = Vec::new();
    // A stream that breaks off gives what is before: then it is not all.
    let _ = ZlibDecoder::new(fields.rest())
        .take(max as u64)
        .read_to_end(&mut expanded);
    let is_all = expanded.len() as u64 == length;
    Ok((expanded, is_all))
}

/// Expands `bytes`, which stand `offset` bytes into the event called `event`. `None` when the
/// result is said to be, or turns out, larger than `max` bytes.
///
/// # Errors
/// When the bytes are no such stream, or it does not give the length that it says.
pub fn decompress(
    event: &'static str,
    bytes: &[u8],
    offset: usize,
    max: usize,
) -> Result<Option<Vec<u8>>, EventError> {
    let mut fields = FieldReader::new(event, bytes, offset);
    let first = mark(&mut fields)?;
    expand(fields, first, false, max)
}

/// Expands `bytes`, the value of a compressed column. `None` when the result is larger than `max`.
///
/// # Errors
/// When the bytes are no such value, or do not give the length that they say.
pub fn decompress_column(bytes: &[u8], max: usize) -> Result<Option<Cow<'_, [u8]>>, EventError> {
    let mut fields = FieldReader::new("compressed column", bytes, 0);
    if bytes.is_empty() {
        return Ok(Some(Cow::Borrowed(bytes)));
    }
    let first = fields.u8("compression header")?;
    if first == 0 {
        return Ok(Some(Cow::Borrowed(fields.rest())));
    }
    if first & 0xf0 != MARK {
        let expected = "0, or 0x80 and a width of 1 to 4";
        return Err(fields.invalid("compression header", 0, first.into(), expected));
    }
    let expanded = expand(fields, first, first & BARE != 0, max)?;
    Ok(expanded.map(Cow::Owned))
}

/// The first byte of compressed statements and rows.
fn mark(fields: &mut FieldReader<'_>) -> Result<u8, EventError> {
    let at = fields.offset();
    let first = fields.u8("compression header")?;
    if first & 0xf0 != MARK {
        let expected = "0x80 and a width of 1 to 4";
        return Err(fields.invalid("compression header", at, first.into(), expected));
    }
    Ok(first)
}

/// The length behind the first byte, of what the stream behind it expands to.
fn announced_length(fields: &mut FieldReader<'_>, first: u8) -> Result<u64, EventError> {
    let width = usize::from(first & 0x07);
    if !(1..=4).contains(&width) {
        let expected = "a width of 1 to 4";
        let at = fields.offset().saturating_sub(1);
        return Err(fields.invalid("compression header", at, first.into(), expected));
    }
    let length = fields.take("uncompressed length", width)?;
    let bytes = length.iter();
    Ok(bytes.fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// What follows the first byte.
fn expand(
    mut fields: FieldReader<'_>,
    first: u8,
    bare: bool,
    max: usize,
) -> Result<Option<Vec<u8>>, EventError> {
    let length = announced_length(&mut fields, first)?;
    if length > max as u64 {
        return Ok(None);
    }
    let at = fields.offset();
    let mut expanded = Vec::new();
    // One byte more than announced is enough to see that there are more.
    let result = match bare {
        true => DeflateDecoder::new(fields.rest())
            .take(length + 1)
            .read_to_end(&mut expanded),
        false => ZlibDecoder::new(fields.rest())
            .take(length + 1)
            .read_to_end(&mut expanded),
    };
    if result.is_err() || expanded.len() as u64 != length {
        let found = expanded.len() as u64;
        let expected = "the uncompressed length";
        return Err(fields.invalid("bytes of the zlib stream", at, found, expected));
    }
    Ok(Some(expanded))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn sample(text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x82];
        bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
        let mut encoder = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn expands_and_is_cut_safely() {
        let text = [b'a'; 700];
        let bytes = sample(&text);
        let expanded = decompress("test", &bytes, 0, 1000).unwrap();
        assert_eq!(expanded.unwrap(), text);
        for cut in 0..bytes.len() - 4 {
            // The last four bytes are zlib's own checksum.
            assert!(decompress("test", &bytes[..cut], 0, 1000).is_err(), "{cut}");
        }
    }

    #[test]
    fn columns_of_each_form() {
        let column = |bytes: &[u8]| {
            let expanded = decompress_column(bytes, 1000);
            expanded.map(|expanded| expanded.map(Cow::into_owned))
        };
        assert_eq!(column(b"").unwrap().unwrap(), b"");
        assert_eq!(column(b"\0short").unwrap().unwrap(), b"short");
        assert_eq!(column(&sample(&[b'a'; 700])).unwrap().unwrap(), [b'a'; 700]);
        // As MariaDB 11.8 wrote REPEAT('t', 1000).
        let bare = b"\x8a\x03\xe8+)\x19\x05\xa3`\x14\x0cw\0\0";
        assert_eq!(column(bare).unwrap().unwrap(), [b't'; 1000]);
        for cut in 1..bare.len() - 1 {
            assert!(column(&bare[..cut]).is_err(), "{cut}");
        }
        assert_eq!(decompress_column(bare, 999), Ok(None));
        assert!(column(b"\x8fx").is_err());
        assert!(column(b"\x10x").is_err());
    }

    #[test]
    fn heads_are_expanded_from_heads() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|n| n.to_le_bytes()).collect();
        let mut bytes = vec![0x83];
        bytes.extend_from_slice(&(text.len() as u32).to_be_bytes()[1..]);
        let mut encoder = flate2::write::ZlibEncoder::new(bytes, flate2::Compression::default());
        encoder.write_all(&text).unwrap();
        let bytes = encoder.finish().unwrap();
        let (all, is_all) = expand_head("test", &bytes, 0, 100_000).unwrap();
        assert!(is_all && all == text);
        let (head, is_all) = expand_head("test", &bytes, 0, 100).unwrap();
        assert!(!is_all && head == text[..100]);
        for cut in 0..bytes.len() / 2 {
            match expand_head("test", &bytes[..cut], 0, 100_000) {
                Ok((head, is_all)) => assert!(!is_all && text.starts_with(&head), "{cut}"),
                Err(_) => assert!(cut < 4, "{cut}"),
            }
        }
    }

    #[test]
    fn a_lying_length_costs_nothing() {
        let mut bytes = sample(&[b'a'; 700]);
        assert_eq!(decompress("test", &bytes, 0, 699), Ok(None));
        bytes[2] = 5;
        assert!(decompress("test", &bytes, 0, 1000).is_err());
    }
}
