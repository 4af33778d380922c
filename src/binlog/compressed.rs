//! MariaDB's compressed statements and rows (`log_bin_compress`).
//!
//! ```text
//!  0                                            1                      1 + n
//!  | 0x80 | algorithm << 4 (0: zlib) | width n | length, big-endian n | zlib stream …
//! ```

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::fields::{EventError, FieldReader};

const MARK: u8 = 0x80;

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
    let (length, stream, _) = open(event, bytes, offset)?;
    let mut expanded = Vec::new();
    // A stream that breaks off gives what is before: then it is not all.
    let _ = ZlibDecoder::new(stream)
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
    let (length, stream, at) = open(event, bytes, offset)?;
    if length > max as u64 {
        return Ok(None);
    }
    let mut expanded = Vec::new();
    // One byte more than announced is enough to see that there are more.
    let result = ZlibDecoder::new(stream)
        .take(length + 1)
        .read_to_end(&mut expanded);
    if result.is_err() || expanded.len() as u64 != length {
        let found = expanded.len() as u64;
        let expected = "the uncompressed length";
        let fields = FieldReader::new(event, bytes, offset);
        return Err(fields.invalid("bytes of the zlib stream", at, found, expected));
    }
    Ok(Some(expanded))
}

/// The length that is announced, the stream behind it, and where that begins.
fn open<'a>(
    event: &'static str,
    bytes: &'a [u8],
    offset: usize,
) -> Result<(u64, &'a [u8], usize), EventError> {
    let mut fields = FieldReader::new(event, bytes, offset);
    let first = fields.u8("compression header")?;
    if first & 0xf0 != MARK {
        let expected = "0x80 and a width of 1 to 4";
        return Err(fields.invalid("compression header", offset, first.into(), expected));
    }
    let width = usize::from(first & 0x07);
    if !(1..=4).contains(&width) {
        return Err(fields.invalid(
            "compression header",
            offset,
            first.into(),
            "a width of 1 to 4",
        ));
    }
    let length = fields
        .take("uncompressed length", width)?
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    let at = fields.offset();
    Ok((length, fields.rest(), at))
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
