//! The byte stream under a connection, compressed or not.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::compressed::CompressedStream;
use super::stream::Stream;

/// The byte stream under a connection.
pub(super) enum Transport {
    Plain(Stream),
    Compressed(Box<CompressedStream>),
}

impl Transport {
    /// The socket, with or without TLS.
    pub(super) fn stream(&self) -> &Stream {
        match self {
            Transport::Plain(stream) => stream,
            Transport::Compressed(compressed) => compressed.inner(),
        }
    }

    /// Restarts the numbers of compressed packets.
    pub(super) fn begin_command(&mut self) {
        if let Transport::Compressed(compressed) = self {
            compressed.begin_command();
        }
    }

    /// See [`CompressedStream::begin_semi_sync`].
    pub(super) fn begin_semi_sync(&mut self) {
        if let Transport::Compressed(compressed) = self {
            compressed.begin_semi_sync();
        }
    }

    /// Sets the number of the next compressed packet to send.
    pub(super) fn set_sent_sequence(&mut self, sequence: u8) {
        if let Transport::Compressed(compressed) = self {
            compressed.set_sent_sequence(sequence);
        }
    }

    /// Accepts any number for the next compressed packet to read.
    pub(super) fn accept_any_sequence(&mut self) {
        if let Transport::Compressed(compressed) = self {
            compressed.accept_any_sequence();
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Compressed(compressed) => Pin::new(compressed).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Compressed(compressed) => Pin::new(compressed).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Transport::Compressed(compressed) => {
                Pin::new(compressed).poll_write_vectored(cx, slices)
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Compressed(compressed) => Pin::new(compressed).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Compressed(compressed) => Pin::new(compressed).poll_shutdown(cx),
        }
    }
}
