//! Switching a [`Connection`] to TLS.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::stream::Stream;
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
        self.stream = Stream::Tls(Box::new(stream.into()));
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
        self.stream = Stream::Tls(Box::new(stream.into()));
        Ok(())
    }

    /// The socket, for TLS. Bytes received before TLS must not be read as bytes under it.
    fn take_tcp(&mut self) -> Result<TcpStream, ConnectionError> {
        let buffered = self.input.available().len();
        if buffered > 0 || !self.frames.is_idle() {
            return Err(self.error(InvalidMessage {
                what: "start of TLS",
                offset: 0,
                expected: "no bytes before it".into(),
                found: format!("{buffered} unencrypted bytes").into(),
            }));
        }
        match std::mem::replace(&mut self.stream, Stream::Upgrading) {
            Stream::Tcp(tcp) => Ok(tcp),
            other => {
                self.stream = other;
                Err(self.error(io::Error::other("TLS is already active")))
            }
        }
    }
}
