//! The compressed protocol: the bytes of a connection, packet headers included, in packets of their own.
//!
//! ```text
//! ┌─────────────┬────────┬──────────────────────────────────────┬─────────┐
//! │ length (3)  │ number │ length before compression (3); zero: │ payload │
//! │ of payload  │  (1)   │ the payload is not compressed        │         │
//! └─────────────┴────────┴──────────────────────────────────────┴─────────┘
//! ```
//! Such a packet holds any part of the stream of ordinary packets. The numbers start at 0 with each
//! command and count the packets of both directions.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::compression::{Compression, Packer, Unpacker};
use super::stream::Stream;

const HEADER_LEN: usize = 7;
/// Fewer bytes than these are sent as they are, as by servers.
const PACKED_LEN_MIN: usize = 50;
/// The most bytes that are compressed together.
const CHUNK_LEN_MAX: usize = 64 << 10;
/// Size of the buffer of received bytes.
const INPUT_LEN: usize = 16 << 10;

/// The position in the received packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a packet.
    Header,
    /// In a payload that is not compressed: `left` bytes have not been returned.
    Stored { left: usize },
    /// In a compressed payload.
    Packed(Left),
}

/// The rest of a compressed payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    /// Bytes of it that were not decompressed.
    packed: usize,
    /// Bytes that its header announces and that were not returned; at most 16 MiB, but never allocated.
    unpacked: usize,
    /// Whether the decompressor has returned all that it can without more input.
    is_drained: bool,
}

/// The outcome of reading from the buffer.
enum Step {
    /// The caller was given this many bytes.
    Returned(usize),
    /// Nothing to return yet, but the state has changed.
    Moved,
    /// More bytes must be received.
    Incomplete,
}

/// A stream of compressed packets over another stream.
pub(super) struct CompressedStream {
    inner: Stream,
    algorithm: Compression,
    /// Received bytes; those in `start..end` were not processed.
    input: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
    /// Created with the first compressed packet: most clients send only short ones.
    unpacker: Option<Unpacker>,
    packer: Packer,
    /// One packet to be sent; `sent` bytes of it were.
    output: Vec<u8>,
    sent: usize,
    /// The number of the next packet in either direction; only of the next one to be sent, if
    /// `is_semi_sync`.
    sequence: u8,
    any_sequence: bool,
    /// Whether the numbers of received packets are ignored.
    is_semi_sync: bool,
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

impl CompressedStream {
    pub(super) fn new(inner: Stream, algorithm: Compression) -> io::Result<CompressedStream> {
        Ok(CompressedStream {
            inner,
            algorithm,
            input: vec![0; INPUT_LEN].into_boxed_slice(),
            start: 0,
            end: 0,
            state: State::Header,
            unpacker: None,
            packer: Packer::new(algorithm)?,
            output: Vec::new(),
            sent: 0,
            sequence: 0,
            any_sequence: false,
            is_semi_sync: false,
        })
    }

    /// The stream below.
    pub(super) fn inner(&self) -> &Stream {
        &self.inner
    }

    /// Restarts the packet numbers.
    pub(super) fn begin_command(&mut self) {
        self.sequence = 0;
        self.any_sequence = false;
        self.is_semi_sync = false;
    }

    /// From now on, both directions have numbers of their own, and those of received packets are
    /// ignored: servers differ in them after an acknowledgement.
    pub(super) fn begin_semi_sync(&mut self) {
        self.is_semi_sync = true;
    }

    /// Sets the number of the next packet to send.
    pub(super) fn set_sent_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }

    /// Accepts any number for the next packet to receive.
    pub(super) fn accept_any_sequence(&mut self) {
        self.any_sequence = true;
    }

    /// Returns bytes from those that were received. `output` has space.
    fn step(&mut self, output: &mut [u8]) -> io::Result<Step> {
        let received = self.input.get(self.start..self.end).unwrap_or_default();
        match self.state {
            State::Header => {
                let Some((header, _)) = received.split_first_chunk::<HEADER_LEN>() else {
                    return Ok(Step::Incomplete);
                };
                let header = *header;
                self.start += HEADER_LEN;
                self.begin_packet(header)?;
                Ok(Step::Moved)
            }
            State::Stored { left } => {
                let len = received.len().min(left).min(output.len());
                if let (Some(to), Some(from)) = (output.get_mut(..len), received.get(..len)) {
                    to.copy_from_slice(from);
                }
                self.start += len;
                self.state = match left - len {
                    0 => State::Header,
                    left => State::Stored { left },
                };
                Ok(match len {
                    0 if left > 0 => Step::Incomplete,
                    0 => Step::Moved,
                    len => Step::Returned(len),
                })
            }
            State::Packed(_) => self.unpack(output),
        }
    }

    fn begin_packet(&mut self, header: [u8; HEADER_LEN]) -> io::Result<()> {
        let [a, b, c, sequence, d, e, f] = header;
        let length =
            |a: u8, b: u8, c: u8| usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        let (left, unpacked) = (length(a, b, c), length(d, e, f));
        if !self.is_semi_sync {
            if sequence != self.sequence && !self.any_sequence {
                let expected = self.sequence;
                return Err(invalid(format!(
                    "compressed packet number {sequence} instead of {expected}"
                )));
            }
            self.sequence = sequence.wrapping_add(1);
            self.any_sequence = false;
        }
        if unpacked == 0 {
            self.state = State::Stored { left };
            return Ok(());
        }
        match &mut self.unpacker {
            Some(unpacker) => unpacker.restart()?,
            none => *none = Some(Unpacker::new(self.algorithm)?),
        }
        self.state = State::Packed(Left {
            packed: left,
            unpacked,
            is_drained: true,
        });
        Ok(())
    }

    fn unpack(&mut self, output: &mut [u8]) -> io::Result<Step> {
        let (State::Packed(left), Some(unpacker)) = (self.state, &mut self.unpacker) else {
            return Err(invalid("no compressed packet was begun".to_owned()));
        };
        let received = self.input.get(self.start..self.end).unwrap_or_default();
        let input = received.get(..left.packed).unwrap_or(received);
        if input.is_empty() && left.packed > 0 && left.is_drained {
            return Ok(Step::Incomplete);
        }
        // After the last byte the end of the compressed stream must follow, not another byte.
        let mut surplus = [0];
        let space = match left.unpacked {
            0 => &mut surplus[..],
            most => {
                let len = most.min(output.len());
                output.get_mut(..len).unwrap_or_default()
            }
        };
        let space_len = space.len();
        let done = unpacker.unpack(input, space)?;
        let packed = left.packed.saturating_sub(done.consumed);
        let unpacked = left.unpacked.checked_sub(done.produced);
        let is_stuck =
            done.consumed == 0 && done.produced == 0 && (packed == 0 || !input.is_empty());
        self.start += done.consumed;
        match unpacked {
            Some(0) if done.is_end && packed == 0 => self.state = State::Header,
            Some(unpacked) if !done.is_end && !is_stuck => {
                let is_drained = done.produced < space_len;
                self.state = State::Packed(Left {
                    packed,
                    unpacked,
                    is_drained,
                });
            }
            _ => {
                let text = "a compressed packet has another length than its header says";
                return Err(invalid(text.to_owned()));
            }
        }
        Ok(match done.produced {
            0 => Step::Moved,
            count => Step::Returned(count),
        })
    }

    /// Receives more bytes; none when the peer has closed.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut free = ReadBuf::new(self.input.get_mut(self.end..).unwrap_or_default());
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut free))?;
        let count = free.filled().len();
        self.end += count;
        Poll::Ready(Ok(count))
    }

    /// Makes a packet of `chunk`, after the one before was sent.
    fn pack(&mut self, chunk: &[u8]) {
        self.output.resize(HEADER_LEN + chunk.len(), 0);
        let Some((header, payload)) = self.output.split_first_chunk_mut::<HEADER_LEN>() else {
            return;
        };
        let packed = match chunk.len() < PACKED_LEN_MIN {
            true => None,
            false => self.packer.pack(chunk, payload),
        };
        let (length, unpacked) = match packed.filter(|length| *length < chunk.len()) {
            Some(length) => (length, chunk.len()),
            None => {
                payload.copy_from_slice(chunk);
                (chunk.len(), 0)
            }
        };
        let ([a, b, c, ..], [d, e, f, ..]) = (length.to_le_bytes(), unpacked.to_le_bytes());
        *header = [a, b, c, self.sequence, d, e, f];
        self.sequence = self.sequence.wrapping_add(1);
        self.output.truncate(HEADER_LEN + length);
    }

    /// Sends the packet that was made.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.output.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for CompressedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let space = buf.initialize_unfilled();
            if space.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match this.step(space)? {
                Step::Returned(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Step::Moved => {}
                Step::Incomplete => {
                    if ready!(this.receive(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl AsyncWrite for CompressedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(this.send(cx))?;
        let chunk = bytes.get(..CHUNK_LEN_MAX).unwrap_or(bytes);
        this.pack(chunk);
        // The next write or flush sends what the socket does not accept now.
        match this.send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(chunk.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.send(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.send(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
