//! A source, the relay and a replica for the tools, and how a tool is run.

use std::fmt::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::http::get;
use crate::support::programs::{trade, wait_limited};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{assert_healthy, attach, settle};
use crate::support::servers::{Kind, REPL_PASSWORD, REPL_USER, Server, ServerOptions, free_port};
use crate::support::tables::assert_same_tables_where;
use crate::support::topology::{Mode, replica_options};

/// No tool needs longer here.
const LIMIT: Duration = Duration::from_secs(60);

/// Nothing, or what is wrong.
pub type Outcome = Result<(), String>;

/// A source, the relay and a replica. The account of the source and of the replica may do everything.
pub struct Stage {
    pub kind: Kind,
    pub source: Server,
    pub relay: Relay,
    pub replica: Server,
    http: u16,
}

impl Stage {
    pub async fn start(kind: Kind, mode: Mode) -> Stage {
        let mut options = ServerOptions::new(86);
        // pt-table-checksum has statements that must be replicated as such.
        options.binlog_format = Some("MIXED");
        // Where pt-slave-find connects to.
        let of_replica = replica_options(kind, 11).extra("--report-host=127.0.0.1");
        let (source, replica) = tokio::join!(
            Server::start(kind, options),
            Server::start(kind, of_replica),
        );
        for server in [&source, &replica] {
            let grant = format!("SET sql_log_bin = 0; GRANT ALL ON *.* TO {REPL_USER}@'%'");
            server.sql(&grant).await;
        }
        source
            .sql(
                "CREATE DATABASE test; CREATE DATABASE percona; CREATE TABLE test.t (id INT PRIMARY KEY, v VARCHAR(9)); \
                 INSERT INTO test.t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
            )
            .await;
        let http = free_port();
        let mut options = RelayOptions::new(vec![SourceOptions::of("m1", &source)]);
        options.replicate_do_db = Vec::new();
        let host = "report_host = \"127.0.0.1\"".to_owned();
        options.relay_extra.push(host);
        options.admin_extra = vec![
            format!("http = \"127.0.0.1:{http}\""),
            "[[user]]\nname = \"haproxy\"\npassword = \"\"\nprivileges = []".to_owned(),
            "[[user]]\nname = \"monitor\"\npassword = \"\"\nprivileges = [\"monitor\"]".to_owned(),
        ];
        let relay = Relay::start(options);
        relay.wait_streaming().await;
        let at = mode.start_at("relay-bin");
        attach(&replica, RELAY_HOST, relay.port, &at, "").await;
        let stage = Stage {
            kind,
            source,
            relay,
            replica,
            http,
        };
        stage.settle().await;
        stage
    }

    /// Waits until the replica has everything.
    pub async fn settle(&self) {
        settle(&[&self.source], &[&self.replica], 60).await;
    }

    /// The replica has what the source has, and nothing went wrong.
    pub async fn finish(&self) {
        self.settle().await;
        assert_healthy(&self.replica).await;
        for database in ["test", "percona"] {
            // pt-table-checksum writes its results where it finds them.
            let is_same = |name: &str| name != "checksums";
            assert_same_tables_where(&self.source, &self.replica, database, is_same).await;
        }
        assert_eq!(get(self.http, "/metrics", "").0, 200);
    }
}

/// A DSN of Percona Toolkit.
pub fn dsn(port: u16) -> String {
    format!("h=127.0.0.1,P={port},u={REPL_USER},p={REPL_PASSWORD}")
}

/// A tool that has ended.
pub struct Ended {
    command: String,
    code: Option<i32>,
    text: String,
}

/// Runs a command to its end.
pub fn ended(command: &mut Command) -> Ended {
    let output = tempfile::NamedTempFile::new().expect("a file");
    let stdout = output.reopen().expect("it opens");
    let stderr = stdout.try_clone().expect("a handle");
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let child = command.process_group(0).spawn();
    let status = wait_limited(child.expect("it can be run"), LIMIT);
    let text = std::fs::read(output.path()).expect("its output");
    Ended {
        command: format!("{command:?}"),
        code: status.code(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// Runs an administrator's tool to its end.
pub fn tool(name: &str, arguments: &[&str]) -> Ended {
    ended(trade("administration", name).args(arguments))
}

impl Ended {
    /// What it printed, if it succeeded.
    pub fn ok(self) -> Result<String, String> {
        self.with_code(0)
    }

    /// What it printed, if it has ended with this status.
    pub fn with_code(self, code: i32) -> Result<String, String> {
        match self.code == Some(code) {
            true => Ok(self.text),
            false => Err(self.failure(&format!("exit status {code} was expected"))),
        }
    }

    /// It must have failed with a message that has these parts.
    pub fn fails_with(self, parts: &[&str]) -> Outcome {
        let is_failure = self.code.is_some_and(|code| code != 0);
        match is_failure && parts.iter().all(|part| self.text.contains(part)) {
            true => Ok(()),
            false => Err(self.failure(&format!("a failure with {parts:?} was expected"))),
        }
    }

    fn failure(&self, what: &str) -> String {
        let code = self
            .code
            .map_or("it did not end".to_owned(), |code| code.to_string());
        format!("{what}, found {code}: {}\n{}", self.command, self.text)
    }
}

/// Fails if a part is missing.
pub fn has(text: &str, parts: &[&str]) -> Outcome {
    let missing = parts.iter().find(|part| !text.contains(**part));
    missing.map_or(Ok(()), |part| Err(format!("no {part:?} in:\n{text}")))
}

/// What is wrong, of all tools.
#[derive(Default)]
pub struct Findings {
    list: Vec<String>,
    table: String,
    /// Lines of the relay's log that were looked at.
    seen: usize,
}

impl Findings {
    /// Adds what a tool has come to, and what the relay has logged about it.
    pub fn add(&mut self, stage: &Stage, name: &str, outcome: Outcome) {
        let log = stage.relay.log();
        let lines: Vec<&str> = log.lines().collect();
        let logged: Vec<&str> = lines[self.seen..]
            .iter()
            .filter(|line| line.contains(" WARN ") || line.contains("ERROR "))
            .copied()
            .collect();
        self.seen = lines.len();
        let is_good = outcome.is_ok() && logged.is_empty();
        let _ = writeln!(
            self.table,
            "{name:<30} {}",
            if is_good { "ok" } else { "FAILED" }
        );
        if let Err(error) = outcome {
            self.list.push(format!("{name}: {error}"));
        }
        if !logged.is_empty() {
            self.list
                .push(format!("{name}: the relay's log: {logged:#?}"));
        }
    }

    pub fn assert_none(&self, kind: Kind) {
        println!("{}\n{}", kind.name(), self.table);
        assert!(
            self.list.is_empty(),
            "{}:\n{}",
            kind.name(),
            self.list.join("\n----\n")
        );
    }
}
