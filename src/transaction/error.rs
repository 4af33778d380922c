//! Why a source's events do not make transactions.

use std::io;
use std::path::PathBuf;

use crate::binlog::{EventError, EventType, incident};
use crate::filter::trim::TrimError;

/// Why the bytes of the open transaction cannot be kept.
#[derive(Debug)]
pub(super) enum BodyError {
    /// A spill file: the operating system's error.
    Spill(io::Error),
    /// An invariant of the buffer does not hold: which, and what was found.
    Internal(String),
}

impl BodyError {
    pub(super) fn internal(what: impl ToString) -> Self {
        BodyError::Internal(what.to_string())
    }

    /// `what` ends at `end` of a buffer that has `len` bytes.
    pub(super) fn out_of_range(what: &'static str, end: u64, len: u64) -> Self {
        BodyError::Internal(format!(
            "{what}: it reaches byte {end}, but there are {len} bytes"
        ))
    }
}

impl From<io::Error> for BodyError {
    fn from(cause: io::Error) -> Self {
        BodyError::Spill(cause)
    }
}

/// Why a source's events do not form transactions.
///
/// The receiver adds the source and its position. Only [`TransactionError::Spill`] can be solved by
/// trying again.
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
        /// The bytes received.
        found: u64,
    },
    /// An event that must be part of a transaction is outside all of them.
    #[error(
        "{event_type} event outside a transaction, in a file written by version {version}: the \
         start position is inside a transaction, or this file was written without GTID events; \
         start at a transaction boundary, or in a later file"
    )]
    OutsideTransaction {
        /// The event's type.
        event_type: EventType,
        /// The server that wrote the file.
        version: String,
    },
    /// An event that old servers wrote, and that cannot be in a file of a newer version.
    #[error(
        "{event_type} event, in a file written by version {version}: {reason}; purge that file on \
         the source (PURGE BINARY LOGS TO a later one) and seed the replicas again from a state \
         after it"
    )]
    Unsupported {
        /// The event's type.
        event_type: EventType,
        /// The server that wrote the file.
        version: String,
        /// The reason.
        reason: &'static str,
    },
    /// The source reports that changes are missing in its binlog, outside any GTID.
    #[error(
        "the source lost changes that its binlog should hold here (Incident event {number}: \
         {message}); its own replicas stop with error 1590, but the event has no GTID, so the relay \
         cannot forward it; give the replicas the data of this source, then run binrelay continue SOURCE \
         --at FILE:POS with the position after this event"
    )]
    Incident {
        /// 1: events were lost.
        number: u16,
        /// The source's message.
        message: String,
    },
    /// A transaction begins before the previous one has ended.
    #[error("{event_type} event inside a transaction that has not ended")]
    NotEnded {
        /// The event's type.
        event_type: EventType,
    },
    /// The opener's transaction length is not that of its events.
    #[error("transaction {gtid}: its GTID event says {expected} bytes, its events have {found}")]
    Length {
        /// The transaction.
        gtid: String,
        /// The length in the GTID event.
        expected: u64,
        /// The length of the events received.
        found: u64,
    },
    /// The transaction is larger than a binlog file can be.
    #[error(
        "a transaction of more than 4 GiB, which no binlog file can hold; split it on the source"
    )]
    TooLarge,
    /// The transaction is larger than is configured.
    #[error(
        "a transaction of more than {max} bytes, the limit of [limits] max_transaction_size; raise it and restart \
         binrelay: the source continues with this transaction"
    )]
    OverLimit {
        /// The limit, in bytes.
        max: u64,
    },
    /// A large transaction cannot be written to the spool directory.
    #[error("cannot write to the spool directory {}: {cause}", dir.display())]
    Spill {
        /// `data_dir/spool`.
        dir: PathBuf,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// An invariant of this stage does not hold. The transaction is dropped whole: nothing of it
    /// reaches the relay log.
    #[error(
        "internal error of the transaction assembler: {what}; nothing of this transaction was \
         written; restart the relay to receive it again, and report this message as a bug"
    )]
    Internal {
        /// Which invariant, and what was found.
        what: String,
    },
}

impl TransactionError {
    /// Whether the bytes of an event that was sent correctly may have been changed on their way. A connection
    /// without checksums of events can have other errors of this cause, too.
    pub fn may_be_of_network(&self) -> bool {
        match self {
            TransactionError::Event(_)
            | TransactionError::Payload(_)
            | TransactionError::Size { .. }
            | TransactionError::NotEnded { .. }
            | TransactionError::Length { .. } => true,
            TransactionError::Filter(error) => match error {
                TrimError::Event(_) | TrimError::UnknownTable { .. } | TrimError::TooManyTables => {
                    true
                }
                TrimError::Undecided { .. } | TrimError::UndecidedTable { .. } => false,
            },
            TransactionError::OutsideTransaction { .. }
            | TransactionError::Unsupported { .. }
            | TransactionError::Incident { .. }
            | TransactionError::TooLarge
            | TransactionError::OverLimit { .. }
            | TransactionError::Spill { .. }
            | TransactionError::Internal { .. } => false,
        }
    }

    /// The error for an INCIDENT event without a GTID. `body` is the event without header and
    /// checksum.
    pub(super) fn of_incident(body: &[u8]) -> Result<Self, EventError> {
        let (number, message) = incident::parse(body)?;
        let message = String::from_utf8_lossy(message).into_owned();
        Ok(TransactionError::Incident { number, message })
    }
}

/// Why the content of a TRANSACTION_PAYLOAD event cannot be filtered. Offsets count decompressed
/// bytes.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The stream is damaged, or the spool directory cannot be read.
    #[error("Transaction_payload event: its events cannot be decompressed: {0}")]
    Stream(#[source] io::Error),
    /// It holds more or fewer bytes than its header says.
    #[error(
        "Transaction_payload event: its header says {expected} bytes of events, it holds {found} \
         or more"
    )]
    Size {
        /// The size in its header.
        expected: u64,
        /// The bytes read.
        found: u64,
    },
    /// The payload ends within an event.
    #[error(
        "Transaction_payload event: the {event_type} event that ends at byte {offset} is truncated"
    )]
    Truncated {
        /// The event's type, or of the one before it.
        event_type: EventType,
        /// Where it should end, or where it begins.
        offset: u64,
    },
    /// An event of a type that is not allowed at this point.
    #[error("Transaction_payload event: it holds a {event_type} event where none is allowed")]
    Misplaced {
        /// The event's type.
        event_type: EventType,
    },
    /// The transaction in it does not end.
    #[error("Transaction_payload event: its last event does not end the transaction")]
    NotEnded,
}
