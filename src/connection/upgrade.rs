//! Switching a [`Connection`] to TLS and to compression.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::compressed::CompressedStream;
use super::compression::Compression;
use super::stream::Stream;
use super::transport::Transport;
use super::{Connection, ConnectionError};
use crate::protocol::InvalidMessage;

impl Connection {
    /// Upgrades to TLS as the client.
    pub(crate) async fn upgrade_client(
        &mut self,
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(), ConnectionError> {
        let tcp = self.take_tcp()?;
        let stream = TlsConnector::from(config).connect(name, tcp).await;
        let stream = stream.map_err(|error| self.error(error))?;
        self.stream = Transport::Plain(Stream::Tls(Box::new(stream.into())));
        Ok(())
    }

    /// Upgrades to TLS as the server.
    pub(crate) async fn upgrade_server(
        &mut self,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<(), ConnectionError> {
        let tcp = self.take_tcp()?;
        let stream = TlsAcceptor::from(config).accept(tcp).await;
        let stream = stream.map_err(|error| self.error(error))?;
        self.stream = Transport::Plain(Stream::Tls(Box::new(stream.into())));
        Ok(())
    }

    /// Compresses everything from here on: after the login's OK, as both sides announced.
    pub(crate) fn start_compression(
        &mut self,
        algorithm: Compression,
    ) -> Result<(), ConnectionError> {
        self.check_nothing_is_buffered("start of compression", "uncompressed")?;
        match std::mem::replace(&mut self.stream, Transport::Plain(Stream::Upgrading)) {
            Transport::Plain(stream) => {
                let compressed = CompressedStream::new(stream, algorithm);
                let compressed = compressed.map_err(|error| self.error(error))?;
                self.stream = Transport::Compressed(Box::new(compressed));
                // Servers set the inner numbers to the outer ones at times; these suffice.
                self.frames.ignore_sequence();
                Ok(())
            }
            other => {
                self.stream = other;
                Err(self.error(io::Error::other("compression is already active")))
            }
        }
    }

    /// Bytes received before the switch must not be read as bytes after it.
    fn check_nothing_is_buffered(
        &self,
        what: &'static str,
        kind: &str,
    ) -> Result<(), ConnectionError> {
        let buffered = self.input.available().len();
        if buffered == 0 && self.frames.is_idle() {
            return Ok(());
        }
        Err(self.error(InvalidMessage {
            what,
            offset: 0,
            expected: "no bytes before it".into(),
            found: format!("{buffered} {kind} bytes").into(),
        }))
    }

    /// The socket, for TLS.
    fn take_tcp(&mut self) -> Result<TcpStream, ConnectionError> {
        self.check_nothing_is_buffered("start of TLS", "unencrypted")?;
        match std::mem::replace(&mut self.stream, Transport::Plain(Stream::Upgrading)) {
            Transport::Plain(Stream::Tcp(tcp)) => Ok(tcp),
            other => {
                self.stream = other;
                Err(self.error(io::Error::other("TLS is already active")))
            }
        }
    }
}
