//! The harness itself, without the relay: replication between real servers under its load
//! ends with equal tables, and the comparison sees a single changed row.

use crate::support;
use crate::support::binlog_text::{assert_same_events, count_gtids, read_open_file, read_remote};
use crate::support::load::{Load, assert_acknowledged, create_tables};
use crate::support::replication::{
    assert_never_interrupted, attach, dual_masters, resume_from_peer, settle, wait_for_table,
};
use crate::support::servers::{REPL_PASSWORD, REPL_USER, Server, ServerOptions};
use crate::support::tables::{assert_same_tables, checksum_tables, differences};
use crate::support::topology::{Mode, pause, replica_options, run_for};
use crate::support::{SeedNote, load::LoadOptions};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_pair_with_replica_of_the_first() {
    check(Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_pair_by_slave_pos() {
    check(Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_pair_with_replica_of_the_first() {
    check(Mode::MySqlAutoPosition).await;
}

fn master_options(mode: Mode, server_id: u32, offset: u32) -> ServerOptions {
    let mut options = ServerOptions::new(server_id)
        .extra("--auto-increment-increment=2")
        .extra(format!("--auto-increment-offset={offset}"));
    options.binlog_format = Some("MIXED");
    match mode {
        Mode::MariaDbFilePosition => options.extra("--skip-slave-start"),
        Mode::MariaDbSlavePos => options.extra(format!("--gtid-domain-id={server_id}")),
        Mode::MySqlAutoPosition | Mode::MySqlFilePosition | Mode::MySqlNoGtids => options,
    }
}

async fn check(mode: Mode) {
    let _turn = support::turn();
    let seed = support::seed();
    let _note = SeedNote(seed);
    let mut m1 = Server::start(mode.kind(), master_options(mode, 86, 1)).await;
    let m2 = Server::start(mode.kind(), master_options(mode, 18, 2)).await;
    let replica = Server::start(mode.kind(), replica_options(mode.kind(), 11)).await;
    let at = mode.start_at("mysql-bin");
    dual_masters(&m1, &m2, &at).await;
    attach(&replica, "127.0.0.1", m2.port, &at, "").await;
    create_tables(&m1, "").await;
    wait_for_table(&m2, "other", "items").await;

    let load = |owner| LoadOptions {
        pause: pause(mode.kind()),
        ..LoadOptions::new(seed, owner)
    };
    // The master that is killed: as `LoadOptions::truncate` says.
    let on_m1 = Load::start(
        &m1,
        &LoadOptions {
            truncate: mode.kind().is_mysql(),
            ..load(100)
        },
    );
    // As `Topology::load_options` says: a MariaDB killed while it applies its peer's DDL applies it
    // again after its restart, so the master that lives does none.
    let on_m2 = Load::start(
        &m2,
        &LoadOptions {
            ddl: mode.kind().is_mysql(),
            ..load(200)
        },
    );
    run_for(2000).await;
    m1.kill9();
    run_for(1000).await;
    let of_m1 = on_m1.ended().await;
    assert_eq!(of_m1.disconnected, 4, "the clients of a killed master");
    m1.restart().await;
    if mode == Mode::MariaDbFilePosition {
        resume_from_peer(&m1, &m2).await;
    }
    let of_m2 = on_m2.finish().await;
    assert!(
        of_m1.acknowledged > 100 && of_m2.acknowledged > 100,
        "{of_m1:?} {of_m2:?}"
    );
    println!(
        "{mode}: acknowledged {} and {}",
        of_m1.acknowledged, of_m2.acknowledged
    );

    settle(&[&m1, &m2], &[&m1, &m2, &replica], 60).await;
    assert_never_interrupted(&replica).await;
    for server in [&m2, &replica] {
        assert_same_tables(&m1, server, "test").await;
        assert_same_tables(&m1, server, "other").await;
        assert_acknowledged(server, &of_m1, "").await;
        assert_acknowledged(server, &of_m2, "").await;
    }

    for server in [&m1, &m2] {
        check_log(mode, server, of_m2.acknowledged);
    }
    one_changed_row_is_seen(&replica).await;
}

/// The log reads the same from its files and over the network, and holds each transaction once:
/// more than `acknowledged` of them.
fn check_log(mode: Mode, server: &Server, acknowledged: u64) {
    let files = server.log_files();
    for file in &files {
        let text = read_open_file(mode.kind(), file);
        text.assert_positions_follow(&file.display().to_string());
    }
    let counts = count_gtids(mode.kind(), &files);
    assert!(
        counts.len() as u64 > acknowledged,
        "{} GTIDs in {server}",
        counts.len()
    );
    assert!(
        counts.values().all(|count| *count == 1),
        "{server}: {counts:?}"
    );
    let name = files[0].file_name().unwrap().to_str().unwrap();
    let local = read_open_file(mode.kind(), &files[0]);
    let host = "127.0.0.1";
    let remote = read_remote(
        mode.kind(),
        host,
        server.port,
        REPL_USER,
        REPL_PASSWORD,
        name,
    );
    assert_same_events(name, &local, &remote);
}

async fn one_changed_row_is_seen(replica: &Server) {
    let before = checksum_tables(replica, "test").await;
    replica
        .sql("SET sql_log_bin = 0; UPDATE test.items SET amount = amount + 1 LIMIT 1")
        .await;
    let lines = differences(&before, &checksum_tables(replica, "test").await);
    assert_eq!(lines.len(), 1, "one changed row: {lines:?}");
    assert!(lines[0].starts_with("items: "), "{lines:?}");
}
