//! Waiting for a source that sends a dump, and when to give it up.

use std::time::Duration;

use tokio::time::Instant;

use super::error::ReceiverError;
use crate::connection::Connection;

/// A source that sends less than this much of a packet within its `read_timeout`, in bytes, is as
/// good as silent. Far less than the slowest link brings, so that a large event may take long.
const LEN_MIN: usize = 1024;

/// The time since something came.
#[derive(Debug)]
pub(super) struct Listening {
    limit: Duration,
    heard: Instant,
    /// What was buffered then.
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

    /// A packet or a part of one was taken in, and the next may take its time.
    pub(super) fn heard(&mut self, connection: &Connection) {
        self.heard = Instant::now();
        self.len = connection.buffered_len();
    }

    /// Reads more of the dump.
    ///
    /// # Errors
    /// When the connection breaks, or too little has come for too long.
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
