//! A copy must be a copy: a transaction whose GTID was delivered is compared with the delivered one.
//!
//! Each test is a row of the table in `src/merge/with_gtids.md`. A direct replica of the master is the control.

mod moved_address;
mod other_kinds;

use std::process::Stdio;
use std::time::Duration;

use crate::support;
use crate::support::programs::{binlog_tool, program};
use crate::support::relay::run_binrelay;
use crate::support::replication::{assert_healthy, attach, settle, start_replica, stop_replica};
use crate::support::servers::{Kind, Server};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, Topology, TopologyOptions, gtid_executed, replica_options};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_transactions_executed_again() {
    executed_again(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_transactions_executed_again() {
    executed_again(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_peer_of_a_master_that_was_reset() {
    peer_of_reset(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_peer_of_a_master_that_was_reset() {
    peer_of_reset(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_gtid_assigned_twice() {
    assigned_twice(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_gtid_assigned_twice() {
    assigned_twice(Kind::MySql56).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_gtid_assigned_twice() {
    assigned_twice(Kind::MySql57).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_copies_of_long_transactions() {
    long_transactions(Kind::MySql57, Mode::MySqlFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_copies_of_long_transactions() {
    long_transactions(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_copies_of_long_transactions() {
    long_transactions(Kind::MySql56, Mode::MySqlFilePosition).await;
}

/// Dual masters, the relay, its replica, and a direct replica of M1 with the same options.
async fn start(
    kind: Kind,
    mode: Mode,
    change: impl FnOnce(&mut TopologyOptions),
) -> (Topology, Server) {
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    options.replicate_do_db = Vec::new();
    change(&mut options);
    let topology = Topology::start(options).await;
    let mut direct = replica_options(kind, 21);
    direct.gtid = mode.has_gtids();
    let direct = Server::start(kind, direct).await;
    let at = mode.start_at("mysql-bin");
    attach(&direct, "127.0.0.1", topology.m1.port, &at, "").await;
    let table = "(id INT PRIMARY KEY AUTO_INCREMENT, v INT, t TEXT)";
    topology
        .m1
        .sql(&format!(
            "USE test; CREATE TABLE lost {table}; CREATE TABLE kept {table}"
        ))
        .await;
    topology.settle(60).await;
    (topology, direct)
}

async fn insert(server: &Server, table: &str, rows: u32) {
    for row in 0..rows {
        // UUID() is logged as a row where the format is mixed.
        let value = if row % 2 == 0 { "'x'" } else { "UUID()" };
        server
            .sql(&format!(
                "USE test; INSERT INTO {table} (v, t) VALUES ({row}, {value})"
            ))
            .await;
    }
}

/// The end of the server's binlog.
async fn end_of(server: &Server) -> u64 {
    let sql = match server.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let rows: Vec<mysql_async::Row> = server.rows(sql).await;
    rows[0].get("Position").expect("a position")
}

/// Applies a part of M1's binlog to M1, as an administrator who recovers a table does.
async fn recover(m1: &Server, from: u64, to: u64) {
    let files = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    let output = binlog_tool(m1.kind, files.path())
        .arg(format!("--start-position={from}"))
        .arg(format!("--stop-position={to}"))
        .args(m1.log_files())
        .output()
        .expect("the binlog tool can be run");
    assert!(output.status.success(), "{output:?}");
    let mut client = program(m1.kind, "client")
        .args(["--user=root"])
        .arg(format!(
            "--socket={}",
            m1.data_dir().with_file_name("s").display()
        ))
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client can be run");
    let mut input = client.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, &output.stdout).expect("the client reads");
    drop(input);
    let status = client.wait().expect("the client ends");
    assert!(status.success(), "{status}");
}

async fn executed_again(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let (mut topology, direct) = start(kind, mode, |_| {}).await;
    let from = end_of(&topology.m1).await;
    insert(&topology.m1, "lost", 6).await;
    topology
        .m1
        .sql("USE test; BEGIN; INSERT INTO lost (v) VALUES (50); INSERT INTO lost (t) VALUES (UUID()); COMMIT")
        .await;
    let to = end_of(&topology.m1).await;
    insert(&topology.m1, "kept", 5).await;
    insert(&topology.m2, "kept", 5).await;
    topology.m1.sql("TRUNCATE TABLE test.lost").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    topology.settle(60).await;

    // A replica that reconnects between the two occurrences of its GTID is sent what follows the first,
    // by a master as by the relay.
    topology.replicas[0].sql(stop_replica(kind)).await;
    recover(&topology.m1, from, to).await;
    if mode.has_gtids() {
        wait_repeated(&topology).await;
    }
    // The relay is resumed while the newest GTID of M1 is an old one.
    topology.relay.terminate();
    topology.relay.restart();
    topology.relay.wait_streaming().await;
    insert(&topology.m1, "kept", 3).await;
    topology.replicas[0].sql(start_replica(kind)).await;
    if mode.has_gtids() {
        wait_nothing_missing(&topology).await;
    }
    insert(&topology.m2, "lost", 3).await;
    topology.settle(60).await;
    settle(&[&topology.m1], &[&direct], 60).await;
    assert_healthy(&direct).await;
    assert_eq!(
        topology
            .m1
            .value("SELECT COUNT(*) FROM test.lost")
            .await
            .as_deref(),
        Some("11")
    );
    assert_same_tables(&topology.m1, &direct, "test").await;
    assert_same_tables(&topology.m1, &topology.replicas[0], "test").await;
    assert_same_tables(&topology.m1, &topology.m2, "test").await;
    let status = topology.relay.status();
    assert!(
        status["sources"]
            .as_array()
            .expect("sources")
            .iter()
            .all(|source| source["state"] == "streaming")
    );
    topology.relay.terminate();
    topology.relay.verify();
}

/// Both paths have delivered the second executions. Without GTIDs they are not known as such.
async fn wait_repeated(topology: &Topology) {
    let both = |status: &serde_json::Value| {
        let repeated = |number: usize| &status["sources"][number]["transactions"]["repeated"];
        *repeated(0) == 7 && *repeated(1) == 7
    };
    let what = "the second executions arrive on both paths";
    topology.relay.wait_status(what, 30, both).await;
}

/// Each master has what the other has, as `only_here` shows. Without GTIDs it is null.
async fn wait_nothing_missing(topology: &Topology) {
    let both = |status: &serde_json::Value| {
        let only_here = |number: usize| &status["sources"][number]["only_here"];
        *only_here(0) == 0 && *only_here(1) == 0
    };
    let what = "each master has what the other has";
    topology.relay.wait_status(what, 30, both).await;
}

async fn peer_of_reset(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let (mut topology, _direct) = start(kind, mode, |_| {}).await;
    insert(&topology.m1, "kept", 10).await;
    topology.settle(60).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    m2.sql("STOP SLAVE").await;
    m1.sql("STOP SLAVE").await;
    m1.sql("RESET MASTER").await;
    m2.sql(match mode {
        Mode::MariaDbSlavePos => "SET GLOBAL gtid_slave_pos=''",
        _ => "CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000001', MASTER_LOG_POS=4",
    })
    .await;
    m2.sql("START SLAVE").await;
    insert(m1, "kept", 51).await;
    let failed = |status: &serde_json::Value| {
        let sources = status["sources"].as_array().cloned().unwrap_or_default();
        !sources.is_empty()
            && sources.iter().all(|source| {
                let error = source["last_error"].to_string();
                source["state"] == "failed" && error.contains("history has changed")
            })
    };
    topology
        .relay
        .wait_status("both sources are failed", 60, failed)
        .await;
    let m2 = topology.relay.source_status("m2");
    let error = m2["last_error"]["message"].to_string();
    for part in [
        "a copy of ",
        "from m",
        "ending at mysql-bin.000001:",
        "relay-bin.000",
        "logged",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    topology.relay.terminate();
    topology.relay.restart();
    topology
        .relay
        .wait_status("both are failed again", 60, failed)
        .await;
    assert_status_3(&topology);
    topology.relay.terminate();
    topology.relay.verify();
}

fn assert_status_3(topology: &Topology) {
    let config = topology.relay.config();
    let status = run_binrelay(&["status", "--config", config.to_str().expect("a UTF-8 path")]);
    assert_eq!(status.status.code(), Some(3), "the exit status of `status`");
}

/// On a master that does not replicate from the other, a GTID of the other is assigned by hand.
async fn assigned_twice(kind: Kind) {
    let _turn = support::turn();
    let (topology, _direct) = start(kind, Mode::MySqlAutoPosition, |options| {
        options.peered = false;
    })
    .await;
    insert(&topology.m1, "kept", 5).await;
    topology.settle(60).await;
    let set = gtid_executed(&topology.m1).await;
    // MySQL skips what it has executed. 5.6 does not read the output of its own tool: error 1837.
    if kind != Kind::MySql56 {
        recover(&topology.m1, 4, u64::from(u32::MAX)).await;
    }
    assert_eq!(gtid_executed(&topology.m1).await, set);
    let rows = topology.m1.value("SELECT COUNT(*) FROM test.kept").await;
    assert_eq!(rows.as_deref(), Some("5"));
    let (uuid, numbers) = set.split_once(':').expect("a GTID set");
    let last = numbers.rsplit('-').next().expect("a number");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // An administrator skips a transaction.
    let next = |number: &str, statements: &str| {
        format!("SET gtid_next='{uuid}:{number}'; {statements}; SET gtid_next=AUTOMATIC")
    };
    topology.m2.sql(&next("1", "BEGIN; COMMIT")).await;
    topology.m2.sql("CREATE TABLE test.more (id INT)").await;
    topology.settle(60).await;
    topology.relay.wait_streaming().await;
    topology
        .m2
        .sql(&next(last, "INSERT INTO test.more VALUES (7)"))
        .await;
    topology
        .relay
        .wait_status("m2 is failed", 60, |status| {
            let m2 = &status["sources"][1];
            let error = m2["last_error"].to_string();
            m2["state"] == "failed"
                && error.contains(&format!("a copy of {uuid}:{last}"))
                && error.contains("binrelay continue")
                && status["sources"][0]["state"] == "streaming"
        })
        .await;
    assert_status_3(&topology);
}

/// The two masters log other commit times for a transaction of several seconds, and M2 logs rows for
/// M1's statements.
async fn long_transactions(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let (mut topology, _direct) = start(kind, mode, |options| {
        options.m2_binlog_format = Some("ROW");
    })
    .await;
    topology.m2.sql("STOP SLAVE").await;
    let begin = "USE test; BEGIN; INSERT INTO kept (v) VALUES (1); DO SLEEP(1.2)";
    let rest = "INSERT INTO lost (t) VALUES (UUID()); DO SLEEP(1.2); INSERT INTO kept (v) VALUES (2); DO SLEEP(1.2); COMMIT";
    topology.m1.sql(&format!("{begin}; {rest}")).await;
    topology
        .m1
        .sql("USE test; SET timestamp=1700000000; INSERT INTO kept (v) VALUES (3)")
        .await;
    topology.m1.sql("USE test; BEGIN; INSERT INTO kept (v) VALUES (4); SET timestamp=1900000000; INSERT INTO kept (v) VALUES (5); SET timestamp=DEFAULT; INSERT INTO kept (v) VALUES (6); COMMIT").await;
    topology.m2.sql("START SLAVE").await;
    topology.settle(60).await;
    topology
        .relay
        .wait_status("copies of all arrived from M2", 30, |status| {
            let sources = status["sources"].as_array().cloned().unwrap_or_default();
            sources
                .iter()
                .all(|source| source["state"] == "streaming" && source["seconds_behind"] == 0)
                && sources[1]["transactions"]["duplicate"].as_u64() > Some(3)
        })
        .await;
    assert_same_tables(&topology.m1, &topology.replicas[0], "test").await;
    assert_same_tables(&topology.m1, &topology.m2, "test").await;
    topology.relay.terminate();
    topology.relay.verify();
}
