//! Errors on a connection, with its peer and phase.

use crate::protocol::auth::AuthError;
use crate::protocol::{InvalidMessage, ProtocolError, ServerError};
use crate::tls::TlsError;
use std::fmt;
use std::io;
use std::time::Duration;

/// The current activity of a connection.
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
    /// The connection's activity.
    pub phase: Phase,
    /// The cause.
    pub cause: ConnectionErrorCause,
}

impl ConnectionError {
    /// The peer's error, if that is the cause.
    pub fn server_error(&self) -> Option<&ServerError> {
        match &self.cause {
            ConnectionErrorCause::Server(error) => Some(error),
            _ => None,
        }
    }

    /// True if the peer refused this user or password.
    pub fn is_access_denied(&self) -> bool {
        self.server_error()
            .is_some_and(ServerError::is_access_denied)
    }
}

/// The cause of an error on a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionErrorCause {
    /// The operating system's error, or that of TLS.
    #[error("{0}")]
    Io(io::Error),
    /// TLS cannot be used with the peer unless its settings or those of this side are changed.
    #[error("{0}")]
    Tls(Box<rustls::Error>),
    /// The peer closed the connection; under TLS with or without close_notify.
    #[error("the peer closed the connection")]
    Closed,
    /// The login took too long.
    #[error("timed out after {0:?}")]
    TimedOut(Duration),
    /// The peer sent what the protocol does not allow.
    #[error("{0}")]
    InvalidMessage(#[from] InvalidMessage),
    /// The peer sent an error.
    #[error("{0}")]
    Server(ServerError),
    /// A packet beyond the limit.
    #[error("the peer sent a packet of more than {length_max} bytes")]
    PacketTooLarge {
        /// The limit in bytes.
        length_max: usize,
    },
    /// The peer sent more than the read buffer holds while nothing was expected.
    #[error("the peer sent more than was requested")]
    ReadBufferFull,
    /// The settings require TLS and the server does not offer it.
    #[error("TLS is required, but the server does not offer it")]
    TlsNotOffered,
    /// A server that offered TLS before does not offer it, in mode preferred.
    #[error(
        "the server has offered TLS before and does not offer it now: enable TLS on it again, or, if it is to \
         be followed without TLS, set mode = \"disabled\" in this source's [source.tls]"
    )]
    TlsNoLongerOffered,
    /// The server's proof is for another certificate than the one that it presented.
    #[error(
        "the server presented a TLS certificate that is not its own, according to its proof by the account's \
         password: something between the relay and the server decrypts the connection; if that is intended, \
         set mode = \"verify_ca\" and ca in this source's [source.tls]"
    )]
    CertificateProof,
    /// The settings require compression and the server does not offer it.
    #[error("the server does not offer the configured compression")]
    CompressionNotOffered,
    /// The TLS settings cannot be used.
    #[error("{0}")]
    TlsSettings(#[from] TlsError),
    /// The client cannot authenticate to this server.
    #[error("{0}")]
    Authentication(AuthError),
}

impl From<io::Error> for ConnectionErrorCause {
    fn from(error: io::Error) -> Self {
        // This is rustls's error for a peer that closed without close_notify, as a killed server
        // does; its text is for programmers. Packets have lengths, so no loss can be hidden.
        let tls = error.get_ref().and_then(|error| error.downcast_ref());
        match (error.kind(), tls) {
            (io::ErrorKind::UnexpectedEof, _) => ConnectionErrorCause::Closed,
            (_, Some(tls)) if is_of_settings(tls) => {
                ConnectionErrorCause::Tls(Box::new(tls.clone()))
            }
            _ => ConnectionErrorCause::Io(error),
        }
    }
}

/// Whether it happens again until settings are changed. Others, such as a damaged record, are those of a network.
fn is_of_settings(error: &rustls::Error) -> bool {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::PeerIncompatible(_) => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            Alert::HandshakeFailure
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::ProtocolVersion
                | Alert::InsufficientSecurity
                | Alert::CertificateRequired
        ),
        _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_errors_of_settings_are_distinguished_from_those_of_the_network() {
        let cause = |error: rustls::Error| {
            ConnectionErrorCause::from(io::Error::new(io::ErrorKind::InvalidData, error))
        };
        for error in [
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
            rustls::Error::PeerIncompatible(
                rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13,
            ),
            rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion),
        ] {
            let found = cause(error.clone());
            assert!(
                matches!(&found, ConnectionErrorCause::Tls(tls) if **tls == error),
                "{found:?}"
            );
        }
        for error in [
            rustls::Error::DecryptError,
            rustls::Error::AlertReceived(rustls::AlertDescription::InternalError),
        ] {
            assert!(matches!(cause(error), ConnectionErrorCause::Io(_)));
        }
    }
}
