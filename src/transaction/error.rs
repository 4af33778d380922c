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
    /// A compressed transaction cannot be filtered.
    #[error(transparent)]
    Payload(#[from] PayloadError),
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
    /// A MariaDB source says that its log lacks events, in an event that has no place: it belongs to
    /// no transaction and bears no GTID.
    #[error(
        "Incident event: the source says that its log lacks events (incident {number}: {message}), \
         so its replicas cannot hold what it holds; begin with an empty data_dir and a start \
         behind this event, and seed the replicas anew from the source"
    )]
    Incident {
        /// The incident's number.
        number: u16,
        /// What the source says.
        message: String,
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

/// What is wrong inside a TRANSACTION_PAYLOAD event. Offsets count decompressed bytes.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The stream is damaged, or the spool folder cannot be read.
    #[error("Transaction_payload event: its events cannot be decompressed: {0}")]
    Stream(#[source] io::Error),
    /// There is more or less in it than it says.
    #[error(
        "Transaction_payload event: it announces {expected} bytes of events, it holds {found} or \
         more"
    )]
    Size {
        /// What it says.
        expected: u64,
        /// What was read.
        found: u64,
    },
    /// The payload ends within an event.
    #[error(
        "Transaction_payload event: the {event_type} event that ends at byte {offset} is cut short"
    )]
    CutShort {
        /// The event's type, or of the one before it.
        event_type: EventType,
        /// Where it should end, or where it begins.
        offset: u64,
    },
    /// An event that cannot stand where it does.
    #[error("Transaction_payload event: a {event_type} event in it, where none may stand")]
    Misplaced {
        /// The event's type.
        event_type: EventType,
    },
    /// The transaction in it has no end.
    #[error("Transaction_payload event: its last event does not end the transaction")]
    NotEnded,
}
