//! `binrelay reload`: the running relay reads its configuration again.

use std::io::Write;

use anyhow::Context;
use binrelay::admin::{self, Reloaded};

use super::config_file::RunningRelay;
use super::stdout::Stdout;
use super::{Outcome, print_error, status};

/// Have the running relay read its configuration again
///
/// Sources, users, passwords, certificates, filters, limits, alerts, and the size and retention of the log change
/// while replicas stay connected. Settings that need a restart are named. If the file is invalid, nothing is
/// changed. SIGHUP does the same.
#[derive(Debug, clap::Args)]
pub struct ReloadArgs {
    #[command(flatten)]
    pub relay: RunningRelay,
}

/// Has the running relay reload, and prints its answer.
pub fn run(args: ReloadArgs) -> anyhow::Result<Outcome> {
    let socket = args.relay.socket()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let reloaded = runtime.block_on(admin::ask_to_reload(&socket));
    let (changed, restart, warnings, late) =
        match reloaded.with_context(|| status::no_answer(&socket))? {
            Reloaded::Done {
                changed,
                restart,
                warnings,
                late,
            } => (changed, restart, warnings, late),
            Reloaded::Refused(problems) => {
                for problem in problems.lines() {
                    print_error(problem);
                }
                print_error(
                    "nothing was changed: the relay continues with the configuration that it had",
                );
                return Ok(Outcome::WrongUsage);
            }
        };
    let mut out = Stdout::lock();
    if changed.is_empty() && restart.is_empty() && late.is_empty() {
        writeln!(out, "nothing has changed")?;
    }
    for (head, lines) in [
        ("changed", changed),
        ("needs a restart", restart),
        ("warning", warnings),
    ] {
        for line in lines {
            writeln!(out, "{head}: {line}")?;
        }
    }
    for line in &late {
        print_error(&format!("not in effect yet: {line}"));
    }
    Ok(match late.is_empty() {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}
