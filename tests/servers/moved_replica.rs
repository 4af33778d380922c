//! A replica that is moved from the relay to M1 and back, by GTID and under load: it sees no error,
//! and neither misses nor repeats a transaction.

use std::collections::BTreeMap;

use crate::support;
use crate::support::load::{Load, assert_acknowledged};
use crate::support::relay::{RELAY_HOST, Relay};
use crate::support::replication::{
    assert_healthy, assert_no_errors, attach, retry_each_second, settle,
};
use crate::support::servers::{Kind, Server};
use crate::support::tables::{assert_no_database, assert_same_tables};
use crate::support::topology::{
    Mode, Topology, TopologyOptions, gtid_executed, replica_options, run_for,
};
use crate::support::{Deadline, SeedNote, seeds};

/// How often it is moved to M1 and back.
const ROUNDS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn mysql_unfiltered() {
    moved(Mode::MySqlAutoPosition, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_with_the_same_filter_on_relay_and_replica() {
    moved(Mode::MySqlAutoPosition, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_unfiltered() {
    moved(Mode::MariaDbSlavePos, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_with_the_same_filter_on_relay_and_replica() {
    moved(Mode::MariaDbSlavePos, true).await;
}

async fn moved(mode: Mode, is_filtered: bool) {
    for seed in seeds(1, 5) {
        let _turn = support::turn();
        let _note = SeedNote(seed);
        let mut options = TopologyOptions::new(mode, seed);
        options.replicas = 0;
        // Moves shall cross files of the relay.
        options.log_extra = vec!["max_size = \"128KiB\"".to_owned()];
        let mut of_replica = replica_options(mode.kind(), 11);
        if is_filtered {
            of_replica = of_replica.extra("--replicate-do-db=test");
        } else {
            options.replicate_do_db = Vec::new();
        }
        let topology = Topology::start(options).await;
        let replica = Server::start(mode.kind(), of_replica).await;
        to_relay(&replica, &topology.relay, mode).await;
        move_under_load(mode, &topology, &replica, seed).await;
        assert_same(mode, is_filtered, topology, &replica).await;
    }
}

async fn to_relay(replica: &Server, relay: &Relay, mode: Mode) {
    let at = mode.start_at("relay-bin");
    let extra = retry_each_second(mode.kind());
    attach(replica, RELAY_HOST, relay.port, &at, extra).await;
}

async fn move_under_load(mode: Mode, topology: &Topology, replica: &Server, seed: u64) {
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    on_m1.wait_for(40 + seed % 7 * 15).await;
    for _ in 0..ROUNDS {
        stop(replica).await;
        wait_until_m1_has(topology, &place_of(replica).await).await;
        let at = mode.start_at("mysql-bin");
        let extra = retry_each_second(mode.kind());
        attach(replica, "127.0.0.1", topology.m1.port, &at, extra).await;
        run_for(450).await;
        stop(replica).await;
        wait_until_relay_has(topology, &place_of(replica).await).await;
        to_relay(replica, &topology.relay, mode).await;
        run_for(450).await;
        assert_healthy(replica).await;
    }
    on_m1.wait_for(50).await;
    on_m2.wait_for(50).await;
    let reports = [on_m1.finish().await, on_m2.finish().await];
    let masters = [&topology.m1, &topology.m2];
    settle(&masters, &[&topology.m1, &topology.m2, replica], 90).await;
    assert_healthy(replica).await;
    for report in &reports {
        assert_eq!(report.disconnected, 0, "{report:?}");
        assert!(report.acknowledged >= 90, "too little load: {report:?}");
        assert_acknowledged(replica, report, "").await;
    }
}

async fn stop(replica: &Server) {
    let statement = match replica.kind.says_replica() {
        false => "STOP SLAVE",
        true => "STOP REPLICA",
    };
    replica.sql(statement).await;
}

/// MariaDB: the position from which the replica asks its next master to continue. A MySQL replica may be ahead of
/// its master, since it asks for what it lacks; a MariaDB one is refused, by real servers too.
async fn place_of(replica: &Server) -> BTreeMap<u32, u64> {
    if replica.kind == Kind::MySql {
        return BTreeMap::new();
    }
    let position = replica.value("SELECT @@GLOBAL.gtid_slave_pos").await;
    numbers(&position.unwrap_or_default())
}

/// The sequence number of each domain.
fn numbers(position: &str) -> BTreeMap<u32, u64> {
    let parts = position.split(',').filter(|gtid| !gtid.is_empty());
    let entry = |gtid: &str| {
        let numbers: Vec<u64> = gtid.split('-').map(|part| part.parse().unwrap()).collect();
        (u32::try_from(numbers[0]).unwrap(), numbers[2])
    };
    parts.map(entry).collect()
}

fn covers(found: &BTreeMap<u32, u64>, wanted: &BTreeMap<u32, u64>) -> bool {
    wanted
        .iter()
        .all(|(domain, number)| found.get(domain).is_some_and(|found| found >= number))
}

async fn wait_until_m1_has(topology: &Topology, wanted: &BTreeMap<u32, u64>) {
    let deadline = Deadline::after_secs(60);
    while !wanted.is_empty() {
        let position = topology.m1.value("SELECT @@GLOBAL.gtid_binlog_pos").await;
        if covers(&numbers(&position.unwrap_or_default()), wanted) {
            return;
        }
        assert!(!deadline.passed(), "M1 does not get {wanted:?}");
        run_for(20).await;
    }
}

async fn wait_until_relay_has(topology: &Topology, wanted: &BTreeMap<u32, u64>) {
    if wanted.is_empty() {
        return;
    }
    let what = format!("the relay has {wanted:?}");
    let has = |status: &serde_json::Value| {
        let executed = status["relay"]["gtid_executed"].as_str().unwrap();
        covers(&numbers(executed), wanted)
    };
    topology.relay.wait_status(&what, 60, has).await;
}

async fn assert_same(mode: Mode, is_filtered: bool, mut topology: Topology, replica: &Server) {
    let m1 = &topology.m1;
    assert_same_tables(m1, &topology.m2, "test").await;
    assert_same_tables(m1, replica, "test").await;
    if is_filtered {
        assert_no_database(replica, "other").await;
    } else {
        assert_same_tables(m1, replica, "other").await;
    }
    if mode == Mode::MySqlAutoPosition {
        assert_eq!(gtid_executed(replica).await, gtid_executed(m1).await);
    } else {
        let replica = replica.value("SELECT @@GLOBAL.gtid_slave_pos").await;
        let m1 = m1.value("SELECT @@GLOBAL.gtid_binlog_pos").await;
        assert_eq!(numbers(&replica.unwrap()), numbers(&m1.unwrap()));
    }
    // MySQL reports these for STOP REPLICA under load, with a real master too.
    assert_no_errors(replica, &["replica SQL thread aborted"]);
    topology.relay.assert_running();
    let files = topology.relay.log_files();
    assert!(files.len() > 1, "no rotation happened: {files:?}");
    topology.relay.terminate();
    topology.relay.verify();
}
