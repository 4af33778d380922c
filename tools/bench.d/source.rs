//! The sources: a fresh server with a data set in its binlog.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use mysql_async::Row;
use mysql_async::prelude::Queryable;

use crate::support::Deadline;
use crate::support::replication::{dual_masters, settle, wait_for_table};
use crate::support::servers::{Kind, Server, ServerOptions};
use crate::support::topology::Mode;

/// Clients that load single-row transactions at the same time, so that commits form groups.
const CLIENTS: u64 = 4;
/// Whether the procedure that writes them is there.
const PROCEDURES: &str =
    "SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = 'test'";

/// What a source's binlog holds.
#[derive(Clone, Copy)]
pub enum DataSet {
    /// So many transactions of one small row each.
    Transactions(u64),
    /// So many transactions of one row of 1 MiB each.
    LargeRows(u64),
}

impl DataSet {
    pub fn transactions(self) -> u64 {
        match self {
            DataSet::Transactions(count) | DataSet::LargeRows(count) => count,
        }
    }
}

impl fmt::Display for DataSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataSet::Transactions(count) => write!(f, "{count} single-row transactions"),
            DataSet::LargeRows(count) => write!(f, "{count} rows of 1 MiB"),
        }
    }
}

/// The binlogs that are received.
pub struct Measured {
    pub kind: Kind,
    pub data_set: DataSet,
    pub bytes: u64,
    pub files: usize,
}

/// A server that has written its data set and writes nothing more.
pub struct Source {
    pub server: Server,
    pub data_set: DataSet,
    /// Names and sizes of its binlog files, oldest first. The last thing in them is a transaction, so that
    /// the end of the last file is a position that the relay reaches.
    pub files: Vec<(String, u64)>,
    /// The GTIDs of everything in them; empty without GTIDs.
    pub gtid_executed: String,
}

impl Source {
    pub async fn load(kind: Kind, data_set: DataSet) -> Source {
        Source::load_with(data_set, kind, ServerOptions::new(86)).await
    }

    /// Of master 1 or 2, which writes rows of its own.
    pub async fn load_master(kind: Kind, data_set: DataSet, number: u32) -> Source {
        Source::load_with(data_set, kind, master_options(number)).await
    }

    /// Two masters that replicate from each other, with so many single-row transactions on each: all of them are in both
    /// binlogs.
    pub async fn load_pair(kind: Kind, count: u64) -> [Source; 2] {
        let first = start(kind, master_options(1)).await;
        let second = start(kind, master_options(2)).await;
        let mode = match kind.is_mariadb() {
            true => Mode::MariaDbFilePosition,
            false => Mode::MySqlAutoPosition,
        };
        dual_masters(&first, &second, &mode.start_at("mysql-bin")).await;
        create_small(&first).await;
        wait_for_table(&second, "test", "t").await;
        let deadline = Deadline::after_secs(30);
        while second.value(PROCEDURES).await.as_deref() != Some("1") {
            assert!(!deadline.passed(), "{second} does not replicate");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::join!(fill(&first, count), fill(&second, count));
        settle(&[&first, &second], &[&first, &second], 600).await;
        let data_set = DataSet::Transactions(count);
        [
            Source::loaded(data_set, first).await,
            Source::loaded(data_set, second).await,
        ]
    }

    async fn load_with(data_set: DataSet, kind: Kind, options: ServerOptions) -> Source {
        let server = start(kind, options).await;
        match data_set {
            DataSet::Transactions(count) => {
                create_small(&server).await;
                fill(&server, count).await;
            }
            DataSet::LargeRows(count) => load_large(&server, count).await,
        }
        Source::loaded(data_set, server).await
    }

    async fn loaded(data_set: DataSet, server: Server) -> Source {
        let kind = server.kind;
        let files: Vec<(String, u64)> = server
            .rows::<Row>("SHOW BINARY LOGS")
            .await
            .iter()
            .map(|row| (row.get(0).expect("a name"), row.get(1).expect("a size")))
            .collect();
        let query = match kind {
            Kind::MySql => "SELECT REPLACE(@@global.gtid_executed, '\\n', '')",
            Kind::MySql56 => "SELECT ''",
            _ => "SELECT @@global.gtid_binlog_pos",
        };
        let gtid_executed = server.value(query).await.unwrap_or_default();
        // Read once, so that every competitor finds the files in memory.
        let mut buffer = vec![0; 1 << 20];
        for file in server.log_files() {
            let mut file = std::fs::File::open(file).expect("a binlog file");
            while file.read(&mut buffer).expect("a binlog file can be read") > 0 {}
        }
        Source {
            server,
            data_set,
            files,
            gtid_executed,
        }
    }

    /// What its binlog has.
    pub fn measured(&self) -> Measured {
        Measured {
            kind: self.server.kind,
            data_set: self.data_set,
            bytes: self.bytes(),
            files: self.files.len(),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }

    /// The end of its binlog.
    pub fn end(&self) -> &(String, u64) {
        self.files
            .last()
            .expect("a server with a binlog has a file")
    }
}

fn master_options(number: u32) -> ServerOptions {
    ServerOptions::new(if number == 1 { 86 } else { 18 })
        .extra("--auto-increment-increment=2")
        .extra(format!("--auto-increment-offset={number}"))
}

async fn start(kind: Kind, mut options: ServerOptions) -> Server {
    options.binlog_format = Some("ROW");
    options.gtid = kind == Kind::MySql;
    let server = Server::start(kind, options).await;
    // How durable the source is while it is loaded does not matter.
    server
        .sql("SET GLOBAL sync_binlog=0; SET GLOBAL innodb_flush_log_at_trx_commit=0")
        .await;
    server
}

/// A procedure with autocommit: each statement is a transaction, and no client is in the way.
async fn create_small(server: &Server) {
    server
        .sql("CREATE DATABASE test; CREATE TABLE test.t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, note VARCHAR(60))")
        .await;
    server
        .sql(
            "CREATE PROCEDURE test.fill(n INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < n DO \
             INSERT INTO test.t (a, note) VALUES (i, 'a row of its own transaction'); \
             SET i = i + 1; END WHILE; END",
        )
        .await;
}

async fn fill(server: &Server, count: u64) {
    let mut loading = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let mut conn = server.connect().await;
        loading.spawn(async move {
            let share = (count + client) / CLIENTS;
            let filled = conn.query_drop(format!("CALL test.fill({share})")).await;
            filled.expect("the transactions are written");
        });
    }
    while let Some(loaded) = loading.join_next().await {
        loaded.expect("the transactions are written");
    }
}

async fn load_large(server: &Server, count: u64) {
    server
        .sql("CREATE DATABASE test; CREATE TABLE test.big (id INT AUTO_INCREMENT PRIMARY KEY, data LONGBLOB)")
        .await;
    let mut conn = server.connect().await;
    for row in 0..count {
        let letter = 65 + row % 26;
        let insert =
            format!("INSERT INTO test.big (data) VALUES (REPEAT(CHAR({letter}), 1048576))");
        conn.query_drop(insert).await.expect("a row is written");
    }
}
