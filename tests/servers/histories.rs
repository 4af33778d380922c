//! A master whose binlog is no longer the one that the relay has received: it was reset, or the server was
//! restored from an older copy. That source is `failed`, however its binlog grows afterwards, until an
//! administrator acts; the other source continues.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support;
use crate::support::relay::run_binrelay;
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_restored_from_an_older_copy() {
    restored(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_restored_from_an_older_copy() {
    restored(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_restored_from_an_older_copy() {
    restored(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_without_gtids_restored_from_an_older_copy() {
    restored(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_restored_from_an_older_copy() {
    restored(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_after_reset_master() {
    reset(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_after_reset_master() {
    reset(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_after_reset_of_binary_logs_and_gtids() {
    reset(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_after_reset_master() {
    reset(Kind::MySql56, Mode::MySqlNoGtids).await;
}

async fn start(kind: Kind, mode: Mode) -> Topology {
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    let topology = Topology::start(options).await;
    topology
        .m1
        .sql("USE test; CREATE TABLE history (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
        .await;
    insert(&topology.m1, 10).await;
    topology.settle(60).await;
    topology
}

/// Rows of equal sizes, so that transactions of another history end at the same positions.
async fn insert(server: &Server, rows: u32) {
    for _ in 0..rows {
        server
            .sql("USE test; INSERT INTO history (v) VALUES (1)")
            .await;
    }
}

async fn restored(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    topology.m1.terminate();
    let copy = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    copy_directory(&topology.m1.data_dir(), &copy.path().join("data"));
    topology.restart_m1().await;
    insert(&topology.m1, 10).await;
    topology.settle(60).await;
    // M1's own path must have delivered these rows, or copies of them: only that shows its history.
    let received = |status: &serde_json::Value| {
        let m1 = &status["sources"][0];
        m1["file"] != "mysql-bin.000001" && m1["seconds_behind"] == 0
    };
    topology
        .relay
        .wait_status("the relay has M1's newest rows", 60, received)
        .await;

    topology.m1.terminate();
    std::fs::remove_dir_all(topology.m1.data_dir()).expect("the data directory is removed");
    copy_directory(&copy.path().join("data"), &topology.m1.data_dir());
    topology.m1.restart().await;
    insert(&topology.m1, 5).await;
    assert_fails(&mut topology, 35).await;
}

async fn reset(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    let statement = match kind.says_replica() {
        true => "RESET BINARY LOGS AND GTIDS",
        false => "RESET MASTER",
    };
    topology.m1.sql(statement).await;
    insert(&topology.m1, 51).await;
    assert_fails(&mut topology, 10).await;
}

/// The source `m1` fails because of its history, and stays failed when its binlog grows by `more` rows and when
/// the relay is started again. The other source streams.
async fn assert_fails(topology: &mut Topology, more: u32) {
    wait_failed(topology).await;
    insert(&topology.m1, more).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    wait_failed(topology).await;
    topology.relay.terminate();
    topology.relay.restart();
    wait_failed(topology).await;
    let config = topology.relay.config();
    let status = run_binrelay(&["status", "--config", config.to_str().expect("a UTF-8 path")]);
    assert_eq!(status.status.code(), Some(3), "the exit status of `status`");
    topology
        .relay
        .wait_status("m2 is streaming", 30, |status| {
            status["sources"][1]["state"] == "streaming"
        })
        .await;
    topology.relay.terminate();
    topology.relay.verify();
}

async fn wait_failed(topology: &Topology) {
    topology
        .relay
        .wait_status("m1 is failed because of its history", 90, |status| {
            let m1 = &status["sources"][0];
            let error = m1["last_error"].to_string();
            m1["state"] == "failed" && error.contains("history has changed")
        })
        .await;
}

fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    let status = status.expect("cp can be run");
    assert!(status.success(), "cp -a {from:?} {to:?}: {status}");
}
