//! The answers to SQL: to the statements that replicas send before a dump, that clients send at
//! login, and that administrators send.

use super::answer::Answer;
use super::budget::{Budget, COLUMNS_MAX, TOKENS_MAX, too_long, too_many_columns};
use super::change_statement;
use super::cursor::Cursor;
use super::expression;
use super::help;
use super::information_schema;
use super::kill;
use super::purge_statement;
use super::relay_view::RelayView;
use super::schema_shows;
use super::schema_tables::SCHEMA;
use super::select_list::alias;
use super::set_statement;
use super::shows;
use super::source_statements;
use super::sql::{self, Token};
use super::sql_errors::{not_supported, unknown_database};
use super::statement_context::{Caller, StatementContext};
use super::value::Value;
use super::variables::{SessionVariables, SystemVariables, Warning};
use crate::flavor::Flavor;
use crate::protocol::ServerError;

/// Answers a statement. Its warnings and its error are in `variables` then.
///
/// # Errors
/// The error to send to the client.
pub fn answer(
    text: &str,
    relay: RelayView<'_>,
    variables: &mut SessionVariables,
    caller: Caller<'_>,
) -> Result<Answer, ServerError> {
    let answered = answer_statement(text, relay, variables, caller);
    if let Err(error) = &answered {
        variables.warnings.clear();
        variables.error = Some(Warning {
            code: error.code,
            message: error.message.clone(),
        });
    }
    answered
}

fn answer_statement(
    text: &str,
    relay: RelayView<'_>,
    variables: &mut SessionVariables,
    caller: Caller<'_>,
) -> Result<Answer, ServerError> {
    if text.len() > caller.limits.statement_len {
        return Err(too_long(caller.limits));
    }
    let Some(tokens) = sql::tokenize(text, TOKENS_MAX + 1) else {
        return Err(not_supported(relay.flavor, text));
    };
    if tokens.len() > TOKENS_MAX {
        return Err(too_long(caller.limits));
    }
    let mut cursor = Cursor::new(&tokens);
    let Some(first) = cursor.next() else {
        return Err(ServerError::new(1065, "Query was empty"));
    };
    let shows_problems = first.is("SHOW") && shows_problems(cursor.clone());
    if !shows_problems {
        variables.error = None;
    }
    let context = StatementContext {
        relay,
        variables,
        system_variables: &SystemVariables::default(),
        caller,
    };
    let answered = match first {
        Token::Word(word) => match word.to_ascii_uppercase().as_str() {
            "SELECT" => match information_schema::select(text, cursor.clone(), &context)? {
                Some(answer) => Some(answer),
                None => select(text, cursor, &context)?,
            },
            "HELP" => Some(help::answer(relay.flavor)),
            "SHOW" => shows::show(text, cursor, &context)?,
            "KILL" => kill::kill(cursor, &caller)?,
            "PURGE" => purge_statement::purge(cursor, &context)?,
            "FLUSH" => purge_statement::flush(cursor, &context)?,
            "SET" => {
                let assignments = set_statement::parse(cursor, &context)?;
                if let Some(wait) = caller.waits.pending() {
                    return Ok(Answer::Wait(wait));
                }
                variables.warnings.clear();
                return match assignments {
                    Some(assignments) => set_statement::apply(assignments, variables),
                    None => Err(not_supported(relay.flavor, text)),
                };
            }
            "CHANGE" => change_statement::answer(text, cursor, &context)?,
            verb @ ("START" | "STOP" | "RESET") if !is_harmless(word, cursor.clone()) => {
                source_statements::answer(verb, text, cursor, &context)?
            }
            "USE" => return use_statement(text, cursor, relay.flavor, variables),
            "DESCRIBE" | "DESC" => schema_shows::describe(&mut cursor, &context)?,
            "COMMIT" | "ROLLBACK" | "BEGIN" | "START" | "PING" | "DO"
                if is_harmless(word, cursor.clone()) =>
            {
                Some(Answer::Ok)
            }
            _ => None,
        },
        _ => None,
    };
    if let Some(wait) = caller.waits.pending() {
        return Ok(Answer::Wait(wait));
    }
    match &answered {
        Some(Answer::Warned(warnings)) => variables.warnings.clone_from(warnings),
        _ if shows_problems => {}
        _ => variables.warnings.clear(),
    }
    let answer = answered.ok_or_else(|| not_supported(relay.flavor, text))?;
    answer.check_size(caller.limits)
}

/// Whether SHOW shows what is wrong with the last statement. It may be repeated; any other one ends what it shows.
fn shows_problems(mut rest: Cursor<'_>) -> bool {
    rest.eat("WARNINGS") || rest.eat("ERRORS")
}

/// The answer to the rest of `USE`.
fn use_statement(
    text: &str,
    mut cursor: Cursor<'_>,
    flavor: Flavor,
    variables: &mut SessionVariables,
) -> Result<Answer, ServerError> {
    variables.warnings.clear();
    match cursor.next() {
        Some(Token::Word(name)) => use_database(name, variables),
        _ => Err(not_supported(flavor, text)),
    }
}

/// Changes the default database, for `USE` and COM_INIT_DB.
///
/// # Errors
/// It does not exist.
pub fn use_database(name: &str, variables: &mut SessionVariables) -> Result<Answer, ServerError> {
    if !name.eq_ignore_ascii_case(SCHEMA) {
        return Err(unknown_database(name));
    }
    variables.database = Some(SCHEMA);
    Ok(Answer::Ok)
}

/// Transaction statements have no effect, because nothing can be changed.
fn is_harmless(word: &str, mut rest: Cursor<'_>) -> bool {
    match word.to_ascii_uppercase().as_str() {
        "START" => rest.eat("TRANSACTION"),
        "DO" => rest.next() == Some(&Token::Number("1".to_owned())) && rest.is_done(),
        _ => rest.is_done() || rest.eat("WORK"),
    }
}

fn select(
    text: &str,
    mut cursor: Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let (mut columns, mut row) = (Vec::new(), Vec::new());
    let mut budget = Budget::new(context.caller.limits);
    loop {
        if columns.len() == COLUMNS_MAX {
            return Err(too_many_columns());
        }
        let Some(start) = cursor.peek().map(|span| span.start) else {
            return Ok(None);
        };
        let Some(value) = expression::evaluate(&mut cursor, context, &mut budget)? else {
            return Ok(None);
        };
        let name = text.get(start..cursor.end).unwrap_or_default().to_owned();
        let name = match alias(&mut cursor) {
            Some(alias) => alias,
            // A text is its own name, without its quotes.
            None => match &value {
                Value::Text(text) if name.starts_with(['\'', '"']) => text.clone(),
                _ => name,
            },
        };
        columns.push((name, value.kind()));
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

#[cfg(test)]
mod costly;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod source_changes;
#[cfg(test)]
mod tests;
