//! Why a source is not followed, and whether trying again at once can help.

use std::time::Duration;

use crate::connection::{ConnectionError, ConnectionErrorCause};
use crate::flavor::Flavor;
use crate::gtid::GtidError;
use crate::protocol::ServerError;
use crate::transaction::TransactionError;

/// What stopped a receiver.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// The connection could not be made, or broke.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The source refused to send its binlog, or stopped sending it.
    #[error("the source answered: {0}")]
    Source(ServerError),
    /// The source ended the dump without an error: it shuts down, or killed the connection.
    #[error("the source ended the dump at {file}:{position}")]
    Ended {
        /// The source's file.
        file: String,
        /// The source's position.
        position: u64,
    },
    /// Neither an event nor a heartbeat came in time.
    #[error("nothing came from the source for {}", display_seconds(*.0))]
    Silent(Duration),
    /// The events do not make transactions.
    #[error("at {file}:{position}: {cause}")]
    Transaction {
        /// The source's file.
        file: String,
        /// The source's position before the event.
        position: u64,
        /// What is wrong.
        #[source]
        cause: TransactionError,
    },
    /// The stream contradicts itself.
    #[error("at {file}:{position}: {found}, expected {expected}")]
    Stream {
        /// The source's file.
        file: String,
        /// The source's position.
        position: u64,
        /// What came.
        found: String,
        /// What should have come.
        expected: &'static str,
    },
    /// Another kind of server answers than this relay can follow.
    #[error(
        "a {found} server ({version}) answers, this relay log holds {expected} events; correct \
         host and port of this source, or give it to a relay of its own"
    )]
    Flavor {
        /// What the log holds.
        expected: Flavor,
        /// What answered.
        found: Flavor,
        /// Its version.
        version: String,
    },
    /// The source must be configured otherwise.
    #[error("{what}; {remedy}")]
    Setup {
        /// What was found.
        what: String,
        /// What to change.
        remedy: String,
    },
    /// A GTID set or position that the source sent cannot be read.
    #[error("{what}: {cause}")]
    Gtid {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        cause: GtidError,
    },
    /// The relay log refuses this source's transactions.
    #[error("{0}")]
    Refused(String),
    /// The relay log takes nothing any more.
    #[error("the relay log has failed and takes nothing any more; the relay's own error says why")]
    LogClosed,
}

fn display_seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// Errors of a source that an administrator must mend: access denied (1044, 1045, 1130, 1227,
/// 1698), the password has expired (1820, 1862), the account is locked (3118, MariaDB 4151), TLS
/// is required (3159), and a fatal error in reading the binlog (1236).
const FATAL_CODES: [u16; 11] = [
    1044, 1045, 1130, 1227, 1236, 1698, 1820, 1862, 3118, 3159, 4151,
];

impl ReceiverError {
    /// What must be changed, where the source itself says what is wrong.
    pub fn setup(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        ReceiverError::Setup {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// Whether somebody must change something before it can work.
    pub fn is_failure(&self) -> bool {
        match self {
            ReceiverError::Connection(error) => match &error.cause {
                ConnectionErrorCause::Server(error) => FATAL_CODES.contains(&error.code),
                ConnectionErrorCause::TlsNotOffered
                | ConnectionErrorCause::TlsSettings(_)
                | ConnectionErrorCause::Authentication(_) => true,
                _ => false,
            },
            ReceiverError::Source(error) => FATAL_CODES.contains(&error.code),
            ReceiverError::Ended { .. } | ReceiverError::Silent(_) => false,
            ReceiverError::Transaction { cause, .. } => {
                !matches!(cause, TransactionError::Spill { .. })
            }
            ReceiverError::Stream { .. } => false,
            ReceiverError::Flavor { .. }
            | ReceiverError::Setup { .. }
            | ReceiverError::Gtid { .. }
            | ReceiverError::Refused(_)
            | ReceiverError::LogClosed => true,
        }
    }

    /// The server's error code, or 0.
    pub fn code(&self) -> u16 {
        match self {
            ReceiverError::Connection(error) => error.server_error().map_or(0, |error| error.code),
            ReceiverError::Source(error) => error.code,
            _ => 0,
        }
    }

    /// What to do about it, where the error's own text does not say.
    pub fn advice(&self) -> Option<&'static str> {
        match self.code() {
            1045 | 1698 => Some("correct user and password of this source, or the account on it"),
            1044 | 1227 => Some("GRANT REPLICATION SLAVE ON *.* to this source's user"),
            1130 => Some("allow this host for the account on the source"),
            1236 => Some(
                "if the source has purged what is missing here, seed the replicas anew and give \
                 this source a new start",
            ),
            1820 | 1862 | 3118 | 4151 => {
                Some("ALTER USER on the source: a new password, or unlock")
            }
            3159 => Some("set mode = \"required\" in this source's [source.tls]"),
            _ => None,
        }
    }

    /// The error in one line, with what to do.
    pub fn to_line(&self) -> String {
        let line = match self.advice() {
            Some(advice) => format!("{self}; {advice}"),
            None => self.to_string(),
        };
        // The source's own words are among it.
        line.replace(char::is_control, " ")
    }
}
