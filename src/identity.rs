//! What identifies a transaction, whichever path delivers it.
//!
//! | sources | identity | recorded in |
//! |---|---|---|
//! | MySQL, `gtid_mode=ON` | the GTID | [`Executed::MySql`] |
//! | MariaDB | the GTID, with its server_id | [`Executed::MariaDb`] |
//! | MySQL, `gtid_mode=OFF` | the origin, its order, and a [`Fingerprint`] | the commit index |
//!
//! These types are below the stages of the data path: transaction, merge and relay log share them.

mod digest;
mod evidence;
mod fingerprint;

pub use digest::HistoryDigest;
pub use evidence::CopyEvidence;
pub use fingerprint::Fingerprint;

use std::fmt;

use crate::binlog::Opener;
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, Gtid, GtidSet, MariaDbGtid};

/// What makes two copies of a transaction the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// MySQL with `gtid_mode=ON`.
    MySql(Gtid),
    /// MariaDB.
    MariaDb(MariaDbGtid),
    /// MySQL with `gtid_mode=OFF`: the header's server_id names the origin, and copies of one
    /// origin's transactions are paired in their order; the fingerprint verifies each pair.
    Anonymous(Fingerprint),
}

impl Identity {
    /// The identity, as far as the opener alone determines it. Without a GTID that is only the
    /// commit time.
    pub fn of_opener(opener: &Opener) -> Self {
        let opener = match opener {
            Opener::MariaDb(opener) => return Identity::MariaDb(opener.gtid),
            Opener::MySql(opener) => opener,
        };
        let anonymous = || {
            Identity::Anonymous(Fingerprint {
                commit_timestamp: opener.original_commit_time_us.unwrap_or(0),
                ..Fingerprint::default()
            })
        };
        opener.gtid.map_or_else(anonymous, Identity::MySql)
    }
}

impl fmt::Display for Identity {
    /// The GTID, or `without GTID`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::MySql(gtid) => gtid.fmt(f),
            Identity::MariaDb(gtid) => gtid.fmt(f),
            Identity::Anonymous(_) => f.write_str("without GTID"),
        }
    }
}

/// How a log identifies its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityKind {
    /// MySQL with GTIDs.
    MySql,
    /// MariaDB.
    MariaDb,
    /// MySQL without GTIDs.
    Anonymous,
}

impl IdentityKind {
    /// The flavor of the servers that use it.
    pub fn flavor(self) -> Flavor {
        match self {
            IdentityKind::MySql | IdentityKind::Anonymous => Flavor::MySql,
            IdentityKind::MariaDb => Flavor::MariaDb,
        }
    }
}

/// All transactions that are or were in a relay log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// As `gtid_executed`.
    MySql(GtidSet),
    /// As `gtid_binlog_state`.
    MariaDb(BinlogState),
    /// MySQL without GTIDs: they are in the commit index, see [`crate::merge::pairing`].
    Anonymous,
}

impl Executed {
    /// No transactions, identified by GTID.
    pub fn empty(flavor: Flavor) -> Self {
        match flavor {
            Flavor::MySql => Executed::MySql(GtidSet::new()),
            Flavor::MariaDb => Executed::MariaDb(BinlogState::new()),
        }
    }

    /// How they are identified.
    pub fn kind(&self) -> IdentityKind {
        match self {
            Executed::MySql(_) => IdentityKind::MySql,
            Executed::MariaDb(_) => IdentityKind::MariaDb,
            Executed::Anonymous => IdentityKind::Anonymous,
        }
    }

    /// The flavor of the identities.
    pub fn flavor(&self) -> Flavor {
        self.kind().flavor()
    }

    /// Whether it contains the transaction; false for one of another kind.
    pub fn contains(&self, identity: &Identity) -> bool {
        match (self, identity) {
            (Executed::MySql(set), Identity::MySql(gtid)) => set.contains(gtid),
            (Executed::MariaDb(state), Identity::MariaDb(gtid)) => state.contains(gtid),
            _ => false,
        }
    }

    /// Adds a transaction. Returns false if it was already added, or is of another kind.
    pub fn record(&mut self, identity: &Identity) -> bool {
        match (self, identity) {
            (Executed::MySql(set), Identity::MySql(gtid)) => set.insert(*gtid),
            (Executed::MariaDb(state), Identity::MariaDb(gtid)) => state.record(*gtid),
            _ => false,
        }
    }

    /// Adds a transaction that is delivered; returns false if it was already added, or is of another
    /// kind. MariaDB: it is the last of its domain, even if it is delivered again.
    pub fn deliver(&mut self, identity: &Identity) -> bool {
        match (self, identity) {
            (Executed::MariaDb(state), Identity::MariaDb(gtid)) => state.record_again(*gtid),
            (executed, _) => executed.record(identity),
        }
    }

    /// Adds those of another server, whose order relative to these is not known; none if they are of another kind.
    pub fn count_all(&mut self, more: &Executed) {
        match (self, more) {
            (Executed::MySql(set), Executed::MySql(more)) => set.union_with(more),
            (Executed::MariaDb(state), Executed::MariaDb(more)) => state.count_all(more),
            _ => {}
        }
    }

    /// The MySQL set, if it is one.
    pub fn as_mysql(&self) -> Option<&GtidSet> {
        match self {
            Executed::MySql(set) => Some(set),
            Executed::MariaDb(_) | Executed::Anonymous => None,
        }
    }

    /// The MariaDB state, if it is one.
    pub fn as_mariadb(&self) -> Option<&BinlogState> {
        match self {
            Executed::MySql(_) | Executed::Anonymous => None,
            Executed::MariaDb(state) => Some(state),
        }
    }

    /// As the server shows it: `gtid_executed`, or `gtid_binlog_pos` (the last GTID of each
    /// domain).
    pub fn to_text(&self) -> String {
        match self {
            Executed::MySql(set) => set.to_string(),
            Executed::MariaDb(state) => state.position().to_string(),
            Executed::Anonymous => String::new(),
        }
    }
}
