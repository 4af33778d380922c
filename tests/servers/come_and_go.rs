//! Sources that are removed from the configuration, added again later, added for the first time, or listed in
//! another order: a position belongs to a source's name, so each continues where it was.

use crate::support;
use crate::support::relay::SourceOptions;
use crate::support::replication::{assert_healthy, retry_each_second, settle};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, Topology, TopologyOptions};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_by_file_and_position() {
    check(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_by_slave_pos() {
    check(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_by_auto_position() {
    check(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_without_gtids() {
    check(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_without_gtids() {
    check(Kind::MySql56, Mode::MySqlNoGtids).await;
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
    insert(&topology).await;
    topology.settle(60).await;
    let sources = topology.relay.options.sources.clone();
    let [one, two] = &sources[..] else {
        panic!("two sources: {sources:?}");
    };

    // Without m1: its transactions arrive by m2.
    restart_with(&mut topology, vec![two.clone()]).await;
    insert(&topology).await;
    topology.settle(60).await;
    // The log is opened more than once without it.
    restart_with(&mut topology, vec![two.clone()]).await;
    insert(&topology).await;
    // It is added again, behind the other.
    restart_with(&mut topology, vec![two.clone(), one.clone()]).await;
    insert(&topology).await;
    topology.settle(60).await;
    // In the former order.
    restart_with(&mut topology, vec![one.clone(), two.clone()]).await;
    insert(&topology).await;
    topology.settle(60).await;
    // Without m2, and with a third source, which has a history of its own that begins with its first file.
    let mut m3 = ServerOptions::new(33);
    m3.gtid = mode.has_gtids();
    if mode == Mode::MariaDbSlavePos {
        m3 = m3.extra("--gtid-domain-id=33");
    }
    let m3 = Server::start(kind, m3).await;
    m3.sql("CREATE DATABASE IF NOT EXISTS test; USE test; CREATE TABLE third (id INT PRIMARY KEY)")
        .await;
    m3.sql("USE test; INSERT INTO third VALUES (1)").await;
    let three = SourceOptions {
        name: "m3".to_owned(),
        port: m3.port,
        ..one.clone()
    };
    restart_with(&mut topology, vec![three.clone(), one.clone()]).await;
    m3.sql("USE test; INSERT INTO third VALUES (2)").await;
    insert(&topology).await;
    restart_with(&mut topology, vec![one.clone(), three, two.clone()]).await;
    m3.sql("USE test; INSERT INTO third VALUES (3)").await;
    insert(&topology).await;
    let replica = &topology.replicas[0];
    let masters = [&topology.m1, &topology.m2];
    settle(&masters, &masters, 60).await;
    settle(&[masters[0], masters[1], &m3], &[replica], 60).await;
    assert_healthy(replica).await;
    let third = "SELECT GROUP_CONCAT(id ORDER BY id) FROM test.third";
    assert_eq!(replica.value(third).await.as_deref(), Some("1,2,3"));
    replica
        .sql("SET sql_log_bin=0; DROP TABLE test.third, test.mark_33")
        .await;
    assert_same_tables(&topology.m1, &topology.m2, "test").await;
    assert_same_tables(&topology.m1, replica, "test").await;
    topology.relay.terminate();
    topology.relay.verify();
}

async fn restart_with(topology: &mut Topology, sources: Vec<SourceOptions>) {
    topology.relay.terminate();
    insert(topology).await;
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
}

async fn insert(topology: &Topology) {
    for server in [&topology.m1, &topology.m2] {
        for _ in 0..3 {
            server
                .sql("USE test; INSERT INTO numbered (v) VALUES (1)")
                .await;
        }
    }
}
