//! Compression of the client/server protocol: replicas and mysqlbinlog that request it from the relay, and
//! sources from which the relay requests it.

use std::fs;

use crate::support;
use crate::support::foreign_clients::lines_of;
use crate::support::load::{Load, LoadOptions, create_tables};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{assert_healthy, attach, settle};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, program};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, pause, replica_options, run_for};

/// A relay that offers compression to everyone, and requests this one from its source.
fn relay(source: &Server, upstream: &str) -> Relay {
    let mut of_source = SourceOptions::of("m", source);
    of_source
        .extra
        .push(format!("compression = \"{upstream}\""));
    let mut options = RelayOptions::new(vec![of_source]);
    options.replicate_do_db = Vec::new();
    options.relay_extra = vec!["compression = \"on\"".to_owned()];
    Relay::start(options)
}

async fn load(source: &Server, first_owner: u32, millis: u64) {
    let options = LoadOptions {
        pause: pause(source.kind),
        ..LoadOptions::new(support::seed(), first_owner)
    };
    let load = Load::start(source, &options);
    run_for(millis).await;
    load.finish().await;
}

/// Events of many compressed packets; on MySQL 9.7 one is larger than a packet of the protocol, which
/// others do not allow by default.
async fn large_rows(source: &Server) {
    let count = match source.kind {
        Kind::MySql => 2_500_000,
        Kind::MySql56 => 400_000,
        _ => 1_500_000,
    };
    source
        .sql(&format!(
            "CREATE TABLE test.large (a INT PRIMARY KEY, b LONGTEXT); \
             INSERT INTO test.large VALUES (1, REPEAT('abcdefgh', {count})), (2, REPEAT('x', 70000))"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_replicas_and_mysqlbinlog() {
    let _turn = support::turn();
    let kind = Kind::MySql;
    let source = Server::start(kind, ServerOptions::new(86)).await;
    create_tables(&source, "").await;
    let mode = Mode::MySqlAutoPosition;
    for (number, upstream, downstream) in [(11, "zstd", "zstd"), (12, "zlib", "zlib")] {
        let relay = relay(&source, upstream);
        relay.wait_streaming().await;
        let replica = Server::start(kind, replica_options(kind, number)).await;
        // Only with this algorithm: without it the replica gets error 2066.
        let extra = format!("SOURCE_COMPRESSION_ALGORITHMS='{downstream}'");
        let at = mode.start_at("relay-bin");
        attach(&replica, RELAY_HOST, relay.port, &at, &extra).await;
        load(&source, 100 * number, 1500).await;
        if number == 11 {
            large_rows(&source).await;
        }
        settle(&[&source], &[&replica], 60).await;
        assert_healthy(&replica).await;
        assert_same_tables(&source, &replica, "test").await;
        assert_requested(&relay, downstream);
        raw_with(&relay, downstream);
    }
}

/// The relay's log says which compression a client has.
fn assert_requested(relay: &Relay, algorithm: &str) {
    let log = relay.log();
    let expected = format!("compression={algorithm}");
    assert!(
        log.contains(&expected),
        "no client requested {algorithm}:\n{log}"
    );
}

/// `mysqlbinlog --raw` with this algorithm writes the relay's own files.
fn raw_with(relay: &Relay, algorithm: &str) {
    let directory = tempfile::tempdir().unwrap();
    let first = relay.log_files().remove(0);
    let mut command = program(Kind::MySql, "binlog");
    command.args([
        "--read-from-remote-server".to_owned(),
        format!("--host={RELAY_HOST}"),
        format!("--port={}", relay.port),
        format!("--user={REPL_USER}"),
        format!("--password={REPL_PASSWORD}"),
        format!("--compression-algorithms={algorithm}"),
        "--raw".to_owned(),
        format!("--result-file={}/", directory.path().display()),
        "relay-bin.000001".to_owned(),
    ]);
    let lines = lines_of(command);
    assert!(lines.is_empty(), "{lines:?}");
    let read = fs::read(directory.path().join("relay-bin.000001")).unwrap();
    let written = fs::read(first).unwrap();
    assert!(
        written.starts_with(&read) && read.len() > 1000,
        "{algorithm}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_replicas() {
    zlib_replica(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_replicas() {
    zlib_replica(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    zlib_replica(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
    zlib_replica(Kind::MySql56, Mode::MySqlAutoPosition).await;
}

/// A replica with `slave_compressed_protocol`, and a relay that requests the same from its source.
async fn zlib_replica(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut options = ServerOptions::new(86);
    // The load has statements with UUID(), which 5.6 logs as statements by default.
    options.binlog_format = Some("MIXED");
    let source = Server::start(kind, options).await;
    create_tables(&source, "").await;
    let relay = relay(&source, "zlib");
    relay.wait_streaming().await;
    let options = replica_options(kind, 11).extra("--slave-compressed-protocol=1");
    let replica = Server::start(kind, options).await;
    let at = mode.start_at("relay-bin");
    attach(&replica, RELAY_HOST, relay.port, &at, "").await;
    load(&source, 100, 1500).await;
    large_rows(&source).await;
    settle(&[&source], &[&replica], 60).await;
    assert_healthy(&replica).await;
    for database in ["test", "other"] {
        assert_same_tables(&source, &replica, database).await;
    }
    assert_requested(&relay, "zlib");
}
