//! Percona Toolkit 3.2 of Debian 12. It sends statements that MySQL 8.4 and later refuse (`SHOW SLAVE HOSTS`, `SHOW MASTER
//! STATUS`): with these servers, it fails on the masters and replicas themselves.

use super::stage::{Outcome, Stage, dsn, has, tool};
use crate::support::servers::{REPL_PASSWORD, REPL_USER};

/// Whether the masters and replicas refuse its statements about replication.
fn is_refused(stage: &Stage) -> bool {
    stage.kind.says_replica()
}

/// The relay between the source and the replica, each with its state.
pub fn slave_find(stage: &Stage) -> Outcome {
    if is_refused(stage) {
        let found = tool("pt-slave-find", &[&dsn(stage.source.port)]);
        return found.fails_with(&["error in your SQL syntax", "SLAVE HOSTS"]);
    }
    for (from, depth) in [(stage.source.port, 2), (stage.relay.port, 1)] {
        let port = from.to_string();
        let login = ["--host", "127.0.0.1", "--port", &port, "--user", REPL_USER];
        let more = ["--password", REPL_PASSWORD, "--recursion-method", "hosts"];
        let text = tool("pt-slave-find", &[&login[..], &more].concat()).ok()?;
        has(&text, &["Server ID       900", "Server ID       11"])?;
        has(&text, &["0 seconds behind, running, no errors"])?;
        let found = text.matches("+- 127.0.0.1:").count();
        if found != depth {
            return Err(format!("{found} replicas instead of {depth}:\n{text}"));
        }
    }
    Ok(())
}

/// With the master's number it reports the lag. Without it, it asks the relay, and finds no row of it.
pub async fn heartbeat(stage: &Stage) -> Outcome {
    let (source, replica) = (dsn(stage.source.port), dsn(stage.replica.port));
    let update = [
        "-D",
        "percona",
        "--update",
        "--create-table",
        "--run-time",
        "3",
        "--interval",
        "1",
    ];
    let updated = tool("pt-heartbeat", &[&[&*source], &update[..]].concat());
    if is_refused(stage) {
        return updated.fails_with(&["error in your SQL syntax", "MASTER STATUS"]);
    }
    updated.ok()?;
    stage.settle().await;
    let check = [
        &*replica,
        "-D",
        "percona",
        "--check",
        "--no-insert-heartbeat-row",
    ];
    let named = [&check[..], &["--master-server-id", "86"]].concat();
    let text = tool("pt-heartbeat", &named).ok()?;
    let lag = text
        .lines()
        .filter_map(|line| line.trim().parse::<f64>().ok())
        .next_back();
    if lag.is_none_or(|lag| lag > 60.0) {
        return Err(format!("no lag: {text}"));
    }
    tool("pt-heartbeat", &check).fails_with(&["server_id 900"])
}

fn checksum_arguments(stage: &Stage, source: &str, tables: &str) -> Vec<String> {
    let words = [
        "--databases",
        "test",
        "--tables",
        tables,
        "--no-check-binlog-format",
        "--replicate",
        "percona.checksums",
    ];
    let mut arguments = vec![dsn(stage.source.port)];
    arguments.extend(words.map(str::to_owned));
    arguments.push(format!("--recursion-method=dsn={source},D=percona,t=dsns"));
    arguments
}

fn checksum(arguments: &[String]) -> super::stage::Ended {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    tool("pt-table-checksum", &words)
}

/// Its statements arrive through the relay, and it finds a difference.
pub async fn table_checksum(stage: &Stage) -> Outcome {
    let (source, replica) = (dsn(stage.source.port), dsn(stage.replica.port));
    stage
        .source
        .sql(&format!(
            "CREATE TABLE percona.dsns (id INT PRIMARY KEY AUTO_INCREMENT, parent_id INT, dsn VARCHAR(255)); \
             INSERT INTO percona.dsns (dsn) VALUES ('{replica}')"
        ))
        .await;
    let arguments = checksum_arguments(stage, &source, "t");
    let first = checksum(&arguments);
    if is_refused(stage) {
        return first.fails_with(&["error in your SQL syntax", "MASTER STATUS"]);
    }
    first.ok()?;
    let private = |sql: &str| format!("SET sql_log_bin = 0; {sql}");
    stage
        .replica
        .sql(&private("UPDATE test.t SET v = 'x' WHERE id = 2"))
        .await;
    // 16: there are differences.
    has(&checksum(&arguments).with_code(16)?, &["test.t"])
}

/// Prints what makes the replica equal again, which is then done.
pub async fn table_sync(stage: &Stage) -> Outcome {
    let (source, replica) = (dsn(stage.source.port), dsn(stage.replica.port));
    stage
        .replica
        .sql("SET sql_log_bin = 0; UPDATE test.t SET v = 'x' WHERE id = 2")
        .await;
    let words = [
        "--no-check-slave",
        "--databases",
        "test",
        "--tables",
        "t",
        &source,
        &replica,
    ];
    // 2: there are differences.
    let printed = tool("pt-table-sync", &[&["--print"], &words[..]].concat()).with_code(2);
    stage
        .replica
        .sql("SET sql_log_bin = 0; UPDATE test.t SET v = 'b' WHERE id = 2")
        .await;
    has(&printed?, &["UPDATE `test`.`t` SET `v`='b' WHERE `id`='2'"])
}

/// Changes a table of the source, and the change arrives at the replica, for which it waits where it can.
pub async fn schema_change(stage: &Stage) -> Outcome {
    let source = dsn(stage.source.port);
    let table = format!("{source},D=test,t=t");
    let method = match is_refused(stage) {
        true => "--recursion-method=none".to_owned(),
        false => format!("--recursion-method=dsn={source},D=percona,t=dsns"),
    };
    let words = [
        "--execute",
        "--alter",
        "ADD extra INT DEFAULT 7",
        &method,
        &table,
    ];
    let text = tool("pt-online-schema-change", &words).ok()?;
    has(&text, &["Successfully altered `test`.`t`"])?;
    stage.settle().await;
    let sum = stage.replica.value("SELECT SUM(extra) FROM test.t").await;
    match sum.as_deref() {
        Some("21") => Ok(()),
        other => Err(format!("the replica's rows: {other:?}\n{text}")),
    }
}

/// Finds the dump of the replica by its command.
pub fn kill(stage: &Stage) -> Outcome {
    let relay = dsn(stage.relay.port);
    let words = [
        "--print",
        "--run-time",
        "2",
        "--interval",
        "1",
        "--match-command",
        "Binlog Dump",
        &relay,
    ];
    let with_dumps = [&words[..], &["--replication-threads", "--match-all"]].concat();
    has(
        &tool("pt-kill", &with_dumps).ok()?,
        &["KILL ", "Binlog Dump"],
    )
}

pub fn variable_advisor(stage: &Stage) -> Outcome {
    let text = tool("pt-variable-advisor", &[&dsn(stage.relay.port)]).ok()?;
    has(&text, &["port"])
}

/// The relay's accounts are in its configuration.
pub fn show_grants(stage: &Stage) -> Outcome {
    let found = tool("pt-show-grants", &[&dsn(stage.relay.port)]);
    found.fails_with(&["Table 'mysql.user' doesn't exist"])
}

/// Prints what there is, until it adds counters of prepared statements, which the relay does not have.
pub fn mysql_summary(stage: &Stage) -> Outcome {
    let port = stage.relay.port.to_string();
    let login = ["--host", "127.0.0.1", "--port", &port, "--user", REPL_USER];
    let more = ["--password", REPL_PASSWORD, "--sleep", "1"];
    let found = tool("pt-mysql-summary", &[&login[..], &more].concat());
    found.fails_with(&[
        "binrelay, a binlog relay",
        "Binlog Dump",
        "expecting primary",
    ])
}
