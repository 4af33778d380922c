//! MySQL's transaction openers: GTID_EVENT (33), ANONYMOUS_GTID_EVENT (34), GTID_TAGGED (42).
//!
//! The first two share one form (`untagged`), which has grown with each version; the third is a
//! self-describing message (`tagged`). The relay reads the same fields from all of them.

mod content;
mod tagged;
mod untagged;

pub use content::{LogicalClock, MySqlGtidEvent};

use super::event;
use super::event_type::EventType;
use super::fields::EventError;

impl MySqlGtidEvent {
    /// Reads a whole event with its header and, when `checksummed`, its checksum.
    ///
    /// # Errors
    /// When it is truncated, or a field holds a value that no server writes.
    pub fn parse(event: &[u8], checksummed: bool) -> Result<Self, EventError> {
        let body = event::body(event, checksummed);
        match event.get(4).copied().map(EventType) {
            Some(EventType::GTID_TAGGED) => tagged::parse(body),
            event_type => untagged::parse(event_type, body),
        }
    }
}

/// Appends to `out` the transaction opener `event` (whole, checksummed) with `clock` in place of
/// its own and the transaction length that `rest_len` bytes after it make.
///
/// The new event is correct except for its header's `log_pos` and its checksum, which depend on
/// its offset in the file.
///
/// # Errors
/// As [`MySqlGtidEvent::parse`]; `out` may then hold a part of the new event.
pub fn rewrite(
    event: &[u8],
    clock: LogicalClock,
    rest_len: u64,
    out: &mut Vec<u8>,
) -> Result<(), EventError> {
    let start = out.len();
    if event.get(4).copied().map(EventType) == Some(EventType::GTID_TAGGED) {
        tagged::rewrite(event, clock, rest_len, out)?;
    } else {
        untagged::rewrite(event, clock, rest_len, out)?;
    }
    let written = event::appended(out, start)?;
    let size = written.len() as u32;
    event::set_event_size(written, size)
}
