//! `SELECT … FROM …`. The relay has no tables but a few of `information_schema`, which monitoring tools and
//! clients read.

use super::answer::Answer;
use super::budget::{Budget, COLUMNS_MAX, too_many_columns};
use super::cursor::Cursor;
use super::expression::evaluate_in;
use super::operators::holds;
use super::process_list;
use super::select_list::{SelectList, alias};
use super::sql::Token;
use super::sql_errors::no_such_table;
use super::statement_context::StatementContext;
use super::value::Value;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind;

/// The tables that are always empty here, whatever is selected from them.
const EMPTY: [&str; 5] = [
    "COLUMNS",
    "TABLES",
    "KEY_COLUMN_USAGE",
    "STATISTICS",
    "SCHEMATA",
];
/// The columns of two more empty tables.
const INNODB_CMP: [&str; 6] = [
    "page_size",
    "compress_ops",
    "compress_ops_ok",
    "compress_time",
    "uncompress_ops",
    "uncompress_time",
];
const INNODB_CMPMEM: [&str; 6] = [
    "page_size",
    "buffer_pool_instance",
    "pages_used",
    "pages_free",
    "relocation_ops",
    "relocation_time",
];

/// Rows of a table, each with the names of its columns.
type Rows = Vec<Vec<(&'static str, Value)>>;

/// The table that a statement selects from: its schema, or an empty text, and its name.
struct Table<'a> {
    schema: &'a str,
    name: &'a str,
}

/// The answer to the rest of a statement that began with SELECT, if it selects from a table.
///
/// # Errors
/// The table or a column does not exist, or the budget is exceeded.
pub fn select(
    text: &str,
    cursor: Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let Some(table) = table(cursor.clone()) else {
        return Ok(None);
    };
    let is_schema = table.schema.eq_ignore_ascii_case("information_schema");
    let columns: &[&'static str] = match table.name.to_ascii_uppercase().as_str() {
        _ if !is_schema => return Err(no_such_table(table.schema, table.name)),
        "PROCESSLIST" => &process_list::COLUMNS,
        "INNODB_CMP" => &INNODB_CMP,
        "INNODB_CMPMEM" => &INNODB_CMPMEM,
        name if EMPTY.contains(&name) => return Ok(empty(cursor)),
        _ => return Err(no_such_table(table.schema, table.name)),
    };
    let mut rows = Rows::new();
    if table.name.eq_ignore_ascii_case("PROCESSLIST") {
        for row in process_list::rows(context, text) {
            rows.push(columns.iter().copied().zip(row).collect());
        }
    }
    select_rows(text, cursor, context, columns, &rows)
}

/// The first table after FROM that is not in parentheses.
fn table(mut cursor: Cursor<'_>) -> Option<Table<'_>> {
    let mut depth = 0usize;
    loop {
        match cursor.next()? {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            token if depth == 0 && token.is("FROM") => break,
            _ => {}
        }
    }
    let Token::Word(first) = cursor.next()? else {
        return None;
    };
    if first.eq_ignore_ascii_case("DUAL") {
        return None;
    }
    let (schema, name) = match cursor.eat_symbol('.') {
        true => match cursor.next()? {
            Token::Word(name) => (first.as_str(), name.as_str()),
            _ => return None,
        },
        false => ("", first.as_str()),
    };
    Some(Table { schema, name })
}

/// Clients that decode rows read the columns' names of these tables.
fn empty(mut cursor: Cursor<'_>) -> Option<Answer> {
    let mut columns = Vec::new();
    loop {
        let Token::Word(name) = cursor.next()? else {
            return None;
        };
        let name = alias(&mut cursor).unwrap_or_else(|| name.clone());
        columns.push((name, ColumnKind::Text));
        if !cursor.eat_symbol(',') {
            break;
        }
    }
    let rows = Vec::new();
    cursor.eat("FROM").then_some(Answer::Rows { columns, rows })
}

/// `SELECT … FROM … [WHERE …] [GROUP BY …] [LIMIT n]`.
fn select_rows(
    text: &str,
    mut cursor: Cursor<'_>,
    context: &StatementContext<'_>,
    columns: &[&'static str],
    rows: &Rows,
) -> Result<Option<Answer>, ServerError> {
    let mut budget = Budget::new(context.caller.limits);
    let nulls: Vec<_> = columns.iter().map(|name| (*name, Value::Null)).collect();
    let Some(list) = SelectList::read(text, &mut cursor, context, &nulls, &mut budget)? else {
        return Ok(None);
    };
    if list.len() > COLUMNS_MAX {
        return Err(too_many_columns());
    }
    let is_from = cursor.eat("FROM") && cursor.next().is_some() && cursor.eat_symbol('.');
    if !is_from || cursor.next().is_none() {
        return Ok(None);
    }
    let condition = cursor.eat("WHERE").then(|| cursor.clone());
    if condition.is_some()
        && evaluate_in(&mut cursor, context, Some(&nulls), &mut budget)?.is_none()
    {
        return Ok(None);
    }
    let is_grouped = cursor.eat_words(&["GROUP", "BY"]);
    if is_grouped {
        loop {
            let term = evaluate_in(&mut cursor, context, Some(&nulls), &mut budget)?;
            if term.is_none() {
                return Ok(None);
            }
            if !cursor.eat_symbol(',') {
                break;
            }
        }
    }
    let mut limit = usize::MAX;
    if cursor.eat("LIMIT") {
        limit = match cursor.next() {
            Some(Token::Number(number)) => number.parse().unwrap_or(usize::MAX),
            _ => return Ok(None),
        };
    }
    if !cursor.is_done() {
        return Ok(None);
    }
    let mut selected = Vec::new();
    for row in rows {
        let is_selected = match condition.clone() {
            None => true,
            Some(mut condition) => evaluate_in(&mut condition, context, Some(row), &mut budget)?
                .is_some_and(|value| holds(&value)),
        };
        if is_selected {
            selected.push(list.values(context, row, &mut budget)?);
        }
    }
    Ok(Some(list.answer(selected, is_grouped, limit)))
}
