//! Why a replica cannot be attached, and what to do.

use std::sync::Arc;

use super::origin_source::OriginSource;
use crate::position::SourcePosition;
use crate::relay_log::LogError;
use crate::relay_log::coordinates::PositionError;
use crate::relay_log::held_paths::PathError;

/// Why a replica cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No source has answered yet.
    #[error("there is no relay log yet: no source has answered")]
    NoLog,
    /// There is no such source.
    #[error("expected a source ({known}), found {name:?}")]
    UnknownSource {
        /// The name.
        name: String,
        /// The sources' names.
        known: String,
    },
    /// A place that cannot be read.
    #[error("expected {expected}, found {found:?}")]
    Coordinates {
        /// What is possible.
        expected: &'static str,
        /// The argument.
        found: String,
    },
    /// Both forms in one request.
    #[error("give either a file and position for each source, or one GTID set")]
    MixedForms,
    /// The source was asked in vain.
    #[error("{source_name} {at}: {cause}")]
    Source {
        /// Its name.
        source_name: String,
        /// The position.
        at: SourcePosition,
        /// Its error.
        cause: String,
    },
    /// A MySQL source does not answer.
    #[error(
        "{source_name} must be asked which transactions are before {at}: {cause}; make it \
         reachable, or use the replica's gtid_executed instead of {at}"
    )]
    Unreachable {
        /// Its name.
        source_name: String,
        /// The position.
        at: SourcePosition,
        /// Its error.
        cause: String,
    },
    /// The position is not one that was recorded: the source must be asked. Never shown.
    #[error("{at} of {source_name} is not a position that the relay has recorded")]
    Boundary {
        /// The source.
        source_name: Arc<str>,
        /// The position.
        at: SourcePosition,
    },
    /// The relay has not received that far.
    #[error(
        "{at} of {source_name} is after everything that was received from it, up to {received}; \
         if {source_name} streams, repeat the command, otherwise see binrelay status"
    )]
    Beyond {
        /// The source.
        source_name: Arc<str>,
        /// The position.
        at: SourcePosition,
        /// The end of what was received.
        received: SourcePosition,
    },
    /// The file is not one of the source's.
    #[error(
        "{at} is not a position in the binlog of {source_name}, which was received up to {received}"
    )]
    OtherBinlog {
        /// The source.
        source_name: Arc<str>,
        /// The position.
        at: SourcePosition,
        /// The end of what was received.
        received: SourcePosition,
    },
    /// The replica has transactions that the relay has not received.
    #[error(
        "the replica has transactions that the relay has not received yet: {missing}; repeat the \
         command when every source streams"
    )]
    NotReceived {
        /// Their GTIDs.
        missing: String,
    },
    /// The replica lacks transactions that the log never had.
    #[error(
        "the replica lacks transactions that are from before the relay log, or no longer in it: \
         {missing}; use a newer dump"
    )]
    Lost {
        /// Their GTIDs.
        missing: String,
    },
    /// The source does not log what it replicates.
    #[error(
        "the binlog of {source_name} does not show what it has of the {count} transactions of server_id {server_id} \
         ({other}) in the relay log: {source_name} does not log what it replicates (log_slave_updates), or did not, \
         or does not replicate them; {deciding}",
        other = deciding.name
    )]
    NoCopies {
        /// The source whose coordinates are given.
        source_name: String,
        /// The other server.
        server_id: u32,
        /// Its transactions in the log.
        count: u64,
        /// Whose coordinates are needed.
        deciding: OriginSource,
    },
    /// The source has not always logged what it replicates.
    #[error(
        "the binlog of {source_name} has later transactions of server_id {server_id} ({other}) than {count} that it \
         lacks: it did not always log what it replicates (log_slave_updates), or it filters or skips transactions, so \
         its position does not show whether the replica has them; {deciding}",
        other = deciding.name
    )]
    Gap {
        /// The source whose coordinates are given.
        source_name: String,
        /// The other server.
        server_id: u32,
        /// Those that are missing in the binlog.
        count: u64,
        /// Whose coordinates are needed.
        deciding: OriginSource,
    },
    /// Temporary tables of a killed master's sessions would remain on the replica.
    #[error(
        "temporary tables of a killed master's sessions are still open on the replica: {0} dropped them after \
         the position, and the relay log ended them before; let the replica follow {0} a little further, or \
         use a newer dump"
    )]
    EndedSessions(Arc<str>),
    /// Several servers write to one domain.
    #[error(
        "a GTID position is not exact here: servers {first} and {second} both write to \
         gtid_domain_id {domain_id}; use a file and position of a source"
    )]
    SharedDomain {
        /// The domain.
        domain_id: u32,
        /// One server_id.
        first: u32,
        /// Another one.
        second: u32,
    },
    /// GTIDs do not identify all transactions.
    #[error(
        "{0} transactions in the relay log repeat GTIDs, so it is not known which of them the \
         replica has; begin with an empty data_dir and a start after the repetition (FLUSH BINARY \
         LOGS on each source, then its new file, FILE:4), and seed all replicas"
    )]
    RepeatedGtids(u64),
    /// GTIDs occur in two histories.
    #[error(
        "a new history of a source was accepted within the relay log, so GTIDs do not show what the \
         replica has; seed the replica from a replica of the relay, or begin with an empty data_dir \
         and a start after that (FLUSH BINARY LOGS on each source, then its new file, FILE:4), and \
         seed all replicas"
    )]
    NewHistory,
    /// A position was wanted, and there is none.
    #[error(
        "no position is exact: {missing} transactions before {from} are missing on the replica, \
         and later ones are not; binrelay attach writes them to a bridge file"
    )]
    NotExact {
        /// Their number.
        missing: u64,
        /// Where the log can be taken whole.
        from: String,
    },
    /// The log has the name of bridges.
    #[error(
        "a bridge file is needed, but the relay log itself is named {0:?}; begin with another \
         basename in [log] and an empty data_dir"
    )]
    Basename(String),
    /// Nothing of an origin is in the replica's relay log.
    #[error(
        "the replica's own relay log files contain no transaction of server_id {0}, but binrelay's \
         log does; name older files of the replica as well, oldest first, or use coordinates of a \
         source"
    )]
    OriginUnknown(u32),
    /// The last transaction of an origin is not in the log.
    #[error(
        "the replica's last transaction of server_id {server_id} is not in the relay log, up to \
         its end {end}; repeat the command when every source streams, or use coordinates of a \
         source"
    )]
    LastNotFound {
        /// The origin.
        server_id: u32,
        /// The end of the log.
        end: String,
    },
    /// Several transactions look like the last one.
    #[error(
        "{count} places in the relay log match the replica's last transactions of server_id \
         {server_id}; use coordinates of a source"
    )]
    Ambiguous {
        /// The origin.
        server_id: u32,
        /// The places.
        count: u64,
    },
    /// MySQL with GTIDs knows its own set.
    #[error(
        "with GTIDs, use the replica's gtid_executed (MariaDB: gtid_slave_pos) instead of its relay log"
    )]
    UseGtids,
    /// MariaDB: the log cannot serve the position.
    #[error(transparent)]
    Start(#[from] PositionError),
    /// The records of a path do not show it.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The log cannot be read, or a bridge not written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A defect.
    #[error("the request could not be answered: internal error")]
    Internal,
}

impl AttachError {
    /// Whether transactions that are about to arrive may resolve it.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            AttachError::Beyond { .. }
                | AttachError::NotReceived { .. }
                | AttachError::NoCopies { .. }
                | AttachError::Gap { .. }
                | AttachError::LastNotFound { .. }
                | AttachError::Start(PositionError::NotFound(_))
        )
    }
}
