//! The semi-synchronous plug-ins of MySQL 5.5 and 5.7, enabled at both ends of a relay. 5.5 sends nothing more
//! after an event that is to be acknowledged, before it is. These tests exist where such servers are
//! installed, see tests/README.md.

use crate::support;
use crate::support::load::{Load, LoadOptions, assert_acknowledged, create_tables};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{assert_healthy, attach, retry_each_second, settle};
use crate::support::semi_sync::global_status;
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, pause, run_for};
use crate::support::{Deadline, SeedNote, seed};

/// How long a source waits for an acknowledgement before it continues without: longer than the relay needs
/// to be started again.
const SEMI_SYNC_TIMEOUT_MS: u32 = 60_000;

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_semi_sync_plugins() {
    semi_sync_plugins(Kind::MySql55, Mode::MySqlNoGtids).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_semi_sync_plugins_without_gtids() {
    semi_sync_plugins(Kind::MySql57, Mode::MySqlNoGtids).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_semi_sync_plugins_by_auto_position() {
    semi_sync_plugins(Kind::MySql57, Mode::MySqlAutoPosition).await;
}

fn with_semi_sync(options: ServerOptions) -> ServerOptions {
    options
        .extra(
            "--plugin-load=rpl_semi_sync_master=semisync_master.so;rpl_semi_sync_slave=semisync_slave.so",
        )
        .extra("--loose-rpl-semi-sync-slave-enabled=1")
        .extra(format!(
            "--loose-rpl-semi-sync-master-timeout={SEMI_SYNC_TIMEOUT_MS}"
        ))
}

/// Waits until the source has so many semi-synchronous replicas.
async fn wait_for_clients(source: &Server, count: &str) {
    let deadline = Deadline::after_secs(30);
    while global_status(source, "Rpl_semi_sync_master_clients").await != count {
        assert!(
            !deadline.passed(),
            "{source} has other semi-synchronous replicas than {count}"
        );
        run_for(100).await;
    }
}

/// The source waits for the relay alone, which is killed meanwhile; its replica acknowledges to it.
async fn semi_sync_plugins(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let options = |server_id| {
        let mut options = with_semi_sync(ServerOptions::new(server_id));
        options.gtid = mode.has_gtids();
        options.binlog_format = Some("MIXED");
        options
    };
    let of_source = options(86).extra("--loose-rpl-semi-sync-master-enabled=1");
    let (source, behind, direct) = tokio::join!(
        Server::start(kind, of_source),
        Server::start(kind, options(11)),
        Server::start(kind, options(12)),
    );
    let mut of_source = SourceOptions::of("m", &source);
    of_source.extra.push("semi_sync = true".to_owned());
    let mut relay = Relay::start(RelayOptions {
        replicate_do_db: Vec::new(),
        ..RelayOptions::new(vec![of_source])
    });
    relay.wait_streaming().await;
    let extra = retry_each_second(kind);
    attach(
        &behind,
        RELAY_HOST,
        relay.port,
        &mode.start_at("relay-bin"),
        extra,
    )
    .await;
    create_tables(&source, "").await;
    wait_for_clients(&source, "1").await;
    let mut load = LoadOptions::new(seed(), 100);
    load.pause = pause(kind);
    let load = Load::start(&source, &load);
    run_for(1500).await;
    relay.kill9();
    relay.restart();
    run_for(1000).await;
    behind.sql("STOP SLAVE; START SLAVE").await;
    run_for(500).await;
    let report = load.finish().await;
    wait_for_clients(&source, "1").await;
    assert_eq!(
        global_status(&source, "Rpl_semi_sync_master_no_tx").await,
        "0"
    );
    let at = mode.start_at("mysql-bin");
    attach(&direct, "127.0.0.1", source.port, &at, extra).await;
    settle(&[&source], &[&behind, &direct], 60).await;
    for replica in [&behind, &direct] {
        assert_healthy(replica).await;
        assert_same_tables(&source, replica, "test").await;
        assert_same_tables(&source, replica, "other").await;
        assert_acknowledged(replica, &report, "").await;
    }
    for replica in [&direct, &behind] {
        let state = global_status(replica, "Rpl_semi_sync_slave_status").await;
        assert_eq!(state, "ON", "{replica}");
    }
    wait_for_clients(&source, "2").await;
    relay.terminate();
    relay.verify();
}
