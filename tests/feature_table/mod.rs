//! Features of the servers, each tried through two relays, one of them with a filter.
//!
//! A [`Stand`] has one master, the two relays with a replica each, and a replica of the master
//! itself that filters as the second relay does. After each feature the first replica must hold
//! what the master holds, the second what that reference replica holds.

pub mod formats;
pub mod scripts;
pub mod snapshot;

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use crate::support::Deadline;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, attach, replica_status, retry_each_second};
use crate::support::servers::{Kind, Server, ServerOptions};
use scripts::Feature;
use snapshot::{differences, snapshot};

/// A database name with all that is allowed in one.
pub const ODD_NAME: &str = "odd-näme \"q\" 'a'";
/// The databases that the filter keeps.
pub const KEPT: [&str; 2] = ["test", ODD_NAME];
/// How long replicas may take for one feature.
const CATCH_UP_SECS: u64 = 60;

/// How a feature fared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    Ok,
    /// The server itself cannot do it: what it said.
    NotSupported(String),
    Failed(String),
}

pub struct Stand {
    pub master: Server,
    pub relays: [Relay; 2],
    /// Behind the relay without filter, and behind the one with it.
    pub replicas: [Server; 2],
    /// Behind the master, with the filter.
    pub reference: Server,
    sessions: BTreeMap<u32, Conn>,
    directory: TempDir,
}

fn is_mariadb(kind: Kind) -> bool {
    kind.flavor() == "mariadb"
}

impl Stand {
    pub async fn start(kind: Kind) -> Stand {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("rows.csv"), "1,one\n2,two\n3,drei \u{e4}\n").expect("rows.csv");
        let key = "1;770A8A65DA156D24EE2A093277530142770A8A65DA156D24EE2A093277530142\n";
        std::fs::write(path("keys"), key).expect("keys");
        let options = |id: u32| {
            ServerOptions::new(id)
                .extra("--max-allowed-packet=64M")
                .extra("--log-bin-trust-function-creators=1")
        };
        let reference = KEPT.iter().fold(options(13), |options, name| {
            options.extra(format!("--replicate-do-db={name}"))
        });
        let (master, first, second, reference) = tokio::join!(
            Server::start(kind, options(86)),
            Server::start(kind, options(11)),
            Server::start(kind, options(12)),
            Server::start(kind, reference),
        );
        let relay = |server_id, databases: &[&str]| {
            Relay::start(RelayOptions {
                server_id,
                replicate_do_db: databases.iter().map(|name| (*name).to_owned()).collect(),
                ..RelayOptions::new(vec![SourceOptions::of("m", &master)])
            })
        };
        let relays = [relay(900, &[]), relay(901, &KEPT)];
        let replicas = [first, second];
        // A loaded machine starts servers slowly, and MySQL's replicas try ten times only.
        let extra = match is_mariadb(kind) {
            true => retry_each_second(kind).to_owned(),
            false => format!("{}, SOURCE_RETRY_COUNT=1000", retry_each_second(kind)),
        };
        let at = |basename: &str| match is_mariadb(kind) {
            true => StartAt::first_file(basename),
            false => StartAt::AutoPosition,
        };
        for (relay, replica) in relays.iter().zip(&replicas) {
            relay.wait_streaming().await;
            attach(replica, RELAY_HOST, relay.port, &at("relay-bin"), &extra).await;
        }
        attach(
            &reference,
            "127.0.0.1",
            master.port,
            &at("mysql-bin"),
            &extra,
        )
        .await;
        Stand {
            master,
            relays,
            replicas,
            reference,
            sessions: BTreeMap::new(),
            directory,
        }
    }

    /// Tries one feature: how it fared without filter and with it.
    pub async fn run(&mut self, feature: &Feature) -> [Cell; 2] {
        self.sessions.clear();
        for statement in scripts::FRESH {
            self.statement(1, statement).await.expect(statement);
        }
        let mut refusal = None;
        for line in feature.script.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match self.line(line).await {
                Ok(()) => {}
                Err(error) if line.starts_with('?') => {
                    refusal = Some(error);
                    break;
                }
                Err(error) => {
                    let cell = Cell::Failed(format!("{line}: {error}"));
                    return [cell.clone(), cell];
                }
            }
        }
        self.sessions.clear();
        let cells = [self.compare(0).await, self.compare(1).await];
        match refusal {
            Some(error) if cells == [Cell::Ok, Cell::Ok] => {
                let cell = Cell::NotSupported(error);
                [cell.clone(), cell]
            }
            _ => cells,
        }
    }

    /// One line of a script; see [`Feature`].
    async fn line(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim_start_matches('?');
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

    async fn command(&mut self, command: &str) -> Result<(), String> {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("close", session) => {
                let session = session.parse().expect("a session's number");
                if let Some(conn) = self.sessions.remove(&session) {
                    conn.disconnect().await.ok();
                }
            }
            ("relays", "") => {
                for relay in &mut self.relays {
                    relay.terminate();
                    relay.restart();
                }
            }
            ("relays", "kill") => {
                for relay in &mut self.relays {
                    relay.kill9();
                    relay.restart();
                }
            }
            // Waits, so that what follows comes with the applied events behind it.
            ("wait", "") => {
                for which in [0, 1] {
                    self.wait(which).await?;
                }
            }
            ("master", options) => return self.restart_master(options).await,
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
        for reader in readers {
            if let Err(error) = caught_up(&self.master, reader).await {
                let sources = self.relays[which].status()["sources"].to_string();
                return Err(format!("{error}; relay: {sources}"));
            }
        }
        Ok(())
    }

    async fn compare(&self, which: usize) -> Cell {
        if let Err(error) = self.wait(which).await {
            return Cell::Failed(error);
        }
        let expected = match which {
            0 => &self.master,
            _ => &self.reference,
        };
        let expected = snapshot(expected).await;
        let found = snapshot(&self.replicas[which]).await;
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

/// Waits until a replica has all that the master wrote; says why when it has not.
pub async fn caught_up(master: &Server, reader: &Server) -> Result<(), String> {
    let mariadb = is_mariadb(master.kind);
    let position = match mariadb {
        true => "SELECT @@GLOBAL.gtid_binlog_pos",
        false => "SELECT @@GLOBAL.gtid_executed",
    };
    let position = master.value(position).await.unwrap_or_default();
    let position = position.replace('\n', "");
    let query = match master.kind.name() {
        _ if mariadb => format!("SELECT MASTER_GTID_WAIT('{position}', 1) = 0"),
        "mysql-5.6" => format!("SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS('{position}', 1) >= 0"),
        _ => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 1) = 0"),
    };
    let deadline = Deadline::after_secs(CATCH_UP_SECS);
    while reader.value(&query).await.as_deref() != Some("1") {
        let status = replica_status(reader).await;
        if status.sql_running == "No" || status.io_running == "No" || deadline.passed() {
            return Err(format!("{reader}, not at {position}: {status:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
