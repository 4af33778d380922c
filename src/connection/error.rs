//! What can go wrong on a connection, with whom and when.

use crate::protocol::auth::AuthError;
use crate::protocol::{InvalidMessage, ProtocolError, ServerError};
use crate::tls::TlsError;
use std::fmt;
use std::io;
use std::time::Duration;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Looking up the name and connecting the socket.
    Connect,
    /// The server's first packet.
    Greeting,
    /// Negotiating TLS.
    Tls,
    /// Proving the password.
    Authentication,
    /// Commands and their answers.
    Query,
    /// A stream of binlog events, from a source.
    Dump,
    /// A stream of binlog events, to a replica.
    Stream,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connect => "connect",
            Phase::Greeting => "greeting",
            Phase::Tls => "TLS",
            Phase::Authentication => "authentication",
            Phase::Query => "query",
            Phase::Dump => "dump",
            Phase::Stream => "binlog stream",
        })
    }
}

/// An error on a connection.
#[derive(Debug, thiserror::Error)]
#[error("{peer}: {phase}: {cause}")]
pub struct ConnectionError {
    /// The peer, `host:port`.
    pub peer: String,
    /// What the connection was doing.
    pub phase: Phase,
    /// What happened.
    pub cause: ConnectionErrorCause,
}

impl ConnectionError {
    /// The peer's refusal, where that is the cause.
    pub fn server_error(&self) -> Option<&ServerError> {
        match &self.cause {
            ConnectionErrorCause::Server(error) => Some(error),
            _ => None,
        }
    }

    /// True where the peer refused this user or password.
    pub fn is_access_denied(&self) -> bool {
        self.server_error()
            .is_some_and(ServerError::is_access_denied)
    }
}

/// What happened on a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionErrorCause {
    /// The system's error, or TLS's.
    #[error("{0}")]
    Io(io::Error),
    /// The peer closed the connection, under TLS with or without saying so first.
    #[error("the peer closed the connection")]
    Closed,
    /// The time limit for connecting ran out.
    #[error("no success within {0:?}")]
    TimedOut(Duration),
    /// The peer sent what the protocol does not allow.
    #[error("{0}")]
    InvalidMessage(#[from] InvalidMessage),
    /// The peer said no.
    #[error("{0}")]
    Server(ServerError),
    /// A packet beyond what is taken here.
    #[error("a packet of more than {length_max} bytes")]
    PacketTooLarge {
        /// The limit in bytes.
        length_max: usize,
    },
    /// The peer sent more than the read buffer holds while nothing of it was expected.
    #[error("the peer sent more than was asked for")]
    ReadBufferFull,
    /// The settings ask for TLS and the server has none.
    #[error("TLS is required, and the server does not offer it")]
    TlsNotOffered,
    /// The TLS settings cannot be used.
    #[error("{0}")]
    TlsSettings(#[from] TlsError),
    /// The password cannot be proved to this server.
    #[error("{0}")]
    Authentication(AuthError),
}

impl From<io::Error> for ConnectionErrorCause {
    fn from(error: io::Error) -> Self {
        // So rustls calls a peer that closed without close_notify, as a killed server does; what
        // it says about that is for programmers. Packets have lengths, so it can hide no loss.
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ConnectionErrorCause::Closed,
            _ => ConnectionErrorCause::Io(error),
        }
    }
}

impl From<ProtocolError> for ConnectionErrorCause {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::InvalidMessage(error) => ConnectionErrorCause::InvalidMessage(error),
            ProtocolError::Server(error) => ConnectionErrorCause::Server(error),
        }
    }
}

impl From<AuthError> for ConnectionErrorCause {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Protocol(error) => error.into(),
            other => ConnectionErrorCause::Authentication(other),
        }
    }
}
