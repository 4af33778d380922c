//! The expressions that clients use in SELECT and SET: literals, variables, a few functions.

use super::budget::{Budget, DEPTH_MAX, too_deep};
use super::cursor::Cursor;
use super::replicas::now_seconds;
use super::sql::Token;
use super::sql_errors::{shortened, unknown_variable};
use super::statement_context::StatementContext;
use super::value::Value;
use super::variables::{self, Scope};
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_NOT_SUPPORTED_YET;
use crate::relay_log::{bridge, coordinates};

/// "Variable is a GLOBAL variable".
const ER_INCORRECT_GLOBAL_LOCAL_VAR: u16 = 1238;
/// "FUNCTION does not exist".
const ER_SP_DOES_NOT_EXIST: u16 = 1305;

/// Reads and evaluates an expression within the statement's budget.
///
/// # Errors
/// An unknown variable or function, or the budget is exceeded. `Ok(None)` is any other unsupported
/// expression.
pub fn evaluate(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    budget: &mut Budget,
) -> Result<Option<Value>, ServerError> {
    nested(cursor, context, budget, 0)
}

fn nested(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    budget: &mut Budget,
    depth: usize,
) -> Result<Option<Value>, ServerError> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    let Some(token) = cursor.next() else {
        return Ok(None);
    };
    let value = match token {
        Token::Text(text) => Value::Text(text.clone()),
        Token::Number(number) => Value::Number(number.clone()),
        Token::UserVariable(name) => context.variables.user(name),
        Token::SystemVariable(scope, name) => system_variable(context, scope, name)?,
        Token::Word(word) if cursor.eat_symbol('(') => {
            let mut arguments = Vec::new();
            while !cursor.eat_symbol(')') {
                let Some(argument) = nested(cursor, context, budget, depth + 1)? else {
                    return Ok(None);
                };
                arguments.push(argument);
                cursor.eat_symbol(',');
            }
            call(context, word, arguments, budget)?
        }
        Token::Word(word) => match word.to_ascii_uppercase().as_str() {
            "NULL" => Value::Null,
            "TRUE" => Value::Number("1".to_owned()),
            "FALSE" => Value::Number("0".to_owned()),
            "CURRENT_USER" => call(context, word, Vec::new(), budget)?,
            _ => return Ok(None),
        },
        Token::Symbol(_) => return Ok(None),
    };
    budget.spend(value).map(Some)
}

fn system_variable(
    context: &StatementContext<'_>,
    scope: &str,
    name: &str,
) -> Result<Value, ServerError> {
    let Some(variable) = variables::find(&context.relay, context.variables, name) else {
        return Err(unknown_variable(name));
    };
    let wants_session = matches!(scope, "session" | "local");
    if wants_session && variable.scope == Scope::Global && context.relay.flavor == Flavor::MySql {
        return Err(ServerError::new(
            ER_INCORRECT_GLOBAL_LOCAL_VAR,
            format!("Variable '{}' is a GLOBAL variable", variable.name),
        ));
    }
    Ok(variable.value)
}

fn call(
    context: &StatementContext<'_>,
    name: &str,
    arguments: Vec<Value>,
    budget: &mut Budget,
) -> Result<Value, ServerError> {
    let relay = &context.relay;
    let upper = name.to_ascii_uppercase();
    Ok(match (upper.as_str(), arguments.as_slice()) {
        ("UNIX_TIMESTAMP", []) => Value::Number(now_seconds().to_string()),
        ("NOW" | "CURRENT_TIMESTAMP", []) => Value::Text(now_text()),
        ("VERSION", []) => Value::Text(relay.log.server_version().to_owned()),
        ("DATABASE" | "SCHEMA", []) => Value::Null,
        ("CONNECTION_ID", []) => Value::Number(context.caller.connection_id.to_string()),
        ("USER" | "SESSION_USER" | "SYSTEM_USER", []) => {
            Value::Text(format!("{}@{}", context.caller.user, context.caller.host))
        }
        ("CURRENT_USER", []) => Value::Text(format!("{}@%", context.caller.user)),
        ("BINLOG_GTID_POS", [file, position]) if relay.flavor == Flavor::MariaDb => {
            budget.look_up()?;
            binlog_gtid_pos(context, file.clone(), position.clone())
        }
        ("BINLOG_GTID_POS" | "UNIX_TIMESTAMP" | "NOW", _) => {
            let text = format!("binrelay does not support {name} with these arguments");
            return Err(ServerError::new(ER_NOT_SUPPORTED_YET, text));
        }
        _ => {
            let text = format!("FUNCTION {} does not exist", shortened(name));
            let mut error = ServerError::new(ER_SP_DOES_NOT_EXIST, text);
            error.sqlstate = "42000".to_owned();
            return Err(error);
        }
    })
}

/// The current time. In UTC, as all times that the relay reports.
fn now_text() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// NULL unless the answer is certain: the replica adopts it as its own position.
fn binlog_gtid_pos(context: &StatementContext<'_>, file: Value, position: Value) -> Value {
    let log = context.relay.log;
    let file = file.into_text().unwrap_or_default();
    let position = position.into_text().and_then(|text| text.parse().ok());
    let Some(position) = position else {
        return Value::Null;
    };
    let found = match coordinates::file_by_name(log, file.as_bytes()) {
        Some(file) => coordinates::gtid_position_at(log, file, position),
        None => bridge::named(log.log_dir(), file.as_bytes()).and_then(|found| match found {
            Some(found) => bridge::gtid_position_at(log.log_dir(), found, position),
            None => Ok(None),
        }),
    };
    match found {
        Ok(Some(position)) => Value::Text(position.to_string()),
        Ok(None) => Value::Null,
        Err(error) => {
            tracing::warn!(%error, "binlog_gtid_pos failed");
            Value::Null
        }
    }
}
