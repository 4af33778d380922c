//! What SHOW STATUS and SHOW PROCESSLIST count: exact values, of known clients.

use super::fixture::*;
use super::streaming::wait_until;
use crate::connection::Connection;
use crate::flavor::Flavor;
use crate::protocol::command;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The counters; to read them is a statement, too.
async fn counters(connection: &mut Connection) -> BTreeMap<String, u64> {
    let shown = connection.query("SHOW GLOBAL STATUS").await.unwrap();
    let rows = shown.rows.iter().map(|row| {
        let text = |column: usize| String::from_utf8(row[column].clone().unwrap()).unwrap();
        (text(0), text(1))
    });
    rows.filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect()
}

/// Connects, reads the greeting, sends something that is not a login, and waits for the end.
async fn break_handshake(sender: &TestSender) {
    let mut broken = TcpStream::connect(("127.0.0.1", sender.port))
        .await
        .unwrap();
    assert!(broken.read(&mut [0; 512]).await.unwrap() > 4);
    broken.write_all(&[1, 0, 0, 1, 0xFF]).await.unwrap();
    let mut rest = Vec::new();
    // A reset is the end as well.
    let _ = broken.read_to_end(&mut rest).await;
    wait_until(|| sender.replicas.counters.aborted_connects.load(Relaxed) == 1).await;
}

async fn replica(sender: &TestSender) -> Connection {
    let mut replica = sender.replica().await;
    let register = command::register_slave(11, "replica.example", 3307);
    replica.exchange(&register).await.unwrap();
    let dump = by_position("", 4, 0, 11);
    replica.write_command(&dump).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(next(&mut replica).await, Item::Event(..)));
    }
    replica
}

fn assert_counters(counters: &BTreeMap<String, u64>, expected: &[(&str, u64)]) {
    for (name, value) in expected {
        assert_eq!(counters[*name], *value, "{name}");
    }
}

fn assert_grown(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) {
    for name in ["Bytes_received", "Bytes_sent"] {
        let (before, after) = (before[name], after[name]);
        assert!(0 < before && before < after, "{name}: {before}, {after}");
    }
}

async fn counters_are_exact(log: TestLog, flavor: Flavor) {
    let sender = TestSender::of(&log).await;
    let mut first = sender.connect("repl").await.unwrap();
    let mut second = sender.connect("nobody").await.unwrap();
    break_handshake(&sender).await;
    first.execute("SET @a = 1").await.unwrap();
    first.query("SELECT @a").await.unwrap();
    second.query("SELECT 1").await.unwrap();
    let before = counters(&mut first).await;
    let expected = [
        ("Aborted_connects", 1),
        ("Com_binlog_dump", 0),
        ("Connections", 3),
        ("Max_used_connections", 2),
        // The fourth is the one that reads them.
        ("Questions", 4),
        ("Threads_connected", 2),
        ("Threads_running", 1),
    ];
    assert_counters(&before, &expected);
    let replica = replica(&sender).await;
    // The statements of `TestSender::replica`.
    let (set_up, of_replicas) = match flavor {
        Flavor::MySql => (1, vec![]),
        Flavor::MariaDb => (2, vec![("Slave_connections", 1), ("Slaves_connected", 1)]),
    };
    drop(second);
    wait_until(|| sender.replicas.clients().len() == 2).await;
    let after = counters(&mut first).await;
    let mut expected = vec![
        ("Aborted_connects", 1),
        ("Com_binlog_dump", 1),
        ("Connections", 4),
        ("Max_used_connections", 3),
        ("Questions", 5 + set_up),
        ("Threads_connected", 2),
        ("Threads_running", 2),
    ];
    expected.extend(of_replicas);
    assert_counters(&after, &expected);
    // The second client has gone; what it sent and received still counts.
    assert_grown(&before, &after);
    let dumped = sender.replicas.report()[0].bytes_sent;
    let sent = after["Bytes_sent"] - before["Bytes_sent"];
    assert!(dumped > 0 && sent > dumped, "{dumped} of {sent}");
    drop(replica);
    wait_until(|| sender.replicas.clients().len() == 1).await;
    let last = counters(&mut first).await;
    let expected = [
        ("Com_binlog_dump", 1),
        ("Connections", 4),
        ("Max_used_connections", 3),
        ("Threads_connected", 1),
        ("Threads_running", 1),
    ];
    assert_counters(&last, &expected);
    assert_grown(&after, &last);
}

#[tokio::test]
async fn counters_are_exact_as_mysql() {
    let mut log = TestLog::empty(Flavor::MySql, 1 << 20);
    log.mysql(1, b"CREATE TABLE t (a INT)");
    counters_are_exact(log, Flavor::MySql).await;
}

#[tokio::test]
async fn counters_are_exact_as_mariadb() {
    let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
    log.mariadb("0-1-1", None);
    counters_are_exact(log, Flavor::MariaDb).await;
}

/// The column Time of a client.
async fn time_of(watching: &mut Connection, id: u32) -> u64 {
    let shown = watching.query("SHOW PROCESSLIST").await.unwrap();
    let mut rows = 0..shown.rows.len();
    let id = id.to_string();
    let row = rows.find(|row| shown.value(*row, "Id").as_deref() == Some(id.as_str()));
    shown.value(row.unwrap(), "Time").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_statement_that_waits_is_executed() {
    let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
    log.mariadb("0-1-1", None);
    let sender = TestSender::of(&log).await;
    let mut watching = sender.connect("repl").await.unwrap();
    let mut waiting = sender.connect("repl").await.unwrap();
    let id = waiting.query("SELECT CONNECTION_ID()").await.unwrap();
    let id: u32 = id.single().unwrap().parse().unwrap();
    let command = format!(
        "SELECT CONCAT(COMMAND, ' ', STATE) FROM information_schema.PROCESSLIST WHERE ID = {id}"
    );
    let shown = watching.query(&command).await.unwrap();
    assert_eq!(shown.single().as_deref(), Some("Sleep "));
    let watched = async {
        loop {
            let shown = watching.query(&command).await.unwrap();
            if shown.single().as_deref() == Some("Query executing") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_counters(&counters(&mut watching).await, &[("Threads_running", 2)]);
        assert!(sender.replicas.kill(id));
    };
    let waits = waiting.query("SELECT MASTER_GTID_WAIT('0-1-99', 30)");
    let (ended, ()) = tokio::join!(waits, watched);
    ended.unwrap_err();
    wait_until(|| sender.replicas.clients().len() == 1).await;
    assert_counters(&counters(&mut watching).await, &[("Threads_running", 1)]);
    watching.execute("USE information_schema").await.unwrap();
    let shown = watching.query("SELECT DB FROM PROCESSLIST").await.unwrap();
    assert_eq!(shown.single().as_deref(), Some("information_schema"));
}

#[tokio::test]
async fn time_of_a_client_is_that_of_its_state() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::of(&log).await;
    let mut watching = sender.connect("repl").await.unwrap();
    let mut replica = sender.replica().await;
    let clients = sender.replicas.clients();
    let client = clients.iter().max_by_key(|client| client.id).unwrap();
    // Both pass the first second, idle.
    while time_of(&mut watching, client.id).await < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    replica.query("SELECT 1").await.unwrap();
    // However late it is read: the state has begun a second after the connection, or later.
    let time = time_of(&mut watching, client.id).await;
    assert!(time < client.connected_seconds(), "{time}");
    while time_of(&mut watching, client.id).await < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let dump = by_position("", 4, 0, 11);
    replica.write_command(&dump).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(next(&mut replica).await, Item::Event(..)));
    }
    let time = time_of(&mut watching, client.id).await;
    assert!(time + 1 < client.connected_seconds(), "{time}");
    // The statement that shows them has just begun.
    let own = watching.query("SELECT CONNECTION_ID()").await.unwrap();
    let own: u32 = own.single().unwrap().parse().unwrap();
    let client = clients.iter().find(|client| client.id == own).unwrap();
    let time = time_of(&mut watching, own).await;
    assert!(time + 1 < client.connected_seconds(), "{time}");
}
