//! `binrelay continue`: how a source that has failed continues.

use std::io::Write;

use anyhow::{Context, anyhow};
use binrelay::admin::{self, ContinueOrder, Decided};
use binrelay::config::SourceStart;

use super::config_file::RunningRelay;
use super::stdout::Stdout;
use super::{Outcome, WrongUsage, status};

/// Decide how a failed source continues
///
/// The message of the failed source names the command. Without options the source is tried again where it
/// was; after a changed history, only if its binlog was restored. The running relay verifies the decision,
/// records it, and prints what counts as delivered.
#[derive(Debug, clap::Args)]
pub struct ContinueArgs {
    /// Name of the source, as in the configuration
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Position in the source's binlog: FILE:POS, earliest or latest; everything before it counts as delivered
    #[arg(long, value_name = "FILE:POS")]
    pub at: Option<String>,
    /// Accept that the source's binlog was reset, or that the source was restored from an older copy
    #[arg(long)]
    pub new_history: bool,
    /// MariaDB: skip transactions before --at that the relay log lacks; the replicas must have their changes
    #[arg(long, requires = "at", conflicts_with = "new_history")]
    pub skip_missing: bool,
    #[command(flatten)]
    pub relay: RunningRelay,
}

/// Has the running relay carry out the decision, and prints its answer.
pub fn run(args: ContinueArgs) -> anyhow::Result<Outcome> {
    if let Some(at) = &args.at {
        check_position(at)?;
    }
    let socket = args.relay.socket()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let order = ContinueOrder {
        source: args.source.clone(),
        at: args.at,
        new_history: args.new_history,
        skip_missing: args.skip_missing,
    };
    let asking = admin::ask_continue(&socket, order);
    let decided = runtime.block_on(asking);
    match decided.with_context(|| status::no_answer(&socket))? {
        Decided::Done(text) => {
            let mut out = Stdout::lock();
            writeln!(out, "{}: {text}", args.source)?;
            Ok(Outcome::Done)
        }
        Decided::Refused(text) => Err(anyhow!("{}: {text}", args.source)),
    }
}

/// Refuses what is not a position. A GTID set is one in the configuration only: here nothing would verify it.
fn check_position(at: &str) -> Result<(), WrongUsage> {
    match SourceStart::parse(at) {
        None | Some(SourceStart::Gtid(_)) => Err(WrongUsage(format!(
            "--at: expected FILE:POS, earliest or latest, found {at:?}"
        ))),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documented_positions_are_accepted() {
        for at in ["earliest", "latest", "mysql-bin.000010:154", "m1.000001:4"] {
            assert!(check_position(at).is_ok(), "{at}");
        }
        for at in [
            "",
            "gtid:0-1-5",
            "gtid:",
            "mysql-bin.000010",
            "first",
            "m1.000001:3",
        ] {
            assert!(check_position(at).is_err(), "{at}");
        }
    }
}
