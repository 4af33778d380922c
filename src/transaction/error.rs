//! Why a source's events do not make transactions.

use std::io;
use std::path::PathBuf;

use crate::binlog::{EventError, EventType};
use crate::filter::trim::TrimError;

/// Why a source's events do not make transactions. None of these is mended by trying again at
/// once, but for [`TransactionError::Spill`].
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// An event cannot be read, or its checksum is wrong.
    #[error(transparent)]
    Event(#[from] EventError),
    /// An event cannot be filtered.
    #[error(transparent)]
    Filter(#[from] TrimError),
    /// The packet's length is not the event's.
    #[error("{event_type} event: its header says {expected} bytes, the packet has {found}")]
    Size {
        /// The event's type.
        event_type: EventType,
        /// The header's event_size.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// An event that belongs into a transaction stands outside of any.
    #[error(
        "{event_type} event outside a transaction: the start position is inside a transaction, \
         or the source does not write GTID events; start at a transaction's border"
    )]
    OutsideTransaction {
        /// The event's type.
        event_type: EventType,
    },
    /// A transaction begins before the one before it has ended.
    #[error("{event_type} event inside the transaction that began before it and has not ended")]
    NotEnded {
        /// The event's type.
        event_type: EventType,
    },
    /// The opener's transaction length is not that of its events.
    #[error("transaction {gtid}: its GTID event says {expected} bytes, its events have {found}")]
    Length {
        /// The transaction.
        gtid: String,
        /// What the GTID event says.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The transaction is larger than a binlog file can be.
    #[error(
        "a transaction of more than 4 GiB, which no binlog file can hold; split it on the source"
    )]
    TooLarge,
    /// A large transaction cannot be written to the spool folder.
    #[error("cannot write to the spool folder {}: {cause}", dir.display())]
    Spill {
        /// `data_dir/spool`.
        dir: PathBuf,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
}
