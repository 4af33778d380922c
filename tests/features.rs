//! What servers can write into a binlog, feature by feature, passes the relay: unfiltered as the
//! master wrote it, filtered as a replica of the master applies it with the same filter.
//!
//! BINRELAY_FEATURE=WORD tries only the features whose names contain the word.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Test code: a failed expectation is how a test fails.

mod feature_table;
mod support;

use feature_table::caught_up;
use feature_table::formats::FORMATS;
use feature_table::scripts::STATEMENTS;
use feature_table::{Cell, Stand};
use mysql_async::prelude::Queryable;
use support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use support::replication::{attach, retry_each_second};
use support::servers::{Kind, Server, ServerOptions};
use support::topology::Mode;

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_features() {
    table(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_features() {
    table(Kind::MySql).await;
}

async fn table(kind: Kind) {
    let _one_at_a_time = support::exclusive();
    let chosen = std::env::var("BINRELAY_FEATURE").unwrap_or_default();
    let features = STATEMENTS
        .iter()
        .chain(FORMATS)
        .filter(|feature| feature.is_for(kind) && feature.name.contains(&chosen));
    let mut stand = Stand::start(kind).await;
    let mut failed = Vec::new();
    let mut tried = 0;
    for feature in features {
        let cells = stand.run(feature).await;
        let words: Vec<&str> = cells.iter().map(word).collect();
        let note = match &cells[0] {
            Cell::NotSupported(text) => text.as_str(),
            _ => "",
        };
        println!(
            "{kind:<14} {:<44} {:<14} {:<14} {note}",
            feature.name, words[0], words[1]
        );
        let mut broken = false;
        for (cell, mode) in cells.iter().zip(["unfiltered", "filtered"]) {
            if let Cell::Failed(text) = cell {
                println!("    {mode}: {text}");
                failed.push(format!("{}, {mode}: {text}", feature.name));
                broken = true;
            }
        }
        if broken {
            // What has stopped would fail all that follows.
            stand = Stand::start(kind).await;
        }
        tried += 1;
    }
    assert!(tried > 0, "no feature's name contains {chosen:?}");
    assert!(failed.is_empty(), "{kind}:\n{}", failed.join("\n"));
}

fn word(cell: &Cell) -> &'static str {
    match cell {
        Cell::Ok => "ok",
        Cell::NotSupported(_) => "not supported",
        Cell::Failed(_) => "FAILED",
    }
}

/// MySQL's own replicas stop (error 3227) when a filter leaves nothing of an XA transaction, and
/// nobody's know the xid at its end (1397): the relay has to end both as ordinary empty ones.
#[tokio::test(flavor = "multi_thread")]
async fn xa_transactions_of_which_the_filter_leaves_nothing() {
    for mode in [Mode::MySqlAutoPosition, Mode::MariaDbFilePosition] {
        emptied_xa(mode).await;
    }
}

async fn emptied_xa(mode: Mode) {
    let _one_at_a_time = support::exclusive();
    let kind = mode.kind();
    let (master, replica) = tokio::join!(
        Server::start(kind, ServerOptions::new(86)),
        Server::start(kind, ServerOptions::new(11)),
    );
    let mut relay = Relay::start(RelayOptions::new(vec![SourceOptions::of("m", &master)]));
    relay.wait_streaming().await;
    let (at, extra) = (mode.start_at("relay-bin"), retry_each_second(kind));
    attach(&replica, RELAY_HOST, relay.port, &at, extra).await;
    let table = "CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB";
    for database in ["other", "test"] {
        let create = "CREATE DATABASE IF NOT EXISTS";
        let sql = format!("{create} {database}; USE {database}; {table}");
        master.sql(&sql).await;
    }
    for (number, (xid, database)) in [
        ("e1", "other"),
        ("k1", "test"),
        ("e2", "other"),
        ("k2", "test"),
    ]
    .into_iter()
    .enumerate()
    {
        // A session of its own, which ends: then any other may end the transaction.
        let mut session = master.connect().await;
        for statement in [
            format!("USE {database}"),
            format!("XA START '{xid}'"),
            format!("INSERT INTO t VALUES ({number})"),
            format!("XA END '{xid}'"),
            format!("XA PREPARE '{xid}'"),
        ] {
            session.query_drop(&statement).await.expect(&statement);
        }
        session.disconnect().await.unwrap();
    }
    let one_phase =
        "USE other; XA START 'o'; INSERT INTO t VALUES (9); XA END 'o'; XA COMMIT 'o' ONE PHASE";
    master.sql(one_phase).await;
    master.sql("FLUSH BINARY LOGS").await;
    caught_up(&master, &replica).await.unwrap();
    assert_eq!(prepared(&replica).await, 2, "{kind}: of the kept ones");
    relay.kill9();
    relay.restart();
    for statement in [
        "XA COMMIT 'e1'",
        "XA COMMIT 'k1'",
        "XA ROLLBACK 'e2'",
        "XA ROLLBACK 'k2'",
    ] {
        master.sql(statement).await;
    }
    master
        .sql("INSERT INTO test.t VALUES (100); USE test; INSERT INTO t VALUES (101)")
        .await;
    caught_up(&master, &replica).await.unwrap();
    assert_eq!(prepared(&replica).await, 0, "{kind}");
    let rows: Vec<u32> = replica.rows("SELECT id FROM test.t ORDER BY id").await;
    let expected: &[u32] = match kind {
        Kind::MySql => &[1, 100, 101],
        // As a statement without default database it passes no rule.
        _ => &[1, 101],
    };
    assert_eq!(rows, expected, "{kind}");
    relay.terminate();
    relay.verify();
}

async fn prepared(server: &Server) -> usize {
    server.rows::<mysql_async::Row>("XA RECOVER").await.len()
}
