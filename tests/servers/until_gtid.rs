//! `START SLAVE UNTIL` a GTID position on MariaDB replicas: behind the relay they stop at the same GTID, with
//! the same rows, as a replica of the master.

use mysql_async::Row;

use crate::support;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::settle;
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::run_for;

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_10_5_stops_where_a_direct_replica_does() {
    compare(Kind::MariaDb105).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_10_11_stops_where_a_direct_replica_does() {
    compare(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_11_8_stops_where_a_direct_replica_does() {
    compare(Kind::MariaDb118).await;
}

/// Two domains in turn; DDL statements are groups without a commit, and 0-86-7 is missing.
async fn write(source: &Server) {
    let two = |number: u32| {
        format!(
            "SET SESSION gtid_domain_id = {}; INSERT INTO test.t VALUES ({number}); ",
            number % 2
        )
    };
    let mut sql = "CREATE DATABASE test; CREATE TABLE test.t (a INT PRIMARY KEY); ".to_owned();
    sql.extend((1..7).map(two));
    sql.push_str("SET SESSION gtid_domain_id = 0; CREATE TABLE test.u (a INT PRIMARY KEY); ");
    sql.push_str("SET SESSION gtid_seq_no = 8; INSERT INTO test.u VALUES (1); ");
    sql.extend((7..11).map(two));
    source.sql(&sql).await;
    source.sql("FLUSH LOGS").await;
    sql = (11..15).map(two).collect();
    source.sql(&sql).await;
}

async fn compare(kind: Kind) {
    let _turn = support::turn();
    let source = Server::start(kind, ServerOptions::new(86)).await;
    write(&source).await;
    let mut options = RelayOptions::new(vec![SourceOptions::of("m", &source)]);
    options.replicate_do_db = Vec::new();
    let relay = Relay::start(options);
    relay.wait_streaming().await;
    let state = source.value("SELECT @@gtid_binlog_state").await.unwrap();
    relay
        .wait_status("all transactions are in the log", 20, |status| {
            status["relay"]["gtid_executed"].as_str() == Some(&state)
        })
        .await;
    println!("{kind}: {state}");

    let mut conditions = vec![
        ("master_gtid_pos = '0-86-2,1-86-1'", true),
        // A group of one statement, and one domain only.
        ("master_gtid_pos = '0-86-6'", true),
        // The log continues without it.
        ("master_gtid_pos = '0-86-7,1-86-2'", true),
        ("master_gtid_pos = '0-86-11,1-86-6'", true),
        // After the end of the log: they run on.
        ("master_gtid_pos = '0-86-50,1-86-3'", false),
    ];
    if kind == Kind::MariaDb118 {
        conditions.push(("SQL_BEFORE_GTIDS = '0-86-5,1-86-3'", true));
        conditions.push(("SQL_BEFORE_GTIDS = '0-86-6'", true));
        conditions.push(("SQL_AFTER_GTIDS = '0-86-5,1-86-3'", true));
    }
    let options = |server_id| ServerOptions {
        log_bin: false,
        ..ServerOptions::new(server_id)
    };
    let direct = Server::start(kind, options(11)).await;
    let behind = Server::start(kind, options(12)).await;
    for (condition, is_reached) in conditions {
        follow(&direct, ("127.0.0.1", source.port), condition).await;
        follow(&behind, (RELAY_HOST, relay.port), condition).await;
        for replica in [&direct, &behind] {
            wait_end(replica, condition, is_reached).await;
        }
        let [expected, found] = [position(&direct).await, position(&behind).await];
        println!("{kind}: UNTIL {condition}: {expected}");
        assert_eq!(found, expected, "{kind}: {condition}");
        assert_same_tables(&direct, &behind, "test").await;
        // The rest follows as after any other stop.
        behind.sql("STOP SLAVE; START SLAVE").await;
        settle(&[&source], &[&behind], 30).await;
        assert_same_tables(&source, &behind, "test").await;
    }
}

/// From the beginning, without anything of an earlier run.
async fn follow(replica: &Server, (host, port): (&str, u16), condition: &str) {
    replica
        .sql(&format!(
            "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL gtid_slave_pos=''; DROP DATABASE IF EXISTS test; \
             CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT={port}, MASTER_USER='{REPL_USER}', \
             MASTER_PASSWORD='{REPL_PASSWORD}', MASTER_USE_GTID=slave_pos; \
             START SLAVE UNTIL {condition}"
        ))
        .await;
}

async fn position(replica: &Server) -> String {
    let position = replica.value("SELECT @@gtid_slave_pos").await;
    position.unwrap_or_default()
}

/// Both threads have stopped without an error; or, where the end is not in the log, both run and the rest
/// of the named domains has arrived.
async fn wait_end(replica: &Server, condition: &str, is_reached: bool) {
    let deadline = support::Deadline::after_secs(30);
    let mut last = String::new();
    loop {
        let rows: Vec<Row> = replica.rows("SHOW SLAVE STATUS").await;
        let text = |name: &str| {
            let value = rows[0].get::<Option<String>, &str>(name).flatten();
            value.unwrap_or_default()
        };
        let threads = (text("Slave_IO_Running"), text("Slave_SQL_Running"));
        let errors = (text("Last_IO_Error"), text("Last_SQL_Error"));
        assert_eq!(errors, (String::new(), String::new()), "{condition}");
        let here = position(replica).await;
        let is_done = match is_reached {
            true => threads == ("No".to_owned(), "No".to_owned()),
            false => threads.1 == "Yes" && here == last && here.contains("0-86-"),
        };
        if is_done {
            return;
        }
        last = here;
        assert!(
            !deadline.passed(),
            "{replica}: {condition}: {threads:?}, {last}"
        );
        run_for(if is_reached { 100 } else { 1500 }).await;
    }
}
