//! The sources, as SHOW REPLICA STATUS shows them. `relay` fills the rows: a sender sees no receiver.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::FilterConfig;
use crate::position::SourcePosition;
use crate::tls::ClientTls;

/// The state of a source's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceRowState {
    /// It connects, or waits to retry.
    #[default]
    Connecting,
    /// It receives events.
    Streaming,
    /// Not followed, by order.
    Stopped,
    /// Not followed until an administrator acts; the error says how. On a server the I/O thread has ended with an
    /// error, and the SQL thread runs.
    Failed,
}

impl SourceRowState {
    /// Whether something can be expected from it.
    pub fn is_followed(self) -> bool {
        matches!(self, SourceRowState::Connecting | SourceRowState::Streaming)
    }
}

/// An error of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRowError {
    /// A server's or client library's error code; 0 if it is neither.
    pub code: u16,
    /// The problem and its remedy.
    pub message: String,
    /// When it happened.
    pub at: SystemTime,
}

/// One source.
#[derive(Debug, Clone, Default)]
pub struct SourceRow {
    /// The channel's name.
    pub name: String,
    /// As configured.
    pub host: String,
    /// As configured.
    pub port: u16,
    /// As configured.
    pub user: String,
    /// The first delay before reconnecting.
    pub connect_retry: Duration,
    /// Heartbeats are requested at this interval.
    pub heartbeat_period: Duration,
    /// The state of its connection.
    pub state: SourceRowState,
    /// The source's own position up to which everything is durable here; `None` when unknown.
    pub position: Option<SourcePosition>,
    /// MySQL: all transactions of the relay log, as which of them a source has delivered is not known; empty until
    /// there is a position of it. MariaDB: the newest of each domain from this source.
    pub gtid_received: String,
    /// Whether the dump is requested by GTID; `None` until the source has answered.
    pub by_gtid: Option<bool>,
    /// The source's server_id, once it has answered.
    pub server_id: Option<u32>,
    /// The source's server_uuid; MariaDB has none.
    pub server_uuid: Option<String>,
    /// `None` when nothing streams.
    pub seconds_behind: Option<u64>,
    /// Seconds since its newest packet; `None` before the first one.
    pub silent_seconds: Option<u64>,
    /// Heartbeats received since the relay's start.
    pub heartbeats: u64,
    /// `semi_sync`, as configured.
    pub semi_sync: bool,
    /// Whether the source waits for the relay's acknowledgements.
    pub is_semi_sync_active: bool,
    /// Acknowledgements sent since the relay's start.
    pub acknowledgements: u64,
    /// The error that has not ended yet.
    pub error: Option<SourceRowError>,
    /// How the connection is encrypted.
    pub tls: ClientTls,
    /// Which of its changes are kept.
    pub filter: FilterConfig,
}

/// Reads the sources, in the order of the configuration.
#[derive(Clone)]
pub struct SourceRows(Arc<dyn Fn() -> Vec<SourceRow> + Send + Sync>);

impl SourceRows {
    /// Rows that `read` returns.
    pub fn new(read: impl Fn() -> Vec<SourceRow> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The rows now.
    pub fn read(&self) -> Vec<SourceRow> {
        (self.0)()
    }
}

impl fmt::Debug for SourceRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceRows(…)")
    }
}
