//! A transaction that is larger than the memory that the relay may take (with `BINRELAY_PROFILE=long`, 300 MB) and a
//! single row event of 40 MB pass, also when the source is killed in the middle of one and the relay in the middle of
//! another.

use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    assert_healthy, attach, retry_each_second, settle, wait_for_table,
};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::throttle::Gate;
use crate::support::topology::{Mode, replica_options};
use crate::support::{self, Profile};

/// What the relay may hold at most.
const MEMORY_KIB_MAX: u64 = 150 * 1024;
const MIB: u64 = 1 << 20;

/// The rows of 1 MiB of the large transaction, which are more than the relay may hold, and of those that are interrupted.
fn rows_of_profile() -> (u32, u32) {
    match support::profile() {
        Profile::Gate => (160, 90),
        Profile::Long => (300, 150),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_file_and_position() {
    pass_through(Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos() {
    pass_through(Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_by_auto_position() {
    pass_through(Mode::MySqlAutoPosition).await;
}

fn for_large_rows(options: ServerOptions, kind: Kind) -> ServerOptions {
    let options = options
        .extra("--max-allowed-packet=128M")
        .extra("--binlog-format=ROW");
    match kind == Kind::MySql {
        false => options.extra("--innodb-log-file-size=512M"),
        true => options.extra("--innodb-redo-log-capacity=512M"),
    }
}

async fn create_table(server: &Server) {
    server.sql("CREATE DATABASE IF NOT EXISTS test").await;
    server
        .sql(
            "USE test; CREATE TABLE large (id INT AUTO_INCREMENT PRIMARY KEY, round INT NOT NULL, \
             n INT NOT NULL, payload LONGTEXT)",
        )
        .await;
}

/// One transaction of `count` rows of 1 MiB each.
async fn write_rows(server: &Server, round: u32, count: u32) {
    let digits = "SELECT 0 d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 \
                  UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 \
                  UNION ALL SELECT 8 UNION ALL SELECT 9";
    server
        .sql(&format!(
            "USE test; INSERT INTO large (round, n, payload) SELECT {round}, n, \
             REPEAT(CHAR(65 + n % 26), 1048576) FROM (SELECT a.d + 10 * b.d + 100 * c.d AS n \
             FROM ({digits}) a, ({digits}) b, ({digits}) c) numbers WHERE n < {count}"
        ))
        .await;
}

async fn pass_through(mode: Mode) {
    let _turn = support::turn();
    let kind = mode.kind();
    let mut master = Server::start(kind, for_large_rows(ServerOptions::new(86), kind)).await;
    let replica = Server::start(kind, for_large_rows(replica_options(kind, 11), kind)).await;
    let gate = Gate::open_to(master.port).await;
    let mut source = SourceOptions::at("m1", gate.port);
    source.auto_position = Some(mode != Mode::MariaDbFilePosition);
    let mut relay = Relay::start(RelayOptions::new(vec![source]));
    relay.wait_streaming().await;
    let at = mode.start_at("relay-bin");
    attach(
        &replica,
        RELAY_HOST,
        relay.port,
        &at,
        retry_each_second(kind),
    )
    .await;
    create_table(&master).await;
    wait_for_table(&replica, "test", "large").await;

    let (all, interrupted) = rows_of_profile();
    write_rows(&master, 1, all).await;
    master
        .sql("USE test; INSERT INTO large (round, n, payload) VALUES (2, 0, REPEAT('x', 41943040))")
        .await;
    settle(&[&master], &[&replica], 120).await;
    check_memory(&relay, "two large transactions");

    gate.hold_after(60 * MIB);
    write_rows(&master, 3, interrupted).await;
    gate.wait_held(60).await;
    master.kill9();
    gate.release();
    master.restart().await;
    settle(&[&master], &[&replica], 120).await;
    check_memory(
        &relay,
        "the source was killed in the middle of a transaction",
    );

    gate.hold_after(60 * MIB);
    write_rows(&master, 4, interrupted).await;
    gate.wait_held(60).await;
    relay.kill9();
    gate.release();
    relay.restart();
    settle(&[&master], &[&replica], 120).await;
    check_memory(
        &relay,
        "the relay was killed in the middle of a transaction",
    );

    // And in the middle of one row event.
    gate.hold_after(20 * MIB);
    master
        .sql("USE test; INSERT INTO large (round, n, payload) VALUES (5, 0, REPEAT('y', 41943040))")
        .await;
    gate.wait_held(60).await;
    relay.kill9();
    gate.release();
    relay.restart();
    settle(&[&master], &[&replica], 120).await;

    assert_healthy(&replica).await;
    assert_same_tables(&master, &replica, "test").await;
    let rows = replica.value("SELECT COUNT(*) FROM test.large").await;
    let expected = (all + 2 * interrupted + 2).to_string();
    assert_eq!(rows, Some(expected));
    check_memory(&relay, "all of it");
    relay.terminate();
    relay.verify();
}

fn check_memory(relay: &Relay, after: &str) {
    let peak = relay.rss_peak_kib();
    println!("after {after}: {} MiB at most", peak / 1024);
    assert!(
        peak < MEMORY_KIB_MAX,
        "after {after}: {peak} KiB, allowed are {MEMORY_KIB_MAX}"
    );
}
