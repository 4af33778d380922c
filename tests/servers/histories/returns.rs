//! By GTID: one source has a virtual IP. It is moved to M2, and M1 answers there again after it was restored from an older
//! copy, or reset, and has written until its numbers were reached again, or continues after them. What the relay received
//! last was received from M2. M1 is `failed`; the ways back are M2 at that address again, and M1 with the data of M2.

use serde_json::Value;

use super::{copy_directory, insert, restore_m1, start, wait_failed, wait_for_gtids_of_peer};
use crate::support::history_changes::{execute, rebuild_from_peer, refusal};
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, Topology};
use crate::support::virtual_ip::VirtualIp;
use crate::support::{self, Deadline};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_returns_from_an_older_copy() {
    returns(Kind::MySql, Mode::MySqlAutoPosition, Lost::Restored).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_returns_from_an_older_copy() {
    returns(Kind::MySql56, Mode::MySqlAutoPosition, Lost::Restored).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_returns_after_a_reset() {
    returns(Kind::MySql, Mode::MySqlAutoPosition, Lost::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_slave_pos_returns_from_an_older_copy() {
    returns(Kind::MariaDb, Mode::MariaDbSlavePos, Lost::Restored).await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Restored,
    Reset,
}

async fn returns(kind: Kind, mode: Mode, lost: Lost) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    let address = VirtualIp::of(topology.m1.port).await;
    let mut sources = topology.relay.options.sources.clone();
    sources.truncate(1);
    sources[0].port = address.port;
    topology.relay.terminate();
    topology.m1.terminate();
    let copy = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    copy_directory(&topology.m1.data_dir(), &copy.path().join("data"));
    topology.restart_m1().await;
    insert(&topology.m1, 10).await;
    wait_equal(&topology.m2, &topology.m1).await;
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
    wait_equal(&topology.replicas[0], &topology.m1).await;
    address.move_to(topology.m2.port);
    insert(&topology.m2, 3).await;
    wait_follows(&topology, topology.m2.options.server_id).await;
    wait_equal(&topology.replicas[0], &topology.m2).await;
    topology.relay.terminate();

    match lost {
        Lost::Restored => restore_m1(&mut topology, copy.path()).await,
        Lost::Reset => topology.m1.sql("RESET BINARY LOGS AND GTIDS").await,
    }
    // MySQL assigns the same numbers again, and higher ones.
    match mode {
        Mode::MariaDbSlavePos => {
            wait_for_gtids_of_peer(&topology).await;
            insert(&topology.m1, 1).await;
        }
        _ => insert(&topology.m1, 60).await,
    }
    address.move_to(topology.m1.port);
    topology.relay.restart();
    wait_failed(&topology).await;
    insert(&topology.m1, 5).await;
    let refused = refusal(&topology, "binrelay continue m1");
    assert!(refused.contains("history has changed"), "{refused}");

    address.move_to(topology.m2.port);
    wait_failed(&topology).await;
    execute(&topology, "binrelay continue m1");
    follows_again(&mut topology).await;
    address.move_to(topology.m1.port);
    wait_failed(&topology).await;
    if kind == Kind::MySql {
        rebuild_from_peer(&mut topology.m1, &mut topology.m2).await;
        execute(&topology, "binrelay continue m1 --new-history");
        wait_follows(&topology, topology.m1.options.server_id).await;
        follows_again(&mut topology).await;
        insert(&topology.m1, 3).await;
        wait_equal(&topology.m2, &topology.m1).await;
        wait_equal(&topology.replicas[0], &topology.m1).await;
        address.move_to(topology.m2.port);
        wait_follows(&topology, topology.m2.options.server_id).await;
        address.move_to(topology.m1.port);
        wait_follows(&topology, topology.m1.options.server_id).await;
        follows_again(&mut topology).await;
    }
    topology.relay.terminate();
    topology.relay.verify();
}

/// The replica gets what M2 writes, also after a restart of the relay.
async fn follows_again(topology: &mut Topology) {
    topology.relay.wait_streaming().await;
    insert(&topology.m2, 3).await;
    wait_equal(&topology.replicas[0], &topology.m2).await;
    topology.relay.terminate();
    topology.relay.restart();
    topology.relay.wait_streaming().await;
    insert(&topology.m2, 3).await;
    wait_equal(&topology.replicas[0], &topology.m2).await;
}

async fn wait_follows(topology: &Topology, server_id: u32) {
    let follows = |status: &Value| {
        let m1 = &status["sources"][0];
        m1["state"] == "streaming" && m1["server_id"] == server_id
    };
    let what = format!("server_id {server_id} is followed");
    topology.relay.wait_status(&what, 60, follows).await;
}

async fn wait_equal(reader: &Server, writer: &Server) {
    let query = "SELECT id, v FROM test.history ORDER BY id";
    let deadline = Deadline::after_secs(60);
    loop {
        let expected: Vec<(u64, i64)> = writer.rows(query).await;
        let found: Vec<(u64, i64)> = reader.rows(query).await;
        if found == expected {
            return;
        }
        let lengths = (found.len(), expected.len());
        assert!(
            !deadline.passed(),
            "{reader} differs from {writer}: {lengths:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
