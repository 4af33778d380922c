//! MariaDB: the relay's only source is a virtual IP. The server that answers there executes transactions again, which
//! that server, or the one before it, has assigned.

use super::{end_of, insert, recover, start};
use crate::support;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, assert_healthy, attach, retry_each_second, settle};
use crate::support::servers::{Kind, Server};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, Topology, replica_options};
use crate::support::virtual_ip::VirtualIp;

const KIND: Kind = Kind::MariaDb;

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_executed_again_at_a_moved_address() {
    executed_again_at_a_moved_address(Mode::MariaDbFilePosition, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_executed_again_at_a_moved_address() {
    executed_again_at_a_moved_address(Mode::MariaDbSlavePos, true).await;
}

/// One domain.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_by_gtid_executed_again_at_a_moved_address() {
    executed_again_at_a_moved_address(Mode::MariaDbFilePosition, true).await;
}

async fn executed_again_at_a_moved_address(mode: Mode, by_gtid: bool) {
    let _turn = support::turn();
    let (topology, _direct) =
        start(KIND, mode, |options| options.m2_log_slave_updates = true).await;
    // Otherwise the two have the same transactions at the same coordinates, which makes them one server for the relay.
    topology.m1.sql("FLUSH BINARY LOGS").await;
    insert(&topology.m1, "kept", 1).await;
    let address = VirtualIp::of(topology.m1.port).await;
    let mut relay = relay(&address, by_gtid);
    relay.wait_streaming().await;
    let replica = Server::start(KIND, replica_options(KIND, 22)).await;
    let first = StartAt::first_file("relay-bin");
    attach(
        &replica,
        RELAY_HOST,
        relay.port,
        &first,
        retry_each_second(KIND),
    )
    .await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    // Rows of both servers, one after the other in M2's binlog.
    settle(&[m1], &[m2], 60).await;
    let from = end_of(m2).await;
    insert(m2, "lost", 6).await;
    let to_own = end_of(m2).await;
    wait_lost(m1, "6").await;
    insert(m1, "lost", 6).await;
    wait_lost(m2, "12").await;
    let to = end_of(m2).await;
    if !by_gtid {
        // M1 logs both executions of M2, and the relay delivers both.
        m2.sql("DELETE FROM test.lost WHERE id % 2 = 0").await;
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        recover(m2, from, to_own).await;
    }
    settle(&[m2], &[m1, &replica], 60).await;
    // The newest transaction is one of M1.
    insert(m1, "kept", 3).await;
    settle(&[m1], &[m2, &replica], 60).await;
    assert_same_tables(m1, &replica, "test").await;

    address.move_to(m2.port);
    follows(&relay, m2).await;
    insert(m2, "kept", 3).await;
    settle(&[m2], &[m1, &replica], 60).await;
    assert_same_tables(m1, &replica, "test").await;
    lose_and_recover(&topology, m2, (from, to), &replica).await;
    relay.kill9();
    relay.restart();
    follows(&relay, m2).await;
    lose_and_recover(&topology, m2, (from, to), &replica).await;

    // M1 has logged all of that. It is not delivered once more.
    address.move_to(m1.port);
    follows(&relay, m1).await;
    insert(m1, "kept", 3).await;
    settle(&[m1], &[m2, &replica], 60).await;
    assert_same_tables(m2, &replica, "test").await;
    assert_healthy(&replica).await;
    relay.terminate();
    relay.verify();
}

fn relay(address: &VirtualIp, by_gtid: bool) -> Relay {
    let mut source = SourceOptions::at("m1", address.port);
    source.auto_position = Some(by_gtid);
    let mut options = RelayOptions::new(vec![source]);
    // The topology's relay is connected, too.
    options.server_id = 901;
    options.replicate_do_db = Vec::new();
    Relay::start(options)
}

/// Waits until the server has as many rows. A mark would be executed again, too.
async fn wait_lost(server: &Server, rows: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let count = "SELECT COUNT(*) FROM test.lost";
    while server.value(count).await.as_deref() != Some(rows) {
        assert!(
            std::time::Instant::now() < deadline,
            "{server}: {rows} rows"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn follows(relay: &Relay, server: &Server) {
    let id = server.options.server_id;
    let follows = |status: &serde_json::Value| {
        let m1 = &status["sources"][0];
        m1["state"] == "streaming" && m1["server_id"] == id
    };
    relay
        .wait_status(&format!("server_id {id} is followed"), 30, follows)
        .await;
}

/// The table is lost, and recovered from a part of the server's binlog.
async fn lose_and_recover(
    topology: &Topology,
    server: &Server,
    (from, to): (u64, u64),
    replica: &Server,
) {
    server.sql("TRUNCATE TABLE test.lost").await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    recover(server, from, to).await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    settle(&[server], &[m1, m2, replica], 60).await;
    let rows = server.value("SELECT COUNT(*) FROM test.lost").await;
    assert_eq!(rows.as_deref(), Some("12"));
    // M1 ignores those that have its own server_id.
    assert_same_tables(m2, replica, "test").await;
}
