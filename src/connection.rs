//! A connection of the MySQL protocol: socket, TLS and framing, for the client's side (towards
//! sources, see [`client`]) and the server's (towards replicas, see [`crate::sender::login`]).
//!
//! A connection reads into one buffer of fixed size. On the hot path [`Connection::buffered_part`]
//! hands out packets from it without copying, and [`Connection::fill`] reads more. It sets no time
//! limits of its own: callers wrap calls in `tokio::time::timeout`. After a write that was cut off
//! by a time limit the connection can only be dropped; `fill` can be cut off at any time.

pub mod client;
mod error;
mod exchange;
mod stream;

pub use error::{ConnectionError, ConnectionErrorCause, Phase};

use crate::protocol::InvalidMessage;
use crate::protocol::framing::{
    FRAME_HEADER_LENGTH, FrameReader, PacketPart, READ_BUFFER_MIN, put_packet,
};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stream::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Framed bytes that are gathered before they go to the socket without a flush.
const WRITE_BUFFER_LIMIT: usize = 64 << 10;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The read buffer: `start..end` holds what was read and not yet taken.
struct ReadBuffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    fn new(capacity: usize) -> ReadBuffer {
        let bytes = vec![0; capacity.max(READ_BUFFER_MIN)].into_boxed_slice();
        ReadBuffer {
            bytes,
            start: 0,
            end: 0,
        }
    }

    fn available(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Room for more bytes, at the end. A started packet moves to the front when less than half
    /// of the buffer is left; that happens once per filled buffer at most.
    fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.bytes.len() - self.end < self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }
}

/// A connection, on either side.
pub struct Connection {
    stream: Stream,
    peer_name: String,
    peer_addr: Option<SocketAddr>,
    phase: Phase,
    input: ReadBuffer,
    frames: FrameReader,
    output: Vec<u8>,
    write_sequence: u8,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer_name)
            .field("phase", &self.phase)
            .field("tls", &self.is_tls())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Takes a connected socket over. `peer_name` is what errors call the peer (`host:port`);
    /// `read_buffer_size` is in bytes (at least 1 KiB): packets larger than it come in parts.
    pub fn new(tcp: TcpStream, peer_name: String, read_buffer_size: usize) -> Connection {
        // A socket that refuses these still works, only slower or later to notice a dead peer.
        let _ = tcp.set_nodelay(true);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL);
        let _ = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
        Connection {
            peer_addr: tcp.peer_addr().ok(),
            stream: Stream::Tcp(tcp),
            peer_name,
            phase: Phase::Greeting,
            input: ReadBuffer::new(read_buffer_size),
            frames: FrameReader::new(),
            output: Vec::new(),
            write_sequence: 0,
        }
    }

    /// What errors call the peer.
    pub fn peer_name(&self) -> &str {
        &self.peer_name
    }

    /// The peer's address; None where it was gone before it could be asked.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// True when the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The certificate that the peer showed, DER.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        let Stream::Tls(stream) = &self.stream else {
            return None;
        };
        let (_, session) = stream.get_ref();
        session.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Sets the phase that errors name.
    pub fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Makes the read buffer larger or smaller, e.g. after the login. Bytes in it are kept, and
    /// so is a size that is too small for them.
    pub fn resize_read_buffer(&mut self, size: usize) {
        let available = self.input.available();
        let mut input = ReadBuffer::new(size.max(available.len()));
        if let Some(room) = input.bytes.get_mut(..available.len()) {
            room.copy_from_slice(available);
            input.end = available.len();
        }
        self.input = input;
    }

    /// An error of this connection, with its peer and phase.
    pub fn error(&self, cause: impl Into<ConnectionErrorCause>) -> ConnectionError {
        ConnectionError {
            peer: self.peer_name.clone(),
            phase: self.phase,
            cause: cause.into(),
        }
    }

    // Reading.

    /// The next packet, or part of a packet larger than the buffer, out of what was already read;
    /// None when [`Connection::fill`] must read more. No system call and no copy.
    ///
    /// # Errors
    /// A packet out of order; the connection cannot be used any more.
    pub fn buffered_part(&mut self) -> Result<Option<PacketPart<'_>>, ConnectionError> {
        let capacity = self.input.bytes.len();
        let available = self.input.bytes.get(self.input.start..self.input.end);
        match self.frames.next(available.unwrap_or_default(), capacity) {
            Ok(None) => Ok(None),
            Ok(Some((consumed, part))) => {
                self.input.start += consumed;
                Ok(Some(part))
            }
            Err(error) => Err(ConnectionError {
                peer: self.peer_name.clone(),
                phase: self.phase,
                cause: error.into(),
            }),
        }
    }

    /// How many bytes were read and are not handed out yet: the beginning of a packet.
    pub fn buffered_len(&self) -> usize {
        self.input.available().len()
    }

    /// Reads what the peer has sent, at least one byte. Cancel-safe: no byte is lost.
    ///
    /// # Errors
    /// [`ConnectionErrorCause::Closed`] when the peer closed;
    /// [`ConnectionErrorCause::ReadBufferFull`] when nobody takes the packets out; I/O errors.
    pub async fn fill(&mut self) -> Result<(), ConnectionError> {
        self.fill_at_most(usize::MAX).await
    }

    async fn fill_at_most(&mut self, limit: usize) -> Result<(), ConnectionError> {
        let room = self.input.room();
        if room.is_empty() {
            return Err(self.error(ConnectionErrorCause::ReadBufferFull));
        }
        let length = room.len().min(limit);
        let room = room.get_mut(..length).unwrap_or_default();
        match self.stream.read(room).await {
            Ok(0) => Err(self.error(ConnectionErrorCause::Closed)),
            Ok(count) => {
                self.input.end += count;
                Ok(())
            }
            Err(error) => Err(self.error(error)),
        }
    }

    /// Waits until the peer sent something or closed, for a side that otherwise only writes.
    /// Cancel-safe; afterwards look at [`Connection::buffered_part`].
    ///
    /// # Errors
    /// As [`Connection::fill`].
    pub async fn wait_readable_or_closed(&mut self) -> Result<(), ConnectionError> {
        self.fill().await
    }

    /// Reads one whole packet of at most `length_max` bytes. For small conversations: it copies.
    /// Not cancel-safe.
    ///
    /// # Errors
    /// A longer packet, and as [`Connection::fill`].
    pub async fn read_packet(&mut self, length_max: usize) -> Result<Vec<u8>, ConnectionError> {
        self.read_packet_filling(length_max, false).await
    }

    /// As [`Connection::read_packet`], but takes not one byte from the socket that follows the
    /// packet: it may belong to TLS.
    pub(crate) async fn read_packet_exactly(
        &mut self,
        length_max: usize,
    ) -> Result<Vec<u8>, ConnectionError> {
        self.read_packet_filling(length_max, true).await
    }

    async fn read_packet_filling(
        &mut self,
        length_max: usize,
        exactly: bool,
    ) -> Result<Vec<u8>, ConnectionError> {
        let mut packet = Vec::new();
        loop {
            let is_idle = self.frames.is_idle();
            if let Some(part) = self.buffered_part()? {
                let (bytes, is_last) = (part.bytes(), part.is_last());
                if packet.len() + bytes.len() > length_max {
                    return Err(self.error(ConnectionErrorCause::PacketTooLarge { length_max }));
                }
                packet.extend_from_slice(bytes);
                if is_last {
                    self.write_sequence = self.frames.sequence();
                    return Ok(packet);
                }
                continue;
            }
            let missing = self.frames.missing(self.input.available());
            // A packet that the limit will refuse is refused before it has been read.
            if is_idle && missing > length_max.saturating_add(FRAME_HEADER_LENGTH) {
                return Err(self.error(ConnectionErrorCause::PacketTooLarge { length_max }));
            }
            let limit = if exactly { missing } else { usize::MAX };
            self.fill_at_most(limit).await?;
        }
    }

    /// Starts the packet numbers of both directions anew, as every command does.
    pub fn begin_command(&mut self) {
        self.set_sequence(0);
    }

    /// The number of the next packet to write.
    pub fn sequence(&self) -> u8 {
        self.write_sequence
    }

    /// Sets the number of the next packet in both directions: after writing frames with
    /// [`Connection::write_raw`], whose numbers are not looked at.
    pub fn set_sequence(&mut self, sequence: u8) {
        self.write_sequence = sequence;
        self.frames.set_sequence(sequence);
    }

    /// Takes the number of the next packet to read as it comes, e.g. of a semi-sync
    /// acknowledgement.
    pub fn accept_any_sequence(&mut self) {
        self.frames.accept_any_sequence();
    }

    // Writing.

    /// Frames a packet and sends it with the next [`Connection::flush`], or before when much has
    /// gathered.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_packet(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        put_packet(&mut self.output, &mut self.write_sequence, payload);
        self.frames.set_sequence(self.write_sequence);
        if self.output.len() > WRITE_BUFFER_LIMIT {
            self.write_output().await?;
        }
        Ok(())
    }

    /// Sends bytes that are framed already, after what was gathered before. Does not touch the
    /// packet numbers. Call [`Connection::flush`] after the last of them.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_raw(&mut self, framed: &[u8]) -> Result<(), ConnectionError> {
        self.write_output().await?;
        self.stream
            .write_all(framed)
            .await
            .map_err(|error| self.error(error))
    }

    /// As [`Connection::write_raw`], for several pieces at once.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_raw_slices(
        &mut self,
        mut slices: &mut [IoSlice<'_>],
    ) -> Result<(), ConnectionError> {
        self.write_output().await?;
        // Empty slices at the front would look like a closed connection.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.stream.write_vectored(slices).await {
                Ok(0) => return Err(self.error(io::Error::from(io::ErrorKind::WriteZero))),
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(error) => return Err(self.error(error)),
            }
        }
        Ok(())
    }

    /// Sends everything that was written.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        self.write_output().await?;
        self.stream.flush().await.map_err(|error| self.error(error))
    }

    async fn write_output(&mut self) -> Result<(), ConnectionError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let written = self.stream.write_all(&self.output).await;
        self.output.clear();
        self.output.shrink_to(2 * WRITE_BUFFER_LIMIT);
        written.map_err(|error| self.error(error))
    }

    // TLS.

    /// Goes on with TLS as the client.
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

    /// Goes on with TLS as the server.
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

    /// The socket, for TLS. Bytes that came before TLS must not be taken for bytes under it.
    fn take_tcp(&mut self) -> Result<TcpStream, ConnectionError> {
        let buffered = self.input.available().len();
        if buffered > 0 || !self.frames.is_idle() {
            return Err(self.error(InvalidMessage {
                what: "start of TLS",
                offset: 0,
                expected: "nothing before it".into(),
                found: format!("{buffered} unencrypted bytes").into(),
            }));
        }
        match std::mem::replace(&mut self.stream, Stream::Upgrading) {
            Stream::Tcp(tcp) => Ok(tcp),
            other => {
                self.stream = other;
                Err(self.error(io::Error::other("TLS within TLS")))
            }
        }
    }
}

#[cfg(test)]
mod tests;
