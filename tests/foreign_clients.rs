//! Clients that nobody here wrote get from the relay what they get from a real master with the
//! same binlog: its files are copies of the relay's, its server_id is the relay's.
//!
//! So nothing needs to be made alike before it is compared, with one exception: the newest file of
//! each side is its own, and readers that follow the log stop at the ROTATE into it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
// Test code: a failed expectation is how a test fails.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::{Value, json};
use support::Deadline;
use support::foreign_clients::{Comparison, Waiting, driver, lines_of, server, tables};
use support::raw_client::{Dumped, RawClient, tcp_opts};
use support::same_binlog::{DATABASE, SameBinlog};
use support::servers::{Kind, REPL_PASSWORD, REPL_USER, program};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_clients_get_what_a_master_sends() {
    compare_all(Kind::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_clients_get_what_a_master_sends() {
    compare_all(Kind::MariaDb).await;
}

async fn compare_all(kind: Kind) {
    let _one_at_a_time = support::exclusive();
    let binlog = SameBinlog::start(kind).await;
    let mut table = Comparison::default();
    let began = std::time::Instant::now();
    let note = |what: &str| println!("{what} after {:?}", began.elapsed());
    queries(&binlog, &mut table).await;
    listings(&binlog, &mut table).await;
    note("queries");
    packets(&binlog, &mut table);
    note("packets");
    binlog_tool(&binlog, &mut table).await;
    note("binlog tool");
    drivers(&binlog, &mut table).await;
    note("drivers");
    waiting(&binlog, &mut table).await;
    note("waiting");
    table.finish(&format!("{kind}: received from"));
}

/// (relay, master).
fn ports(binlog: &SameBinlog) -> [u16; 2] {
    [binlog.relay.port, binlog.master.port]
}

// ---------------------------------------------------------------------------------- SQL

async fn connect(port: u16) -> Conn {
    let opts = tcp_opts("127.0.0.1", port, REPL_USER, REPL_PASSWORD);
    Conn::new(opts).await.expect("a client can connect")
}

/// Names and values, or the error.
async fn answer(conn: &mut Conn, query: &str) -> Vec<String> {
    match conn.query::<Row, _>(query).await {
        Ok(rows) => rows
            .iter()
            .map(|row| {
                let names = row.columns_ref().iter().map(|column| column.name_str());
                let values = (0..row.len()).map(|index| row[index].as_sql(true));
                let pairs = names
                    .zip(values)
                    .map(|(name, value)| format!("{name}={value}"));
                pairs.collect::<Vec<_>>().join(" ")
            })
            .collect(),
        Err(error) => vec![error.to_string()],
    }
}

/// What the clients of this test ask before they dump, where the answer says something of the log.
async fn queries(binlog: &SameBinlog, table: &mut Comparison) {
    let both = [
        "select @@GLOBAL.binlog_checksum as checksum",
        "SHOW GLOBAL VARIABLES LIKE 'BINLOG_CHECKSUM'",
        "SHOW VARIABLES LIKE 'BINLOG_ROW_METADATA';",
        "SELECT VERSION() AS version",
        "SHOW BINARY LOGS",
        "SHOW VARIABLES LIKE 'SERVER_ID'",
    ];
    let mysql = ["SELECT @@GLOBAL.gtid_mode", "SELECT @@GLOBAL.gtid_purged"];
    let own: &[&str] = match binlog.kind() {
        Kind::MySql => &mysql,
        Kind::MariaDb => &["SELECT @@GLOBAL.gtid_domain_id", "SHOW MASTER LOGS"],
    };
    let mut answers = [Vec::new(), Vec::new()];
    for (port, answers) in ports(binlog).into_iter().zip(&mut answers) {
        let mut conn = connect(port).await;
        for query in both.iter().chain(own) {
            let mut rows = answer(&mut conn, query).await;
            if query.ends_with("LOGS") {
                // The newest file is not the same.
                rows.pop();
            }
            answers.push(format!("{query}: {rows:?}"));
        }
        let columns = format!(
            "SELECT COLUMN_NAME, COLLATION_NAME, CHARACTER_SET_NAME, COLUMN_COMMENT, COLUMN_TYPE \
             FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA='{DATABASE}' AND TABLE_NAME='things' \
             ORDER BY ORDINAL_POSITION"
        );
        answers.push(format!("columns: {:?}", answer(&mut conn, &columns).await));
        conn.disconnect().await.ok();
    }
    table.add("answers to what clients ask", &answers[0], &answers[1]);
}

/// SHOW BINLOG EVENTS.
async fn listings(binlog: &SameBinlog, table: &mut Comparison) {
    let names = binlog.file_names();
    let first = &names[0];
    let mut listed = [Vec::new(), Vec::new()];
    let mut special = [Vec::new(), Vec::new()];
    for (index, port) in ports(binlog).into_iter().enumerate() {
        let mut conn = connect(port).await;
        for name in &names {
            let rows = answer(&mut conn, &format!("SHOW BINLOG EVENTS IN '{name}'")).await;
            listed[index].extend(rows);
        }
        let start = format!("SHOW BINLOG EVENTS IN '{first}'");
        for query in [
            "SHOW BINLOG EVENTS LIMIT 3".to_owned(),
            format!("{start} LIMIT 2, 3"),
            format!("{start} LIMIT 3 OFFSET 1"),
            format!("{start} FROM 4 LIMIT 1"),
            format!("{start} LIMIT 0"),
            format!("{start} FROM 99999999"),
            format!("{start} FROM 130 LIMIT 2"),
            "SHOW BINLOG EVENTS IN 'nothing.000001'".to_owned(),
        ] {
            let rows = answer(&mut conn, &query).await;
            special[index].push(format!("{query}: {rows:#?}"));
        }
        conn.disconnect().await.ok();
    }
    table.add("SHOW BINLOG EVENTS, all files", &listed[0], &listed[1]);
    table.add(
        "SHOW BINLOG EVENTS, its clauses and errors",
        &special[0],
        &special[1],
    );
}

// ---------------------------------------------------------------------------------- packets

/// What stands in a ROTATE event behind its header and position.
fn rotates_to(event: &[u8], file: &str) -> bool {
    event.get(4) == Some(&4) && event.get(27..27 + file.len()) == Some(file.as_bytes())
}

fn dumped(
    port: u16,
    settings: &[String],
    file: &str,
    position: u32,
    flags: u16,
    stop: &str,
) -> Vec<Vec<u8>> {
    let mut client = RawClient::connect("127.0.0.1", port);
    client.login(REPL_USER, REPL_PASSWORD).expect("a login");
    for setting in settings {
        client.query(setting).expect("a setting");
    }
    client.dump(77, file, position, flags);
    let mut events = Vec::new();
    loop {
        match client.next_event() {
            Dumped::Event(event) => {
                let is_last = rotates_to(&event, stop);
                events.push(event);
                if is_last {
                    return events;
                }
            }
            Dumped::Error(error) => {
                events.push(error.to_string().into_bytes());
                return events;
            }
            Dumped::End => return events,
            Dumped::Silence => {
                panic!("the dump of {file} from {position} does not go on: {events:?}")
            }
        }
    }
}

fn packets(binlog: &SameBinlog, table: &mut Comparison) {
    let checksum =
        "SET @master_binlog_checksum='CRC32', @source_binlog_checksum='CRC32'".to_owned();
    let none = "SET @master_binlog_checksum='NONE', @source_binlog_checksum='NONE'".to_owned();
    let capable = "SET @mariadb_slave_capability=4".to_owned();
    let beginning = "SET @slave_connect_state=''".to_owned();
    let files = binlog.file_names();
    let first = files[0].as_str();
    let middle = middle_of(&binlog.files[0]);
    let mut cases: Vec<(&str, Vec<String>, &str, u32, u16)> = vec![
        ("from the beginning", vec![checksum.clone()], first, 4, 1),
        ("without a file name", vec![checksum.clone()], "", 4, 1),
        ("checksums unknown at first", vec![none], first, 4, 1),
        ("without checksums", Vec::new(), first, 4, 1),
        (
            "from the middle of a file",
            vec![checksum.clone()],
            first,
            middle,
            1,
        ),
        (
            "from inside an event",
            vec![checksum.clone()],
            first,
            middle + 1,
            1,
        ),
        (
            "from behind the end",
            vec![checksum.clone()],
            first,
            9_999_999,
            1,
        ),
        (
            "of an unknown file",
            vec![checksum.clone()],
            "nothing.000001",
            4,
            1,
        ),
    ];
    if binlog.kind() == Kind::MariaDb {
        let all = vec![checksum.clone(), capable.clone()];
        cases.push(("of a GTID client", all.clone(), first, 4, 1));
        cases.push(("with annotations", all, first, 4, 3));
        let state = vec![checksum, capable, beginning];
        cases.push(("from an empty GTID position", state, "", 4, 3));
    }
    for (what, settings, file, position, flags) in cases {
        let [relay, master] = ports(binlog)
            .map(|port| dumped(port, &settings, file, position, flags, &binlog.stop_file()));
        table.add(&format!("packets {what}"), &relay, &master);
    }
}

/// Where an event in the middle of a binlog file begins.
fn middle_of(file: &Path) -> u32 {
    let bytes = fs::read(file).expect("a log file");
    let mut at = 4;
    while at < bytes.len() / 2 {
        let size: [u8; 4] = bytes[at + 9..at + 13].try_into().expect("four bytes");
        at += u32::from_le_bytes(size) as usize;
    }
    at as u32
}

// ---------------------------------------------------------------------------------- the servers' tools

fn tool(kind: Kind, port: u16, arguments: &[String]) -> Command {
    let mut command = program(kind, "binlog");
    if kind == Kind::MariaDb {
        // One GTID domain, but the workload's other one begins late.
        command.arg("--skip-gtid-strict-mode");
    }
    let is_by_gtid = |word: &String| word.starts_with("--read-from-remote-source");
    if !arguments.iter().any(is_by_gtid) {
        command.arg("--read-from-remote-server");
    }
    command.args([
        "--host=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--user={REPL_USER}"),
        format!("--password={REPL_PASSWORD}"),
    ]);
    command.args(arguments);
    command
}

async fn binlog_tool(binlog: &SameBinlog, table: &mut Comparison) {
    let kind = binlog.kind();
    let names = binlog.file_names();
    let middle = middle_of(&binlog.files[0]);
    let text = |arguments: &[&str]| {
        arguments
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let mut all = text(&["-vv", "--verify-binlog-checksum"]);
    all.extend(names.iter().cloned());
    let now = binlog
        .source
        .value("SELECT NOW() - INTERVAL 1 DAY")
        .await
        .expect("a time");
    let later = binlog
        .source
        .value("SELECT NOW() + INTERVAL 1 DAY")
        .await
        .expect("a time");
    let mut cases = vec![
        ("all files, -vv", all),
        (
            "--start-position",
            vec![format!("--start-position={middle}"), names[0].clone()],
        ),
        (
            "--stop-position",
            vec![format!("--stop-position={middle}"), names[0].clone()],
        ),
        (
            "--start-datetime --stop-datetime",
            vec![
                format!("--start-datetime={now}"),
                format!("--stop-datetime={later}"),
                names[1].clone(),
            ],
        ),
        (
            "--stop-datetime before all",
            vec![format!("--stop-datetime={now}"), names[0].clone()],
        ),
    ];
    if kind == Kind::MySql {
        let uuid = binlog
            .source
            .value("SELECT @@server_uuid")
            .await
            .expect("a uuid");
        let mut arguments = vec![
            "--read-from-remote-source=BINLOG-DUMP-GTIDS".to_owned(),
            format!("--exclude-gtids={uuid}:1-20:30-33"),
        ];
        arguments.extend(names.iter().cloned());
        cases.push(("BINLOG-DUMP-GTIDS --exclude-gtids", arguments));
    }
    let files = tempfile::tempdir().expect("a temporary directory");
    for (what, mut arguments) in cases {
        arguments.insert(0, format!("--local-load={}", files.path().display()));
        let [relay, master] = ports(binlog).map(|port| {
            for file in fs::read_dir(files.path()).expect("a directory") {
                fs::remove_file(file.expect("a file").path()).expect("it goes");
            }
            lines_of(tool(kind, port, &arguments))
        });
        table.add(&format!("binlog tool {what}"), &relay, &master);
    }
    raw_files(binlog, table);
}

/// `--raw` writes the very bytes of the files.
fn raw_files(binlog: &SameBinlog, table: &mut Comparison) {
    let original: Vec<Vec<u8>> = binlog
        .files
        .iter()
        .map(|file| fs::read(file).expect("a file"))
        .collect();
    let [relay, master] = ports(binlog).map(|port| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut arguments = vec![
            "--raw".to_owned(),
            format!("--result-file={}/", directory.path().display()),
        ];
        arguments.extend(binlog.file_names());
        lines_of(tool(binlog.kind(), port, &arguments));
        let names = binlog.file_names();
        let read = names
            .iter()
            .map(|name| fs::read(directory.path().join(name)).expect("a file"));
        read.collect::<Vec<_>>()
    });
    table.add("binlog tool --raw, files byte for byte", &relay, &master);
    table.add(
        "binlog tool --raw, and the relay's own files",
        &relay,
        &original,
    );
}

// ---------------------------------------------------------------------------------- drivers

fn run_driver(client: &str, options: &Value) -> Vec<String> {
    let mut command = driver(client);
    command.arg(options.to_string());
    lines_of(command)
}

async fn drivers(binlog: &SameBinlog, table: &mut Comparison) {
    let is_mariadb = binlog.kind() == Kind::MariaDb;
    let first = binlog.file_names()[0].clone();
    let gtid = match binlog.kind() {
        Kind::MySql => {
            let uuid = binlog
                .source
                .value("SELECT @@server_uuid")
                .await
                .expect("a uuid");
            format!("{uuid}:1-20")
        }
        Kind::MariaDb => "0-1-20".to_owned(),
    };
    let schema = json!({ DATABASE: ["things"] });
    let by_file = json!({"file": first, "position": 4});
    let with_columns =
        json!({"file": first, "position": 4, "metadata": tables(binlog.source.port)});
    let by_gtid = json!({"gtid": gtid});
    let gtid_with_columns = json!({"gtid": gtid, "metadata": tables(binlog.source.port)});
    let mut cases = vec![
        ("mysql-replication", "GTID", &by_gtid),
        ("@vlasky/zongji", "file and position", &with_columns),
        ("@vlasky/zongji", "GTID", &gtid_with_columns),
        (
            "@powersync/mysql-zongji",
            "file and position",
            &with_columns,
        ),
    ];
    if !is_mariadb {
        // With is_mariadb the package always asks for the first file; without, for MySQL's way.
        cases.push(("mysql-replication", "file and position", &by_file));
        cases.push((
            "mysql-replication",
            "file and position, with column names",
            &with_columns,
        ));
    }
    for (client, what, options) in cases {
        let [relay, master] = ports(binlog).map(|port| {
            let mut options = options.clone();
            options["server"] = server(port);
            options["stop_file"] = json!(binlog.stop_file());
            options["mariadb"] = json!(is_mariadb);
            options["schema"] = schema.clone();
            run_driver(client, &options)
        });
        table.add(&format!("{client}, {what}"), &relay, &master);
    }
}

// ---------------------------------------------------------------------------------- waiting clients

/// Clients that wait at the end receive what is written next.
async fn waiting(binlog: &SameBinlog, table: &mut Comparison) {
    let kind = binlog.kind();
    let newest = binlog.stop_file();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let raw = format!("--result-file={}/raw-", directory.path().display());
    let arguments = [
        "--raw".to_owned(),
        "--stop-never".to_owned(),
        raw,
        newest.clone(),
    ];
    let options = json!({
        "server": server(binlog.relay.port), "file": newest, "position": 4, "blocking": true,
        "gtid": if kind == Kind::MariaDb { json!("") } else { Value::Null },
        "mariadb": kind == Kind::MariaDb, "metadata": tables(binlog.source.port), "schema": {DATABASE: ["things"]},
    });
    let mut clients = vec![(
        "binlog tool --raw --stop-never",
        tool(kind, binlog.relay.port, &arguments),
    )];
    for client in [
        "mysql-replication",
        "@vlasky/zongji",
        "@powersync/mysql-zongji",
    ] {
        let mut command = driver(client);
        let mut options = options.clone();
        if client != "mysql-replication" {
            options["gtid"] = Value::Null;
        }
        command.arg(options.to_string());
        clients.push((client, command));
    }
    let clients: Vec<_> = clients
        .into_iter()
        .map(|(name, command)| (name, Waiting::start(command)))
        .collect();
    let written = "written while they wait";
    tokio::time::sleep(Duration::from_millis(500)).await;
    let insert = format!("INSERT INTO {DATABASE}.things (name) VALUES ('{written}')");
    binlog.source.sql(&insert).await;
    let deadline = Deadline::after_secs(60);
    for (name, client) in &clients {
        let received = || {
            let mut bytes = client.printed();
            if name.contains("--raw") {
                let file = directory.path().join(format!("raw-{newest}"));
                bytes = fs::read(file).unwrap_or_default();
            }
            bytes
                .windows(written.len())
                .any(|part| part == written.as_bytes())
        };
        while !received() {
            assert!(
                !deadline.passed(),
                "{name}: nothing has come in {} s",
                deadline.limit_secs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        table.add(&format!("{name}, waiting"), &[written], &[written]);
    }
}
