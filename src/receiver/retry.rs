//! Following a source until the relay stops: connection after connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::watch;

use super::error::ReceiverError;
use super::follow;
use super::options::{ReceiverContext, ReceiverOptions};
use super::status::{SourceState, SourceStatus};
use crate::config::SourceConfig;
use crate::fault;
use crate::log_thread::SourceCounters;

/// After a connection that lasted this long the delay starts small again.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

/// Follows the source until the relay stops.
///
/// # Errors
/// When the relay log refuses the source's transactions, or has failed: only a restart helps. All
/// other errors are logged, kept in `status`, and retried.
pub async fn run(
    options: ReceiverOptions,
    context: ReceiverContext,
    ledger: Arc<SourceCounters>,
    status: Arc<SourceStatus>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ReceiverError> {
    let mut attempts = 0u32;
    let mut connections = 0u64;
    let outcome = loop {
        fault::inject("receiver");
        let began = Instant::now();
        connections += 1;
        status.set_state(SourceState::Connecting);
        let following = follow::follow(&options, &context, &ledger, &status, connections);
        let error = tokio::select! {
            error = following => error,
            _ = shutdown.wait_for(|stop| *stop) => break Ok(()),
        };
        context.identities.forget(options.number);
        status.count_reconnect();
        let line = error.to_line();
        let source = options.config.name.as_str();
        if error.is_failure() {
            tracing::error!(source, "{line}");
        } else {
            tracing::warn!(source, "{line}");
        }
        status.note_error(&error);
        if matches!(error, ReceiverError::LogClosed | ReceiverError::Refused(_)) {
            break Err(error);
        }
        attempts = if began.elapsed() > GOOD_CONNECTION {
            0
        } else {
            attempts + 1
        };
        let delay = retry_delay(&options.config, attempts, error.is_failure());
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = shutdown.wait_for(|stop| *stop) => break Ok(()),
        }
    };
    status.set_stopped();
    outcome
}

/// `connect_retry`, doubled with each attempt up to `connect_retry_max`, and spread so that many
/// relays do not come back at the same time. A source that an administrator must repair is tried
/// again after the longest delay.
pub(super) fn retry_delay(config: &SourceConfig, attempts: u32, failed: bool) -> Duration {
    let doubled = config
        .connect_retry
        .saturating_mul(1 << attempts.saturating_sub(1).min(16));
    let longest = config.connect_retry_max;
    let delay = if failed {
        longest
    } else {
        doubled.min(longest)
    };
    delay.mul_f64(rand::rng().random_range(0.75..1.0))
}
