//! Replicas of each kind that have semi-sync enabled acknowledge transactions to the relay.

use crate::support;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{assert_healthy, attach, settle, stop_replica};
use crate::support::semi_sync::global_status;
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, replica_options};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_replicas_attach_with_semi_sync_enabled() {
    for kind in [Kind::MariaDb105, Kind::MariaDb, Kind::MariaDb118] {
        let enable = "SET GLOBAL rpl_semi_sync_slave_enabled = 1";
        attach_with(kind, enable, "Rpl_semi_sync_slave_status").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_replicas_attach_with_semi_sync_enabled() {
    let sql = "INSTALL PLUGIN rpl_semi_sync_replica SONAME 'semisync_replica.so'; \
               SET GLOBAL rpl_semi_sync_replica_enabled = 1";
    attach_with(Kind::MySql, sql, "Rpl_semi_sync_replica_status").await;
}

async fn attach_with(kind: Kind, enable: &str, state: &str) {
    let _turn = support::turn();
    let source = Server::start(kind, ServerOptions::new(86)).await;
    source
        .sql("CREATE DATABASE test; CREATE TABLE test.t (a INT PRIMARY KEY)")
        .await;
    let mut options = RelayOptions::new(vec![SourceOptions::of("m", &source)]);
    options.replicate_do_db = Vec::new();
    let relay = Relay::start(options);
    relay.wait_streaming().await;
    let replica = Server::start(kind, replica_options(kind, 11)).await;
    replica.sql(enable).await;
    let mode = match kind.is_mariadb() {
        true => Mode::MariaDbFilePosition,
        false => Mode::MySqlAutoPosition,
    };
    let at = mode.start_at("relay-bin");
    attach(&replica, RELAY_HOST, relay.port, &at, "").await;
    for number in 0..20 {
        let sql = format!("INSERT INTO test.t VALUES ({number})");
        source.sql(&sql).await;
    }
    settle(&[&source], &[&replica], 30).await;
    assert_healthy(&replica).await;
    assert_same_tables(&source, &replica, "test").await;
    assert_eq!(global_status(&replica, state).await, "ON");
    relay
        .wait_status("the replica acknowledges", 10, |status| {
            let replica = &status["replicas"][0];
            replica["semi_sync"] == true && replica["semi_sync_acks"].as_u64() > Some(0)
        })
        .await;
    // It must not wait for the relay, nor the relay for it.
    replica.sql(stop_replica(kind)).await;
    relay
        .wait_status("the replica has left", 10, |status| {
            let replicas = status["replicas"].as_array().cloned().unwrap_or_default();
            replicas.len() == 1 && replicas[0]["state"] == "missing"
        })
        .await;
}
