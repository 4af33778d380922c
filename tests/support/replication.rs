//! Masters that replicate from each other, and replicas that follow a master or the relay.

use mysql_async::Row;

use super::Deadline;
use super::servers::{Kind, REPL_PASSWORD, REPL_USER, Server};

/// Where a replica begins.
#[derive(Clone, Debug)]
pub enum StartAt {
    FilePosition(String, u64),
    /// MariaDB: gtid_slave_pos.
    SlavePos,
    /// MySQL: SOURCE_AUTO_POSITION, in 5.6 MASTER_AUTO_POSITION.
    AutoPosition,
}

impl StartAt {
    pub fn first_file(basename: &str) -> StartAt {
        StartAt::FilePosition(format!("{basename}.000001"), 4)
    }
}

/// Points a replica at host and port and starts it. It is given host, port, user, password and
/// position, nothing else, except for `extra` (such as "MASTER_CONNECT_RETRY=1").
pub async fn attach(replica: &Server, host: &str, port: u16, at: &StartAt, extra: &str) {
    attach_channel(replica, "", host, port, at, extra).await;
}

/// As `attach`, for a connection with a name: a channel of MySQL, a named connection of MariaDB.
pub async fn attach_channel(
    replica: &Server,
    channel: &str,
    host: &str,
    port: u16,
    at: &StartAt,
    extra: &str,
) {
    let account = (REPL_USER, REPL_PASSWORD);
    follow(replica, channel, account, (host, port), at, extra).await;
}

/// As `attach`, with another user and password.
pub async fn attach_as(
    account: (&str, &str),
    replica: &Server,
    host: &str,
    port: u16,
    at: &StartAt,
    extra: &str,
) {
    follow(replica, "", account, (host, port), at, extra).await;
}

async fn follow(
    replica: &Server,
    channel: &str,
    (user, password): (&str, &str),
    (host, port): (&str, u16),
    at: &StartAt,
    extra: &str,
) {
    let prefix = source_word(replica.kind);
    let mut options = vec![
        format!("{prefix}_HOST='{host}'"),
        format!("{prefix}_PORT={port}"),
        format!("{prefix}_USER='{user}'"),
        format!("{prefix}_PASSWORD='{password}'"),
    ];
    match at {
        StartAt::FilePosition(file, position) => {
            options.push(format!("{prefix}_LOG_FILE='{file}'"));
            options.push(format!("{prefix}_LOG_POS={position}"));
        }
        StartAt::SlavePos => options.push("MASTER_USE_GTID=slave_pos".to_owned()),
        StartAt::AutoPosition => options.push(format!("{prefix}_AUTO_POSITION=1")),
    }
    if !extra.is_empty() {
        options.push(extra.to_owned());
    }
    let options = options.join(", ");
    let change = match (replica.kind.says_replica(), channel) {
        (false, "") => format!("CHANGE MASTER TO {options}; START SLAVE"),
        (false, name) if replica.kind.is_mysql() => format!(
            "CHANGE MASTER TO {options} FOR CHANNEL '{name}'; START SLAVE FOR CHANNEL '{name}'"
        ),
        // MariaDB's; MySQL 5.5 and 5.6 have one connection only.
        (false, name) => format!("CHANGE MASTER '{name}' TO {options}; START SLAVE '{name}'"),
        (true, "") => format!("CHANGE REPLICATION SOURCE TO {options}; START REPLICA"),
        (true, name) => format!(
            "CHANGE REPLICATION SOURCE TO {options} FOR CHANNEL '{name}'; \
             START REPLICA FOR CHANNEL '{name}'"
        ),
    };
    replica.sql(&change).await;
}

/// How the options of its CHANGE MASTER TO or CHANGE REPLICATION SOURCE TO begin.
fn source_word(kind: Kind) -> &'static str {
    match kind.says_replica() {
        false => "MASTER",
        true => "SOURCE",
    }
}

/// The option that makes a replica try again each second, for tests that stop its source.
/// MySQL 9.7 would give up after ten times, and a killed server may need longer to come back.
pub fn retry_each_second(kind: Kind) -> &'static str {
    match kind.says_replica() {
        false => "MASTER_CONNECT_RETRY=1",
        true => "SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=1000",
    }
}

/// Makes each of two fresh masters a replica of the other.
pub async fn dual_masters(first: &Server, second: &Server, at: &StartAt) {
    let extra = retry_each_second(first.kind);
    attach(first, "127.0.0.1", second.port, at, extra).await;
    attach(second, "127.0.0.1", first.port, at, extra).await;
}

/// MariaDB by file and position: brings a killed master's own replication from its peer to the
/// exact transaction. Its relay-log.info is written apart from the commit, so after SIGKILL it may
/// point at a transaction that is applied already; its binlog, with log_slave_updates, is exact.
pub async fn resume_from_peer(crashed: &Server, peer: &Server) {
    let state = crashed
        .value("SELECT @@gtid_binlog_state")
        .await
        .unwrap_or_default();
    // In a ring the peer passes on what others wrote, too.
    let own = format!("-{}-", crashed.options.server_id);
    let applied = state.split(',').filter(|gtid| !gtid.contains(&own));
    let (file, position) = position_after(peer, &applied.collect::<Vec<_>>()).await;
    crashed
        .sql(&format!(
            "CHANGE MASTER TO MASTER_LOG_FILE='{file}', MASTER_LOG_POS={position}; START SLAVE"
        ))
        .await;
}

/// SIGKILL for a master that replicates from another. One whose position would not survive that has
/// stopped applying a moment before, so that it does not apply a transaction of its peer twice, which
/// would make the masters differ; it receives, and its clients write, to the end.
pub async fn kill_replicating(master: &mut Server) {
    if master.kind.is_mysql() && !master.kind.keeps_position() {
        master.sql("STOP SLAVE SQL_THREAD").await;
    }
    master.kill9();
}

/// Where on a MariaDB master the transaction after the last of the given ones begins; the start of
/// its first file when it has none of them.
async fn position_after(server: &Server, gtids: &[&str]) -> (String, u64) {
    let mut after = ("mysql-bin.000001".to_owned(), 4);
    for log in server.rows::<Row>("SHOW BINARY LOGS").await {
        let file: String = log.get(0).expect("SHOW BINARY LOGS has a name");
        let mut found = false;
        let mut end = 4;
        let query = format!("SHOW BINLOG EVENTS IN '{file}'");
        for event in server.rows::<Row>(&query).await {
            let info: String = event.get("Info").unwrap_or_default();
            let kind: String = event.get("Event_type").unwrap_or_default();
            if kind == "Gtid" {
                if found {
                    after = (file.clone(), event.get("Pos").expect("a position"));
                }
                let words = info.split("GTID ").nth(1).unwrap_or_default();
                let gtid = words.split_whitespace().next();
                found = gtid.is_some_and(|gtid| gtids.contains(&gtid));
            }
            end = event.get("End_log_pos").expect("a position");
        }
        if found {
            after = (file, end);
        }
    }
    after
}

/// The output of SHOW SLAVE STATUS / SHOW REPLICA STATUS.
#[derive(Clone, Debug, Default)]
pub struct ReplicaStatus {
    pub io_running: String,
    pub sql_running: String,
    pub io_errno: u32,
    pub io_error: String,
    pub sql_errno: u32,
    pub sql_error: String,
}

/// Of its connection, or its first one.
pub async fn replica_status(server: &Server) -> ReplicaStatus {
    let statuses = replica_statuses(server).await;
    let first = statuses.into_iter().next();
    first.unwrap_or_else(|| panic!("{server} is not a replica"))
}

/// Of each of its connections.
pub async fn replica_statuses(server: &Server) -> Vec<ReplicaStatus> {
    let (statement, word) = match (server.kind.says_replica(), server.kind.is_mariadb()) {
        (true, _) => ("SHOW REPLICA STATUS", "Replica"),
        (false, true) => ("SHOW ALL SLAVES STATUS", "Slave"),
        (false, false) => ("SHOW SLAVE STATUS", "Slave"),
    };
    let status = |row: Row| {
        let text = |column: &str| {
            row.get::<Option<String>, &str>(column)
                .flatten()
                .unwrap_or_default()
        };
        let number = |column: &str| text(column).parse().unwrap_or(0);
        ReplicaStatus {
            io_running: text(&format!("{word}_IO_Running")),
            sql_running: text(&format!("{word}_SQL_Running")),
            io_errno: number("Last_IO_Errno"),
            io_error: text("Last_IO_Error"),
            sql_errno: number("Last_SQL_Errno"),
            sql_error: text("Last_SQL_Error"),
        }
    };
    let rows: Vec<Row> = server.rows(statement).await;
    rows.into_iter().map(status).collect()
}

/// Both threads run and nothing is wrong.
pub async fn assert_healthy(replica: &Server) {
    let status = replica_status(replica).await;
    let healthy = status.io_running == "Yes"
        && status.sql_running == "Yes"
        && status.io_errno == 0
        && status.sql_errno == 0;
    assert!(
        healthy,
        "{replica}: {status:#?}\n{}",
        replica.error_log_tail()
    );
}

/// How often the replica's I/O thread has connected since the server's start.
pub fn connects(replica: &Server) -> usize {
    let log = replica.error_log();
    let connected = |line: &&str| {
        line.contains("connected to master '") || line.contains("connected to source")
    };
    log.lines().filter(connected).count()
}

/// Fails when the replica was ever stopped, lost its connection or logged an error.
pub async fn assert_never_interrupted(replica: &Server) {
    assert_healthy(replica).await;
    assert_eq!(
        connects(replica),
        1,
        "{replica} connected again\n{}",
        replica.error_log_tail()
    );
    assert_no_errors(replica, &[]);
}

/// Fails when the error log has an error that contains none of the allowed words.
pub fn assert_no_errors(replica: &Server, allowed: &[&str]) {
    let log = replica.error_log();
    let bad: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("[ERROR]"))
        .filter(|line| !allowed.iter().any(|word| line.contains(word)))
        .collect();
    assert!(bad.is_empty(), "{replica} reported:\n{}", bad.join("\n"));
}

/// Writes a mark on each writer and waits until every reader has them all: then everything that
/// was written before has arrived, since each path keeps its order.
pub async fn settle(writers: &[&Server], readers: &[&Server], secs: u64) {
    settle_in("test", writers, readers, secs).await;
}

/// As `settle`, with the marks in a database of this name.
pub async fn settle_in(database: &str, writers: &[&Server], readers: &[&Server], secs: u64) {
    let mark = write_mark_in(database, writers).await;
    let deadline = Deadline::after_secs(secs);
    for reader in readers {
        for writer in writers {
            while !has_mark_in(database, reader, writer, mark).await {
                let status = replica_statuses(reader).await;
                let applies = |one: &ReplicaStatus| one.sql_errno == 0 && one.sql_running == "Yes";
                assert!(
                    !status.is_empty() && status.iter().all(applies),
                    "{reader}: applying stopped: {status:#?}\n{}",
                    reader.error_log_tail()
                );
                assert!(
                    !deadline.passed(),
                    "{reader}: not caught up with {writer} in {secs} s: {status:#?}\n{}",
                    reader.error_log_tail()
                );
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Writes a mark on each writer, after everything else, and returns it.
pub async fn write_mark(writers: &[&Server]) -> u64 {
    write_mark_in("test", writers).await
}

async fn write_mark_in(database: &str, writers: &[&Server]) -> u64 {
    let mark = rand::random_range(1..u64::MAX / 2);
    for writer in writers {
        let table = format!("mark_{}", writer.options.server_id);
        writer
            .sql(&format!(
                "USE `{database}`; CREATE TABLE IF NOT EXISTS {table} (mark BIGINT PRIMARY KEY); \
                 INSERT INTO {table} VALUES ({mark})"
            ))
            .await;
    }
    mark
}

/// Whether a writer's mark has arrived.
pub async fn has_mark(reader: &Server, writer: &Server, mark: u64) -> bool {
    has_mark_in("test", reader, writer, mark).await
}

async fn has_mark_in(database: &str, reader: &Server, writer: &Server, mark: u64) -> bool {
    let table = format!("mark_{}", writer.options.server_id);
    let known = reader
        .value(&format!(
            "SELECT table_name FROM information_schema.tables \
             WHERE table_schema = '{database}' AND table_name = '{table}'"
        ))
        .await;
    if known.is_none() {
        return false;
    }
    reader
        .value(&format!(
            "SELECT 1 FROM `{database}`.{table} WHERE mark = {mark}"
        ))
        .await
        .is_some()
}

/// Waits until the server can answer for a table: the schema has arrived.
pub async fn wait_for_table(server: &Server, database: &str, table: &str) {
    let deadline = Deadline::after_secs(30);
    let query = format!(
        "SELECT table_name FROM information_schema.tables \
         WHERE table_schema = '{database}' AND table_name = '{table}'"
    );
    while server.value(&query).await.is_none() {
        assert!(
            !deadline.passed(),
            "{server}: no table {database}.{table} in {} s\n{}",
            deadline.limit_secs(),
            server.error_log_tail()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The statement that stops a replica.
pub fn stop_replica(kind: Kind) -> &'static str {
    match kind.says_replica() {
        false => "STOP SLAVE",
        true => "STOP REPLICA",
    }
}

/// The statement that starts it again.
pub fn start_replica(kind: Kind) -> &'static str {
    match kind.says_replica() {
        false => "START SLAVE",
        true => "START REPLICA",
    }
}
