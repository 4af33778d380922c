//! The answers to SQL: what replicas ask before a dump, what clients ask at login, and what
//! people ask.

use super::binlog_events::EventListing;
use super::expression::{self, Cursor, Value};
use super::information_schema;
use super::login::Privileges;
use super::replicas::Replicas;
use super::shows;
use super::sql::{self, Placed, Token};
use super::variables::{self, Scope, ServerFacts, SessionVariables, TooManyVariables};
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::*;
use crate::protocol::response::ColumnKind;

/// "Variable is a GLOBAL variable and should be set with SET GLOBAL".
const ER_GLOBAL_VARIABLE: u16 = 1229;
/// "You are not owner of thread".
const ER_KILL_DENIED_ERROR: u16 = 1095;
/// "Out of memory".
const ER_OUTOFMEMORY: u16 = 1037;

/// The answer to a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No rows.
    Ok,
    /// Rows.
    Rows {
        /// Names and types.
        columns: Vec<(String, ColumnKind)>,
        /// Values.
        rows: Vec<Vec<Option<String>>>,
    },
    /// Rows that are made while they are sent.
    Events(EventListing),
}

/// What a statement can see and change.
#[derive(Debug)]
pub struct Session<'a> {
    /// The server.
    pub facts: ServerFacts<'a>,
    /// What the session has set.
    pub variables: &'a SessionVariables,
    /// Who is connected.
    pub replicas: &'a Replicas,
    /// This connection's id.
    pub connection_id: u32,
    /// This connection's account.
    pub user: &'a str,
    /// This connection's peer.
    pub host: &'a str,
    /// What the account may do.
    pub privileges: Privileges,
}

/// A change that a statement makes to its session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Assignment {
    User(String, Value),
    System(String, Value),
}

/// Answers a statement.
///
/// # Errors
/// What the client is to be told instead.
pub fn answer(
    text: &str,
    facts: ServerFacts<'_>,
    variables: &mut SessionVariables,
    client: &Caller<'_>,
) -> Result<Answer, ServerError> {
    let Some(tokens) = sql::tokenize(text) else {
        return Err(not_understood(facts.flavor, text));
    };
    let session = Session {
        facts,
        variables,
        replicas: client.replicas,
        connection_id: client.connection_id,
        user: client.user,
        host: client.host,
        privileges: client.privileges,
    };
    let mut cursor = Cursor::new(&tokens);
    let Some(first) = cursor.next() else {
        return Err(ServerError::new(1065, "Query was empty"));
    };
    let answered = match first {
        Token::Word(word) => match word.to_ascii_uppercase().as_str() {
            "SELECT" => match information_schema::select(cursor.clone()) {
                Some(answer) => Some(answer),
                None => select(text, cursor, &session)?,
            },
            "SHOW" => shows::show(cursor, &session)?,
            "KILL" => kill(cursor, &session)?,
            "SET" => {
                let changes = set(cursor, &session)?;
                return match changes {
                    Some(changes) => apply(changes, variables),
                    None => Err(not_understood(facts.flavor, text)),
                };
            }
            "USE" => return Err(unknown_database(&tokens)),
            "COMMIT" | "ROLLBACK" | "BEGIN" | "START" | "PING" | "DO"
                if is_harmless(word, cursor.clone()) =>
            {
                Some(Answer::Ok)
            }
            _ => None,
        },
        _ => None,
    };
    answered.ok_or_else(|| not_understood(facts.flavor, text))
}

/// Who sends a statement.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Who is connected.
    pub replicas: &'a Replicas,
    /// The connection's id.
    pub connection_id: u32,
    /// The account.
    pub user: &'a str,
    /// The peer's address.
    pub host: &'a str,
    /// What the account may do.
    pub privileges: Privileges,
}

/// Transaction statements change nothing where nothing can be changed.
fn is_harmless(word: &str, mut rest: Cursor<'_>) -> bool {
    match word.to_ascii_uppercase().as_str() {
        "START" => rest.eat("TRANSACTION"),
        "DO" => rest.next() == Some(&Token::Number("1".to_owned())) && rest.is_done(),
        _ => rest.is_done() || rest.eat("WORK"),
    }
}

fn unknown_database(tokens: &[Placed]) -> ServerError {
    let name = match tokens.get(1).map(|placed| &placed.token) {
        Some(Token::Word(name)) => name.chars().take(64).collect(),
        _ => String::new(),
    };
    ServerError::new(ER_BAD_DB_ERROR, format!("Unknown database '{name}'"))
}

/// The answer to everything else.
fn not_understood(flavor: Flavor, text: &str) -> ServerError {
    let start: String = text.trim().chars().take(80).collect();
    ServerError::new(
        ER_NOT_SUPPORTED_YET,
        format!(
            "This is binrelay, a binlog relay for {flavor} replicas: it holds no tables, and \
             answers only what replicas ask and SHOW statements about replication; not understood \
             near '{start}'"
        ),
    )
}

fn select(
    text: &str,
    mut cursor: Cursor<'_>,
    session: &Session<'_>,
) -> Result<Option<Answer>, ServerError> {
    let (mut columns, mut row) = (Vec::new(), Vec::new());
    loop {
        let Some(start) = cursor.peek().map(|placed| placed.start) else {
            return Ok(None);
        };
        let Some(value) = expression::evaluate(&mut cursor, session)? else {
            return Ok(None);
        };
        let mut name = text.get(start..cursor.end).unwrap_or("").to_owned();
        if let Some(alias) = alias(&mut cursor) {
            name = alias;
        }
        let kind = match value {
            Value::Number(_) => ColumnKind::Integer,
            Value::Null | Value::Text(_) => ColumnKind::Text,
        };
        columns.push((name, kind));
        row.push(value.into_text());
        if !cursor.eat_symbol(',') {
            break;
        }
    }
    cursor.eat_words(&["FROM", "DUAL"]);
    if cursor.eat("LIMIT") && !matches!(cursor.next(), Some(Token::Number(_))) {
        return Ok(None);
    }
    Ok(cursor.is_done().then(|| Answer::Rows {
        columns,
        rows: vec![row],
    }))
}

fn alias(cursor: &mut Cursor<'_>) -> Option<String> {
    let has_as = cursor.eat("AS");
    let is_alias = match cursor.peek().map(|placed| &placed.token) {
        Some(Token::Word(word)) => {
            has_as || !matches!(word.to_ascii_uppercase().as_str(), "FROM" | "LIMIT")
        }
        Some(Token::Text(_)) => true,
        _ => false,
    };
    match cursor.next_if(is_alias)? {
        Token::Word(name) | Token::Text(name) => Some(name.clone()),
        _ => None,
    }
}

/// The changes that a SET asks for; `None` when it is not understood.
fn set(
    mut cursor: Cursor<'_>,
    session: &Session<'_>,
) -> Result<Option<Vec<Assignment>>, ServerError> {
    let mut changes = Vec::new();
    loop {
        if let Some(mut charset) = set_character_set(&mut cursor) {
            changes.append(&mut charset);
        } else if cursor.eat("TRANSACTION")
            || cursor.eat_words(&["SESSION", "TRANSACTION"])
            || cursor.eat_words(&["LOCAL", "TRANSACTION"])
        {
            return Ok(Some(changes));
        } else {
            match assignment(&mut cursor, session)? {
                Some(change) => changes.push(change),
                None => return Ok(None),
            }
        }
        if !cursor.eat_symbol(',') {
            return Ok(cursor.is_done().then_some(changes));
        }
    }
}

/// `NAMES x [COLLATE y]`, `CHARACTER SET x`, `CHARSET x`.
fn set_character_set(cursor: &mut Cursor<'_>) -> Option<Vec<Assignment>> {
    if !(cursor.eat("NAMES") || cursor.eat_words(&["CHARACTER", "SET"]) || cursor.eat("CHARSET")) {
        return None;
    }
    let name = word_or_text(cursor)?;
    let mut changes = Vec::new();
    if !name.eq_ignore_ascii_case("default") {
        for variable in [
            "character_set_client",
            "character_set_connection",
            "character_set_results",
        ] {
            changes.push(Assignment::System(
                variable.to_owned(),
                Value::Text(name.clone()),
            ));
        }
    }
    if cursor.eat("COLLATE") {
        let collation = Value::Text(word_or_text(cursor)?);
        changes.push(Assignment::System(
            "collation_connection".to_owned(),
            collation,
        ));
    }
    Some(changes)
}

fn word_or_text(cursor: &mut Cursor<'_>) -> Option<String> {
    match cursor.next()? {
        Token::Word(text) | Token::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn assignment(
    cursor: &mut Cursor<'_>,
    session: &Session<'_>,
) -> Result<Option<Assignment>, ServerError> {
    let mut scope = "";
    for word in ["GLOBAL", "PERSIST", "SESSION", "LOCAL"] {
        if cursor.eat(word) {
            scope = word;
        }
    }
    let target = match cursor.next() {
        Some(Token::UserVariable(name)) => Assignment::User(name.clone(), Value::Null),
        Some(Token::SystemVariable(own_scope, name)) => {
            if own_scope == "global" {
                scope = "GLOBAL";
            } else if own_scope == "session" || own_scope == "local" {
                scope = "SESSION";
            }
            Assignment::System(name.clone(), Value::Null)
        }
        Some(Token::Word(name)) => Assignment::System(name.clone(), Value::Null),
        _ => return Ok(None),
    };
    cursor.eat_symbol(':');
    if !cursor.eat_symbol('=') {
        return Ok(None);
    }
    let value = match bare_word(cursor) {
        Some(word) => Value::Text(word),
        None => match expression::evaluate(cursor, session)? {
            Some(value) => value,
            None => return Ok(None),
        },
    };
    Ok(Some(match target {
        Assignment::User(name, _) => Assignment::User(name, value),
        Assignment::System(name, _) => {
            check_settable(session, scope, &name)?;
            Assignment::System(name, value)
        }
    }))
}

/// ON, OFF, DEFAULT and names of modes stand without quotes.
fn bare_word(cursor: &mut Cursor<'_>) -> Option<String> {
    let mut ahead = cursor.clone();
    let Some(Token::Word(word)) = ahead.next() else {
        return None;
    };
    let is_value = matches!(
        word.to_ascii_uppercase().as_str(),
        "NULL" | "TRUE" | "FALSE"
    );
    if is_value
        || ahead
            .peek()
            .is_some_and(|placed| placed.token.is_symbol('('))
    {
        return None;
    }
    *cursor = ahead;
    Some(word.clone())
}

fn check_settable(session: &Session<'_>, scope: &str, name: &str) -> Result<(), ServerError> {
    let found = variables::find(&session.facts, session.variables, name);
    let scope_of = found.map(|variable| variable.scope);
    let Some(scope_of) = scope_of.or_else(|| is_accepted(name).then_some(Scope::Session)) else {
        return Err(expression::unknown_variable(name));
    };
    if matches!(scope, "GLOBAL" | "PERSIST") {
        return Err(missing_privilege("SUPER or SYSTEM_VARIABLES_ADMIN"));
    }
    if scope_of == Scope::Global {
        return Err(ServerError::new(
            ER_GLOBAL_VARIABLE,
            format!(
                "Variable '{}' is a GLOBAL variable and should be set with SET GLOBAL",
                name.to_ascii_lowercase()
            ),
        ));
    }
    Ok(())
}

/// Session variables that clients set at login and never read again.
fn is_accepted(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "sql_safe_updates"
            | "foreign_key_checks"
            | "unique_checks"
            | "sql_notes"
            | "sql_warnings"
            | "lc_time_names"
            | "lc_messages"
            | "max_execution_time"
            | "max_statement_time"
            | "innodb_lock_wait_timeout"
            | "lock_wait_timeout"
            | "long_query_time"
            | "skip_replication"
            | "default_storage_engine"
            | "information_schema_stats_expiry"
            | "net_retry_count"
            | "optimizer_switch"
            | "profiling"
            | "session_track_schema"
            | "session_track_system_variables"
            | "session_track_state_change"
            | "session_track_gtids"
    )
}

fn apply(
    changes: Vec<Assignment>,
    variables: &mut SessionVariables,
) -> Result<Answer, ServerError> {
    for change in changes {
        let outcome = match change {
            Assignment::User(name, value) => variables.set_user(&name, value),
            Assignment::System(name, value) => variables.set_system(&name, value),
        };
        outcome.map_err(|TooManyVariables| {
            ServerError::new(
                ER_OUTOFMEMORY,
                "Out of memory: this session has set too many variables, all are forgotten",
            )
        })?;
    }
    Ok(Answer::Ok)
}

/// `KILL [CONNECTION | QUERY | SOFT | HARD] id`: one's own connections, as replicas do on STOP
/// REPLICA; any connection with "admin".
fn kill(mut cursor: Cursor<'_>, session: &Session<'_>) -> Result<Option<Answer>, ServerError> {
    while ["HARD", "SOFT", "CONNECTION", "QUERY"]
        .iter()
        .any(|word| cursor.eat(word))
    {}
    let Some(Token::Number(number)) = cursor.next() else {
        return Ok(None);
    };
    let Ok(id) = number.parse() else {
        return Err(no_such_thread(number));
    };
    if !cursor.is_done() {
        return Ok(None);
    }
    kill_client(id, session.replicas, session.user, session.privileges)?;
    Ok(Some(Answer::Ok))
}

/// Ends a client's connection.
///
/// # Errors
/// When there is none, or it is somebody else's.
pub fn kill_client(
    id: u32,
    replicas: &Replicas,
    user: &str,
    privileges: Privileges,
) -> Result<(), ServerError> {
    let clients = replicas.clients();
    let Some(client) = clients.iter().find(|client| client.id == id) else {
        return Err(no_such_thread(&id.to_string()));
    };
    if client.user != user && !privileges.admin {
        let text = format!("You are not owner of thread {id}");
        return Err(ServerError::new(ER_KILL_DENIED_ERROR, text));
    }
    replicas.kill(id);
    Ok(())
}

fn no_such_thread(id: &str) -> ServerError {
    ServerError::new(ER_NO_SUCH_THREAD, format!("Unknown thread id: {id}"))
}

/// A privilege is missing, in the words of both flavors.
pub fn missing_privilege(privileges: &str) -> ServerError {
    ServerError::new(
        ER_SPECIFIC_ACCESS_DENIED_ERROR,
        format!(
            "Access denied; you need (at least one of) the {privileges} privilege(s) for this \
             operation"
        ),
    )
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
