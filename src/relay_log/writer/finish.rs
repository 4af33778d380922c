//! The fields of an event that depend on its position in the log.

use crate::binlog::{EventError, event};

/// Writes position and checksum into a whole event that ends at `end` of the log file.
pub(super) fn finish(event: &mut [u8], end: u64) -> Result<(), EventError> {
    event::set_log_pos(event, end as u32)?;
    event::write_checksum(event)
}
