//! The first start in the middle of masters' binlogs, without GTIDs: transactions before one master's
//! start are not new when the other sends their copies, and replicas that have them get the rest once.

use crate::support;
use crate::support::load::{Load, LoadOptions, create_tables};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    StartAt, attach, dual_masters, retry_each_second, settle, wait_for_table,
};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, pause, replica_options, run_for};
use crate::support::{SeedNote, seed};

/// Which source's start is the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Earlier {
    M1,
    M2,
    /// Both are "latest".
    Neither,
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_m1_earlier() {
    check(Kind::MySql56, Earlier::M1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_m2_earlier() {
    check(Kind::MySql56, Earlier::M2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_latest() {
    check(Kind::MySql56, Earlier::Neither).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_m1_earlier() {
    check(Kind::MySql, Earlier::M1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_latest() {
    check(Kind::MySql, Earlier::Neither).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_m1_earlier() {
    check(Kind::MySql55, Earlier::M1).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_latest() {
    check(Kind::MySql55, Earlier::Neither).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_m1_earlier() {
    check(Kind::MySql57, Earlier::M1).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_latest() {
    check(Kind::MySql57, Earlier::Neither).await;
}

fn master(kind: Kind, server_id: u32, offset: u32) -> ServerOptions {
    let mut options = ServerOptions::new(server_id)
        .extra("--auto-increment-increment=2")
        .extra(format!("--auto-increment-offset={offset}"));
    options.binlog_format = Some("MIXED");
    options.gtid = false;
    if kind == Kind::MySql56 {
        options = options.extra("--max-binlog-size=65536");
    }
    options
}

/// Where the server's binlog ends, as `start` wants it.
async fn end(server: &Server) -> String {
    let sql = match server.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let rows = server.rows::<mysql_async::Row>(sql).await;
    let (file, position): (String, u64) = (rows[0].get(0).unwrap(), rows[0].get(1).unwrap());
    format!("{file}:{position}")
}

async fn load_both(m1: &Server, m2: &Server, round: u32, millis: u64) {
    let options = |owner| LoadOptions {
        ddl: false,
        pause: pause(m1.kind),
        ..LoadOptions::new(seed(), owner)
    };
    let on_m1 = Load::start(m1, &options(100 + 10 * round));
    let on_m2 = Load::start(m2, &options(200 + 10 * round));
    run_for(millis).await;
    on_m1.finish().await;
    on_m2.finish().await;
}

async fn check(kind: Kind, earlier: Earlier) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let mode = Mode::MySqlNoGtids;
    let m1 = Server::start(kind, master(kind, 86, 1)).await;
    let m2 = Server::start(kind, master(kind, 18, 2)).await;
    let mut options = replica_options(kind, 11);
    options.gtid = false;
    let replica = Server::start(kind, options).await;
    let at = mode.start_at("mysql-bin");
    dual_masters(&m1, &m2, &at).await;
    // It gets its data from M1 directly, as from a dump.
    attach(&replica, "127.0.0.1", m1.port, &at, "").await;
    create_tables(&m1, "").await;
    wait_for_table(&m2, "other", "items").await;

    load_both(&m1, &m2, 0, 800).await;
    settle(&[&m1, &m2], &[&m1, &m2], 60).await;
    let early = [end(&m1).await, end(&m2).await];
    load_both(&m1, &m2, 1, 800).await;
    settle(&[&m1, &m2], &[&m1, &m2, &replica], 60).await;
    detach(&replica).await;

    let mut sources = [SourceOptions::of("m1", &m1), SourceOptions::of("m2", &m2)];
    for (source, start) in sources.iter_mut().zip(&early) {
        let is_earlier = matches!(
            (source.name.as_str(), earlier),
            ("m1", Earlier::M1) | ("m2", Earlier::M2)
        );
        source.start = Some(match is_earlier {
            true => start.clone(),
            false => "latest".to_owned(),
        });
    }
    let mut relay_options = RelayOptions::new(sources.to_vec());
    relay_options.replicate_do_db = Vec::new();
    let mut relay = Relay::start(relay_options);
    relay.wait_streaming().await;
    let first = StartAt::first_file("relay-bin");
    let retry = retry_each_second(kind);
    attach(&replica, RELAY_HOST, relay.port, &first, retry).await;
    load_both(&m1, &m2, 2, 600).await;
    relay.kill9();
    relay.restart();
    load_both(&m1, &m2, 3, 600).await;
    settle(&[&m1, &m2], &[&m1, &m2], 60).await;
    settle(&[&m1, &m2], &[&replica], 90).await;
    for database in ["test", "other"] {
        assert_same_tables(&m1, &m2, database).await;
        assert_same_tables(&m1, &replica, database).await;
    }
    relay.terminate();
    relay.verify();
}

/// Stops it, and forgets whom it followed.
async fn detach(replica: &Server) {
    let sql = match replica.kind.says_replica() {
        true => "STOP REPLICA; RESET REPLICA ALL",
        false => "STOP SLAVE; RESET SLAVE ALL",
    };
    replica.sql(sql).await;
}
