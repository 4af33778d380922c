//! Long runs and attacks, which print figures: the relay's memory while a master is away, everything at once, attacks while
//! a replica streams, and many clients.
//!
//! Run by `tools/soak`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement fails by panicking"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod attacks;
mod away;
mod everything;
mod lag;
mod many_clients;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the relay for a long time, or attacks it, and prints figures.
#[derive(Parser)]
#[command(name = "tools/soak", override_usage = "tools/soak COMMAND [OPTIONS]")]
struct Options {
    /// The build to run; `tools/soak` adds it: $BINRELAY or else the release build, which it makes
    #[arg(long, value_name = "BINRELAY")]
    relay: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The relay's memory while one of two masters without GTIDs is away
    Away(away::Options),
    /// Everything at once: kills, cuts, a full disk, attachments and changed histories under load, with a seed
    Everything(everything::Options),
    /// The lag of a replica at 400 rows a second, before and during attacks of clients without privileges
    Attacks(attacks::Options),
    /// Memory of 1,000 idle clients and 200 replicas, a large set of GTIDs, and logins while another address connects
    Clients,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Dropping the run ends its servers and removes their data.
    tokio::select! {
        () = run(&options) => ExitCode::SUCCESS,
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
    }
}

async fn run(options: &Options) {
    let relay = &options.relay;
    match &options.command {
        Command::Away(options) => {
            let _one_at_a_time = support::exclusive();
            away::run(options, relay).await;
        }
        // The others take a turn, like a test: what they compare is measured in the same run.
        Command::Everything(options) => {
            let _turn = support::turn();
            everything::run(options, relay).await;
        }
        Command::Attacks(options) => {
            let _turn = support::turn();
            attacks::run(options, relay).await;
        }
        Command::Clients => {
            let _turn = support::turn();
            many_clients::run(relay).await;
        }
    }
}
