//! SET: a session's variables, and the forms that clients send at login.

use super::answer::Answer;
use super::budget::Budget;
use super::cursor::Cursor;
use super::expression;
use super::sql::Token;
use super::sql_errors::{missing_privilege, unknown_variable};
use super::statement_context::StatementContext;
use super::value::Value;
use super::variables::{Scope, SessionVariables, TooManyVariables};
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_NOT_SUPPORTED_YET;

/// "Variable is a GLOBAL variable and should be set with SET GLOBAL".
const ER_GLOBAL_VARIABLE: u16 = 1229;
/// "Out of memory".
const ER_OUTOFMEMORY: u16 = 1037;

/// A variable of the session, and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// `@name = value`.
    User(String, Value),
    /// `name = value` and `@@name = value`.
    System(String, Value),
}

/// The assignments of a SET statement; `None` if it is not supported.
///
/// # Errors
/// The error to send to the client.
pub fn parse(
    mut cursor: Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Vec<Assignment>>, ServerError> {
    let mut changes = Vec::new();
    let mut budget = Budget::new(context.caller.limits);
    loop {
        if let Some(mut charset) = set_character_set(&mut cursor) {
            changes.append(&mut charset);
        } else if cursor.eat("TRANSACTION")
            || cursor.eat_words(&["SESSION", "TRANSACTION"])
            || cursor.eat_words(&["LOCAL", "TRANSACTION"])
        {
            return Ok(Some(changes));
        } else {
            match assignment(&mut cursor, context, &mut budget)? {
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
    context: &StatementContext<'_>,
    budget: &mut Budget,
) -> Result<Option<Assignment>, ServerError> {
    let mut scope = "";
    for word in ["GLOBAL", "PERSIST", "SESSION", "LOCAL"] {
        if cursor.eat(word) {
            scope = word;
        }
    }
    let target = match cursor.next() {
        Some(Token::UserVariable(name)) => {
            // Replicas set these before a dump; after this error they retry.
            context.relay.log()?;
            Assignment::User(name.clone(), Value::Null)
        }
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
        None => match expression::evaluate(cursor, context, budget)? {
            Some(value) => value,
            None => return Ok(None),
        },
    };
    Ok(Some(match target {
        Assignment::User(name, _) => Assignment::User(name, value),
        Assignment::System(name, _) => {
            check_settable(context, scope, &name)?;
            Assignment::System(name, value)
        }
    }))
}

/// Reads an unquoted value: ON, OFF, DEFAULT, or the name of a mode.
fn bare_word(cursor: &mut Cursor<'_>) -> Option<String> {
    let mut ahead = cursor.clone();
    let Some(Token::Word(word)) = ahead.next() else {
        return None;
    };
    let is_value = matches!(
        word.to_ascii_uppercase().as_str(),
        "NULL" | "TRUE" | "FALSE"
    );
    if is_value || ahead.peek().is_some_and(|span| span.token.is_symbol('(')) {
        return None;
    }
    *cursor = ahead;
    Some(word.clone())
}

fn check_settable(
    context: &StatementContext<'_>,
    scope: &str,
    name: &str,
) -> Result<(), ServerError> {
    let found = context.system_variable(name);
    let scope_of = found.map(|variable| variable.scope);
    let Some(scope_of) = scope_of.or_else(|| is_accepted(name).then_some(Scope::Session)) else {
        return Err(unknown_variable(name));
    };
    if matches!(scope, "GLOBAL" | "PERSIST") {
        if context.caller.privileges.admin {
            let text = "This is binrelay, a binlog relay, which has no variables to set globally: change its configuration \
                        file, and run binrelay reload";
            return Err(ServerError::new(ER_NOT_SUPPORTED_YET, text));
        }
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

/// Session variables that clients set at login and never read.
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
            | "net_read_timeout"
            | "net_retry_count"
            | "optimizer_switch"
            | "profiling"
            | "session_track_schema"
            | "session_track_system_variables"
            | "session_track_state_change"
            | "session_track_gtids"
    )
}

/// Changes the session's variables.
///
/// # Errors
/// The session has set too many variables; all of them are reset.
pub fn apply(
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
                "Out of memory: this session has set too many variables; all of them are reset",
            )
        })?;
    }
    Ok(Answer::Ok)
}
