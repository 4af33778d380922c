//! For each way in which a source fails: the command that its message names is executed, and afterwards the
//! replicas equal the masters, without being seeded again. Where their data cannot be right, it is refused.

mod later_log;
mod single_transactions;
mod too_large_transactions;
mod with_gtids;

use serde_json::Value;

use crate::support::history_changes::{
    self, continue_m2, copy_directory, execute, refusal, repoint, wait_failed,
};
use crate::support::replication::retry_each_second;
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

/// The relay follows M1 by GTID, and its configured start is one of the old history.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn reset_mariadb_followed_by_gtid() {
    let _turn = support::turn();
    let mut topology = start(Kind::MariaDb, Mode::MariaDbFilePosition).await;
    let newest = topology.m1.value("SELECT @@GLOBAL.gtid_binlog_pos").await;
    let newest = newest.expect("M1 has logged transactions");
    let third = |gtid: &str| format!("{}-3", &gtid[..gtid.rfind('-').expect("a GTID")]);
    let start = newest.split(',').map(third).collect::<Vec<_>>().join(",");
    let mut sources = topology.relay.options.sources.clone();
    sources[0].start = Some(format!("gtid:{start}"));
    topology.relay.terminate();
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
    reset_and_continue(topology).await;
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_mariadbs() {
    purged(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    reset(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    restored(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    purged(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
    reset(Kind::MariaDb118, Mode::MariaDbFilePosition).await;
    restored(Kind::MariaDb118, Mode::MariaDbFilePosition).await;
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
    let topology = start(kind, mode).await;
    reset_and_continue(topology).await;
}

async fn reset_and_continue(mut topology: Topology) {
    if topology.m1.kind.is_mariadb() {
        // A GTID that is used again shows by its commit time, which has whole seconds.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
    history_changes::reset(&topology.m1, &topology.m2).await;
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
    repoint(&topology.m2, file).await;
    if kind.is_mariadb() {
        crate::support::replication::resume_from_peer(&topology.m1, &topology.m2).await;
    }
    if kind.is_mariadb() {
        // The times of what was lost have whole seconds. What M2 delivers before the decision must not be delivered again:
        // then it would have to name a later position.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        topology.m2.sql("STOP SLAVE IO_THREAD").await;
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
    if kind.is_mariadb() {
        topology.m2.sql("START SLAVE IO_THREAD").await;
    }
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

/// The command that a message names.
fn advised(message: &str) -> String {
    let start = message.find("binrelay continue");
    let start = start.unwrap_or_else(|| panic!("no command: {message}"));
    let command = &message[start..];
    command[..command.find([';', ',']).unwrap_or(command.len())].to_owned()
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
