//! XA_PREPARE_LOG_EVENT (38) of both flavors: the end of a prepared transaction's first part.
//!
//! ```text
//!  0        19          20          24           28               32
//!  | header | one phase | format id | gtrid len | branch qual. len | gtrid, branch qualifier |
//! ```

use std::fmt;

use super::event::HEADER_LEN;
use super::fields::{EventError, FieldReader};

/// The fields of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XaPrepare<'a> {
    /// Whether it is `XA COMMIT … ONE PHASE`.
    pub one_phase: bool,
    /// The xid's format id.
    pub format_id: u32,
    /// The xid's global part.
    pub gtrid: &'a [u8],
    /// The xid's branch qualifier.
    pub branch: &'a [u8],
}

impl<'a> XaPrepare<'a> {
    /// Reads `body`, the event without its header and checksum.
    ///
    /// # Errors
    /// When it is truncated.
    pub fn parse(body: &'a [u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("XA_prepare event", body, HEADER_LEN);
        let one_phase = fields.u8("one phase")? != 0;
        let format_id = fields.u32("format id")?;
        let gtrid_len = fields.u32("gtrid length")? as usize;
        let branch_len = fields.u32("branch qualifier length")? as usize;
        Ok(Self {
            one_phase,
            format_id,
            gtrid: fields.take("gtrid", gtrid_len)?,
            branch: fields.take("branch qualifier", branch_len)?,
        })
    }
}

/// The xid as the servers print it: `X'7861',X'62',1`.
impl fmt::Display for XaPrepare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| -> fmt::Result {
            f.write_str("X'")?;
            for byte in bytes {
                write!(f, "{byte:02x}")?;
            }
            f.write_str("',")
        };
        hex(f, self.gtrid)?;
        hex(f, self.branch)?;
        write!(f, "{}", self.format_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_read_and_truncation_is_safe() {
        let mut body = vec![0, 7, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0];
        body.extend_from_slice(b"xab");
        let xa = XaPrepare::parse(&body).unwrap();
        assert_eq!(xa.to_string(), "X'7861',X'62',7");
        assert!(!xa.one_phase);
        for cut in 0..body.len() {
            assert!(XaPrepare::parse(&body[..cut]).is_err(), "cut at {cut}");
        }
    }
}
