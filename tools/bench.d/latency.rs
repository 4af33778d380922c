//! How long a commit takes at the client of a semi-synchronous source, whose only replica is the relay or
//! a real server of the same kind: with its default options, which acknowledges before it has synced its
//! relay log, and with `sync_relay_log=1`, which acknowledges what it keeps, as the relay does. The source's own part is
//! what a commit takes without any replica.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::Options;
use crate::report::Report;
use crate::support::Deadline;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::replication::attach;
use crate::support::semi_sync::{Words, global_status, master_extra, replica_extra};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::topology::{Mode, replica_options};

/// How many clients commit at the same time.
pub const CLIENTS: [u32; 2] = [1, 16];

/// Mean seconds of a commit, a number for each round.
#[derive(Default)]
pub struct Latencies {
    pub clients: u32,
    /// Without a replica.
    pub alone: Vec<f64>,
    /// With a real replica and its default options.
    pub replica: Vec<f64>,
    /// With a real replica and `sync_relay_log=1`.
    pub syncing_replica: Vec<f64>,
    pub relay: Vec<f64>,
}

impl Latencies {
    fn of(clients: u32) -> Latencies {
        Latencies {
            clients,
            ..Latencies::default()
        }
    }
}

/// Measures all in turn, round by round, each with a source of its own.
pub async fn measure(kind: Kind, options: &Options, report: &mut Report) -> [Latencies; 2] {
    let mut figures = CLIENTS.map(Latencies::of);
    for round in 0..options.rounds {
        for figures in &mut figures {
            let clients = figures.clients;
            let alone = without_replica(kind, options, clients).await;
            let replica = with_replica(kind, options, clients, &[]).await;
            let syncing = with_replica(kind, options, clients, &["--sync-relay-log=1"]).await;
            let relay = with_relay(kind, options, clients).await;
            report.note(&format!(
                "{kind}, {clients} clients, round {}: a commit takes {:.3} ms without a replica, {:.3} ms with a server as \
                 replica, {:.3} ms if that has sync_relay_log=1, {:.3} ms with the relay",
                round + 1,
                alone * 1e3,
                replica * 1e3,
                syncing * 1e3,
                relay * 1e3
            ));
            figures.alone.push(alone);
            figures.replica.push(replica);
            figures.syncing_replica.push(syncing);
            figures.relay.push(relay);
        }
    }
    figures
}

fn mode(kind: Kind) -> Mode {
    match kind.is_mariadb() {
        true => Mode::MariaDbFilePosition,
        false => Mode::MySqlAutoPosition,
    }
}

/// All servers are on the disk of the relay.
async fn source(kind: Kind, options: &Options) -> Server {
    let mut of_source = ServerOptions::new(86);
    of_source.base.clone_from(&options.dir);
    of_source.extra = master_extra(kind);
    Server::start(kind, of_source).await
}

async fn without_replica(kind: Kind, options: &Options, clients: u32) -> f64 {
    let source = source(kind, options).await;
    let role = Words::of(kind).source;
    source
        .sql(&format!("SET GLOBAL rpl_semi_sync_{role}_enabled = 0"))
        .await;
    commit_time(&source, options.commits, clients).await
}

async fn with_replica(kind: Kind, options: &Options, clients: u32, extra: &[&str]) -> f64 {
    let source = source(kind, options).await;
    let mut of_replica = replica_options(kind, 11);
    of_replica.base.clone_from(&options.dir);
    of_replica.extra = replica_extra(kind);
    of_replica
        .extra
        .extend(extra.iter().map(|&option| option.to_owned()));
    let replica = Server::start(kind, of_replica).await;
    let at = mode(kind).start_at("mysql-bin");
    attach(&replica, "127.0.0.1", source.port, &at, "").await;
    wait_for_replica(&source).await;
    commit_time(&source, options.commits, clients).await
}

async fn with_relay(kind: Kind, options: &Options, clients: u32) -> f64 {
    let source = source(kind, options).await;
    let mut of_source = SourceOptions::of("m1", &source);
    of_source.extra.push("semi_sync = true".to_owned());
    let mut of_relay = RelayOptions::new(vec![of_source]);
    of_relay.program.clone_from(&options.relay);
    of_relay.base.clone_from(&options.dir);
    of_relay.replicate_do_db.clear();
    let mut relay = Relay::start(of_relay);
    relay.wait_streaming().await;
    wait_for_replica(&source).await;
    let took = commit_time(&source, options.commits, clients).await;
    relay.terminate();
    took
}

/// Waits until the source counts its semi-synchronous replica.
async fn wait_for_replica(source: &Server) {
    let role = Words::of(source.kind).source;
    let deadline = Deadline::after_secs(60);
    while global_status(source, &format!("Rpl_semi_sync_{role}_clients")).await != "1" {
        assert!(
            !deadline.passed(),
            "{source} has no semi-synchronous replica"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The mean time of a commit, in seconds, when each of `clients` commits so many single-row transactions.
async fn commit_time(source: &Server, commits: u32, clients: u32) -> f64 {
    source
        .sql("CREATE DATABASE test; CREATE TABLE test.t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)")
        .await;
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let mut conn = source.connect().await;
        running.spawn(async move {
            let began = Instant::now();
            for a in 0..commits {
                let insert = format!("INSERT INTO test.t (a) VALUES ({a})");
                conn.query_drop(insert).await.expect("a commit");
            }
            began.elapsed().as_secs_f64() / f64::from(commits)
        });
    }
    let times = running.join_all().await;
    let role = Words::of(source.kind).source;
    let no_tx = format!("Rpl_semi_sync_{role}_no_tx");
    assert_eq!(global_status(source, &no_tx).await, "0", "all acknowledged");
    times.iter().sum::<f64>() / f64::from(clients)
}
