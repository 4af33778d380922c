//! Why it is not known what a source lacks, and what to do.

use crate::adoption::error::AttachError;
use crate::position::SourcePosition;
use crate::relay_log::LogError;
use crate::relay_log::held_paths::PathError;

/// Why it is not known what a source lacks.
#[derive(Debug, thiserror::Error)]
pub(in crate::adoption) enum MissingError {
    /// As for a replica.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// With GTIDs, the source must answer.
    #[error(
        "{source_name} must be asked which GTIDs it has: {cause}; make it reachable, or give its {variable} \
         with --has"
    )]
    Unreachable {
        source_name: String,
        cause: String,
        variable: &'static str,
    },
    /// The server does not show GTIDs.
    #[error(
        "{source_name} has no GTIDs, but the relay log has; check that its address leads to the right server"
    )]
    OtherKind { source_name: String },
    /// Another server answers.
    #[error(
        "another server answers at the address of {source_name}, with server_id {found} instead of {expected}; \
         its binlog does not show what that one lacks"
    )]
    OtherServer {
        source_name: String,
        expected: u32,
        found: u32,
    },
    /// `--has` cannot be read.
    #[error("--has: expected {expected}, found {found:?}")]
    Has {
        expected: &'static str,
        found: String,
    },
    /// `--has` without GTIDs.
    #[error("--has needs GTIDs, which this relay log does not have; use --replica-of")]
    HasWithoutGtids,
    /// `--replica-of` with GTIDs.
    #[error("with GTIDs, --replica-of is not needed; use --has if the source cannot be asked")]
    ReplicaOfWithGtids,
    /// `--replica-of` names the source itself.
    #[error("--replica-of: expected another source than {0}")]
    ReplicaOfItself(String),
    /// MariaDB: nothing shows up to where the source has a server's transactions.
    #[error(
        "it is not known which transactions of server {server_id} in gtid_domain_id {domain_id} {source_name} \
         has: several servers write to that domain, and {source_name} shows no GTID of that server; give \
         its gtid_binlog_state, with the GTID of the last transaction of that server that it has, with \
         --has"
    )]
    UnknownServer {
        source_name: String,
        domain_id: u32,
        server_id: u32,
    },
    /// MariaDB: the source's GTIDs of another server went back.
    #[error(
        "{source_name} has sent transactions of server {server_id} in gtid_domain_id {domain_id} up to {sent}, and its \
         gtid_binlog_state now shows {shown}: that server's binlog was reset and {source_name} follows the new one, so its \
         GTIDs do not show what it has of the former one; compare its data with those of a replica, or give the \
         gtid_binlog_state that it had before with --has"
    )]
    WentBack {
        source_name: String,
        domain_id: u32,
        server_id: u32,
        sent: u64,
        shown: u64,
    },
    /// Nothing was received.
    #[error("nothing was received from {0}, so its binlog does not show what it lacks")]
    NothingReceived(String),
    /// The source does not show its end.
    #[error(
        "{source_name} does not show the end of its binlog, so it is not known whether everything was received: \
         GRANT REPLICATION CLIENT ON *.* to this source's user"
    )]
    EndHidden { source_name: String },
    /// The source's binlog was not received to its end.
    #[error(
        "the binlog of {source_name} was received up to {received}, and its end is {end}: what it has is not \
         known until it was received; repeat the command when binrelay status shows it as streaming and not behind"
    )]
    NotReceived {
        source_name: String,
        received: SourcePosition,
        end: SourcePosition,
    },
    /// The source does not log what it replicates.
    #[error(
        "{source_name} does not log what it replicates (log_slave_updates), so its binlog does not show \
         what it has of {others}; specify the position up to which it has applied that binlog with \
         --replica-of{offer}{removed}"
    )]
    NoUpdates {
        source_name: String,
        others: String,
        offer: String,
        removed: String,
    },
    /// The binlog of the source has gaps.
    #[error(
        "{source_name} has logged later transactions of server_id {server_id} than {count} that its binlog lacks: \
         it did not always log what it replicates (log_slave_updates), or it filters or skips transactions; \
         specify the position up to which it has applied the binlog of a source with --replica-of{offer}"
    )]
    Gap {
        source_name: String,
        server_id: u32,
        count: u64,
        offer: String,
    },
    /// The coordinates are not known.
    #[error(
        "--replica-of: {at} of {source_name} is not a position between two transactions that were received; use \
         Relay_Source_Log_File and Exec_Source_Log_Pos (Relay_Master_Log_File and Exec_Master_Log_Pos) of the \
         replica's status"
    )]
    Boundary {
        source_name: String,
        at: SourcePosition,
    },
    /// The source may apply transactions by itself.
    #[error(
        "{source_name} may still apply what it receives from {from}, and would apply it twice: STOP REPLICA \
         IO_THREAD (STOP SLAVE IO_THREAD) on it for all connections, wait until SHOW REPLICA STATUS says that it has \
         read all relay log, and repeat the command{parallel}"
    )]
    Replicates {
        source_name: String,
        from: String,
        parallel: &'static str,
    },
    /// Whether the source applies transactions by itself is not known.
    #[error(
        "it is not known whether {source_name} still applies what it has received, and would apply it twice \
         ({cause}): STOP REPLICA IO_THREAD (STOP SLAVE IO_THREAD) on it for all connections, wait until SHOW REPLICA \
         STATUS says that it has read all relay log, and repeat the command with --replication-stopped"
    )]
    ReplicationHidden { source_name: String, cause: String },
    /// Without GTIDs, a source that is down.
    #[error(
        "{source_name} does not answer ({cause}): without GTIDs, what it has at its end is not known, and nothing is \
         written for it; start it"
    )]
    Down { source_name: String, cause: String },
    /// MariaDB: the source's position would be after transactions that are not written.
    #[error(
        "{source_name} lacks {count} transactions of which the relay's filter has dropped a part or everything, \
         before later ones of the same gtid_domain_id: after the rescue its gtid_slave_pos is past them, and it never \
         gets them, even if the lost server returns; if that server can return, wait for it; if it never does, \
         add --with-altered"
    )]
    Skips { source_name: String, count: u64 },
    /// An index cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<PathError> for MissingError {
    fn from(error: PathError) -> Self {
        MissingError::Attach(error.into())
    }
}

impl MissingError {
    /// Whether transactions that are about to arrive may resolve it.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, MissingError::NotReceived { .. })
    }
}
