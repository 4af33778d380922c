//! TRANSACTION_PAYLOAD_EVENT (40): a MySQL transaction compressed as a whole.
//!
//! Fields follow one another as type, length and value, the first two length-encoded, the value
//! a length-encoded integer: 1 payload size, 2 compression type (0 zstd, 255 none), 3
//! uncompressed size. Type 0, alone, ends the header; the payload follows: events, without
//! checksums, one after the other.

use std::io::{self, BufRead, BufReader, Read};

use super::event::{EventHeader, HEADER_LEN};
use super::fields::{EventError, FieldReader};

/// `compression_type` of a payload that is a zstd stream.
pub const COMPRESSION_ZSTD: u64 = 0;
/// `compression_type` of a payload that is not compressed.
pub const COMPRESSION_NONE: u64 = 255;
/// The largest window accepted for decompression, as a power of two: 128 MiB, as needed for the
/// servers' highest compression level. The default level needs 2 MiB.
const WINDOW_LOG_MAX: u32 = 27;

/// Decompresses the zstd stream of a payload.
///
/// # Errors
/// When memory for it cannot be allocated. A damaged stream is an error only when it is read.
pub fn expand<'a>(stream: impl BufRead + 'a) -> io::Result<impl BufRead + 'a> {
    let mut decoder = zstd::Decoder::with_buffer(stream)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(BufReader::new(decoder))
}

/// The fields of the header. The sizes are those stated in the event: they cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadHeader {
    /// Size of the payload in the event, in bytes.
    pub payload_size: Option<u64>,
    /// 0 zstd, 255 none.
    pub compression_type: Option<u64>,
    /// Bytes of the events that it holds.
    pub uncompressed_size: Option<u64>,
    /// Bytes of the header itself: where in the body the payload starts.
    pub len: usize,
}

impl PayloadHeader {
    /// Reads `body`, the event without its header, or the head of it.
    ///
    /// # Errors
    /// When it is truncated, or a value does not fill its length.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("Transaction_payload event", body, HEADER_LEN);
        let mut header = PayloadHeader::default();
        loop {
            let field_type = fields.length_encoded("field type")?;
            if field_type == 0 {
                header.len = body.len() - fields.remaining();
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

/// The events in a payload, in their order.
pub struct PayloadEvents<'a> {
    input: Box<dyn Read + 'a>,
    kept_max: usize,
    kept: Vec<u8>,
}

impl<'a> PayloadEvents<'a> {
    /// Reads the events of `body`, a whole event without its header; at most `kept_max` bytes of an
    /// event are kept. `None` when the compression is not known.
    ///
    /// # Errors
    /// When the header is truncated or the stream cannot be begun.
    pub fn new(body: &'a [u8], kept_max: usize) -> io::Result<Option<Self>> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let header = PayloadHeader::parse(body).map_err(invalid)?;
        let payload = body.get(header.len..).ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = header.payload_size.unwrap_or(u64::MAX);
        let input: Box<dyn Read + 'a> = match header.compression_type {
            Some(COMPRESSION_NONE) => Box::new(payload.take(size)),
            Some(COMPRESSION_ZSTD) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let payload = payload.get(..size).unwrap_or(payload);
                Box::new(Stated {
                    input: expand(payload)?,
                    left: header.uncompressed_size,
                })
            }
            _ => return Ok(None),
        };
        Ok(Some(Self {
            input,
            kept_max: kept_max.max(HEADER_LEN),
            kept: Vec::new(),
        }))
    }

    /// The header of the next event, and whether all of it is in [`PayloadEvents::event`]. `None` at
    /// the end.
    ///
    /// # Errors
    /// When the stream is damaged or ends inside an event.
    pub fn next_event(&mut self) -> io::Result<Option<(EventHeader, bool)>> {
        self.kept.clear();
        self.read_kept(HEADER_LEN)?;
        if self.kept.is_empty() {
            return Ok(None);
        }
        let header = EventHeader::parse(&self.kept);
        let header = header.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let size = header.event_size as usize;
        let kept = size.min(self.kept_max);
        self.read_kept(kept.saturating_sub(HEADER_LEN))?;
        let left = (size - kept) as u64;
        let skipped = io::copy(&mut (&mut self.input).take(left), &mut io::sink())?;
        if self.kept.len() < kept || skipped < left {
            let found = self.kept.len() as u64 + skipped;
            let cause = format!(
                "{} event: truncated: it has {size} bytes, the payload ends after {found}",
                header.event_type
            );
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, cause));
        }
        Ok(Some((header, kept == size)))
    }

    /// The event that was read last, from its header on; without checksum.
    pub fn event(&self) -> &[u8] {
        &self.kept
    }

    fn read_kept(&mut self, count: usize) -> io::Result<()> {
        let mut input = (&mut self.input).take(count as u64);
        input.read_to_end(&mut self.kept).map(drop)
    }
}

/// A stream that must have a stated number of bytes, if there is one.
struct Stated<R> {
    input: R,
    left: Option<u64>,
}

impl<R: Read> Read for Stated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.left else {
            return self.input.read(buffer);
        };
        // At the stated end one more byte is asked for: the stream must end there as well.
        let max = usize::try_from(left.max(1)).unwrap_or(usize::MAX);
        let len = buffer.len().min(max);
        let Some(part) = buffer.get_mut(..len) else {
            return Ok(0);
        };
        let found = self.input.read(part)? as u64;
        let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        match left.checked_sub(found) {
            None => wrong("the payload is longer than its uncompressed_size"),
            Some(left) if found == 0 && left > 0 && len > 0 => {
                wrong("the payload is shorter than its uncompressed_size")
            }
            Some(left) => {
                self.left = Some(left);
                Ok(found as usize)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::EventType;

    fn body(compression: u8, payload: &[u8]) -> Vec<u8> {
        let mut body = vec![2, 1, compression, 1, 3, 0xfc];
        if compression == 255 {
            body[1] = 3;
            body.splice(2..3, [0xfc, 255, 0]);
        }
        body.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        body.push(0);
        body.extend_from_slice(payload);
        body
    }

    /// Two events, of 40 and 19 bytes.
    fn events() -> Vec<u8> {
        let mut events = Vec::new();
        for size in [40, 19] {
            let header = EventHeader {
                timestamp: 1,
                event_type: EventType::QUERY,
                server_id: 1,
                event_size: size,
                log_pos: 0,
                flags: 0,
            };
            events.extend_from_slice(&header.encode());
            events.resize(events.len() + size as usize - HEADER_LEN, 7);
        }
        events
    }

    fn sizes(body: &[u8], kept_max: usize) -> io::Result<Vec<(u32, bool, usize)>> {
        let mut sizes = Vec::new();
        let mut events = PayloadEvents::new(body, kept_max)?.expect("a known compression");
        while let Some((header, whole)) = events.next_event()? {
            sizes.push((header.event_size, whole, events.event().len()));
        }
        Ok(sizes)
    }

    #[test]
    fn events_are_read_and_truncation_is_safe() {
        let zstd = zstd::encode_all(&events()[..], 3).unwrap();
        for body in [body(255, &events()), body(0, &zstd)] {
            assert_eq!(sizes(&body, 100).unwrap(), [(40, true, 40), (19, true, 19)]);
            assert_eq!(sizes(&body, 30).unwrap(), [(40, false, 30), (19, true, 19)]);
            let mut sound = 0;
            for cut in 0..body.len() {
                sound += usize::from(sizes(&body[..cut], 100).is_ok());
            }
            // Event boundaries in an uncompressed payload: before the events, and between them.
            assert!(sound <= 2, "{sound}");
        }
        assert!(PayloadEvents::new(&body(7, &zstd), 100).unwrap().is_none());
    }

    #[test]
    fn headers_are_read_and_truncation_is_safe() {
        let body = [2, 1, 0, 3, 3, 0xfc, 0x3b, 0x02, 9, 1, 1, 1, 1, 223, 0, 7, 7];
        let header = PayloadHeader::parse(&body).unwrap();
        assert_eq!(header.payload_size, Some(223));
        assert_eq!(header.uncompressed_size, Some(571));
        assert_eq!(header.compression_name(), "ZSTD");
        assert_eq!(header.len, body.len() - 2);
        for cut in 0..body.len() - 2 {
            assert!(PayloadHeader::parse(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
