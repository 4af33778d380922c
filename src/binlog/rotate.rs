//! ROTATE_EVENT (4): the name of the next binlog file, and where to start in it.
//!
//! ```text
//!  0        19         27
//!  | header | position | file name … |
//! ```
//!
//! A real one ends a file. A server also generates one (artificial) at the start of a dump and
//! before each file, to send the file's name to the replica.

use super::event::{self, EventHeader, FLAG_ARTIFICIAL, HEADER_LEN};
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};

/// The fields of a rotate event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotate<'a> {
    /// Offset of the first event in the next file: 4, or where a dump starts.
    pub position: u64,
    /// The next file's name, without a directory.
    pub file: &'a [u8],
}

impl<'a> Rotate<'a> {
    /// Reads `body`, the event without its header and checksum.
    ///
    /// # Errors
    /// When it is truncated, or the name is empty or longer than 511 bytes.
    pub fn parse(body: &'a [u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("Rotate event", body, HEADER_LEN);
        let position = fields.u64("position")?;
        let at = fields.offset();
        let file = fields.rest();
        if file.is_empty() || file.len() > 511 {
            let expected = "1 to 511 bytes long";
            return Err(fields.invalid("file name", at, file.len() as u64, expected));
        }
        Ok(Self { position, file })
    }
}

/// The rotate event that ends a relay log file.
pub fn closing(timestamp: u32, server_id: u32, log_pos: u32, next_file: &str) -> Vec<u8> {
    build(timestamp, server_id, log_pos, 0, 4, next_file)
}

/// The rotate event that ends a file after which readers continue at `position` of another one.
pub fn leading_to(
    timestamp: u32,
    server_id: u32,
    log_pos: u32,
    next_file: &str,
    position: u64,
) -> Vec<u8> {
    build(timestamp, server_id, log_pos, 0, position, next_file)
}

/// The rotate event that a server generates to name the file whose events follow.
pub fn artificial(server_id: u32, file: &str, position: u64) -> Vec<u8> {
    build(0, server_id, 0, FLAG_ARTIFICIAL, position, file)
}

fn build(
    timestamp: u32,
    server_id: u32,
    log_pos: u32,
    flags: u16,
    position: u64,
    file: &str,
) -> Vec<u8> {
    let mut body = position.to_le_bytes().to_vec();
    body.extend_from_slice(file.as_bytes());
    let event_type = EventType::ROTATE;
    let header = EventHeader {
        timestamp,
        event_type,
        server_id,
        event_size: 0,
        log_pos,
        flags,
    };
    event::build(header, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotate_round_trips_and_truncation_is_safe() {
        let event = artificial(900, "relay-bin.000007", 4);
        let header = EventHeader::parse(&event).unwrap();
        assert!(header.is_artificial());
        assert_eq!((header.timestamp, header.log_pos), (0, 0));
        let body = event::body(&event, true);
        let rotate = Rotate::parse(body).unwrap();
        assert_eq!(
            rotate,
            Rotate {
                position: 4,
                file: b"relay-bin.000007"
            }
        );
        for cut in 0..9 {
            assert!(
                Rotate::parse(&body[..cut]).is_ok() == (cut > 8),
                "cut at {cut}"
            );
        }
    }
}
