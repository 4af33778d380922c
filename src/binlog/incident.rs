//! INCIDENT_EVENT (26): something happened on the source that its log does not hold.
//!
//! ```text
//!  0        19       21
//!  | header | number | message length 1 | message |
//! ```

use super::event::HEADER_LEN;
use super::fields::{EventError, FieldReader};

/// The only number that servers write: events were lost.
pub const LOST_EVENTS: u16 = 1;

/// Reads `body`, the event without its header and checksum: the incident's number (1: events were
/// lost) and the message.
///
/// # Errors
/// When it is truncated.
pub fn parse(body: &[u8]) -> Result<(u16, &[u8]), EventError> {
    let mut fields = FieldReader::new("Incident event", body, HEADER_LEN);
    let number = fields.u16("number")?;
    let length = fields.u8("message length")?;
    Ok((number, fields.take("message", usize::from(length))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_read_and_truncation_is_safe() {
        let body = [1, 0, 4, b'l', b'o', b's', b't'];
        assert_eq!(parse(&body), Ok((1, &b"lost"[..])));
        for cut in 0..body.len() {
            assert!(parse(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
