//! A transaction without a GTID that arrives, and how it is classified.

use crate::identity::Fingerprint;
use crate::utc;

/// A transaction without a GTID that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The source that sent it, by its number.
    pub path: u16,
    /// That source's own server_id.
    pub path_server_id: u32,
    /// The server on which it was committed.
    pub origin: u32,
    /// Its identity.
    pub fingerprint: Fingerprint,
}

impl Arrival {
    pub(super) fn is_direct(&self) -> bool {
        self.origin == self.path_server_id
    }
}

/// The classification of an arriving transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paired {
    /// It is new: no copy of it was delivered.
    New,
    /// It is new, or its path sends it a second time: it is delivered.
    NewOrRepeated,
    /// A copy of it was delivered.
    Copy,
    /// It precedes the first file of another path: it counts as delivered.
    Before,
    /// Its path has sent it before: the source, a peer of the origin, has logged it twice.
    Repeated,
}

/// Why an arrival cannot be paired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unaligned {
    /// A peer has a transaction of the origin that the origin's own binlog does not have.
    #[error(
        "it follows another transaction of the same server, from {}, that is in a peer's binlog but not in \
         this server's own",
        utc::unix_seconds(*missing_timestamp)
    )]
    Missing {
        /// When the missing transaction began, in seconds since 1970.
        missing_timestamp: u32,
    },
    /// One server logged transactions of one origin and one second as statements, another as rows,
    /// and their numbers differ.
    #[error(
        "one binlog holds more of its server's transactions from {} than the other, and they cannot be matched \
         because one server logs statements and the other rows",
        utc::unix_seconds(*timestamp)
    )]
    Ambiguous {
        /// The second, since 1970.
        timestamp: u32,
    },
    /// It may be a copy of a delivered transaction, but only one of the two has a commit time.
    #[error(
        "{}, although the transaction of its server from {} that another source has delivered {}, so copies cannot be \
         recognised: a server before MySQL 8.0 logs the transactions of a newer one without their commit times",
        if *.is_timed { "it has a commit time" } else { "it has no commit time" },
        utc::unix_seconds(*other),
        if *.is_timed { "has none" } else { "has one" },
    )]
    OneTimed {
        /// Whether it is the arrival that has a commit time.
        is_timed: bool,
        /// The second of the other one, since 1970.
        other: u32,
    },
    /// Files of the relay log were removed that the path still needed.
    #[error(
        "it may be a copy of a transaction whose record was removed with the relay log's oldest files \
         (max_total_size, or the source was not followed for longer than expire_after)"
    )]
    Removed,
    /// The ledger cannot be read.
    #[error("the record of delivered transactions cannot be read: {0}")]
    Ledger(String),
}
