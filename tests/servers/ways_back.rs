//! For each way in which a source fails: the command that its message names is executed, and afterwards the
//! replicas equal the masters, without being seeded again. Where their data cannot be right, it is refused.

mod single_transactions;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::relay::run_binrelay;
use crate::support::replication::{attach, replica_status, retry_each_second};
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions};
use crate::support::{self, Deadline};

#[tokio::test(flavor = "multi_thread")]
async fn purged_mariadb() {
    purged(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn purged_mariadb_by_slave_pos() {
    purged(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn purged_mysql_without_gtids() {
    purged(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn purged_mysql_56_without_gtids() {
    purged(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn reset_mariadb() {
    reset(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_mysql_without_gtids() {
    reset(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn reset_mysql_56_without_gtids() {
    reset(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn restored_mariadb() {
    restored(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn restored_mysql_without_gtids() {
    restored(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_mysql_56_without_gtids() {
    restored(Kind::MySql56, Mode::MySqlNoGtids).await;
}

async fn start(kind: Kind, mode: Mode) -> Topology {
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    start_with(options).await
}

async fn start_with(mut options: TopologyOptions) -> Topology {
    options.attach_extra = retry_each_second(options.replica_kind);
    let topology = Topology::start(options).await;
    topology
        .m1
        .sql("USE test; CREATE TABLE history (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
        .await;
    insert(&topology.m1, 5).await;
    topology.settle(60).await;
    insert(&topology.m2, 5).await;
    topology.settle(60).await;
    topology
}

async fn insert(server: &Server, rows: u32) {
    for _ in 0..rows {
        server
            .sql("USE test; INSERT INTO history (v) VALUES (1)")
            .await;
    }
}

/// M1 has purged what the relay needs next; M2 has delivered it.
async fn purged(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    topology.relay.terminate();
    insert(&topology.m1, 5).await;
    topology.m1.sql("FLUSH LOGS").await;
    insert(&topology.m1, 5).await;
    wait_for_rows(&topology.m2, &topology.m1).await;
    let last = topology.m1.log_files().pop().expect("a binlog file");
    let last = last.file_name().and_then(|name| name.to_str()).unwrap();
    purge_to(&topology.m1, last).await;
    topology.relay.restart();
    let message = wait_failed(&topology, "1236").await;
    wait_for_rows(&topology.replicas[0], &topology.m1).await;
    let done = execute(&topology, &advised(&message));
    assert_eq!(
        done.contains("cannot be verified"),
        mode == Mode::MySqlNoGtids,
        "{done}"
    );
    assert_continues(&mut topology).await;
}

/// MariaDB keeps a file while a dump thread reads it, until it has noticed that its client is gone.
async fn purge_to(server: &Server, file: &str) {
    let deadline = Deadline::after_secs(30);
    while server.log_files().len() > 1 {
        assert!(!deadline.passed(), "{server} does not purge its binlog");
        server.sql(&format!("PURGE BINARY LOGS TO '{file}'")).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// M1 was reset, and M2 was pointed to the new beginning of its binlog.
async fn reset(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    reset_m1(&topology).await;
    insert(&topology.m1, 12).await;
    wait_for_rows(&topology.m2, &topology.m1).await;
    let message = wait_failed(&topology, "history has changed").await;
    assert!(
        message.contains("binrelay continue m1 --new-history"),
        "{message}"
    );
    let refused = refusal(&topology, "binrelay continue m1");
    assert!(refused.contains("history has changed"), "{refused}");
    let done = execute(&topology, "binrelay continue m1 --new-history");
    assert!(done.contains("mysql-bin.000001:4"), "{done}");
    continue_m2(&topology).await;
    assert_continues(&mut topology).await;
}

async fn reset_m1(topology: &Topology) {
    let (m1, m2) = (&topology.m1, &topology.m2);
    let (stop, reset) = match m2.kind.says_replica() {
        true => ("STOP REPLICA", "RESET BINARY LOGS AND GTIDS"),
        false => ("STOP SLAVE", "RESET MASTER"),
    };
    m2.sql(stop).await;
    m1.sql(reset).await;
    repoint_m2(topology, "mysql-bin.000001").await;
}

/// M2 follows M1 from the beginning of `file` on.
async fn repoint_m2(topology: &Topology, file: &str) {
    let m2 = &topology.m2;
    m2.sql(&match m2.kind.says_replica() {
        true => format!(
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='{file}', SOURCE_LOG_POS=4; \
             START REPLICA"
        ),
        false => format!(
            "STOP SLAVE; CHANGE MASTER TO MASTER_LOG_FILE='{file}', MASTER_LOG_POS=4; START SLAVE"
        ),
    })
    .await;
}

/// M1 was replaced by an older copy of its data. What it has lost is brought back without its binlog; new
/// transactions follow.
async fn restored(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    topology.m1.terminate();
    let copy = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    copy_directory(&topology.m1.data_dir(), &copy.path().join("data"));
    topology.restart_m1().await;
    insert(&topology.m1, 5).await;
    topology.settle(60).await;
    let received = |status: &Value| {
        let m1 = &status["sources"][0];
        m1["file"] != "mysql-bin.000001" && m1["seconds_behind"] == 0
    };
    topology
        .relay
        .wait_status("the relay has M1's newest rows", 60, received)
        .await;
    topology.m1.terminate();
    std::fs::remove_dir_all(topology.m1.data_dir()).expect("the data directory is removed");
    copy_directory(&copy.path().join("data"), &topology.m1.data_dir());
    topology.m1.restart().await;
    copy_rows(&topology.m2, &topology.m1).await;
    let file = topology.m1.log_files().pop().expect("a binlog file");
    let file = file.file_name().and_then(|name| name.to_str()).unwrap();
    repoint_m2(&topology, file).await;
    if kind.is_mariadb() {
        crate::support::replication::resume_from_peer(&topology.m1, &topology.m2).await;
    }
    insert(&topology.m1, 3).await;
    let message = wait_failed(&topology, "history has changed").await;
    assert!(
        message.contains("binrelay continue m1 --new-history"),
        "{message}"
    );
    // From the beginning, everything would be delivered again.
    let refused = refusal(&topology, "binrelay continue m1 --new-history");
    assert!(refused.contains("was received before"), "{refused}");
    assert!(refused.contains("FILE:4"), "{refused}");
    execute(
        &topology,
        &format!("binrelay continue m1 --new-history --at {file}:4"),
    );
    continue_m2(&topology).await;
    assert_continues(&mut topology).await;
}

/// The rows that M1 itself had written, which `to` has lost, without its binlog. M2's are replicated again.
async fn copy_rows(from: &Server, to: &Server) {
    let rows: Vec<(u64, i64)> = from
        .rows("SELECT id, v FROM test.history WHERE id % 2 = 1")
        .await;
    let mut text = "SET sql_log_bin=0; USE test; ".to_owned();
    for (id, v) in rows {
        text.push_str(&format!("REPLACE INTO history VALUES ({id}, {v}); "));
    }
    let marks: Vec<u64> = from.rows("SELECT mark FROM test.mark_86").await;
    for mark in marks {
        text.push_str(&format!("REPLACE INTO mark_86 VALUES ({mark}); "));
    }
    to.sql(&text).await;
}

/// With GTIDs, transactions of a reset source would be skipped silently by the replicas: that is refused. The
/// source gets the data of its peer and a new identity.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn reset_mysql_with_gtids() {
    let _turn = support::turn();
    let mut topology = start(Kind::MySql, Mode::MySqlAutoPosition).await;
    topology.m1.sql("RESET BINARY LOGS AND GTIDS").await;
    insert(&topology.m1, 3).await;
    let message = wait_failed(&topology, "history has changed").await;
    assert!(
        message.contains("binrelay continue m1 --new-history"),
        "{message}"
    );
    let refused = refusal(&topology, "binrelay continue m1 --new-history");
    assert!(
        refused.contains("Replicas that have them skip"),
        "{refused}"
    );
    assert!(refused.contains("auto.cnf"), "{refused}");
    // Growth must not hide it.
    insert(&topology.m1, 30).await;
    let refused = refusal(&topology, "binrelay continue m1 --new-history");
    assert!(refused.contains("auto.cnf"), "{refused}");

    topology.m1.terminate();
    topology.m2.terminate();
    std::fs::remove_dir_all(topology.m1.data_dir()).expect("the data directory is removed");
    copy_directory(&topology.m2.data_dir(), &topology.m1.data_dir());
    std::fs::remove_file(topology.m1.data_dir().join("auto.cnf")).expect("auto.cnf is removed");
    topology.m1.restart().await;
    topology.m2.restart().await;
    let executed = topology.m1.value("SELECT @@GLOBAL.gtid_executed").await;
    let executed = executed.unwrap_or_default();
    topology
        .m1
        .sql(&format!(
            "STOP REPLICA; RESET REPLICA ALL; RESET BINARY LOGS AND GTIDS; \
             SET GLOBAL gtid_purged = '{executed}'"
        ))
        .await;
    let at = Mode::MySqlAutoPosition.start_at("mysql-bin");
    let extra = retry_each_second(Kind::MySql);
    attach(&topology.m1, "127.0.0.1", topology.m2.port, &at, extra).await;
    topology.m2.sql("STOP REPLICA; START REPLICA").await;
    wait_m2(&topology).await;
    execute(&topology, "binrelay continue m1 --new-history");
    assert_continues(&mut topology).await;
}

/// Transactions that never existed are declared as purged on a master: the relay counts them as delivered, and
/// replicas that lack them are refused until they do as well.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn gtid_purged_of_a_source_grew() {
    let _turn = support::turn();
    let mut topology = start(Kind::MySql, Mode::MySqlAutoPosition).await;
    let purged = "SET GLOBAL gtid_purged = '+11111111-2222-3333-4444-555555555555:1-5'";
    topology.m1.sql(purged).await;
    topology.m2.sql("STOP REPLICA").await;
    topology.relay.terminate();
    topology.relay.restart();
    let message = wait_failed(&topology, "1236").await;
    let done = execute(&topology, &advised(&message));
    assert!(done.contains(purged), "{done}");
    topology.m2.sql(&format!("{purged}; START REPLICA")).await;
    topology.m1.sql("STOP REPLICA; START REPLICA").await;
    // The relay keeps this across restarts.
    topology.relay.terminate();
    topology.relay.verify();
    topology.relay.restart();
    topology.relay.wait_streaming().await;
    let purged_here = topology.relay.status()["relay"]["gtid_purged"].to_string();
    assert!(purged_here.contains("555555555555:1-5"), "{purged_here}");
    let replica = &topology.replicas[0];
    replica.sql("STOP REPLICA; START REPLICA").await;
    let deadline = Deadline::after_secs(60);
    while replica_status(replica).await.io_errno != 13114 {
        assert!(!deadline.passed(), "the replica is not refused");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    replica.sql(purged).await;
    replica.sql("STOP REPLICA; START REPLICA").await;
    assert_continues(&mut topology).await;
}

/// MariaDB: M2 may have sent M1's new transactions, which have GTIDs of delivered ones.
fn has_sent_new_history(m2: &Value) -> bool {
    let message = m2["last_error"]["message"].as_str().unwrap_or_default();
    m2["state"] == "failed" && message.contains("a master has assigned the GTID again")
}

async fn wait_m2(topology: &Topology) {
    let at_end = |status: &Value| {
        let m2 = &status["sources"][1];
        let is_at_end = m2["state"] == "streaming" && m2["seconds_behind"] == 0;
        is_at_end || has_sent_new_history(m2)
    };
    let what = "m2 is not behind";
    topology.relay.wait_status(what, 60, at_end).await;
}

/// M2's own history has not changed.
async fn continue_m2(topology: &Topology) {
    let decided = |status: &Value| {
        let sources = &status["sources"];
        let is_streaming = sources[1]["state"] == "streaming";
        sources[0]["state"] == "streaming" && (is_streaming || has_sent_new_history(&sources[1]))
    };
    topology
        .relay
        .wait_status("m1 continues", 30, decided)
        .await;
    if has_sent_new_history(&topology.relay.source_status("m2")) {
        execute(topology, "binrelay continue m2");
    }
}

/// Waits until m1 is failed with this text in its message, and m2 has delivered everything; returns the message.
async fn wait_failed(topology: &Topology, text: &str) -> String {
    let failed = |status: &Value| {
        let m1 = &status["sources"][0];
        m1["state"] == "failed" && m1["last_error"].to_string().contains(text)
    };
    topology.relay.wait_status("m1 is failed", 90, failed).await;
    wait_m2(topology).await;
    let m1 = topology.relay.source_status("m1");
    m1["last_error"]["message"].as_str().unwrap().to_owned()
}

/// The command that a message names.
fn advised(message: &str) -> String {
    let start = message.find("binrelay continue");
    let start = start.unwrap_or_else(|| panic!("no command: {message}"));
    let command = &message[start..];
    command[..command.find([';', ',']).unwrap_or(command.len())].to_owned()
}

fn run(topology: &Topology, command: &str) -> std::process::Output {
    let config = topology.relay.config();
    let mut arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
    arguments.extend(["--config", config.to_str().expect("a UTF-8 path")]);
    run_binrelay(&arguments)
}

/// Executes a command; returns what it printed.
fn execute(topology: &Topology, command: &str) -> String {
    let output = run(topology, command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {text}{errors}");
    text
}

/// Executes a command that is refused; returns the reason.
fn refusal(topology: &Topology, command: &str) -> String {
    let output = run(topology, command);
    assert_eq!(output.status.code(), Some(1), "{command}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both sources stream, also after a restart of the relay; the error shows when it ended; everything arrives.
async fn assert_continues(topology: &mut Topology) {
    topology.relay.wait_streaming().await;
    let m1 = topology.relay.source_status("m1");
    assert!(
        m1["last_error"].is_null() || m1["last_error"]["resolved_at"].is_string(),
        "{m1}"
    );
    insert(&topology.m1, 3).await;
    insert(&topology.m2, 3).await;
    topology.settle(90).await;
    topology.relay.terminate();
    insert(&topology.m1, 3).await;
    insert(&topology.m2, 3).await;
    topology.relay.restart();
    topology.relay.wait_streaming().await;
    topology.settle(90).await;
    topology.assert_replicas_equal_m1().await;
    topology.relay.terminate();
    topology.relay.verify();
}

/// Waits until the reader has as many rows as the writer.
async fn wait_for_rows(reader: &Server, writer: &Server) {
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM test.history";
    let expected = writer.value(count).await;
    let deadline = Deadline::after_secs(60);
    while reader.value(count).await != expected {
        assert!(
            !deadline.passed(),
            "{reader} lacks rows of {writer}\n{}",
            reader.error_log_tail()
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    let status = status.expect("cp can be run");
    assert!(status.success(), "cp -a {from:?} {to:?}: {status}");
}
