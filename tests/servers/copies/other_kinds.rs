//! The same with the kinds and modes that the other tests leave out, in the long profile only.

use super::{assert_status_3, executed_again, insert, peer_of_reset, start};
use crate::support;
use crate::support::replication::{assert_healthy, settle};
use crate::support::servers::Kind;
use crate::support::tables::assert_same_tables;
use crate::support::topology::Mode;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_mariadbs_transactions_executed_again() {
    executed_again(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    executed_again(Kind::MariaDb105, Mode::MariaDbSlavePos).await;
    executed_again(Kind::MariaDb118, Mode::MariaDbFilePosition).await;
    executed_again(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_97_without_gtids_transactions_executed_again() {
    executed_again(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_without_gtids_transactions_executed_again() {
    executed_again(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_mariadbs_peer_of_a_master_that_was_reset() {
    peer_of_reset(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    peer_of_reset(Kind::MariaDb105, Mode::MariaDbSlavePos).await;
    peer_of_reset(Kind::MariaDb118, Mode::MariaDbFilePosition).await;
    peer_of_reset(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_97_peer_of_a_master_that_was_reset() {
    mysql_peer_of_reset(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_56_peer_of_a_master_that_was_reset() {
    mysql_peer_of_reset(Kind::MySql56).await;
}

/// M1 assigns its GTIDs again. M2, which is pointed to the new binlog, skips those that it has, as each replica
/// does, and passes the rest on. M1 is failed; the replica has what M2 has.
async fn mysql_peer_of_reset(kind: Kind) {
    let _turn = support::turn();
    let (mut topology, _direct) = start(kind, Mode::MySqlAutoPosition, |_| {}).await;
    insert(&topology.m1, "kept", 10).await;
    topology.settle(60).await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    let (reset, point) = match kind.says_replica() {
        true => (
            "STOP REPLICA; RESET BINARY LOGS AND GTIDS",
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION=0, \
             SOURCE_LOG_FILE='mysql-bin.000001', SOURCE_LOG_POS=4; START REPLICA",
        ),
        false => (
            "STOP SLAVE; RESET MASTER",
            "STOP SLAVE; CHANGE MASTER TO MASTER_AUTO_POSITION=0, \
             MASTER_LOG_FILE='mysql-bin.000001', MASTER_LOG_POS=4; START SLAVE",
        ),
    };
    m1.sql(reset).await;
    m2.sql(point).await;
    insert(m1, "kept", 51).await;
    let failed = |status: &serde_json::Value| {
        let m1 = &status["sources"][0];
        let error = m1["last_error"].to_string();
        m1["state"] == "failed" && error.contains("history has changed")
    };
    let what = "m1 is failed because of its history";
    topology.relay.wait_status(what, 60, failed).await;
    settle(&[m1, m2], &[m2], 60).await;
    settle(&[m2], &[&topology.replicas[0]], 60).await;
    assert_healthy(&topology.replicas[0]).await;
    assert_same_tables(m2, &topology.replicas[0], "test").await;
    topology.relay.terminate();
    topology.relay.restart();
    topology.relay.wait_status(what, 60, failed).await;
    assert_status_3(&topology);
    topology.relay.terminate();
    topology.relay.verify();
}
