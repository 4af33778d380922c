//! `binrelay run`: the relay itself, in the foreground.

use std::sync::Arc;

use anyhow::Context;
use binrelay::config::Config;
use binrelay::relay::{PassedSockets, Relay};
use rustix::fs::Mode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::Outcome;
use super::config_file::ConfigFile;

/// Run the relay in the foreground until SIGTERM or SIGINT
///
/// The relay connects to every source in the configuration, writes their transactions to its own
/// binary log, and serves that log to replicas. On the first SIGTERM or SIGINT it writes the
/// transactions that it has received completely, and stops; a second one ends it at once. Messages
/// are logged to stderr.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Logs the configuration's warnings and runs the relay.
pub fn run(_args: RunArgs, config: Config) -> anyhow::Result<Outcome> {
    for warning in &config.warnings {
        tracing::warn!(file = %config.path.display(), "{warning}");
    }
    if config.exposes_passwords() {
        let path = config.path.display();
        tracing::warn!("{path} contains passwords and is world-readable; run chmod 640 on it");
    }
    // The log has everybody's data.
    rustix::process::umask(Mode::RWXO | Mode::WGRP);
    let passed = PassedSockets::take();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    log_panics();
    let outcome = runtime.block_on(async {
        // Recovering the log may take long; a SIGHUP must not end it.
        let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
        let relay = Relay::prepare(config, passed).await?;
        let shutdown = watch::Sender::new(false);
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        // A task of its own, so that a panic in it is an error like any other.
        let reload = Arc::new(Notify::new());
        let mut running = tokio::spawn(relay.run(shutdown.subscribe(), reload.clone()));
        loop {
            tokio::select! {
                ended = &mut running => return Ok(ended?.map(|()| Outcome::Done)?),
                _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
                _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: reading the configuration again");
                    reload.notify_one();
                    continue;
                }
            }
            break;
        }
        shutdown.send_replace(true);
        tokio::select! {
            ended = running => ended??,
            _ = terminate.recv() => return Ok(stopped_at_once("SIGTERM")),
            _ = interrupt.recv() => return Ok(stopped_at_once("SIGINT")),
        }
        tracing::info!("stopped");
        Ok(Outcome::Done)
    });
    // All stages have ended or been given up. A name lookup in progress, or a log thread that waits
    // for a disk, must not delay the exit.
    runtime.shutdown_background();
    outcome
}

/// The second signal: the process ends as if it had been killed.
fn stopped_at_once(signal: &str) -> Outcome {
    tracing::warn!(
        "{signal} while stopping: ended at once; what was not yet durable is fetched again"
    );
    Outcome::Failed
}

/// Logs a panic as one line with its location. The stage that it ends is reported by the relay.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string);
        let location = location.unwrap_or_else(|| "an unknown location".to_owned());
        tracing::error!("panic at {location}: {message}");
    }));
}
