//! The ways back past a single transaction: one that the source has lost from its binlog, one that cannot be
//! aligned, one that the other master has omitted, and one that is damaged in the source's binlog.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use super::{
    advised, assert_continues, execute, insert, refusal, start_with, wait_failed, wait_for_rows,
};
use crate::support::programs::free_port;
use crate::support::replication::{replica_status, wait_for_table};
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions};
use crate::support::virtual_ip::VirtualIp;
use crate::support::{self, Deadline};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn incident_of_mariadb() {
    incident(Kind::MariaDb, Mode::MariaDbFilePosition).await;
    incident(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn incident_of_mysql_56() {
    incident(Kind::MySql56, Mode::MySqlAutoPosition).await;
}

/// An INCIDENT event: M2 stops at it as well. The changes are executed on both. By GTID, MySQL sends the
/// event only once, MariaDB again and again.
async fn incident(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    let mut topology = start_with(options).await;
    lose_rows(&topology.m1).await;
    let message = wait_failed(&topology, "lost changes").await;
    let command = "--at FILE:POS with the position after this event";
    assert!(message.contains(command), "{message}");
    stays_failed(&mut topology).await;
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM test.my";
    let count = topology.m1.value(count).await.unwrap_or_default();
    let changes = format!(
        "SET sql_log_bin=0; INSERT INTO test.my SELECT REPEAT('x', 190) FROM information_schema.columns \
         LIMIT {count}"
    );
    for server in [&topology.m2, &topology.replicas[0]] {
        wait_for_table(server, "test", "my").await;
        server.sql(&changes).await;
    }
    let deadline = Deadline::after_secs(30);
    while replica_status(&topology.m2).await.sql_running != "No" {
        assert!(!deadline.passed(), "M2 still applies");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let after = after_incident(&topology.m1).await;
    let (file, end) = after.split_once(':').expect("a position");
    let skip = match mode {
        // By GTID, M1 sends it again.
        Mode::MariaDbSlavePos => format!(
            "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=no, MASTER_LOG_FILE='{file}', MASTER_LOG_POS={end}"
        ),
        Mode::MySqlAutoPosition => "STOP SLAVE; CHANGE MASTER TO MASTER_AUTO_POSITION=1".to_owned(),
        _ => "SET GLOBAL sql_slave_skip_counter=1".to_owned(),
    };
    topology.m2.sql(&format!("{skip}; START SLAVE")).await;
    let refused = refusal(&topology, "binrelay continue m1");
    assert!(refused.contains(command), "{refused}");
    // The message names the position before the event.
    let (before, _) = message
        .strip_prefix("at ")
        .and_then(|text| text.split_once(": "))
        .unwrap();
    let refused = refusal(&topology, &format!("binrelay continue m1 --at {before}"));
    assert!(
        refused.contains("is not after the Incident event"),
        "{refused}"
    );
    execute(&topology, &format!("binrelay continue m1 --at {after}"));
    let end: u64 = end.parse().expect("an offset");
    let is_past = |status: &Value| {
        let m1 = &status["sources"][0];
        m1["file"] != file || m1["position"].as_u64() >= Some(end)
    };
    let what = "m1 is past the incident";
    topology.relay.wait_status(what, 30, is_past).await;
    // MariaDB by GTID sends the event again.
    topology.relay.kill9();
    topology.relay.restart();
    assert_continues(&mut topology).await;
}

/// m1 is failed after it was tried again, also by another run of the relay.
async fn stays_failed(topology: &mut Topology) {
    let reconnects = |status: &Value| {
        status["sources"][0]["reconnects"]
            .as_u64()
            .unwrap_or_default()
    };
    for _ in 0..2 {
        let before = reconnects(&topology.relay.status());
        let is_retried = |status: &Value| reconnects(status) > before + 2;
        let what = "m1 is tried again";
        topology.relay.wait_status(what, 60, is_retried).await;
        let m1 = topology.relay.source_status("m1");
        assert_eq!(m1["state"], "failed", "{m1}");
        topology.relay.terminate();
        topology.relay.restart();
        wait_failed(topology, "lost changes").await;
    }
}

/// Changes a table without transactions by more rows than the server can log.
async fn lose_rows(master: &Server) {
    master
        .sql(
            "USE test; CREATE TABLE my (v VARCHAR(200)) ENGINE=MyISAM; \
             SET GLOBAL max_binlog_stmt_cache_size=4096; SET GLOBAL binlog_stmt_cache_size=4096",
        )
        .await;
    let mut conn = master.connect().await;
    conn.query_drop("SET SESSION binlog_format='ROW'")
        .await
        .unwrap();
    let insert =
        "INSERT INTO test.my SELECT REPEAT('x', 190) FROM information_schema.columns LIMIT 400";
    let error = conn.query_drop(insert).await.unwrap_err().to_string();
    assert!(error.contains("ERROR 1705 "), "{error}");
    conn.disconnect().await.unwrap();
}

/// The position after the INCIDENT event.
async fn after_incident(master: &Server) -> String {
    for path in master.log_files() {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap();
        let sql = format!("SHOW BINLOG EVENTS IN '{file}'");
        for event in master.rows::<Row>(&sql).await {
            let kind: String = event.get("Event_type").unwrap();
            if kind == "Incident" {
                let end: u64 = event.get("End_log_pos").unwrap();
                return format!("{file}:{end}");
            }
        }
    }
    panic!("no INCIDENT event");
}

/// M1 logs statements, M2 rows, and M1 executes an INSERT IGNORE without effect. M2's binlog is received first, and
/// has nothing of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn unaligned_mysql_56() {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(Mode::MySqlNoGtids, 2); // MIXED.
    options.master_kind = Kind::MySql56;
    options.replica_kind = Kind::MySql56;
    options.m2_binlog_format = Some("ROW");
    options.replicas = 1;
    let mut topology = start_with(options).await;
    let address = through_address(&mut topology).await;
    insert(&topology.m1, 3).await;
    topology.settle(60).await;
    address.move_to(free_port());
    let is_down = |status: &Value| status["sources"][0]["state"] == "connecting";
    topology.relay.wait_status("m1 is down", 30, is_down).await;
    let m1 = &topology.m1;
    let known = m1.value("SELECT CAST(MIN(id) AS CHAR) FROM test.history");
    let known = known.await.unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    m1.sql(&format!(
        "USE test; INSERT IGNORE INTO history (id, v) VALUES ({known}, 7)"
    ))
    .await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    insert(m1, 1).await;
    wait_for_rows(&topology.replicas[0], m1).await;
    address.move_to(m1.port);
    let message = wait_failed(&topology, "cannot determine whether").await;
    execute(&topology, &advised(&message));
    assert_continues(&mut topology).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn omitted_by_m2_mysql() {
    omitted(Kind::MySql, Mode::MySqlAutoPosition).await;
    omitted(Kind::MySql56, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn omitted_by_m2_mariadb() {
    omitted(Kind::MariaDb, Mode::MariaDbSlavePos).await;
    omitted(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

/// M2 does not replicate a table that the relay's replicas have. Its binlog is received first: MySQL logs the GTID of what
/// it filters, MariaDB nothing.
async fn omitted(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    options.master_extra = vec!["--replicate-ignore-table=test.omitted".to_owned()];
    let mut topology = start_with(options).await;
    let create = "SET sql_log_bin=0; CREATE TABLE test.omitted (id INT PRIMARY KEY)";
    for server in [&topology.m1, &topology.m2, &topology.replicas[0]] {
        server.sql(create).await;
    }
    let address = through_address(&mut topology).await;
    topology.settle(60).await;
    address.move_to(free_port());
    let is_down = |status: &Value| status["sources"][0]["state"] == "connecting";
    topology.relay.wait_status("m1 is down", 30, is_down).await;
    for row in 1..=2 {
        let insert = format!("USE test; INSERT INTO omitted VALUES ({row})");
        topology.m1.sql(&insert).await;
    }
    let end_of_last = match kind.is_mariadb() {
        true => topology.m1.rows::<Row>("SHOW MASTER STATUS").await,
        false => Vec::new(),
    };
    insert(&topology.m1, 2).await;
    wait_for_rows(&topology.replicas[0], &topology.m1).await;
    address.move_to(topology.m1.port);
    let text = match kind.is_mariadb() {
        true => "was not delivered",
        false => "delivered without their changes",
    };
    let message = wait_failed(&topology, text).await;
    println!("{kind}, {mode}: {message}");
    // It is not forgotten by a restart.
    topology.relay.terminate();
    topology.relay.restart();
    let message = wait_failed(&topology, text).await;
    let change = "SET sql_log_bin=0; INSERT INTO test.omitted VALUES (1), (2)";
    for server in [&topology.m2, &topology.replicas[0]] {
        server.sql(change).await;
    }
    // MySQL names the end of the last one. One decision is enough for all.
    let command = match end_of_last.first() {
        Some(row) => {
            let (file, position): (String, u64) = (row.get(0).unwrap(), row.get(1).unwrap());
            format!("binrelay continue m1 --at {file}:{position}")
        }
        None => advised(&message),
    };
    execute(&topology, &command);
    // The decision holds although m1 sends only what M2 writes, and is connected again.
    topology.relay.wait_streaming().await;
    insert(&topology.m2, 2).await;
    wait_for_rows(&topology.replicas[0], &topology.m2).await;
    wait_for_rows(&topology.m1, &topology.m2).await;
    topology.relay.terminate();
    topology.relay.restart();
    topology.relay.wait_streaming().await;
    assert_continues(&mut topology).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn damaged_on_mysql() {
    damaged(Kind::MySql, Mode::MySqlNoGtids).await;
    damaged(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn damaged_on_mariadb() {
    damaged(Kind::MariaDb, Mode::MariaDbFilePosition).await;
    damaged(Kind::MariaDb, Mode::MariaDbSlavePos).await;
    damaged(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    damaged(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
}

/// An event is damaged on M1's disk after M2 has received it, and before the relay has.
async fn damaged(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(mode, 2); // MIXED.
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    let mut topology = start_with(options).await;
    let address = through_address(&mut topology).await;
    insert(&topology.m1, 3).await;
    topology.settle(60).await;
    address.move_to(free_port());
    let is_down = |status: &Value| status["sources"][0]["state"] == "connecting";
    topology.relay.wait_status("m1 is down", 30, is_down).await;
    insert(&topology.m1, 1).await;
    wait_for_rows(&topology.m2, &topology.m1).await;
    let end = damage_last_statement(&topology.m1).await;
    insert(&topology.m1, 2).await;
    wait_for_rows(&topology.replicas[0], &topology.m1).await;
    address.move_to(topology.m1.port);
    let message = wait_failed(&topology, "checksum mismatch").await;
    let command = "run binrelay continue m1 --at FILE:POS with its end";
    assert!(message.contains(command), "{message}");
    let done = execute(&topology, &format!("binrelay continue m1 --at {end}"));
    println!("{kind}, {mode}: {done}");
    assert_continues(&mut topology).await;
}

/// Changes a byte of the newest statement in the server's binlog, once its replica has it; returns the end of its
/// transaction.
async fn damage_last_statement(master: &Server) -> String {
    let path = master.log_files().pop().expect("a binlog file");
    let file = path.file_name().and_then(|name| name.to_str()).unwrap();
    let mut events = master
        .rows::<Row>(&format!("SHOW BINLOG EVENTS IN '{file}'"))
        .await;
    // MariaDB 11.8 shows 0 as the end of an event within a transaction.
    let mut next = std::fs::metadata(&path).expect("the binlog").len();
    let mut end_of = |wanted: &str| loop {
        let event = events.pop().expect("an event");
        let info: String = event.get("Info").unwrap();
        let begin: u64 = event.get("Pos").unwrap();
        let end = std::mem::replace(&mut next, begin);
        if info.contains(wanted) {
            break end;
        }
    };
    let end = end_of("COMMIT");
    let statement = end_of("INSERT INTO history");
    // The last byte before the checksum.
    let at = statement - 5;
    let binlog = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path);
    let binlog = binlog.expect("the binlog is opened");
    let mut byte = [0];
    binlog
        .read_exact_at(&mut byte, at)
        .expect("the byte is read");
    binlog
        .write_all_at(&[byte[0] ^ 1], at)
        .expect("the byte is written");
    format!("{file}:{end}")
}

/// The relay reaches M1 by an address of its own from now on.
async fn through_address(topology: &mut Topology) -> VirtualIp {
    let address = VirtualIp::of(topology.m1.port).await;
    let mut sources = topology.relay.options.sources.clone();
    sources[0].port = address.port;
    topology.relay.terminate();
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
    address
}
