//! Adoption: a replica that follows a master directly, under load on both, is stopped at any moment and
//! attached to the relay by the statements that `binrelay attach` prints. At the end its data equal the
//! masters', without an error.

mod unusual_attachments;

use std::time::Instant;

use serde_json::Value;

use crate::support;
use crate::support::attachment::return_to;
pub(crate) use crate::support::attachment::{
    coordinates, execute, gtids, run_attach, start_applier, stop_and_start, stop_applier,
};
use crate::support::load::{Load, LoadOptions};
use crate::support::relay::Relay;
use crate::support::replication::{
    assert_healthy, attach, retry_each_second, settle, wait_for_table,
};
use crate::support::servers::{Kind, Server};
use crate::support::tables::{assert_same_tables, checksum_tables};
use crate::support::topology::{Mode, Topology, TopologyOptions, replica_options, run_for};
use crate::support::{SeedNote, seeds};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What the replica is attached with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Its coordinates on M1.
    FilePosition,
    /// Its own GTIDs.
    Gtids,
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_without_gtids() {
    repeat(Kind::MySql, Mode::MySqlNoGtids, By::FilePosition, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_with_gtids_by_file_and_position() {
    repeat(Kind::MySql, Mode::MySqlAutoPosition, By::FilePosition, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_by_auto_position() {
    repeat(Kind::MySql, Mode::MySqlAutoPosition, By::Gtids, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_without_gtids() {
    repeat(Kind::MySql56, Mode::MySqlNoGtids, By::FilePosition, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_file_and_position() {
    repeat(
        Kind::MariaDb,
        Mode::MariaDbFilePosition,
        By::FilePosition,
        2,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos() {
    repeat(Kind::MariaDb, Mode::MariaDbSlavePos, By::Gtids, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_118_by_file_and_position() {
    repeat(
        Kind::MariaDb118,
        Mode::MariaDbFilePosition,
        By::FilePosition,
        1,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_118_by_slave_pos() {
    repeat(Kind::MariaDb118, Mode::MariaDbSlavePos, By::Gtids, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_105_by_file_and_position() {
    repeat(
        Kind::MariaDb105,
        Mode::MariaDbFilePosition,
        By::FilePosition,
        0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_105_by_slave_pos() {
    repeat(Kind::MariaDb105, Mode::MariaDbSlavePos, By::Gtids, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_with_gtids_by_file_and_position() {
    repeat(Kind::MySql56, Mode::MySqlAutoPosition, By::FilePosition, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_by_auto_position() {
    repeat(Kind::MySql56, Mode::MySqlAutoPosition, By::Gtids, 0).await;
}

/// One set of servers, and an attachment for each seed: `gate` of them in a normal run, 50 in a long one.
async fn repeat(kind: Kind, mode: Mode, by: By, gate: u64) {
    let seeds = seeds(gate, 50);
    let _turn = support::turn();
    let began = Instant::now();
    let mut options = TopologyOptions::new(mode, 2);
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 0;
    options.replicate_do_db = Vec::new();
    let topology = Topology::start(options).await;
    let mut replica = replica_options(kind, 11);
    replica.gtid = mode.has_gtids();
    let replica = Server::start(kind, replica).await;
    let (at, retry) = (mode.start_at("mysql-bin"), retry_each_second(kind));
    attach(&replica, "127.0.0.1", topology.m1.port, &at, retry).await;
    wait_for_table(&replica, "other", "items").await;
    let (mut bridges, mut count) = (0, 0);
    for seed in seeds {
        let _note = SeedNote(seed);
        bridges += u64::from(adopt(&topology, &replica, by, seed).await);
        count += 1;
        return_to(&topology.m1, &replica, mode).await;
    }
    let took = began.elapsed().as_secs();
    println!(
        "{kind}, {mode}, {by:?}: {count} attached, {bridges} with a bridge, none refused, data equal: {took} s"
    );
    let mut relay = topology.relay;
    relay.terminate();
    relay.verify();
}

/// Attaches the replica at a random moment of a load; returns whether a bridge was needed.
async fn adopt(topology: &Topology, replica: &Server, by: By, seed: u64) -> bool {
    let (m1, m2) = (&topology.m1, &topology.m2);
    let mut rng = StdRng::seed_from_u64(seed);
    let round = 1 + (seed % 90) as u32;
    let load = |master| LoadOptions {
        first_owner: first_owner(master, round),
        ..topology.load_options(master, 0)
    };
    drop_tables_of_round([m1, m2], round - 1).await;
    let on_m1 = Load::start(m1, &load(1));
    let on_m2 = Load::start(m2, &load(2));
    run_for(rng.random_range(100..500)).await;
    // A master that lags makes the order of the relay differ from its own.
    let lags = seed % 2 == 1;
    if lags {
        m1.sql(stop_applier(m1.kind)).await;
        run_for(rng.random_range(50..300)).await;
    }
    wait_connected(replica).await;
    let (stop, _) = stop_and_start(replica.kind);
    replica.sql(stop).await;
    let place = match by {
        By::FilePosition => coordinates(replica).await,
        By::Gtids => gtids(replica).await,
    };
    if lags {
        m1.sql(start_applier(m1.kind)).await;
    }
    let found = attachment(&topology.relay, &["m1", &place]);
    execute(replica, &found).await;
    run_for(rng.random_range(50..300)).await;
    on_m1.finish().await;
    on_m2.finish().await;
    settle(&[m1, m2], &[m1, m2, replica], 90).await;
    assert_healthy(replica).await;
    for database in ["test", "other"] {
        assert_all_same([m1, m2, replica], database).await;
    }
    found["bridge"] == true
}

/// All three have the same tables.
async fn assert_all_same([m1, m2, replica]: [&Server; 3], database: &str) {
    let (first, second, third) = tokio::join!(
        checksum_tables(m1, database),
        checksum_tables(m2, database),
        checksum_tables(replica, database)
    );
    if first != second || first != third {
        assert_same_tables(m1, m2, database).await;
        assert_same_tables(m1, replica, database).await;
    }
}

/// Each client leaves a table, and all tables are compared after each round.
async fn drop_tables_of_round([m1, m2]: [&Server; 2], round: u32) {
    for (master, number) in [(m1, 1), (m2, 2)] {
        let first = first_owner(number, round);
        let names = (first..first + 4).map(|owner| format!("own_{owner}"));
        let names = names.collect::<Vec<_>>().join(", ");
        let sql = format!("USE test; DROP TABLE IF EXISTS {names}");
        master.sql(&sql).await;
    }
}

/// The number of the first client of master 1 or 2.
fn first_owner(master: u32, round: u32) -> u32 {
    master * 1_000_000 + round * 10
}

/// Before its first event, it does not know its coordinates.
async fn wait_connected(replica: &Server) {
    let deadline = support::Deadline::after_secs(60);
    while coordinates(replica).await.starts_with(':') {
        assert!(!deadline.passed(), "{replica} has received nothing");
        run_for(50).await;
    }
}

fn attachment(relay: &Relay, arguments: &[&str]) -> Value {
    let output = run_attach(relay, arguments);
    assert!(
        output.status.success(),
        "binrelay attach {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("a JSON object")
}
