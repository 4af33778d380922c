//! Administrators' tools, run against the relay, its source and its replica (BINRELAY_PROFILE=long): Percona Toolkit, mydumper,
//! mycli, mysqladmin, mysqld_exporter, HAProxy and promtool, from `tools/trade`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support;
use crate::support::http::get;
use crate::support::programs::{program, trade, wait_limited};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{attach, settle};
use crate::support::servers::{
    Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, free_port, signal,
};
use crate::support::topology::{Mode, replica_options, run_for};

/// No tool needs longer here.
const LIMIT: Duration = Duration::from_secs(60);

/// A source, the relay and a replica, whose account may do everything.
struct Stage {
    source: Server,
    relay: Relay,
    replica: Server,
    http: u16,
}

impl Stage {
    async fn start(kind: Kind, mode: Mode) -> Stage {
        let mut options = ServerOptions::new(86);
        options.gtid = mode.has_gtids();
        let source = Server::start(kind, options).await;
        let mut options = replica_options(kind, 11);
        options.gtid = mode.has_gtids();
        let replica = Server::start(kind, options).await;
        source
            .sql(
                "CREATE DATABASE test; CREATE DATABASE percona; CREATE TABLE test.t (id INT PRIMARY KEY, v VARCHAR(9)); \
                 INSERT INTO test.t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
            )
            .await;
        for server in [&source, &replica] {
            let grant = format!("SET sql_log_bin = 0; GRANT ALL ON *.* TO {REPL_USER}@'%'");
            server.sql(&grant).await;
        }
        let http = free_port();
        let mut options = RelayOptions::new(vec![SourceOptions::of("m1", &source)]);
        options.replicate_do_db = Vec::new();
        options
            .relay_extra
            .push("report_host = \"127.0.0.1\"".to_owned());
        options.admin_extra = vec![
            format!("http = \"127.0.0.1:{http}\""),
            "[[user]]\nname = \"haproxy\"\npassword = \"\"\nprivileges = []".to_owned(),
        ];
        let relay = Relay::start(options);
        relay.wait_streaming().await;
        attach(
            &replica,
            RELAY_HOST,
            relay.port,
            &mode.start_at("relay-bin"),
            "",
        )
        .await;
        settle(&[&source], &[&replica], 30).await;
        Stage {
            source,
            relay,
            replica,
            http,
        }
    }

    /// A DSN of Percona Toolkit.
    fn dsn(port: u16) -> String {
        format!("h=127.0.0.1,P={port},u={REPL_USER},p={REPL_PASSWORD}")
    }
}

/// What a program prints, and its exit status.
fn output(command: &mut Command) -> (i32, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("output");
    let file = std::fs::File::create(&path).expect("a file");
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a handle"))
        .stderr(file)
        .spawn()
        .expect("it can be run");
    let status = wait_limited(child, LIMIT);
    let text = std::fs::read(&path).expect("its output");
    let text = String::from_utf8_lossy(&text).into_owned();
    (status.code().unwrap_or(-1), text)
}

/// What an administrator's tool prints; it must end with this status.
fn tool(status: i32, name: &str, arguments: &[&str]) -> String {
    let (found, text) = output(trade("administration", name).args(arguments));
    assert_eq!(found, status, "{name} {arguments:?}: {text}");
    text
}

fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part}: {text}");
    }
}

fn mysqladmin(stage: &Stage) {
    for (command, part) in [
        ("ping", "mysqld is alive"),
        ("status", "Uptime: "),
        ("processlist", "Binlog Dump"),
        ("variables", "| server_id "),
        ("extended-status", "| Threads_running "),
        ("flush-logs", ""),
    ] {
        let mut admin = program(stage.source.kind, "admin");
        admin.args(["-h127.0.0.1", &format!("-P{}", stage.relay.port)]);
        admin.args([format!("-u{REPL_USER}"), format!("-p{REPL_PASSWORD}")]);
        // FLUSH needs the account with admin.
        if command == "flush-logs" {
            admin.arg(format!("-u{}", support::servers::UNPRIVILEGED_USER));
        }
        let (status, text) = output(admin.arg(command));
        assert_eq!(status, 0, "{command}: {text}");
        assert_has(&text, &[part]);
    }
}

fn consoles(stage: &Stage) {
    let port = stage.relay.port.to_string();
    let text = tool(
        0,
        "mycli",
        &[
            "-h",
            "127.0.0.1",
            "-P",
            &port,
            "-u",
            REPL_USER,
            &format!("-p{REPL_PASSWORD}"),
            "-e",
            "SELECT @@server_id AS the_id, @@version_comment",
        ],
    );
    assert_has(&text, &["the_id", "900", "binrelay"]);
}

/// The relay between the source and the replica, each with its state.
fn slave_find(stage: &Stage) {
    for (from, depth) in [(stage.source.port, 2), (stage.relay.port, 1)] {
        let port = from.to_string();
        let text = tool(
            0,
            "pt-slave-find",
            &[
                "--host",
                "127.0.0.1",
                "--port",
                &port,
                "--user",
                REPL_USER,
                "--password",
                REPL_PASSWORD,
                "--recursion-method",
                "hosts",
            ],
        );
        assert_has(&text, &["Server ID       900", "Server ID       11"]);
        assert_has(&text, &["0 seconds behind, running, no errors"]);
        assert_eq!(text.matches("+- 127.0.0.1:").count(), depth, "{text}");
    }
}

fn heartbeat(stage: &Stage) {
    let (source, replica) = (
        Stage::dsn(stage.source.port),
        Stage::dsn(stage.replica.port),
    );
    let update = [
        "--update",
        "--create-table",
        "--run-time",
        "3",
        "--interval",
        "1",
    ];
    tool(
        0,
        "pt-heartbeat",
        &[&[&*source, "-D", "percona"], &update[..]].concat(),
    );
    let check = [
        &*replica,
        "-D",
        "percona",
        "--check",
        "--no-insert-heartbeat-row",
    ];
    let named = [&check[..], &["--master-server-id", "86"]].concat();
    let text = tool(0, "pt-heartbeat", &named);
    let lag = text
        .lines()
        .filter_map(|line| line.trim().parse::<f64>().ok());
    assert!(lag.last().is_some_and(|lag| lag < 60.0), "{text}");
    // Without the number it asks the relay, and finds no row of it.
    let (status, text) = output(trade("administration", "pt-heartbeat").args(check));
    assert_ne!(status, 0, "{text}");
    assert_has(&text, &["server_id 900"]);
}

async fn table_checksum(stage: &Stage) {
    let source = Stage::dsn(stage.source.port);
    let replica = Stage::dsn(stage.replica.port);
    stage
        .source
        .sql(&format!(
            "CREATE TABLE percona.dsns (id INT PRIMARY KEY AUTO_INCREMENT, parent_id INT, dsn VARCHAR(255)); \
             INSERT INTO percona.dsns (dsn) VALUES ('{replica}')"
        ))
        .await;
    let method = format!("--recursion-method=dsn={source},D=percona,t=dsns");
    let arguments = [
        &*source,
        "--databases",
        "test",
        "--no-check-binlog-format",
        "--replicate",
        "percona.checksums",
        &method,
    ];
    tool(0, "pt-table-checksum", &arguments);
    stage
        .replica
        .sql("SET sql_log_bin = 0; UPDATE test.t SET v = 'x' WHERE id = 2")
        .await;
    // 16: there are differences.
    let text = tool(16, "pt-table-checksum", &arguments);
    assert_has(&text, &["test.t"]);
    let text = tool(
        2,
        "pt-table-sync",
        &[
            "--print",
            "--no-check-slave",
            "--databases",
            "test",
            &source,
            &replica,
        ],
    );
    assert_has(&text, &["REPLACE INTO `test`.`t`"]);
    stage
        .replica
        .sql("SET sql_log_bin = 0; UPDATE test.t SET v = 'b' WHERE id = 2")
        .await;
}

/// A dump of a replica names the relay's coordinates.
fn dump(stage: &Stage, directory: &Path) {
    let port = stage.replica.port.to_string();
    let target = directory.join("dump");
    let target = target.to_str().expect("UTF-8");
    let arguments = [
        "-h",
        "127.0.0.1",
        "-P",
        &port,
        "-u",
        REPL_USER,
        "-p",
        REPL_PASSWORD,
        "-B",
        "test",
        "-o",
        target,
    ];
    tool(0, "mydumper", &arguments);
    let metadata = std::fs::read_to_string(directory.join("dump/metadata")).expect("metadata");
    assert_has(&metadata, &["SHOW SLAVE STATUS", "relay-bin.00000"]);
}

/// A program that runs until it is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Running(
            command
                .stderr(Stdio::null())
                .spawn()
                .expect("it can be run"),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        signal(&self.0, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Waits until the port answers.
async fn wait_for_port(port: u16) {
    let deadline = support::Deadline::after_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(!deadline.passed(), "nothing listens at {port}");
        run_for(100).await;
    }
}

async fn exporter(stage: &Stage) {
    let port = free_port();
    let mut command = trade("administration", "prometheus-mysqld-exporter");
    command.args([
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--collect.slave_hosts".to_owned(),
        "--collect.binlog_size".to_owned(),
        "--collect.info_schema.processlist".to_owned(),
        "--collect.engine_innodb_status".to_owned(),
    ]);
    let address = format!(
        "{REPL_USER}:{REPL_PASSWORD}@(127.0.0.1:{})/",
        stage.relay.port
    );
    let _running = Running::start(command.env("DATA_SOURCE_NAME", address));
    wait_for_port(port).await;
    let (_, _, metrics) = get(port, "/metrics", "");
    assert_has(
        &metrics,
        &[
            "\nmysql_up 1\n",
            "\nmysql_exporter_last_scrape_error 0\n",
            "mysql_slave_status_slave_io_running{",
            "mysql_binlog_files ",
        ],
    );
}

/// HAProxy's checks in each form find the relay, and write nothing to its log.
async fn haproxy(stage: &Stage, directory: &Path) {
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let forms = [
        "option mysql-check user haproxy post-41",
        "option mysql-check user haproxy",
        "option mysql-check",
        "option tcp-check",
    ];
    let mut text =
        "defaults\n mode tcp\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n"
            .to_owned();
    for (port, form) in ports.iter().zip(forms) {
        text.push_str(&format!(
            "listen l{port}\n bind 127.0.0.1:{port}\n {form}\n server relay 127.0.0.1:{} check inter 200\n",
            stage.relay.port
        ));
    }
    let file = directory.join("haproxy.cfg");
    std::fs::write(&file, text).expect("written");
    let before = stage.relay.log().lines().count();
    let mut command = trade("administration", "haproxy");
    let _running = Running::start(command.args(["-db", "-f", file.to_str().expect("UTF-8")]));
    for port in &ports {
        wait_for_port(*port).await;
    }
    run_for(5000).await;
    let log = stage.relay.log();
    let written: Vec<&str> = log.lines().skip(before).collect();
    assert_eq!(written, [""; 0], "checks are not logged");
    for port in ports {
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some(REPL_USER))
            .pass(Some(REPL_PASSWORD));
        let mut conn = mysql_async::Conn::new(opts)
            .await
            .expect("the relay through HAProxy");
        let id: Option<u32> =
            mysql_async::prelude::Queryable::query_first(&mut conn, "SELECT @@server_id")
                .await
                .expect("an answer");
        assert_eq!(id, Some(900));
    }
}

/// The alert rules are what Prometheus reads, and do what they should.
#[test]
fn alert_rules_pass_their_tests() {
    if support::profile() != support::Profile::Long {
        return;
    }
    let directory = tempfile::TempDir::new_in("/tmp").expect("a directory");
    let monitoring = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/monitoring");
    for name in ["prometheus-rules.yml", "prometheus-rules.test.yml"] {
        std::fs::copy(monitoring.join(name), directory.path().join(name)).expect("copied");
    }
    let file = |name: &str| directory.path().join(name).display().to_string();
    tool(
        0,
        "promtool",
        &["check", "rules", &file("prometheus-rules.yml")],
    );
    tool(
        0,
        "promtool",
        &["test", "rules", &file("prometheus-rules.test.yml")],
    );
}

async fn tools_work(kind: Kind, mode: Mode) {
    if support::profile() != support::Profile::Long {
        return;
    }
    let _turn = support::turn();
    // The tools see /tmp.
    let directory = tempfile::TempDir::new_in("/tmp").expect("a directory");
    let stage = Stage::start(kind, mode).await;
    mysqladmin(&stage);
    consoles(&stage);
    slave_find(&stage);
    heartbeat(&stage);
    table_checksum(&stage).await;
    dump(&stage, directory.path());
    exporter(&stage).await;
    haproxy(&stage, directory.path()).await;
    let (status, _, _) = get(stage.http, "/metrics", "");
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_work_with_mariadb() {
    tools_work(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

/// Percona Toolkit of Debian 12 does not know the statements of MySQL 8.4 and later.
#[tokio::test(flavor = "multi_thread")]
async fn tools_work_with_mysql_5_6() {
    tools_work(Kind::MySql56, Mode::MySqlNoGtids).await;
}
