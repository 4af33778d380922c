//! Replicas that change what they follow: from a master to the relay by the statements that `binrelay attach`
//! prints, and back.

use std::process::Output;

use mysql_async::Row;
use serde_json::Value;

use super::relay::{RELAY_HOST, Relay, run_binrelay};
use super::replication::{StartAt, attach, retry_each_second, start_replica, stop_replica};
use super::servers::{Kind, REPL_PASSWORD, Server};
use super::topology::Mode;

/// Nothing is written: the replica has everything up to the end of the master's binlog.
pub async fn return_to(master: &Server, replica: &Server, mode: Mode) {
    replica.sql(stop_replica(replica.kind)).await;
    let at = match mode.start_at("mysql-bin") {
        StartAt::FilePosition(..) => end_of_binlog(master).await,
        at => at,
    };
    let retry = retry_each_second(replica.kind);
    attach(replica, "127.0.0.1", master.port, &at, retry).await;
}

async fn end_of_binlog(master: &Server) -> StartAt {
    let sql = match master.kind.says_replica() {
        true => "SHOW BINARY LOG STATUS",
        false => "SHOW MASTER STATUS",
    };
    let rows = master.rows::<Row>(sql).await;
    StartAt::FilePosition(rows[0].get(0).unwrap(), rows[0].get(1).unwrap())
}

pub fn stop_and_start(kind: Kind) -> (&'static str, &'static str) {
    (stop_replica(kind), start_replica(kind))
}

pub fn stop_applier(kind: Kind) -> &'static str {
    match kind.says_replica() {
        true => "STOP REPLICA SQL_THREAD",
        false => "STOP SLAVE SQL_THREAD",
    }
}

pub fn start_applier(kind: Kind) -> &'static str {
    match kind.says_replica() {
        true => "START REPLICA SQL_THREAD",
        false => "START SLAVE SQL_THREAD",
    }
}

/// What it has applied of its master's binlog, as `FILE:POS`; without a file before its first event.
pub async fn coordinates(replica: &Server) -> String {
    let (sql, word) = match replica.kind.says_replica() {
        true => ("SHOW REPLICA STATUS", "Source"),
        false => ("SHOW SLAVE STATUS", "Master"),
    };
    let rows = replica.rows::<Row>(sql).await;
    let file: String = rows[0].get(&*format!("Relay_{word}_Log_File")).unwrap();
    let position: u64 = rows[0].get(&*format!("Exec_{word}_Log_Pos")).unwrap();
    format!("{file}:{position}")
}

/// Its own GTIDs.
pub async fn gtids(replica: &Server) -> String {
    let sql = match replica.kind.is_mariadb() {
        true => "SELECT @@GLOBAL.gtid_slave_pos",
        false => "SELECT @@GLOBAL.gtid_executed",
    };
    let set = replica.value(sql).await.unwrap_or_default();
    set.replace('\n', "")
}

/// `binrelay attach --json` with these arguments.
pub fn run_attach(relay: &Relay, arguments: &[&str]) -> Output {
    let config = relay.config();
    let config = config.to_str().expect("a UTF-8 path");
    let mut all = vec!["attach", "--json", "--config", config];
    all.extend(arguments);
    run_binrelay(&all)
}

/// Executes the printed statements with the test's address and password.
pub async fn execute(replica: &Server, attachment: &Value) {
    execute_at(RELAY_HOST, replica, attachment).await;
}

/// As `execute`, with another address.
pub async fn execute_at(host: &str, replica: &Server, attachment: &Value) {
    let name = match replica.kind.says_replica() && !attachment["other_words"][0].is_null() {
        true => "other_words",
        false => "statements",
    };
    let statements = attachment[name].as_array().cloned().unwrap_or_default();
    assert!(statements.len() >= 3, "{attachment}");
    for statement in statements {
        let statement = statement.as_str().expect("a statement");
        let statement = statement.replace("PASSWORD='…'", &format!("PASSWORD='{REPL_PASSWORD}'"));
        replica.sql(&with_host(&statement, host)).await;
    }
}

fn with_host(statement: &str, host: &str) -> String {
    let Some((before, rest)) = statement.split_once("_HOST='") else {
        return statement.to_owned();
    };
    let (_, after) = rest.split_once('\'').expect("a quoted host");
    format!("{before}_HOST='{host}'{after}")
}
