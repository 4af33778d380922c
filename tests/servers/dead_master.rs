//! A master is lost for good (T9): M1 is killed under load, and its data directory is removed. What only the
//! relay has of it is exactly what `binrelay missing` lists, and M2 gets it while it takes writes, as a
//! replica of the relay or from a client. Then M1 is rebuilt from M2, and followed again; or it was not lost, and
//! returns with its binlog.

mod exact_sets;
mod rebuilding;

use std::process::{Output, Stdio};
use std::time::Duration;

use mysql_async::Row;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use self::rebuilding::{rebuild_m1, return_m1};
use crate::support;
use crate::support::Deadline;
use crate::support::ledger::{self, Ledger};
use crate::support::load::Load;
use crate::support::programs::binlog_tool;
use crate::support::relay::{RELAY_HOST, Relay, run_binrelay};
use crate::support::replication::{
    assert_healthy, has_mark, retry_each_second, settle, write_mark,
};
use crate::support::servers::{Kind, REPL_PASSWORD, Server, program};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, Topology, TopologyOptions, gtid_executed, run_for};
use crate::support::{SeedNote, seeds};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_97_without_gtids() {
    repeat(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_97_with_gtids() {
    repeat(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_without_gtids() {
    repeat(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_with_gtids() {
    repeat(Kind::MySql56, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_105_with_a_shared_domain() {
    repeat(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_105_by_gtid() {
    repeat(Kind::MariaDb105, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_1011_with_a_shared_domain() {
    repeat(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_1011_by_gtid() {
    repeat(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_118_with_a_shared_domain() {
    repeat(Kind::MariaDb118, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_118_by_gtid() {
    repeat(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
}

/// In 30 of these seeds M1 is lost for good, in the six others it returns.
const SEEDS: u64 = 36;

async fn repeat(kind: Kind, mode: Mode) {
    assert_eq!((1..=SEEDS).filter(|seed| !returns(*seed)).count(), 30);
    for seed in seeds(1, SEEDS) {
        lose_m1(kind, mode, seed).await;
    }
}

/// With some seeds, M1 returns after all.
fn returns(seed: u64) -> bool {
    seed.is_multiple_of(4) && !seed.is_multiple_of(3)
}

/// With every third seed, M2 lacks only what the moment of the kill makes of it.
fn is_m2_following(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

async fn lose_m1(kind: Kind, mode: Mode, seed: u64) {
    let _turn = support::turn();
    let _note = SeedNote(seed);
    let mut options = TopologyOptions::new(mode, seed);
    (options.master_kind, options.replica_kind, options.replicas) = (kind, kind, 2);
    options.replicate_do_db = Vec::new();
    options.attach_extra = retry_each_second(kind);
    let mut topology = Topology::start(options).await;
    ledger::create(&topology.m1, topology.all_but_m1()).await;
    let mut rng = StdRng::seed_from_u64(seed);
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    let ledger = Ledger::start(&topology.m1, 0..1, Duration::from_millis(3)).await;
    run_for(rng.random_range(300..800)).await;
    if !is_m2_following(seed) {
        let millis = rng.random_range(100..600);
        lag(&topology.m1, &topology.m2, &topology.replicas[0], millis).await;
    }
    topology.m1.kill9();
    if !returns(seed) {
        std::fs::remove_dir_all(topology.m1.data_dir()).expect("the data directory is removed");
    }
    on_m1.ended().await;
    ledger.ended().await;
    wait_idle(&topology.m2).await;

    let found = wait_missing(&topology).await;
    let mut lacking = 0;
    for replica in &topology.replicas {
        lacking = compare(&topology, replica, &found).await;
    }
    assert!(lacking > 0 || is_m2_following(seed), "{found:#}");
    assert_only_here(&topology.relay, mode, &found).await;
    if mode.has_gtids() {
        compare_by_hand(&topology, &found).await;
    }
    let rescue = &found["rescue"];
    if !rescue.is_null() {
        match matches!(seed % 5, 2 | 4) && !rescue["command"].is_null() {
            true => by_command(&topology.m2, rescue).await,
            false => as_replica(&topology.m2, rescue).await,
        }
    }
    run_for(300).await;
    on_m2.finish().await;
    let replicas: Vec<&Server> = topology.replicas.iter().collect();
    settle(&[&topology.m2], &replicas, 60).await;
    for replica in replicas {
        assert_healthy(replica).await;
    }
    assert_all_equal_m2(&topology, &[]).await;
    wait_nothing_missing(&topology).await;
    println!(
        "{kind}, {mode}, seed {seed}: {} missing, {lacking} of the ledger",
        found["total"]
    );
    match returns(seed) {
        true => return_m1(&mut topology, mode, &found).await,
        false => rebuild_m1(&mut topology, mode).await,
    }
    assert_all_equal_m2(&topology, &[&topology.m1]).await;
    topology.relay.assert_running();
    topology.relay.terminate();
    topology.relay.verify();
}

/// The replicas, and these servers, have the tables that M2 has.
async fn assert_all_equal_m2(topology: &Topology, others: &[&Server]) {
    for server in topology.replicas.iter().chain(others.iter().copied()) {
        for database in ["test", "other"] {
            assert_same_tables(&topology.m2, server, database).await;
        }
    }
}

/// The statements about replication.
struct Words {
    stop_receiving: &'static str,
    status: &'static str,
}

impl Words {
    fn of(kind: Kind) -> Self {
        let (stop_receiving, status) = match (kind.says_replica(), kind.is_mariadb()) {
            (true, _) => ("STOP REPLICA IO_THREAD", "SHOW REPLICA STATUS"),
            (false, true) => ("STOP SLAVE IO_THREAD", "SHOW ALL SLAVES STATUS"),
            (false, false) => ("STOP SLAVE IO_THREAD", "SHOW SLAVE STATUS"),
        };
        Self {
            stop_receiving,
            status,
        }
    }
}

/// M2 receives nothing more from M1, which continues for this time, and until the relay's replica has some of it.
async fn lag(m1: &Server, m2: &Server, replica: &Server, millis: u64) {
    m2.sql(Words::of(m2.kind).stop_receiving).await;
    let before = ledger::rows(m1).await.len();
    run_for(millis).await;
    let deadline = Deadline::after_secs(60);
    while ledger::rows(replica).await.len() <= before {
        assert!(!deadline.passed(), "{replica} has not caught up");
        run_for(20).await;
    }
}

/// M2 receives nothing more from M1, and has applied everything whole.
async fn wait_idle(m2: &Server) {
    let words = Words::of(m2.kind);
    m2.sql(words.stop_receiving).await;
    let deadline = Deadline::after_secs(60);
    loop {
        let rows: Vec<Row> = m2.rows(words.status).await;
        let text = |names: [&str; 2]| {
            let value = names
                .into_iter()
                .find_map(|name| rows[0].get::<Option<String>, &str>(name));
            value.flatten().unwrap_or_default()
        };
        let state = text(["Replica_SQL_Running_State", "Slave_SQL_Running_State"]);
        if state.contains("has read all relay log") {
            run_for(300).await;
            return;
        }
        assert!(!deadline.passed(), "{m2} is not idle: {state}");
        run_for(50).await;
    }
}

fn run_missing(relay: &Relay, arguments: &[&str]) -> Output {
    let config = relay.config();
    let config = config.to_str().expect("a UTF-8 path");
    let mut all = vec!["missing", "m2", "--json", "--config", config];
    all.extend(arguments);
    run_binrelay(&all)
}

fn missing(relay: &Relay, arguments: &[&str]) -> Value {
    let output = run_missing(relay, arguments);
    assert!(
        output.status.success(),
        "binrelay missing {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("a JSON object")
}

/// What M2 lacks, with a rescue, once the relay has everything. M2 may have received a part of a transaction, for
/// the rest of which a multithreaded replica waits forever.
async fn wait_missing(topology: &Topology) -> Value {
    let away = |status: &Value| status["sources"][0]["state"] == "connecting";
    topology.relay.wait_status("m1 is away", 30, away).await;
    let mark = write_mark(&[&topology.m2]).await;
    let deadline = Deadline::after_secs(60);
    for replica in &topology.replicas {
        while !has_mark(replica, &topology.m2, mark).await {
            assert!(!deadline.passed(), "{replica} has not caught up");
            run_for(100).await;
        }
    }
    let output = run_missing(&topology.relay, &["--write"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return serde_json::from_slice(&output.stdout).expect("a JSON object");
    }
    assert!(
        errors.contains("a multithreaded replica that has received only part"),
        "{errors}"
    );
    missing(&topology.relay, &["--write", "--replication-stopped"])
}

/// The list equals the difference of the data. Returns the number of rows of the ledger that M2 lacks.
async fn compare(topology: &Topology, replica: &Server, found: &Value) -> usize {
    let m2 = &topology.m2;
    let listed = found["transactions"].as_array().expect("a list");
    assert_eq!(found["total"], listed.len(), "{found:#}");
    let (of_replica, of_m2) = (ledger::rows(replica).await, ledger::rows(m2).await);
    assert!(
        of_m2.is_subset(&of_replica),
        "M2 has rows that the replica lacks"
    );
    let is_ledger = |one: &&Value| {
        one["summary"]
            .as_str()
            .is_some_and(|it| it.contains("ledger"))
    };
    let lacking = of_replica.len() - of_m2.len();
    assert_eq!(
        listed.iter().filter(is_ledger).count(),
        lacking,
        "{found:#}"
    );
    assert!(listed.iter().all(|one| one["server_id"] == 86), "{found:#}");
    if m2.kind.is_mysql() && listed.first().is_some_and(|one| !one["gtid"].is_null()) {
        let (all, of_m2) = (gtid_executed(replica).await, gtid_executed(m2).await);
        let sql = format!("SELECT GTID_SUBTRACT('{all}', '{of_m2}')");
        let expected = replica.value(&sql).await.unwrap_or_default();
        let gtids: Vec<&str> = listed
            .iter()
            .filter_map(|one| one["gtid"].as_str())
            .collect();
        let sql = format!("SELECT GTID_SUBTRACT('{}', '')", gtids.join(","));
        // The replica may be ahead of M2's answer by what M2 has written since.
        let own = m2
            .value("SELECT @@GLOBAL.server_uuid")
            .await
            .expect("a UUID");
        let expected: Vec<&str> = expected
            .split(",\n")
            .filter(|one| !one.starts_with(&own))
            .collect();
        assert_eq!(
            replica.value(&sql).await.unwrap_or_default(),
            expected.join(",\n")
        );
    }
    lacking
}

/// The list is the same where M2's GTIDs are given by hand, as if it did not answer. What it has written itself since it
/// was asked for them is listed, too.
async fn compare_by_hand(topology: &Topology, found: &Value) {
    let variable = match topology.m2.kind.is_mysql() {
        true => "gtid_executed",
        false => "gtid_binlog_state",
    };
    let sql = format!("SELECT @@GLOBAL.{variable}");
    let has = topology.m2.value(&sql).await.expect("GTIDs");
    let by_hand = missing(&topology.relay, &["--has", &has]);
    let of_m1 = |answer: &Value| -> Vec<Value> {
        let listed = answer["transactions"].as_array().expect("a list").iter();
        let of_m1 = listed.filter(|one| one["server_id"] == 86);
        of_m1.cloned().collect()
    };
    assert_eq!(of_m1(&by_hand), of_m1(found), "{variable} is {has}");
}

/// `only_here` of M1 is the number of these transactions. It is not known without GTIDs, and may not be where masters
/// that share a domain write in turn.
async fn assert_only_here(relay: &Relay, mode: Mode, found: &Value) {
    let as_many = |status: &Value| {
        let only_here = &status["sources"][0]["only_here"];
        match mode {
            Mode::MySqlNoGtids => only_here.is_null(),
            Mode::MariaDbFilePosition => only_here.is_null() || *only_here == found["total"],
            _ => *only_here == found["total"],
        }
    };
    relay
        .wait_status("only_here equals the missing ones", 15, as_many)
        .await;
}

fn lines(rescue: &Value, name: &str) -> Vec<String> {
    let lines = rescue[name].as_array().cloned().unwrap_or_default();
    let lines = lines
        .iter()
        .map(|line| line.as_str().expect("a line").to_owned());
    lines.filter(|line| !line.starts_with("--")).collect()
}

/// Executes the printed statements with the test's address and password.
async fn as_replica(m2: &Server, rescue: &Value) {
    for line in lines(rescue, "statements") {
        let line = line.replace("PASSWORD='…'", &format!("PASSWORD='{REPL_PASSWORD}'"));
        let (before, rest) = line.split_once("_HOST='").unwrap_or((&line, ""));
        let line = match rest.split_once('\'') {
            Some((_, after)) => format!("{before}_HOST='{RELAY_HOST}'{after}"),
            None => line.clone(),
        };
        m2.sql(&line).await;
    }
    wait_until_reached(m2, rescue).await;
    for line in lines(rescue, "after_statements") {
        m2.sql(&line).await;
    }
}

/// The SQL thread has stopped by itself, at the end of the file.
async fn wait_until_reached(m2: &Server, rescue: &Value) {
    let deadline = Deadline::after_secs(60);
    loop {
        let rows: Vec<Row> = m2.rows(Words::of(m2.kind).status).await;
        let row = rows.last().expect("a connection");
        let text = |names: [&str; 2]| {
            let value = names
                .into_iter()
                .find_map(|name| row.get::<Option<String>, &str>(name));
            value.flatten().unwrap_or_default()
        };
        let error = text(["Last_SQL_Error", "Last_SQL_Error"]);
        assert!(error.is_empty(), "{m2}: {error}");
        if text(["Replica_SQL_Running", "Slave_SQL_Running"]) == "No" {
            let applied = text(["Relay_Source_Log_File", "Relay_Master_Log_File"]);
            assert_eq!(rescue["file"], applied.as_str());
            let position = text(["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"]);
            assert_eq!(rescue["end_position"].to_string(), position);
            return;
        }
        assert!(
            !deadline.passed(),
            "{m2}: the end of the rescue is not reached: {row:?}"
        );
        run_for(50).await;
    }
}

/// Executes the printed command, with the servers' own programs.
async fn by_command(m2: &Server, rescue: &Value) {
    let command = rescue["command"].as_str().expect("a command");
    let path = rescue["path"].as_str().expect("a path");
    assert!(
        command.contains(path) && command.contains("--binary-mode"),
        "{command}"
    );
    let files = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    let output = binlog_tool(m2.kind, files.path()).arg(path).output();
    let output = output.expect("the binlog tool can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let socket = m2.data_dir().with_file_name("s");
    let mut client = program(m2.kind, "client");
    if m2.kind.is_before_57() {
        // The client is that of 9.7, which sends comments, too, as statements of their own; that of 5.6 does not.
        client.arg("--skip-comments");
    }
    let mut client = client
        .args(["--binary-mode", "--user=root"])
        .arg(format!("--socket={}", socket.display()))
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client can be run");
    let mut input = client.stdin.take().expect("a pipe");
    let text = match m2.kind.is_before_57() {
        true => without_new_comments(&output.stdout),
        false => output.stdout,
    };
    std::io::Write::write_all(&mut input, &text).expect("the client reads");
    drop(input);
    let status = client.wait().expect("the client ends");
    assert!(status.success(), "{status}");
    for line in lines(rescue, "after_command") {
        m2.sql(&line).await;
    }
}

/// What the binlog tool of MySQL 5.6 would print: that of 9.7 is used for 5.6, too. A statement that is only a
/// comment for that server, after a transaction with a GTID, is error 1837.
fn without_new_comments(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.starts_with(b"/*!80"))
        .flatten()
        .copied()
        .collect()
}

/// The relay has received from M2 what M2 was given, and recognised it.
async fn wait_nothing_missing(topology: &Topology) {
    let deadline = Deadline::after_secs(30);
    loop {
        let found = missing(&topology.relay, &[]);
        if found["total"] == 0 {
            break;
        }
        assert!(!deadline.passed(), "{found:#}");
        run_for(200).await;
    }
    let m2 = topology.relay.source_status("m2");
    assert_eq!(m2["state"], "streaming", "{m2:#}");
}
