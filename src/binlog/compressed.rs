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
    if length > max as u64 {
        return Ok(None);
    }
    let at = fields.offset();
    let mut expanded = Vec::new();
    // One byte more than announced is enough to see that there are more.
    let result = ZlibDecoder::new(fields.rest())
        .take(length + 1)
        .read_to_end(&mut expanded);
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
    fn a_lying_length_costs_nothing() {
        let mut bytes = sample(&[b'a'; 700]);
        assert_eq!(decompress("test", &bytes, 0, 699), Ok(None));
        bytes[2] = 5;
        assert!(decompress("test", &bytes, 0, 1000).is_err());
    }
}
