//! What a receiver reports of itself.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{ReceiverError, SourceFacts};

/// A source that had nothing to send for this long has nothing more. Shorter pauses are those of
/// the network while a backlog comes.
const CAUGHT_UP_AFTER: Duration = Duration::from_millis(500);

/// What a receiver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// It connects, or waits to try again.
    Connecting,
    /// It takes in events.
    Streaming,
    /// It was stopped.
    Stopped,
    /// Somebody must change something first; the error says what.
    Failed,
}

impl SourceState {
    /// The name in `status`.
    pub fn name(self) -> &'static str {
        match self {
            SourceState::Connecting => "connecting",
            SourceState::Streaming => "streaming",
            SourceState::Stopped => "stopped",
            SourceState::Failed => "failed",
        }
    }
}

/// The newest error of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// The server's error code; 0 when it is none of a server's.
    pub code: u16,
    /// What happened and what to do.
    pub message: String,
    /// When.
    pub at: SystemTime,
}

/// One source's figures. They are changed once per batch of events at most.
#[derive(Debug)]
pub struct SourceStatus {
    /// Bytes of events taken in.
    pub bytes_received: AtomicU64,
    /// Transactions taken in, copies included.
    pub received: AtomicU64,
    /// Connections lost or not made.
    pub reconnects: AtomicU64,
    /// The newest event's time, in seconds since 1970 by the origin's clock; 0 when unknown.
    newest_event: AtomicU32,
    /// Since when nothing but heartbeats has come and all before was taken in: milliseconds since
    /// `made`; 0 when something is under way.
    waiting_since: AtomicU64,
    made: Instant,
    slow: Mutex<SlowFacts>,
}

/// What changes with connections only.
#[derive(Debug, Clone)]
struct SlowFacts {
    state: SourceState,
    facts: Option<SourceFacts>,
    last_error: Option<LastError>,
}

impl Default for SourceStatus {
    fn default() -> Self {
        let slow = SlowFacts {
            state: SourceState::Connecting,
            facts: None,
            last_error: None,
        };
        Self {
            bytes_received: AtomicU64::new(0),
            received: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            newest_event: AtomicU32::new(0),
            waiting_since: AtomicU64::new(0),
            made: Instant::now(),
            slow: Mutex::new(slow),
        }
    }
}

impl SourceStatus {
    fn slow(&self) -> MutexGuard<'_, SlowFacts> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the receiver does.
    pub fn state(&self) -> SourceState {
        self.slow().state
    }

    /// Who answers at the source, or answered last.
    pub fn facts(&self) -> Option<SourceFacts> {
        self.slow().facts.clone()
    }

    /// The newest error; kept after the source is well again, with its time.
    pub fn last_error(&self) -> Option<LastError> {
        self.slow().last_error.clone()
    }

    /// How far behind the source's clock the newest event is, in seconds; `None` when nothing
    /// streams.
    pub fn seconds_behind(&self) -> Option<u64> {
        if self.state() != SourceState::Streaming {
            return None;
        }
        let since = Duration::from_millis(self.waiting_since.load(Ordering::Relaxed));
        if !since.is_zero() && self.made.elapsed() >= since + CAUGHT_UP_AFTER {
            return Some(0);
        }
        let newest = u64::from(self.newest_event.load(Ordering::Relaxed));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        (newest > 0).then(|| now.saturating_sub(newest))
    }

    pub(super) fn set_state(&self, state: SourceState) {
        let mut slow = self.slow();
        // A failure stays visible until the source streams again.
        if !(slow.state == SourceState::Failed && state == SourceState::Connecting) {
            slow.state = state;
        }
    }

    pub(super) fn set_facts(&self, facts: &SourceFacts) {
        self.slow().facts = Some(facts.clone());
    }

    /// Notes what stopped a receiver, and whether somebody must mend it.
    pub fn note_error(&self, error: &ReceiverError) {
        let state = match error.is_failure() {
            true => SourceState::Failed,
            false => SourceState::Connecting,
        };
        let mut slow = self.slow();
        slow.state = state;
        let (code, message) = (error.code(), error.to_line());
        slow.last_error = Some(LastError {
            code,
            message,
            at: SystemTime::now(),
        });
    }

    pub(super) fn set_stopped(&self) {
        let mut slow = self.slow();
        if slow.state != SourceState::Failed {
            slow.state = SourceState::Stopped;
        }
    }

    pub(super) fn count_reconnect(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
        self.set_busy();
    }

    pub(super) fn count_batch(&self, transactions: usize, newest_event: Option<u32>) {
        self.received
            .fetch_add(transactions as u64, Ordering::Relaxed);
        if let Some(newest) = newest_event {
            self.newest_event.store(newest, Ordering::Relaxed);
        }
    }

    pub(super) fn count_bytes(&self, bytes: u64) {
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The source has sent part of something.
    pub(super) fn set_busy(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// All that came was taken in.
    pub(super) fn set_waiting(&self) {
        let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waiting_since.store(now.max(1), Ordering::Relaxed);
    }
}
