//! The ways back past a transaction that is larger than `max_transaction_size`: the limit is raised, as the message
//! says; or the transaction is skipped on both sources, after its changes were executed on the replicas.

use mysql_async::Row;
use serde_json::Value;

use super::{assert_continues, execute, insert, refusal, start_with, wait_for_rows};
use crate::support;
use crate::support::replication::{start_replica, stop_replica, wait_for_table};
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn raised_for_mysql_97() {
    raised(Kind::MySql, Mode::MySqlNoGtids).await;
    raised(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn raised_for_mysql_56() {
    raised(Kind::MySql56, Mode::MySqlNoGtids).await;
    raised(Kind::MySql56, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn raised_for_mariadb() {
    raised(Kind::MariaDb, Mode::MariaDbFilePosition).await;
    raised(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn raised_for_other_mariadbs() {
    raised(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    raised(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn skipped_on_mysql_97() {
    skipped(Kind::MySql, Mode::MySqlNoGtids).await;
    skipped(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn skipped_on_mysql_56() {
    skipped(Kind::MySql56, Mode::MySqlNoGtids).await;
    skipped(Kind::MySql56, Mode::MySqlAutoPosition).await;
}

/// Nothing refuses a MariaDB replica that lacks it, so that is asked for explicitly.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn skipped_on_mariadb() {
    skipped(Kind::MariaDb, Mode::MariaDbFilePosition).await;
    skipped(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn skipped_on_other_mariadbs() {
    skipped(Kind::MariaDb105, Mode::MariaDbSlavePos).await;
    skipped(Kind::MariaDb118, Mode::MariaDbFilePosition).await;
}

/// The limit of 1 MiB is reached.
async fn start(kind: Kind, mode: Mode) -> Topology {
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    options.log_extra = vec!["[limits]\nmax_transaction_size = \"1MiB\"".to_owned()];
    let topology = start_with(options).await;
    topology
        .m1
        .sql("USE test; CREATE TABLE large (id INT PRIMARY KEY AUTO_INCREMENT, v LONGTEXT)")
        .await;
    wait_for_table(&topology.m2, "test", "large").await;
    topology.settle(60).await;
    topology
}

/// Logged as rows, because of UUID(): 8 events of 300 kB.
async fn write_large(m1: &Server) {
    let row = "INSERT INTO large (v) VALUES (CONCAT(UUID(), REPEAT('x', 300000)))";
    let rows = [row; 8].join("; ");
    m1.sql(&format!("USE test; BEGIN; {rows}; COMMIT")).await;
}

/// Both sources are failed: each has sent the transaction.
async fn wait_refused(topology: &Topology) {
    let is_refused = |source: &Value| {
        let message = source["last_error"]["message"].as_str().unwrap_or_default();
        source["state"] == "failed"
            && message.contains("the limit of [limits] max_transaction_size")
            && message.contains(
                "raise it and restart binrelay: the source continues with this transaction",
            )
    };
    let both = |status: &Value| {
        let sources = status["sources"].as_array().cloned().unwrap_or_default();
        sources.len() == 2 && sources.iter().all(is_refused)
    };
    let what = "both sources are failed";
    topology.relay.wait_status(what, 60, both).await;
}

async fn raised(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    write_large(&topology.m1).await;
    insert(&topology.m1, 3).await;
    wait_refused(&topology).await;
    insert(&topology.m2, 3).await;
    // It is not forgotten by a restart.
    topology.relay.terminate();
    topology.relay.restart();
    wait_refused(&topology).await;
    topology.relay.terminate();
    topology.relay.verify();
    topology.relay.options.log_extra = Vec::new();
    let sources = topology.relay.options.sources.clone();
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
    assert_continues(&mut topology).await;
    println!("{kind}, {mode}: continues with the large transaction");
}

async fn skipped(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    write_large(&topology.m1).await;
    let of_m1 = end_of(&topology.m1).await;
    wait_for_large(&topology).await;
    let of_m2 = end_of(&topology.m2).await;
    wait_refused(&topology).await;
    insert(&topology.m1, 3).await;
    wait_for_rows(&topology.m2, &topology.m1).await;
    execute_on_replica(&topology).await;
    for (source, end) in [("m1", of_m1), ("m2", of_m2)] {
        let mut command = format!("binrelay continue {source} --at {end}");
        // Once m1 has delivered later transactions, the log is not known to lack an earlier one.
        let is_known = kind.is_mariadb() && source == "m1";
        if is_known {
            let refused = refusal(&topology, &command);
            assert!(refused.contains(" --skip-missing, or seed"), "{refused}");
        }
        if kind.is_mariadb() {
            command.push_str(" --skip-missing");
        }
        let done = execute(&topology, &command);
        println!("{kind}, {mode}: {done}");
        if is_known {
            assert!(done.contains("replicas never receive them"), "{done}");
        } else if kind.is_mariadb() {
            assert!(!done.contains("cannot be verified"), "{done}");
        } else if mode.has_gtids() {
            count_gtids(&topology.replicas[0], &done).await;
        } else {
            assert!(done.contains("cannot be verified"), "{done}");
        }
    }
    assert_continues(&mut topology).await;
}

async fn wait_for_large(topology: &Topology) {
    let deadline = support::Deadline::after_secs(60);
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM test.large";
    while topology.m2.value(count).await.as_deref() != Some("8") {
        assert!(!deadline.passed(), "M2 lacks the large transaction");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The end of its binlog.
async fn end_of(server: &Server) -> String {
    let sql = match server.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let rows = server.rows::<Row>(sql).await;
    let (file, position): (String, u64) = (rows[0].get(0).unwrap(), rows[0].get(1).unwrap());
    format!("{file}:{position}")
}

/// The changes of the transaction, outside its binlog.
async fn execute_on_replica(topology: &Topology) {
    let query = "SELECT id, v FROM test.large ORDER BY id";
    let rows: Vec<(u64, String)> = topology.m1.rows(query).await;
    assert_eq!(rows.len(), 8);
    for (id, v) in rows {
        let sql = format!("SET sql_log_bin=0; INSERT INTO test.large VALUES ({id}, '{v}')");
        topology.replicas[0].sql(&sql).await;
    }
}

/// What the answer says: the replica, which has the changes, counts the transaction as executed.
async fn count_gtids(replica: &Server, answer: &str) {
    let statement = answer.find("SET GLOBAL gtid_purged = '+");
    let Some(statement) = statement.map(|at| &answer[at..]) else {
        return; // The other source's decision has counted it already.
    };
    let set = statement.split('\'').nth(1).expect("a quoted set");
    let gtid = set.trim_start_matches('+');
    let counted = match replica.kind {
        Kind::MySql56 => format!("SET gtid_next='{gtid}'; BEGIN; COMMIT; SET gtid_next=AUTOMATIC"),
        _ => format!("SET GLOBAL gtid_purged='{set}'"),
    };
    let (stop, start) = (stop_replica(replica.kind), start_replica(replica.kind));
    replica.sql(&format!("{stop}; {counted}; {start}")).await;
}
