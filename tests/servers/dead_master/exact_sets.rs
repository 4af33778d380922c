//! Few transactions, of which each is accounted for: with a filter, and without log_slave_updates.

use super::{as_replica, missing, run_missing};
use crate::support;
use crate::support::replication::{settle, wait_for_table};
use crate::support::topology::{Mode, Topology, TopologyOptions};
use mysql_async::Row;
use serde_json::Value;

async fn start(mode: Mode, change: impl FnOnce(&mut TopologyOptions)) -> Topology {
    // An odd seed: M1 logs rows.
    let mut options = TopologyOptions::new(mode, 1);
    options.replicas = 0;
    change(&mut options);
    let topology = Topology::start(options).await;
    let tables =
        "CREATE TABLE test.t (a INT PRIMARY KEY); CREATE TABLE other.t (a INT PRIMARY KEY)";
    topology.m1.sql(tables).await;
    wait_for_table(&topology.m2, "other", "t").await;
    settle(&[&topology.m1], &[&topology.m2], 60).await;
    topology.m2.sql("STOP REPLICA IO_THREAD").await;
    topology
}

async fn wait_received(topology: &Topology) {
    let at_end = |status: &Value| status["sources"][0]["seconds_behind"] == 0;
    support::topology::run_for(500).await;
    topology
        .relay
        .wait_status("M1 is received", 30, at_end)
        .await;
}

/// Neither an empty stand-in of a filtered transaction nor a part of one is applied under its GTID.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn what_the_filter_has_altered_is_not_written() {
    let _turn = support::turn();
    let mut topology = start(Mode::MySqlAutoPosition, |_| {}).await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    for a in 1..=3 {
        m1.sql(&format!("INSERT INTO test.t VALUES ({a})")).await;
    }
    m1.sql("INSERT INTO other.t VALUES (1)").await;
    m1.sql("INSERT INTO other.t VALUES (2)").await;
    m1.sql("BEGIN; INSERT INTO test.t VALUES (4); INSERT INTO other.t VALUES (4); COMMIT")
        .await;
    wait_received(&topology).await;
    let found = missing(&topology.relay, &["--write"]);
    let count = |name: &str| found[name].as_u64();
    assert_eq!(
        (count("total"), count("altered")),
        (Some(4), Some(1)),
        "{found:#}"
    );
    assert_eq!(count("filtered"), Some(2), "{found:#}");
    assert_eq!(found["has_filter"], true);
    assert!(
        found["notes"].to_string().contains("may lack more than"),
        "{found:#}"
    );
    assert_eq!(found["transactions"][0]["databases"][0], "test");
    assert_eq!(found["rescue"]["transactions"], 3);
    as_replica(m2, &found["rescue"]).await;
    let rows: Vec<u32> = m2.rows("SELECT a FROM test.t ORDER BY a").await;
    assert_eq!(rows, [1, 2, 3]);
    // M1 is alive: M2 gets the three others from it, whole.
    m2.sql("START REPLICA IO_THREAD").await;
    settle(&[m1], &[m2], 60).await;
    for database in ["test", "other"] {
        support::tables::assert_same_tables(m1, m2, database).await;
    }
    topology.relay.terminate();
    topology.relay.verify();
}

/// M2's binlog does not show what it has of M1; its coordinates do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn a_source_that_does_not_log_what_it_replicates() {
    let _turn = support::turn();
    let mut topology = start(Mode::MySqlNoGtids, |options| {
        options.m2_log_slave_updates = false;
        options.replicate_do_db = Vec::new();
    })
    .await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    for a in 1..=3 {
        m1.sql(&format!("INSERT INTO test.t VALUES ({a})")).await;
        m2.sql(&format!("INSERT INTO test.t VALUES ({})", a + 10))
            .await;
    }
    wait_received(&topology).await;
    let refused = run_missing(&topology.relay, &[]);
    assert_eq!(refused.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        errors.contains("does not log what it replicates"),
        "{errors}"
    );
    let rows = m2.rows::<Row>("SHOW REPLICA STATUS").await;
    let file: String = rows[0].get("Relay_Source_Log_File").unwrap();
    let position: u64 = rows[0].get("Exec_Source_Log_Pos").unwrap();
    let at = format!("{file}:{position}");
    assert!(errors.contains(&at), "{errors}");
    let arguments = ["--replica-of", "m1", &at, "--write"];
    let found = missing(&topology.relay, &arguments);
    assert_eq!(found["total"], 3, "{found:#}");
    as_replica(m2, &found["rescue"]).await;
    support::tables::assert_same_tables(m1, m2, "other").await;
    let rows: Vec<u32> = m2.rows("SELECT a FROM test.t ORDER BY a").await;
    assert_eq!(rows, [1, 2, 3, 11, 12, 13]);
    topology.relay.terminate();
    topology.relay.verify();
}
