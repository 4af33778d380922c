//! Keeping the end of a source's binlog up to date while its dump streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::connection::{ControlConnection, ControlError, ServerSettings};
use crate::config::SourceConfig;
use crate::receiver::facts::SourceFacts;
use crate::receiver::orders::{Activity, Orders};
use crate::receiver::retry::retry_delay;
use crate::receiver::source_end::END_INTERVAL;
use crate::receiver::status::{SourceState, SourceStatus};

/// How often a source is asked how long it keeps its binlogs, and for its clock.
const SETTINGS_INTERVAL: Duration = Duration::from_secs(60);

/// Asks the source for its end every few seconds until it is removed or the relay stops.
///
/// Only while the dump streams: a source that refuses the dump is not asked a second time with the
/// same user, and its account is not locked sooner.
pub async fn watch_source_end(
    mut orders: Orders,
    status: Arc<SourceStatus>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut watcher = Watcher {
        config: orders.newest().config,
        status,
        open: None,
        failures: 0,
        settings_asked: None,
        is_end_hidden: false,
    };
    let mut delay = END_INTERVAL;
    loop {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = orders.changed() => {
                let order = orders.newest();
                if order.activity == Activity::Remove {
                    return;
                }
                watcher.begin_again(order.config);
                delay = END_INTERVAL;
                continue;
            }
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        delay = tokio::select! {
            delay = watcher.step() => delay,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
    }
}

struct Watcher {
    config: SourceConfig,
    status: Arc<SourceStatus>,
    open: Option<(ControlConnection, ServerSettings)>,
    /// Failures in this outage.
    failures: u32,
    /// When the source was last asked how long it keeps its binlogs, and for its clock, on this connection.
    settings_asked: Option<Instant>,
    /// Whether it was already logged that the source does not show its end.
    is_end_hidden: bool,
}

impl Watcher {
    /// The source may be another server now.
    fn begin_again(&mut self, config: SourceConfig) {
        self.config = config;
        self.open = None;
        self.failures = 0;
        self.settings_asked = None;
        self.is_end_hidden = false;
        self.status.set_source_end(None);
        self.status.set_clock_ahead(0);
    }

    /// Asks once; returns the delay until the next step.
    async fn step(&mut self) -> Duration {
        let is_streaming = self.status.state() == SourceState::Streaming;
        self.status
            .retention
            .note_streaming(is_streaming, Instant::now());
        if !is_streaming {
            self.status.set_source_end(None);
            if let Some((connection, _)) = self.open.take() {
                connection.close().await;
            }
            return END_INTERVAL;
        }
        match self.ask().await {
            Ok(()) => {
                if self.failures > 0 {
                    tracing::info!(
                        source = %self.config.name,
                        "the control connection is available again"
                    );
                }
                self.failures = 0;
                END_INTERVAL
            }
            Err(error) => {
                self.open = None;
                self.status.set_source_end(None);
                self.failures += 1;
                let source = self.config.name.as_str();
                let error = error.to_string().replace(char::is_control, " ");
                match self.failures {
                    1 => tracing::warn!(
                        source,
                        "the control connection is not available: {error}; the dump is not \
                         affected, but seconds_behind is only estimated"
                    ),
                    _ => tracing::debug!(source, "the control connection: {error}"),
                }
                retry_delay(&self.config, self.failures, false).max(END_INTERVAL)
            }
        }
    }

    async fn ask(&mut self) -> Result<(), ControlError> {
        let Some(facts) = self.status.facts() else {
            return Ok(());
        };
        let (connection, settings) = match &mut self.open {
            Some(open) => open,
            None => {
                let mut connection = ControlConnection::open(&self.config).await?;
                tracing::debug!(
                    source = %self.config.name,
                    "the control connection is open; TLS: {}",
                    connection.tls()
                );
                let settings = connection.settings().await?;
                // Another server may answer now.
                self.settings_asked = None;
                self.open.insert((connection, settings))
            }
        };
        check_same_server(&facts, settings)?;
        let end = connection.source_end(settings).await?;
        self.status.set_logs_replicated(settings.logs_replicated);
        let is_end_hidden = end.position.is_none() && end.executed.is_none();
        if is_end_hidden && !self.is_end_hidden {
            let grants = connection.grants().await?;
            let numbers = settings.version_numbers();
            let grant = grants.missing_replication_client(settings.flavor, numbers);
            tracing::warn!(
                source = %self.config.name,
                "the source does not show the end of its binlog, so seconds_behind is only \
                 estimated; {}",
                grant.as_deref().unwrap_or("check the privileges of the source's user")
            );
        }
        self.is_end_hidden = is_end_hidden;
        let is_due = self
            .settings_asked
            .is_none_or(|at| at.elapsed() >= SETTINGS_INTERVAL);
        if is_due {
            self.status.retention.set(connection.retention().await?);
            let clock_ahead = connection.clock_ahead().await?;
            self.status.set_clock_ahead(clock_ahead.unwrap_or(0));
            self.settings_asked = Some(Instant::now());
        }
        if self.config.semi_sync {
            let (semi_sync, unacknowledged) = connection.semi_sync().await?;
            let status = &self.status.semi_sync;
            status.note_source(semi_sync, unacknowledged, &self.config.name);
        }
        self.status.set_source_end(Some(end));
        Ok(())
    }
}

/// Compares the server with that of the dump, which may have reconnected elsewhere meanwhile.
fn check_same_server(facts: &SourceFacts, settings: &ServerSettings) -> Result<(), ControlError> {
    let is_same = match (&facts.server_uuid, &settings.server_uuid) {
        // A server_id may change while the server runs.
        (Some(expected), Some(found)) => expected == found,
        _ => facts.server_id == settings.server_id,
    };
    if is_same {
        return Ok(());
    }
    Err(ControlError::OtherServer {
        expected: facts.server_id,
        found: settings.server_id,
    })
}
