//! A replica that stops reading is disconnected after the timeout and does not affect the others; a
//! fast source does not make memory grow.

use crate::support;
use crate::support::raw_client::{Dumped, RawClient};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{assert_never_interrupted, attach, settle, wait_for_table};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, replica_options};

/// What the relay may hold at most.
const MEMORY_KIB_MAX: u64 = 150 * 1024;
/// The server_id of the replica that does not read.
const SLOW: u32 = 77;

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_replica_that_stops_reading_is_disconnected() {
    stop_reading(Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_replica_that_stops_reading_is_disconnected() {
    stop_reading(Mode::MySqlAutoPosition).await;
}

async fn stop_reading(mode: Mode) {
    let _turn = support::turn();
    let kind = mode.kind();
    let master = Server::start(kind, ServerOptions::new(86).extra("--binlog-format=ROW")).await;
    let replica = Server::start(kind, replica_options(kind, 11)).await;
    let mut options = RelayOptions::new(vec![SourceOptions::of("m1", &master)]);
    options.relay_extra = vec!["replica_write_timeout = \"2s\"".to_owned()];
    let mut relay = Relay::start(options);
    relay.wait_streaming().await;
    attach(
        &replica,
        RELAY_HOST,
        relay.port,
        &mode.start_at("relay-bin"),
        "",
    )
    .await;
    master.sql("CREATE DATABASE IF NOT EXISTS test").await;
    master
        .sql("USE test; CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, payload LONGTEXT)")
        .await;
    wait_for_table(&replica, "test", "t").await;

    // Connected, has read one event, and never reads again.
    let mut slow = RawClient::connect(RELAY_HOST, relay.port);
    slow.login(REPL_USER, REPL_PASSWORD)
        .expect("a replica may log in");
    let uuid = (kind == Kind::MySql).then_some("11111111-2222-3333-4444-777777777777");
    slow.prepare_dump(SLOW, uuid)
        .expect("a replica may register");
    slow.dump(SLOW, "relay-bin.000001", 4, 0);
    assert!(matches!(slow.next_event(), Dumped::Event(_)));
    relay
        .wait_status("the slow replica is listed", 10, |status| {
            has_replica(status, SLOW)
        })
        .await;

    // Far more than the sockets' buffers hold, as fast as the master can.
    write_rows(&master, 250).await;
    relay
        .wait_status("the slow replica is dropped", 20, |status| {
            !has_replica(status, SLOW)
        })
        .await;
    settle(&[&master], &[&replica], 120).await;
    write_rows(&master, 250).await;
    settle(&[&master], &[&replica], 120).await;

    assert_never_interrupted(&replica).await;
    assert_same_tables(&master, &replica, "test").await;
    let peak = relay.rss_peak_kib();
    println!("{mode}: {} MiB at most", peak / 1024);
    assert!(
        peak < MEMORY_KIB_MAX,
        "{peak} KiB, allowed are {MEMORY_KIB_MAX}"
    );
    drop(slow);
    relay.assert_running();
    relay.terminate();
    relay.verify();
}

/// As many transactions of 1 MiB, from one connection.
async fn write_rows(master: &Server, count: u32) {
    use mysql_async::prelude::Queryable;
    let mut conn = master.connect().await;
    for number in 0..count {
        let sql = format!(
            "INSERT INTO test.t (payload) VALUES (REPEAT('{}', 1048576))",
            number % 10
        );
        // The statement names its database; with rows the table's database decides.
        conn.query_drop(sql)
            .await
            .unwrap_or_else(|error| panic!("{master}: {error}"));
    }
    conn.disconnect().await.ok();
}

fn has_replica(status: &serde_json::Value, server_id: u32) -> bool {
    let replicas = status["replicas"].as_array().cloned().unwrap_or_default();
    replicas
        .iter()
        .any(|replica| replica["server_id"] == server_id && replica["state"] != "missing")
}
