//! Old log files are removed under load: the disk is bounded, no needed file is removed, and replicas are equal;
//! a replica that was stopped continues; PURGE and FLUSH BINARY LOGS as administrators write them.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::support::programs::program;
use crate::support::raw_client::RawClient;
use crate::support::relay::{RELAY_HOST, Relay};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, UNPRIVILEGED_USER};
use crate::support::topology::{Mode, Topology, TopologyOptions};
use crate::support::{self, Profile};

/// `max_total_size`: more than what a replica may not have received (16 MiB), and the reserve (8 MiB).
const TOTAL: u64 = 40 * 1024 * 1024;

/// How much is written.
#[derive(Clone, Copy)]
struct Sizes {
    /// `max_size`.
    file: u64,
    /// Bytes of one transaction's row: each begins a file.
    row: u64,
    /// How many files are begun while both replicas follow.
    rotations: u64,
    /// As many files are written before all servers must have them: what they need is always less than `TOTAL`.
    step: u64,
}

impl Sizes {
    fn of_profile() -> Sizes {
        match support::profile() {
            Profile::Gate => Sizes {
                file: 128 * 1024,
                row: 192 * 1024,
                rotations: 240,
                step: 40,
            },
            Profile::Long => Sizes {
                file: 64 * 1024,
                row: 96 * 1024,
                rotations: 10_000,
                step: 60,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_old_files_are_removed() {
    remove_under_load(Mode::MySqlAutoPosition, Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_old_files_are_removed_without_gtids() {
    remove_under_load(Mode::MySqlNoGtids, Kind::MySql56).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_old_files_are_removed() {
    remove_under_load(Mode::MariaDbSlavePos, Kind::MariaDb).await;
    remove_under_load(Mode::MariaDbFilePosition, Kind::MariaDb).await;
}

async fn remove_under_load(mode: Mode, kind: Kind) {
    let _turn = support::turn();
    let sizes = Sizes::of_profile();
    let mut topology = Topology::start(TopologyOptions {
        master_kind: kind,
        replica_kind: kind,
        log_extra: vec![
            format!("max_size = {}", sizes.file),
            format!("max_total_size = {TOTAL}"),
            "keep_for_replicas = \"1h\"".to_owned(),
        ],
        ..TopologyOptions::new(mode, support::seed())
    })
    .await;
    for master in [&topology.m1, &topology.m2] {
        let table = format!("kept_{}", master.options.server_id);
        master
            .sql(&format!(
                "USE test; CREATE TABLE {table} (id INT PRIMARY KEY, payload MEDIUMTEXT)"
            ))
            .await;
    }
    topology.settle(60).await;
    // 1. Both replicas follow: the log is bounded, and begins later and later.
    for _ in 0..sizes.rotations / sizes.step {
        write(&topology, sizes, sizes.step).await;
        topology.settle(120).await;
        purge_masters(&topology).await;
    }
    let begun = first_file(&topology.relay);
    let fit = TOTAL / sizes.row;
    assert!(
        begun > sizes.rotations.saturating_sub(fit),
        "{mode}: the log begins with file {begun}"
    );
    // 2. One was stopped: what it needs is kept.
    let (_, stop, start) = statements(kind);
    topology.replicas[1].sql(stop).await;
    write(&topology, sizes, 16).await;
    let before = first_file(&topology.relay);
    check_purge(&topology, kind, before).await;
    topology.replicas[1].sql(start).await;
    topology.settle(60).await;
    // 3. Nothing needs the old files any more: they are removed; who asks for them is refused.
    let kept = log_names(&topology.relay, kind);
    let last = kept.last().expect("a file").clone();
    write(&topology, sizes, 16).await;
    topology.settle(60).await;
    let statement = format!("PURGE BINARY LOGS TO '{last}'; SHOW WARNINGS");
    let warnings = admin(&topology.relay, kind, &statement);
    let left = log_names(&topology.relay, kind);
    // Both replicas are connected: only what they may not have received is kept.
    assert!(
        left.len() < kept.len() || warnings.contains("replica 1"),
        "{mode}: {warnings}"
    );
    check_refusals(&topology.relay, mode, kind);
    // 4. After a crash everything continues.
    topology.relay.kill9();
    topology.relay.restart();
    topology.relay.wait_streaming().await;
    let files = log_names(&topology.relay, kind).len();
    admin(&topology.relay, kind, "FLUSH BINARY LOGS; FLUSH LOGS");
    assert_eq!(log_names(&topology.relay, kind).len(), files + 2);
    write(&topology, sizes, 16).await;
    topology.settle(60).await;
    topology.assert_replicas_equal_m1().await;
    topology.relay.assert_running();
    let log = topology.relay.log();
    assert!(!log.contains("is removed, because"), "{mode}: {log}");
    topology.relay.terminate();
    topology.relay.verify();
}

/// The masters' own binlogs would need gigabytes of memory in a long run.
async fn purge_masters(topology: &Topology) {
    for master in [&topology.m1, &topology.m2] {
        master
            .sql("FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW()")
            .await;
    }
}

/// Stopping and starting replication; the first is its status.
fn statements(kind: Kind) -> (&'static str, &'static str, &'static str) {
    match kind.says_replica() {
        true => ("SHOW REPLICA STATUS", "STOP REPLICA", "START REPLICA"),
        false => ("SHOW SLAVE STATUS", "STOP SLAVE", "START SLAVE"),
    }
}

/// Writes on both masters until the relay's log has been rotated so often; the disk stays bounded.
async fn write(topology: &Topology, sizes: Sizes, rotations: u64) {
    let transactions = rotations / 2;
    let writes = [&topology.m1, &topology.m2].map(|master| write_on(master, sizes, transactions));
    let watching = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let size = size(&topology.relay);
            // What is written between two checks.
            assert!(size < TOTAL + 8 * 1024 * 1024, "{size} bytes");
        }
    };
    let [first, second] = writes;
    tokio::select! {
        _ = async { tokio::join!(first, second) } => {}
        () = watching => {}
    }
}

async fn write_on(master: &Server, sizes: Sizes, transactions: u64) {
    let mut conn = master.connect().await;
    let table = format!("kept_{}", master.options.server_id);
    for number in 0..transactions {
        let sql = format!(
            "REPLACE INTO test.{table} VALUES ({}, CONCAT(UUID(), REPEAT('x', {})))",
            number % 20,
            sizes.row
        );
        conn.query_drop(sql)
            .await
            .unwrap_or_else(|error| panic!("{master}: {error}"));
    }
    conn.disconnect().await.ok();
}

/// Bytes of all log files and indexes.
fn size(relay: &Relay) -> u64 {
    let entries = std::fs::read_dir(relay.data_dir()).expect("a data_dir");
    let of_log = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let is_log = name.starts_with("relay-bin.0");
        is_log.then(|| entry.metadata().map_or(0, |found| found.len()))
    });
    of_log.sum()
}

fn first_file(relay: &Relay) -> u64 {
    let list = std::fs::read_to_string(relay.data_dir().join("relay-bin.index")).expect("a list");
    let first = list.lines().next().expect("a file");
    let number = first.rsplit('.').next().expect("a number");
    number.parse().expect("a number")
}

/// Runs statements with the server's own client, as an account with "admin".
fn run(relay: &Relay, kind: Kind, statements: &str) -> Output {
    let mut client = program(kind, "client")
        .args(["--protocol=tcp", "--batch", "--skip-column-names"])
        .args([
            format!("--host={RELAY_HOST}"),
            format!("--port={}", relay.port),
        ])
        .args([
            format!("--user={UNPRIVILEGED_USER}"),
            format!("--password={REPL_PASSWORD}"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut input = client.stdin.take().expect("it was asked for");
    input.write_all(statements.as_bytes()).expect("it reads");
    drop(input);
    client.wait_with_output().expect("the client ends")
}

fn admin(relay: &Relay, kind: Kind, statements: &str) -> String {
    let output = run(relay, kind, statements);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{statements}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn log_names(relay: &Relay, kind: Kind) -> Vec<String> {
    let listed = admin(relay, kind, "SHOW BINARY LOGS");
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    listed.lines().filter_map(name).collect()
}

/// PURGE stops before what the stopped replica needs, and says so; the status is true.
async fn check_purge(topology: &Topology, kind: Kind, first: u64) {
    let relay = &topology.relay;
    let names = log_names(relay, kind);
    let last = names.last().expect("a file");
    for statement in [
        format!("PURGE BINARY LOGS TO '{last}'"),
        "PURGE MASTER LOGS BEFORE NOW() + INTERVAL 1 DAY".to_owned(),
        "purge binary logs before '2099-01-01 00:00:00'".to_owned(),
    ] {
        let warnings = admin(relay, kind, &format!("{statement}; SHOW WARNINGS"));
        assert!(warnings.contains("1867"), "{statement}: {warnings}");
        assert!(warnings.contains("replica 12"), "{statement}: {warnings}");
    }
    let old = admin(
        relay,
        kind,
        "PURGE BINARY LOGS BEFORE '2020-01-01'; SHOW WARNINGS",
    );
    assert_eq!(old, "");
    for (statement, code) in [
        ("PURGE BINARY LOGS TO 'relay-bin.999999'", "1373"),
        ("PURGE BINARY LOGS BEFORE 'soon'", "1525"),
    ] {
        let output = run(relay, kind, statement);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(code), "{statement}: {errors}");
    }
    let mut replica = RawClient::connect(RELAY_HOST, relay.port);
    replica
        .login(REPL_USER, REPL_PASSWORD)
        .expect("it may log in");
    let refused = replica.query("PURGE BINARY LOGS TO 'relay-bin.000001'");
    assert_eq!(refused.expect_err("it has no privilege").code, 1227);
    assert!(log_names(relay, kind).len() > 1, "from {first}");
    let status: Value = relay.status();
    let log_bytes = status["relay"]["log_bytes"].as_u64().expect("a number");
    assert!(log_bytes.abs_diff(size(relay)) < 64 * 1024, "{log_bytes}");
    assert!(status["relay"]["disk_free_bytes"].as_u64().is_some());
}

/// The errors of a real master for what is gone.
fn check_refusals(relay: &Relay, mode: Mode, kind: Kind) {
    let uuid = kind
        .is_mysql()
        .then_some("11111111-2222-3333-4444-777777777777");
    let connect = || {
        let mut client = RawClient::connect(RELAY_HOST, relay.port);
        client
            .login(REPL_USER, REPL_PASSWORD)
            .expect("it may log in");
        client.prepare_dump(77, uuid).expect("it may register");
        client
    };
    let mut by_position = connect();
    by_position.dump(77, "relay-bin.000001", 4, 0);
    let error = by_position.read_to_error().expect("an error");
    assert_eq!(error.code, 1236);
    assert!(
        error.message.contains("Could not find first log file name"),
        "{error:?}"
    );
    match mode {
        Mode::MySqlAutoPosition => {
            let mut empty = connect();
            empty.dump_empty_gtid_set(77);
            let error = empty.read_to_error().expect("an error");
            assert_eq!(error.code, 1236);
            assert!(error.message.contains("purged"), "{error:?}");
            let purged = relay.status()["relay"]["gtid_purged"].to_string();
            assert!(purged.len() > 20, "{purged}");
        }
        Mode::MariaDbSlavePos => {
            let mut empty = connect();
            empty
                .query("SET @slave_connect_state = ''")
                .expect("it may be set");
            empty.dump(77, "", 4, 0);
            let error = empty.read_to_error().expect("an error");
            assert_eq!(error.code, 1236);
            assert!(error.message.contains("purged"), "{error:?}");
        }
        _ => {}
    }
}
