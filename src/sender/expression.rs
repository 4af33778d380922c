//! The expressions that clients put into SELECT and SET: literals, variables, a few functions.

use std::slice::Iter;

use super::queries::Session;
use super::replicas::now_seconds;
use super::sql::{Placed, Token};
use super::variables::{self, Scope};
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::{ER_NOT_SUPPORTED_YET, ER_UNKNOWN_SYSTEM_VARIABLE};
use crate::relay_log::coordinates;

/// "Variable is a GLOBAL variable".
const ER_INCORRECT_GLOBAL_LOCAL_VAR: u16 = 1238;
/// "FUNCTION does not exist".
const ER_SP_DOES_NOT_EXIST: u16 = 1305;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// A number, as text.
    Number(String),
    /// A text.
    Text(String),
}

impl Value {
    /// The value as text; `None` for NULL.
    pub fn into_text(self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Number(text) | Value::Text(text) => Some(text),
        }
    }

    /// Bytes of the text.
    pub fn byte_len(&self) -> usize {
        match self {
            Value::Null => 0,
            Value::Number(text) | Value::Text(text) => text.len(),
        }
    }
}

/// Goes through a statement's tokens.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    tokens: Iter<'a, Placed>,
    /// Where the newest token ended, in bytes.
    pub end: usize,
}

impl<'a> Cursor<'a> {
    /// At the first token.
    pub fn new(tokens: &'a [Placed]) -> Self {
        Self {
            tokens: tokens.iter(),
            end: 0,
        }
    }

    /// The next token, which is taken.
    pub fn next(&mut self) -> Option<&'a Token> {
        let placed = self.tokens.next()?;
        self.end = placed.end;
        Some(&placed.token)
    }

    /// The next token, which is left there.
    pub fn peek(&self) -> Option<&'a Placed> {
        self.tokens.as_slice().first()
    }

    /// Takes this word, in any case, if it is next.
    pub fn eat(&mut self, word: &str) -> bool {
        self.eat_if(|token| token.is(word))
    }

    /// Takes this character if it is next.
    pub fn eat_symbol(&mut self, symbol: char) -> bool {
        self.eat_if(|token| token.is_symbol(symbol))
    }

    fn eat_if(&mut self, accept: impl Fn(&Token) -> bool) -> bool {
        let eats = self.peek().is_some_and(|placed| accept(&placed.token));
        if eats {
            self.next();
        }
        eats
    }

    /// The next token, taken if `take`.
    pub fn next_if(&mut self, take: bool) -> Option<&'a Token> {
        if take { self.next() } else { None }
    }

    /// Takes these words if all of them are next.
    pub fn eat_words(&mut self, words: &[&str]) -> bool {
        let mut ahead = self.clone();
        if words.iter().all(|word| ahead.eat(word)) {
            *self = ahead;
            return true;
        }
        false
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.peek().is_none()
    }
}

/// Reads and evaluates an expression.
///
/// # Errors
/// `Ok(None)` when it is none of those understood here; what a server answers to unknown
/// variables and functions.
pub fn evaluate(
    cursor: &mut Cursor<'_>,
    session: &Session<'_>,
) -> Result<Option<Value>, ServerError> {
    let Some(token) = cursor.next() else {
        return Ok(None);
    };
    Ok(Some(match token {
        Token::Text(text) => Value::Text(text.clone()),
        Token::Number(number) => Value::Number(number.clone()),
        Token::UserVariable(name) => session.variables.user(name),
        Token::SystemVariable(scope, name) => system_variable(session, scope, name)?,
        Token::Word(word) => {
            if cursor.eat_symbol('(') {
                let mut arguments = Vec::new();
                while !cursor.eat_symbol(')') {
                    let Some(argument) = evaluate(cursor, session)? else {
                        return Ok(None);
                    };
                    arguments.push(argument);
                    cursor.eat_symbol(',');
                }
                call(session, word, arguments)?
            } else {
                match word.to_ascii_uppercase().as_str() {
                    "NULL" => Value::Null,
                    "TRUE" => Value::Number("1".to_owned()),
                    "FALSE" => Value::Number("0".to_owned()),
                    "CURRENT_USER" => call(session, word, Vec::new())?,
                    _ => return Ok(None),
                }
            }
        }
        Token::Symbol(_) => return Ok(None),
    }))
}

/// What a server says to a variable that it does not have.
pub fn unknown_variable(name: &str) -> ServerError {
    ServerError::new(
        ER_UNKNOWN_SYSTEM_VARIABLE,
        format!("Unknown system variable '{}'", shortened(name)),
    )
}

/// At most 64 characters of a name that goes into an error.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn system_variable(session: &Session<'_>, scope: &str, name: &str) -> Result<Value, ServerError> {
    let Some(variable) = variables::find(&session.facts, session.variables, name) else {
        return Err(unknown_variable(name));
    };
    let wants_session = matches!(scope, "session" | "local");
    if wants_session && variable.scope == Scope::Global && session.facts.flavor == Flavor::MySql {
        return Err(ServerError::new(
            ER_INCORRECT_GLOBAL_LOCAL_VAR,
            format!("Variable '{}' is a GLOBAL variable", variable.name),
        ));
    }
    Ok(variable.value)
}

fn call(session: &Session<'_>, name: &str, arguments: Vec<Value>) -> Result<Value, ServerError> {
    let facts = &session.facts;
    let upper = name.to_ascii_uppercase();
    Ok(match (upper.as_str(), arguments.as_slice()) {
        ("UNIX_TIMESTAMP", []) => Value::Number(now_seconds().to_string()),
        ("NOW" | "CURRENT_TIMESTAMP", []) => Value::Text(now_text()),
        ("VERSION", []) => Value::Text(facts.log.server_version().to_owned()),
        ("DATABASE" | "SCHEMA", []) => Value::Null,
        ("CONNECTION_ID", []) => Value::Number(session.connection_id.to_string()),
        ("USER" | "SESSION_USER" | "SYSTEM_USER", []) => {
            Value::Text(format!("{}@{}", session.user, session.host))
        }
        ("CURRENT_USER", []) => Value::Text(format!("{}@%", session.user)),
        ("BINLOG_GTID_POS", [file, position]) if facts.flavor == Flavor::MariaDb => {
            binlog_gtid_pos(session, file.clone(), position.clone())
        }
        ("BINLOG_GTID_POS" | "UNIX_TIMESTAMP" | "NOW", _) => {
            let text = format!("this call of {name} is not understood by binrelay");
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

/// Local time is of no use to anybody here: everything the relay says is in UTC.
fn now_text() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// NULL wherever the answer is not certain: the replica takes it for its own position.
fn binlog_gtid_pos(session: &Session<'_>, file: Value, position: Value) -> Value {
    let log = session.facts.log;
    let file = file.into_text().unwrap_or_default();
    let position = position.into_text().and_then(|text| text.parse().ok());
    let (Some(file), Some(position)) = (coordinates::file_by_name(log, file.as_bytes()), position)
    else {
        return Value::Null;
    };
    match coordinates::gtid_position_at(log, file, position) {
        Ok(Some(position)) => Value::Text(position.to_string()),
        Ok(None) => Value::Null,
        Err(error) => {
            tracing::warn!(%error, "binlog_gtid_pos cannot be answered");
            Value::Null
        }
    }
}
