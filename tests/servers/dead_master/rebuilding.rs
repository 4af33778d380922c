//! M1 is rebuilt from a copy of M2, or returns, and both are a pair again.

use std::path::Path;
use std::process::Command;

use mysql_async::Row;
use serde_json::Value;

use crate::support::relay::{SourceOptions, run_binrelay};
use crate::support::replication::{StartAt, attach, retry_each_second};
use crate::support::servers::Server;
use crate::support::topology::{Mode, Topology};

/// A copy of M2's data becomes M1, with an empty binlog.
pub(super) async fn rebuild_m1(topology: &mut Topology, mode: Mode) {
    let kind = topology.m2.kind;
    topology.m2.terminate();
    copy_directory(&topology.m2.data_dir(), &topology.m1.data_dir());
    // A new server has a new UUID.
    let _ = std::fs::remove_file(topology.m1.data_dir().join("auto.cnf"));
    topology
        .m1
        .options
        .extra
        .push("--skip-slave-start".to_owned());
    topology
        .m2
        .options
        .extra
        .push("--skip-slave-start".to_owned());
    topology.m1.restart().await;
    topology.m2.restart().await;
    let variables = match (kind.is_mysql(), mode.has_gtids()) {
        (true, true) => ("gtid_executed", "gtid_purged"),
        (true, false) => ("version", ""),
        (false, _) => ("gtid_binlog_state", "gtid_binlog_state"),
    };
    let executed = topology
        .m1
        .value(&format!("SELECT @@GLOBAL.{}", variables.0))
        .await;
    let (all, reset) = match (kind.says_replica(), kind.is_mariadb()) {
        (true, _) => (
            "STOP REPLICA; RESET REPLICA ALL",
            "RESET BINARY LOGS AND GTIDS",
        ),
        (false, true) => ("STOP ALL SLAVES; RESET SLAVE ALL", "RESET MASTER"),
        (false, false) => ("STOP SLAVE; RESET SLAVE ALL", "RESET MASTER"),
    };
    topology.m1.sql(&format!("{all}; {reset}")).await;
    if !variables.1.is_empty() {
        let sql = format!(
            "SET GLOBAL {} = '{}'",
            variables.1,
            executed.unwrap_or_default()
        );
        topology.m1.sql(&sql).await;
    }
    let (at_m1, at_m2) = match mode {
        Mode::MySqlAutoPosition => (StartAt::AutoPosition, StartAt::AutoPosition),
        _ => (StartAt::first_file("mysql-bin"), end_of(&topology.m2).await),
    };
    if mode == Mode::MariaDbSlavePos {
        // M1 has what M2 had written as well.
        let position = topology.m2.value("SELECT @@GLOBAL.gtid_current_pos").await;
        let sql = format!(
            "SET GLOBAL gtid_slave_pos='{}'",
            position.unwrap_or_default()
        );
        topology.m1.sql(&sql).await;
    }
    topology.m2.sql(all).await;
    let extra = retry_each_second(kind);
    attach(&topology.m1, "127.0.0.1", topology.m2.port, &at_m2, extra).await;
    // Before M1 writes anything that could reach the relay by M2.
    accept(topology, mode).await;
    attach(&topology.m2, "127.0.0.1", topology.m1.port, &at_m1, extra).await;
    write(&topology.m1, 3).await;
    write(&topology.m2, 4).await;
    topology.settle(90).await;
}

/// M1 was not lost: it is started with its data, and has some transactions that no other server has. By file and
/// position, M2 follows it from where `missing` has said; if M2 lacked nothing, it continues by itself.
pub(super) async fn return_m1(topology: &mut Topology, mode: Mode, found: &Value) {
    let at = match mode {
        Mode::MySqlAutoPosition | Mode::MariaDbSlavePos => Some(mode.start_at("mysql-bin")),
        _ if found["total"] == 0 => None,
        _ => Some(printed_position(found).unwrap_or_else(|| panic!("no position: {found:#}"))),
    };
    topology.restart_m1().await;
    let m2 = &topology.m2;
    if let Some(at) = at {
        m2.sql(match (m2.kind.says_replica(), m2.kind.is_mariadb()) {
            (true, _) => "STOP REPLICA",
            (false, true) => "STOP ALL SLAVES",
            (false, false) => "STOP SLAVE",
        })
        .await;
        let extra = retry_each_second(m2.kind);
        attach(m2, "127.0.0.1", topology.m1.port, &at, extra).await;
    }
    topology.relay.wait_streaming().await;
    write(&topology.m1, 1).await;
    write(&topology.m2, 2).await;
    topology.settle(90).await;
}

fn printed_position(found: &Value) -> Option<StartAt> {
    let line = found["rescue"]["before_following"][0].as_str()?;
    let (_, rest) = line.split_once("_LOG_FILE='")?;
    let (file, rest) = rest.split_once('\'')?;
    let (_, position) = rest.split_once("_LOG_POS=")?;
    let position = position.trim_end_matches(';').parse().ok()?;
    Some(StartAt::FilePosition(file.to_owned(), position))
}

async fn write(server: &Server, n: u64) {
    let sql = format!("INSERT INTO test.ledger VALUES (1, {n})");
    server.sql(&sql).await;
}

/// The relay follows the new M1: on MariaDB as a source with a new name, otherwise as its message says.
async fn accept(topology: &mut Topology, mode: Mode) {
    let failed = |status: &Value| status["sources"][0]["state"] == "failed";
    topology.relay.wait_status("m1 is failed", 60, failed).await;
    let at_end = |status: &Value| {
        let m2 = &status["sources"][1];
        m2["state"] == "streaming" && m2["seconds_behind"] == 0
    };
    topology
        .relay
        .wait_status("m2 is not behind", 60, at_end)
        .await;
    if topology.m2.kind.is_mariadb() {
        let mut new = SourceOptions::of("m1-rebuilt", &topology.m1);
        new.auto_position = mode.auto_position();
        let mut sources = topology.relay.options.sources.clone();
        sources[0] = new;
        topology.relay.terminate();
        topology.relay.restart_with(sources);
    } else {
        let config = topology.relay.config();
        let config = config.to_str().expect("a UTF-8 path");
        let arguments = ["continue", "m1", "--new-history", "--config", config];
        let output = run_binrelay(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    }
    topology.relay.wait_streaming().await;
}

async fn end_of(server: &Server) -> StartAt {
    let sql = match server.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let rows = server.rows::<Row>(sql).await;
    StartAt::FilePosition(rows[0].get(0).unwrap(), rows[0].get(1).unwrap())
}

fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    let status = status.expect("cp can be run");
    assert!(status.success(), "cp -a {from:?} {to:?}: {status}");
}
