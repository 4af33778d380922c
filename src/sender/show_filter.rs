//! Which rows a SHOW statement selects.

use super::answer::Answer;
use super::budget::{Budget, PATTERN_LENGTH_MAX};
use super::cursor::Cursor;
use super::expression::evaluate_in;
use super::operators::holds;
use super::row::{Row, RowColumn};
use super::sql::{Token, matches_like};
use super::statement_context::StatementContext;
use super::value::Value;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind;

/// The columns of an answer.
pub type Columns<'a> = &'a [(&'static str, ColumnKind)];
type Rows = Vec<Vec<Option<String>>>;

/// Those of `rows` that the rest of the statement selects: all, `LIKE 'pattern'` by the first column, or `WHERE` with
/// a condition on the columns. `None` for anything else.
///
/// # Errors
/// An unknown column or function, or the budget is exceeded.
pub fn filtered(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    columns: Columns<'_>,
    rows: Rows,
) -> Result<Option<Answer>, ServerError> {
    if cursor.is_done() {
        return Ok(Some(Answer::rows(columns, rows)));
    }
    if cursor.eat("WHERE") {
        return Ok(where_holds(cursor, context, columns, rows)?
            .filter(|_| cursor.is_done())
            .map(|rows| Answer::rows(columns, rows)));
    }
    let pattern = match (cursor.eat("LIKE"), cursor.next()) {
        (true, Some(Token::Text(pattern))) => pattern,
        _ => return Ok(None),
    };
    if pattern.len() > PATTERN_LENGTH_MAX || !cursor.is_done() {
        return Ok(None);
    }
    Ok(Some(like(pattern, columns, rows)))
}

fn like(pattern: &str, columns: Columns<'_>, rows: Rows) -> Answer {
    let is_selected = |row: &Vec<Option<String>>| {
        let name = row.first().and_then(Option::as_deref);
        name.is_some_and(|name| matches_like(name, pattern))
    };
    let rows = rows.into_iter().filter(is_selected).collect();
    let mut answer = Answer::rows(columns, rows);
    if let Answer::Rows { columns, .. } = &mut answer
        && let Some((name, _)) = columns.first_mut()
        && (name == "Database" || name.starts_with("Tables_in_"))
    {
        // As servers name it.
        *name = format!("{name} ({pattern})");
    }
    answer
}

/// The rows for which the condition holds; `cursor` is after it then.
fn where_holds(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    columns: Columns<'_>,
    rows: Rows,
) -> Result<Option<Rows>, ServerError> {
    let mut budget = Budget::new(context.caller.limits);
    let names: Vec<RowColumn> = columns
        .iter()
        .map(|(name, _)| RowColumn {
            table: String::new(),
            name,
        })
        .collect();
    let condition = cursor.clone();
    let nulls = vec![&Value::Null; columns.len()];
    // Unknown columns are errors without rows, too.
    let nulls = Row::new(&names, &nulls);
    if evaluate_in(cursor, context, Some(nulls), &mut budget)?.is_none() {
        return Ok(None);
    }
    let mut selected = Rows::new();
    for texts in rows {
        let typed = texts.iter().zip(columns);
        let values: Vec<Value> = typed
            .map(|(text, (_, kind))| match (text, kind) {
                (None, _) => Value::Null,
                (Some(text), ColumnKind::Integer) => Value::Number(text.clone()),
                (Some(text), _) => Value::Text(text.clone()),
            })
            .collect();
        let values: Vec<&Value> = values.iter().collect();
        let row = Row::new(&names, &values);
        let value = evaluate_in(&mut condition.clone(), context, Some(row), &mut budget)?;
        if value.is_some_and(|value| holds(&value)) {
            selected.push(texts);
        }
    }
    Ok(Some(selected))
}
