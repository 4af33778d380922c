//! SHOW PROCESSLIST, and the rows of `information_schema.processlist`.

use std::sync::atomic::Ordering::Relaxed;

use super::answer::Answer;
use super::replicas::Client;
use super::statement_context::StatementContext;
use super::value::Value;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::response::ColumnKind;

/// The columns of `information_schema.processlist`.
pub const COLUMNS: [&str; 8] = [
    "ID", "USER", "HOST", "DB", "COMMAND", "TIME", "STATE", "INFO",
];

/// The answer to SHOW PROCESSLIST.
pub fn show(context: &StatementContext<'_>) -> Answer {
    use ColumnKind::{Double, Integer, Text};
    let mut columns = vec![
        ("Id", Integer),
        ("User", Text),
        ("Host", Text),
        ("db", Text),
        ("Command", Text),
        ("Time", Integer),
        ("State", Text),
        ("Info", Text),
    ];
    let mut rows = Vec::new();
    for row in self::rows(context, "SHOW PROCESSLIST") {
        rows.push(row.into_iter().map(Value::into_text).collect::<Vec<_>>());
    }
    if context.relay.flavor == Flavor::MariaDb {
        columns.push(("Progress", Double));
        for row in &mut rows {
            row.push(Some("0.000".to_owned()));
        }
    }
    Answer::rows(&columns, rows)
}

/// The clients that the caller may see, with the values of [`COLUMNS`]. `statement` is the caller's own.
pub fn rows(context: &StatementContext<'_>, statement: &str) -> Vec<[Value; 8]> {
    let all = context.caller.privileges.sees_status();
    let clients = context.caller.replicas.clients();
    let seen = clients
        .iter()
        .filter(|client| all || client.user == context.caller.user);
    seen.map(|client| row(context, client, statement)).collect()
}

fn row(context: &StatementContext<'_>, client: &Client, statement: &str) -> [Value; 8] {
    let text = |text: &str| Value::Text(text.to_owned());
    let dump = client
        .replica()
        .filter(|replica| replica.progress.dumping.load(Relaxed));
    let is_own = client.id == context.caller.connection_id;
    let (command, state) = match &dump {
        Some(replica) => {
            let command = match replica.by_gtid_set {
                true => "Binlog Dump GTID",
                false => "Binlog Dump",
            };
            let at_end = replica.progress.at_end.load(Relaxed);
            (command, text(dump_state(context, at_end)))
        }
        // Also one that waits for a position or a GTID.
        None if is_own || client.is_executing() => ("Query", text("executing")),
        None => ("Sleep", text("")),
    };
    [
        Value::Number(client.id.to_string()),
        text(&client.user),
        Value::Text(format!("{}:{}", client.host(), client.port)),
        match (is_own, context.variables.database) {
            (true, Some(name)) => text(name),
            _ => Value::Null,
        },
        text(command),
        Value::Number(client.state_seconds().to_string()),
        state,
        match is_own {
            true => text(statement),
            false => Value::Null,
        },
    ]
}

/// The wording of a server of this version.
fn dump_state(context: &StatementContext<'_>, at_end: bool) -> &'static str {
    let numbers = version_numbers(context.relay.version);
    match (context.relay.flavor, at_end) {
        (Flavor::MySql, true) if numbers >= (8, 0, 26) => {
            "Source has sent all binlog to replica; waiting for more updates"
        }
        (Flavor::MySql, false) if numbers >= (8, 0, 26) => "Sending binlog event to replica",
        (Flavor::MySql, true) if numbers < (5, 7, 0) => {
            "Master has sent all binlog to slave; waiting for binlog to be updated"
        }
        (_, true) => "Master has sent all binlog to slave; waiting for more updates",
        (_, false) => "Sending binlog event to slave",
    }
}
