//! Binlog files of MySQL 5.1 and 5.5 that a newer master still holds. The relay's log is then a
//! complete file of a version with checksums: a replica of the relay executes all of it as a
//! replica of the master does, and the servers' tools read it.
//!
//! The files are those of MySQL 5.6, rewritten to the older versions' form.

mod rewriting;

use std::path::Path;

use self::rewriting::{Form, rewritten};
use crate::support;
use crate::support::Deadline;
use crate::support::binlog_text::read_file;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, assert_healthy, attach, retry_each_second};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_rows;
use crate::support::topology::run_for;

const BASENAME: &str = "mysql-bin";

/// MySQL 9.7 no longer reads version 1 rows, neither as a replica nor in `mysqlbinlog`: these get
/// statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logged {
    StatementsAndRows,
    Statements,
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_mysql_55_on_a_56_master() {
    let replicas = [Kind::MySql56, Kind::MariaDb];
    follow(
        Kind::MySql56,
        (Form::MySql55, Logged::StatementsAndRows),
        &replicas,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_mysql_55_on_a_97_master() {
    follow(
        Kind::MySql,
        (Form::MySql55, Logged::Statements),
        &[Kind::MySql],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_mysql_51_on_a_56_master() {
    follow(
        Kind::MySql56,
        (Form::MySql51, Logged::StatementsAndRows),
        &[Kind::MySql56],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_mysql_51_on_a_97_master() {
    follow(
        Kind::MySql,
        (Form::MySql51, Logged::Statements),
        &[Kind::MySql],
    )
    .await;
}

async fn follow(source_kind: Kind, (form, logged): (Form, Logged), replica_kinds: &[Kind]) {
    let _turn = support::turn();
    let files = old_files(form, logged).await;
    let mut options = ServerOptions::new(86);
    options.gtid = false;
    let source = Server::start_prepared(source_kind, options, |data| {
        put_files(data, &files);
    })
    .await;
    let mut options = RelayOptions::new(vec![SourceOptions::of("m1", &source)]);
    options.replicate_do_db.clear();
    let mut relay = Relay::start(options);
    relay.wait_streaming().await;
    let mut pairs = Vec::new();
    for (kind, number) in replica_kinds.iter().zip(0..) {
        let direct = replica(*kind, 100 + 2 * number).await;
        let relayed = replica(*kind, 101 + 2 * number).await;
        let (at, host) = (StartAt::first_file(BASENAME), "127.0.0.1");
        let retry = retry_each_second(*kind);
        attach(&direct, host, source.port, &at, retry).await;
        let at = StartAt::first_file("relay-bin");
        attach(&relayed, RELAY_HOST, relay.port, &at, retry).await;
        pairs.push((direct, relayed));
    }
    run_for(500).await;
    relay.kill9();
    relay.restart();
    // The source continues in files of its own version.
    source
        .sql("CREATE DATABASE later; CREATE TABLE later.t (a INT); INSERT INTO later.t VALUES (7)")
        .await;
    for (direct, relayed) in &pairs {
        for server in [direct, relayed] {
            wait_for_later(server).await;
            assert_healthy(server).await;
        }
        assert_same_definitions(direct, relayed).await;
        for database in ["test", "other"] {
            assert_same_rows(direct, relayed, database).await;
        }
    }
    relay.terminate();
    relay.verify();
    let log_files = relay.log_files();
    assert!(log_files.len() >= 2, "{log_files:?}");
    for file in &log_files {
        let tools = match logged {
            Logged::StatementsAndRows => &[Kind::MariaDb][..],
            Logged::Statements => &[Kind::MySql, Kind::MariaDb],
        };
        for kind in tools.iter().copied() {
            let events = read_file(kind, file).events;
            assert!(events.len() >= 2, "{kind}: {}", file.display());
        }
    }
}

/// Two files in the form of the old version: one that begins after the server's start, and one
/// that follows it.
async fn old_files(form: Form, logged: Logged) -> Vec<Vec<u8>> {
    let mut options = ServerOptions::new(86);
    options.gtid = false;
    options.binlog_format = Some(match logged {
        Logged::StatementsAndRows => "MIXED",
        Logged::Statements => "STATEMENT",
    });
    options.extra = vec![
        "--binlog-checksum=NONE".to_owned(),
        "--log-bin-use-v1-row-events=1".to_owned(),
    ];
    let mut writer = Server::start(Kind::MySql56, options).await;
    write_history(&writer, logged).await;
    writer.terminate();
    let files = writer.log_files();
    let files: Vec<Vec<u8>> = files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    assert_eq!(files.len(), 2);
    let created = [1_700_000_000, 0];
    let files = files.iter().zip(created);
    files
        .map(|(file, created)| rewritten(file, form, created))
        .collect()
}

async fn write_history(writer: &Server, logged: Logged) {
    // What a statement with uuid() changes is logged as rows.
    let (value, format) = match logged {
        Logged::StatementsAndRows => ("uuid()", "ROW"),
        Logged::Statements => ("'text'", "STATEMENT"),
    };
    let load = writer.data_dir().join("load.txt");
    std::fs::write(&load, "71\tone\n72\ttwo\n").unwrap();
    let statements = format!(
        "CREATE DATABASE test; CREATE DATABASE other; USE test;
         CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(60)) ENGINE=InnoDB;
         CREATE TABLE my (id INT, v VARCHAR(60)) ENGINE=MyISAM;
         CREATE TABLE stamps (id INT AUTO_INCREMENT PRIMARY KEY, a TIMESTAMP, b INT) ENGINE=InnoDB;
         CREATE TABLE other.o (id INT PRIMARY KEY, r DOUBLE) ENGINE=InnoDB;
         INSERT INTO t VALUES (1, 'one'), (2, 'two');
         INSERT INTO t VALUES (3, {value});
         INSERT INTO my VALUES (1, 'one');
         INSERT INTO my VALUES (2, {value});
         UPDATE my SET v = {value} WHERE id = 2;
         SET @x = -4, @y = 'text', @z = NULL;
         INSERT INTO my VALUES (@x, @y), (@x * 2, @z);
         INSERT INTO stamps (b) VALUES (@x), (2);
         UPDATE stamps SET b = 3;
         INSERT INTO other.o VALUES (1, RAND());
         INSERT INTO t SELECT id + 10, v FROM my WHERE id > 0;
         BEGIN; INSERT INTO t VALUES (20, 'kept'); INSERT INTO my VALUES (20, 'kept'); COMMIT;
         BEGIN; INSERT INTO t VALUES (21, 'lost'); INSERT INTO my VALUES (21, 'kept'); ROLLBACK;
         BEGIN; INSERT INTO t VALUES (22, 'a'); SAVEPOINT s; INSERT INTO t VALUES (23, 'lost');
         ROLLBACK TO s; INSERT INTO t VALUES (24, 'b'); COMMIT;
         CREATE TEMPORARY TABLE tt (id INT); INSERT INTO tt VALUES (30);
         INSERT INTO t SELECT id, 'temporary' FROM tt; DROP TEMPORARY TABLE tt;
         LOAD DATA INFILE '{0}' INTO TABLE t; LOAD DATA INFILE '{0}' INTO TABLE my;
         FLUSH LOGS;
         SET SESSION binlog_format = {format};
         INSERT INTO t VALUES (40, 'rows'); UPDATE t SET v = 'changed' WHERE id < 3;
         DELETE FROM t WHERE id = 20; INSERT INTO my VALUES (40, 'rows'), (41, 'rows');
         CREATE TABLE copy ENGINE=InnoDB SELECT * FROM t;
         ALTER TABLE stamps ADD c TIMESTAMP NOT NULL",
        load.display()
    );
    writer.sql(&statements).await;
}

fn put_files(data: &Path, files: &[Vec<u8>]) {
    let mut list = String::new();
    for (file, number) in files.iter().zip(1..) {
        let name = format!("{BASENAME}.{number:06}");
        std::fs::write(data.join(&name), file).unwrap();
        list += &format!("./{name}\n");
    }
    std::fs::write(data.join(format!("{BASENAME}.index")), list).unwrap();
}

async fn replica(kind: Kind, server_id: u32) -> Server {
    let mut options = ServerOptions::new(server_id);
    options.gtid = false;
    options.log_bin = false;
    Server::start(kind, options).await
}

async fn wait_for_later(server: &Server) {
    let deadline = Deadline::after_secs(60);
    let query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'later'";
    while server.value(query).await.as_deref() != Some("1")
        || server.value("SELECT a FROM later.t").await.as_deref() != Some("7")
    {
        if deadline.passed() {
            assert_healthy(server).await;
            panic!(
                "{server}: does not reach the end\n{}",
                server.error_log_tail()
            );
        }
        run_for(100).await;
    }
}

/// `explicit_defaults_for_timestamp` decides the definition of a TIMESTAMP column.
async fn assert_same_definitions(direct: &Server, relayed: &Server) {
    for table in ["t", "my", "stamps", "copy"] {
        let query = format!("SHOW CREATE TABLE test.{table}");
        let expected: Vec<(String, String)> = direct.rows(&query).await;
        let found: Vec<(String, String)> = relayed.rows(&query).await;
        assert_eq!(found, expected, "{relayed}");
    }
}
