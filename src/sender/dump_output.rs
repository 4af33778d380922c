//! The client's end of a dump: writing packets within the time limit, and waiting.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::environment::stopping;
use super::replicas::{Client, KillReason, killed};
use crate::connection::{Connection, ConnectionError};
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::framing::PacketPart;
use crate::protocol::handshake::SERVER_STATUS_AUTOCOMMIT;
use crate::relay_log::RelayLogPosition;

/// Bytes given to the socket at once: a replica has to accept this many within the write timeout.
const WRITE_LEN: usize = 64 * 1024;

/// How a dump ended.
#[derive(Debug)]
pub enum DumpEnd {
    /// A non-blocking dump has sent everything: commands may follow.
    Complete,
    /// The connection failed, or the client closed it: no error is sent.
    Gone(ConnectionError),
    /// The client accepted no data for too long.
    Stalled,
    /// The connection ends after this error; see [`DumpOutput::finish`].
    Refused(ServerError),
    /// The connection ends without an error, e.g. because a packet was partly written.
    Cut,
}

/// Why a dump is to end although its connection works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The client was killed.
    Killed(KillReason),
    /// The relay is stopping.
    Shutdown,
}

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    /// The log has grown.
    Published,
    /// A heartbeat is due.
    Heartbeat,
    /// See [`DumpOutput::interruption`].
    Interrupted,
    /// The client has sent something, see [`DumpOutput::received`].
    Received,
}

/// Writes to one client.
#[derive(Debug)]
pub struct DumpOutput<'a> {
    connection: &'a mut Connection,
    kill: watch::Receiver<Option<KillReason>>,
    shutdown: watch::Receiver<bool>,
    write_timeout: Duration,
    last_write: Instant,
    /// The number of the packet that can follow what was written; `None` inside a packet.
    next_sequence: Option<u8>,
    /// Whole frames to write next.
    pub pending: Vec<u8>,
}

impl<'a> DumpOutput<'a> {
    /// An output to the connection of `client`; `shutdown` is true when the relay is stopping.
    pub fn new(
        connection: &'a mut Connection,
        client: &Client,
        shutdown: watch::Receiver<bool>,
        write_timeout: Duration,
    ) -> Self {
        // The client's next packet is a command, which starts at packet number 0.
        connection.accept_any_sequence();
        Self {
            next_sequence: Some(connection.sequence()),
            connection,
            kill: client.follow_kill(),
            shutdown,
            write_timeout,
            last_write: Instant::now(),
            pending: Vec::new(),
        }
    }

    /// Whether the dump is to end.
    pub fn interruption(&self) -> Option<Interruption> {
        let killed = self.kill.borrow().map(Interruption::Killed);
        killed.or_else(|| self.shutdown.borrow().then_some(Interruption::Shutdown))
    }

    /// Writes the pending bytes in pieces, each within the time limit, and returns their number. `next` is the
    /// number of the packet that can follow them; `None` if they end inside a packet.
    ///
    /// # Errors
    /// The connection failed, the client accepted no data in time, or the dump was interrupted in
    /// the middle of a packet.
    pub async fn write_pending(&mut self, next: Option<u8>) -> Result<u64, DumpEnd> {
        for piece in self.pending.chunks(WRITE_LEN) {
            let write = async {
                self.connection.write_raw(piece).await?;
                self.connection.flush().await
            };
            tokio::select! {
                written = timeout(self.write_timeout, write) => match written {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(DumpEnd::Gone(error)),
                    Err(_) => return Err(DumpEnd::Stalled),
                },
                () = killed(&mut self.kill) => return Err(DumpEnd::Cut),
                () = stopping(&mut self.shutdown) => return Err(DumpEnd::Cut),
            }
        }
        self.last_write = Instant::now();
        self.next_sequence = next;
        let written = self.pending.len() as u64;
        self.pending.clear();
        Ok(written)
    }

    /// Writes an EOF packet with the packet number `sequence` and returns the next one.
    ///
    /// # Errors
    /// The connection failed, or the client accepted no data in time.
    pub async fn write_eof(&mut self, sequence: u8) -> Result<u8, DumpEnd> {
        self.connection.set_sequence(sequence);
        let write = self.connection.write_eof(SERVER_STATUS_AUTOCOMMIT);
        match timeout(self.write_timeout, write).await {
            Ok(Ok(())) => {
                self.next_sequence = Some(self.connection.sequence());
                Ok(self.connection.sequence())
            }
            Ok(Err(error)) => Err(DumpEnd::Gone(error)),
            Err(_) => Err(DumpEnd::Stalled),
        }
    }

    /// When a heartbeat is due that is sent `period` after the last write.
    pub fn heartbeat_due(&self, period: Option<Duration>) -> Option<Instant> {
        period.and_then(|period| self.last_write.checked_add(period))
    }

    /// Waits until the log grows, a heartbeat is due, or the dump is to end.
    ///
    /// # Errors
    /// The connection failed, or the log's writer is gone.
    pub async fn wait(
        &mut self,
        published: &mut watch::Receiver<RelayLogPosition>,
        heartbeat_due: Option<Instant>,
    ) -> Result<Wakeup, DumpEnd> {
        let heartbeat = async {
            match heartbeat_due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Acknowledgements first: the log may always have grown.
            biased;
            received = self.connection.wait_readable_or_closed() => match received {
                Err(error) => Err(DumpEnd::Gone(error)),
                Ok(()) => Ok(Wakeup::Received),
            },
            moved = published.changed() => match moved {
                Ok(()) => Ok(Wakeup::Published),
                Err(_) => Err(DumpEnd::Cut),
            },
            () = heartbeat => Ok(Wakeup::Heartbeat),
            () = killed(&mut self.kill) => Ok(Wakeup::Interrupted),
            () = stopping(&mut self.shutdown) => Ok(Wakeup::Interrupted),
        }
    }

    /// The next packet that the client has sent.
    ///
    /// # Errors
    /// The packet is longer than any that is expected, or invalid.
    pub fn received(&mut self) -> Result<Option<&[u8]>, DumpEnd> {
        match self.connection.buffered_part() {
            Ok(None) => Ok(None),
            Ok(Some(PacketPart::Whole(packet))) => Ok(Some(packet)),
            Ok(Some(_)) => Err(DumpEnd::Cut),
            Err(error) => Err(DumpEnd::Gone(error)),
        }
    }

    /// The packet that was written last asks for an acknowledgement: compressed packets are numbered from
    /// the beginning, which differs between the servers.
    pub fn continue_after_asking(&mut self, flavor: Flavor) {
        let first = match flavor {
            Flavor::MySql => 0,
            Flavor::MariaDb => 1,
        };
        self.connection.set_compressed_sequence(first);
    }

    /// Frees memory that is not needed at the end of the log, down to `len` bytes.
    pub fn release_memory(&mut self, len: usize) {
        self.pending.shrink_to(len);
    }

    /// Leaves the connection so that an error can follow what was written, and returns how the dump ended: without
    /// an error if only a part of an event was written, because the client would take the error for the event's rest.
    pub fn finish(self, end: DumpEnd) -> DumpEnd {
        match (self.next_sequence, end) {
            (Some(sequence), end) => {
                self.connection.set_sequence(sequence);
                end
            }
            (None, DumpEnd::Refused(error)) => {
                let peer = self.connection.peer_name();
                tracing::warn!(peer, %error, "dump ended inside an event: the connection is closed without the error");
                DumpEnd::Cut
            }
            (None, DumpEnd::Complete) => DumpEnd::Cut,
            (None, end) => end,
        }
    }
}
