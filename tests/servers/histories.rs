//! A master whose binlog is no longer the one that the relay has received: it was reset, or the server was
//! restored from an older copy. That source is `failed`, however its binlog grows afterwards, until an
//! administrator acts; the other source continues.

mod other_kinds;
mod returns;
mod rotations;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::programs::free_port;
use crate::support::relay::run_binrelay;
use crate::support::replication::retry_each_second;
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions};
use crate::support::virtual_ip::VirtualIp;
use crate::support::{self, Deadline};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_restored_from_an_older_copy() {
    restored(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_restored_from_an_older_copy() {
    restored(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_restored_from_an_older_copy() {
    restored(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_without_gtids_restored_from_an_older_copy() {
    restored(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_restored_from_an_older_copy() {
    restored(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_after_reset_master() {
    reset(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_after_reset_master() {
    reset(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_after_reset_of_binary_logs_and_gtids() {
    reset(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_after_reset_master() {
    reset(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_without_gtids_lost_what_only_its_peer_had_sent() {
    lost_what_its_peer_had_sent(Kind::MySql, Mode::MySqlNoGtids, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_lost_what_only_its_peer_had_sent() {
    lost_what_its_peer_had_sent(Kind::MySql56, Mode::MySqlNoGtids, 3).await;
}

/// M1 continues after the numbers that it has lost, so no GTID is used twice.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_skips_what_only_its_peer_had_sent() {
    lost_what_its_peer_had_sent(Kind::MariaDb, Mode::MariaDbSlavePos, 3).await;
}

/// M1 has assigned all GTIDs that it has lost to other transactions before the relay looks at it: it sends none of
/// these, and its `gtid_executed` lacks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_by_auto_position_assigns_again_what_only_its_peer_had_sent() {
    lost_what_its_peer_had_sent(Kind::MySql, Mode::MySqlAutoPosition, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_by_auto_position_assigns_again_what_only_its_peer_had_sent() {
    lost_what_its_peer_had_sent(Kind::MySql56, Mode::MySqlAutoPosition, 30).await;
}

/// The relay cannot reach M1 while it writes what it loses later, so what it has received from M1 itself is still in
/// M1's binlog.
/// After that it writes `again` transactions before it can be reached.
async fn lost_what_its_peer_had_sent(kind: Kind, mode: Mode, again: u32) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    let address = VirtualIp::of(topology.m1.port).await;
    let mut sources = topology.relay.options.sources.clone();
    sources[0].port = address.port;
    topology.relay.terminate();
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
    topology.m1.terminate();
    let copy = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    copy_directory(&topology.m1.data_dir(), &copy.path().join("data"));
    address.move_to(free_port());
    topology.restart_m1().await;
    insert(&topology.m1, 10).await;
    topology.settle(60).await;
    restore_m1(&mut topology, copy.path()).await;
    if mode == Mode::MariaDbSlavePos {
        wait_for_gtids_of_peer(&topology).await;
    }
    if mode != Mode::MySqlNoGtids {
        insert(&topology.m1, again).await;
    }
    address.move_to(topology.m1.port);
    insert(&topology.m1, 3).await;
    assert_fails(&mut topology, 5).await;
}

/// M1 has counted what M2 sends, although it ignores its own transactions in that.
async fn wait_for_gtids_of_peer(topology: &Topology) {
    let sent = topology.m2.value("SELECT @@GLOBAL.gtid_current_pos").await;
    let sent = sent.expect("M2's position");
    let sent = sent.split(',').find(|gtid| gtid.starts_with("86-"));
    let sent = sent.expect("M2 has replicated from M1");
    let deadline = Deadline::after_secs(30);
    loop {
        let position = topology.m1.value("SELECT @@GLOBAL.gtid_slave_pos").await;
        if position
            .as_ref()
            .is_some_and(|gtids| gtids.split(',').any(|gtid| gtid == sent))
        {
            return;
        }
        assert!(!deadline.passed(), "{sent} is not in {position:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The relay is stopped meanwhile, and M1's binlog grows past the position that was received.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn restored_while_the_relay_is_stopped() {
    for (kind, mode) in WITHOUT_AUTO_POSITION {
        restored_meanwhile(kind, mode, 60).await;
    }
    restored_meanwhile(Kind::MySql, Mode::MySqlAutoPosition, 60).await;
    restored_meanwhile(Kind::MariaDb, Mode::MariaDbSlavePos, 60).await;
}

/// With the default `connect_retry_max` M1's binlog has grown before it is looked at again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn restored_with_the_default_retry() {
    for (kind, mode) in WITHOUT_AUTO_POSITION {
        restored_with_defaults(kind, mode).await;
    }
}

async fn restored_with_defaults(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    let mut sources = topology.relay.options.sources.clone();
    sources.iter_mut().for_each(|source| source.extra.clear());
    topology.relay.terminate();
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
    let copy = copy_m1(&mut topology).await;
    restore_m1(&mut topology, copy.path()).await;
    insert(&topology.m1, 60).await;
    assert_fails(&mut topology, 5).await;
}

/// M1 loses only its last transactions, as with sync_binlog=0 in a power cut.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn binlog_without_its_last_transactions() {
    for (kind, mode) in WITHOUT_AUTO_POSITION {
        loses_last_transactions(kind, mode).await;
    }
}

async fn loses_last_transactions(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    let file = topology.m1.log_files().pop().expect("a binlog file");
    let len = std::fs::metadata(&file).expect("the binlog file").len();
    insert(&topology.m1, 3).await;
    topology.settle(60).await;
    wait_received(&topology, |m1| m1["seconds_behind"] == 0).await;
    topology.m1.kill9();
    let file = std::fs::OpenOptions::new().write(true).open(&file);
    let file = file.expect("the binlog file is opened");
    file.set_len(len).expect("the binlog file is truncated");
    topology.m1.restart().await;
    insert(&topology.m1, 1).await;
    assert_fails(&mut topology, 20).await;
}

/// Kinds and modes in which only a position shows a source's history.
const WITHOUT_AUTO_POSITION: [(Kind, Mode); 3] = [
    (Kind::MariaDb, Mode::MariaDbFilePosition),
    (Kind::MySql, Mode::MySqlNoGtids),
    (Kind::MySql56, Mode::MySqlNoGtids),
];

async fn restored_meanwhile(kind: Kind, mode: Mode, rows: u32) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    let copy = copy_m1(&mut topology).await;
    topology.relay.terminate();
    restore_m1(&mut topology, copy.path()).await;
    insert(&topology.m1, rows).await;
    topology.relay.restart();
    assert_fails(&mut topology, 5).await;
}

async fn start(kind: Kind, mode: Mode) -> Topology {
    let mut options = TopologyOptions::new(mode, support::seed());
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    options.attach_extra = retry_each_second(kind);
    // Three times as long as between two heartbeats, the first of which can show another history.
    options.source_extra = vec!["read_timeout = \"6s\"".to_owned()];
    let topology = Topology::start(options).await;
    topology
        .m1
        .sql("USE test; CREATE TABLE history (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
        .await;
    insert(&topology.m1, 10).await;
    topology.settle(60).await;
    topology
}

/// Rows of equal sizes, so that transactions of another history end at the same positions.
async fn insert(server: &Server, rows: u32) {
    for _ in 0..rows {
        server
            .sql("USE test; INSERT INTO history (v) VALUES (1)")
            .await;
    }
}

async fn restored(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    let copy = copy_m1(&mut topology).await;
    restore_m1(&mut topology, copy.path()).await;
    insert(&topology.m1, 5).await;
    assert_fails(&mut topology, 35).await;
}

/// A copy of M1's data; afterwards M1 has written more, which the relay has received.
async fn copy_m1(topology: &mut Topology) -> tempfile::TempDir {
    topology.m1.terminate();
    let copy = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    copy_directory(&topology.m1.data_dir(), &copy.path().join("data"));
    topology.restart_m1().await;
    insert(&topology.m1, 10).await;
    topology.settle(60).await;
    wait_received(topology, |m1| {
        m1["file"] != "mysql-bin.000001" && m1["seconds_behind"] == 0
    })
    .await;
    copy
}

/// M1 is replaced by its copy.
async fn restore_m1(topology: &mut Topology, copy: &Path) {
    topology.m1.terminate();
    std::fs::remove_dir_all(topology.m1.data_dir()).expect("the data directory is removed");
    copy_directory(&copy.join("data"), &topology.m1.data_dir());
    topology.m1.restart().await;
}

/// M1's own path must have delivered its newest rows, or copies of them: only that shows its history.
async fn wait_received(topology: &Topology, received: impl Fn(&serde_json::Value) -> bool) {
    topology
        .relay
        .wait_status("the relay has M1's newest rows", 60, |status| {
            received(&status["sources"][0])
        })
        .await;
}

async fn reset(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    if mode == Mode::MariaDbSlavePos {
        // Then the file with the newest transaction is gone, and only GTIDs show what was lost.
        topology
            .m1
            .sql("FLUSH BINARY LOGS; FLUSH BINARY LOGS; FLUSH BINARY LOGS")
            .await;
        insert(&topology.m1, 1).await;
        topology.settle(60).await;
    }
    let statement = match kind.says_replica() {
        true => "RESET BINARY LOGS AND GTIDS",
        false => "RESET MASTER",
    };
    topology.m1.sql(statement).await;
    insert(&topology.m1, 51).await;
    assert_fails(&mut topology, 10).await;
}

/// The source `m1` fails because of its history, and stays failed when its binlog grows by `more` rows and when
/// the relay is started again. The other source streams.
async fn assert_fails(topology: &mut Topology, more: u32) {
    wait_failed(topology).await;
    insert(&topology.m1, more).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    wait_failed(topology).await;
    topology.relay.terminate();
    topology.relay.restart();
    wait_failed(topology).await;
    let config = topology.relay.config();
    let status = run_binrelay(&["status", "--config", config.to_str().expect("a UTF-8 path")]);
    assert_eq!(status.status.code(), Some(3), "the exit status of `status`");
    topology
        .relay
        .wait_status("m2 is streaming", 30, |status| {
            status["sources"][1]["state"] == "streaming"
        })
        .await;
    topology.relay.terminate();
    topology.relay.verify();
}

async fn wait_failed(topology: &Topology) {
    topology
        .relay
        .wait_status("m1 is failed because of its history", 90, |status| {
            let m1 = &status["sources"][0];
            let error = m1["last_error"].to_string();
            m1["state"] == "failed" && error.contains("history has changed")
        })
        .await;
}

fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    let status = status.expect("cp can be run");
    assert!(status.success(), "cp -a {from:?} {to:?}: {status}");
}
