//! Following a source until the relay stops or the source is removed: connection after connection.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::{mpsc, watch};

use super::continue_request::ContinueRequest;
use super::continuing::continue_source;
use super::damage::Damage;
use super::error::ReceiverError;
use super::follow;
use super::newest_error::GOOD_CONNECTION;
use super::options::{ReceiverContext, ReceiverOptions};
use super::orders::{Activity, Orders};
use super::status::{SourceState, SourceStatus};
use crate::config::SourceConfig;
use crate::fault;
use crate::log_thread::{RefusalNote, SourceCounters};

/// How one attempt ended.
enum Ended {
    /// By an error.
    Failed(ReceiverError),
    /// An administrator has decided how to continue.
    Requested(ContinueRequest),
    /// There is another order.
    Ordered,
    /// The relay stops.
    Stopped,
}

/// One receiver, from its start to its end.
struct Receiver {
    options: ReceiverOptions,
    context: ReceiverContext,
    counters: Arc<SourceCounters>,
    status: Arc<SourceStatus>,
    requests: mpsc::Receiver<ContinueRequest>,
    orders: Orders,
    shutdown: watch::Receiver<bool>,
    /// Failed attempts since the last good connection.
    attempts: u32,
    damage: Damage,
}

/// Follows the source as it is ordered, until it is removed or the relay stops. `requests` are an administrator's
/// decisions. The settings in `options` are replaced by those of the orders.
///
/// # Errors
/// When the relay log has failed: only a restart helps. All other errors are logged, kept in `status`, and
/// retried; if the log refused the source's transactions, only after a decision or an order.
pub async fn run(
    options: ReceiverOptions,
    context: ReceiverContext,
    (counters, status): (Arc<SourceCounters>, Arc<SourceStatus>),
    requests: mpsc::Receiver<ContinueRequest>,
    orders: Orders,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ReceiverError> {
    let mut receiver = Receiver {
        options,
        context,
        counters,
        status,
        requests,
        orders,
        shutdown,
        attempts: 0,
        damage: Damage::default(),
    };
    let outcome = receiver.run().await;
    receiver.status.set_stopped();
    outcome
}

impl Receiver {
    async fn run(&mut self) -> Result<(), ReceiverError> {
        loop {
            let order = self.orders.newest();
            self.options.config = order.config;
            self.attempts = 0;
            let ended = match order.activity {
                Activity::Remove => {
                    self.status.note_carried_out(order.number);
                    return Ok(());
                }
                Activity::Stop => {
                    self.status.set_stopped_by_order();
                    self.status.note_carried_out(order.number);
                    self.wait_stopped().await
                }
                Activity::Follow => {
                    self.accept_again().await;
                    self.status.set_begun();
                    self.status.note_carried_out(order.number);
                    self.follow().await?
                }
            };
            if !matches!(ended, Ended::Ordered) {
                return Ok(());
            }
        }
    }

    /// Waits for another order; decisions are carried out meanwhile.
    async fn wait_stopped(&mut self) -> Ended {
        loop {
            let request = tokio::select! {
                () = self.orders.changed() => return Ended::Ordered,
                Some(request) = self.requests.recv() => request,
                _ = self.shutdown.wait_for(|stop| *stop) => return Ended::Stopped,
            };
            if self.decide(request).await {
                return Ended::Stopped;
            }
        }
    }

    /// As after a restart, the log decides again on a transaction that it refused; not on one whose refusal is
    /// recorded.
    async fn accept_again(&self) {
        if matches!(*self.counters.refusal.borrow(), Some(RefusalNote::Other(_))) {
            // What follows the refused transaction must not be appended.
            self.counters.wait_until_committed().await;
            self.counters.refusal.send_replace(None);
        }
    }

    /// Connection after connection, until there is another order or the relay stops.
    async fn follow(&mut self) -> Result<Ended, ReceiverError> {
        let mut filter = self.options.config.filter.follow();
        loop {
            fault::inject("receiver");
            filter.mark_unchanged();
            let began = Instant::now();
            self.status.set_state(SourceState::Connecting);
            let mut ended = self.follow_once().await;
            self.context.identities.forget(self.options.number);
            if let Ended::Failed(error) = ended {
                let error = self.damage.judge(error);
                report(&error, &self.options, &self.status);
                if matches!(error, ReceiverError::LogClosed) {
                    return Err(error);
                }
                // The delay starts small again.
                self.attempts = match began.elapsed() > GOOD_CONNECTION {
                    true => 0,
                    false => self.attempts + 1,
                };
                let delay = retry_delay(&self.options.config, self.attempts, error.is_failure());
                let is_refused = matches!(error, ReceiverError::Refused(_));
                ended = tokio::select! {
                    () = tokio::time::sleep(delay), if !is_refused => continue,
                    // The error may have been that the former rules could not be evaluated.
                    Ok(()) = filter.changed(), if !is_refused => continue,
                    () = self.orders.changed() => Ended::Ordered,
                    Some(request) = self.requests.recv() => Ended::Requested(request),
                    _ = self.shutdown.wait_for(|stop| *stop) => Ended::Stopped,
                };
            }
            let Ended::Requested(request) = ended else {
                return Ok(ended);
            };
            self.attempts = 0;
            if self.decide(request).await {
                return Ok(Ended::Stopped);
            }
        }
    }

    /// Waits until following the source ends, an administrator decides, there is another order, or the relay stops.
    async fn follow_once(&mut self) -> Ended {
        let status = &self.status;
        let following = follow::follow(&self.options, &self.context, &self.counters, status);
        let mut following = pin!(following);
        loop {
            tokio::select! {
                error = &mut following => return Ended::Failed(error),
                () = self.orders.changed() => {
                    status.semi_sync.end_dump();
                    return Ended::Ordered;
                }
                Some(request) = self.requests.recv() => match status.state() {
                    SourceState::Streaming => answer_streaming(&self.counters, request),
                    _ => return Ended::Requested(request),
                },
                _ = self.shutdown.wait_for(|stop| *stop) => return Ended::Stopped,
            }
        }
    }

    /// Carries out a decision. Returns whether the relay stops instead.
    async fn decide(&mut self, request: ContinueRequest) -> bool {
        tokio::select! {
            () = decide(&self.options, &self.context, &self.counters, request) => false,
            _ = self.shutdown.wait_for(|stop| *stop) => true,
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

/// A source that is streaming has nothing to decide on but what could not be verified, which is accepted.
fn answer_streaming(counters: &SourceCounters, request: ContinueRequest) {
    let is_plain = request.from.at.is_none() && !request.from.new_history;
    let answer = match is_plain && counters.unverified.send_replace(None).is_some() {
        true => Ok("what could not be verified is accepted; the source is streaming".to_owned()),
        false => Err("the source is streaming, so there is nothing to decide".to_owned()),
    };
    let _ = request.answer.send(answer);
}

/// Carries out a decision and answers it.
async fn decide(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    counters: &SourceCounters,
    request: ContinueRequest,
) {
    let source = options.config.name.as_str();
    let ContinueRequest {
        from,
        counted,
        wanted,
        mut answer,
    } = request;
    let may_be_withdrawn = wanted.may_be_withdrawn();
    let outcome = tokio::select! {
        biased;
        () = answer.closed(), if may_be_withdrawn => {
            context.identities.forget(options.number);
            return;
        }
        outcome = continue_source(options, context, counters, &from, (counted, wanted)) => outcome,
    };
    let decided = match outcome {
        Ok(text) => {
            let in_one_line = text.replace('\n', " ");
            tracing::warn!(source, "continued by an administrator: {in_one_line}");
            Ok(text)
        }
        Err(error) => Err(error.to_line(source)),
    };
    context.identities.forget(options.number);
    // The administrator may have stopped waiting.
    let _ = answer.send(decided);
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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::SourceStart;
    use crate::receiver::continue_request::ContinueFrom;
    use crate::receiver::tests::source::config;
    use crate::receiver::withdrawal::Wanted;

    #[test]
    fn what_could_not_be_verified_is_accepted_while_the_source_is_streaming() {
        let counters = SourceCounters::default();
        let answer_to = |at: Option<SourceStart>| {
            let from = ContinueFrom {
                at,
                new_history: false,
                counts_missing: false,
                skips_missing: false,
            };
            let (answer, mut answered) = oneshot::channel();
            let request = ContinueRequest {
                from,
                counted: oneshot::channel().0,
                wanted: Wanted::always(),
                answer,
            };
            answer_streaming(&counters, request);
            answered.try_recv().unwrap()
        };
        assert!(answer_to(None).is_err());
        counters.note_unverified(3, || "0-1-7".to_owned());
        assert!(answer_to(Some(SourceStart::Earliest)).is_err());
        assert!(counters.unverified.borrow().is_some());
        assert!(answer_to(None).is_ok());
        assert!(counters.unverified.borrow().is_none() && answer_to(None).is_err());
    }

    #[test]
    fn no_delay_exceeds_the_longest_however_long_a_source_is_away() {
        let config = SourceConfig {
            connect_retry: Duration::from_secs(1),
            connect_retry_max: Duration::from_secs(60),
            ..config("m1", 3306)
        };
        for attempts in (0..100).chain([u32::MAX - 1, u32::MAX]) {
            for failed in [false, true] {
                let delay = retry_delay(&config, attempts, failed);
                assert!(delay <= config.connect_retry_max, "{attempts}: {delay:?}");
                let shortest = match failed || attempts > 6 {
                    true => 45,
                    false => 0,
                };
                assert!(
                    delay >= Duration::from_secs(shortest),
                    "{attempts}: {delay:?}"
                );
            }
        }
    }
}
