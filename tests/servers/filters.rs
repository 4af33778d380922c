//! Filters, compared with real replicas: one follows the master and has the rules itself, the other has
//! none and follows a relay that has the rules. Both must have the same tables in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;

use crate::support;
use crate::support::cross_database::{TABLES, Workload};
use crate::support::filter_rules::{FilterRules, seeded};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, attach, replica_status};
use crate::support::servers::{FOLD_NAMES, Kind, Server, ServerOptions};
use crate::support::tables::checksum_tables;
use crate::support::{Deadline, SeedNote, seeds};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_replicas_end_like_replicas_with_the_rules() {
    compare(Kind::MySql, Names::AsWritten).await;
}

#[cfg(has_mysql_5_7)]
#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_replicas_end_like_replicas_with_the_rules() {
    compare(Kind::MySql57, Names::AsWritten).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_replicas_end_like_replicas_with_the_rules() {
    compare(Kind::MariaDb, Names::AsWritten).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_replicas_that_fold_names_end_like_replicas_with_the_rules() {
    compare(Kind::MySql, Names::Folded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_replicas_that_fold_names_end_like_replicas_with_the_rules() {
    compare(Kind::MariaDb, Names::Folded).await;
}

/// What the servers make of upper and lower case in names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    AsWritten,
    /// `lower_case_table_names=1`. Statements have upper case then, rules have both.
    Folded,
}

/// The servers of all rounds.
struct Servers {
    kind: Kind,
    names: Names,
    master: Server,
    /// Follows the master, with rules.
    direct: Server,
    /// Follows the relay, without.
    relayed: Server,
}

async fn compare(kind: Kind, names: Names) {
    let _turn = support::turn();
    let servers = Servers::start(kind, names).await;
    let mut failures = Vec::new();
    let seeds = match names {
        Names::AsWritten => seeds(2, 300),
        Names::Folded => seeds(1, 20),
    };
    for seed in seeds {
        let _note = SeedNote(seed);
        if let Err(difference) = round(&servers, seed).await {
            eprintln!("{difference}\n");
            failures.push(seed);
        }
    }
    assert!(
        failures.is_empty(),
        "{kind}: replicas differ with the seeds {failures:?}"
    );
}

impl Servers {
    async fn start(kind: Kind, names: Names) -> Servers {
        let options = |server_id| {
            let options = ServerOptions::new(server_id)
                .extra("--sync-binlog=0")
                .extra("--innodb-flush-log-at-trx-commit=0")
                .extra("--secure-file-priv=")
                .extra("--log-bin-trust-function-creators=1");
            match names {
                Names::AsWritten => options,
                Names::Folded => options.extra(FOLD_NAMES),
            }
        };
        // What fails for one must fail for the other, and the rest is to be compared, too.
        let replica = |server_id| match kind.says_replica() {
            true => options(server_id).extra("--replica-skip-errors=all"),
            false => options(server_id).extra("--slave-skip-errors=all"),
        };
        let (master, direct, relayed) = tokio::join!(
            Server::start(kind, options(1)),
            Server::start(kind, replica(11)),
            Server::start(kind, replica(12)),
        );
        Servers {
            kind,
            names,
            master,
            direct,
            relayed,
        }
    }

    fn all(&self) -> [&Server; 3] {
        [&self.master, &self.direct, &self.relayed]
    }

    /// What the master has executed.
    async fn executed(&self) -> String {
        let sql = match self.kind {
            kind if kind.is_mysql() => "SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')",
            _ => "SELECT @@GLOBAL.gtid_binlog_pos",
        };
        self.master.value(sql).await.unwrap_or_default()
    }

    /// Makes a replica start again after everything that the master has executed.
    async fn reset(&self, replica: &Server) {
        let executed = self.executed().await;
        let statements = match self.kind {
            Kind::MySql => format!(
                "STOP REPLICA; RESET REPLICA ALL; RESET BINARY LOGS AND GTIDS; \
                 SET GLOBAL gtid_purged = '{executed}'"
            ),
            Kind::MySql57 => format!(
                "STOP SLAVE; RESET SLAVE ALL; RESET MASTER; SET GLOBAL gtid_purged = '{executed}'"
            ),
            _ => format!(
                "STOP SLAVE; RESET SLAVE ALL; RESET MASTER; SET GLOBAL gtid_slave_pos = '{executed}'"
            ),
        };
        replica.sql(&statements).await;
    }

    async fn attach_direct(&self, rules: &FilterRules) {
        let (at, stop, start) = match self.kind {
            Kind::MySql => (StartAt::AutoPosition, "STOP REPLICA", "START REPLICA"),
            Kind::MySql57 => (StartAt::AutoPosition, "STOP SLAVE", "START SLAVE"),
            _ => (StartAt::SlavePos, "STOP SLAVE", "START SLAVE"),
        };
        attach(&self.direct, "127.0.0.1", self.master.port, &at, "").await;
        let statements = rules.statements(self.kind);
        self.direct
            .sql(&format!("{stop}; {statements}; {start}"))
            .await;
    }

    async fn attach_relayed(&self, relay: &Relay) {
        let at = match self.kind.is_mysql() {
            true => StartAt::AutoPosition,
            false => StartAt::SlavePos,
        };
        attach(&self.relayed, RELAY_HOST, relay.port, &at, "").await;
    }

    /// Waits until a replica has all, or has stopped; its error's number.
    async fn wait(&self, replica: &Server, relay: &Relay, executed: &str, what: &str) -> u32 {
        let deadline = Deadline::after_secs(120);
        let sql = match self.kind.is_mysql() {
            true => {
                format!("SELECT GTID_SUBSET('{executed}', @@GLOBAL.gtid_executed)")
            }
            false => format!("SELECT @@GLOBAL.gtid_slave_pos = '{executed}'"),
        };
        loop {
            if replica.value(&sql).await.as_deref() == Some("1") {
                return 0;
            }
            let status = replica_status(replica).await;
            if status.sql_errno != 0 {
                return status.sql_errno;
            }
            let source = relay.source_status("m");
            assert!(
                source["state"] != "failed" && source["state"] != "stopped",
                "{what}: the relay's source: {source:#}"
            );
            assert!(
                !deadline.passed() && status.io_errno == 0,
                "{what}: {replica}: {status:#?}\n{source:#}\n{}",
                replica.error_log_tail()
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

async fn round(servers: &Servers, seed: u64) -> Result<(), String> {
    let mut rng = seeded(seed);
    let databases: Vec<String> = ["a", "b", "c", "d"]
        .iter()
        .map(|letter| format!("p{seed}{letter}"))
        .collect();
    let spoken: Vec<String> = match servers.names {
        Names::AsWritten => databases.clone(),
        Names::Folded => databases.iter().map(|name| name.to_uppercase()).collect(),
    };
    let mut ruled = spoken.clone();
    if servers.names == Names::Folded {
        ruled.extend(databases.iter().cloned());
    }
    let mut rules = FilterRules::random(&mut rng, &ruled, TABLES);
    // Servers that fold names break when a rule makes one with upper case (MariaDB: error 1146,
    // MySQL: it crashes).
    for (_, to) in &mut rules.rewrite_db {
        *to = to.to_lowercase();
    }
    rules.rewrite_db.retain(|(from, to)| from != to);
    let what = format!("{}, seed {seed}, {rules:?}", servers.kind);
    let file = servers.master.data_dir().join("load.csv");
    std::fs::write(&file, "1,100\n2,200\n30,300\n").expect("the file for LOAD DATA");
    let file = file.display().to_string();
    let mut workload = Workload::new(rng, servers.kind, spoken, file);
    let preparation = workload.preparation();
    for server in servers.all() {
        unlogged(server, &preparation).await;
    }
    servers.master.sql("FLUSH BINARY LOGS").await;
    servers.reset(&servers.direct).await;
    servers.reset(&servers.relayed).await;
    let mut relay = start_relay(&servers.master, &rules).await;
    servers.attach_direct(&rules).await;
    servers.attach_relayed(&relay).await;
    let log = run(&servers.master, &mut workload).await;
    let executed = servers.executed().await;
    let of_direct = servers
        .wait(&servers.direct, &relay, &executed, &what)
        .await;
    let of_relayed = servers
        .wait(&servers.relayed, &relay, &executed, &what)
        .await;
    let expected = contents(&servers.direct, &databases).await;
    let found = contents(&servers.relayed, &databases).await;
    relay.assert_running();
    drop(relay);
    for server in servers.all() {
        clean(server, &databases).await;
    }
    if of_direct == of_relayed && expected == found {
        return Ok(());
    }
    let errors = format!("errors: {of_direct} with the rules, {of_relayed} behind the relay");
    let (lines, log) = (differences(&expected, &found).join("\n"), log.join(";\n"));
    Err(format!("{what}\n{errors}\n{lines}\n{log}"))
}

/// What only one of the two contents has, or has otherwise.
pub fn differences(
    expected: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for key in expected.keys().chain(found.keys()) {
        let (wanted, there) = (expected.get(key), found.get(key));
        if wanted != there {
            lines.push(format!("{key}: expected {wanted:?}, found {there:?}"));
        }
    }
    lines.sort();
    lines.dedup();
    lines
}

pub async fn start_relay(master: &Server, rules: &FilterRules) -> Relay {
    let mut source = SourceOptions::of("m", master);
    source.start = Some("latest".to_owned());
    source.extra.extend(rules.toml_lines());
    let mut options = RelayOptions::new(vec![source]);
    options.replicate_do_db = Vec::new();
    let relay = Relay::start(options);
    relay.wait_streaming().await;
    relay
}

/// Statements that stay out of the binlog, on a server that replicates nothing now.
pub async fn unlogged(server: &Server, statements: &[String]) {
    let mut conn = server.connect().await;
    conn.query_drop("SET SESSION sql_log_bin = 0")
        .await
        .unwrap();
    for statement in statements {
        conn.query_drop(statement)
            .await
            .unwrap_or_else(|error| panic!("{server}: {statement}: {error}"));
    }
    conn.disconnect().await.ok();
}

async fn clean(server: &Server, databases: &[String]) {
    let (stop, there) = match server.kind {
        Kind::MySql => ("STOP REPLICA", "information_schema.schemata"),
        _ => ("STOP SLAVE", "information_schema.schemata"),
    };
    if server.options.server_id != 1 {
        server.sql(stop).await;
    }
    let mut statements = Vec::new();
    for database in databases {
        let query = format!("SELECT 1 FROM {there} WHERE schema_name = '{database}'");
        if server.value(&query).await.is_some() {
            statements.push(format!("DROP DATABASE {database}"));
        }
        statements.push(format!("DROP USER IF EXISTS {database}_u"));
    }
    unlogged(server, &statements).await;
}

/// Runs the workload; the statements that succeeded.
pub async fn run(master: &Server, workload: &mut Workload) -> Vec<String> {
    /// Groups of statements in one round.
    const GROUPS: usize = 70;
    let mut conn = master.connect().await;
    let mut log = Vec::new();
    for _ in 0..GROUPS {
        for statement in workload.statements() {
            // Many fail, because a table is missing or a key exists. Those that are logged are compared.
            if conn.query_drop(&statement).await.is_ok() {
                log.push(statement);
            }
        }
    }
    conn.query_drop("COMMIT").await.ok();
    conn.disconnect().await.ok();
    log
}

/// Everything that the databases hold, as text by name.
pub async fn contents(server: &Server, databases: &[String]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for database in databases {
        for (name, state) in checksum_tables(server, database).await {
            found.insert(format!("{database}.{name}"), format!("{state:?}"));
        }
        let queries = [
            format!(
                "SELECT 'database', default_character_set_name FROM information_schema.schemata WHERE schema_name = '{database}'"
            ),
            format!(
                "SELECT CONCAT('view ', table_name), '' FROM information_schema.views WHERE table_schema = '{database}'"
            ),
            format!(
                "SELECT CONCAT('trigger ', trigger_name), event_object_table FROM information_schema.triggers WHERE trigger_schema = '{database}'"
            ),
            format!(
                "SELECT CONCAT('routine ', routine_name), routine_type FROM information_schema.routines WHERE routine_schema = '{database}'"
            ),
            format!("SELECT CONCAT('user ', user), '' FROM mysql.user WHERE user = '{database}_u'"),
            format!(
                "SELECT CONCAT('grant ', table_name), table_priv FROM mysql.tables_priv WHERE user = '{database}_u'"
            ),
        ];
        for query in queries {
            for row in server.rows::<Row>(&query).await {
                let text = |index: usize| {
                    row.get::<Option<String>, usize>(index)
                        .flatten()
                        .unwrap_or_default()
                };
                found.insert(format!("{database}: {}", text(0)), text(1));
            }
        }
    }
    found
}
