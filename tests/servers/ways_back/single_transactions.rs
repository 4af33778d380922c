//! The ways back past a single transaction: one that the source has lost from its binlog, and one that cannot be
//! aligned.

use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use super::{advised, assert_continues, execute, insert, start_with, wait_failed, wait_for_rows};
use crate::support::programs::free_port;
use crate::support::replication::{replica_status, wait_for_table};
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions};
use crate::support::virtual_ip::VirtualIp;
use crate::support::{self, Deadline};

/// An INCIDENT event: M2 stops at it as well. The changes are executed on both.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn incident_of_mariadb() {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(Mode::MariaDbFilePosition, support::seed());
    options.replicas = 1;
    let mut topology = start_with(options).await;
    lose_rows(&topology.m1).await;
    let message = wait_failed(&topology, "lost changes").await;
    let command = "--at FILE:POS with the position after this event";
    assert!(message.contains(command), "{message}");
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
    let skip = "SET GLOBAL sql_slave_skip_counter=1; START SLAVE";
    topology.m2.sql(skip).await;
    let after = after_incident(&topology.m1).await;
    execute(&topology, &format!("binrelay continue m1 --at {after}"));
    assert_continues(&mut topology).await;
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
