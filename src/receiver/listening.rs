//! Waiting for a source that sends a dump, and when to give up.

use std::time::Duration;

use tokio::time::Instant;

use super::error::ReceiverError;
use crate::connection::Connection;

/// A source that sends less of a packet than this within its `read_timeout`, in bytes, counts as
/// silent. Far less than the slowest link delivers, so a large event may take long.
const LEN_MIN: usize = 1024;

/// Time since the last received data.
#[derive(Debug)]
pub(super) struct Listening {
    limit: Duration,
    heard: Instant,
    /// How many bytes were buffered then.
    len: usize,
}

impl Listening {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            heard: Instant::now(),
            len: 0,
        }
    }

    /// A packet or a part of one was handled: the time limit starts again.
    pub(super) fn heard(&mut self, connection: &Connection) {
        self.heard = Instant::now();
        self.len = connection.buffered_len();
    }

    /// Reads more of the dump.
    ///
    /// # Errors
    /// When the connection breaks, or too little arrived for too long.
    pub(super) async fn fill(&mut self, connection: &mut Connection) -> Result<(), ReceiverError> {
        match tokio::time::timeout_at(self.heard + self.limit, connection.fill()).await {
            Ok(filled) => filled?,
            Err(_) => return Err(ReceiverError::Silent(self.limit)),
        }
        if connection.buffered_len() >= self.len + LEN_MIN {
            self.heard(connection);
        }
        Ok(())
    }
}
