//! Sessions: their commands, and how they end.

use super::fixture::*;
use super::streaming::wait_until;
use crate::connection::ConnectionErrorCause;
use crate::flavor::Flavor;
use crate::protocol::command;
use crate::protocol::response::QueryResponse;
use crate::relay_log::bridge;
use crate::relay_log::held::LogPart;
use crate::relay_log::retention::policy::NeedKind;
use crate::tls::TlsMode;
use std::time::{Duration, SystemTime};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn kill_and_commands_and_shutdown_end_a_dump() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::of(&log).await;
    let streaming = async || {
        let mut connection = sender.replica().await;
        let id = connection.query("SELECT CONNECTION_ID()").await.unwrap();
        let id = id.single().unwrap().into_owned();
        connection
            .write_command(&by_position("", 4, 0, 0x7000_0000))
            .await
            .unwrap();
        for _ in 0..3 {
            assert!(matches!(next(&mut connection).await, Item::Event(..)));
        }
        (connection, id)
    };
    let (mut killed, id) = streaming().await;
    let mut other = sender.connect("nobody").await.unwrap();
    let error = other.execute(&format!("KILL {id}")).await.unwrap_err();
    assert_eq!(error.server_error().unwrap().code, 1095);
    let mut own = sender.connect("repl").await.unwrap();
    own.execute(&format!("KILL {id}")).await.unwrap();
    assert!(matches!(next(&mut killed).await, Item::Error(error) if error.code == 1927));
    drop((other, own));
    let (mut quitting, _) = streaming().await;
    quitting.write_command(&command::quit()).await.unwrap();
    wait_until(|| sender.replicas.report().is_empty()).await;
    let (mut last, _) = streaming().await;
    sender.shutdown.send_replace(true);
    assert!(matches!(next(&mut last).await, Item::Error(error) if error.code == 1053));
    timeout(Duration::from_secs(5), sender.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn status_shows_how_the_connection_of_a_replica_is_protected() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::of(&log).await;
    for (mode, expected) in [
        (TlsMode::Disabled, "none"),
        (TlsMode::Required, "TLSv1.3 TLS_AES_256_GCM_SHA384"),
    ] {
        let login = sender.login_over(mode, "repl", None).await;
        let (mut connection, _) = login.unwrap();
        let checksums = "SET @master_binlog_checksum = 'CRC32'";
        connection.execute(checksums).await.unwrap();
        let dump = by_position("", 4, 0, 0x7000_0000);
        connection.write_command(&dump).await.unwrap();
        assert!(matches!(next(&mut connection).await, Item::Event(..)));
        let report = sender.replicas.report();
        let [replica] = report.as_slice() else {
            panic!("one replica is connected: {report:?}");
        };
        assert_eq!(replica.tls.as_deref(), Some(expected));
        drop(connection);
        wait_until(|| sender.replicas.report().is_empty()).await;
    }
}

#[tokio::test]
async fn clients_are_refused_before_the_login() {
    let log = TestLog::empty(Flavor::MariaDb, 1 << 20);
    let sender = TestSender::start(None, Duration::from_secs(1)).await;
    let error = sender.connect("repl").await.unwrap_err();
    let error = error.server_error().unwrap();
    assert_eq!(error.code, 1040);
    assert!(error.message.contains("not reached any of its sources"));
    sender.log.send_replace(Some(log.log()));
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(sender.connect("repl").await.unwrap());
    }
    let error = sender.connect("repl").await.unwrap_err();
    assert_eq!(
        error.server_error().unwrap().message,
        "Too many connections"
    );
    drop(connections.pop());
    for _ in 0..100 {
        if sender.connect("repl").await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the closed connection still counts");
}

/// Asks for an answer of 15 MB, which does not fit into the sockets' buffers.
async fn ask_without_reading(sender: &TestSender) -> (crate::connection::Connection, u32) {
    let mut connection = sender.connect("repl").await.unwrap();
    let id = connection.query("SELECT CONNECTION_ID()").await.unwrap();
    let id = id.single().unwrap().parse().unwrap();
    let megabyte = "x".repeat(1_000_000);
    connection
        .execute(&format!("SET @a = '{megabyte}'"))
        .await
        .unwrap();
    let statement = format!("SELECT {}@a", "@a, ".repeat(14));
    connection
        .write_command(&command::query(&statement))
        .await
        .unwrap();
    (connection, id)
}

/// Waits until another client can connect: four may, and three are connected.
async fn wait_for_place(sender: &TestSender) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let first = sender.connect("repl").await;
        if first.is_ok() && sender.connect("repl").await.is_ok() {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the connection is still open"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn client_that_does_not_read_its_answer_is_disconnected() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::start(Some(log.log()), Duration::from_millis(500)).await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(ask_without_reading(&sender).await);
    }
    wait_for_place(&sender).await;
}

#[tokio::test]
async fn client_that_does_not_read_its_answer_can_be_killed() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::start(Some(log.log()), Duration::from_secs(600)).await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(ask_without_reading(&sender).await);
    }
    let mut killer = sender.connect("repl").await.unwrap();
    for (_, id) in &unread {
        killer.execute(&format!("KILL {id}")).await.unwrap();
    }
    drop(killer);
    wait_for_place(&sender).await;
}

#[tokio::test]
async fn silent_connections_keep_no_client_out() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::of(&log).await;
    let mut silent = Vec::new();
    let mut logged_in = Vec::new();
    for _ in 0..4 {
        for _ in 0..20 {
            let address = ("127.0.0.1", sender.port);
            silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        logged_in.push(sender.connect("nobody").await.unwrap());
    }
    assert!(logged_in[0].query("SELECT 1").await.is_ok());
}

#[tokio::test]
async fn commands_other_than_dumps_are_answered() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::of(&log).await;
    let mut connection = sender.connect("repl").await.unwrap();
    let register = command::register_slave(11, "replica.example", 3307);
    assert!(matches!(
        connection.exchange(&register).await.unwrap(),
        QueryResponse::Ok(_)
    ));
    let hosts = connection.query("SHOW REPLICAS").await.unwrap();
    assert_eq!(hosts.value(0, "Host").as_deref(), Some("replica.example"));
    connection.execute("SET @a = 5").await.unwrap();
    assert!(matches!(
        connection.exchange(&[0x1F]).await.unwrap(),
        QueryResponse::Ok(_)
    ));
    assert_eq!(connection.query("SELECT @a").await.unwrap().rows, [[None]]);
    for (command, code) in [
        (&[0x02, b'x'][..], 1049),
        (&[0x16, b'x'], 1295),
        (&[0x77], 1047),
        (&[0x12, 1], 1835),
        (&[0x0C, 99, 0, 0, 0], 1094),
    ] {
        let error = connection.exchange(command).await.unwrap_err();
        let ConnectionErrorCause::Server(error) = error.cause else {
            panic!("{error}")
        };
        assert_eq!(error.code, code, "{command:?}");
    }
    // COM_INIT_DB; COM_RESET_CONNECTION keeps the database.
    for command in [&b"\x02information_schema"[..], &[0x1F]] {
        let answer = connection.exchange(command).await.unwrap();
        assert!(matches!(answer, QueryResponse::Ok(_)));
        let database = connection.query("SELECT DATABASE()").await.unwrap();
        assert_eq!(database.single().as_deref(), Some("information_schema"));
    }
    connection.exchange(&command::ping()).await.unwrap();
}

/// However long it stays connected after the end of the rescue.
#[tokio::test]
async fn a_reader_of_a_rescue_needs_no_file_of_the_log() {
    let mut log = TestLog::empty(Flavor::MySql, 1 << 20);
    log.mysql(1, b"CREATE TABLE t (a INT)");
    let sender = TestSender::of(&log).await;
    let log = log.log();
    let (part, _) = LogPart::published(&log);
    let executed = log.state().executed.clone();
    let rescue = bridge::write_rescue(&part, SERVER_ID, &executed, &|_| true);
    let name = bridge::name(rescue.unwrap().0.number);
    let mut oldest_needed = Vec::new();
    for file in ["relay-bin.000001", &name] {
        let mut connection = sender.replica().await;
        let dump = by_position(file, 4, 0, 11);
        connection.write_command(&dump).await.unwrap();
        for _ in 0..3 {
            assert!(matches!(next(&mut connection).await, Item::Event(..)));
        }
        let needs = log.retention().needs(1, SystemTime::now());
        let readers = needs.iter().filter(|need| need.kind == NeedKind::Reader);
        oldest_needed.push(readers.map(|need| need.file).max());
    }
    assert_eq!(oldest_needed, [Some(1), Some(u64::MAX)]);
}
