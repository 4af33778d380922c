//! Reports to the service manager that started the relay, as systemd's `Type=notify` and `WatchdogSec=`
//! expect it. Without `NOTIFY_SOCKET` in the environment nothing is reported.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::receiver::SourceState;
use crate::sender::Replicas;
use crate::status::Parts;

/// Time between two reports, without a watchdog.
const INTERVAL: Duration = Duration::from_secs(5);

/// Reports that the relay is ready, then its state, until it is to stop.
///
/// Ready means that the log is recovered and replicas can connect: sources may be away for hours. The
/// watchdog is reset by a task like those that serve sources and replicas: it stops when they do.
pub(super) async fn report(
    parts: Arc<Parts>,
    replicas: Arc<Replicas>,
    mut shutdown: watch::Receiver<bool>,
) {
    let interval = match sd_notify::watchdog_enabled() {
        // Half of the time limit, as sd_watchdog_enabled(3) recommends.
        Some(limit) => INTERVAL.min(limit / 2).max(Duration::from_millis(10)),
        None => INTERVAL,
    };
    let mut reported = describe(&parts, &replicas);
    send(&[NotifyState::Ready, NotifyState::Status(&reported)]);
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
        let now = describe(&parts, &replicas);
        if now == reported {
            send(&[NotifyState::Watchdog]);
        } else {
            send(&[NotifyState::Watchdog, NotifyState::Status(&now)]);
            reported = now;
        }
    }
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

fn describe(parts: &Parts, replicas: &Replicas) -> String {
    let sources = parts.sources.now();
    let streaming = sources
        .iter()
        .filter(|source| source.status.state() == SourceState::Streaming)
        .count();
    let clients = replicas.clients();
    let replicas = clients.iter().filter(|client| client.replica().is_some());
    format!(
        "sources streaming: {streaming} of {}; replicas: {}",
        sources.len(),
        replicas.count()
    )
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot report to the service manager: {error}");
    }
}
