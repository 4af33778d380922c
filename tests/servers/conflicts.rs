//! The same key written on two masters before either has the other's transaction: each such conflict is reported, once, and
//! nothing else, under load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::support::load::Load;
use crate::support::relay::{Relay, run_binrelay};
use crate::support::replication::wait_for_table;
use crate::support::servers::{REPL_USER, Server};
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{self, Deadline, Profile, seed};

/// Rounds of planted conflicts. Without GTIDs a master that overwrites the other's change logs what no one can recognise
/// as a copy, and the relay stops its source: there is one round, after which no master applies the other's.
fn rounds(mode: Mode) -> u32 {
    if mode.has_gtids() { 2 } else { 1 }
}

/// Conflicts of each sort in a round, in each table. The long profile plants at least 100 in all rounds.
fn of_each_sort(mode: Mode) -> u32 {
    match (support::profile(), rounds(mode)) {
        (Profile::Gate, _) => 3,
        (Profile::Long, rounds) => 100_u32.div_ceil(rounds * SORTS.len() as u32 * 2),
    }
}

/// What both masters do to a row, and the two tables: with and without a primary key.
const SORTS: [[&str; 2]; 3] = [
    ["insert", "insert"],
    ["update", "update"],
    ["update", "delete"],
];
/// The second primary key column is not the first one of the table, and both are needed.
const TABLES: &str = "CREATE TABLE keyed (note VARCHAR(20), v INT, id INT NOT NULL, part CHAR(3) NOT NULL, \
     PRIMARY KEY (part, id)); CREATE TABLE keyless (id INT, v INT, note VARCHAR(20)); ";

/// Of a new server: more of what a binlog may hold.
fn formats(mode: Mode) -> [&'static str; 2] {
    match mode {
        Mode::MySqlAutoPosition => [
            "SET GLOBAL binlog_transaction_compression = ON; SET GLOBAL binlog_row_image = MINIMAL",
            "SET GLOBAL binlog_row_metadata = FULL",
        ],
        // Copies with other row images are not recognised without GTIDs.
        Mode::MySqlNoGtids => ["SET GLOBAL binlog_row_image = NOBLOB"; 2],
        _ => [
            "SET GLOBAL log_bin_compress = ON; SET GLOBAL log_bin_compress_min_len = 10",
            "SET GLOBAL binlog_row_metadata = FULL; SET GLOBAL binlog_row_image = NOBLOB",
        ],
    }
}

struct Pair {
    topology: Topology,
    /// See [`of_each_sort`].
    of_each_sort: u32,
    /// Table, and the row's id.
    planted: BTreeSet<(String, u32)>,
}

impl Pair {
    async fn start(mode: Mode, kind: Option<support::kind::Kind>) -> Pair {
        let mut options = TopologyOptions::new(mode, seed());
        if let Some(kind) = kind {
            (options.master_kind, options.replica_kind) = (kind, kind);
        }
        options.replicas = 0;
        // A statement does not name its rows: with MIXED, hardly anything of the load would be compared.
        options.master_extra.push("--binlog-format=ROW".to_owned());
        let topology = Topology::start(options).await;
        let pair = Pair {
            topology,
            of_each_sort: of_each_sort(mode),
            planted: BTreeSet::new(),
        };
        for (server, format) in pair.masters().into_iter().zip(formats(mode)) {
            let word = replica_word(server);
            let exec_mode = format!("SET GLOBAL {word}_exec_mode = IDEMPOTENT");
            server.sql(&format!("{format}; {exec_mode}")).await;
            let logged = server.value("SELECT @@GLOBAL.binlog_format").await;
            assert_eq!(logged.as_deref(), Some("ROW"), "{server}");
            pair.stop_applying(server).await;
            pair.start_applying(server).await;
            for host in ["%", "localhost"] {
                let grant = format!("GRANT SELECT ON *.* TO {REPL_USER}@'{host}'");
                server.sql(&format!("SET sql_log_bin = 0; {grant}")).await;
            }
        }
        let databases = ["test", "other"].map(|database| format!("USE {database}; {TABLES}"));
        pair.topology.m1.sql(&databases.concat()).await;
        pair
    }

    fn masters(&self) -> [&Server; 2] {
        [&self.topology.m1, &self.topology.m2]
    }

    async fn stop_applying(&self, server: &Server) {
        let word = replica_word(server).to_uppercase();
        server.sql(&format!("STOP {word} SQL_THREAD")).await;
    }

    async fn start_applying(&self, server: &Server) {
        let word = replica_word(server).to_uppercase();
        server.sql(&format!("START {word} SQL_THREAD")).await;
    }

    /// Writes conflicts while neither master applies what the other has written, and as many rows in a database
    /// that the relay filters.
    async fn plant(&mut self, round: u32) {
        let first = round * 1000;
        let ids: Vec<u32> = (first..first + self.of_each_sort * SORTS.len() as u32).collect();
        let sort = |id: &u32| SORTS[(*id - first) as usize % SORTS.len()];
        let mut on_m1 = rows_connection(&self.topology.m1).await;
        for id in ids.iter().filter(|id| sort(id)[0] != "insert") {
            for table in ["test.keyed", "test.keyless", "other.keyed", "other.keyless"] {
                on_m1
                    .query_drop(statement("insert", table, *id, 0))
                    .await
                    .unwrap();
            }
        }
        self.topology.settle(60).await;
        for server in self.masters() {
            self.stop_applying(server).await;
        }
        let expected = count(&self.topology.relay) + ids.len() as u64 * 2;
        for (number, server) in self.masters().into_iter().enumerate() {
            let mut conn = rows_connection(server).await;
            for id in &ids {
                for table in ["test.keyed", "test.keyless", "other.keyed", "other.keyless"] {
                    // Rows without a key are in conflict where they are equal.
                    let value = match sort(id) == SORTS[0] && table.ends_with("keyless") {
                        true => 7,
                        false => number as u32 + 1,
                    };
                    let statement = statement(sort(id)[number], table, *id, value);
                    conn.query_drop(statement).await.unwrap();
                }
            }
        }
        for id in ids {
            self.planted.insert(("keyed".to_owned(), id));
            self.planted.insert(("keyless".to_owned(), id));
        }
        // They are known before the copies arrive.
        wait_for_count(&self.topology.relay, expected).await;
    }

    async fn apply_again(&self) {
        for server in self.masters() {
            self.start_applying(server).await;
        }
        self.topology.settle(60).await;
    }

    /// Writes the same rows on both masters in turn, each time after the other's write has arrived.
    async fn write_in_turn(&self) {
        let [m1, m2] = self.masters();
        m1.sql("CREATE TABLE IF NOT EXISTS test.turns (id INT PRIMARY KEY, v INT)")
            .await;
        m1.sql("REPLACE INTO test.turns VALUES (1, 0)").await;
        wait_for_table(m2, "test", "turns").await;
        for number in 1..=10 {
            let [writer, reader] = match number % 2 {
                0 => [m1, m2],
                _ => [m2, m1],
            };
            wait_for_value(writer, number - 1).await;
            let mut conn = rows_connection(writer).await;
            let update = format!("UPDATE test.turns SET v = {number} WHERE id = 1");
            conn.query_drop(update).await.unwrap();
            wait_for_value(reader, number).await;
        }
    }
}

fn replica_word(server: &Server) -> &'static str {
    match server.kind.says_replica() {
        true => "replica",
        false => "slave",
    }
}

async fn rows_connection(server: &Server) -> Conn {
    let mut conn = server.connect().await;
    conn.query_drop("SET SESSION binlog_format = ROW")
        .await
        .unwrap();
    conn
}

fn statement(action: &str, table: &str, id: u32, value: u32) -> String {
    match (action, table.ends_with("keyed")) {
        ("insert", true) => format!("INSERT INTO {table} VALUES ('n', {value}, {id}, 'p')"),
        ("insert", false) => format!("INSERT INTO {table} VALUES ({id}, {value}, 'n')"),
        ("update", _) => format!("UPDATE {table} SET v = {value} WHERE id = {id}"),
        _ => format!("DELETE FROM {table} WHERE id = {id}"),
    }
}

async fn wait_for_value(server: &Server, value: u32) {
    let deadline = Deadline::after_secs(30);
    let query = format!("SELECT 1 FROM test.turns WHERE id = 1 AND v = {value}");
    while server.value(&query).await.is_none() {
        assert!(!deadline.passed(), "{server}: no {value} in test.turns");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn count(relay: &Relay) -> u64 {
    relay.status()["relay"]["conflicts"].as_u64().unwrap()
}

async fn wait_for_count(relay: &Relay, expected: u64) {
    let deadline = Deadline::after_secs(30);
    while count(relay) < expected {
        let found = count(relay);
        assert!(
            !deadline.passed(),
            "{found} of {expected}:\n{}\n{}",
            conflicts(relay, &[]).join("\n"),
            relay.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The output of `binrelay conflicts`.
fn conflicts(relay: &Relay, options: &[&str]) -> Vec<String> {
    let config = relay.config();
    let config = config.to_str().unwrap();
    let output = run_binrelay(&[&["conflicts", "--config", config], options].concat());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Table and id of a conflict, of which the description is checked.
fn described(line: &str, topology: &Topology, has_gtids: bool) -> (String, u32) {
    let conflict: Value = serde_json::from_str(line).unwrap();
    assert_eq!(conflict["database"], "test", "{line}");
    let is_keyed = conflict["table"] == "keyed";
    let id_column = if is_keyed { 2 } else { 0 };
    let writes = conflict["writes"].as_array().unwrap();
    let mut sources: Vec<&str> = writes
        .iter()
        .map(|w| w["source"].as_str().unwrap())
        .collect();
    sources.sort_unstable();
    assert_eq!(sources, ["m1", "m2"], "{line}");
    let ids = writes.iter().map(|write| {
        assert_eq!(write["gtid"].is_string(), has_gtids, "{line}");
        assert!(write["time"].is_string(), "{line}");
        let master = match write["source"] == "m1" {
            true => &topology.m1,
            false => &topology.m2,
        };
        assert_eq!(write["server_id"], master.options.server_id, "{line}");
        let file = write["file"].as_str().unwrap();
        let size = std::fs::metadata(master.data_dir().join(file))
            .unwrap()
            .len();
        assert!(write["position"].as_u64().unwrap() <= size, "{line}");
        let [before, after] = ["before", "after"].map(|image| write[image].as_array());
        assert_eq!(before.is_none(), write["action"] == "insert", "{line}");
        assert_eq!(after.is_none(), write["action"] == "delete", "{line}");
        // A partial image has only some columns.
        let whole = [before, after]
            .into_iter()
            .flatten()
            .find(|image| image.len() >= 3);
        whole.map(|image| image[id_column].as_u64().unwrap())
    });
    let of_key = conflict["key"].as_array().map(|key| {
        // In the order of the table, not of the key.
        assert_eq!((key.len(), key[1].as_str()), (2, Some("p")), "{line}");
        key[0].as_u64().unwrap()
    });
    assert_eq!(of_key.is_some(), is_keyed, "{line}");
    let ids: BTreeSet<u64> = ids.flatten().chain(of_key).collect();
    assert_eq!(ids.len(), 1, "{line}");
    let table = conflict["table"].as_str().unwrap().to_owned();
    (table, ids.into_iter().next().unwrap() as u32)
}

async fn exactly_the_planted_conflicts_are_reported(mode: Mode, kind: Option<support::kind::Kind>) {
    let began = Instant::now();
    let mut pair = Pair::start(mode, kind).await;
    let loads = [1, 2].map(|master| {
        let mut options = pair.topology.load_options(master, 0);
        // DDL waits for what a stopped applier holds, and the appliers must keep up.
        options.ddl = false;
        options.clients = 2;
        options.pause *= 2;
        let [m1, m2] = pair.masters();
        Load::start(if master == 1 { m1 } else { m2 }, &options)
    });
    pair.write_in_turn().await;
    assert_eq!(count(&pair.topology.relay), 0);
    for round in 1..=rounds(mode) {
        pair.plant(round).await;
        if mode.has_gtids() {
            pair.apply_again().await;
            pair.write_in_turn().await;
        }
    }
    for load in loads {
        load.finish().await;
    }
    if mode.has_gtids() {
        pair.topology.settle(60).await;
    }
    run_for(500).await;
    let relay = &pair.topology.relay;
    let lines = conflicts(relay, &["--json"]);
    let found: BTreeSet<(String, u32)> = lines
        .iter()
        .map(|line| described(line, &pair.topology, mode.has_gtids()))
        .collect();
    assert_eq!(found, pair.planted);
    assert_eq!(lines.len(), pair.planted.len(), "reported once");
    assert_eq!(count(relay), lines.len() as u64);
    let text = conflicts(relay, &[]);
    let last = text.last().unwrap();
    assert!(last.starts_with("conflicts since 2"), "{last}");
    assert!(last.ends_with(&format!(": {}", lines.len())), "{last}");
    assert!(lines.len() >= 100 || support::profile() == Profile::Gate);
    let log = relay.log();
    let warnings = log
        .lines()
        .filter(|line| line.contains("conflict: two masters"));
    // At most one in 10 seconds.
    let most = 1 + began.elapsed().as_secs() as usize / 10;
    assert!((1..=most).contains(&warnings.count()), "{log}");
    nothing_is_repeated_after_a_restart(pair, mode).await;
}

async fn nothing_is_repeated_after_a_restart(mut pair: Pair, mode: Mode) {
    let relay = &mut pair.topology.relay;
    relay.terminate();
    relay.restart();
    relay.wait_streaming().await;
    if mode.has_gtids() {
        pair.write_in_turn().await;
        pair.topology.settle(60).await;
    }
    run_for(500).await;
    assert_eq!(count(&pair.topology.relay), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_planted_conflicts_are_reported_and_nothing_else() {
    let _turn = support::turn();
    exactly_the_planted_conflicts_are_reported(Mode::MySqlAutoPosition, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_planted_conflicts_are_reported_and_nothing_else() {
    let _turn = support::turn();
    exactly_the_planted_conflicts_are_reported(Mode::MariaDbFilePosition, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_planted_conflicts_are_reported_and_nothing_else() {
    let _turn = support::turn();
    let mysql_56 = Some(support::kind::Kind::MySql56);
    exactly_the_planted_conflicts_are_reported(Mode::MySqlNoGtids, mysql_56).await;
}

/// Where a master does not log what it replicates, no one can see whether it had the other's transaction. AUTO_INCREMENT
/// values of two masters that are the same are found beforehand.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reported_where_a_master_does_not_log_what_it_replicates() {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(Mode::MariaDbSlavePos, 1);
    options.replicas = 0;
    options.m2_log_slave_updates = false;
    let topology = Topology::start(options).await;
    let (m1, m2) = (&topology.m1, &topology.m2);
    m1.sql("CREATE TABLE test.t (id INT PRIMARY KEY, v INT)")
        .await;
    topology.settle(30).await;
    // M2 has M1's row, but its binlog does not show that.
    for id in 1..5 {
        let mut conn = rows_connection(m1).await;
        conn.query_drop(format!("INSERT INTO test.t VALUES ({id}, 0)"))
            .await
            .unwrap();
        topology.settle(30).await;
        let mut conn = rows_connection(m2).await;
        conn.query_drop(format!("UPDATE test.t SET v = 1 WHERE id = {id}"))
            .await
            .unwrap();
    }
    topology.settle(30).await;
    run_for(3000).await;
    assert_eq!(count(&topology.relay), 0);
    let text = conflicts(&topology.relay, &[]).join("\n");
    assert!(text.contains("does not log what it replicates"), "{text}");

    let check = || {
        let config = topology.relay.config();
        let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = check();
    assert_eq!(code, Some(0), "{text}");
    m2.sql("SET GLOBAL auto_increment_offset = 1").await;
    let (code, text) = check();
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("m1 (2, 1), m2 (2, 1) generate the same"),
        "{text}"
    );
}

/// How long the load without conflicts lasts: BINRELAY_CONFLICT_FREE_SECONDS.
fn conflict_free_seconds() -> u64 {
    let text = std::env::var("BINRELAY_CONFLICT_FREE_SECONDS").ok();
    text.map_or(3600, |text| text.parse().expect("seconds"))
}

/// In the gate, `Topology::settle` checks all loads of two masters for false reports.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn load_without_conflicts_reports_none() {
    let _turn = support::turn();
    let modes = [
        Mode::MySqlAutoPosition,
        Mode::MariaDbFilePosition,
        Mode::MySqlNoGtids,
    ];
    let ends = Instant::now() + Duration::from_secs(conflict_free_seconds());
    let runs = modes.map(|mode| async move {
        let kind = (mode == Mode::MySqlNoGtids).then_some(support::kind::Kind::MySql56);
        let pair = Pair::start(mode, kind).await;
        let mut transactions = 0;
        for round in 0.. {
            let loads = [1, 2].map(|master| {
                let [m1, m2] = pair.masters();
                let mut options = pair.topology.load_options(master, round);
                // There are more rounds than other tests have: their clients need numbers of their own.
                options.first_owner = master * 1_000_000 + round * 10;
                Load::start(if master == 1 { m1 } else { m2 }, &options)
            });
            run_for(20_000).await;
            pair.write_in_turn().await;
            for load in loads {
                transactions += load.finish().await.acknowledged;
            }
            pair.topology.settle(120).await;
            if Instant::now() > ends {
                break;
            }
        }
        println!("{mode}: {transactions} transactions");
        let text = conflicts(&pair.topology.relay, &[]).join("\n");
        assert_eq!(count(&pair.topology.relay), 0, "{text}");
    });
    futures_util::future::join_all(runs).await;
}
