//! First starts at any combination of `earliest`, `latest`, FILE:POS and FILE:4, while each master is
//! purged to another point. A replica that has what either master had at its start must end with the
//! masters' data; where no order decides what it lacks, the relay reports it and serves nothing.
//!
//! The truth: each master notes, under a global read lock, how many of each origin's transactions it
//! has at a position. Half of the transactions look alike, so that only their order distinguishes
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;

use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{
    StartAt, attach, dual_masters, replica_statuses, retry_each_second, wait_for_table,
};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::topology::{replica_options, run_for};
use crate::support::{self, Deadline, Profile, profile};

const IDS: [u32; 2] = [86, 18];

/// `start` of a source. The numbers are those of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Earliest,
    Latest,
    /// Within a file.
    Mid(usize),
    /// At the beginning of a file: FILE:4.
    File(usize),
}
use Start::{Earliest, File, Latest, Mid};

#[derive(Clone, Copy, Debug)]
struct Case {
    /// The mark to which each master is purged; 0: not at all.
    purged: [usize; 2],
    starts: [Start; 2],
    /// Whether M1 has not applied the newest transactions of M2.
    lags: bool,
    /// Whether it runs in the gate.
    in_gate: bool,
}

const fn row(purged: [usize; 2], starts: [Start; 2], lags: bool, in_gate: bool) -> Case {
    Case {
        purged,
        starts,
        lags,
        in_gate,
    }
}

/// In the order of the purges, which cannot be undone.
const ROWS: [Case; 17] = [
    row([0, 0], [Mid(1), Latest], false, false),
    row([0, 0], [Latest, Latest], true, false),
    row([1, 0], [Earliest, Earliest], false, false),
    row([1, 0], [Mid(2), Earliest], false, false),
    row([2, 1], [Mid(3), Earliest], false, true),
    row([2, 1], [Earliest, Earliest], false, true),
    row([2, 1], [Latest, Earliest], false, false),
    row([2, 1], [Earliest, Mid(3)], true, false),
    row([2, 1], [File(2), File(3)], false, false),
    row([2, 3], [Mid(3), Earliest], false, true),
    row([2, 3], [Earliest, Latest], false, false),
    row([2, 3], [Latest, Mid(4)], true, false),
    row([2, 3], [Latest, Latest], true, true),
    row([4, 3], [Earliest, Earliest], false, false),
    row([4, 3], [Earliest, File(3)], true, false),
    row([5, 3], [Earliest, Earliest], false, false),
    row([5, 5], [Earliest, Earliest], true, false),
];

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_without_gtids() {
    check(Kind::MySql, "MIXED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_without_gtids() {
    check(Kind::MySql56, "MIXED").await;
}

/// M1 was purged, and has no copy of M2's transactions since: only a second coordinate decides, or a
/// common transaction that arrives.
#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_without_common_transactions() {
    undecided(Kind::MySql56).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_position() {
    check(Kind::MariaDb, "MIXED").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_105_and_118_by_position() {
    check(Kind::MariaDb105, "MIXED").await;
    check(Kind::MariaDb118, "MIXED").await;
}

/// Of each origin, how many rows and how many updates.
pub type Has = [(u64, u64); 2];

/// A master's coordinates.
#[derive(Clone, Debug)]
struct Mark {
    /// Within a file.
    mid: String,
    /// The file that begins there.
    file: String,
    has: Has,
}

pub struct Pair {
    pub masters: [Server; 2],
    pub replica: Server,
    marks: Vec<[Mark; 2]>,
}

/// "Deadlock found", with the applier of what the other master wrote.
const ER_LOCK_DEADLOCK: u16 = 1213;

async fn write(conn: &mut mysql_async::Conn, sql: &str) {
    loop {
        match conn.query_drop(sql).await {
            Ok(()) => return,
            Err(mysql_async::Error::Server(error)) if error.code == ER_LOCK_DEADLOCK => {}
            Err(error) => panic!("{sql}: {error}"),
        }
    }
}

/// Clients that write on both masters.
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    pub fn start(pair: &[Server; 2]) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |(server, id): (&Server, u32)| {
            let (opts, stop) = (server.opts(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut conn = mysql_async::Conn::new(opts).await.expect("a client");
                while !stop.load(Ordering::SeqCst) {
                    let sql = format!(
                        "INSERT INTO test.t SELECT {id}, COALESCE(MAX(seq), 0) + 1 FROM test.t WHERE \
                         origin = {id}"
                    );
                    write(&mut conn, &sql).await;
                    for _ in 0..2 {
                        let sql = format!("UPDATE test.counters SET n = n + 1 WHERE origin = {id}");
                        write(&mut conn, &sql).await;
                    }
                    tokio::time::sleep(Duration::from_millis(4)).await;
                }
            })
        };
        let tasks = pair.iter().zip(IDS).map(start).collect();
        Writers { stop, tasks }
    }

    pub async fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a client that wrote");
        }
    }
}

pub async fn has(server: &Server) -> Has {
    let mut conn = server.connect().await;
    has_by(&mut conn).await
}

async fn has_by(conn: &mut mysql_async::Conn) -> Has {
    let mut found = [(0, 0); 2];
    for (slot, id) in found.iter_mut().zip(IDS) {
        let sql = format!(
            "SELECT (SELECT COUNT(*) FROM test.t WHERE origin = {id}), \
             (SELECT COALESCE(SUM(n), 0) FROM test.counters WHERE origin = {id})"
        );
        *slot = conn
            .query_first(sql)
            .await
            .expect("a count")
            .expect("a row");
    }
    found
}

/// Notes a master's coordinates, and begins another file.
async fn mark(server: &Server) -> Mark {
    let status = match server.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let mut conn = server.connect().await;
    conn.query_drop("FLUSH TABLES WITH READ LOCK")
        .await
        .unwrap();
    let row: Row = conn.query_first(status).await.unwrap().unwrap();
    let (file, position): (String, u64) = (row.get(0).unwrap(), row.get(1).unwrap());
    let has = has_by(&mut conn).await;
    conn.query_drop("FLUSH LOGS").await.unwrap();
    let row: Row = conn.query_first(status).await.unwrap().unwrap();
    conn.query_drop("UNLOCK TABLES").await.unwrap();
    Mark {
        mid: format!("{file}:{position}"),
        file: row.get(0).unwrap(),
        has,
    }
}

impl Pair {
    pub async fn start(kind: Kind, format: &'static str) -> Pair {
        let master = |id: u32| {
            let mut options = ServerOptions::new(id);
            options.binlog_format = Some(format);
            options.gtid = kind.is_mariadb();
            Server::start(kind, options)
        };
        let masters = [master(IDS[0]).await, master(IDS[1]).await];
        let mut options = replica_options(kind, 11);
        options.gtid = kind.is_mariadb();
        let replica = Server::start(kind, options).await;
        let first = StartAt::first_file("mysql-bin");
        dual_masters(&masters[0], &masters[1], &first).await;
        masters[0].sql(SCHEMA).await;
        wait_for_table(&masters[1], "test", "done").await;
        replica.sql(&format!("SET sql_log_bin = 0; {SCHEMA}")).await;
        Pair {
            masters,
            replica,
            marks: Vec::new(),
        }
    }

    /// Load with marks at which the masters differ.
    pub async fn fill(&mut self) {
        let [m1, m2] = &self.masters;
        let writers = Writers::start(&self.masters);
        for _ in 0..6 {
            run_for(250).await;
            let first = mark(m1).await;
            run_for(60).await;
            self.marks.push([first, mark(m2).await]);
        }
        writers.finish().await;
        self.settle().await;
    }

    /// Waits until the masters are equal.
    pub async fn settle(&self) {
        let [m1, m2] = &self.masters;
        let deadline = Deadline::after_secs(60);
        while has(m1).await != has(m2).await {
            assert!(!deadline.passed(), "the masters differ");
            run_for(50).await;
        }
    }

    pub async fn purge(&self, purged: [usize; 2]) {
        for (at, mark) in purged.into_iter().enumerate().filter(|(_, mark)| *mark > 0) {
            let file = &self.marks[mark][at].file;
            let sql = format!("PURGE BINARY LOGS TO '{file}'");
            let deadline = Deadline::after_secs(20);
            // The newest file that a connection reads cannot be purged.
            loop {
                self.masters[at].sql(&sql).await;
                let first = self.masters[at].value("SHOW BINARY LOGS").await;
                if first.as_deref() == Some(file) {
                    break;
                }
                assert!(!deadline.passed(), "{file} is not the first: {first:?}");
                run_for(200).await;
            }
        }
    }

    async fn applying_m1(&self, runs: bool) {
        let verb = if runs { "START" } else { "STOP" };
        let noun = match self.masters[0].kind.says_replica() {
            true => "REPLICA",
            false => "SLAVE",
        };
        let sql = format!("{verb} {noun} SQL_THREAD");
        self.masters[0].sql(&sql).await;
    }

    /// The replica has these, and follows nothing.
    pub async fn seed_replica(&self, has: Has) {
        let reset = match self.replica.kind.says_replica() {
            true => "STOP REPLICA; RESET REPLICA ALL",
            false => "STOP SLAVE; RESET SLAVE ALL",
        };
        self.replica.sql(reset).await;
        let mut sql =
            "SET sql_log_bin = 0; DELETE FROM test.t; DELETE FROM test.counters".to_owned();
        for ((rows, updates), id) in has.into_iter().zip(IDS) {
            for chunk in (1..=rows).collect::<Vec<_>>().chunks(500) {
                let values: Vec<String> =
                    chunk.iter().map(|seq| format!("({id}, {seq})")).collect();
                sql.push_str(&format!(
                    "; INSERT INTO test.t VALUES {}",
                    values.join(", ")
                ));
            }
            sql.push_str(&format!(
                "; INSERT INTO test.counters VALUES ({id}, {updates})"
            ));
        }
        self.replica.sql(&sql).await;
    }

    /// What precedes each master's first file, where it was purged to these marks.
    pub fn before_files(&self, purged: [usize; 2]) -> [Has; 2] {
        [0, 1].map(|at| match purged[at] {
            0 => [(0, 0); 2],
            mark => self.marks[mark][at].has,
        })
    }

    /// What a replica has that was seeded at these starts.
    async fn at_starts(&self, row: &Case) -> Has {
        let mut most = [(0, 0); 2];
        for at in 0..2 {
            let known = match row.starts[at] {
                Latest => has(&self.masters[at]).await,
                Mid(mark) | File(mark) => self.marks[mark][at].has,
                Earliest if row.purged[at] > 0 => self.marks[row.purged[at]][at].has,
                Earliest => [(0, 0); 2],
            };
            for (slot, one) in most.iter_mut().zip(known) {
                *slot = (slot.0.max(one.0), slot.1.max(one.1));
            }
        }
        most
    }

    fn relay(&self, starts: [Start; 2]) -> Relay {
        let mut sources = Vec::new();
        for (at, name) in ["m1", "m2"].into_iter().enumerate() {
            let mut source = SourceOptions::of(name, &self.masters[at]);
            source.start = Some(match starts[at] {
                Earliest => "earliest".to_owned(),
                Latest => "latest".to_owned(),
                Mid(mark) => self.marks[mark][at].mid.clone(),
                File(mark) => format!("{}:4", self.marks[mark][at].file),
            });
            if self.masters[at].kind.is_mariadb() {
                source.auto_position = Some(false);
            }
            sources.push(source);
        }
        let mut options = RelayOptions::new(sources);
        options.replicate_do_db = Vec::new();
        Relay::start(options)
    }

    /// Waits until the replica has what the masters have, as long as it gets more.
    pub async fn wait_equal(&self, relay: &Relay, what: &str) {
        let expected = has(&self.masters[0]).await;
        let mut deadline = Deadline::after_secs(120);
        let mut before = None;
        loop {
            let found = has(&self.replica).await;
            if found == expected {
                return;
            }
            if before.replace(found) != Some(found) {
                deadline = Deadline::after_secs(120);
            }
            let status = replica_statuses(&self.replica).await;
            let failed = status.iter().any(|one| one.sql_errno != 0);
            let too_many = found.iter().zip(&expected).any(|(one, two)| one > two);
            assert!(
                !failed && !too_many && !deadline.passed(),
                "{what}: {found:?} instead of {expected:?}: {status:?}\n{}",
                relay.status()["sources"]
            );
            run_for(100).await;
        }
    }

    async fn run(&self, row: &Case) {
        let what = format!("{row:?}");
        self.purge(row.purged).await;
        if row.lags {
            self.applying_m1(false).await;
            let writers = Writers::start(&self.masters);
            run_for(200).await;
            writers.finish().await;
            run_for(200).await;
        }
        self.seed_replica(self.at_starts(row).await).await;
        let mut relay = self.relay(row.starts);
        relay.wait_streaming().await;
        let kind = self.replica.kind;
        let first = StartAt::first_file("relay-bin");
        attach(
            &self.replica,
            RELAY_HOST,
            relay.port,
            &first,
            retry_each_second(kind),
        )
        .await;
        if row.lags {
            self.applying_m1(true).await;
        }
        let writers = Writers::start(&self.masters);
        run_for(150).await;
        relay.kill9();
        relay.restart();
        run_for(150).await;
        writers.finish().await;
        self.settle().await;
        self.wait_equal(&relay, &what).await;
        // Nothing more follows.
        run_for(300).await;
        self.wait_equal(&relay, &what).await;
        relay.terminate();
        relay.verify();
        println!("{kind}: passed: {what}");
    }
}

async fn undecided(kind: Kind) {
    let _turn = support::turn();
    let mut pair = Pair::start(kind, "MIXED").await;
    for (starts, is_decided) in [([File(1), Earliest], false), ([File(2), File(2)], true)] {
        let writers = Writers::start(&pair.masters);
        run_for(200).await;
        writers.finish().await;
        pair.settle().await;
        pair.applying_m1(false).await;
        let [m1, m2] = &pair.masters;
        if pair.marks.is_empty() {
            pair.marks.push([mark(m1).await, mark(m2).await]);
        }
        pair.marks.push([mark(m1).await, mark(m2).await]);
        let newest = pair.marks.len() - 1;
        let case = row([newest, newest], starts, false, true);
        pair.purge(case.purged).await;
        let writers = Writers::start(&pair.masters);
        run_for(1500).await; // All of one second would look alike.
        writers.finish().await;
        pair.seed_replica(pair.at_starts(&case).await).await;
        let mut relay = pair.relay(starts);
        if !is_decided {
            let is_undecided = |status: &serde_json::Value| {
                let m2 = &status["sources"][1];
                let message = m2["last_error"]["message"].to_string();
                m2["state"] == "failed" && message.contains("Exec_Master_Log_Pos")
            };
            relay
                .wait_status("m2's start is not decided", 30, is_undecided)
                .await;
            pair.applying_m1(true).await;
        }
        relay.wait_streaming().await;
        let first = StartAt::first_file("relay-bin");
        let retry = retry_each_second(kind);
        attach(&pair.replica, RELAY_HOST, relay.port, &first, retry).await;
        if is_decided {
            pair.applying_m1(true).await;
        }
        pair.settle().await;
        pair.wait_equal(&relay, "after a common transaction").await;
        relay.terminate();
        relay.verify();
    }
}

const SCHEMA: &str = "CREATE DATABASE IF NOT EXISTS test; \
     CREATE TABLE IF NOT EXISTS test.t (origin INT, seq INT, PRIMARY KEY (origin, seq)); \
     CREATE TABLE IF NOT EXISTS test.counters (origin INT PRIMARY KEY, n INT); \
     INSERT IGNORE INTO test.counters VALUES (86, 0), (18, 0); \
     CREATE TABLE IF NOT EXISTS test.done (id INT PRIMARY KEY)";

async fn check(kind: Kind, format: &'static str) {
    let _turn = support::turn();
    let mut pair = Pair::start(kind, format).await;
    pair.fill().await;
    for row in &ROWS {
        if row.in_gate || profile() == Profile::Long {
            pair.run(row).await;
        }
    }
}
