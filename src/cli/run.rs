//! `binrelay run`: the relay itself, in the foreground.

use std::path::PathBuf;

use anyhow::Context;
use binrelay::config::Config;
use binrelay::relay::Relay;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Outcome;

/// Run the relay in the foreground until SIGTERM or SIGINT
///
/// The relay connects to every source of the configuration, keeps what they send in its own
/// binary log, and serves that log to replicas. The first SIGTERM or SIGINT lets what is under way
/// finish and stops. The log goes to stderr.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Logs the configuration's warnings and runs the relay.
pub fn run(_args: RunArgs, config: Config) -> anyhow::Result<Outcome> {
    for warning in &config.warnings {
        tracing::warn!(file = %config.path.display(), "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads")?;
    let outcome = runtime.block_on(async {
        let relay = Relay::prepare(config).await?;
        let shutdown = watch::Sender::new(false);
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let running = relay.run(shutdown.subscribe());
        tokio::pin!(running);
        tokio::select! {
            outcome = &mut running => return Ok(outcome.map(|()| Outcome::Done)?),
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        shutdown.send_replace(true);
        running.await?;
        tracing::info!("stopped");
        Ok(Outcome::Done)
    });
    // All stages have ended; a name that is still being looked up must not hold the program.
    runtime.shutdown_background();
    outcome
}
