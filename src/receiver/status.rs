//! The state and the counters of a receiver.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::newest_error::{LastError, NewestError};
use super::semi_sync_status::SemiSyncStatus;
use super::source_end::{END_INTERVAL, SourceEnd};
use super::source_retention::RetentionStatus;
use crate::identity::Executed;
use crate::position::SourcePosition;

/// A source that sent nothing for this long has nothing more to send. Shorter pauses are those of the
/// network while a backlog arrives.
const CAUGHT_UP_AFTER: Duration = Duration::from_millis(500);
/// A source's end that was reported longer ago is not used.
const END_AGE_MAX: Duration = END_INTERVAL.saturating_mul(5);

/// The relay itself does not read what the source sends.
const NOT_READING: u64 = u64::MAX;

/// No number of a path.
const NO_PATH: u32 = u32::MAX;

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
    /// How many seconds the source's clock is ahead of this machine's; 0 when unknown.
    clock_ahead: AtomicI64,
    /// When the source last caught up (only heartbeats since), in milliseconds since `made`; 0 while
    /// it is sending.
    waiting_since: AtomicU64,
    /// When the newest heartbeat arrived, in milliseconds since `made`; 0 before the first one.
    heartbeat_at: AtomicU64,
    heartbeats: Mutex<Heartbeats>,
    /// When the newest packet arrived, in milliseconds since `made`; 0 before the first one, and [`NOT_READING`].
    heard_at: AtomicU64,
    /// The source's own end.
    end: Mutex<Option<ReportedEnd>>,
    /// How often it was reported.
    end_reports: AtomicU64,
    /// Whether the source logs what it replicates, and when it said so.
    logs_replicated: Mutex<Option<(bool, Instant)>>,
    made: Instant,
    /// How long the source keeps its binlogs.
    pub(super) retention: RetentionStatus,
    /// The path that is followed; [`NO_PATH`] before the first connection.
    path: AtomicU32,
    connection: Mutex<ConnectionStatus>,
    /// The number of the newest order that has been carried out.
    pub(super) carried_out: watch::Sender<u64>,
    /// Semi-sync replication.
    pub semi_sync: SemiSyncStatus,
}

/// The part of the status that changes only on connect and disconnect.
#[derive(Debug, Clone)]
struct ConnectionStatus {
    state: SourceState,
    facts: Option<SourceFacts>,
    error: NewestError,
}

/// The heartbeats of a source.
#[derive(Debug, Clone, Default)]
pub(super) struct Heartbeats {
    /// How many arrived.
    pub(super) count: u64,
    /// The position of the dump at the newest one.
    pub(super) position: SourcePosition,
}

/// A source's end, with times in milliseconds since `made`.
#[derive(Debug)]
struct ReportedEnd {
    end: SourceEnd,
    /// When it was first reported.
    since: u64,
    /// When it was last reported.
    at: u64,
}

impl Default for SourceStatus {
    fn default() -> Self {
        let connection = ConnectionStatus {
            state: SourceState::Connecting,
            facts: None,
            error: NewestError::default(),
        };
        Self {
            bytes_received: AtomicU64::new(0),
            received: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            newest_event: AtomicU32::new(0),
            clock_ahead: AtomicI64::new(0),
            waiting_since: AtomicU64::new(0),
            heartbeat_at: AtomicU64::new(0),
            heartbeats: Mutex::default(),
            heard_at: AtomicU64::new(0),
            end: Mutex::new(None),
            end_reports: AtomicU64::new(0),
            logs_replicated: Mutex::new(None),
            path: AtomicU32::new(NO_PATH),
            made: Instant::now(),
            retention: RetentionStatus::default(),
            connection: Mutex::new(connection),
            carried_out: watch::Sender::new(0),
            semi_sync: SemiSyncStatus::default(),
        }
    }
}

impl SourceStatus {
    /// Whether the source logs what it replicates; `None` if it does not say.
    pub fn logs_updates(&self) -> Option<bool> {
        self.retention.logs_updates()
    }

    /// What endangers the relay's way through the source's binlogs, if it is at `needed`.
    pub fn retention_warnings(&self, needed: Option<&str>) -> Vec<String> {
        let end = self.source_end().and_then(|end| end.position);
        let newest = end.as_ref().map(|end| &*end.file);
        self.retention.warnings(needed, newest)
    }

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
        self.connection().error.get().cloned()
    }

    /// How far the relay is behind the source, in seconds: 0 when it has reached the source's end,
    /// otherwise the age of the newest event by the source's clock. `None` when nothing streams.
    /// `position` is the source's durable position, `executed` holds all transactions of the log.
    ///
    /// Without a known end, a source that has sent only heartbeats for a while counts as caught up.
    /// While the difference of the two clocks is not known, they count as equal.
    pub fn seconds_behind(
        &self,
        position: Option<&SourcePosition>,
        executed: Option<&Executed>,
    ) -> Option<u64> {
        if self.state() != SourceState::Streaming {
            return None;
        }
        let is_caught_up = match self.has_reached_end(position, executed) {
            Some(has_reached_end) => has_reached_end,
            None => {
                let since = Duration::from_millis(self.waiting_since.load(Ordering::Relaxed));
                !since.is_zero() && self.made.elapsed() >= since + CAUGHT_UP_AFTER
            }
        };
        if is_caught_up {
            return Some(0);
        }
        let newest = u64::from(self.newest_event.load(Ordering::Relaxed));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let by_its_clock = now.saturating_add_signed(self.clock_ahead.load(Ordering::Relaxed));
        (newest > 0).then(|| by_its_clock.saturating_sub(newest))
    }

    /// Whether the source's end is durable here; `None` when the end is not known.
    fn has_reached_end(
        &self,
        position: Option<&SourcePosition>,
        executed: Option<&Executed>,
    ) -> Option<bool> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let reported = end.as_ref()?;
        let age = Duration::from_millis(self.now().saturating_sub(reported.at));
        let is_known = reported.end.position.is_some() || reported.end.executed.is_some();
        if age > END_AGE_MAX || !is_known {
            return None;
        }
        // A source sends heartbeats when its dump has nothing more to send: then the end has been
        // passed, even if some of it was neither a transaction nor moved the position.
        let was_sent = self.heartbeat_at.load(Ordering::Relaxed) > reported.since
            && self.waiting_since.load(Ordering::Relaxed) > 0;
        Some(was_sent || reported.end.is_reached(position, executed))
    }

    /// Milliseconds since `made`, at least 1.
    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// How often the source has reported its end.
    pub(super) fn end_reports(&self) -> u64 {
        self.end_reports.load(Ordering::Relaxed)
    }

    /// Whether the source logs what it replicates (`log_slave_updates`), and when it last said so;
    /// `None` if it was never asked. Kept while it is away.
    pub fn logs_replicated(&self) -> Option<(bool, Instant)> {
        *self
            .logs_replicated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Records whether the source logs what it replicates.
    pub(super) fn set_logs_replicated(&self, logs: bool) {
        *self
            .logs_replicated
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((logs, Instant::now()));
    }

    /// The source's end, as it was reported last.
    pub fn source_end(&self) -> Option<SourceEnd> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.as_ref().map(|reported| reported.end.clone())
    }

    /// Records the source's end; `None` when it is not known.
    pub(super) fn set_source_end(&self, end: Option<SourceEnd>) {
        let now = self.now();
        let mut known = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match (&*known, &end) {
            (Some(known), Some(end)) if known.end == *end => known.since,
            _ => now,
        };
        *known = end.map(|end| ReportedEnd {
            end,
            since,
            at: now,
        });
        if known.is_some() {
            self.end_reports.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records how many seconds the source's clock is ahead of this machine's; 0 when unknown.
    pub(super) fn set_clock_ahead(&self, seconds: i64) {
        self.clock_ahead.store(seconds, Ordering::Relaxed);
    }

    /// A heartbeat arrived, when the dump was at `position`.
    pub(super) fn note_heartbeat(&self, position: &SourcePosition) {
        self.heartbeat_at.store(self.now(), Ordering::Relaxed);
        self.heard_at.store(self.now(), Ordering::Relaxed);
        let mut heartbeats = self.lock_heartbeats();
        heartbeats.count += 1;
        heartbeats.position = position.clone();
    }

    /// How many heartbeats arrived since the relay's start.
    pub fn heartbeat_count(&self) -> u64 {
        self.lock_heartbeats().count
    }

    /// The heartbeats so far.
    pub(super) fn heartbeats(&self) -> Heartbeats {
        self.lock_heartbeats().clone()
    }

    fn lock_heartbeats(&self) -> MutexGuard<'_, Heartbeats> {
        self.heartbeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_state(&self, state: SourceState) {
        if state == SourceState::Connecting {
            // The connection may have ended while nothing was read.
            let (relaxed, now) = (Ordering::Relaxed, self.now());
            let _ = self
                .heard_at
                .compare_exchange(NOT_READING, now, relaxed, relaxed);
        }
        let mut connection = self.connection();
        // A failure stays visible until the source streams again.
        if !(connection.state == SourceState::Failed && state == SourceState::Connecting) {
            connection.state = state;
        }
        if state == SourceState::Streaming {
            connection.error.end(SystemTime::now());
        }
    }

    /// The number in the log of the path that is followed, or was followed last; `None` before the first
    /// connection.
    pub fn path(&self) -> Option<u16> {
        u16::try_from(self.path.load(Ordering::Relaxed)).ok()
    }

    pub(super) fn set_path(&self, path: u16) {
        self.path.store(path.into(), Ordering::Relaxed);
    }

    pub(super) fn set_facts(&self, facts: &SourceFacts) {
        self.connection().facts = Some(facts.clone());
    }

    /// Records the error that stopped the receiver of `source`.
    pub fn note_error(&self, error: &ReceiverError, source: &str) {
        self.note_error_at(error, source, SystemTime::now());
    }

    fn note_error_at(&self, error: &ReceiverError, source: &str, now: SystemTime) {
        let state = match error.is_failure() {
            true => SourceState::Failed,
            false => SourceState::Connecting,
        };
        let mut connection = self.connection();
        connection.error.note(error, source, now);
        connection.state = state;
    }

    pub(super) fn set_stopped(&self) {
        let mut connection = self.connection();
        if connection.state != SourceState::Failed {
            connection.state = SourceState::Stopped;
        }
    }

    /// The source is followed again, by order: what it had failed for is tried again.
    pub fn set_begun(&self) {
        let mut connection = self.connection();
        connection.state = SourceState::Connecting;
        connection.error.separate();
    }

    /// The last error has ended, although nothing is passed on yet.
    pub(super) fn end_error(&self) {
        self.connection().error.end(SystemTime::now());
    }

    /// The source is not followed, by order.
    pub fn set_stopped_by_order(&self) {
        self.connection().state = SourceState::Stopped;
    }

    /// Whether the newest attempt to follow the source has failed.
    pub fn has_error(&self) -> bool {
        let connection = self.connection();
        let error = connection.error.get();
        error.is_some_and(|error| error.resolved_at.is_none())
    }

    /// Forgets the newest error.
    pub fn clear_error(&self) {
        self.connection().error = NewestError::default();
    }

    pub(super) fn note_carried_out(&self, order: u64) {
        self.carried_out.send_replace(order);
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
        self.heard_at.store(self.now(), Ordering::Relaxed);
    }

    /// Nothing is read until [`SourceStatus::count_bytes`]: the source is not silent meanwhile.
    pub(super) fn pause_reading(&self) {
        self.heard_at.store(NOT_READING, Ordering::Relaxed);
    }

    /// Seconds since the newest packet, heartbeats included; `None` before the first one.
    pub fn silent_seconds(&self) -> Option<u64> {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        (heard_at > 0).then(|| self.now().saturating_sub(heard_at) / 1000)
    }

    /// The source has sent part of a transaction.
    pub(super) fn set_busy(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Everything received was passed on.
    pub(super) fn set_waiting(&self) {
        self.waiting_since.store(self.now(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
