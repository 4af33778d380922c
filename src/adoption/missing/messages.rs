//! A request for what a source lacks, and its answer, as the admin socket carries them.

use serde::{Deserialize, Serialize};

use crate::adoption::messages::Coordinates;

/// A request for the transactions that a source lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRequest {
    /// The source's name.
    pub source: String,
    /// The GTIDs that it has. Without them, it is asked.
    pub has: Option<String>,
    /// Without GTIDs: it has applied the binlogs of these other sources up to these coordinates.
    pub replica_of: Vec<Coordinates>,
    /// Whether the administrator has made sure that it receives and applies nothing.
    pub replication_stopped: bool,
    /// Whether a rescue is written.
    pub writes: bool,
    /// Whether transactions that the filter has altered are written, too.
    pub with_altered: bool,
}

/// The answer to a [`MissingRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingAnswer {
    /// What it lacks.
    Found(Box<Missing>),
    /// Why that is not known or not possible, and what to do.
    Refused(String),
}

/// The transactions that the log has and a source lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The source's name.
    pub source: String,
    /// The server_id of the server that the answer is about; null if it was given by hand.
    pub server_id: Option<u32>,
    /// What the answer is based on.
    pub based_on: String,
    /// The transactions, those of `filtered` excepted.
    pub total: u64,
    /// Their bytes in the log.
    pub bytes: u64,
    /// Those of them of which the relay's filter has dropped or changed a part.
    pub altered: u64,
    /// Transactions that it lacks and of which the filter has left nothing.
    pub filtered: u64,
    /// Whether the relay has a filter, so that other transactions may be missing as well.
    pub has_filter: bool,
    /// The first of the transactions, in the order of the log.
    pub transactions: Vec<MissingTransaction>,
    /// What else an administrator should know.
    pub notes: Vec<String>,
    /// What was written; null without `--write`, and when nothing is to be written.
    pub rescue: Option<Rescue>,
}

/// A transaction that a source lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingTransaction {
    /// The relay's log file.
    pub file: String,
    /// Where it begins there.
    pub position: u64,
    /// Where it ends there.
    pub end_position: u64,
    /// The source that delivered it.
    pub source: String,
    /// Where it ends in the binlog of that source.
    pub source_file: String,
    /// The position in that file.
    pub source_position: u64,
    /// When it was committed, in UTC; null when unknown.
    pub time: Option<String>,
    /// The server on which it began.
    pub server_id: u32,
    /// Its GTID; null without GTIDs.
    pub gtid: Option<String>,
    /// The databases of its statements and rows.
    pub databases: Vec<String>,
    /// Its first statements and rows, shortened.
    pub summary: String,
    /// Whether the filter has dropped or changed a part of it.
    pub altered: bool,
}

/// A file with transactions that a source lacks, and how it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescue {
    /// Its path.
    pub path: String,
    /// Its name for replicas.
    pub file: String,
    /// The end of its last transaction.
    pub end_position: u64,
    /// The transactions in it.
    pub transactions: u64,
    /// The statements with which the source applies it as a replica of the relay; comments begin with `--`.
    pub statements: Vec<String>,
    /// The statements after it has applied everything.
    pub after_statements: Vec<String>,
    /// The shell command with which a client applies it; null where that cannot be right.
    pub command: Option<String>,
    /// The statements after the command.
    pub after_command: Vec<String>,
    /// What else to do before the source follows another one of the sources again.
    pub before_following: Vec<String>,
}
