//! Writing to stdout without the panic that `println!` ends in once the reader has gone.

use std::io::{self, ErrorKind, StdoutLock, Write};

/// stdout, where a broken pipe is told from one elsewhere. Line-buffered.
pub struct Stdout(StdoutLock<'static>);

impl Stdout {
    /// Takes stdout for as long as the value lives.
    pub fn lock() -> Stdout {
        Stdout(io::stdout().lock())
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(mark)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(mark)
    }
}

/// The reader of stdout has gone. A mark inside an [`io::Error`], so that it passes through the
/// library's errors as the cause of theirs.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct Closed;

/// The error of a write to a closed stdout.
pub(super) fn closed() -> io::Error {
    io::Error::new(ErrorKind::BrokenPipe, Closed)
}

fn mark(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe {
        closed()
    } else {
        error
    }
}

/// Whether an error, or any cause of it, is that stdout was closed.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .is_some_and(|inner| inner.is::<Closed>())
    })
}
