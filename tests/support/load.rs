//! Load with a seed: clients that write rows and tables of their own, so that two masters never
//! conflict and every server must end up with the same contents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

use super::Deadline;
use super::servers::{Kind, Server};

#[derive(Clone, Debug)]
pub struct LoadOptions {
    pub seed: u64,
    pub clients: u32,
    /// The first client's number; clients of all loads of a test must have different ones.
    pub first_owner: u32,
    /// The database that is replicated, and one that is not.
    pub database: String,
    pub other: String,
    /// Appended to the names of the shared tables: masters that do not replicate from each other
    /// have tables of their own.
    pub suffix: String,
    /// Statements and transactions over both databases; only with binlog_format=ROW, where the
    /// table's database decides what is filtered.
    pub cross_database: bool,
    /// CREATE, ALTER, TRUNCATE and DROP on tables of each client's own.
    pub ddl: bool,
    /// TRUNCATE among them. A MariaDB killed in it has emptied the table but never logs that (seen),
    /// so the one that is killed does none.
    pub truncate: bool,
    /// Between two transactions of a client.
    pub pause: Duration,
}

impl LoadOptions {
    pub fn new(seed: u64, first_owner: u32) -> LoadOptions {
        LoadOptions {
            seed,
            clients: 4,
            first_owner,
            database: "test".to_owned(),
            other: "other".to_owned(),
            suffix: String::new(),
            cross_database: false,
            ddl: true,
            truncate: true,
            pause: Duration::from_millis(2),
        }
    }
}

/// Creates the tables of the load in `test`, which is replicated, and `other`, which is not.
pub async fn create_tables(server: &Server, suffix: &str) {
    create_tables_in(server, &["test", "other"], suffix).await;
}

/// Creates the tables of the load in databases of these names.
pub async fn create_tables_in(server: &Server, databases: &[&str], suffix: &str) {
    let (time, _) = server.clock();
    for database in databases {
        server
            .sql(&format!("CREATE DATABASE IF NOT EXISTS `{database}`"))
            .await;
        server
            .sql(&format!(
                "USE `{database}`; \
                 CREATE TABLE children{suffix} (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
                   item BIGINT NOT NULL, owner INT NOT NULL, payload MEDIUMTEXT, KEY (owner)); \
                 CREATE TABLE progress{suffix} (owner INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL); \
                 CREATE TABLE items{suffix} (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
                   owner INT NOT NULL, score DOUBLE, note VARCHAR(200), \
                   amount INT NOT NULL DEFAULT 0, at {time}, KEY (owner))"
            ))
            .await;
    }
}

/// What the clients were told by their server.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Transactions whose end the server acknowledged.
    pub acknowledged: u64,
    /// For each client the last number that an acknowledged transaction wrote into `progress`.
    pub progress: BTreeMap<u32, u64>,
    /// How many clients lost their server.
    pub disconnected: u32,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    /// By all clients together.
    acknowledged: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Client>>,
}

impl Load {
    pub fn start(server: &Server, options: &LoadOptions) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let opts: Opts = OptsBuilder::from_opts(server.opts())
            .db_name(Some(options.database.as_str()))
            .stmt_cache_size(0)
            .into();
        let tasks = (0..options.clients)
            .map(|index| {
                let owner = options.first_owner + index;
                let (_, now) = server.clock();
                let mut client = Client::new(server.kind, now, options.clone(), owner);
                client.of_all = Arc::clone(&acknowledged);
                tokio::spawn(client.run(opts.clone(), Arc::clone(&stop)))
            })
            .collect();
        Load {
            stop,
            acknowledged,
            tasks,
        }
    }

    /// Waits until so many more transactions were acknowledged than at the call: a length of load
    /// that is the same on a slow machine.
    pub async fn wait_for(&self, count: u64) {
        let wanted = self.acknowledged.load(Ordering::Relaxed) + count;
        let deadline = Deadline::after_secs(120);
        loop {
            let found = self.acknowledged.load(Ordering::Relaxed);
            if found >= wanted {
                return;
            }
            let limit = deadline.limit_secs();
            assert!(
                !deadline.passed(),
                "the load: {found} of {wanted} transactions were acknowledged in {limit} s"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it, or notes that it has ended with its server, and adds up.
    pub async fn finish(self) -> LoadReport {
        self.stop.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// The totals, once all clients have noticed that their server was killed.
    pub async fn ended(self) -> LoadReport {
        let mut report = LoadReport::default();
        for task in self.tasks {
            let client = match task.await {
                Ok(client) => client,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            report.acknowledged += client.acknowledged;
            report.progress.insert(client.owner, client.progress);
            report.disconnected += u32::from(client.disconnected);
        }
        report
    }
}

/// Fails when a server lacks a transaction that a client was told is there.
pub async fn assert_acknowledged(server: &Server, report: &LoadReport, suffix: &str) {
    assert_acknowledged_in(server, report, "test", suffix).await;
}

/// As `assert_acknowledged`, for a load in a database of this name.
pub async fn assert_acknowledged_in(
    server: &Server,
    report: &LoadReport,
    database: &str,
    suffix: &str,
) {
    let query = format!("SELECT owner, n FROM `{database}`.progress{suffix}");
    let found: BTreeMap<u32, u64> = server
        .rows::<(u32, u64)>(&query)
        .await
        .into_iter()
        .collect();
    for (owner, acknowledged) in &report.progress {
        let n = found.get(owner).copied().unwrap_or(0);
        assert!(
            n >= *acknowledged,
            "{server}: client {owner} was acknowledged {acknowledged} but only {n} is there"
        );
    }
}

struct Client {
    kind: Kind,
    /// The function that gives the time.
    now: &'static str,
    options: LoadOptions,
    owner: u32,
    rng: StdRng,
    /// Ids of own rows in test.items, oldest first.
    items: Vec<u64>,
    /// Columns that the own table has grown; None when there is no own table.
    own_table: Option<u32>,
    acknowledged: u64,
    of_all: Arc<AtomicU64>,
    progress: u64,
    disconnected: bool,
}

impl Client {
    fn new(kind: Kind, now: &'static str, options: LoadOptions, owner: u32) -> Client {
        let rng = StdRng::seed_from_u64(options.seed.wrapping_mul(1_000_003) ^ u64::from(owner));
        Client {
            kind,
            now,
            options,
            owner,
            rng,
            items: Vec::new(),
            own_table: None,
            acknowledged: 0,
            of_all: Arc::default(),
            progress: 0,
            disconnected: false,
        }
    }

    async fn run(mut self, opts: Opts, stop: Arc<AtomicBool>) -> Client {
        let Ok(mut conn) = Conn::new(opts).await else {
            self.disconnected = true;
            return self;
        };
        while !stop.load(Ordering::Relaxed) {
            match self.step(&mut conn).await {
                Ok(()) => {
                    self.acknowledged += 1;
                    self.of_all.fetch_add(1, Ordering::Relaxed);
                }
                Err(Error::Server(error)) if self.may_try_again(error.code) => {
                    let back = format!("ROLLBACK; {}", self.use_database());
                    if conn.query_drop(back).await.is_err() {
                        self.disconnected = true;
                        return self;
                    }
                }
                Err(Error::Server(error)) if !matches!(error.code, 1053 | 1077 | 1079 | 1317) => {
                    panic!("client {}: {error}", self.owner)
                }
                Err(_) => {
                    self.disconnected = true;
                    return self;
                }
            }
            tokio::time::sleep(self.options.pause).await;
        }
        conn.disconnect().await.ok();
        self
    }

    /// Deadlock, lock wait timeout: what the server asks a client to try again; and a number that it
    /// gave twice.
    fn may_try_again(&self, code: u16) -> bool {
        matches!(code, 1213 | 1205) || (code == 1062 && self.kind.forgets_auto_increment())
    }

    fn use_database(&self) -> String {
        format!("USE `{}`", self.options.database)
    }

    fn use_other(&self) -> String {
        format!("USE `{}`", self.options.other)
    }

    async fn step(&mut self, conn: &mut Conn) -> Result<(), Error> {
        match self.rng.random_range(0..100) {
            0..16 => self.insert(conn).await,
            16..24 => self.insert_many(conn).await,
            24..34 => self.update(conn).await,
            34..40 => self.delete(conn).await,
            40..58 => self.transaction(conn).await,
            58..63 => self.user_variable(conn).await,
            63..68 => self.savepoint(conn).await,
            68..72 => self.roll_back(conn).await,
            72..80 => self.other_database(conn).await,
            80..86 => self.both_databases(conn).await,
            86..92 if self.options.ddl => self.own_table(conn).await,
            86..96 => self.large_row(conn).await,
            _ => self.unsafe_statement(conn).await,
        }
    }

    fn values(&mut self) -> String {
        let (owner, amount) = (self.owner, self.rng.random_range(0..1000));
        let now = self.now;
        format!("({owner}, RAND(), 'client {owner}', {amount}, {now})")
    }

    fn insert_sql(&mut self) -> String {
        let suffix = self.options.suffix.clone();
        format!(
            "INSERT INTO items{suffix} (owner, score, note, amount, at) VALUES {}",
            self.values()
        )
    }

    /// Sets `progress` to the next number; `progress` follows when it is acknowledged.
    fn progress_sql(&self) -> String {
        let (suffix, owner, n) = (&self.options.suffix, self.owner, self.progress + 1);
        format!("REPLACE INTO progress{suffix} (owner, n) VALUES ({owner}, {n})")
    }

    async fn insert(&mut self, conn: &mut Conn) -> Result<(), Error> {
        conn.query_drop(self.insert_sql()).await?;
        self.items.extend(conn.last_insert_id());
        Ok(())
    }

    async fn insert_many(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let count = self.rng.random_range(1..6);
        let more: Vec<String> = (0..count).map(|_| self.values()).collect();
        let sql = format!("{}, {}", self.insert_sql(), more.join(", "));
        conn.query_drop(sql).await?;
        self.items.extend(conn.last_insert_id());
        Ok(())
    }

    async fn update(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let (suffix, owner, now) = (&self.options.suffix, self.owner, self.now);
        let sql = match self.items.last() {
            Some(id) if self.rng.random_bool(0.5) => {
                format!("UPDATE items{suffix} SET score = RAND(), at = {now} WHERE id = {id}")
            }
            // Applied twice or never, it shows.
            _ => format!("UPDATE items{suffix} SET amount = amount + 1 WHERE owner = {owner}"),
        };
        conn.query_drop(sql).await
    }

    async fn delete(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let (suffix, owner) = (&self.options.suffix, self.owner);
        if self.items.len() < 8 {
            return self.insert(conn).await;
        }
        let id = self.items[self.items.len() / 2];
        conn.query_drop(format!(
            "DELETE FROM items{suffix} WHERE owner = {owner} AND id < {id}"
        ))
        .await?;
        self.items.retain(|item| *item >= id);
        Ok(())
    }

    async fn transaction(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let (suffix, owner) = (self.options.suffix.clone(), self.owner);
        conn.query_drop("BEGIN").await?;
        conn.query_drop(self.insert_sql()).await?;
        let id = conn.last_insert_id();
        conn.query_drop(format!(
            "INSERT INTO children{suffix} (item, owner, payload) \
             VALUES (LAST_INSERT_ID(), {owner}, 'of a transaction')"
        ))
        .await?;
        if self.rng.random_bool(0.3) {
            // Without the index it may lock all rows and cause a deadlock with replication. MySQL 5.6
            // then logs a part of the transaction that it rolls back and retries (seen).
            conn.query_drop(format!(
                "UPDATE children{suffix} FORCE INDEX (owner) SET payload = CONCAT(payload, '+') \
                 WHERE owner = {owner} AND LENGTH(payload) < 40"
            ))
            .await?;
        }
        self.commit(conn).await?;
        self.items.extend(id);
        Ok(())
    }

    /// Ends a transaction with its number in `progress`.
    async fn commit(&mut self, conn: &mut Conn) -> Result<(), Error> {
        conn.query_drop(self.progress_sql()).await?;
        conn.query_drop("COMMIT").await?;
        self.progress += 1;
        Ok(())
    }

    async fn user_variable(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let (suffix, owner) = (&self.options.suffix, self.owner);
        let number = self.rng.random_range(0..1_000_000);
        conn.query_drop(format!(
            "SET @note := 'från {number} ¥', @amount := {number}"
        ))
        .await?;
        conn.query_drop(format!(
            "INSERT INTO items{suffix} (owner, note, amount) VALUES ({owner}, @note, @amount)"
        ))
        .await
    }

    async fn savepoint(&mut self, conn: &mut Conn) -> Result<(), Error> {
        conn.query_drop("BEGIN").await?;
        conn.query_drop(self.insert_sql()).await?;
        let id = conn.last_insert_id();
        conn.query_drop("SAVEPOINT a").await?;
        conn.query_drop(self.insert_sql()).await?;
        conn.query_drop("ROLLBACK TO SAVEPOINT a").await?;
        self.commit(conn).await?;
        self.items.extend(id);
        Ok(())
    }

    async fn roll_back(&mut self, conn: &mut Conn) -> Result<(), Error> {
        conn.query_drop("BEGIN").await?;
        conn.query_drop(self.insert_sql()).await?;
        conn.query_drop("ROLLBACK").await
    }

    async fn other_database(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let (suffix, owner) = (self.options.suffix.clone(), self.owner);
        conn.query_drop(self.use_other()).await?;
        let sql = if self.rng.random_bool(0.7) {
            self.insert_sql()
        } else {
            format!("DELETE FROM items{suffix} WHERE owner = {owner}")
        };
        conn.query_drop(sql).await?;
        conn.query_drop(self.use_database()).await
    }

    async fn both_databases(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let (suffix, owner) = (self.options.suffix.clone(), self.owner);
        let (database, other) = (self.options.database.clone(), self.options.other.clone());
        if self.options.cross_database && self.rng.random_bool(0.5) {
            return conn
                .query_drop(format!(
                    "UPDATE `{database}`.items{suffix} AS a JOIN `{other}`.items{suffix} AS b \
                     ON a.owner = b.owner SET a.amount = a.amount + 1, b.amount = b.amount + 1 \
                     WHERE a.owner = {owner} AND b.owner = {owner}"
                ))
                .await;
        }
        conn.query_drop("BEGIN").await?;
        conn.query_drop(self.insert_sql()).await?;
        conn.query_drop(self.use_other()).await?;
        conn.query_drop(self.insert_sql()).await?;
        conn.query_drop(self.use_database()).await?;
        if self.options.cross_database {
            let items = format!("`{}`.items", self.options.other);
            let insert = self.insert_sql().replacen("items", &items, 1);
            conn.query_drop(insert).await?;
        }
        self.commit(conn).await
    }

    async fn own_table(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let table = format!("own_{}", self.owner);
        let columns = self.own_table;
        let (sql, columns) = match columns {
            None => (
                format!("CREATE TABLE {table} (id INT AUTO_INCREMENT PRIMARY KEY, v INT)"),
                Some(0),
            ),
            Some(n) if n >= 3 => (format!("DROP TABLE {table}"), None),
            Some(n) => match self.rng.random_range(0..4) {
                0 => (
                    format!("ALTER TABLE {table} ADD COLUMN c{n} VARCHAR(20)"),
                    Some(n + 1),
                ),
                1 if self.options.truncate => (format!("TRUNCATE TABLE {table}"), Some(n)),
                _ => (
                    format!("INSERT INTO {table} (v) VALUES (1), (2), ({n})"),
                    Some(n),
                ),
            },
        };
        conn.query_drop(sql).await?;
        self.own_table = columns;
        Ok(())
    }

    async fn large_row(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let (suffix, owner) = (&self.options.suffix, self.owner);
        let length = self.rng.random_range(1_000..60_000);
        let letter = self.rng.random_range(b'a'..=b'z') as char;
        conn.query_drop(format!(
            "INSERT INTO children{suffix} (item, owner, payload) \
             VALUES (0, {owner}, REPEAT('{letter}', {length}))"
        ))
        .await
    }

    /// What binlog_format=MIXED must log as rows.
    async fn unsafe_statement(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let (suffix, owner) = (&self.options.suffix, self.owner);
        conn.query_drop(format!(
            "INSERT INTO items{suffix} (owner, note, amount) VALUES ({owner}, UUID(), 1)"
        ))
        .await
    }
}
