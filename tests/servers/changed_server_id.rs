//! `SET GLOBAL server_id` on a master: the server is still the same, so replication from it continues, also after
//! reconnects and a restart of the relay.

use crate::support;
use crate::support::replication::retry_each_second;
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions};

/// M1's server_id after the change.
const CHANGED: u32 = 87;

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_file_and_position() {
    check(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_without_gtids() {
    check(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_without_gtids() {
    check(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_by_slave_pos() {
    check(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_kinds_and_modes() {
    check(Kind::MySql, Mode::MySqlAutoPosition).await;
    check(Kind::MySql56, Mode::MySqlAutoPosition).await;
    check(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    check(Kind::MariaDb105, Mode::MariaDbSlavePos).await;
    check(Kind::MariaDb118, Mode::MariaDbFilePosition).await;
    check(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
}

async fn check(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    options.attach_extra = retry_each_second(kind);
    let mut topology = Topology::start(options).await;
    topology
        .m1
        .sql("USE test; CREATE TABLE numbered (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
        .await;
    insert(&topology, 5).await;
    topology.settle(60).await;

    topology
        .m1
        .sql(&format!("SET GLOBAL server_id = {CHANGED}"))
        .await;
    insert(&topology, 5).await;
    // The dump is requested again, first by the running relay, then by another process.
    kill_dumps(&topology.m1).await;
    insert(&topology, 5).await;
    let answers = |status: &serde_json::Value| {
        let m1 = &status["sources"][0];
        m1["state"] == "streaming" && m1["server_id"] == CHANGED
    };
    let what = "m1 is followed under its new server_id";
    topology.relay.wait_status(what, 60, answers).await;
    topology.relay.terminate();
    insert(&topology, 5).await;
    topology.relay.restart();
    topology.relay.wait_status(what, 60, answers).await;
    insert(&topology, 5).await;
    topology.settle(60).await;
    topology.assert_replicas_equal_m1().await;
    topology.relay.terminate();
    topology.relay.verify();
    println!("{kind}, {mode}: passed");
}

async fn insert(topology: &Topology, rows: u32) {
    for server in [&topology.m1, &topology.m2] {
        for _ in 0..rows {
            server
                .sql("USE test; INSERT INTO numbered (v) VALUES (1)")
                .await;
        }
    }
}

/// Ends the connections of all replicas of the server.
async fn kill_dumps(server: &Server) {
    let ids: Vec<u64> = server
        .rows("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
        .await;
    for id in ids {
        server.sql(&format!("KILL {id}")).await;
    }
}
