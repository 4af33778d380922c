//! A request to attach a replica, and its answer, as the admin socket carries them.

use serde::{Deserialize, Serialize};

use crate::identity::Fingerprint;

/// A request to find where a replica continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// What the replica has.
    pub place: ReplicaPlace,
    /// Whether a bridge is written if one is needed. Otherwise that is refused.
    pub makes_bridge: bool,
}

/// What shows which transactions a replica has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaPlace {
    /// It has everything up to these coordinates of one or more sources.
    Coordinates(Vec<Coordinates>),
    /// MariaDB: the GTIDs of each domain and server in its relay log, the highest ones.
    LastGtids(Vec<String>),
    /// Without GTIDs: the last transactions of each origin in its relay log.
    LastTransactions(Vec<OriginEnd>),
}

/// Coordinates of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinates {
    /// The source's name.
    pub source: String,
    /// `FILE:POS`, or a GTID set or position.
    pub at: String,
}

/// The last transactions of one origin in a replica's relay log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginEnd {
    /// The origin.
    pub server_id: u32,
    /// The last transactions, oldest first.
    pub last: Vec<LoggedFingerprint>,
}

/// A [`Fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedFingerprint(u64, u64, u32, u32);

impl From<Fingerprint> for LoggedFingerprint {
    fn from(one: Fingerprint) -> Self {
        Self(one.commit_timestamp, one.content, one.timestamp, one.traits)
    }
}

impl From<LoggedFingerprint> for Fingerprint {
    fn from(one: LoggedFingerprint) -> Self {
        Self {
            commit_timestamp: one.0,
            content: one.1,
            timestamp: one.2,
            traits: one.3,
        }
    }
}

/// The answer to an [`AttachRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Where the replica continues.
    Attached(Attachment),
    /// Why that is not known or not possible, and what to do.
    Refused(String),
}

/// Where a replica continues, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The file at which it starts: a file of the relay log, or a bridge. `null` by GTID.
    pub file: Option<String>,
    /// The position in it.
    pub position: Option<u64>,
    /// Whether the file is a bridge.
    pub bridge: bool,
    /// The transactions in the bridge.
    pub bridge_transactions: u64,
    /// Where the relay log is read from on, as `FILE:POS`; `null` by GTID.
    pub continues_at: Option<String>,
    /// By GTID: the GTIDs that the replica has.
    pub gtid: Option<String>,
    /// The statements to execute on the replica, in order.
    pub statements: Vec<String>,
    /// Statements before these on a server that has never replicated, such as a restored dump.
    pub on_new_replica: Vec<String>,
    /// The same for a replica that only knows other words, if there may be one.
    pub other_words: Vec<String>,
}
