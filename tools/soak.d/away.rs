//! The relay's memory while one of two masters without GTIDs is away for a long time.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::support::Deadline;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, dual_masters};
use crate::support::servers::{self, Kind, Server, ServerOptions};
use crate::support::throttle::Gate;

/// Clients that write at the same time.
const CLIENTS: u64 = 2;
/// Between two lines about the progress.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// M1 and M2 are dual masters without GTIDs. The relay loses its connection to M1 (M1 itself runs, and
/// applies M2's writes), N transactions arrive from M2, then M1 is reachable again and sends N copies. Every 10 seconds a
/// line reports the relay's memory and its progress. At the end every copy must have been recognised.
#[derive(Args)]
pub struct Options {
    /// A kind of server, see `tools/server kinds`; transactions of the default have nothing but their order
    #[arg(long, value_name = "KIND", value_parser = Kind::named, default_value = "mysql-5.6")]
    server: Kind,
    /// Transactions; 5,000,000 take about half an hour and 3 KB of disk in /tmp each
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    transactions: u64,
    /// Leave the directories with data and logs in place
    #[arg(long)]
    keep: bool,
}

/// Measures it.
pub async fn run(options: &Options, relay: &Path) {
    servers::get(&[options.server]);
    println!("Two masters without GTIDs, and the relay");
    let mut soak = Soak::start(options, relay).await;
    let count = options.transactions / CLIENTS * CLIENTS;

    println!("M1 is away for the relay, {count} transactions arrive from M2");
    let copies_before = soak.counter("m1", "duplicate");
    let kept_before = soak.counter("m2", "kept");
    soak.gate.shut();
    println!(
        "memory at the beginning: {} MB",
        soak.relay.rss_kib() / 1024
    );
    let mut loading = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut conn = soak.m2.connect().await;
        let call = format!("CALL test.fill({})", count / CLIENTS);
        loading.spawn(async move { conn.query_drop(call).await.expect("M2 is written to") });
    }
    soak.watch("from M2", "m2", "kept", kept_before + count)
        .await;
    while let Some(loaded) = loading.join_next().await {
        loaded.expect("M2 is written to");
    }

    println!("M1 is reachable again");
    soak.gate.open();
    soak.watch("copies from M1", "m1", "duplicate", copies_before + count)
        .await;
    let kept = soak.counter("m1", "kept");
    assert!(
        kept <= 3,
        "M1 sent {kept} transactions that were taken for new ones"
    );
    println!(
        "all {count} copies were recognised; the relay's memory was at most {} MB",
        soak.relay.rss_peak_kib() / 1024
    );
    if options.keep {
        for path in [soak.m1.keep(), soak.m2.keep(), soak.relay.keep()] {
            println!("data and logs are in {}", path.display());
        }
    }
    soak.relay.terminate();
}

struct Soak {
    m1: Server,
    m2: Server,
    /// Between M1 and the relay.
    gate: Gate,
    relay: Relay,
}

impl Soak {
    async fn start(options: &Options, program: &Path) -> Soak {
        let start = async |server_id| {
            let mut server = ServerOptions::new(server_id);
            server.gtid = false;
            let server = Server::start(options.server, server).await;
            let relaxed = "SET GLOBAL sync_binlog=0; SET GLOBAL innodb_flush_log_at_trx_commit=0";
            server.sql(relaxed).await;
            server
        };
        let (m1, m2) = (start(86).await, start(18).await);
        dual_masters(&m1, &m2, &StartAt::first_file("mysql-bin")).await;
        let gate = Gate::open_to(m1.port).await;
        let mut sources = vec![
            SourceOptions::at("m1", gate.port),
            SourceOptions::of("m2", &m2),
        ];
        for source in &mut sources {
            source
                .extra
                .push("tls = { mode = \"disabled\" }".to_owned());
        }
        let mut relay = RelayOptions::new(sources);
        relay.program = program.into();
        relay.replicate_do_db.clear();
        let relay = Relay::start(relay);
        m2.sql(
            "CREATE DATABASE IF NOT EXISTS test; \
             CREATE TABLE test.t (id INT AUTO_INCREMENT PRIMARY KEY, a INT); SET sql_log_bin=0; \
             CREATE PROCEDURE test.fill(n INT) BEGIN DECLARE i INT DEFAULT 0; \
             WHILE i < n DO INSERT INTO test.t (a) VALUES (1); SET i = i + 1; END WHILE; END",
        )
        .await;
        let soak = Soak {
            m1,
            m2,
            gate,
            relay,
        };
        let deadline = Deadline::after_secs(60);
        while soak.counter("m1", "received") < 2 || soak.counter("m2", "received") < 2 {
            assert!(
                !deadline.passed(),
                "no first transactions in 60 s: {:#}",
                soak.relay.status()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        soak
    }

    /// One of a source's counters of transactions.
    fn counter(&self, source: &str, name: &str) -> u64 {
        let status = self.relay.source_status(source);
        status["transactions"][name].as_u64().expect("a number")
    }

    /// Waits until a counter has reached its goal; prints a line now and then.
    async fn watch(&mut self, what: &str, source: &str, name: &str, goal: u64) {
        let mut reported: Option<Instant> = None;
        loop {
            let now = self.counter(source, name);
            if now >= goal {
                return;
            }
            self.relay.assert_running();
            if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
                println!(
                    "{what}: {now} of {goal}, memory {} MB",
                    self.relay.rss_kib() / 1024
                );
                reported = Some(Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
