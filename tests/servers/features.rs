//! What servers can write into a binlog, feature by feature, passes the relay: unfiltered as the
//! master wrote it, filtered as a replica of the master applies it with the same filter.
//!
//! Each kind of server has a table, a row for each feature: "ok"; "not supported" by the server
//! itself, with its exact message; "refused" by the relay, with its exact message;
//! or "FAILED". A minute or so for each kind:
//!
//! ```text
//! cargo test --locked --test servers features -- --nocapture
//! ```
//!
//! MySQL 5.5 and 5.7 have a table where their variables name a server, see tests/README.md.
//! BINRELAY_FEATURE=WORD tries only the features whose names contain the word.

mod feature;
mod formats;
mod keyring;
mod operation;
mod scripts;
mod snapshot;
mod stand;

use crate::support;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{attach, retry_each_second};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::topology::Mode;
use feature::{Cell, Feature, mariadb};
use formats::FORMATS;
use mysql_async::prelude::Queryable;
use operation::OPERATION;
use scripts::STATEMENTS;
use stand::{Stand, caught_up};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_6_features() {
    table(Kind::MySql56).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_5_features() {
    table(Kind::MySql55).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_5_7_features() {
    table(Kind::MySql57).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_9_7_features() {
    table(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_10_5_features() {
    table(Kind::MariaDb105).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_10_11_features() {
    table(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_11_8_features() {
    table(Kind::MariaDb118).await;
}

/// Tries all features on a kind, prints a row of each, and fails when a cell has failed.
async fn table(kind: Kind) {
    let _turn = support::turn();
    let chosen = std::env::var("BINRELAY_FEATURE").unwrap_or_default();
    let features = STATEMENTS.iter().chain(FORMATS).chain(OPERATION);
    let features = features.filter(|feature| feature.name.contains(&chosen));
    println!(
        "\n| {:<49} | unfiltered    | filtered      |\n|---|---|---|",
        kind.name()
    );
    let mut stand = None;
    let mut failed = Vec::new();
    let mut tried = 0;
    for feature in features {
        tried += 1;
        let cells = match feature.is_foreign_to(kind) {
            Some(whose) => {
                let cell = Cell::NotSupported(whose.to_owned());
                [cell.clone(), cell]
            }
            None => {
                let mut used = match stand.take() {
                    Some(stand) => stand,
                    None => Stand::start(kind).await,
                };
                let cells = used.run(feature).await;
                stand = used.still_good(&cells);
                cells
            }
        };
        print_row(feature, &cells);
        for (cell, mode) in cells.iter().zip(["unfiltered", "filtered"]) {
            if let Cell::Failed(text) = cell {
                failed.push(format!("{}, {mode}: {text}", feature.name));
            }
        }
    }
    if let Some(stand) = stand {
        stand.finish();
    }
    assert!(tried > 0, "no feature's name contains {chosen:?}");
    assert!(failed.is_empty(), "{kind}:\n{}", failed.join("\n"));
}

fn print_row(feature: &Feature, cells: &[Cell; 2]) {
    let [unfiltered, filtered] = cells;
    print!(
        "| {:<49} | {unfiltered:<13} | {filtered:<13} |",
        feature.name
    );
    println!(" {}", unfiltered.note());
    if filtered.note() != unfiltered.note() {
        println!("    filtered: {}", filtered.note());
    }
}

/// MySQL servers cannot go from 5.6 to 9.7 without the versions between them.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_master_is_followed() {
    let _turn = support::turn();
    let feature = mariadb(
        "MariaDB 10.5 becomes 10.11, then 11.8",
        r"
        SET SESSION binlog_format='ROW'
        INSERT INTO t VALUES (10, 'of 10.5')
        INSERT INTO other.t VALUES (10, 'of 10.5')
        @2 USE test
        @2 XA START 'u'
        @2 INSERT INTO t VALUES (11, 'prepared by 10.5')
        @2 XA END 'u'
        @2 XA PREPARE 'u'
        @2 XA COMMIT 'u'
        !upgrade mariadb-10.11
        USE test
        CREATE TABLE u (id INT PRIMARY KEY, v JSON)
        SET SESSION binlog_format='ROW'
        INSERT INTO u VALUES (1, '[]')
        INSERT INTO t VALUES (20, 'of 10.11')
        UPDATE t JOIN other.t AS o USING (id) SET t.v = 'x', o.v = 'x'
        !relays kill
        SET SESSION binlog_format='STATEMENT'
        INSERT INTO t VALUES (21, 'of 10.11')
        !upgrade mariadb-11.8
        USE test
        ALTER TABLE u ADD w VARCHAR(9)
        SET SESSION binlog_format='ROW'
        INSERT INTO u VALUES (2, '[]', 'w')
        INSERT INTO t VALUES (30, 'of 11.8')
        INSERT INTO other.t VALUES (30, 'of 11.8')
        SET SESSION binlog_format='STATEMENT'
        INSERT INTO t VALUES (31, 'of 11.8')
        !relays
        INSERT INTO t VALUES (32, 'of 11.8')",
    );
    let mut stand = Stand::start_behind(Kind::MariaDb105, Kind::MariaDb118).await;
    let cells = stand.run(&feature).await;
    print_row(&feature, &cells);
    assert_eq!(cells, [Cell::Ok, Cell::Ok]);
    stand.finish();
}

/// MySQL's own replicas stop (error 3227) when a filter leaves nothing of an XA transaction, and
/// other replicas do not know the xid at its end (1397): the relay must turn both into ordinary empty transactions.
#[tokio::test(flavor = "multi_thread")]
async fn xa_transactions_emptied_by_the_filter_are_passed_as_empty_ones() {
    for mode in [Mode::MySqlAutoPosition, Mode::MariaDbFilePosition] {
        emptied_xa(mode).await;
    }
}

async fn emptied_xa(mode: Mode) {
    let _turn = support::turn();
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
