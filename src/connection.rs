//! A connection of the MySQL protocol: socket, TLS, compression and framing, for the client's side (towards
//! sources, see [`client`]) and the server's (towards replicas, see [`crate::sender::login`]).
//!
//! A connection reads into one buffer of fixed size. On the hot path [`Connection::buffered_part`]
//! hands out packets from it without copying, and [`Connection::fill`] reads more. It has no
//! timeouts of its own: callers wrap calls in `tokio::time::timeout`. After a write that was
//! cancelled by a timeout the connection can only be closed; `fill` can be cancelled at any time.

pub mod client;
mod compressed;
mod compression;
mod error;
mod exchange;
mod read_buffer;
mod socket;
mod stream;
mod transport;
mod upgrade;

pub use compression::Compression;
pub use error::{ConnectionError, ConnectionErrorCause, Phase};
pub use socket::host_and_port;

use crate::protocol::framing::{FRAME_HEADER_LENGTH, FrameReader, PacketPart, put_packet};
use read_buffer::ReadBuffer;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use stream::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transport::Transport;

/// Framed bytes that are buffered before they are sent without a flush.
const WRITE_BUFFER_LIMIT: usize = 64 << 10;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// A connection, on either side.
pub struct Connection {
    stream: Transport,
    peer_name: String,
    peer_addr: Option<SocketAddr>,
    phase: Phase,
    input: ReadBuffer,
    frames: FrameReader,
    output: Vec<u8>,
    write_sequence: u8,
    traffic: Arc<Traffic>,
}

/// The bytes of a connection, before compression and encryption.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes read.
    pub received: AtomicU64,
    /// Bytes written.
    pub sent: AtomicU64,
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
    /// A connection over a connected socket. `peer_name` is the peer's name in errors
    /// (`host:port`); `read_buffer_size` is in bytes (at least 1 KiB): larger packets are returned
    /// in parts.
    pub fn new(tcp: TcpStream, peer_name: String, read_buffer_size: usize) -> Connection {
        // A socket that refuses these options still works, but is slower, or notices a dead peer
        // later.
        let _ = tcp.set_nodelay(true);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL);
        let _ = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
        Connection {
            peer_addr: tcp.peer_addr().ok(),
            stream: Transport::Plain(Stream::Tcp(tcp)),
            peer_name,
            phase: Phase::Greeting,
            input: ReadBuffer::new(read_buffer_size),
            frames: FrameReader::new(),
            output: Vec::new(),
            write_sequence: 0,
            traffic: Arc::default(),
        }
    }

    /// The connection's counters; they outlive it.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The peer's name in errors.
    pub fn peer_name(&self) -> &str {
        &self.peer_name
    }

    /// The peer's address; None if it had disconnected before the address was read.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// True when the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.stream.stream(), Stream::Tls(_))
    }

    /// True when the connection is compressed.
    pub fn is_compressed(&self) -> bool {
        matches!(self.stream, Transport::Compressed(_))
    }

    /// The version and cipher of TLS, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`; None without TLS.
    pub fn encryption(&self) -> Option<String> {
        let Stream::Tls(stream) = self.stream.stream() else {
            return None;
        };
        let (_, session) = stream.get_ref();
        let version = session.protocol_version()?.as_str().unwrap_or_default();
        let suite = session.negotiated_cipher_suite()?.suite();
        // OpenSSL's and the servers' names.
        let version = version.replace("TLSv1_", "TLSv1.");
        let suite = suite.as_str().unwrap_or_default();
        Some(format!("{version} {}", suite.replace("TLS13_", "TLS_")))
    }

    /// The certificate that the peer presented, in DER.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        let Stream::Tls(stream) = self.stream.stream() else {
            return None;
        };
        let (_, session) = stream.get_ref();
        session.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Sets the phase that errors name.
    pub fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Makes the read buffer larger or smaller, e.g. after the login. Its bytes are kept: it does
    /// not become too small for them.
    pub fn resize_read_buffer(&mut self, size: usize) {
        self.input = self.input.resized(size);
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

    /// The next packet, or part of a packet larger than the buffer, from the bytes already read;
    /// None when [`Connection::fill`] must read more. No system call and no copy.
    ///
    /// # Errors
    /// A packet out of order; the connection can no longer be used.
    pub fn buffered_part(&mut self) -> Result<Option<PacketPart<'_>>, ConnectionError> {
        self.input
            .next_part(&mut self.frames)
            .map_err(|error| ConnectionError {
                peer: self.peer_name.clone(),
                phase: self.phase,
                cause: error.into(),
            })
    }

    /// How many bytes were read and not handed out yet: the beginning of a packet.
    pub fn buffered_len(&self) -> usize {
        self.input.available().len()
    }

    /// The packet that has begun to arrive, unless all of its first frame has: the frame's payload length, and the
    /// payload bytes that were read.
    pub fn incomplete_packet(&self) -> Option<(usize, &[u8])> {
        self.frames.incomplete(self.input.available())
    }

    /// Reads bytes that the peer has sent, at least one. Cancel-safe: no byte is lost.
    ///
    /// # Errors
    /// [`ConnectionErrorCause::Closed`] when the peer closed;
    /// [`ConnectionErrorCause::ReadBufferFull`] when the packets in the buffer were not read; I/O
    /// errors.
    pub async fn fill(&mut self) -> Result<(), ConnectionError> {
        self.fill_at_most(usize::MAX).await
    }

    async fn fill_at_most(&mut self, limit: usize) -> Result<(), ConnectionError> {
        let free = self.input.free_space(limit);
        if free.is_empty() {
            return Err(self.error(ConnectionErrorCause::ReadBufferFull));
        }
        match self.stream.read(free).await {
            Ok(0) => Err(self.error(ConnectionErrorCause::Closed)),
            Ok(count) => {
                self.input.filled(count);
                self.traffic.received.fetch_add(count as u64, Relaxed);
                Ok(())
            }
            Err(error) => Err(self.error(error)),
        }
    }

    /// Waits until the peer sends something or closes, for a side that otherwise only writes.
    /// Cancel-safe; the bytes are then available from [`Connection::buffered_part`].
    ///
    /// # Errors
    /// As [`Connection::fill`].
    pub async fn wait_readable_or_closed(&mut self) -> Result<(), ConnectionError> {
        self.fill().await
    }

    /// Waits until the peer closes the connection, or sends more than the buffer can hold. What it sends is
    /// kept for the next read. Cancel-safe.
    pub async fn wait_closed(&mut self) -> ConnectionError {
        loop {
            if let Err(error) = self.fill().await {
                return error;
            }
        }
    }

    /// Reads one whole packet of at most `length_max` bytes. For small exchanges: it copies.
    /// Not cancel-safe.
    ///
    /// # Errors
    /// A longer packet, and as [`Connection::fill`].
    pub async fn read_packet(&mut self, length_max: usize) -> Result<Vec<u8>, ConnectionError> {
        self.read_packet_filling(length_max, false).await
    }

    /// As [`Connection::read_packet`], but reads no byte after the packet from the socket: it may
    /// belong to TLS.
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
            // A packet beyond the limit is refused before it is read.
            if is_idle && missing > length_max.saturating_add(FRAME_HEADER_LENGTH) {
                return Err(self.error(ConnectionErrorCause::PacketTooLarge { length_max }));
            }
            let limit = if exactly { missing } else { usize::MAX };
            self.fill_at_most(limit).await?;
        }
    }

    /// Restarts the packet numbers of both directions, as every command does.
    pub fn begin_command(&mut self) {
        self.stream.begin_command();
        self.set_sequence(0);
    }

    /// The number of the next packet to write.
    pub fn sequence(&self) -> u8 {
        self.write_sequence
    }

    /// Sets the number of the next packet in both directions: after writing frames with
    /// [`Connection::write_raw`], which does not read their numbers.
    pub fn set_sequence(&mut self, sequence: u8) {
        self.write_sequence = sequence;
        self.frames.set_sequence(sequence);
    }

    /// Accepts any number for the next packet to read, e.g. that of a semi-sync acknowledgement.
    pub fn accept_any_sequence(&mut self) {
        self.stream.accept_any_sequence();
        self.frames.accept_any_sequence();
    }

    /// From now on, both directions have packet numbers of their own, and those of the packets to read
    /// are ignored: the dump is semi-synchronous, see [`crate::protocol::semi_sync`].
    pub fn begin_semi_sync(&mut self) {
        self.stream.begin_semi_sync();
        self.frames.ignore_sequence();
    }

    /// In a semi-synchronous dump, sets the number of the next compressed packet to write.
    pub fn set_compressed_sequence(&mut self, sequence: u8) {
        self.stream.set_sent_sequence(sequence);
    }

    // Writing.

    /// Frames a packet and sends it with the next [`Connection::flush`], or earlier when the buffer
    /// is full.
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

    /// In a semi-synchronous dump, writes and flushes a packet with the number 0.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_acknowledgement(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        let mut sequence = 0;
        put_packet(&mut self.output, &mut sequence, payload);
        self.stream.set_sent_sequence(0);
        self.flush().await
    }

    /// Sends bytes that are already framed, after the buffered ones. Does not change the packet
    /// numbers. Call [`Connection::flush`] after the last of them.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_raw(&mut self, framed: &[u8]) -> Result<(), ConnectionError> {
        self.write_output().await?;
        self.traffic.sent.fetch_add(framed.len() as u64, Relaxed);
        self.stream
            .write_all(framed)
            .await
            .map_err(|error| self.error(error))
    }

    /// As [`Connection::write_raw`], for several slices at once.
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
                Ok(count) => {
                    self.traffic.sent.fetch_add(count as u64, Relaxed);
                    IoSlice::advance_slices(&mut slices, count);
                }
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
        let length = self.output.len() as u64;
        self.traffic.sent.fetch_add(length, Relaxed);
        let written = self.stream.write_all(&self.output).await;
        self.output.clear();
        self.output.shrink_to(2 * WRITE_BUFFER_LIMIT);
        written.map_err(|error| self.error(error))
    }
}

#[cfg(test)]
mod tests;
