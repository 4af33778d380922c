//! How fast the relay receives a source's whole binlog and serves its own log, beside the servers'
//! own programs and, where one is given, beside another build of the relay.
//!
//! Run by `tools/bench`. Every round measures each competitor once, one after the other, so that what
//! slows the machine down for a while slows all of them down.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement fails by panicking"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod at_size;
mod floor;
mod latency;
mod measure;
mod pair;
mod report;
mod serving;
mod source;
mod wire;
mod wire_speed;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use measure::Competitors;
use report::Report;
use source::{DataSet, Source};
use support::servers::{self, Kind};

/// Measures how fast the relay receives a source's whole binlog and serves its own log.
///
/// Intake: the source's own `mysqlbinlog --raw` (`mariadb-binlog --raw`) fetches every binlog file, and
/// `binrelay run` starts with an empty data_dir until its status reports that everything is durable; both are
/// timed from the program's start. Serving: a client reads the whole log of the source, and then of the relay, and
/// discards it. Commits: how long one takes at the client of a semi-synchronous source (AFTER_SYNC) whose only
/// replica is the relay, and where it is a server of the same kind, with its default options and with `sync_relay_log=1`.
/// Ratios can be compared between machines, absolute figures cannot.
#[derive(Parser)]
#[command(name = "tools/bench", override_usage = "tools/bench [OPTIONS]")]
pub struct Options {
    /// A kind of server, see `tools/server kinds`; may be repeated [default: mysql-9.7 and mariadb-10.11]
    #[arg(long = "server", value_name = "KIND", value_parser = Kind::named)]
    servers: Vec<Kind>,
    /// Single-row transactions; 0 leaves this data set out
    #[arg(
        long,
        value_name = "N",
        default_value_t = 400_000,
        default_value_if("quick", "true", "40000")
    )]
    transactions: u64,
    /// MiB in rows of 1 MiB, one row a transaction; 0 leaves this data set out
    #[arg(
        long,
        value_name = "M",
        default_value_t = 1536,
        default_value_if("quick", "true", "128")
    )]
    large_mb: u64,
    /// Commits of each client on a semi-synchronous source, with 1 and with 16 clients; 0 leaves this case out
    #[arg(
        long,
        value_name = "C",
        default_value_t = 1000,
        default_value_if("quick", "true", "100")
    )]
    commits: u32,
    /// Rounds; the medians are compared
    #[arg(
        long,
        value_name = "R",
        default_value_t = 3,
        default_value_if("quick", "true", "1")
    )]
    rounds: u32,
    /// Little data and one round: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Another build of the relay, measured in the same rounds; the ratio is this build's speed over that one's
    #[arg(long, value_name = "BINRELAY")]
    against: Option<PathBuf>,
    /// The build to measure; `tools/bench` adds it: $BINRELAY or else the release build, which it makes
    #[arg(long, value_name = "BINRELAY")]
    relay: PathBuf,
    /// Connect with TLS, else without
    #[arg(long)]
    tls: bool,
    /// Also measure what the detection of conflicts costs: two masters, half of the transactions on each
    #[arg(long)]
    conflicts: bool,
    /// Also measure what it costs that everything comes twice: two masters that replicate from each other, half of the
    /// transactions on each, beside one of them alone
    #[arg(long)]
    twice: bool,
    /// Leave out what is measured with one source
    #[arg(long)]
    pair_only: bool,
    /// Also measure against a source at wire speed: the source's binlog, sent from memory, beside the floor, a program
    /// that only writes the same bytes from a socket into a file with the same syncs
    #[arg(long)]
    wire: bool,
    /// Replicas that discard everything, which are connected to the relay in the measurement at wire speed
    #[arg(long, value_name = "N", default_value_t = 0)]
    replicas: u32,
    /// Where the data of the relay and of the floor are, at wire speed, and those of the relay and of the servers, for commits:
    /// memory or a disk [default: /dev/shm, if it has space]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Instead of everything else: how long the start and look-ups take with a log of so many files of 1 GiB, which is
    /// generated, and takes a twentieth of that on the disk of DIR, /tmp by default
    #[arg(long, value_name = "GIB")]
    at_size: Option<u64>,
    /// Transactions in each of these files, each with the record of a copy
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    transactions_per_file: u64,
    /// Instead of everything else: how fast 1, 16 and 100 replicas that discard everything are served a log of so many MiB
    /// of small transactions, which is generated, beside the same bytes from a file to as many sockets
    #[arg(long, value_name = "MIB")]
    serve_mb: Option<u64>,
    /// Leave out what is measured against the real servers
    #[arg(long)]
    wire_only: bool,
    /// Print one JSON object to stdout; progress goes to stderr
    #[arg(long)]
    json: bool,
    /// Leave the directories with data and logs in place
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.servers.is_empty() {
        options.servers = vec![Kind::MySql, Kind::MariaDb];
    }
    if options.rounds == 0 {
        eprintln!("--rounds must be at least 1");
        return ExitCode::from(2);
    }
    for program in [Some(&options.relay), options.against.as_ref()]
        .into_iter()
        .flatten()
    {
        if !program.is_file() {
            eprintln!("{}: there is no such program", program.display());
            return ExitCode::from(2);
        }
    }
    // Dropping the measurement ends its servers and removes their data.
    tokio::select! {
        () = run(&options) => ExitCode::SUCCESS,
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
    }
}

async fn run(options: &Options) {
    let mut report = Report::new(options.json);
    if options.at_size.is_some() || options.serve_mb.is_some() {
        for &kind in &options.servers {
            if let Some(gib) = options.at_size {
                at_size::measure(kind, gib.max(1), options, &mut report);
            }
            if let Some(mib) = options.serve_mb {
                serving::measure(kind, mib.max(1), options, &mut report);
            }
        }
        return report.finish();
    }
    let _one_at_a_time = support::exclusive();
    servers::get(&options.servers);
    let transactions =
        (options.transactions > 0).then_some(DataSet::Transactions(options.transactions));
    let large = (options.large_mb > 0).then_some(DataSet::LargeRows(options.large_mb));
    for &kind in &options.servers {
        let data_sets = [transactions, large].into_iter().flatten();
        for data_set in data_sets.filter(|_| !options.pair_only) {
            report.note(&format!("{kind}: loading {data_set}"));
            let mut source = Source::load(kind, data_set).await;
            if !options.wire_only {
                let competitors = Competitors {
                    source: &source,
                    options,
                };
                let figures = competitors.measure(&mut report).await;
                report.add(&source.measured(), options.tls, figures);
            }
            if options.wire || options.wire_only {
                let (figures, floor) = wire_speed::measure(&source, options, &mut report).await;
                report.add(&source.measured(), false, [figures]);
                report.add_floor(&source.measured(), &floor);
            }
            if options.keep {
                report.note(&format!(
                    "the source's data are in {}",
                    source.server.keep().display()
                ));
            }
        }
        if options.conflicts && options.transactions > 0 {
            pair::measure_conflicts(kind, options, &mut report).await;
        }
        if options.twice && options.transactions > 0 {
            pair::measure_twice(kind, options, &mut report).await;
        }
    }
    let commits = options.commits > 0 && !options.wire_only;
    for &kind in options.servers.iter().filter(|_| commits) {
        for figures in latency::measure(kind, options, &mut report).await {
            report.add_latencies(kind, &figures);
        }
    }
    report.finish();
}

impl Options {
    /// Where the data of the measurement at wire speed are.
    fn directory(&self) -> PathBuf {
        let base = support::directories::base().into();
        self.dir.clone().unwrap_or(base)
    }

    fn programs(&self) -> Vec<PathBuf> {
        [Some(self.relay.clone()), self.against.clone()]
            .into_iter()
            .flatten()
            .collect()
    }
}
