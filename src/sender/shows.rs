//! SHOW statements.

use super::answer::Answer;
use super::binlog_events;
use super::cursor::Cursor;
use super::grants;
use super::process_list;
use super::replica_status;
use super::replicas::Replica;
use super::schema_shows;
use super::show_filter;
use super::sql_errors::missing_user_privilege;
use super::statement_context::StatementContext;
use super::status_counters;
use super::variables::{self, SessionVariables, Warning};
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_UNKNOWN_ERROR;
use crate::protocol::response::ColumnKind;
use crate::relay_log::coordinates;
use std::sync::Arc;

type Outcome = Result<Option<Answer>, ServerError>;

/// Answers the rest of a statement that began with SHOW; `None` if it is not supported.
///
/// # Errors
/// A privilege is missing, or a file cannot be read.
pub fn show(text: &str, mut cursor: Cursor<'_>, context: &StatementContext<'_>) -> Outcome {
    if let Some(answer) = replica_status::show(text, &mut cursor, context)? {
        return Ok(Some(answer));
    }
    if let Some(answer) = schema_shows::show(&mut cursor, context)? {
        return Ok(Some(answer));
    }
    let _scope = cursor.eat("GLOBAL") || cursor.eat("SESSION") || cursor.eat("LOCAL");
    let _full = cursor.eat("FULL");
    if cursor.eat("VARIABLES") {
        let all = variables::all(&context.relay, context.variables);
        let shown = all
            .iter()
            .map(|variable| (variable.name.to_owned(), variables::shown_value(variable)));
        return named_values(&mut cursor, context, shown.collect());
    }
    if cursor.eat("STATUS") {
        return named_values(&mut cursor, context, status_counters::all(context));
    }
    let log_status_names: [&[_]; 3] = [
        &["MASTER", "STATUS"],
        &["BINLOG", "STATUS"],
        &["BINARY", "LOG", "STATUS"],
    ];
    if log_status_names.iter().any(|name| cursor.eat_words(name)) {
        return cursor.is_done().then(|| log_status(context)).transpose();
    }
    if cursor.eat_words(&["BINARY", "LOGS"]) || cursor.eat_words(&["MASTER", "LOGS"]) {
        return cursor.is_done().then(|| log_files(context)).transpose();
    }
    if cursor.eat_words(&["BINLOG", "EVENTS"]) {
        return Ok(binlog_events::parse(&mut cursor, context)?.map(Answer::Events));
    }
    let is_old = cursor.eat_words(&["SLAVE", "HOSTS"]);
    if is_old || cursor.eat("REPLICAS") || cursor.eat_words(&["REPLICA", "HOSTS"]) {
        return cursor
            .is_done()
            .then(|| replicas(context, is_old))
            .transpose();
    }
    if cursor.eat("WARNINGS") {
        let SessionVariables {
            warnings, error, ..
        } = context.variables;
        return Ok(Some(problems(error.as_ref(), warnings)));
    }
    if cursor.eat("ERRORS") {
        return Ok(Some(problems(context.variables.error.as_ref(), &[])));
    }
    Ok(about_the_server(&mut cursor, context).filter(|_| cursor.is_done()))
}

/// What every server shows of itself.
fn about_the_server(cursor: &mut Cursor<'_>, context: &StatementContext<'_>) -> Option<Answer> {
    use ColumnKind::Text;
    if cursor.eat("PROCESSLIST") {
        return Some(process_list::show(context));
    }
    if cursor.eat("GRANTS") {
        if cursor.eat("FOR") {
            cursor.eat("CURRENT_USER").then_some(())?;
            (!cursor.eat_symbol('(') || cursor.eat_symbol(')')).then_some(())?;
        }
        return Some(grants::show(context));
    }
    let (columns, row): (&[(&str, ColumnKind)], Option<&[&str]>) = if cursor.eat("ENGINES") {
        let columns = &[
            ("Engine", Text),
            ("Support", Text),
            ("Comment", Text),
            ("Transactions", Text),
            ("XA", Text),
            ("Savepoints", Text),
        ];
        const NONE: &str = "Binlog relay, without tables";
        (
            columns,
            Some(&["BINRELAY", "DEFAULT", NONE, "NO", "NO", "NO"]),
        )
    } else if cursor.eat_words(&["ENGINE", "INNODB", "STATUS"]) {
        let columns = &[("Type", Text), ("Name", Text), ("Status", Text)];
        (columns, Some(&["InnoDB", "", ""]))
    } else if cursor.eat("PLUGINS") {
        let columns = &[
            ("Name", Text),
            ("Status", Text),
            ("Type", Text),
            ("Library", Text),
            ("License", Text),
        ];
        (columns, None)
    } else {
        return None;
    };
    let row = row.map(|row| row.iter().map(|text| Some((*text).to_owned())).collect());
    Some(Answer::rows(columns, row.into_iter().collect()))
}

fn problems(error: Option<&Warning>, warnings: &[Warning]) -> Answer {
    let columns = [
        ("Level", ColumnKind::Text),
        ("Code", ColumnKind::Integer),
        ("Message", ColumnKind::Text),
    ];
    let row = |level: &str, problem: &Warning| -> Vec<Option<String>> {
        vec![
            Some(level.to_owned()),
            Some(problem.code.to_string()),
            Some(problem.message.clone()),
        ]
    };
    let error = error.into_iter().map(|error| row("Error", error));
    let warnings = warnings.iter().map(|warning| row("Warning", warning));
    Answer::rows(&columns, error.chain(warnings).collect())
}

/// The variables that the rest of the statement selects.
fn named_values(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    values: Vec<(String, String)>,
) -> Outcome {
    let columns = [
        ("Variable_name", ColumnKind::Text),
        ("Value", ColumnKind::Text),
    ];
    let rows = values
        .into_iter()
        .map(|(name, value)| vec![Some(name), Some(value)]);
    show_filter::filtered(cursor, context, &columns, rows.collect())
}

/// Checks the privilege to see the log's coordinates; its name depends on the flavor.
fn check_monitor(context: &StatementContext<'_>) -> Result<(), ServerError> {
    if context.caller.privileges.sees_status() {
        return Ok(());
    }
    let on_servers = match context.relay.flavor {
        Flavor::MySql => "SUPER, REPLICATION CLIENT",
        Flavor::MariaDb => "SUPER, BINLOG MONITOR",
    };
    Err(missing_user_privilege(on_servers, "monitor"))
}

fn log_status(context: &StatementContext<'_>) -> Result<Answer, ServerError> {
    check_monitor(context)?;
    let log = context.relay.log()?;
    let (executed, end) = {
        let state = log.state();
        // The published end belongs to the state while it is locked.
        (state.executed.clone(), log.published())
    };
    let mut row = vec![
        Some(log.log_dir().file_name(end.file)),
        Some(end.offset.to_string()),
        Some(String::new()),
        Some(String::new()),
    ];
    let mut columns = vec![
        ("File", ColumnKind::Text),
        ("Position", ColumnKind::Integer),
        ("Binlog_Do_DB", ColumnKind::Text),
        ("Binlog_Ignore_DB", ColumnKind::Text),
    ];
    if context.relay.flavor == Flavor::MySql {
        let executed = executed.as_mysql().map(|set| set.to_mysql_string());
        row.push(Some(executed.unwrap_or_default()));
        columns.push(("Executed_Gtid_Set", ColumnKind::Text));
    }
    Ok(Answer::rows(&columns, vec![row]))
}

fn log_files(context: &StatementContext<'_>) -> Result<Answer, ServerError> {
    check_monitor(context)?;
    let log = context.relay.log()?;
    let has_encrypted = context.relay.flavor == Flavor::MySql
        && version_numbers(log.server_version()) >= (8, 0, 14);
    let mut found = Vec::new();
    let _pin = log.pin(format!("connection {}", context.caller.connection_id));
    let files = log.state().files.clone();
    for number in files {
        let size = coordinates::readable_end(log, number)
            .map_err(|error| ServerError::new(ER_UNKNOWN_ERROR, error.to_string()))?;
        let Some(size) = size else { continue };
        let mut row = vec![
            Some(log.log_dir().file_name(number)),
            Some(size.to_string()),
        ];
        if has_encrypted {
            row.push(Some("No".to_owned()));
        }
        found.push(row);
    }
    let mut columns = vec![
        ("Log_name", ColumnKind::Text),
        ("File_size", ColumnKind::Integer),
    ];
    if has_encrypted {
        columns.push(("Encrypted", ColumnKind::Text));
    }
    Ok(Answer::rows(&columns, found))
}

fn replicas(context: &StatementContext<'_>, is_old: bool) -> Result<Answer, ServerError> {
    if !context.caller.privileges.sees_status() {
        let on_servers = match context.relay.flavor {
            Flavor::MySql => "REPLICATION SLAVE",
            Flavor::MariaDb => "REPLICATION MASTER ADMIN",
        };
        return Err(missing_user_privilege(on_servers, "monitor"));
    }
    let clients = context.caller.replicas.clients();
    let known = clients.iter().filter_map(|client| client.replica());
    let row = |replica: Arc<Replica>| {
        let mut row = vec![
            Some(replica.server_id.to_string()),
            Some(replica.report_host.clone()),
            Some(replica.report_port.to_string()),
            Some(context.relay.server_id.to_string()),
        ];
        if context.relay.flavor == Flavor::MySql {
            let uuid = replica.server_uuid.map(|uuid| uuid.to_string());
            row.push(Some(uuid.unwrap_or_default()));
        }
        row
    };
    let rows_found = known.filter(|replica| replica.server_id != 0).map(row);
    use ColumnKind::{Integer, Text};
    let columns: &[_] = match (context.relay.flavor, is_old) {
        (Flavor::MariaDb, _) => &[
            ("Server_id", Integer),
            ("Host", Text),
            ("Port", Integer),
            ("Master_id", Integer),
        ],
        (Flavor::MySql, true) => &[
            ("Server_id", Integer),
            ("Host", Text),
            ("Port", Integer),
            ("Master_id", Integer),
            ("Slave_UUID", Text),
        ],
        (Flavor::MySql, false) => &[
            ("Server_Id", Integer),
            ("Host", Text),
            ("Port", Integer),
            ("Source_Id", Integer),
            ("Replica_UUID", Text),
        ],
    };
    Ok(Answer::rows(columns, rows_found.collect()))
}
