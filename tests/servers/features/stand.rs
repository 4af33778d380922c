//! Features of the servers, each tried through two relays, one of them with a filter.
//!
//! A [`Stand`] has one master, the two relays with a replica each, and a replica of the master
//! itself that filters as the second relay does. After each feature the first replica must hold
//! what the master holds, the second what that reference replica holds.

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use super::feature::{Cell, Feature};
use super::keyring;
use super::snapshot::{differences, snapshot, tables};
use crate::support::Deadline;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    StartAt, attach, has_mark, replica_status, retry_each_second, write_mark,
};
use crate::support::servers::{Kind, Server, ServerOptions};

/// A database name with all that is allowed in one.
pub const ODD_NAME: &str = "odd-näme \"q\" 'a'";
/// The databases that the filter keeps.
pub const KEPT: [&str; 2] = ["test", ODD_NAME];
/// How long replicas may take for one feature, in seconds.
const CATCH_UP_SECS: u64 = 60;

/// What is run before each script.
const FRESH: &[&str] = &[
    "DROP DATABASE IF EXISTS test",
    "CREATE DATABASE test",
    "DROP DATABASE IF EXISTS other",
    "CREATE DATABASE other",
    "USE other",
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200)) ENGINE=InnoDB",
    "INSERT INTO t VALUES (1, 'other')",
    "USE test",
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200)) ENGINE=InnoDB",
    "INSERT INTO t VALUES (1, 'test')",
];

pub struct Stand {
    pub master: Server,
    pub relays: [Relay; 2],
    /// Replicas of the relay without a filter, and of the one with it.
    pub replicas: [Server; 2],
    /// A replica of the master, with the filter.
    pub reference: Server,
    sessions: BTreeMap<u32, Conn>,
    /// Whether the system's tables are still of an older version.
    is_upgraded: bool,
    directory: TempDir,
}

impl Stand {
    pub async fn start(kind: Kind) -> Stand {
        Stand::start_behind(kind, kind).await
    }

    /// With replicas of another kind than their master.
    pub async fn start_behind(kind: Kind, replica_kind: Kind) -> Stand {
        let directory = tempfile::tempdir().expect("a temporary directory");
        write_files(&directory);
        let options = |id: u32| {
            // Servers are killed here, the machine is not: no need to wait for the disk.
            let mut options = ServerOptions::new(id)
                .extra("--sync-binlog=0")
                .extra("--innodb-flush-log-at-trx-commit=2")
                .extra("--max-allowed-packet=64M")
                .extra("--log-bin-trust-function-creators=1");
            // The default of 5.5 and 5.6, STATEMENT, cannot log the rows that a replica is sent.
            options.binlog_format = kind.is_before_57().then_some("MIXED");
            options
        };
        let of_master = match kind {
            Kind::MySql => keyring::with_keyring(options(86), &directory.path().join("keyring")),
            _ => options(86),
        };
        let reference = KEPT.iter().fold(options(13), |options, name| {
            options.extra(format!("--replicate-do-db={name}"))
        });
        let (master, first, second, reference) = tokio::join!(
            Server::start(kind, of_master),
            Server::start(replica_kind, options(11)),
            Server::start(replica_kind, options(12)),
            Server::start(replica_kind, reference),
        );
        let relay = |server_id, databases: &[&str]| {
            Relay::start(RelayOptions {
                server_id,
                replicate_do_db: databases.iter().map(|name| (*name).to_owned()).collect(),
                ..RelayOptions::new(vec![SourceOptions::of("m", &master)])
            })
        };
        let stand = Stand {
            relays: [relay(900, &[]), relay(901, &KEPT)],
            master,
            replicas: [first, second],
            reference,
            sessions: BTreeMap::new(),
            is_upgraded: false,
            directory,
        };
        stand.attach_replicas().await;
        stand
    }

    async fn attach_replicas(&self) {
        let kind = self.master.kind;
        let at = |basename: &str| match kind.is_mysql() && kind.has_gtids() {
            true => StartAt::AutoPosition,
            false => StartAt::first_file(basename),
        };
        let mut extra = retry_each_second(self.reference.kind).to_owned();
        for (relay, replica) in self.relays.iter().zip(&self.replicas) {
            relay.wait_streaming().await;
            attach(replica, RELAY_HOST, relay.port, &at("relay-bin"), &extra).await;
        }
        if self.reference.kind == Kind::MariaDb118 && self.master.kind != Kind::MariaDb118 {
            // By default it refuses a master without TLS.
            extra += ", MASTER_SSL=0";
        }
        let (master, at) = (self.master.port, at("mysql-bin"));
        attach(&self.reference, "127.0.0.1", master, &at, &extra).await;
    }

    /// Stops the relays; what they wrote must be in order.
    pub fn finish(mut self) {
        for relay in &mut self.relays {
            relay.terminate();
            relay.verify();
        }
    }

    /// The stand, if the next feature can be tried in it: after a failure, or when the relay has
    /// refused something, what has stopped would fail all that follows.
    pub fn still_good(self, cells: &[Cell; 2]) -> Option<Stand> {
        if cells.iter().any(|cell| matches!(cell, Cell::Failed(_))) {
            return None;
        }
        if cells.iter().any(|cell| matches!(cell, Cell::Refused(_))) {
            self.finish();
            return None;
        }
        Some(self)
    }

    /// Tries one feature: how it fared without filter and with it.
    pub async fn run(&mut self, feature: &Feature) -> [Cell; 2] {
        let kind = self.master.kind;
        self.sessions.clear();
        for statement in FRESH {
            self.statement(1, statement).await.expect(statement);
        }
        let lacking = feature.lacking_text(kind);
        let mut unsupported = None;
        for line in feature.lines(kind) {
            let Err(error) = self.line(line).await else {
                continue;
            };
            if line.starts_with('?') && lacking.is_some_and(|text| error.contains(text)) {
                unsupported = Some(error);
                break;
            }
            let cell = Cell::Failed(format!("{line}: {error}"));
            return [cell.clone(), cell];
        }
        self.sessions.clear();
        if let Some(text) = feature.refused_text(kind) {
            return [self.refusal(0, text).await, self.refusal(1, text).await];
        }
        let cells = [self.compare(0).await, self.compare(1).await];
        match (unsupported, lacking) {
            (Some(error), _) if cells == [Cell::Ok, Cell::Ok] => {
                let cell = Cell::NotSupported(error);
                [cell.clone(), cell]
            }
            (None, Some(text)) => {
                let cell = Cell::Failed(format!("nothing was refused with {text:?}"));
                [cell.clone(), cell]
            }
            _ => cells,
        }
    }

    /// One line of a script; see [`Feature`].
    async fn line(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim_start_matches('?');
        match line.strip_prefix('~').and_then(|rest| rest.split_once(' ')) {
            Some((code, rest)) => match self.simple_line(rest).await {
                Err(error) if error.contains(&format!("ERROR {code} ")) => Ok(()),
                other => Err(format!("error {code} was expected, not {other:?}")),
            },
            None => self.simple_line(line).await,
        }
    }

    async fn simple_line(&mut self, line: &str) -> Result<(), String> {
        if let Some(command) = line.strip_prefix('!') {
            return self.command(command).await;
        }
        match line.strip_prefix('@').and_then(|rest| rest.split_once(' ')) {
            Some((session, statement)) => {
                let session = session.parse().expect("a session's number");
                self.statement(session, statement).await
            }
            None => self.statement(1, line).await,
        }
    }

    async fn statement(&mut self, session: u32, statement: &str) -> Result<(), String> {
        let conn = match self.sessions.entry(session) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(self.master.connect().await)
            }
        };
        let dir = self.directory.path().display().to_string();
        let statement = statement.replace("{dir}", &dir).replace("{odd}", ODD_NAME);
        let result = conn.query_drop(&statement).await;
        result.map_err(|error| error.to_string())
    }

    /// What a script can do beside statements: `close N` ends a session; `relays` stops the relays
    /// and starts them again, `relays kill` kills them; `master OPTIONS` restarts the master, with
    /// options, `kill` kills it, `upgrade KIND` starts another version on its data; `wait` lets
    /// the replicas catch up; `stopped CODE` checks that each stops with that error, and resumes it
    /// after the transaction, `reference stopped CODE` checks that the reference stops.
    async fn command(&mut self, command: &str) -> Result<(), String> {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("close", session) => {
                let session = session.parse().expect("a session's number");
                if let Some(conn) = self.sessions.remove(&session) {
                    conn.disconnect().await.ok();
                }
            }
            ("relays", how) => {
                for relay in &mut self.relays {
                    match how {
                        "kill" => relay.kill9(),
                        _ => relay.terminate(),
                    }
                    relay.restart();
                }
            }
            // What follows is then applied after those events.
            ("wait", "") => {
                for which in [0, 1] {
                    self.wait(which).await?;
                }
            }
            ("master", options) => return self.restart_master(options).await,
            ("kill", "") => {
                self.sessions.clear();
                self.master.kill9();
                self.master.restart().await;
            }
            ("upgrade", name) => {
                self.sessions.clear();
                self.is_upgraded = true;
                self.master.terminate();
                self.master.kind = match name {
                    "mariadb-10.11" => Kind::MariaDb,
                    "mariadb-11.8" => Kind::MariaDb118,
                    _ => panic!("no such upgrade: {name}"),
                };
                self.master.restart().await;
            }
            ("stopped", code) => {
                for replica in self.replicas.iter().chain([&self.reference]) {
                    stopped(replica, code).await?;
                    skip_transaction(&self.master, replica).await;
                }
            }
            ("reference", stops) => {
                let code = stops.strip_prefix("stopped ").expect("an error code");
                stopped(&self.reference, code).await?;
            }
            _ => panic!("no such command: {command}"),
        }
        Ok(())
    }

    /// Restarts the master with options beyond its own; one that does not start is started again
    /// without them.
    async fn restart_master(&mut self, options: &str) -> Result<(), String> {
        self.sessions.clear();
        self.master.terminate();
        let dir = self.directory.path().display().to_string();
        let own = self.master.options.extra.clone();
        let added = options.split_whitespace();
        let added = added.map(|option| option.replace("{dir}", &dir));
        self.master.options.extra.extend(added);
        let started = self.master.try_spawn().await;
        self.master.options.extra = own;
        if started.is_err() {
            self.master.restart().await;
        }
        started
    }

    /// Waits until a replica, and what it is compared with, has all that the master wrote.
    async fn wait(&self, which: usize) -> Result<(), String> {
        let readers: &[&Server] = match which {
            0 => &[&self.replicas[0]],
            _ => &[&self.reference, &self.replicas[1]],
        };
        let end = End::of(&self.master).await;
        for reader in readers {
            if let Err(error) = end.reached_by(&self.master, reader).await {
                let sources = self.relays[which].status()["sources"].to_string();
                return Err(format!("{error}; relay: {sources}"));
            }
        }
        Ok(())
    }

    /// The relay must say the text of its source, which stops.
    async fn refusal(&self, which: usize, text: &str) -> Cell {
        let deadline = Deadline::after_secs(CATCH_UP_SECS);
        loop {
            let source = self.relays[which].source_status("m");
            let message = source["last_error"]["message"].as_str().unwrap_or("");
            if source["state"] == "failed" && message.contains(text) {
                return Cell::Refused(message.to_owned());
            }
            if deadline.passed() {
                return Cell::Failed(format!("not refused with {text:?}: {source}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn compare(&self, which: usize) -> Cell {
        if let Err(error) = self.wait(which).await {
            return Cell::Failed(error);
        }
        let expected = match which {
            0 => &self.master,
            _ => &self.reference,
        };
        let (expected, found) = match self.is_upgraded {
            // Routines and events cannot be read before mariadb-upgrade has run.
            true => (tables(expected).await, tables(&self.replicas[which]).await),
            false => (
                snapshot(expected).await,
                snapshot(&self.replicas[which]).await,
            ),
        };
        let dropped = expected.keys().any(|name| name.contains("`other`"));
        let kept = expected.keys().any(|name| name.contains("`test`"));
        assert!(
            kept && dropped == (which == 0),
            "the feature does not show what the filter keeps and drops: {expected:#?}"
        );
        let lines = differences(&expected, &found);
        match lines.is_empty() {
            true => Cell::Ok,
            false => Cell::Failed(lines.join("; ")),
        }
    }
}

/// Waits until a replica has everything that the master wrote, or returns the reason.
pub async fn caught_up(master: &Server, reader: &Server) -> Result<(), String> {
    End::of(master).await.reached_by(master, reader).await
}

/// Everything that a master has written, as a replica can be asked for it.
enum End {
    Gtids(String),
    /// Without GTIDs, a row that was written last.
    Mark(u64),
}

impl End {
    async fn of(master: &Server) -> End {
        let position = match master.kind {
            kind if kind.is_mariadb() => "SELECT @@GLOBAL.gtid_binlog_pos",
            kind if kind.has_gtids() => "SELECT @@GLOBAL.gtid_executed",
            _ => return End::Mark(write_mark(&[master]).await),
        };
        let position = master.value(position).await.unwrap_or_default();
        End::Gtids(position.replace('\n', ""))
    }

    async fn reached_by(&self, master: &Server, reader: &Server) -> Result<(), String> {
        let deadline = Deadline::after_secs(CATCH_UP_SECS);
        while !self.is_reached(master, reader).await {
            let status = replica_status(reader).await;
            if status.sql_running == "No" || status.io_running == "No" || deadline.passed() {
                let end = match self {
                    End::Gtids(position) => position.clone(),
                    End::Mark(mark) => format!("mark {mark}"),
                };
                return Err(format!("{reader}, not at {end}: {status:?}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn is_reached(&self, master: &Server, reader: &Server) -> bool {
        let position = match self {
            End::Gtids(position) => position,
            End::Mark(mark) => return has_mark(reader, master, *mark).await,
        };
        let query = match master.kind {
            kind if kind.is_mariadb() => format!("SELECT MASTER_GTID_WAIT('{position}', 1) = 0"),
            Kind::MySql56 => {
                format!("SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS('{position}', 1) >= 0")
            }
            _ => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 1) = 0"),
        };
        reader.value(&query).await.as_deref() == Some("1")
    }
}

/// Waits until a replica has stopped applying, which must be for this error.
async fn stopped(replica: &Server, code: &str) -> Result<(), String> {
    let deadline = Deadline::after_secs(CATCH_UP_SECS);
    loop {
        let status = replica_status(replica).await;
        if status.sql_running == "No" && status.sql_errno.to_string() == code {
            return Ok(());
        }
        if status.sql_running == "No" || deadline.passed() {
            return Err(format!("{replica}: not stopped by {code}: {status:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes a MySQL replica count the one transaction that it lacks as applied, and resumes it.
async fn skip_transaction(master: &Server, replica: &Server) {
    if !master.kind.has_gtids() {
        let skip = "SET GLOBAL sql_slave_skip_counter=1; START SLAVE";
        return replica.sql(skip).await;
    }
    let executed = master.value("SELECT @@GLOBAL.gtid_executed").await;
    let executed = executed.unwrap_or_default().replace('\n', "");
    let missing = format!("SELECT GTID_SUBTRACT('{executed}', @@GLOBAL.gtid_executed)");
    let missing = replica.value(&missing).await.unwrap_or_default();
    let skip = format!("SET GTID_NEXT='{missing}'; BEGIN; COMMIT; SET GTID_NEXT='AUTOMATIC'");
    let start = match replica.kind.says_replica() {
        true => "START REPLICA",
        false => "START SLAVE",
    };
    replica.sql(&format!("{skip}; {start}")).await;
}

/// Files that scripts name, in `{dir}`.
fn write_files(directory: &TempDir) {
    let write = |name: &str, text: String| {
        std::fs::write(directory.path().join(name), text).expect("a file is written");
    };
    write("rows.csv", "1,one\n2,two\n3,drei \u{e4}\n".to_owned());
    // More than one block of what is logged.
    let many = (100..3100).map(|id| format!("{id},{}\n", "x".repeat(150)));
    write("many.csv", many.collect());
    let key = "770A8A65DA156D24EE2A093277530142";
    write("keys", format!("1;{key}{key}\n"));
}
