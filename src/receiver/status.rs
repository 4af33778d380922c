//! The state and the counters of a receiver.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::error::ReceiverError;
use super::facts::SourceFacts;

/// A source that sent nothing for this long has nothing more to send. Shorter pauses are those of the
/// network while a backlog arrives.
const CAUGHT_UP_AFTER: Duration = Duration::from_millis(500);

/// The state of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// It connects, or waits to retry.
    Connecting,
    /// It receives events.
    Streaming,
    /// The relay stopped it.
    Stopped,
    /// An administrator must act; the error says how.
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
    /// The server's error code; 0 if it is not a server error.
    pub code: u16,
    /// The problem and its remedy.
    pub message: String,
    /// The time of the error.
    pub at: SystemTime,
}

/// One source's counters and state. The counters change at most once per batch of events.
#[derive(Debug)]
pub struct SourceStatus {
    /// Bytes of events received.
    pub bytes_received: AtomicU64,
    /// Transactions received, copies included.
    pub received: AtomicU64,
    /// Connections lost or not established.
    pub reconnects: AtomicU64,
    /// The newest event's time, in seconds since 1970 by the origin's clock; 0 when unknown.
    newest_event: AtomicU32,
    /// When the source last caught up (only heartbeats since), in milliseconds since `made`; 0 while
    /// it is sending.
    waiting_since: AtomicU64,
    made: Instant,
    connection: Mutex<ConnectionStatus>,
}

/// The part of the status that changes only on connect and disconnect.
#[derive(Debug, Clone)]
struct ConnectionStatus {
    state: SourceState,
    facts: Option<SourceFacts>,
    last_error: Option<LastError>,
}

impl Default for SourceStatus {
    fn default() -> Self {
        let connection = ConnectionStatus {
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
            connection: Mutex::new(connection),
        }
    }
}

impl SourceStatus {
    fn connection(&self) -> MutexGuard<'_, ConnectionStatus> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiver's state.
    pub fn state(&self) -> SourceState {
        self.connection().state
    }

    /// The server that answers at the source, or that answered last.
    pub fn facts(&self) -> Option<SourceFacts> {
        self.connection().facts.clone()
    }

    /// The newest error, with its time; kept after the source has recovered.
    pub fn last_error(&self) -> Option<LastError> {
        self.connection().last_error.clone()
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
        let mut connection = self.connection();
        // A failure stays visible until the source streams again.
        if !(connection.state == SourceState::Failed && state == SourceState::Connecting) {
            connection.state = state;
        }
    }

    pub(super) fn set_facts(&self, facts: &SourceFacts) {
        self.connection().facts = Some(facts.clone());
    }

    /// Records the error that stopped a receiver.
    pub fn note_error(&self, error: &ReceiverError) {
        let state = match error.is_failure() {
            true => SourceState::Failed,
            false => SourceState::Connecting,
        };
        let mut connection = self.connection();
        connection.state = state;
        let (code, message) = (error.code(), error.to_line());
        connection.last_error = Some(LastError {
            code,
            message,
            at: SystemTime::now(),
        });
    }

    pub(super) fn set_stopped(&self) {
        let mut connection = self.connection();
        if connection.state != SourceState::Failed {
            connection.state = SourceState::Stopped;
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

    /// The source has sent part of a transaction.
    pub(super) fn set_busy(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Everything received was passed on.
    pub(super) fn set_waiting(&self) {
        let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waiting_since.store(now.max(1), Ordering::Relaxed);
    }
}
