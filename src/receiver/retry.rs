//! Following a source until the relay stops: connection after connection.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::{mpsc, watch};

use super::continuing::{ContinueRequest, continue_source};
use super::error::ReceiverError;
use super::follow;
use super::options::{ReceiverContext, ReceiverOptions};
use super::status::{SourceState, SourceStatus};
use crate::config::SourceConfig;
use crate::fault;
use crate::log_thread::SourceCounters;

/// After a connection that lasted this long the delay starts small again.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

/// How one attempt ended.
enum Ended {
    /// By an error.
    Failed(ReceiverError),
    /// An administrator has decided how to continue.
    Requested(ContinueRequest),
    /// The relay stops.
    Stopped,
}

/// Follows the source until the relay stops. `requests` are an administrator's decisions.
///
/// # Errors
/// When the relay log has failed: only a restart helps. All other errors are logged, kept in `status`, and
/// retried; if the log refused the source's transactions, only after a decision.
pub async fn run(
    options: ReceiverOptions,
    context: ReceiverContext,
    ledger: Arc<SourceCounters>,
    status: Arc<SourceStatus>,
    mut requests: mpsc::Receiver<ContinueRequest>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ReceiverError> {
    let mut attempts = 0u32;
    let mut connections = 0u64;
    let mut filter = options.config.filter.follow();
    let outcome = loop {
        fault::inject("receiver");
        filter.mark_unchanged();
        let began = Instant::now();
        connections += 1;
        status.set_state(SourceState::Connecting);
        let following = follow::follow(&options, &context, &ledger, &status, connections);
        let mut ended = first_end(following, &status, &mut requests, &mut shutdown).await;
        context.identities.forget(options.number);
        if let Ended::Failed(error) = ended {
            report(&error, &options, &status);
            if matches!(error, ReceiverError::LogClosed) {
                break Err(error);
            }
            attempts = match began.elapsed() > GOOD_CONNECTION {
                true => 0,
                false => attempts + 1,
            };
            let delay = retry_delay(&options.config, attempts, error.is_failure());
            let is_refused = matches!(error, ReceiverError::Refused(_));
            ended = tokio::select! {
                () = tokio::time::sleep(delay), if !is_refused => continue,
                // The error may have been that the former rules could not be evaluated.
                Ok(()) = filter.changed(), if !is_refused => continue,
                Some(request) = requests.recv() => Ended::Requested(request),
                _ = shutdown.wait_for(|stop| *stop) => Ended::Stopped,
            };
        }
        let Ended::Requested(request) = ended else {
            break Ok(());
        };
        attempts = 0;
        tokio::select! {
            () = decide(&options, &context, &ledger, request) => {}
            _ = shutdown.wait_for(|stop| *stop) => break Ok(()),
        }
    };
    status.set_stopped();
    outcome
}

/// Waits until following the source ends, an administrator decides, or the relay stops.
async fn first_end(
    following: impl Future<Output = ReceiverError>,
    status: &SourceStatus,
    requests: &mut mpsc::Receiver<ContinueRequest>,
    shutdown: &mut watch::Receiver<bool>,
) -> Ended {
    let mut following = pin!(following);
    loop {
        tokio::select! {
            error = &mut following => return Ended::Failed(error),
            Some(request) = requests.recv() => match status.state() {
                SourceState::Streaming => refuse_streaming(request),
                _ => return Ended::Requested(request),
            },
            _ = shutdown.wait_for(|stop| *stop) => return Ended::Stopped,
        }
    }
}

/// Logs an error and keeps it in `status`.
fn report(error: &ReceiverError, options: &ReceiverOptions, status: &SourceStatus) {
    status.count_reconnect();
    let source = options.config.name.as_str();
    let line = error.to_line(source);
    if error.is_failure() {
        tracing::error!(source, "{line}");
    } else {
        tracing::warn!(source, "{line}");
    }
    status.note_error(error, source);
}

fn refuse_streaming(request: ContinueRequest) {
    let text = "the source is streaming, so there is nothing to decide".to_owned();
    let _ = request.answer.send(Err(text));
}

/// Carries out a decision and answers it.
async fn decide(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    counters: &SourceCounters,
    request: ContinueRequest,
) {
    let source = options.config.name.as_str();
    let outcome = continue_source(options, context, counters, &request.from).await;
    let answer = match outcome {
        Ok(text) => {
            tracing::warn!(source, "continued by an administrator: {text}");
            Ok(text)
        }
        Err(error) => Err(error.to_line(source)),
    };
    context.identities.forget(options.number);
    // The administrator may have stopped waiting.
    let _ = request.answer.send(answer);
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
