//! Attachments that differ from the usual one: the relay's data directory lost, coordinates of both
//! masters, a dead master, an interruption within the bridge, and what is refused.

use std::path::PathBuf;

use super::{attachment, coordinates, execute, run_attach, stop_and_start};
use crate::support::load::{Load, LoadOptions};
use crate::support::relay::{Relay, run_binrelay};
use crate::support::replication::{
    assert_healthy, attach, retry_each_second, settle, wait_for_table,
};
use crate::support::servers::{Kind, Server};
use crate::support::tables::assert_same_tables;
use crate::support::throttle::Gate;
use crate::support::topology::{Mode, Topology, TopologyOptions, replica_options, run_for};
use crate::support::{self, Deadline, Profile};
use mysql_async::Row;

#[tokio::test(flavor = "multi_thread")]
async fn after_the_loss_of_data_dir() {
    let all = [
        (Kind::MySql, Mode::MySqlNoGtids),
        (Kind::MySql56, Mode::MySqlNoGtids),
        (Kind::MariaDb, Mode::MariaDbFilePosition),
    ];
    for (kind, mode) in of_profile(&all) {
        lose_data_dir(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_coordinates_of_both_masters() {
    let all = [
        (Kind::MariaDb, Mode::MariaDbSlavePos),
        (Kind::MySql, Mode::MySqlNoGtids),
    ];
    for (kind, mode) in of_profile(&all) {
        both_masters(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_of_a_dead_master_through_an_interrupted_bridge() {
    let all = [
        (Kind::MySql, Mode::MySqlNoGtids),
        (Kind::MariaDb, Mode::MariaDbFilePosition),
    ];
    for (kind, mode) in of_profile(&all) {
        dead_master(kind, mode).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_cannot_be_used_are_refused() {
    refusals(Kind::MySql, Mode::MySqlNoGtids).await;
}

/// The first one in a normal run, all in the long profile.
fn of_profile(all: &[(Kind, Mode)]) -> Vec<(Kind, Mode)> {
    let count = match support::profile() {
        Profile::Gate => 1,
        Profile::Long => all.len(),
    };
    all[..count].to_vec()
}

async fn start(kind: Kind, mode: Mode, m2_log_slave_updates: bool, replicas: u32) -> Topology {
    let mut options = TopologyOptions::new(mode, 2);
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = replicas;
    options.replicate_do_db = Vec::new();
    options.m2_log_slave_updates = m2_log_slave_updates;
    options.attach_extra = retry_each_second(kind);
    Topology::start(options).await
}

/// A replica that follows M1 directly.
async fn replica_of_m1(topology: &Topology, kind: Kind, mode: Mode) -> Server {
    let mut options = replica_options(kind, 21);
    options.gtid = mode.has_gtids();
    let replica = Server::start(kind, options).await;
    let (at, retry) = (mode.start_at("mysql-bin"), retry_each_second(kind));
    attach(&replica, "127.0.0.1", topology.m1.port, &at, retry).await;
    wait_for_table(&replica, "other", "items").await;
    replica
}

async fn load_for(topology: &Topology, round: u32, millis: u64) {
    let load = |master| LoadOptions {
        first_owner: master * 1_000_000 + round * 10,
        ..topology.load_options(master, 0)
    };
    let on_m1 = Load::start(&topology.m1, &load(1));
    let on_m2 = Load::start(&topology.m2, &load(2));
    run_for(millis).await;
    on_m1.finish().await;
    on_m2.finish().await;
}

async fn assert_same(topology: &Topology, replica: &Server) {
    let (m1, m2) = (&topology.m1, &topology.m2);
    settle(&[m1, m2], &[m1, m2, replica], 90).await;
    assert_healthy(replica).await;
    for database in ["test", "other"] {
        assert_same_tables(m1, m2, database).await;
        assert_same_tables(m1, replica, database).await;
    }
}

/// The newest file of its relay log.
async fn relay_log(replica: &Server) -> PathBuf {
    let sql = match replica.kind.says_replica() {
        true => "SHOW REPLICA STATUS",
        false => "SHOW SLAVE STATUS",
    };
    let rows = replica.rows::<Row>(sql).await;
    let file: String = rows[0].get("Relay_Log_File").unwrap();
    replica.data_dir().join(file)
}

async fn lose_data_dir(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode, true, 1).await;
    // It has received whole transactions when the relay is killed.
    wait_for_table(&topology.replicas[0], "other", "items").await;
    load_for(&topology, 1, 800).await;
    topology.relay.kill9();
    // It applies what it has received, of a log that is a part of what the masters have.
    let replica = topology.replicas.remove(0);
    wait_applied(&replica).await;
    let (stop, _) = stop_and_start(kind);
    replica.sql(stop).await;
    load_for(&topology, 2, 300).await;
    let options = topology.relay.options.clone();
    topology.relay = Relay::start(options);
    topology.relay.wait_streaming().await;
    let file = relay_log(&replica).await;
    let file = file.to_str().expect("a UTF-8 path");
    let found = attachment(&topology.relay, &["--last-of", file]);
    println!("{kind}, {mode}: {found}");
    execute(&replica, &found).await;
    load_for(&topology, 3, 300).await;
    assert_same(&topology, &replica).await;
}

/// Waits until the replica of a lost relay has applied what it has received.
async fn wait_applied(replica: &Server) {
    let is_new = replica.kind.says_replica();
    let (sql, state, position) = match is_new {
        true => (
            "SHOW REPLICA STATUS",
            "Replica_SQL_Running_State",
            "Exec_Source_Log_Pos",
        ),
        false => (
            "SHOW SLAVE STATUS",
            "Slave_SQL_Running_State",
            "Exec_Master_Log_Pos",
        ),
    };
    let deadline = Deadline::after_secs(60);
    let mut before = None;
    loop {
        let rows = replica.rows::<Row>(sql).await;
        let state: String = rows[0].get(state).expect("the applier's state");
        let position: u64 = rows[0].get(position).expect("the applier's position");
        // The thread that has read everything may have left the last transactions to its workers.
        let has_read = state.contains("has read all relay log");
        if has_read && before == Some(position) {
            return;
        }
        assert!(!deadline.passed(), "{replica}: {state} at {position}");
        before = has_read.then_some(position);
        run_for(1000).await;
    }
}

/// M2 does not log what it replicates: its coordinates alone say nothing about M1's transactions.
async fn both_masters(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let topology = start(kind, mode, false, 0).await;
    let replica = replica_of_m1(&topology, kind, mode).await;
    load_for(&topology, 1, 500).await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    settle(&[m1, m2], &[m1, m2, &replica], 60).await;
    let (stop, _) = stop_and_start(kind);
    replica.sql(stop).await;
    let (at_m1, at_m2) = (end(m1).await, end(m2).await);
    load_for(&topology, 2, 500).await;
    let output = run_attach(&topology.relay, &["m2", &at_m2]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("give the coordinates of m1 as well"),
        "{error}"
    );
    let found = attachment(&topology.relay, &["m1", &at_m1, "m2", &at_m2]);
    execute(&replica, &found).await;
    load_for(&topology, 3, 300).await;
    assert_same(&topology, &replica).await;
}

/// The end of the server's binlog, as `FILE:POS`.
async fn end(server: &Server) -> String {
    let sql = match server.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let rows = server.rows::<Row>(sql).await;
    let (file, position): (String, u64) = (rows[0].get(0).unwrap(), rows[0].get(1).unwrap());
    format!("{file}:{position}")
}

async fn dead_master(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode, true, 0).await;
    let replica = replica_of_m1(&topology, kind, mode).await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    let load = |master: u32| LoadOptions {
        first_owner: master * 1_000_000,
        ..topology.load_options(master, 0)
    };
    let on_m1 = Load::start(m1, &load(1));
    let on_m2 = Load::start(m2, &load(2));
    on_m2.wait_for(60).await;
    // From now on M1's transactions alternate with those of M2, which M1 does not apply.
    settle(&[m2], &[m1], 60).await;
    m1.sql(super::stop_applier(kind)).await;
    on_m2.wait_for(150).await;
    let (stop, _) = stop_and_start(kind);
    replica.sql(stop).await;
    let place = coordinates(&replica).await;
    on_m1.finish().await;
    on_m2.finish().await;
    // M1 is gone after everything of it has arrived.
    settle(&[m1], &[m2], 60).await;
    wait_received(&topology.relay, &end(m1).await).await;
    topology.m1.terminate();
    let found = attachment(&topology.relay, &["m1", &place]);
    assert_eq!(found["bridge"], true, "{found}");
    let bridge = found["file"].as_str().expect("a file").to_owned();
    assert_read_by_tools(&topology.relay, kind, &bridge);

    // The connection breaks within the bridge, and the relay is started again.
    let gate = Gate::open_to(topology.relay.port).await;
    let path = topology.relay.data_dir().join(&bridge);
    let len = std::fs::metadata(path).expect("the bridge's file").len();
    gate.hold_after((len / 4 * 3).min(20_000));
    let statements = found.to_string();
    let port = format!("_PORT={}", topology.relay.port);
    let through_gate = statements.replace(&port, &format!("_PORT={}", gate.port));
    let through_gate: serde_json::Value = serde_json::from_str(&through_gate).unwrap();
    crate::support::attachment::execute_at("127.0.0.1", &replica, &through_gate).await;
    gate.wait_held(30).await;
    gate.shut();
    topology.relay.kill9();
    topology.relay.restart();
    assert!(read_by(&replica).await.starts_with("bridge."), "{bridge}");
    gate.release();
    gate.open();
    let later = LoadOptions {
        first_owner: 2_000_010,
        ..topology.load_options(2, 0)
    };
    let on_m2 = Load::start(&topology.m2, &later);
    run_for(300).await;
    on_m2.finish().await;
    topology.m1.restart().await;
    if topology_needs_resume(mode) {
        support::replication::resume_from_peer(&topology.m1, &topology.m2).await;
    }
    assert_same(&topology, &replica).await;
    assert!(read_by(&replica).await.starts_with("relay-bin."));
}

/// See `--skip-slave-start` of the mode's masters.
fn topology_needs_resume(mode: Mode) -> bool {
    mode == Mode::MariaDbFilePosition
}

async fn wait_received(relay: &Relay, end: &str) {
    relay
        .wait_status("everything of m1 was received", 30, |status| {
            let m1 = &status["sources"][0];
            let at = format!("{}:{}", m1["file"].as_str().unwrap_or(""), m1["position"]);
            at == end
        })
        .await;
}

/// The file that its I/O thread reads.
async fn read_by(replica: &Server) -> String {
    let (sql, column) = match replica.kind.says_replica() {
        true => ("SHOW REPLICA STATUS", "Source_Log_File"),
        false => ("SHOW SLAVE STATUS", "Master_Log_File"),
    };
    let rows = replica.rows::<Row>(sql).await;
    rows[0].get(column).unwrap()
}

/// The servers' own tool and `binrelay dump` read it without a complaint.
fn assert_read_by_tools(relay: &Relay, kind: Kind, name: &str) {
    let path = relay.data_dir().join(name);
    let text = support::binlog_text::read_file(kind, &path);
    text.assert_positions_follow(name);
    let path = path.to_str().expect("a UTF-8 path");
    let output = run_binrelay(&["dump", "--verify", path]);
    assert!(output.status.success(), "{output:?}");
}

async fn refusals(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let topology = start(kind, mode, true, 0).await;
    let m1 = &topology.m1;
    load_for(&topology, 1, 300).await;
    settle(&[m1, &topology.m2], &[m1, &topology.m2], 60).await;
    let end = end(m1).await;
    let (file, position) = end.split_once(':').unwrap();
    let position: u64 = position.parse().unwrap();
    wait_received(&topology.relay, &end).await;
    for (place, expected) in [
        (
            format!("{file}:{}", position + 1),
            "is after everything that was received from it",
        ),
        (
            format!("{file}:{}", position - 31),
            "is inside a transaction",
        ),
        (
            format!("{file}:{}", position - 30),
            "is not an event boundary",
        ),
        (
            "other-bin.000001:4".to_owned(),
            "is not a position in the binlog of m1",
        ),
        ("mysql-bin".to_owned(), "expected coordinates"),
    ] {
        let output = run_attach(&topology.relay, &["m1", &place]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{place}: {error}");
        assert!(error.contains(expected), "{place}: {error}");
    }
    // The end is exact while nothing is written, and so are the file's beginning and its head.
    let config = topology.relay.config();
    let config = config.to_str().expect("a UTF-8 path");
    let exact = |place: &str| {
        let output = run_binrelay(&["position", "--config", config, "m1", place]);
        assert!(output.status.success(), "{place}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let status = topology.relay.status();
    let (log, at) = (&status["relay"]["file"], &status["relay"]["position"]);
    assert_eq!(exact(&end), format!("{}:{at}", log.as_str().unwrap()));
    assert_eq!(exact("mysql-bin.000001:4"), "relay-bin.000001:4");
    let head = m1
        .rows::<Row>("SHOW BINLOG EVENTS IN 'mysql-bin.000001' LIMIT 2")
        .await;
    let head: u64 = head[1].get("End_log_pos").unwrap();
    assert_eq!(
        exact(&format!("mysql-bin.000001:{head}")),
        "relay-bin.000001:4"
    );
}
