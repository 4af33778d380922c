//! The state of all stages in one snapshot: the answer to `binrelay status`.
//!
//! The names are those of the JSON that scripts rely on; unknown values are null.

mod bytes_behind;
mod degraded;
mod missing;
mod only_here;
mod source_list;
mod space;

pub use source_list::SourceList;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::config::{AlertConfig, SourceConfig};
use crate::conflicts::Conflicts;
use crate::gtid::Uuid;
use crate::identity::Executed;
use crate::log_thread::SourceCounters;
use crate::receiver::{ContinueRequest, SourceState, SourceStatus};
use crate::relay_log::{
    Condition, DurationReport, LogState, RelayLog, RelayLogPosition, ReplicaAcknowledgements,
    SourceProgress,
};
use crate::sender::{ReplicaReport, Replicas};
use crate::utc;

/// `semi_sync_wait` after a timeout.
const TIMED_OUT: &str = "timed_out";

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The relay itself.
    pub relay: RelayReport,
    /// Each configured source.
    pub sources: Vec<SourceReport>,
    /// Each replica that is connected now, then those that were and are `missing`.
    pub replicas: Vec<ReplicaReport>,
}

/// The relay itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayReport {
    /// binrelay's version.
    pub version: String,
    /// Its server_id.
    pub server_id: u32,
    /// Its server_uuid.
    pub server_uuid: String,
    /// `mysql` or `mariadb`; null until the first source has answered.
    pub flavor: Option<String>,
    /// `starting`, `running`, `disk_full` or `failed`.
    pub state: String,
    /// The newest log file.
    pub file: Option<String>,
    /// Its published end.
    pub position: Option<u64>,
    /// All transactions in the log or before it; MariaDB: the newest of each domain.
    pub gtid_executed: String,
    /// All transactions before the log.
    pub gtid_purged: String,
    /// Since the start.
    pub uptime_seconds: u64,
    /// Whether acknowledgements to the sources wait for replicas (`semi_sync_wait_for_replicas`): `on`, or
    /// `timed_out` until the replicas have caught up; null when that is not configured.
    #[serde(default)]
    pub semi_sync_wait: Option<String>,
    /// Why the log is not `running`.
    pub last_error: Option<ErrorReport>,
    /// Bytes of all log files and their indexes.
    #[serde(default)]
    pub log_bytes: Option<u64>,
    /// The number of log files.
    #[serde(default)]
    pub log_files: Option<u64>,
    /// When the oldest log file was begun, in UTC.
    #[serde(default)]
    pub log_begins_at: Option<String>,
    /// `expire_after`; null if log files do not expire.
    #[serde(default)]
    pub expire_after_seconds: Option<u64>,
    /// `max_total_size`; null without a limit.
    #[serde(default)]
    pub max_total_size: Option<u64>,
    /// How long syncs of the log take.
    #[serde(default)]
    pub commit_sync: DurationReport,
    /// How long what is received waits until it may be served.
    #[serde(default)]
    pub publish_latency: DurationReport,
    /// Clients that are logged in.
    #[serde(default)]
    pub connections: u64,
    /// Logins that failed since the start.
    #[serde(default)]
    pub login_failures: u64,
    /// Free bytes of the file system of `data_dir`.
    #[serde(default)]
    pub disk_free_bytes: Option<u64>,
    /// In how many seconds it is full at the rate of the last hour; null if it is not being filled, or the rate is
    /// not known.
    #[serde(default)]
    pub disk_full_seconds: Option<u64>,
    /// Conflicts of the sources since the start; null where they are not detected.
    #[serde(default)]
    pub conflicts: Option<u64>,
    /// What an administrator must look at, a sentence each; empty when all is well.
    #[serde(default)]
    pub degraded: Vec<String>,
}

/// One source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The channel's name.
    pub name: String,
    /// As configured.
    pub host: String,
    /// As configured.
    pub port: u16,
    /// `connecting`, `streaming`, `stopped` or `failed`.
    pub state: String,
    /// The source's server_id.
    pub server_id: Option<u32>,
    /// The source's server_uuid; null on MariaDB.
    pub server_uuid: Option<String>,
    /// The version that it reports.
    pub server_version: Option<String>,
    /// The source's own binlog file up to which everything is durable here.
    pub file: Option<String>,
    /// The position in it.
    pub position: Option<u64>,
    /// MySQL: all transactions that the relay log holds; MariaDB: the newest of each domain from this
    /// source.
    pub gtid_received: String,
    /// 0 when the source's end is durable here, otherwise the age of the newest event; null when not
    /// streaming.
    pub seconds_behind: Option<u64>,
    /// Since the relay's start.
    pub transactions: TransactionCounts,
    /// Since the relay's start.
    pub bytes_received: u64,
    /// Connections lost or not established since the relay's start.
    pub reconnects: u64,
    /// The protection of its connection: TLS version, cipher and verification, or `none`; null before
    /// the first connection.
    #[serde(default)]
    pub tls: Option<String>,
    /// Since its newest packet, heartbeats included; null before the first one.
    #[serde(default)]
    pub silent_seconds: Option<u64>,
    /// Whether the source waits for the relay's acknowledgements.
    pub semi_sync: bool,
    /// Acknowledgements sent to the source since the relay's start.
    #[serde(default)]
    pub semi_sync_acks: u64,
    /// Why the source does not wait although `semi_sync` is set.
    #[serde(default)]
    pub semi_sync_problem: Option<String>,
    /// Transactions in the relay log that no other source has; null where that is not known.
    pub only_here: Option<u64>,
    /// The newest error.
    pub last_error: Option<ErrorReport>,
    /// Whether the relay log refuses the source's transactions.
    #[serde(default)]
    pub is_refused: bool,
    /// Transactions of its own server that count as copies, and could not be compared with what was delivered, because
    /// it was removed: since the relay's start, or since an administrator has continued the source.
    #[serde(default)]
    pub unverified: u64,
    /// The GTID of the first of them.
    #[serde(default)]
    pub first_unverified: Option<String>,
    /// What was changed at run time and differs from the configuration file: its keys, or `added`.
    #[serde(default)]
    pub changed: Vec<String>,
}

/// How a source's transactions were handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TransactionCounts {
    /// Received.
    pub received: u64,
    /// Appended to the log.
    pub kept: u64,
    /// Dropped as second copies.
    pub duplicate: u64,
    /// Kept transactions that the filter emptied.
    pub filtered: u64,
    /// Transactions that the source has logged a second time; they also count as kept or duplicate.
    pub repeated: u64,
}

/// An error with its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The server's error code; 0 if it is not a server error.
    pub code: u16,
    /// The problem and its remedy.
    pub message: String,
    /// When it first occurred, in UTC.
    pub at: String,
    /// When it ended, in UTC: the source has streamed since. Null until then.
    #[serde(default)]
    pub resolved_at: Option<String>,
}

/// The parts of one source that report.
#[derive(Debug, Clone)]
pub struct SourceParts {
    /// Its number: that of its first path in the log.
    pub number: u16,
    /// Its settings.
    pub config: SourceConfig,
    /// What differs from the configuration file.
    pub changed: Vec<&'static str>,
    /// The receiver's state and counters.
    pub status: Arc<SourceStatus>,
    /// The relay log's counters.
    pub counters: Arc<SourceCounters>,
    /// Where an administrator's decisions are sent to.
    pub deciding: mpsc::Sender<ContinueRequest>,
}

/// The parts of the relay that report.
#[derive(Debug)]
pub struct Parts {
    /// The relay's server_id.
    pub server_id: u32,
    /// The relay's server_uuid.
    pub server_uuid: Uuid,
    /// When it started.
    pub started: Instant,
    /// The sources, in the order of the configuration.
    pub sources: SourceList,
    /// Their conflicts; `None` where these are not detected.
    pub conflicts: Option<Arc<Conflicts>>,
    /// What the replicas have acknowledged.
    pub acknowledged: Arc<ReplicaAcknowledgements>,
    /// What makes the relay degraded.
    pub alert: Mutex<AlertConfig>,
}

impl Parts {
    /// The snapshot. There is no `log` until the first source has answered.
    pub fn report(&self, log: Option<&RelayLog>, clients: &Replicas) -> Report {
        let mut replicas = clients.report();
        let state_and_end = log.map(|log| {
            let state = log.state();
            // The published end belongs to the state while it is locked.
            (state.clone(), log.published())
        });
        let (state, end) = state_and_end.unzip();
        let list = self.sources.now();
        let sources = list.iter().map(|source| SourceReport {
            only_here: state
                .as_ref()
                .and_then(|state| only_here(source, &list, state)),
            ..source.report_in(state.as_ref())
        });
        if let Some(log) = log {
            let missing = missing::missing(log, &replicas);
            replicas.extend(missing);
            bytes_behind::set(log, &mut replicas);
        }
        let mut report = Report {
            relay: RelayReport {
                connections: clients.clients().len() as u64,
                login_failures: clients.counters.login_failures.load(Ordering::Relaxed),
                ..self.relay(log, state.as_ref(), end)
            },
            sources: sources.collect(),
            replicas,
        };
        let reasons = degraded::reasons(&report, &self.alert());
        report.relay.degraded.splice(..0, reasons);
        report
    }

    fn alert(&self) -> AlertConfig {
        *self.alert.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what makes the relay degraded.
    pub fn set_alert(&self, alert: AlertConfig) {
        *self.alert.lock().unwrap_or_else(PoisonError::into_inner) = alert;
    }

    /// The conflicts of the sources, where they are detected: one source cannot be in conflict, but may have been with
    /// another that was removed.
    pub fn found_conflicts(&self) -> Option<&Arc<Conflicts>> {
        let conflicts = self.conflicts.as_ref();
        conflicts.filter(|found| self.sources.now().len() > 1 || found.count() > 0)
    }

    fn relay(
        &self,
        log: Option<&RelayLog>,
        state: Option<&LogState>,
        end: Option<RelayLogPosition>,
    ) -> RelayReport {
        let (name, error) = match log.map(RelayLog::condition) {
            None => ("starting", None),
            Some(Condition::Running) => ("running", None),
            Some(Condition::DiskFull(message)) => ("disk_full", Some(message)),
            Some(Condition::Failed(message)) => ("failed", Some(message)),
        };
        RelayReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            server_id: self.server_id,
            server_uuid: self.server_uuid.to_string(),
            flavor: state.map(|state| state.executed.flavor().name().to_owned()),
            state: name.to_owned(),
            file: log
                .zip(end)
                .map(|(log, end)| log.log_dir().file_name(end.file)),
            position: end.map(|end| end.offset),
            gtid_executed: state
                .map(|state| state.executed.to_text())
                .unwrap_or_default(),
            gtid_purged: state
                .map(|state| state.purged.to_text())
                .unwrap_or_default(),
            uptime_seconds: self.started.elapsed().as_secs(),
            semi_sync_wait: self.acknowledged.are_waited_for().then(|| {
                let has_timed_out = self.acknowledged.have_timed_out();
                if has_timed_out { TIMED_OUT } else { "on" }.to_owned()
            }),
            last_error: log
                .zip(error)
                .map(|(log, message)| ErrorReport::new(0, message, log.condition_since())),
            conflicts: self.found_conflicts().map(|found| found.count()),
            ..self.space(log, state)
        }
    }
}

/// How many transactions only `source` of `list` has. Each source is the server that answers now: another one at
/// its address, or a source that was removed, may be gone.
fn only_here(source: &SourceParts, list: &[SourceParts], state: &LogState) -> Option<u64> {
    let others = list.iter().filter(|other| other.number != source.number);
    match &state.executed {
        Executed::Anonymous => None,
        Executed::MySql(executed) => {
            let others: Vec<(Option<Uuid>, Option<Executed>)> = others
                .map(|source| {
                    let uuid = source.status.facts().and_then(|facts| facts.server_uuid);
                    let end = source.status.source_end().and_then(|end| end.executed);
                    (uuid.and_then(|uuid| uuid.parse().ok()), end)
                })
                .collect();
            let others = others.iter().map(|(uuid, end)| (*uuid, end.as_ref()));
            only_here::mysql(executed, others)
        }
        Executed::MariaDb(_) => {
            let own = state.sources.get(source.path())?;
            let others = others.filter_map(|other| state.sources.get(other.path()));
            let sent = others.map(|other| (other.server_id, &other.sent));
            only_here::mariadb(own.server_id, &own.sent, sent)
        }
    }
}

impl SourceParts {
    /// The number of the path that is followed: another one than its first if another server answers at its address.
    pub fn path(&self) -> usize {
        self.status.path().unwrap_or(self.number).into()
    }

    /// The report, without `only_here`.
    pub fn report_in(&self, state: Option<&LogState>) -> SourceReport {
        let progress = state.and_then(|state| state.sources.get(self.path()));
        self.report(state, progress)
    }

    fn report(&self, state: Option<&LogState>, progress: Option<&SourceProgress>) -> SourceReport {
        let progress = progress.filter(|progress| !progress.position.is_unknown());
        let facts = self.status.facts();
        let state_name = match self.status.state() {
            SourceState::Streaming if state.is_none() => SourceState::Connecting.name(),
            other => other.name(),
        };
        let gtid_received = match (state.map(|state| &state.executed), progress) {
            (Some(Executed::MySql(set)), _) => set.to_string(),
            (Some(Executed::MariaDb(_)), Some(progress)) => progress.gtid_position.to_string(),
            _ => String::new(),
        };
        let unverified = self.counters.unverified.borrow().clone();
        SourceReport {
            name: self.config.name.clone(),
            host: self.config.host.clone(),
            port: self.config.port,
            state: state_name.to_owned(),
            server_id: facts.as_ref().map(|facts| facts.server_id),
            server_uuid: facts.as_ref().and_then(|facts| facts.server_uuid.clone()),
            tls: facts.as_ref().map(|facts| facts.tls.clone()),
            server_version: facts.map(|facts| facts.version),
            file: progress.map(|progress| progress.position.file.to_string()),
            position: progress.map(|progress| progress.position.offset),
            gtid_received,
            seconds_behind: self.status.seconds_behind(
                progress.map(|progress| &progress.position),
                state.map(|state| &state.executed),
            ),
            transactions: TransactionCounts {
                received: self.status.received.load(Ordering::Relaxed),
                kept: self.counters.kept.load(Ordering::Relaxed),
                duplicate: self.counters.duplicate.load(Ordering::Relaxed),
                filtered: self.counters.filtered.load(Ordering::Relaxed),
                repeated: self.counters.repeated.load(Ordering::Relaxed),
            },
            bytes_received: self.status.bytes_received.load(Ordering::Relaxed),
            reconnects: self.status.reconnects.load(Ordering::Relaxed),
            silent_seconds: self.status.silent_seconds(),
            semi_sync: self.status.semi_sync.is_active(),
            semi_sync_acks: self
                .status
                .semi_sync
                .acknowledgements
                .load(Ordering::Relaxed),
            semi_sync_problem: self.status.semi_sync.problem().map(str::to_owned),
            unverified: unverified.as_ref().map_or(0, |found| found.count),
            first_unverified: unverified.map(|found| found.first),
            is_refused: self.counters.refusal.borrow().is_some(),
            changed: self.changed.iter().map(|key| (*key).to_owned()).collect(),
            only_here: None,
            last_error: self.status.last_error().map(|error| ErrorReport {
                resolved_at: error.resolved_at.map(utc::seconds),
                ..ErrorReport::new(error.code, error.message, error.at)
            }),
        }
    }
}

impl ErrorReport {
    fn new(code: u16, message: String, at: SystemTime) -> Self {
        Self {
            code,
            message,
            at: utc::seconds(at),
            resolved_at: None,
        }
    }
}

impl Report {
    /// Whether an administrator must look.
    pub fn is_degraded(&self) -> bool {
        !self.relay.degraded.is_empty()
    }
}
