//! SHOW REPLICA STATUS: one row for each source, with the columns, in their order, of a server of this flavor and version.

mod mariadb;
mod mysql;
mod shared;

use super::answer::Answer;
use super::cursor::Cursor;
use super::source_rows::SourceRow;
use super::sql::Token;
use super::sql_errors::{missing_user_privilege, syntax_error};
use super::statement_context::StatementContext;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind;
use shared::{Cell, RelayPart};

/// "There is no master connection '…'" (MariaDB).
const WARN_NO_MASTER_INFO: u16 = 1617;
/// "Replica channel '…' does not exist." (MySQL).
const ER_SLAVE_CHANNEL_DOES_NOT_EXIST: u16 = 3074;

/// What a statement asks for.
struct Request {
    /// SLAVE and MASTER instead of REPLICA and SOURCE.
    is_old: bool,
    /// MariaDB: SHOW ALL … STATUS.
    is_all: bool,
    /// One source only.
    channel: Option<String>,
}

/// Answers the rest of a statement that began with SHOW: `[ALL] {SLAVE | REPLICA}[S] ['name'] STATUS [FOR CHANNEL
/// 'name']`. `None` if it is another statement.
///
/// # Errors
/// A privilege is missing, there is no such source, or the form is not known.
pub fn show(
    text: &str,
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let flavor = context.relay.flavor;
    if let (Flavor::MySql, Some(span)) = (flavor, cursor.peek())
        && span.token.is("ALL")
    {
        // Tools take a server that knows this for MariaDB.
        let near = text.get(span.start..).unwrap_or_default();
        return Err(syntax_error(flavor, near));
    }
    let Some(request) = parse(cursor, flavor) else {
        return Ok(None);
    };
    if let Some(span) = cursor.peek() {
        let near = text.get(span.start..).unwrap_or_default();
        return Err(syntax_error(flavor, near));
    }
    if !context.caller.privileges.sees_status() {
        let numbers = version_numbers(context.relay.version);
        let on_servers = match flavor {
            Flavor::MySql => "SUPER, REPLICATION CLIENT",
            Flavor::MariaDb if numbers < (10, 5, 2) => "SUPER, REPLICATION CLIENT",
            Flavor::MariaDb => "SUPER, SLAVE MONITOR",
        };
        return Err(missing_user_privilege(on_servers, "monitor"));
    }
    let mut rows = context.relay.sources.read();
    if let Some(name) = &request.channel {
        rows.retain(|row| row.name.eq_ignore_ascii_case(name));
        if rows.is_empty() {
            return Err(no_such_channel(flavor, name, request.is_old));
        }
    }
    let relay = RelayPart::of(context);
    let cells = |row: &SourceRow| cells(row, &relay, context, &request);
    let first = rows
        .first()
        .map_or_else(|| cells(&SourceRow::default()), cells);
    let columns: Vec<(&str, ColumnKind)> = first
        .iter()
        .map(|cell| (cell.name.as_str(), cell.kind))
        .collect();
    let values = |row| cells(row).into_iter().map(|cell| cell.value).collect();
    Ok(Some(Answer::rows(
        &columns,
        rows.iter().map(values).collect(),
    )))
}

fn cells(
    row: &SourceRow,
    relay: &RelayPart,
    context: &StatementContext<'_>,
    request: &Request,
) -> Vec<Cell> {
    let numbers = version_numbers(context.relay.version);
    match context.relay.flavor {
        Flavor::MySql => mysql::cells(row, relay, numbers, request.is_old),
        Flavor::MariaDb => mariadb::cells(row, relay, numbers, request.is_all),
    }
}

fn parse(cursor: &mut Cursor<'_>, flavor: Flavor) -> Option<Request> {
    let mut ahead = cursor.clone();
    let is_mariadb = flavor == Flavor::MariaDb;
    let is_all = is_mariadb && ahead.eat("ALL");
    let (is_old, channel) = match is_all {
        true => {
            let is_old = ahead.eat("SLAVES");
            (is_old || ahead.eat("REPLICAS")).then_some(())?;
            (is_old, None)
        }
        false => {
            let is_old = ahead.eat("SLAVE");
            (is_old || ahead.eat("REPLICA")).then_some(())?;
            let name = match ahead.peek().map(|span| &span.token) {
                Some(Token::Text(name)) if is_mariadb => Some(name.clone()),
                _ => None,
            };
            ahead.next_if(name.is_some());
            (is_old, name)
        }
    };
    ahead.eat("STATUS").then_some(())?;
    let mut request = Request {
        is_old,
        is_all,
        channel,
    };
    if !is_all && request.channel.is_none() && ahead.eat_words(&["FOR", "CHANNEL"]) {
        let Some(Token::Text(name) | Token::Word(name)) = ahead.next() else {
            return None;
        };
        request.channel = Some(name.clone());
    }
    *cursor = ahead;
    Some(request)
}

fn no_such_channel(flavor: Flavor, name: &str, is_old: bool) -> ServerError {
    match flavor {
        Flavor::MariaDb => {
            let text = format!("There is no master connection '{name}'");
            ServerError::new(WARN_NO_MASTER_INFO, text)
        }
        Flavor::MySql => {
            let word = if is_old { "Slave" } else { "Replica" };
            let text = format!("{word} channel '{name}' does not exist.");
            ServerError::new(ER_SLAVE_CHANNEL_DOES_NOT_EXIST, text)
        }
    }
}
