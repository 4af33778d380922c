//! Writing to stdout without the panic of `println!` when the reader has closed the pipe.

use std::io::{self, ErrorKind, StdoutLock, Write};

/// stdout, line-buffered. A broken pipe here is distinguished from one elsewhere.
pub struct Stdout(StdoutLock<'static>);

impl Stdout {
    /// Locks stdout for as long as the value lives.
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

/// The reader of stdout has closed the pipe. It is carried inside an [`io::Error`], so that it
/// passes through the library's errors as their cause.
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

/// Whether an error, or one of its causes, is a closed stdout.
pub(super) fn is_closed(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .is_some_and(|inner| inner.is::<Closed>())
    })
}
