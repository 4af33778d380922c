//! MariaDB's compressed statements and rows (`log_bin_compress`), and the values of its compressed
//! columns.
//!
//! ```text
//!  0                                            1                      1 + n
//!  | 0x80 | algorithm << 4 (0: zlib) | width n | length, big-endian n | zlib stream …
//! ```
//!
//! In columns the first byte is 0 before a value that is not compressed, otherwise 0x80 (zlib), with
//! bit 8 for a deflate stream without zlib's header. An empty value is empty.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, ZlibDecoder};

use super::fields::{EventError, FieldReader};

const MARK: u8 = 0x80;
/// In columns: a deflate stream without zlib's header.
const BARE: u8 = 0x08;

/// Decompresses up to `max` bytes, and says whether that is everything. `bytes` may be only the first
/// part of the stream; they are at `offset` in the event called `event`.
///
/// # Errors
/// When the bytes do not begin with a compression header.
pub fn expand_head(
    event: &'static str,
    bytes: &[u8],
    offset: usize,
    max: usize,
) -> Result<(Vec<u8>, bool), EventError> {
    let mut fields = FieldReader::new(event, bytes, offset);
    let first = mark(&mut fields)?;
    let length = stated_length(&mut fields, first)?;
    let mut expanded = Vec::new();
    // An incomplete stream yields its first part: then it is not everything.
    let _ = ZlibDecoder::new(fields.rest())
        .take(max as u64)
        .read_to_end(&mut expanded);
    let is_all = expanded.len() as u64 == length;
    Ok((expanded, is_all))
}

/// Decompresses `bytes`, which are at `offset` in the event called `event`. `None` when the result
/// is larger than `max` bytes, by its header or in fact.
///
/// # Errors
/// When the bytes are not a compressed stream, or its length is not the stated one.
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

/// Decompresses `bytes`, the value of a compressed column. `None` when the result is larger than `max`.
///
/// # Errors
/// When the bytes are not a compressed value, or its length is not the stated one.
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

/// The stated length of the decompressed bytes, which follows the first byte.
fn stated_length(fields: &mut FieldReader<'_>, first: u8) -> Result<u64, EventError> {
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

/// Decompresses everything after the first byte.
fn expand(
    mut fields: FieldReader<'_>,
    first: u8,
    bare: bool,
    max: usize,
) -> Result<Option<Vec<u8>>, EventError> {
    let length = stated_length(&mut fields, first)?;
    if length > max as u64 {
        return Ok(None);
    }
    let at = fields.offset();
    let mut expanded = Vec::new();
    // One byte more than stated is enough to detect a longer stream.
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
    fn stream_is_decompressed_and_truncation_is_safe() {
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
    fn compressed_columns_of_each_form_are_read() {
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
    fn head_of_a_statement_is_decompressed_from_the_head_of_the_event() {
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
    fn false_length_does_not_allocate_memory() {
        let mut bytes = sample(&[b'a'; 700]);
        assert_eq!(decompress("test", &bytes, 0, 699), Ok(None));
        bytes[2] = 5;
        assert!(decompress("test", &bytes, 0, 1000).is_err());
    }
}
