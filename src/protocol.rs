//! The MySQL client/server protocol without any I/O, for both sides of a connection.
//!
//! Nothing here reads a socket: functions take and return bytes, so that every message can be
//! tested when truncated at every length. Sources: "Client/Server Protocol" in the MySQL source code
//! documentation, and MariaDB's knowledge base, "Clientserver Protocol".
//!
//! Sets of GTIDs stay raw bytes here; `crate::gtid` decodes them.

pub mod auth;
pub mod capability;
pub mod command;
mod digest;
pub mod error_code;
pub mod framing;
pub mod handshake;
pub mod response;
pub mod semi_sync;
mod sha256_crypt;
mod stored_password;
mod wire;

use std::borrow::Cow;

pub use stored_password::StoredPassword;
pub use wire::put_length_encoded;

/// Why a conversation failed: the peer broke the protocol, or it refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The peer sent bytes that the protocol does not allow.
    #[error(transparent)]
    InvalidMessage(#[from] InvalidMessage),
    /// The peer sent an error.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// Bytes from the peer that the protocol does not allow at this point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} at byte {offset}: expected {expected}, found {found}")]
pub struct InvalidMessage {
    /// The message that was being read.
    pub what: &'static str,
    /// Offset in the message's payload, in bytes.
    pub offset: usize,
    /// What the protocol allows there.
    pub expected: Cow<'static, str>,
    /// What was received instead.
    pub found: Cow<'static, str>,
}

/// An ERR packet: the peer's error, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error {code} ({sqlstate}): {message}")]
pub struct ServerError {
    /// The error's number; see [`error_code`] for those used here.
    pub code: u16,
    /// Five characters; `HY000` when the peer sent none.
    pub sqlstate: String,
    /// The text, invalid UTF-8 replaced.
    pub message: String,
}

impl ServerError {
    /// An error to send, with MySQL's SQLSTATE for that number.
    pub fn new(code: u16, message: impl Into<String>) -> ServerError {
        ServerError {
            code,
            sqlstate: error_code::sqlstate(code).to_owned(),
            message: message.into(),
        }
    }

    /// True if the peer refuses this user or password, so that retrying soon is pointless.
    pub fn is_access_denied(&self) -> bool {
        matches!(
            self.code,
            error_code::ER_ACCESS_DENIED_ERROR
                | error_code::ER_DBACCESS_DENIED_ERROR
                | error_code::ER_SPECIFIC_ACCESS_DENIED_ERROR
                | error_code::ER_ACCESS_DENIED_NO_PASSWORD_ERROR
        )
    }
}
