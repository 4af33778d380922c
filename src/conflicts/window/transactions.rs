//! Transactions as the window gets and returns them.

use crate::identity::{Fingerprint, Identity};
use crate::position::SourcePosition;

/// A changed key, or a whole row of a table without one: the hash of database, table and values.
pub type Key = u128;

/// Where a transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What identifies it.
    pub identity: Identity,
    /// The server_id of its server.
    pub server_id: u32,
    /// The relay log file.
    pub file: u64,
    /// The offset at which it begins in that file.
    pub begin: u32,
    /// The offset of its end.
    pub end: u32,
    /// The path that delivered it.
    pub delivered_by: usize,
    /// Whether the filter has left nothing of it.
    pub emptied: bool,
    /// When it committed, in microseconds since 1970; 0 if unknown.
    pub commit_time_us: u64,
    /// The end in its server's own binlog; unknown until it has arrived on its own path.
    pub position: SourcePosition,
}

/// A transaction on a path.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The path.
    pub path: usize,
    /// The position of the path after it.
    pub position: SourcePosition,
    /// The transaction, if this is its first delivery.
    pub delivered: Option<Written>,
    /// What identifies it.
    pub identity: Identity,
    /// The server_id of its server.
    pub server_id: u32,
}

/// Two concurrent transactions and a key that both changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The transaction that arrived first on its own path, and the other.
    pub writes: [Written; 2],
    /// The paths of their servers.
    pub paths: [usize; 2],
    /// The key.
    pub key: Key,
}

/// What copies have in common. With GTIDs the server is not: a client that applies a master's binlog (`mysqlbinlog | mysql`) keeps
/// the GTIDs, and the events get the server_id of the server on which it does that.
pub(super) fn in_common(identity: &Identity, server_id: u32) -> (Identity, u32) {
    match identity {
        Identity::Anonymous(fingerprint) if fingerprint.commit_timestamp != 0 => {
            let fingerprint = Fingerprint {
                commit_timestamp: fingerprint.commit_timestamp,
                ..Fingerprint::default()
            };
            (Identity::Anonymous(fingerprint), server_id)
        }
        Identity::Anonymous(_) => (*identity, server_id),
        Identity::MySql(_) | Identity::MariaDb(_) => (*identity, 0),
    }
}
