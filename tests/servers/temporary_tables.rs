//! A master is killed while a session has a temporary table open. After its restart, a session with the
//! same number uses that name for a base table and for a temporary table of its own: replicas of the
//! relay do what a replica of the master does. Temporary tables of other masters' sessions live on.
//!
//! `BINRELAY_PROFILE=long tools/test --test servers temporary_tables` runs all kinds.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::support::replication::{assert_healthy, attach, replica_status, settle};
use crate::support::servers::{Kind, Server};
use crate::support::tables::assert_same_tables;
use crate::support::topology::{Mode, Topology, TopologyOptions, gtid_executed, replica_options};
use crate::support::{self, Deadline};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_killed_with_an_open_table() {
    killed(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_without_gtids_killed_with_an_open_table() {
    killed(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_killed_with_an_open_table() {
    killed(Kind::MySql, Mode::MySqlAutoPosition).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_without_gtids_killed_with_an_open_table() {
    killed(Kind::MySql57, Mode::MySqlNoGtids).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_killed_with_an_open_table() {
    killed(Kind::MySql57, Mode::MySqlAutoPosition).await;
}

#[cfg(has_mysql_5_5)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_55_killed_with_an_open_table() {
    killed(Kind::MySql55, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn other_kinds_and_modes_killed_with_an_open_table() {
    for (kind, mode) in [
        (Kind::MariaDb, Mode::MariaDbSlavePos),
        // By GTID, 11.8 does not show its own replicas that it was restarted, so they differ.
        (Kind::MariaDb118, Mode::MariaDbFilePosition),
        (Kind::MariaDb105, Mode::MariaDbFilePosition),
        (Kind::MySql, Mode::MySqlNoGtids),
        (Kind::MySql, Mode::MySqlFilePosition),
        (Kind::MySql56, Mode::MySqlAutoPosition),
    ] {
        eprintln!("{kind} {mode}");
        killed(kind, mode).await;
    }
}

async fn killed(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode, true).await;
    let mut direct = replica_options(kind, 12);
    direct.gtid = mode.has_gtids();
    let direct = Server::start(kind, direct).await;
    let extra = support::replication::retry_each_second(kind);
    let at = mode.start_at("mysql-bin");
    attach(&direct, "127.0.0.1", topology.m1.port, &at, extra).await;

    let (mut session, number) = session(&topology.m1, None).await;
    open_table(&mut session, 1).await;
    settle_all(&topology, &direct).await;
    assert_eq!(open_tables(&topology.replicas[0]).await, 1);

    topology.m1.kill9();
    drop(session);
    // What is open is known after a restart.
    topology.relay.kill9();
    topology.relay.restart();
    topology.restart_m1().await;
    use_name_again(&topology, number).await;
    settle_all(&topology, &direct).await;
    for replica in [&topology.m2, &topology.replicas[0], &direct] {
        assert_same_tables(&topology.m1, replica, "test").await;
    }
    assert_streaming(&topology).await;
    for replica in [&topology.replicas[0], &direct] {
        // MySQL 5.5 does not subtract the tables that it drops at a master's restart.
        if kind != Kind::MySql55 {
            assert_eq!(open_tables(replica).await, 0, "{replica}");
        }
    }
    topology.relay.terminate();
    topology.relay.verify();
}

/// A session that has the number of the one that was killed inserts into the base table, then
/// creates a temporary table of the same name.
async fn use_name_again(topology: &Topology, number: u32) {
    let (mut session, _) = session(&topology.m1, Some(number)).await;
    let base = "USE test; INSERT INTO work VALUES (7)";
    session.query_drop(base).await.expect(base);
    open_table(&mut session, 2).await;
    session.disconnect().await.expect("the session ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_masters_sessions_live_on() {
    let _turn = support::turn();
    let mut topology = start(Kind::MariaDb, Mode::MariaDbFilePosition, false).await;
    let (mut ended, number) = session(&topology.m1, None).await;
    open_table(&mut ended, 1).await;
    let (mut other, _) = session(&topology.m2, None).await;
    open_table(&mut other, 10).await;
    let m1 = &topology.m1;
    settle(&[m1, &topology.m2], &[&topology.replicas[0]], 60).await;
    topology.m1.kill9();
    drop(ended);
    topology.m1.restart().await;
    topology.relay.wait_streaming().await;

    // Other sessions of M1 are not concerned, nor is that of M2.
    topology
        .m1
        .sql("USE test; INSERT INTO total VALUES (5)")
        .await;
    let more = "INSERT INTO total_m2 SELECT a + 1 FROM work_m2";
    other.query_drop(more).await.expect(more);
    let writers = [&topology.m1, &topology.m2];
    settle(&writers, &[&topology.replicas[0]], 60).await;
    assert_eq!(open_tables(&topology.replicas[0]).await, 2);

    // The session with the number of the one that was killed is.
    let (mut session, _) = session(&topology.m1, Some(number)).await;
    let base = "USE test; INSERT INTO work VALUES (7)";
    session.query_drop(base).await.expect(base);
    let refused = |status: &serde_json::Value| {
        let m1 = &status["sources"][0];
        let error = m1["last_error"].to_string();
        m1["state"] == "failed" && error.contains("reuses the thread_id of a session that ended")
    };
    topology
        .relay
        .wait_status("m1 is failed", 30, refused)
        .await;
    other.disconnect().await.expect("the session ends");
    settle(&[&topology.m2], &[&topology.replicas[0]], 60).await;
    topology.relay.terminate();
    topology.relay.restart();
    topology.relay.wait_streaming().await;
    let writers = [&topology.m1, &topology.m2];
    settle(&writers, &[&topology.replicas[0]], 60).await;
    let replica = &topology.replicas[0];
    assert_eq!(open_tables(replica).await, 0);
    let rows =
        |server: &'static str| format!("SELECT GROUP_CONCAT(a ORDER BY a) FROM test.{server}");
    for (table, expected) in [("work", "7"), ("total", "1,5"), ("total_m2", "10,11")] {
        let found = replica.value(&rows(table)).await;
        assert_eq!(found.as_deref(), Some(expected), "{table}");
    }
    topology.relay.terminate();
    topology.relay.verify();
}

async fn start(kind: Kind, mode: Mode, peered: bool) -> Topology {
    // An even seed: MIXED.
    let mut options = TopologyOptions::new(mode, support::seed() * 2);
    options.master_kind = kind;
    options.replica_kind = kind;
    options.replicas = 1;
    options.peered = peered;
    options.attach_extra = support::replication::retry_each_second(kind);
    let topology = Topology::start(options).await;
    for (server, suffix) in [(&topology.m1, ""), (&topology.m2, "_m2")] {
        if kind == Kind::MySql {
            // It logs statements about temporary tables in this format only.
            server
                .sql("STOP REPLICA; SET PERSIST binlog_format = 'STATEMENT'; START REPLICA")
                .await;
        }
        if peered && !suffix.is_empty() {
            continue;
        }
        server
            .sql(&format!(
                "USE test; CREATE TABLE work{suffix} (a INT); CREATE TABLE total{suffix} (a INT)"
            ))
            .await;
    }
    topology
}

/// A connection, and its number; with the number of another one, if there is one.
async fn session(server: &Server, number: Option<u32>) -> (Conn, u32) {
    let mut session = server.connect().await;
    if server.kind == Kind::MySql {
        let format = "SET SESSION binlog_format = 'STATEMENT'";
        session.query_drop(format).await.expect(format);
    }
    if let Some(number) = number {
        let pretend = format!("SET pseudo_thread_id = {number}");
        session
            .query_drop(&pretend)
            .await
            .expect("pseudo_thread_id");
        return (session, number);
    }
    let found = session.query_first("SELECT CONNECTION_ID()").await;
    let number = found.expect("a number").expect("a row");
    (session, number)
}

/// Creates a temporary table with the name of a base table, and copies its row to another base table.
async fn open_table(session: &mut Conn, value: u32) {
    let suffix = if value < 10 { "" } else { "_m2" };
    for statement in [
        "USE test".to_owned(),
        format!("CREATE TEMPORARY TABLE work{suffix} (a INT)"),
        format!("INSERT INTO work{suffix} VALUES ({value})"),
        format!("INSERT INTO total{suffix} SELECT a FROM work{suffix}"),
    ] {
        session.query_drop(&statement).await.expect(&statement);
    }
}

async fn settle_all(topology: &Topology, direct: &Server) {
    let masters = [&topology.m1, &topology.m2];
    settle(&masters, &masters, 60).await;
    settle(&masters, &[&topology.replicas[0], direct], 60).await;
    for replica in [&topology.replicas[0], direct] {
        assert_healthy(replica).await;
    }
    // M1 ignores what M2 logs with M1's server_id, so its set lacks the GTIDs of these statements.
    if topology.m1.kind.is_mysql() && topology.m1.options.gtid {
        // Each replica with a binlog logs that it has dropped tables, with a GTID of its own.
        let from_masters =
            "SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, CONCAT(@@server_uuid, ':1-999'))";
        let set = topology.replicas[0].value(from_masters).await;
        let set = set.map(|set| set.replace('\n', ""));
        assert_eq!(set, Some(gtid_executed(&topology.m2).await));
    }
}

async fn assert_streaming(topology: &Topology) {
    let streams = |status: &serde_json::Value| {
        let sources = status["sources"].as_array();
        sources.is_some_and(|all| all.iter().all(|source| source["state"] == "streaming"))
    };
    let relay = &topology.relay;
    relay.wait_status("all sources stream", 30, streams).await;
}

/// The temporary tables that the replica has open for the sessions of its masters.
async fn open_tables(replica: &Server) -> u32 {
    let query = "SHOW GLOBAL STATUS LIKE 'Slave_open_temp_tables'";
    let deadline = Deadline::after_secs(20);
    let mut last = None;
    loop {
        let rows: Vec<(String, String)> = replica.rows(query).await;
        let open = rows.first().and_then(|(_, open)| open.parse().ok());
        if open == last || deadline.passed() {
            let status = replica_status(replica).await;
            return open.unwrap_or_else(|| panic!("{replica}: {status:?}"));
        }
        last = open;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}
