//! Which log files a replica has certainly received.
//!
//! What was sent is in the buffers of two operating systems until the replica reads it, and is lost with the
//! connection. So a file counts as received once more bytes than these buffers hold were sent after it, or the
//! connection lived for longer than the operating system waits for an acknowledgement (`tcp_retries2`). On a
//! compressed connection only the time counts: the buffers hold an unknown number of bytes before compression.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// More than both buffers hold: `tcp_wmem` and `tcp_rmem` are 4 and 6 MiB by default.
const BUFFERED_MAX: u64 = 16 * 1024 * 1024;
/// More than the operating system waits for: 15 minutes by default.
const BUFFERED_TIME: Duration = Duration::from_secs(1000);
/// Files that were left within this time are released together.
const TOGETHER: Duration = Duration::from_millis(100);

/// The files that were sent, and may not have been received.
#[derive(Debug, Default)]
pub struct Unreceived {
    left: VecDeque<Left>,
    /// Whether the connection is compressed.
    pub is_compressed: bool,
}

/// The stream has left a file.
#[derive(Debug)]
struct Left {
    file: u64,
    /// Bytes that were sent until then.
    sent: u64,
    at: Instant,
}

impl Unreceived {
    /// The stream leaves `file`, after `sent` bytes of the connection.
    pub fn leave(&mut self, file: u64, sent: u64, now: Instant) {
        self.release(sent, now);
        match self.left.back_mut() {
            Some(last) if now.duration_since(last.at) < TOGETHER => last.sent = sent,
            _ => self.left.push_back(Left {
                file,
                sent,
                at: now,
            }),
        }
    }

    /// The oldest file that may not have been received; `None` if only the one that is being sent.
    pub fn oldest(&mut self, sent: u64, now: Instant) -> Option<u64> {
        self.release(sent, now);
        self.left.front().map(|left| left.file)
    }

    fn release(&mut self, sent: u64, now: Instant) {
        let is_compressed = self.is_compressed;
        let is_received = |left: &mut Left| {
            !is_compressed && sent.saturating_sub(left.sent) >= BUFFERED_MAX
                || now.duration_since(left.at) >= BUFFERED_TIME
        };
        while self.left.pop_front_if(is_received).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_received_after_enough_bytes_or_time() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut unreceived = Unreceived::default();
        assert_eq!(unreceived.oldest(0, at(0)), None);
        unreceived.leave(1, 1000, at(0));
        unreceived.leave(2, 2000, at(50)); // Together with the first.
        unreceived.leave(3, 3000, at(200));
        assert_eq!(unreceived.oldest(3000, at(200)), Some(1));
        assert_eq!(unreceived.oldest(BUFFERED_MAX + 1999, at(300)), Some(1));
        assert_eq!(unreceived.oldest(BUFFERED_MAX + 2000, at(300)), Some(3));
        assert_eq!(unreceived.oldest(4000, at(1_000_199)), Some(3));
        assert_eq!(unreceived.oldest(4000, at(1_000_200)), None);
    }

    #[test]
    fn compressed_file_is_received_after_time_alone() {
        let begin = Instant::now();
        let mut unreceived = Unreceived {
            is_compressed: true,
            ..Unreceived::default()
        };
        unreceived.leave(1, 1000, begin);
        let sent = 1000 * BUFFERED_MAX;
        assert_eq!(unreceived.oldest(sent, begin), Some(1));
        assert_eq!(unreceived.oldest(sent, begin + BUFFERED_TIME), None);
    }
}
