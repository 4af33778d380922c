//! Fingerprints of transactions without GTIDs: what a real peer logs again has the fingerprint of what
//! its origin logged or, in another binlog format, one that is compatible with it.

use std::collections::HashSet;

use crate::support;
use crate::support::fingerprints::{
    CREATE_SELECT, Logged, MIXED_ENGINES, cases, run_script, transactions,
};
use crate::support::load::{Load, LoadOptions, create_tables};
use crate::support::replication::{
    StartAt, assert_healthy, attach, dual_masters, retry_each_second, settle, wait_for_table,
};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::topology::run_for;
use crate::support::{SeedNote, Turn};
use binrelay::identity::Fingerprint;

const FIRST: u32 = 86;
const SECOND: u32 = 18;

struct Pair {
    m1: Server,
    m2: Server,
    _turn: Turn,
}

fn options(server_id: u32, offset: u32, format: &'static str) -> ServerOptions {
    ServerOptions {
        gtid: false,
        binlog_format: Some(format),
        ..ServerOptions::new(server_id)
    }
    .extra("--auto-increment-increment=2")
    .extra(format!("--auto-increment-offset={offset}"))
    .extra("--log-bin-trust-function-creators=1")
    // Clients and appliers block each other now and then; 50 s, the default, would only be waited for.
    .extra("--innodb-lock-wait-timeout=3")
}

impl Pair {
    /// Two masters that log rows of another size.
    async fn start(kind: Kind, formats: [&'static str; 2]) -> Pair {
        let _turn = support::turn();
        let mut first = options(FIRST, 1, formats[0]);
        if kind != Kind::MySql55 {
            first = first.extra("--binlog-rows-query-log-events=ON");
        }
        let mut second = options(SECOND, 2, formats[1]).extra("--binlog-row-event-max-size=1024");
        if matches!(kind, Kind::MySql56 | Kind::MySql57) {
            second = second.extra("--log-bin-use-v1-row-events=1");
        }
        Pair {
            m1: Server::start(kind, first).await,
            m2: Server::start(kind, second).await,
            _turn,
        }
    }
}

/// The fingerprints that a binlog has of one origin's transactions.
fn of_origin(logged: &[Logged], server_id: u32) -> Vec<&Logged> {
    logged
        .iter()
        .filter(|logged| logged.server_id == server_id)
        .collect()
}

/// Both masters write, in one format: what each has of the other is the same, in order.
async fn same_format(kind: Kind, format: &'static str) {
    let seed = support::seed();
    let _note = SeedNote(seed);
    let pair = Pair::start(kind, [format; 2]).await;
    let (m1, m2) = (&pair.m1, &pair.m2);
    dual_masters(m1, m2, &StartAt::first_file("mysql-bin")).await;
    create_tables(m1, "").await;
    wait_for_table(m2, "other", "items").await;
    let on_m1 = Load::start(m1, &LoadOptions::new(seed, 100));
    let file = load_file();
    let path = file.path().to_str().unwrap();
    run_script(m1, &cases(path));
    run_script(m1, MIXED_ENGINES);
    if format != "ROW" {
        run_script(m1, CREATE_SELECT);
    }
    run_for(1500).await;
    on_m1.finish().await;
    // One after the other: when MySQL 5.6's applier meets a deadlock it was seen to log the first
    // half of the transaction, and after the repetition all of it.
    settle(&[m1], &[m2], 300).await;
    let on_m2 = Load::start(m2, &LoadOptions::new(seed, 200));
    run_for(1500).await;
    on_m2.finish().await;
    settle(&[m1, m2], &[m2, m1], 300).await;
    assert_healthy(m1).await;
    assert_healthy(m2).await;

    let (in_m1, in_m2) = (transactions(m1), transactions(m2));
    for origin in [FIRST, SECOND] {
        let (mut one, mut two) = (of_origin(&in_m1, origin), of_origin(&in_m2, origin));
        if kind == Kind::MySql {
            // Parallel appliers keep no order among changes of tables without transactions.
            assert_commit_timestamps(&one);
            one.sort_by_key(|logged| logged.fingerprint.commit_timestamp);
            two.sort_by_key(|logged| logged.fingerprint.commit_timestamp);
        }
        assert!(one.len() > 50, "only {} of origin {origin}", one.len());
        assert_distinct(&one);
        if kind != Kind::MySql && format == "MIXED" {
            // Rows may have fewer columns, and an applier that has a temporary table open logs rows
            // of whatever statement comes, and nothing of what changes temporary tables only.
            match origin {
                FIRST => assert_aligned(&one, &two),
                _ => assert_aligned(&two, &one),
            }
            continue;
        }
        for (one, two) in one.iter().zip(&two) {
            let same = one.fingerprint.same_content(&two.fingerprint);
            assert!(same, "{kind} {format}: {one:#?} is not {two:#?}");
        }
        assert_eq!(one.len(), two.len(), "{kind} {format}: of origin {origin}");
    }
}

/// Each has one, and no two have the same.
fn assert_commit_timestamps(logged: &[&Logged]) -> HashSet<u64> {
    let all = logged
        .iter()
        .map(|logged| logged.fingerprint.commit_timestamp);
    let distinct: HashSet<u64> = all.collect();
    assert!(!distinct.contains(&0));
    assert_eq!(distinct.len(), logged.len());
    distinct
}

/// Fingerprints tell transactions apart: hardly any two that follow each other are equal.
fn assert_distinct(logged: &[&Logged]) {
    let equal = |pair: &&[&Logged]| pair[0].fingerprint.same_content(&pair[1].fingerprint);
    let count = logged.windows(2).filter(equal).count();
    // The same statement twice in one second by the same connection.
    assert!(
        count * 20 < logged.len(),
        "{count} of {} are equal",
        logged.len()
    );
}

/// The first writes in one format, the second logs it again as rows (or may): in order, each has its
/// copy, but for what may have changed no row.
async fn other_format(kind: Kind, formats: [&'static str; 2]) {
    let seed = support::seed();
    let _note = SeedNote(seed);
    let pair = Pair::start(kind, formats).await;
    let (m1, m2) = (&pair.m1, &pair.m2);
    let at = StartAt::first_file("mysql-bin");
    attach(m2, "127.0.0.1", m1.port, &at, retry_each_second(kind)).await;
    create_tables(m1, "").await;
    wait_for_table(m2, "other", "items").await;
    let load = Load::start(m1, &LoadOptions::new(seed, 100));
    let file = load_file();
    run_script(m1, &cases(file.path().to_str().unwrap()));
    if kind != Kind::MySql57 {
        // As rows, 5.7 without GTIDs logs it as two transactions, CREATE TABLE and the rows: no copy that
        // can be recognised.
        run_script(m1, CREATE_SELECT);
    }
    run_for(2000).await;
    load.finish().await;
    settle(&[m1], &[m2], 300).await;
    assert_healthy(m2).await;

    let (in_m1, in_m2) = (transactions(m1), transactions(m2));
    let (one, two) = (of_origin(&in_m1, FIRST), of_origin(&in_m2, FIRST));
    if kind == Kind::MySql {
        let originals = assert_commit_timestamps(&one);
        assert!(assert_commit_timestamps(&two).is_subset(&originals));
        assert!(two.len() > 50 && two.len() * 10 > one.len() * 9);
    } else {
        assert_aligned(&one, &two);
    }
}

/// Fails when the two cannot be paired in order, leaving out of the first only what may have
/// changed no row.
fn assert_aligned(one: &[&Logged], two: &[&Logged]) {
    // How many of `two` may have been paired when so many of `one` have been looked at.
    let mut reached = vec![false; two.len() + 1];
    reached[0] = true;
    for (number, logged) in one.iter().enumerate() {
        let mut next = vec![false; two.len() + 1];
        for paired in (0..=two.len()).filter(|paired| reached[*paired]) {
            let may_lack = logged.fingerprint.traits & Fingerprint::MAY_BE_WITHOUT_ROWS != 0;
            next[paired] |= may_lack;
            let copy = two.get(paired).map(|copy| copy.fingerprint);
            if copy.is_some_and(|copy| {
                logged.fingerprint.same_content(&copy)
                    || logged.fingerprint.may_be_other_format(&copy)
            }) {
                next[paired + 1] = true;
            }
        }
        let before: Vec<usize> = (0..=two.len()).filter(|paired| reached[*paired]).collect();
        assert!(
            next.contains(&true),
            "number {number}, {logged:#?}, has no copy; candidates: {:#?}",
            before
                .iter()
                .map(|paired| two.get(*paired))
                .collect::<Vec<_>>()
        );
        reached = next;
    }
    assert!(
        reached[two.len()],
        "the copies do not end with the originals"
    );
    assert!(two.len() > 50, "only {} copies", two.len());
}

fn load_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: String = (0..3000)
        .map(|number| format!("{number},line {number}\n"))
        .collect();
    std::fs::write(file.path(), lines).unwrap();
    file
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_rows() {
    same_format(Kind::MySql55, "ROW").await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_statements() {
    same_format(Kind::MySql55, "STATEMENT").await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_mixed() {
    same_format(Kind::MySql55, "MIXED").await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_mixed_logged_again_as_rows() {
    other_format(Kind::MySql55, ["MIXED", "ROW"]).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_rows() {
    same_format(Kind::MySql57, "ROW").await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_mixed() {
    same_format(Kind::MySql57, "MIXED").await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_statements_logged_again_as_rows() {
    other_format(Kind::MySql57, ["STATEMENT", "ROW"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_rows() {
    same_format(Kind::MySql56, "ROW").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_statements() {
    same_format(Kind::MySql56, "STATEMENT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_mixed() {
    same_format(Kind::MySql56, "MIXED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_mixed() {
    same_format(Kind::MySql, "MIXED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_mixed_logged_again_as_rows() {
    other_format(Kind::MySql56, ["MIXED", "ROW"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_statements_logged_again_as_rows() {
    other_format(Kind::MySql56, ["STATEMENT", "ROW"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_statements_logged_again_mixed() {
    other_format(Kind::MySql56, ["STATEMENT", "MIXED"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_statements_logged_again_as_rows() {
    other_format(Kind::MySql, ["STATEMENT", "ROW"]).await;
}
