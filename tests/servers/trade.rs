//! Administrators' tools, run against the relay, its source and its replica (BINRELAY_PROFILE=long): mysqladmin, the dump
//! programs, mycli, Percona Toolkit, mydumper, mysqld_exporter, HAProxy and promtool, from `tools/trade` and `tools/server`.
//!
//! Each tool must do what an administrator uses it for, and the relay must not log a warning about it. What cannot work
//! must say why.

mod percona;
mod probes;
mod stage;

use std::path::Path;

use mysql_async::prelude::Queryable;

use crate::support;
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, UNPRIVILEGED_USER, program};
use crate::support::topology::Mode;
use stage::{Findings, Outcome, Stage, ended, has, tool};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn tools_work_with_mariadb_10_11() {
    tools_work(Kind::MariaDb, Mode::MariaDbSlavePos).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn tools_work_with_mysql_9_7() {
    tools_work(Kind::MySql, Mode::MySqlAutoPosition).await;
}

/// MySQL 9.7 refuses statements of Percona Toolkit's main tools, which 5.6 executes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn tools_work_with_mysql_5_6() {
    tools_work(Kind::MySql56, Mode::MySqlAutoPosition).await;
}

async fn tools_work(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    // The tools see /tmp.
    let directory = tempfile::TempDir::new_in("/tmp").expect("a directory");
    let stage = Stage::start(kind, mode).await;
    let mut found = Findings::default();
    found.add(&stage, "mysqladmin", mysqladmin(&stage).await);
    found.add(&stage, "mysqladmin, refused", mysqladmin_refused(&stage));
    found.add(&stage, "mycli", mycli(&stage));
    found.add(
        &stage,
        "the server's dump program",
        dump(&stage, directory.path()),
    );
    found.add(&stage, "mydumper", mydumper(&stage, directory.path()));
    found.add(&stage, "pt-slave-find", percona::slave_find(&stage));
    found.add(&stage, "pt-heartbeat", percona::heartbeat(&stage).await);
    found.add(
        &stage,
        "pt-table-checksum",
        percona::table_checksum(&stage).await,
    );
    found.add(&stage, "pt-table-sync", percona::table_sync(&stage).await);
    found.add(
        &stage,
        "pt-online-schema-change",
        percona::schema_change(&stage).await,
    );
    found.add(&stage, "pt-kill", percona::kill(&stage));
    found.add(
        &stage,
        "pt-variable-advisor",
        percona::variable_advisor(&stage),
    );
    found.add(&stage, "pt-show-grants", percona::show_grants(&stage));
    found.add(&stage, "pt-mysql-summary", percona::mysql_summary(&stage));
    found.add(&stage, "mysqld_exporter", probes::exporter(&stage).await);
    found.add(
        &stage,
        "HAProxy",
        probes::haproxy(&stage, directory.path()).await,
    );
    stage.finish().await;
    found.assert_none(kind);
}

/// The server's own mysqladmin; statements that change something need the account with `admin`.
fn admin(stage: &Stage, user: &str, words: &[&str]) -> stage::Ended {
    let mut command = program(stage.kind, "admin");
    command.args([
        "--host=127.0.0.1".to_owned(),
        format!("--port={}", stage.relay.port),
    ]);
    command.args([
        format!("--user={user}"),
        format!("--password={REPL_PASSWORD}"),
    ]);
    ended(command.args(words))
}

async fn mysqladmin(stage: &Stage) -> Outcome {
    for (command, part) in [
        ("ping", "mysqld is alive"),
        ("version", "Server version"),
        ("status", "Uptime: "),
        ("processlist", "Binlog Dump"),
        ("variables", "| server_id "),
        ("extended-status", "| Threads_running "),
    ] {
        has(&admin(stage, REPL_USER, &[command]).ok()?, &[part])?;
    }
    let files = stage.relay.log_files().len();
    admin(stage, UNPRIVILEGED_USER, &["flush-logs"]).ok()?;
    if stage.relay.log_files().len() != files + 1 {
        return Err("flush-logs: no new file".to_owned());
    }
    let word = if stage.kind.says_replica() {
        "replica"
    } else {
        "slave"
    };
    for (verb, state) in [("stop", "stopped"), ("start", "streaming")] {
        admin(stage, UNPRIVILEGED_USER, &[&format!("{verb}-{word}")]).ok()?;
        support::administration::wait_state(&stage.relay, "m1", state).await;
    }
    // A connection that waits.
    let opts = support::administration::account(&stage.relay, REPL_USER);
    let mut conn = mysql_async::Conn::new(opts).await.expect("a connection");
    let id = conn.id().to_string();
    admin(stage, UNPRIVILEGED_USER, &["kill", &id]).ok()?;
    match conn.query_drop("SELECT 1").await {
        Ok(()) => Err(format!("connection {id} was not killed")),
        Err(_) => Ok(()),
    }
}

/// The relay holds no data, and is stopped by the service manager.
fn mysqladmin_refused(stage: &Stage) -> Outcome {
    for words in [&["create", "new"][..], &["--force", "drop", "test"]] {
        admin(stage, UNPRIVILEGED_USER, words).fails_with(&["This is binrelay"])?;
    }
    // MySQL's sends a statement, MariaDB's a command.
    let text = match stage.kind.is_mysql() {
        true => "This is binrelay",
        false => "Unknown command",
    };
    admin(stage, UNPRIVILEGED_USER, &["shutdown"]).fails_with(&[text])
}

fn mycli(stage: &Stage) -> Outcome {
    let port = stage.relay.port.to_string();
    let password = format!("-p{REPL_PASSWORD}");
    let login = [
        "-h",
        "127.0.0.1",
        "-P",
        &port,
        "-u",
        REPL_USER,
        &password,
        "-e",
    ];
    let execute = |statement| tool("mycli", &[&login[..], &[statement]].concat()).ok();
    let text = execute("SELECT @@server_id AS the_id, @@version_comment")?;
    has(&text, &["the_id", "900", "binrelay"])?;
    // MySQL 5.6 has no names of channels.
    let (statement, parts): (_, &[&str]) =
        match (stage.kind.is_mariadb(), stage.kind.says_replica()) {
            (true, _) => ("SHOW ALL SLAVES STATUS", &["m1", "127.0.0.1"]),
            (false, true) => ("SHOW REPLICA STATUS", &["m1", "127.0.0.1"]),
            (false, false) => ("SHOW SLAVE STATUS", &["127.0.0.1"]),
        };
    has(&execute(statement)?, parts)
}

/// `mysqldump` or `mariadb-dump`: a dump of the replica names the relay's coordinates; the relay has no tables.
fn dump(stage: &Stage, directory: &Path) -> Outcome {
    let dump = |port: u16, word: &str| {
        let mut command = program(stage.kind, "dump");
        command.args(["--host=127.0.0.1".to_owned(), format!("--port={port}")]);
        command.args([
            format!("--user={REPL_USER}"),
            format!("--password={REPL_PASSWORD}"),
        ]);
        command.args(["--no-tablespaces", "--databases", "test", word]);
        ended(command.arg(format!(
            "--result-file={}",
            directory.join("dump.sql").display()
        )))
    };
    let word = match stage.kind.says_replica() {
        true => "--dump-replica=2",
        false => "--dump-slave=2",
    };
    dump(stage.replica.port, word).ok()?;
    let text = std::fs::read_to_string(directory.join("dump.sql")).unwrap_or_default();
    has(&text, &["relay-bin.00000", "CREATE TABLE `t`"])?;
    dump(stage.relay.port, "--single-transaction").fails_with(&["This is binrelay"])
}

fn mydumper(stage: &Stage, directory: &Path) -> Outcome {
    let dump = |port: u16, name: &str| {
        let (port, target) = (port.to_string(), directory.join(name));
        let target = target.to_str().expect("UTF-8");
        let login = [
            "-h",
            "127.0.0.1",
            "-P",
            &port,
            "-u",
            REPL_USER,
            "-p",
            REPL_PASSWORD,
        ];
        tool(
            "mydumper",
            &[&login[..], &["-B", "test", "-o", target]].concat(),
        )
    };
    if stage.kind == Kind::MySql {
        // Its SHOW MASTER STATUS and SHOW SLAVE STATUS are errors, which it does not report.
        dump(stage.replica.port, "replica").ok()?;
    } else {
        dump(stage.replica.port, "replica").ok()?;
        let metadata = std::fs::read_to_string(directory.join("replica/metadata"));
        has(
            &metadata.unwrap_or_default(),
            &["SHOW SLAVE STATUS", "relay-bin.00000"],
        )?;
    }
    let parts = [
        "Couldn't acquire global lock",
        "This is binrelay",
        "Unknown database 'test'",
    ];
    dump(stage.relay.port, "relay").fails_with(&parts)
}

/// The alert rules are what Prometheus reads, and do what they should.
#[test]
#[ignore = "BINRELAY_PROFILE=long"]
fn alert_rules_pass_their_tests() {
    let directory = tempfile::TempDir::new_in("/tmp").expect("a directory");
    let monitoring = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/monitoring");
    let file = |name: &str| directory.path().join(name).display().to_string();
    for (verb, name) in [
        ("check", "prometheus-rules.yml"),
        ("test", "prometheus-rules.test.yml"),
    ] {
        std::fs::copy(monitoring.join(name), file(name)).expect("copied");
        let outcome = tool("promtool", &[verb, "rules", &file(name)]).ok();
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
}
