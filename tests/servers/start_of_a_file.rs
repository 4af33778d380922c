//! `start = "FILE:4"`: a source is followed from the beginning of a binlog file on, by file and position,
//! with GTIDs and without. Replicas that have everything of the earlier files get the rest once.

use crate::support;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions, run_binrelay};
use crate::support::replication::{StartAt, assert_healthy, attach, settle};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, replica_options};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_with_gtids() {
    check(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_without_gtids() {
    check(Kind::MySql, Mode::MySqlNoGtids).await;
    check(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    check(Kind::MariaDb, Mode::MariaDbFilePosition).await;
    check(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_kinds_and_modes() {
    check(Kind::MySql56, Mode::MySqlAutoPosition).await;
    check(Kind::MariaDb105, Mode::MariaDbFilePosition).await;
    check(Kind::MariaDb105, Mode::MariaDbSlavePos).await;
    check(Kind::MariaDb118, Mode::MariaDbFilePosition).await;
    check(Kind::MariaDb118, Mode::MariaDbSlavePos).await;
}

async fn check(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut options = ServerOptions::new(86);
    options.gtid = mode.has_gtids();
    let source = Server::start(kind, options).await;
    let mut options = replica_options(kind, 11);
    options.gtid = mode.has_gtids();
    let replica = Server::start(kind, options).await;
    // It gets the first file's transactions from the source itself, as from a dump.
    let direct = mode.start_at("mysql-bin");
    attach(&replica, "127.0.0.1", source.port, &direct, "").await;
    source
        .sql("CREATE DATABASE test; CREATE TABLE test.t (a INT PRIMARY KEY, b INT)")
        .await;
    source.sql("INSERT INTO test.t VALUES (1, 0), (2, 0)").await;
    settle(&[&source], &[&replica], 30).await;
    replica.sql(&detach(kind)).await;
    source.sql("FLUSH LOGS").await;
    // Applied twice, this stops a replica or counts too far.
    source
        .sql("UPDATE test.t SET b = b + 1; INSERT INTO test.t VALUES (3, 0)")
        .await;

    let last = source.log_files().pop().unwrap();
    let mut options = SourceOptions::of("m", &source);
    let name = last.file_name().unwrap().to_str().unwrap();
    options.start = Some(format!("{name}:4"));
    let mut options = RelayOptions::new(vec![options]);
    options.replicate_do_db = Vec::new();
    let mut relay = Relay::start(options);
    relay.wait_streaming().await;
    let config = relay.config();
    let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains(&format!("resumes at {name}:")), "{text}");
    warn_of_another_start(&mut relay).await;

    let from_relay = mode.start_at("relay-bin");
    attach(&replica, RELAY_HOST, relay.port, &from_relay, "").await;
    source.sql("INSERT INTO test.t VALUES (4, 0)").await;
    settle(&[&source], &[&replica], 30).await;
    assert_healthy(&replica).await;
    assert_same_tables(&source, &replica, "test").await;
    if matches!(from_relay, StartAt::AutoPosition) {
        // The log counts the earlier transactions as delivered.
        let set = source.value("SELECT @@GLOBAL.gtid_executed").await;
        let executed = relay.status()["relay"]["gtid_executed"].to_string();
        let set = set.unwrap_or_default().replace('\n', "");
        assert_eq!(executed.trim_matches('"').replace("\\n", ""), set);
    }
    relay.terminate();
    std::fs::remove_dir_all(relay.data_dir()).expect("the relay log is removed");
    let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains(&format!("begins at {name}:4")), "{text}");
}

/// Another `start` is ignored: `run` and `check` warn of it.
async fn warn_of_another_start(relay: &mut Relay) {
    let former = relay.options.sources.clone();
    let mut sources = former.clone();
    sources[0].start = Some("latest".to_owned());
    relay.terminate();
    relay.restart_with(sources);
    relay.wait_streaming().await;
    let warning = "start = \"latest\" is ignored";
    assert!(relay.log().contains(warning), "{}", relay.log());
    let config = relay.config();
    let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains(warning), "{text}");
    relay.terminate();
    relay.restart_with(former);
    relay.wait_streaming().await;
}

/// Stops a replica, and makes it forget whom it followed.
fn detach(kind: Kind) -> String {
    match kind.says_replica() {
        true => "STOP REPLICA; RESET REPLICA ALL".to_owned(),
        false => "STOP SLAVE; RESET SLAVE ALL".to_owned(),
    }
}
