//! One history of binlog files, served by a master to two replicas of its own and, through the relay, to a third.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use crate::events;
use crate::history::History;
use crate::snapshot::{Snapshot, snapshot};
use crate::support::Deadline;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    ReplicaStatus, StartAt, attach, replica_status, retry_each_second,
};
use crate::support::servers::{Kind, Server, ServerOptions, numbered_files};

/// Server ids that no test uses.
const MASTER_ID: u32 = 4_000_000_003;
const RELAY_ID: u32 = 4_000_000_900;
const REPLICA_IDS: [u32; 3] = [4_000_000_011, 4_000_000_012, 4_000_000_013];

/// How long a replica may take for one history.
const CATCH_UP_SECS: u64 = 150;
/// How often the relay is asked whether its source has failed.
const LOOK_AT_RELAY_SECS: u64 = 2;
/// How long a replica may still need after the relay's source has failed.
const AFTER_FAILURE_SECS: u64 = 5;
/// Errors that stop the applier although `slave_skip_errors` is set, before a replica is given up.
const STOPS_MAX: usize = 200;
/// A table that only the serving master writes: with its row, a replica has everything.
const MARK: &str = "corpus_mark.mark";

/// How a history fared.
pub enum Verdict {
    /// Replicas of the master and of the relay are equal.
    Equal {
        transactions: u64,
        notes: Vec<String>,
    },
    /// It cannot be tried: why.
    LeftOut(String),
    /// The relay refuses it: the reason.
    Refused(String),
    Failed(String),
}

impl Verdict {
    fn is_equal(&self) -> bool {
        matches!(self, Verdict::Equal { .. })
    }
}

/// How one replica ended.
#[derive(Clone, Default, Debug)]
struct End {
    /// What stopped the applier and was skipped, by number.
    skipped: Vec<u32>,
    /// Why it never got to the mark.
    given_up: Option<String>,
    /// Why the relay stopped its source.
    relay_refuses: Option<String>,
}

pub struct Replayer {
    template: PathBuf,
    /// Whether only logs are compared.
    logs_only: bool,
    /// The replicas, kept for all histories of a segment.
    replicas: Option<Arc<[Server; 3]>>,
}

impl Replayer {
    pub fn new(template: PathBuf, logs_only: bool) -> Replayer {
        Replayer {
            template,
            logs_only,
            replicas: None,
        }
    }

    /// What follows began on a fresh server.
    pub async fn begin_segment(&mut self) {
        if let Some(replicas) = &self.replicas {
            for replica in replicas.iter() {
                make_empty(replica).await;
            }
        }
    }

    pub async fn replay(&mut self, history: &History) -> Verdict {
        let contents = history.contents();
        if contents.encrypted {
            return Verdict::LeftOut("encrypted: its key is not here".to_owned());
        }
        if contents.goes_back {
            // As when a server's log is fed to that server again: for a relay these are copies.
            return Verdict::LeftOut("a server's GTIDs go back in it".to_owned());
        }
        if contents.transactions == 0 {
            return Verdict::LeftOut("no transactions".to_owned());
        }
        let replicas = match (self.logs_only, &self.replicas) {
            (true, _) => None,
            (false, Some(replicas)) => Some(Arc::clone(replicas)),
            (false, None) => Some(Arc::new(start_replicas(&self.template).await)),
        };
        self.replicas = replicas.clone();
        let history = History {
            directory: history.directory.clone(),
            files: history.files.clone(),
            tests: BTreeSet::new(),
        };
        // In a task of its own, so that what panics in it does not end the run.
        let task = tokio::spawn(async move {
            match replicas {
                Some(replicas) => replay_on(&history, &replicas).await,
                None => compare_logs(&history).await,
            }
        });
        let verdict = match task.await {
            Ok(Verdict::Equal { notes, .. }) => Verdict::Equal {
                transactions: contents.transactions,
                notes,
            },
            Ok(other) => other,
            Err(error) => Verdict::Failed(format!("panicked: {error}")),
        };
        if !verdict.is_equal() {
            // They may differ now, which must not count again.
            self.replicas = None;
        }
        verdict
    }
}

fn options(id: u32) -> ServerOptions {
    // Whatever the suites write passes; waits for locks that will never be released end soon.
    ServerOptions::new(id)
        .extra("--max-allowed-packet=1G")
        .extra("--sync-binlog=0")
        .extra("--innodb-flush-log-at-trx-commit=0")
}

async fn start_replicas(template: &Path) -> [Server; 3] {
    let start = |id| {
        let mut options = options(id)
            .extra("--slave-skip-errors=all")
            .extra("--lock-wait-timeout=5")
            .extra("--innodb-lock-wait-timeout=3")
            .extra("--slave-transaction-retries=1")
            .extra("--slave-max-allowed-packet=1G")
            .extra("--log-bin-trust-function-creators=1");
        options.log_bin = false;
        Server::start_prepared(Kind::MariaDb, options, |data| {
            std::fs::remove_dir_all(data).expect("the data directory can be removed");
            let copied = Command::new("cp")
                .arg("-a")
                .arg(template)
                .arg(data)
                .status();
            assert!(
                copied.expect("cp can be run").success(),
                "the template is copied"
            );
        })
    };
    let (a, b, c) = tokio::join!(
        start(REPLICA_IDS[0]),
        start(REPLICA_IDS[1]),
        start(REPLICA_IDS[2])
    );
    [a, b, c]
}

/// Removes what histories left: much faster than another server.
async fn make_empty(replica: &Server) {
    let mut conn = replica.connect().await;
    conn.query_drop("STOP SLAVE; SET SESSION foreign_key_checks=0")
        .await
        .ok();
    let databases = "SELECT CONCAT('DROP DATABASE `', REPLACE(schema_name, '`', '``'), '`') \
         FROM information_schema.schemata \
         WHERE schema_name NOT IN ('mysql','sys','performance_schema','information_schema','mtr')";
    let accounts = "SELECT CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host)) FROM mysql.user \
         WHERE is_role = 'N' AND user NOT IN ('root', 'repl', 'nobody', 'mariadb.sys')";
    let roles = "SELECT CONCAT('DROP ROLE `', user, '`') FROM mysql.user WHERE is_role = 'Y'";
    for query in [databases, accounts, roles] {
        let statements: Vec<String> = conn.query(query).await.unwrap_or_default();
        for statement in statements {
            if let Err(error) = conn.query_drop(&statement).await {
                eprintln!("{replica}: {statement}: {error}");
            }
        }
    }
    conn.query_drop("CREATE DATABASE test").await.ok();
}

struct Served {
    master: Server,
    relay: Relay,
    mark: u32,
    _tmp: TempDir,
}

/// A master with the history and, after it, a mark; and a relay that follows it.
async fn serve(history: &History) -> Served {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let master_options = options(MASTER_ID)
        .extra(format!("--log-bin={}", history.basename()))
        // A server that starts deletes the temporary tables of all that share its directory.
        .extra(format!("--tmpdir={}", tmp.path().display()))
        .extra("--skip-innodb")
        .extra("--default-storage-engine=MyISAM");
    let master =
        Server::start_prepared(Kind::MariaDb, master_options, |data| history.install(data)).await;
    let mark: u32 = rand::random();
    master
        .sql(&format!(
            "CREATE DATABASE corpus_mark; CREATE TABLE {MARK} (mark BIGINT) ENGINE=MyISAM; \
             INSERT INTO {MARK} VALUES ({mark})"
        ))
        .await;
    let relay = Relay::start(RelayOptions {
        server_id: RELAY_ID,
        replicate_do_db: Vec::new(),
        ..RelayOptions::new(vec![SourceOptions::of("m", &master)])
    });
    Served {
        master,
        relay,
        mark,
        _tmp: tmp,
    }
}

/// Without replicas: whether the relay's log has the master's events.
async fn compare_logs(history: &History) -> Verdict {
    let served = serve(history).await;
    let (master, relay) = (&served.master, &served.relay);
    let deadline = Deadline::after_secs(CATCH_UP_SECS);
    let end = master.value("SELECT @@gtid_binlog_pos").await;
    loop {
        let source = relay.source_status("m");
        if source["state"] == "failed" {
            return Verdict::Refused(source["last_error"]["message"].to_string());
        }
        let executed = relay.status()["relay"]["gtid_executed"]
            .as_str()
            .map(str::to_owned);
        if executed == end || deadline.passed() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    match difference(history, master, relay) {
        Some(difference) => Verdict::Failed(difference),
        None => Verdict::Equal {
            transactions: 0,
            notes: Vec::new(),
        },
    }
}

fn difference(history: &History, master: &Server, relay: &Relay) -> Option<String> {
    events::difference(
        &numbered_files(&master.data_dir(), history.basename()),
        &relay.log_files(),
    )
}

async fn replay_on(history: &History, replicas: &[Server; 3]) -> Verdict {
    let served = serve(history).await;
    let (master, relay, mark) = (&served.master, &served.relay, served.mark);
    let first = history.files.first().cloned().unwrap_or_default();
    let at = StartAt::FilePosition(first, 4);
    for replica in &replicas[..2] {
        follow(replica, "127.0.0.1", master.port, &at).await;
    }
    let at = StartAt::first_file("relay-bin");
    follow(&replicas[2], RELAY_HOST, relay.port, &at).await;
    let (first, second, third) = tokio::join!(
        drive(&replicas[0], mark, None),
        drive(&replicas[1], mark, None),
        drive(&replicas[2], mark, Some(relay)),
    );
    let (a, b, c) = tokio::join!(
        snapshot(&replicas[0]),
        snapshot(&replicas[1]),
        snapshot(&replicas[2])
    );
    for replica in replicas {
        end_prepared(replica).await;
    }
    let difference = match third.given_up {
        // Tables that a test drops at its end do not show their contents.
        None => difference(history, master, relay),
        Some(_) => None,
    };
    match (judge([&first, &second, &third], [&a, &b, &c]), difference) {
        (Verdict::Equal { .. }, Some(difference)) => Verdict::Failed(difference),
        (verdict, _) => verdict,
    }
}

async fn follow(replica: &Server, host: &str, port: u16, at: &StartAt) {
    replica
        .sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL gtid_slave_pos=''; DROP DATABASE IF EXISTS corpus_mark")
        .await;
    attach(replica, host, port, at, retry_each_second(Kind::MariaDb)).await;
}

/// Resumes a replica until it has the mark, past everything that stops its applier.
async fn drive(replica: &Server, mark: u32, relay: Option<&Relay>) -> End {
    let mut conn = replica.connect().await;
    let mut end = End::default();
    let deadline = Deadline::after_secs(CATCH_UP_SECS);
    let mut failed: Option<Deadline> = None;
    let mut next_look = Deadline::after_secs(LOOK_AT_RELAY_SECS);
    loop {
        let query = format!("SELECT 1 FROM {MARK} WHERE mark = {mark}");
        if let Ok(Some(1)) = conn.query_first::<u32, _>(query).await {
            return end;
        }
        let status = replica_status(replica).await;
        let stopped = status.sql_running == "No" && status.sql_errno != 0;
        if stopped && end.skipped.len() < STOPS_MAX {
            end.skipped.push(status.sql_errno);
            skip_group(&mut conn).await;
            continue;
        }
        if let Some(relay) = relay.filter(|_| failed.is_none() && next_look.passed()) {
            next_look = Deadline::after_secs(LOOK_AT_RELAY_SECS);
            let source = relay.source_status("m");
            if source["state"] == "failed" {
                failed = Some(Deadline::after_secs(AFTER_FAILURE_SECS));
                end.relay_refuses = Some(source["last_error"]["message"].to_string());
            }
        }
        let refused = status.io_running == "No" && status.io_errno != 0;
        let ended = refused && applied_all(&mut conn).await;
        if ended || stopped || deadline.passed() || failed.is_some_and(|failed| failed.passed()) {
            end.given_up = Some(last_words(&status));
            return end;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn last_words(status: &ReplicaStatus) -> String {
    format!(
        "IO {} {} {}, SQL {} {} {}",
        status.io_running,
        status.io_errno,
        status.io_error,
        status.sql_running,
        status.sql_errno,
        status.sql_error
    )
}

async fn skip_group(conn: &mut Conn) {
    let result = conn
        .query_drop("SET GLOBAL sql_slave_skip_counter=1; START SLAVE SQL_THREAD")
        .await;
    if let Err(error) = result {
        eprintln!("skipping an event group: {error}");
    }
}

/// Whether the applier waits for more.
async fn applied_all(conn: &mut Conn) -> bool {
    let state = conn
        .query_first::<String, _>(
            "SELECT state FROM information_schema.processlist WHERE command = 'Slave_SQL'",
        )
        .await;
    matches!(state, Ok(Some(state)) if state.contains("has read all relay log"))
}

/// Rolls back transactions that are still prepared: their locks would block later histories.
async fn end_prepared(replica: &Server) {
    let mut conn = replica.connect().await;
    conn.query_drop("STOP SLAVE").await.ok();
    let rows: Vec<(u32, u32, u32, String)> = conn
        .query("XA RECOVER FORMAT='SQL'")
        .await
        .unwrap_or_default();
    for (_, _, _, name) in rows {
        conn.query_drop(format!("XA ROLLBACK {name}")).await.ok();
    }
}

/// Compares what the relay's replica ended with, as far as the two of the master itself agree.
fn judge(ends: [&End; 3], snapshots: [&Snapshot; 3]) -> Verdict {
    let [first, second, third] = ends;
    if let (Some(reason), None) = (&third.relay_refuses, &first.given_up) {
        return Verdict::Refused(reason.clone());
    }
    let mut notes = Vec::new();
    let mut wrong = Vec::new();
    let names: BTreeSet<&String> = snapshots
        .iter()
        .flat_map(|snapshot| snapshot.keys())
        .collect();
    for name in names {
        let [expected, again, found] = snapshots.map(|snapshot| snapshot.get(name));
        if expected != again {
            notes.push(format!(
                "two replicas of the master itself differ in {name}"
            ));
        } else if expected != found {
            wrong.push(format!("{name}: {found:?}; expected: {expected:?}"));
        }
    }
    if first.skipped != third.skipped && first.skipped == second.skipped {
        wrong.push(format!(
            "errors {:?}; expected: {:?}",
            third.skipped, first.skipped
        ));
    }
    match (&first.given_up, &third.given_up) {
        (None, None) => {}
        (Some(direct), Some(relayed)) => {
            let refusal = third.relay_refuses.as_deref().unwrap_or("nothing");
            notes.push(format!(
                "both end early; of the master: {direct}; of the relay: {relayed}, which refuses {refusal}"
            ));
        }
        (direct, relayed) => wrong.push(format!("ended with {relayed:?}; expected: {direct:?}")),
    }
    if !first.skipped.is_empty() {
        notes.push(format!("all stop at and skip {:?}", first.skipped));
    }
    if let Some(count) = snapshots[0]
        .get("errors SLAVE_SKIPPED_ERRORS")
        .filter(|count| *count != "0")
    {
        notes.push(format!(
            "errors that all ignore, since their start: {count}"
        ));
    }
    match wrong.is_empty() {
        true => Verdict::Equal {
            transactions: 0,
            notes,
        },
        false => Verdict::Failed(wrong.join("; ")),
    }
}
