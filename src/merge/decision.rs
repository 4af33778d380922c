//! The merge's decision about a transaction.

use super::halves::HalfChange;
use crate::binlog::mysql_gtid::LogicalClock;

/// The merge's decision about a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is new: it is appended.
    New(Placement),
    /// A copy of it was delivered before, by another path or an earlier connection.
    Duplicate,
    /// It counts as a copy of what was delivered by another path, but cannot be compared with it: its record was
    /// removed.
    Unverified,
    /// The same source has already logged a copy of it, and logs it again; or it belongs to a new history, and must arrive
    /// from its own server first.
    Repeated,
    /// The source sends it again from the same position: it leaves no record.
    Resent,
    /// It is before its source's start and counts as delivered: a copy of it is not new.
    BeforeStart,
    /// It precedes the first file of another source: it counts as delivered.
    BeforeOrigin,
    /// It has the relay's own server_id.
    Own,
    /// Without GTIDs: a peer dropped the temporary tables of another server's ended sessions, see
    /// [`super::temporary_tables`].
    Cleanup,
}

/// How a new transaction is written into the merged log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// MySQL: the logical clock in the relay's own file.
    pub clock: LogicalClock,
    /// MariaDB: whether it committed in one group with the transaction before it in the relay
    /// log.
    pub joins_group: bool,
    /// Whether it must become an empty transaction: it is the second part of an operation whose
    /// first part the filter emptied.
    pub empties: bool,
    /// How it changes the open two-part operations.
    pub half_change: Option<HalfChange>,
    /// Without GTIDs: whether its source may have logged it twice. It is delivered, because that
    /// source has executed it twice as well.
    pub may_be_repetition: bool,
    /// MariaDB: whether its origin has executed it again under the same GTID, as a direct replica does.
    pub executed_again: bool,
}
