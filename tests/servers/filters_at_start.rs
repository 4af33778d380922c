//! As `filters`, for MySQL 5.6 and, where it is installed (see tests/README.md), 5.5: they take rules when they
//! start only. Without GTIDs, which 5.5 does not have.

use std::time::Duration;

use mysql_async::Row;

use super::filters::{contents, differences, run, start_relay, unlogged};
use crate::support;
use crate::support::cross_database::{TABLES, Workload};
use crate::support::filter_rules::{FilterRules, seeded};
use crate::support::relay::{RELAY_HOST, Relay};
use crate::support::replication::{StartAt, attach, replica_status};
use crate::support::same_binlog::wait_for;
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::{Deadline, SeedNote, seeds};

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_replicas_end_like_replicas_with_the_rules() {
    compare(Kind::MySql55).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_replicas_end_like_replicas_with_the_rules() {
    compare(Kind::MySql56).await;
}

/// An UPDATE of a MyISAM table, which is logged apart, leaves the map of its trigger's InnoDB table in the transaction.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_statement_after_a_table_map_without_rows_is_kept() {
    let _turn = support::turn();
    let replica = |server_id| options(server_id).extra("--skip-slave-start");
    let (master, mut direct, relayed) = tokio::join!(
        Server::start(Kind::MySql56, options(1)),
        Server::start(Kind::MySql56, replica(11)),
        Server::start(Kind::MySql56, replica(12)),
    );
    let rules = FilterRules {
        do_db: vec!["kept".to_owned()],
        ..FilterRules::default()
    };
    restart_with(&mut direct, &rules).await;
    let preparation = [
        "CREATE DATABASE kept",
        "CREATE DATABASE other",
        "CREATE TABLE kept.t (id INT PRIMARY KEY, v VARCHAR(40))",
        "CREATE TABLE kept.my (id INT PRIMARY KEY, seen INT) ENGINE=MyISAM",
        "CREATE TABLE kept.audit (n INT AUTO_INCREMENT PRIMARY KEY, id INT)",
        "CREATE TABLE other.t (v VARCHAR(40))",
        "INSERT INTO kept.t VALUES (10, 'before')",
        "INSERT INTO kept.my VALUES (5, 0)",
        "CREATE TRIGGER kept.seen AFTER UPDATE ON kept.my FOR EACH ROW \
         INSERT INTO kept.audit (id) SELECT NEW.id FROM kept.t WHERE NEW.seen > 1",
    ];
    for server in [&master, &direct, &relayed] {
        unlogged(server, &preparation.map(str::to_owned)).await;
    }
    let (file, position) = end(&master).await;
    let relay = start_relay(&master, &rules).await;
    let at = StartAt::FilePosition(file, position);
    attach(&direct, "127.0.0.1", master.port, &at, "").await;
    let first = StartAt::first_file("relay-bin");
    attach(&relayed, RELAY_HOST, relay.port, &first, "").await;
    master
        .sql(
            "USE kept; BEGIN; UPDATE my SET seen = 1; UPDATE t SET v = 'after'; \
             INSERT INTO other.t VALUES (UUID()); COMMIT",
        )
        .await;
    wait(&direct, &end(&master).await).await;
    wait_for(&relay, &master).await;
    wait(&relayed, &end_of_relay(&relay)).await;
    let value = "SELECT v FROM kept.t";
    assert_eq!(direct.value(value).await.as_deref(), Some("after"));
    assert_eq!(relayed.value(value).await.as_deref(), Some("after"));
}

async fn compare(kind: Kind) {
    let _turn = support::turn();
    let replica = |server_id| {
        options(server_id)
            .extra("--slave-skip-errors=all")
            .extra("--skip-slave-start")
    };
    let (master, mut direct, relayed) = tokio::join!(
        Server::start(kind, options(1)),
        Server::start(kind, replica(11)),
        Server::start(kind, replica(12)),
    );
    let mut failures = Vec::new();
    for seed in seeds(2, 100) {
        let _note = SeedNote(seed);
        if let Err(difference) = round(&master, &mut direct, &relayed, seed).await {
            eprintln!("{difference}\n");
            failures.push(seed);
        }
    }
    let none = failures.is_empty();
    assert!(none, "replicas differ with the seeds {failures:?}");
}

fn options(server_id: u32) -> ServerOptions {
    let mut options = ServerOptions::new(server_id)
        .extra("--sync-binlog=0")
        .extra("--innodb-flush-log-at-trx-commit=0")
        .extra("--log-bin-trust-function-creators=1");
    options.binlog_format = Some("MIXED");
    options.gtid = false;
    options
}

async fn round(
    master: &Server,
    direct: &mut Server,
    relayed: &Server,
    seed: u64,
) -> Result<(), String> {
    let mut rng = seeded(seed);
    let letters = ["a", "b", "c", "d"];
    let databases = letters.map(|letter| format!("p{seed}{letter}")).to_vec();
    let mut rules = FilterRules::random(&mut rng, &databases, TABLES);
    if master.kind == Kind::MySql56 {
        // 5.6.24 was seen to check CREATE, ALTER and DROP DATABASE by the name in the text, which the relay
        // does for 5.5 and MariaDB only.
        rules.rewrite_db.clear();
    }
    let file = master.data_dir().join("load.csv");
    std::fs::write(&file, "1,100\n2,200\n30,300\n").expect("the file for LOAD DATA");
    let file = file.display().to_string();
    let mut workload = Workload::new(rng, master.kind, databases.clone(), file);
    restart_with(direct, &rules).await;
    let preparation = workload.preparation();
    for server in [master, direct, relayed] {
        unlogged(server, &preparation).await;
    }
    master.sql("FLUSH LOGS").await;
    let (file, position) = end(master).await;
    let mut relay = start_relay(master, &rules).await;
    let at = StartAt::FilePosition(file, position);
    attach(direct, "127.0.0.1", master.port, &at, "").await;
    let first = StartAt::first_file("relay-bin");
    attach(relayed, RELAY_HOST, relay.port, &first, "").await;
    let log = run(master, &mut workload).await;
    wait(direct, &end(master).await).await;
    wait_for(&relay, master).await;
    wait(relayed, &end_of_relay(&relay)).await;
    let expected = contents(direct, &databases).await;
    let found = contents(relayed, &databases).await;
    relay.assert_running();
    drop(relay);
    for server in [master, direct, relayed] {
        clean(server, &databases).await;
    }
    if expected == found {
        return Ok(());
    }
    let lines = differences(&expected, &found).join("\n");
    let log = log.join(";\n");
    Err(format!("seed {seed}, {rules:?}\n{lines}\n{log}"))
}

/// Starts the replica again with these rules in place of those that it has.
async fn restart_with(direct: &mut Server, rules: &FilterRules) {
    direct.terminate();
    let is_rule = |option: &String| option.starts_with("--replicate-");
    direct.options.extra.retain(|option| !is_rule(option));
    direct.options.extra.extend(rules.options());
    direct.restart().await;
}

async fn end(master: &Server) -> (String, u64) {
    let rows = master.rows::<Row>("SHOW MASTER STATUS").await;
    let row = rows.first().expect("the master has a binlog");
    (row.get(0).expect("file"), row.get(1).expect("position"))
}

fn end_of_relay(relay: &Relay) -> (String, u64) {
    let status = relay.status();
    let file = status["relay"]["file"].as_str().expect("a file");
    let position = status["relay"]["position"].as_u64().expect("a position");
    (file.to_owned(), position)
}

/// Waits until a replica has applied everything up to these coordinates of its master.
async fn wait(replica: &Server, (file, position): &(String, u64)) {
    let deadline = Deadline::after_secs(120);
    let query = format!("SELECT MASTER_POS_WAIT('{file}', {position}, 1) >= 0");
    while replica.value(&query).await.as_deref() != Some("1") {
        let status = replica_status(replica).await;
        assert!(
            !deadline.passed() && status.io_errno == 0 && status.sql_errno == 0,
            "{replica}: not at {file}:{position}: {status:#?}\n{}",
            replica.error_log_tail()
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn clean(server: &Server, databases: &[String]) {
    if server.options.server_id != 1 {
        server.sql("STOP SLAVE; RESET SLAVE ALL").await;
    }
    let mut statements = Vec::new();
    for database in databases {
        statements.push(format!("DROP DATABASE IF EXISTS {database}"));
        // DROP USER IF EXISTS is newer.
        let user = format!("SELECT 1 FROM mysql.user WHERE user = '{database}_u'");
        if server.value(&user).await.is_some() {
            statements.push(format!("DROP USER {database}_u"));
        }
    }
    unlogged(server, &statements).await;
}
