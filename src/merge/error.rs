//! Why a transaction cannot be merged.

use super::pairing::Unaligned;
use crate::flavor::Flavor;
use crate::position::SourcePosition;
use crate::utc;

/// Why a transaction cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A source of the other flavor.
    #[error(
        "the source sends {found} transactions, but this relay log holds {expected} transactions"
    )]
    Flavor {
        /// The log's flavor.
        expected: Flavor,
        /// The source's.
        found: Flavor,
    },
    /// One source has GTIDs, another does not.
    #[error(
        "the source sends a transaction {} a GTID, but this relay log holds transactions {}; set \
         gtid_mode to the same value (ON or OFF) on all sources; to change it, start with an empty \
         data_dir and seed the replicas again",
        if *.has_gtid { "with" } else { "without" },
        if *.has_gtid { "without GTIDs" } else { "with GTIDs" },
    )]
    Mixed {
        /// Whether the source's transaction has one.
        has_gtid: bool,
    },
    /// It cannot be determined whether a transaction without a GTID is new or a copy.
    #[error(
        "cannot determine whether the transaction of server_id {origin} that ends at {end} and \
         began at {} was delivered before: {cause}; {}",
        utc::unix_seconds(*timestamp),
        advice(cause, end)
    )]
    Unaligned {
        /// The server_id of its origin.
        origin: u32,
        /// When it began there, in seconds since 1970.
        timestamp: u32,
        /// The source's position after it.
        end: SourcePosition,
        /// The problem.
        cause: Unaligned,
    },
    /// Another transaction with the same GTID was delivered.
    #[error(
        "the GTID {gtid} was assigned twice: the relay log has {delivered}; the transaction that ends \
         at {end}, {times}, is another one"
    )]
    Reused {
        /// The GTID.
        gtid: String,
        /// Coordinates and times of the delivered one.
        delivered: String,
        /// The source's position after the other one.
        end: SourcePosition,
        /// Its times.
        times: String,
    },
    /// A source has sent the transaction without its changes, and they arrive from another one now.
    #[error(
        "{gtid} was delivered without its changes ({delivered}): the server that sent it has filtered or skipped them. \
         Replicas have the GTID and lack the changes; if they need them, execute those of the transaction that ends at \
         {end} on each replica (SET sql_log_bin=0), and run binrelay continue SOURCE --at {end}"
    )]
    WithoutChanges {
        /// The GTID.
        gtid: String,
        /// Coordinates and times of the delivered one.
        delivered: String,
        /// The source's position after the one with the changes.
        end: SourcePosition,
    },
    /// MariaDB: another source has delivered a later transaction of the same server without this one before it.
    #[error(
        "{gtid} was not delivered, although {highest} of the same server was: the source that delivered it has filtered or \
         skipped this one, or its binlog begins after this one. Replicas lack its changes, and would execute them after later ones \
         now. If they need them, execute those of the transaction that ends at {end} on each replica (SET sql_log_bin=0; \
         if more are missing up to {highest}, execute all of them first, and continue at the end of the last one), and run \
         binrelay continue SOURCE --at {end}; after a first start, begin again with an empty data_dir, and add the other \
         source once this one has caught up"
    )]
    Omitted {
        /// The GTID.
        gtid: String,
        /// The newest delivered one of the same domain and server.
        highest: String,
        /// The source's position after it.
        end: SourcePosition,
    },
    /// MariaDB: a server's binlog lacks a transaction of that server that another source has delivered.
    #[error(
        "the relay log has {skipped}, which another source has delivered; the binlog of its own server lacks it, and \
         has {gtid}, which ends at {end}, in its place"
    )]
    Skipped {
        /// The GTID that arrived.
        gtid: String,
        /// A delivered one with a lower number.
        skipped: String,
        /// The source's position after the one that arrived.
        end: SourcePosition,
    },
    /// It cannot be determined whether a transaction is a copy of the delivered one.
    #[error(
        "the record of delivered transactions, which the transaction that ends at {end} must be \
         compared with, cannot be read: {cause}; repair the disk and restart binrelay"
    )]
    Unreadable {
        /// The source's position after it.
        end: SourcePosition,
        /// The problem.
        cause: String,
    },
}

/// What an administrator can do about a transaction that ends at `end` and cannot be aligned.
fn advice(cause: &Unaligned, end: &SourcePosition) -> String {
    match cause {
        // Its copies after `end` would be delivered a second time.
        Unaligned::OneTimed { .. } => {
            "set log_slave_updates=OFF on the older server, or upgrade it, and run binrelay continue SOURCE --at \
             FILE:POS with a position after all transactions that the other source has delivered (binrelay help \
             without-gtids, Masters of different versions)"
                .to_owned()
        }
        _ => format!(
            "compare the masters' data and make sure all use the same binlog settings (binlog_format, \
             binlog_row_image) and no binlog was reset; if the replicas have this transaction, or do not need it, run \
             binrelay continue SOURCE --at {end}; otherwise start with an empty data_dir and seed the replicas again, \
             or remove this source"
        ),
    }
}

/// An invariant of the merge is violated: a bug of binrelay. Nothing may be appended after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "internal error: transaction {identity} was accepted as new, but was already recorded as \
     delivered"
)]
pub struct SettleError {
    /// The transaction.
    pub identity: String,
}
