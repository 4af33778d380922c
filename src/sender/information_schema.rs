//! `SELECT … FROM …`. The relay has no tables but a few of `information_schema`, which monitoring tools and
//! clients read.

use super::answer::Answer;
use super::budget::{Budget, too_many_rows};
use super::cursor::Cursor;
use super::expression::evaluate_in;
use super::operators::holds;
use super::order_by::OrderBy;
use super::row::{Row, RowColumn};
use super::schema_tables::{self, SchemaTable};
use super::select_list::{SelectList, alias};
use super::sql::Token;
use super::statement_context::StatementContext;
use super::value::Value;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind;

/// The most rows of two tables that are joined. Those of MaxScale's monitor have 70 and 17.
const JOINED_ROWS_MAX: usize = 4 << 10;

/// The answer to the rest of a statement that began with SELECT, if it selects from a table.
///
/// # Errors
/// The table or a column does not exist, or the budget is exceeded.
pub fn select(
    text: &str,
    cursor: Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let Some(mut after_from) = from(cursor.clone()) else {
        return Ok(None);
    };
    let Some(first) = Reference::read(&mut after_from, context)? else {
        return Ok(None);
    };
    if first.table.is_always_empty()
        && let Some(answer) = empty(cursor.clone())
    {
        return Ok(Some(answer));
    }
    let mut tables = vec![first];
    let mut is_joined = after_from.eat_symbol(',') || after_from.eat("JOIN");
    for kind in ["INNER", "CROSS"] {
        is_joined = is_joined || after_from.eat_words(&[kind, "JOIN"]);
    }
    if is_joined {
        let Some(second) = Reference::read(&mut after_from, context)? else {
            return Ok(None);
        };
        tables.push(second);
    }
    select_rows(text, cursor, after_from, context, &tables)
}

/// A table that a statement names.
struct Reference {
    table: SchemaTable,
    /// The name that the statement gives to it.
    alias: String,
}

impl Reference {
    /// `None` where no table follows.
    fn read(
        cursor: &mut Cursor<'_>,
        context: &StatementContext<'_>,
    ) -> Result<Option<Self>, ServerError> {
        let Some(Token::Word(first)) = cursor.next() else {
            return Ok(None);
        };
        let (schema, name) = match cursor.eat_symbol('.') {
            true => match cursor.next() {
                Some(Token::Word(name)) => (first.as_str(), name),
                _ => return Ok(None),
            },
            false if first.eq_ignore_ascii_case("DUAL") => return Ok(None),
            false => ("", first),
        };
        let table = schema_tables::find(context, schema, name)?;
        let alias = alias(cursor).unwrap_or_else(|| name.clone());
        Ok(Some(Self { table, alias }))
    }
}

/// A cursor after the first FROM that is not in parentheses.
fn from(mut cursor: Cursor<'_>) -> Option<Cursor<'_>> {
    let mut depth = 0usize;
    loop {
        match cursor.next()? {
            Token::Symbol('(') => depth += 1,
            Token::Symbol(')') => depth = depth.saturating_sub(1),
            token if depth == 0 && token.is("FROM") => return Some(cursor),
            _ => {}
        }
    }
}

/// The answer from a table without rows, whatever follows it: clients that decode rows read the columns' names.
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

/// What follows the tables: `[ON …] [WHERE …] [GROUP BY …] [ORDER BY …] [LIMIT n]`.
struct Clauses<'a> {
    conditions: Vec<Cursor<'a>>,
    groups: Option<OrderBy<'a>>,
    order: Option<OrderBy<'a>>,
    limit: usize,
}

impl<'a> Clauses<'a> {
    /// `None` if they are not supported.
    fn read(
        mut cursor: Cursor<'a>,
        context: &StatementContext<'_>,
        list: &SelectList<'_>,
        nulls: Row<'_>,
        budget: &mut Budget,
    ) -> Result<Option<Self>, ServerError> {
        let mut conditions = Vec::new();
        for clause in ["ON", "WHERE"] {
            if cursor.eat(clause) {
                conditions.push(cursor.clone());
                if evaluate_in(&mut cursor, context, Some(nulls), budget)?.is_none() {
                    return Ok(None);
                }
            }
        }
        let mut groups = None;
        let is_grouped = cursor.eat_words(&["GROUP", "BY"]);
        if is_grouped {
            groups = OrderBy::read_groups(&mut cursor, context, list, nulls, budget)?;
            if groups.is_none() {
                return Ok(None);
            }
        }
        let mut order = None;
        if cursor.eat_words(&["ORDER", "BY"]) && !cursor.eat("NULL") {
            order = OrderBy::read(&mut cursor, context, list, nulls, budget)?;
            // Groups have no order here.
            if order.is_none() || is_grouped {
                return Ok(None);
            }
        }
        let mut limit = usize::MAX;
        if cursor.eat("LIMIT") {
            limit = match cursor.next() {
                Some(Token::Number(number)) => number.parse().unwrap_or(usize::MAX),
                _ => return Ok(None),
            };
        }
        Ok(cursor.is_done().then_some(Self {
            conditions,
            groups,
            order,
            limit,
        }))
    }
}

/// `after` is after the tables.
fn select_rows(
    text: &str,
    mut cursor: Cursor<'_>,
    after: Cursor<'_>,
    context: &StatementContext<'_>,
    tables: &[Reference],
) -> Result<Option<Answer>, ServerError> {
    let mut budget = Budget::new(context.caller.limits);
    let mut columns = Vec::new();
    for one in tables {
        columns.extend(one.table.columns.iter().map(|column| RowColumn {
            table: one.alias.clone(),
            name: column.name,
        }));
    }
    let nulls = vec![&Value::Null; columns.len()];
    let nulls = Row::new(&columns, &nulls);
    let Some(list) = SelectList::read(text, &mut cursor, context, nulls, &mut budget)? else {
        return Ok(None);
    };
    if !cursor.eat("FROM") {
        return Ok(None);
    }
    let Some(clauses) = Clauses::read(after, context, &list, nulls, &mut budget)? else {
        return Ok(None);
    };
    let mut selected = Vec::new();
    let rows = rows(text, context, tables)?;
    'rows: for values in joined(&rows) {
        let row = Row::new(&columns, &values);
        for condition in &clauses.conditions {
            let value = evaluate_in(&mut condition.clone(), context, Some(row), &mut budget)?;
            if !value.is_some_and(|value| holds(&value)) {
                continue 'rows;
            }
        }
        let shown = list.values(context, row, &mut budget)?;
        let keys = match clauses.groups.as_ref().or(clauses.order.as_ref()) {
            Some(order) => order.keys(context, row, &shown, &mut budget)?,
            None => Vec::new(),
        };
        selected.push((keys, shown));
    }
    if let Some(order) = &clauses.order {
        selected.sort_by(|(one, _), (other, _)| order.compare(one, other));
    }
    list.answer(
        context,
        text,
        selected,
        clauses.groups.is_some(),
        clauses.limit,
    )
    .map(Some)
}

/// The rows of each table.
fn rows(
    text: &str,
    context: &StatementContext<'_>,
    tables: &[Reference],
) -> Result<Vec<Vec<Vec<Value>>>, ServerError> {
    let rows = tables.iter().map(|one| one.table.rows(context, text));
    let rows: Vec<Vec<Vec<Value>>> = rows.collect();
    let count = rows.iter().map(Vec::len).product::<usize>();
    match rows.len() > 1 && count > JOINED_ROWS_MAX {
        true => Err(too_many_rows(JOINED_ROWS_MAX)),
        false => Ok(rows),
    }
}

/// The rows of one table, or each row of the first with each of the second. One after the other, and without copies:
/// nothing has been accounted for yet.
fn joined(tables: &[Vec<Vec<Value>>]) -> Box<dyn Iterator<Item = Vec<&Value>> + '_> {
    match tables {
        [first, second] => Box::new(first.iter().flat_map(move |one| {
            second
                .iter()
                .map(move |other| one.iter().chain(other).collect())
        })),
        _ => Box::new(tables.iter().flatten().map(|row| row.iter().collect())),
    }
}
