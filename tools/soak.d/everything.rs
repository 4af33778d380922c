//! Everything at once, for as long as wanted.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::support::chaos::{self, Length, Setup};
use crate::support::servers::{self, Kind};

/// Two masters under load, the relay, and two replicas. The seed decides which faults there are, when, and how long each
/// lasts: SIGKILL of the relay and of the masters, a network that is cut, reset, silent, slow, or changes bits, a full
/// disk, a replica that is detached and attached, a master with a new history. Between them every replica is compared with the
/// masters. At the end a table says what was injected, lost and repeated, and what an operator saw.
#[derive(Args)]
pub struct Options {
    /// Decides on everything but the time that the machine takes
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long; the part that has begun is finished
    #[arg(long, value_name = "M", default_value_t = 120)]
    minutes: u64,
    /// A kind of server, see `tools/server kinds` [default: the seed's]
    #[arg(long, value_name = "KIND", value_parser = Kind::named)]
    server: Option<Kind>,
}

/// Runs it; a difference ends it with a panic.
pub async fn run(options: &Options, relay: &Path) {
    let setup = match options.server {
        Some(kind) => Setup::of_kind(kind).expect("no set-up has this kind of server"),
        None => Setup::of_seed(options.seed),
    };
    servers::get(&[setup.kind]);
    let length = Length::Time(Duration::from_secs(options.minutes * 60));
    chaos::run(setup, options.seed, length, Some(relay)).await;
}
