//! Why a login failed, and the errors that servers send then.

use std::io::ErrorKind;
use std::time::Duration;

use crate::connection::{Connection, ConnectionError, ConnectionErrorCause, Phase};
use crate::protocol::error_code::{ER_ACCESS_DENIED_ERROR, ER_NOT_SUPPORTED_AUTH_MODE};
use crate::protocol::{InvalidMessage, ServerError};

/// Why a login failed. The client's error, if there is one, has been sent.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The connection failed.
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    /// The client sent an invalid handshake.
    #[error("{peer}: invalid handshake: {cause}")]
    BadHandshake {
        /// The client's address.
        peer: String,
        /// The fault.
        cause: InvalidMessage,
    },
    /// The client was refused with this error.
    #[error("{peer}: login refused: {error}")]
    Refused {
        /// The client's address.
        peer: String,
        /// The error that was sent to the client.
        error: ServerError,
    },
    /// The login took too long.
    #[error("{peer}: the login was not complete after {limit:?}")]
    TimedOut {
        /// The client's address.
        peer: String,
        /// The limit.
        limit: Duration,
    },
}

impl LoginError {
    /// Whether the account or its password is wrong.
    pub fn is_wrong_password(&self) -> bool {
        matches!(self, LoginError::Refused { error, .. } if error.code == ER_ACCESS_DENIED_ERROR)
    }

    /// Whether the client has only connected, as the TCP checks of load balancers do.
    pub fn is_probe(&self) -> bool {
        match self {
            LoginError::Connection(error) => {
                error.phase == Phase::Greeting
                    && match &error.cause {
                        ConnectionErrorCause::Closed => true,
                        ConnectionErrorCause::Io(cause) => {
                            cause.kind() == ErrorKind::ConnectionReset
                        }
                        _ => false,
                    }
            }
            _ => false,
        }
    }
}

pub(super) fn not_supported_auth_mode() -> ServerError {
    let text = "Client does not support authentication protocol requested by server; consider \
                upgrading MySQL client";
    ServerError::new(ER_NOT_SUPPORTED_AUTH_MODE, text)
}

pub(super) fn refused(connection: &Connection, error: ServerError) -> LoginError {
    LoginError::Refused {
        peer: connection.peer_name().to_owned(),
        error,
    }
}

pub(super) fn access_denied(
    connection: &Connection,
    user: &str,
    with_password: bool,
) -> ServerError {
    let host = match connection.peer_addr() {
        Some(address) => address.ip().to_canonical().to_string(),
        None => "unknown".to_owned(),
    };
    let using = if with_password { "YES" } else { "NO" };
    ServerError::new(
        ER_ACCESS_DENIED_ERROR,
        format!("Access denied for user '{user}'@'{host}' (using password: {using})"),
    )
}
