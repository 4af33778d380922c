//! INCIDENT events of servers without GTIDs: the relay passes them on, and its replica stops as one of
//! the master does. `features` has them with GTIDs.

use crate::support;
use crate::support::Deadline;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    assert_healthy, attach, replica_status, retry_each_second, settle, wait_for_table,
};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::topology::Mode;

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_replica_stops_as_on_its_master() {
    replicas_stop(Kind::MySql56, 1590).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_replica_stops_as_on_its_master() {
    replicas_stop(Kind::MySql55, 1590).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_replica_stops_as_on_its_master() {
    replicas_stop(Kind::MySql57, 1590).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_replica_stops_as_on_its_master() {
    replicas_stop(Kind::MySql, 13119).await;
}

async fn replicas_stop(kind: Kind, code: u32) {
    let _turn = support::turn();
    let options = |server_id| {
        let mut options = ServerOptions::new(server_id);
        options.gtid = false;
        options.binlog_format = Some("MIXED");
        options
    };
    let (master, direct, behind) = tokio::join!(
        Server::start(kind, options(86)),
        Server::start(kind, options(11)),
        Server::start(kind, options(12)),
    );
    // What the filter keeps nothing of, it keeps the incident of.
    let mut relay = Relay::start(RelayOptions {
        replicate_do_db: vec!["test".to_owned()],
        ..RelayOptions::new(vec![SourceOptions::of("m", &master)])
    });
    relay.wait_streaming().await;
    let extra = retry_each_second(kind);
    let at = |basename| Mode::MySqlNoGtids.start_at(basename);
    attach(&behind, RELAY_HOST, relay.port, &at("relay-bin"), extra).await;
    attach(&direct, "127.0.0.1", master.port, &at("mysql-bin"), extra).await;
    let replicas = [&direct, &behind];

    master
        .sql(
            "CREATE DATABASE IF NOT EXISTS test; CREATE DATABASE other; USE test; \
             CREATE TABLE t (id INT PRIMARY KEY); SET GLOBAL max_binlog_stmt_cache_size=4096; \
             SET GLOBAL binlog_stmt_cache_size=4096",
        )
        .await;
    lose_events(&master).await;
    for replica in replicas {
        wait_for_table(replica, "test", "t").await;
        wait_until_stopped(replica, code).await;
    }
    // The administrator has looked at it.
    relay.kill9();
    relay.restart();
    master
        .sql("INSERT INTO test.t VALUES (1); USE test; INSERT INTO t VALUES (2)")
        .await;
    for replica in replicas {
        let (skip, start) = match kind.says_replica() {
            true => ("sql_replica_skip_counter", "START REPLICA"),
            false => ("sql_slave_skip_counter", "START SLAVE"),
        };
        replica.sql(&format!("SET GLOBAL {skip}=1; {start}")).await;
    }
    settle(&[&master], &replicas, 60).await;
    for replica in replicas {
        assert_healthy(replica).await;
        let rows: Vec<u32> = replica.rows("SELECT id FROM test.t ORDER BY id").await;
        let expected: &[u32] = if replica.port == direct.port {
            &[1, 2]
        } else {
            &[2]
        };
        assert_eq!(rows, expected, "{replica}");
    }
    relay.terminate();
    relay.verify();
}

/// Changes a table without transactions by more rows than the server can log.
async fn lose_events(master: &Server) {
    master
        .sql("CREATE TABLE other.my (v VARCHAR(200)) ENGINE=MyISAM")
        .await;
    let mut conn = master.connect().await;
    use mysql_async::prelude::Queryable;
    conn.query_drop("SET SESSION binlog_format='ROW'")
        .await
        .unwrap();
    let insert = "INSERT INTO other.my SELECT REPEAT('x', 190) \
                  FROM information_schema.columns LIMIT 400";
    let error = conn.query_drop(insert).await.unwrap_err().to_string();
    assert!(error.contains("ERROR 1705 "), "{error}");
    conn.disconnect().await.unwrap();
    let restore = "SET GLOBAL max_binlog_stmt_cache_size=DEFAULT; \
                   SET GLOBAL binlog_stmt_cache_size=DEFAULT";
    master.sql(restore).await;
}

async fn wait_until_stopped(replica: &Server, code: u32) {
    let deadline = Deadline::after_secs(60);
    loop {
        let status = replica_status(replica).await;
        if status.sql_running == "No" {
            assert_eq!(status.sql_errno, code, "{replica}: {status:?}");
            return;
        }
        assert!(!deadline.passed(), "{replica}: still applies: {status:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
