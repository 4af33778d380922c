//! The stand-ins for MySQL 5.5 and 5.7 and the real servers, where these are installed (see
//! tests/README.md): a real replica follows the source stand-in, and the replica stand-in follows a real
//! source.

use std::time::Duration;

use mysql_async::Row;

use crate::standin::binlog::BinlogFile;
use crate::standin::event::Event;
use crate::standin::reading_55::as_read;
use crate::standin::recordings::recorded_binlog;
use crate::standin::replica::ReplicaStandin;
use crate::standin::source::SourceStandin;
use crate::standin::version::Version;
use crate::support;
use crate::support::Deadline;
use crate::support::replication::{StartAt, assert_healthy, attach, retry_each_second};
use crate::support::servers::{Kind, REPL_PASSWORD, Server, ServerOptions};
use crate::support::topology::replica_options;

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn a_real_5_5_replica_follows_the_standin() {
    replica_of_the_standin(Kind::MySql55, Version::V55).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn a_real_5_7_replica_follows_the_standin() {
    replica_of_the_standin(Kind::MySql57, Version::V57).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn the_standin_follows_a_real_5_5_source() {
    source_of_the_standin(Kind::MySql55, Version::V55).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn the_standin_follows_a_real_5_7_source() {
    source_of_the_standin(Kind::MySql57, Version::V57).await;
}

/// The recorded transactions, with restarts of the source between and interrupted connections.
async fn replica_of_the_standin(kind: Kind, version: Version) {
    let _turn = support::turn();
    let name = kind.name();
    let binlog = recorded_binlog(name, "replica-file", version, false);
    let source = SourceStandin::start(binlog, REPL_PASSWORD);
    let mut options = replica_options(kind, 11);
    options.gtid = false;
    let replica = Server::start(kind, options).await;
    let start = StartAt::first_file("m-bin");
    attach(
        &replica,
        "127.0.0.1",
        source.port,
        &start,
        retry_each_second(kind),
    )
    .await;
    for cleanly in [true, false] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        source.stop(cleanly);
        source.restart();
    }
    let deadline = Deadline::after_secs(60);
    let end = {
        let state = source.state();
        let newest = state.binlog.newest();
        format!("{}:{}", newest.name, newest.len())
    };
    loop {
        let status: Vec<Row> = replica.rows("SHOW SLAVE STATUS").await;
        let text = |name: &str| status[0].get::<Option<String>, &str>(name).flatten();
        let rows = replica
            .value("SELECT COUNT(*) FROM test1.t WHERE id = 900")
            .await;
        let file = text("Relay_Master_Log_File").unwrap_or_default();
        let at = format!("{file}:{}", text("Exec_Master_Log_Pos").unwrap_or_default());
        if rows.as_deref() == Some("1") && at == end {
            break;
        }
        assert!(!deadline.passed(), "{rows:?} rows, at {at} of {end}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_healthy(&replica).await;
    let unknown = source.state().unknown_statements.clone();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The model accepts what a real source sends, once more at every event.
async fn source_of_the_standin(kind: Kind, version: Version) {
    let _turn = support::turn();
    let mut options = ServerOptions::new(86);
    options.gtid = false;
    options.binlog_format = Some("MIXED");
    let source = Server::start(kind, options).await;
    source
        .sql(
            "CREATE DATABASE test; USE test; CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(40)); \
             SET @v = 'x'; INSERT INTO t (v) VALUES (@v); INSERT INTO t (v) VALUES (UUID()); \
             FLUSH LOGS; SET SESSION binlog_format = ROW; \
             BEGIN; INSERT INTO t (v) VALUES ('a'), ('b'); UPDATE t SET v = 'c' WHERE v = 'a'; DELETE FROM t WHERE v = 'b'; COMMIT",
        )
        .await;
    let mut served: Vec<Event> = Vec::new();
    for path in source.log_files() {
        let bytes = std::fs::read(&path).expect("a binlog");
        let file = BinlogFile::read("mysql-bin", &bytes);
        let events = file.events(version).into_iter();
        let events = events.filter(|event| !event.is_control());
        served.extend(events.map(|event| match version {
            Version::V55 => as_read(&event, version.lengths()).expect("5.5 reads its own"),
            _ => event,
        }));
    }
    let address = ("127.0.0.1", source.port);
    let mut replica = ReplicaStandin::new(version, 77, address, REPL_PASSWORD);
    replica.change_position(("mysql-bin.000001".to_owned(), 4));
    replica.io.accepts_created = true;
    while replica.io.events.len() < served.len() || !replica.io.is_between_transactions() {
        replica.follow(|io| !io.is_just_connected());
    }
    assert!(
        replica.io.events == served,
        "{:?}, not {served:?}",
        replica.io.events
    );
}
