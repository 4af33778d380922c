//! `binrelay forget`: a replica that does not come back.

use std::io::Write;

use anyhow::{Context, anyhow};
use binrelay::admin::{self, Decided};

use super::config_file::RunningRelay;
use super::stdout::Stdout;
use super::{Outcome, status};

/// Forget a replica that does not come back
///
/// A replica that was connected once and is not now is listed as missing. The relay is degraded after
/// replica_missing_after, and log files are kept for the replica for keep_for_replicas. After this command neither
/// applies to it. A connected replica is not forgotten.
#[derive(Debug, clap::Args)]
pub struct ForgetArgs {
    /// The replica's server_id
    #[arg(value_name = "SERVER_ID")]
    pub server_id: u32,
    #[command(flatten)]
    pub relay: RunningRelay,
}

/// Has the running relay forget the replica, and prints its answer.
pub fn run(args: ForgetArgs) -> anyhow::Result<Outcome> {
    let socket = args.relay.socket()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let forgetting = admin::ask_to_forget(&socket, args.server_id);
    let decided = runtime.block_on(forgetting);
    match decided.with_context(|| status::no_answer(&socket))? {
        Decided::Done(text) => {
            let mut out = Stdout::lock();
            writeln!(out, "{text}")?;
            Ok(Outcome::Done)
        }
        Decided::Refused(text) => Err(anyhow!("{text}")),
    }
}
