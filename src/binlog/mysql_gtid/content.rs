//! The content of a MySQL GTID event, in whichever form it is written.

use crate::gtid::Gtid;

/// When transactions of one binlog file may run in parallel: one with `last_committed` L may
/// start when all with `sequence_number` ≤ L have committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogicalClock {
    /// The newest transaction that must have committed before this one starts.
    pub last_committed: i64,
    /// This transaction's own number: 1, 2, 3 … in each file.
    pub sequence_number: i64,
}

/// The fields of a GTID event that the relay needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MySqlGtidEvent {
    /// The GTID; `None` in an ANONYMOUS_GTID_EVENT.
    pub gtid: Option<Gtid>,
    /// Absent in events of MySQL 5.6.
    pub clock: Option<LogicalClock>,
    /// Bytes of the whole transaction, this event included; absent before MySQL 8.0.
    pub transaction_length: Option<u64>,
    /// When the transaction committed on its origin, in microseconds since 1970; MySQL 8.0+.
    pub original_commit_time_us: Option<u64>,
}

/// The transaction length that counts itself: `fixed` bytes of the GTID event without the length's
/// own field, that field in the width that `width` gives, and `rest_len` bytes of other events.
pub(super) fn transaction_length(fixed: u64, rest_len: u64, width: fn(u64) -> u64) -> u64 {
    let mut total = fixed + rest_len + 1;
    // The width grows with the value, at most eight times.
    loop {
        let next = fixed + rest_len + width(total);
        if next <= total {
            return next.max(total);
        }
        total = next;
    }
}
