//! The statements that monitoring tools, failover managers and clients send: the relay's answer compared
//! with that of a real server of the same kind, by columns, types and values.

mod answered;
mod clients;
mod conditions;
mod failover;
mod for_some_servers;
mod list;
mod rule;
mod schema;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};

use crate::support;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, assert_healthy, attach, settle};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions};
use crate::support::topology::{Mode, replica_options};
use answered::{Answered, ask};
use list::STATEMENTS;

fn relay_opts(relay: &Relay, user: &str) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(relay.port)
        .user(Some(user))
        .pass(Some(REPL_PASSWORD))
        .into()
}

async fn connect(relay: &Relay) -> Conn {
    Conn::new(relay_opts(relay, REPL_USER)).await.unwrap()
}

/// The values of the one row, by column.
async fn row(conn: &mut Conn, statement: &str) -> Vec<(String, Option<String>)> {
    match ask(conn, statement).await {
        Answered::Rows(columns, mut rows) => {
            assert_eq!(rows.len(), 1, "{statement}: {rows:?}");
            let names = columns.into_iter().map(|(name, _)| name);
            names.zip(rows.remove(0)).collect()
        }
        Answered::Error(code) => panic!("{statement}: {code}"),
    }
}

async fn value(conn: &mut Conn, statement: &str) -> Option<String> {
    row(conn, statement).await.remove(0).1
}

fn get<'a>(row: &'a [(String, Option<String>)], name: &str) -> &'a str {
    let found = row.iter().find(|(column, _)| column == name);
    let (_, value) = found.unwrap_or_else(|| panic!("no {name} in {row:?}"));
    value.as_deref().unwrap_or("NULL")
}

fn change_statement(kind: Kind) -> &'static str {
    match kind.says_replica() {
        true => {
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=1, SOURCE_USER='x'"
        }
        false => "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='x'",
    }
}

fn status_statement(kind: Kind) -> &'static str {
    match kind.says_replica() {
        true => "SHOW REPLICA STATUS",
        false => "SHOW SLAVE STATUS",
    }
}

/// The names of a row's columns as before MySQL 8.0.22.
fn old_name(name: &str) -> String {
    name.replace("Source", "Master")
        .replace("Replica_", "Slave_")
}

async fn compare(kind: Kind) {
    let _turn = support::turn();
    let source = Server::start(kind, ServerOptions::new(86)).await;
    source.sql(change_statement(kind)).await;
    for_some_servers::prepare(kind, &source).await;
    source
        .sql("CREATE DATABASE test; CREATE TABLE test.t (a INT PRIMARY KEY)")
        .await;
    let mut options = RelayOptions::new(vec![SourceOptions::of("m1", &source)]);
    options.relay_extra.push("report_port = 4711".to_owned());
    // Without it, the settings of a wait for replicas are not shown as MariaDB shows them.
    options
        .relay_extra
        .push("semi_sync_wait_for_replicas = 1".to_owned());
    let relay = Relay::start(options);
    relay.wait_streaming().await;
    let mut theirs = source.connect().await;
    let mut ours = connect(&relay).await;
    let mut findings = Vec::new();
    let further = clients::STATEMENTS.iter().chain(failover::STATEMENTS);
    // The last ones choose a database.
    let further = further
        .chain(conditions::STATEMENTS)
        .chain(schema::STATEMENTS);
    for (statement, rule) in STATEMENTS.iter().chain(further) {
        let (ours, theirs) = (
            ask(&mut ours, statement).await,
            ask(&mut theirs, statement).await,
        );
        if !rule.accepts(&ours, &theirs) {
            let (ours, theirs) = (ours.outline(), theirs.outline());
            findings.push(format!(
                "{statement}{}\n  relay:  {ours}\n  server: {theirs}",
                rule.reason()
            ));
        }
    }
    assert!(findings.is_empty(), "{kind}:\n{}", findings.join("\n"));
    for_some_servers::compare(kind, &source, &mut ours, &mut theirs).await;
    for_some_servers::help_is_printed(kind, &relay);
    status_is_true(kind, &source, &relay, &mut ours).await;
    waits_end(kind, &source, &mut ours).await;
    ours.disconnect().await.ok();
    theirs.disconnect().await.ok();
    status_of_a_lost_source(kind, source, &relay).await;
}

/// The coordinates of a server's end.
async fn end_of(conn: &mut Conn, kind: Kind) -> (String, String) {
    let statement = match kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let row = row(conn, statement).await;
    (
        get(&row, "File").to_owned(),
        get(&row, "Position").to_owned(),
    )
}

async fn status_is_true(kind: Kind, source: &Server, relay: &Relay, ours: &mut Conn) {
    source.sql("INSERT INTO test.t VALUES (1)").await;
    let mut theirs = source.connect().await;
    let (file, position) = end_of(&mut theirs, kind).await;
    let wait = format!("SELECT MASTER_POS_WAIT('{file}', {position}, 20)");
    assert_eq!(value(ours, &wait).await.as_deref(), Some("0"), "{kind}");
    relay
        .wait_status("it has caught up", 20, |status| {
            status["sources"][0]["seconds_behind"] == 0
        })
        .await;
    let shown = row(ours, status_statement(kind)).await;
    let shown: Vec<_> = shown
        .into_iter()
        .map(|(name, value)| (old_name(&name), value))
        .collect();
    let mut expected = vec![
        ("Master_Host", "127.0.0.1".to_owned()),
        ("Master_Port", source.port.to_string()),
        ("Master_User", REPL_USER.to_owned()),
        ("Slave_IO_Running", "Yes".to_owned()),
        ("Slave_SQL_Running", "Yes".to_owned()),
        ("Master_Log_File", file.clone()),
        ("Relay_Master_Log_File", file),
        ("Read_Master_Log_Pos", position.clone()),
        ("Exec_Master_Log_Pos", position),
        ("Seconds_Behind_Master", "0".to_owned()),
        ("Master_Server_Id", "86".to_owned()),
        ("Replicate_Do_DB", "test".to_owned()),
        ("Last_IO_Errno", "0".to_owned()),
        ("Relay_Log_File", "relay-bin.000001".to_owned()),
    ];
    if kind.is_mysql() && !kind.is_before_57() {
        expected.push(("Channel_Name", "m1".to_owned()));
    }
    if kind == Kind::MySql {
        let executed = source.value("SELECT @@GLOBAL.gtid_executed").await;
        expected.push(("Executed_Gtid_Set", executed.unwrap_or_default()));
        let uuid = source.value("SELECT @@GLOBAL.server_uuid").await;
        expected.push(("Master_UUID", uuid.unwrap_or_default()));
        expected.push(("Auto_Position", "1".to_owned()));
    }
    for (name, value) in expected {
        assert_eq!(get(&shown, name), value, "{kind}: {name}");
    }
    let hosts = match kind.says_replica() {
        true => "SHOW REPLICAS",
        false => "SHOW SLAVE HOSTS",
    };
    let host = row(&mut theirs, hosts).await;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(get(&host, "Host"), name.trim(), "{kind}");
    assert_eq!(get(&host, "Port"), "4711", "{kind}");
}

/// The functions that wait return when the log has it, at their limit, and with the end of their session.
async fn waits_end(kind: Kind, source: &Server, ours: &mut Conn) {
    let timed_out = "SELECT MASTER_POS_WAIT('mysql-bin.000999', 4, 1), @@server_id";
    let found = row(ours, timed_out).await;
    assert_eq!(
        (found[0].1.as_deref(), found[1].1.as_deref()),
        (Some("-1"), Some("900")),
        "{kind}"
    );
    let (function, here, past) = match kind {
        Kind::MySql => {
            let uuid = source.value("SELECT @@GLOBAL.server_uuid").await.unwrap();
            let executed = source.value("SELECT @@GLOBAL.gtid_executed").await.unwrap();
            let last: u32 = executed.rsplit(['-', ':']).next().unwrap().parse().unwrap();
            let set = |gno: u32| format!("{uuid}:{gno}");
            ("WAIT_FOR_EXECUTED_GTID_SET", set(last), set(last + 1))
        }
        _ if kind.is_mariadb() => {
            let here = source.value("SELECT @@gtid_binlog_pos").await.unwrap();
            let (begin, last) = here.rsplit_once('-').unwrap();
            let next = last.parse::<u64>().unwrap() + 1;
            ("MASTER_GTID_WAIT", here.clone(), format!("{begin}-{next}"))
        }
        _ => return,
    };
    let statement = |gtid: &str, limit: &str| format!("SELECT {function}('{gtid}'{limit})");
    assert_eq!(
        value(ours, &statement(&here, ", 1")).await.as_deref(),
        Some("0"),
        "{kind}"
    );
    let late = value(ours, &statement(&past, ", 0.2")).await.unwrap();
    assert_eq!(late, if kind.is_mysql() { "1" } else { "-1" }, "{kind}");
    let unlimited = statement(&past, "");
    let waiting = value(ours, &unlimited);
    let writing = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        source.sql("INSERT INTO test.t VALUES (2)").await;
    };
    let (waited, ()) = tokio::join!(waiting, writing);
    assert_eq!(waited.as_deref(), Some("0"), "{kind}");
}

async fn status_of_a_lost_source(kind: Kind, mut source: Server, relay: &Relay) {
    let mut ours = connect(relay).await;
    let mut other = connect(relay).await;
    let id = value(&mut other, "SELECT CONNECTION_ID()").await.unwrap();
    let killed = tokio::spawn(async move {
        other
            .query_drop("SELECT MASTER_POS_WAIT('mysql-bin.999999', 4)")
            .await
    });
    source.kill9();
    relay
        .wait_status("the source is lost", 20, |status| {
            status["sources"][0]["state"] == "connecting"
        })
        .await;
    let shown = row(&mut ours, status_statement(kind)).await;
    let shown: Vec<_> = shown
        .into_iter()
        .map(|(name, value)| (old_name(&name), value))
        .collect();
    assert_eq!(get(&shown, "Slave_IO_Running"), "Connecting", "{kind}");
    assert_eq!(get(&shown, "Seconds_Behind_Master"), "NULL", "{kind}");
    assert_ne!(get(&shown, "Last_IO_Errno"), "0", "{kind}");
    assert_ne!(get(&shown, "Last_IO_Error"), "", "{kind}");
    assert!(!killed.is_finished(), "{kind}");
    ours.query_drop(format!("KILL {id}")).await.unwrap();
    killed.await.unwrap().unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_mariadb_10_5() {
    compare(Kind::MariaDb105).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_mariadb_10_11() {
    compare(Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_mariadb_11_8() {
    compare(Kind::MariaDb118).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_mysql_5_6() {
    compare(Kind::MySql56).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_mysql_5_7() {
    compare(Kind::MySql57).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_mysql_9_7() {
    compare(Kind::MySql).await;
}

/// Clients are answered before the first source is; a replica that attaches meanwhile follows by itself.
async fn before_the_first_contact(kind: Kind, at: StartAt) {
    let _turn = support::turn();
    let mut source = Server::start(kind, ServerOptions::new(86)).await;
    source
        .sql("CREATE DATABASE test; CREATE TABLE test.t (a INT PRIMARY KEY)")
        .await;
    source.kill9();
    let mut options = RelayOptions::new(vec![SourceOptions::of("m1", &source)]);
    options.replicate_do_db = Vec::new();
    options
        .relay_extra
        .push(format!("flavor = \"{}\"", kind.flavor()));
    let relay = Relay::start(options);
    let mut conn = connect(&relay).await;
    conn.ping().await.unwrap();
    assert_eq!(
        value(&mut conn, "SELECT @@server_id").await.as_deref(),
        Some("900")
    );
    let shown = row(&mut conn, status_statement(kind)).await;
    assert!(
        shown
            .iter()
            .any(|(_, value)| value.as_deref() == Some("Connecting")),
        "{shown:?}"
    );
    for refused in [
        "SHOW BINARY LOGS",
        "SELECT @@gtid_mode",
        "SET @slave_uuid = 'x'",
    ] {
        assert_eq!(
            ask(&mut conn, refused).await,
            Answered::Error(1040),
            "{kind}: {refused}"
        );
    }
    let replica = Server::start(kind, replica_options(kind, 11)).await;
    let retry = match kind.says_replica() {
        true => "SOURCE_CONNECT_RETRY=1",
        false => "MASTER_CONNECT_RETRY=1",
    };
    attach(&replica, RELAY_HOST, relay.port, &at, retry).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    source.restart().await;
    relay.wait_streaming().await;
    source.sql("INSERT INTO test.t VALUES (1)").await;
    settle(&[&source], &[&replica], 30).await;
    assert_healthy(&replica).await;
    // The session that was there before sees the log.
    let shown = ask(&mut conn, "SHOW BINARY LOGS").await;
    assert!(matches!(shown, Answered::Rows(_, rows) if rows.len() == 1));
    conn.disconnect().await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_clients_are_answered_before_the_first_contact() {
    let mode = Mode::MariaDbFilePosition;
    before_the_first_contact(Kind::MariaDb, mode.start_at("relay-bin")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_clients_are_answered_before_the_first_contact() {
    before_the_first_contact(Kind::MySql, StartAt::AutoPosition).await;
}
