//! TRANSACTION_PAYLOAD_EVENT (40): a MySQL transaction compressed as a whole. Only its fields are
//! read here.
//!
//! Fields follow one another as type, length and value, the first two length-encoded, the value
//! a length-encoded integer: 1 payload size, 2 compression type (0 zstd, 255 none), 3
//! uncompressed size. Type 0, alone, ends the header; the payload follows.

use super::event::HEADER_LEN;
use super::fields::{EventError, FieldReader};

/// `compression_type` of a payload that is a zstd stream.
pub const COMPRESSION_ZSTD: u64 = 0;
/// `compression_type` of a payload that is not compressed.
pub const COMPRESSION_NONE: u64 = 255;

/// What is read from the header. The sizes are what the event says, and not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadHeader {
    /// Bytes of the payload as it stands in the event.
    pub payload_size: Option<u64>,
    /// 0 zstd, 255 none.
    pub compression_type: Option<u64>,
    /// Bytes of the events that it holds.
    pub uncompressed_size: Option<u64>,
    /// Bytes of the fields themselves: where in the body the payload starts.
    pub header_len: usize,
}

impl PayloadHeader {
    /// Reads `body`, the event without its header, or the head of it.
    ///
    /// # Errors
    /// When it is cut short, or a value does not fill its length.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("Transaction_payload event", body, HEADER_LEN);
        let mut header = PayloadHeader::default();
        loop {
            let field_type = fields.length_encoded("field type")?;
            if field_type == 0 {
                header.header_len = fields.offset() - HEADER_LEN;
                return Ok(header);
            }
            let length = fields.length_encoded("field length")?;
            let at = fields.offset();
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let raw = fields.take("field value", length)?;
            let slot = match field_type {
                1 => &mut header.payload_size,
                2 => &mut header.compression_type,
                3 => &mut header.uncompressed_size,
                _ => continue,
            };
            let mut value = FieldReader::new("Transaction_payload event", raw, at);
            *slot = Some(value.length_encoded("field value")?);
        }
    }

    /// The compression's name.
    pub fn compression_name(&self) -> &'static str {
        match self.compression_type {
            Some(COMPRESSION_ZSTD) => "ZSTD",
            Some(COMPRESSION_NONE) => "none",
            _ => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_cut_safely() {
        let body = [2, 1, 0, 3, 3, 0xfc, 0x3b, 0x02, 9, 1, 1, 1, 1, 223, 0, 7, 7];
        let header = PayloadHeader::parse(&body).unwrap();
        assert_eq!(header.payload_size, Some(223));
        assert_eq!(header.uncompressed_size, Some(571));
        assert_eq!(header.compression_name(), "ZSTD");
        assert_eq!(header.header_len, body.len() - 2);
        for cut in 0..body.len() - 2 {
            assert!(PayloadHeader::parse(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
