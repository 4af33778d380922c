//! `ORDER BY` and `GROUP BY` of rows.

use std::cmp::Ordering;

use super::budget::Budget;
use super::cursor::Cursor;
use super::expression::evaluate_in;
use super::operators;
use super::row::Row;
use super::select_list::SelectList;
use super::sql::Token;
use super::statement_context::StatementContext;
use super::value::Value;
use crate::protocol::ServerError;

/// What rows are ordered or grouped by.
#[derive(Debug)]
enum Key<'a> {
    /// A column of the result, by its index.
    Column(usize),
    /// An expression over the row.
    Expression(Cursor<'a>),
}

/// The terms of an `ORDER BY` or `GROUP BY`.
#[derive(Debug, Default)]
pub struct OrderBy<'a> {
    terms: Vec<(Key<'a>, bool)>,
}

impl<'a> OrderBy<'a> {
    /// Reads what follows `ORDER BY`; `nulls` is a row with all columns of the table. `None` if it is not supported.
    ///
    /// # Errors
    /// An unknown column or function, or the budget is exceeded.
    pub fn read(
        cursor: &mut Cursor<'a>,
        context: &StatementContext<'_>,
        list: &SelectList<'_>,
        nulls: Row<'_>,
        budget: &mut Budget,
    ) -> Result<Option<Self>, ServerError> {
        Self::read_terms(cursor, context, list, nulls, budget, false)
    }

    /// Reads what follows `GROUP BY`: a name is that of the table's column first. `None` if it is not supported.
    ///
    /// # Errors
    /// An unknown column or function, or the budget is exceeded.
    pub fn read_groups(
        cursor: &mut Cursor<'a>,
        context: &StatementContext<'_>,
        list: &SelectList<'_>,
        nulls: Row<'_>,
        budget: &mut Budget,
    ) -> Result<Option<Self>, ServerError> {
        let read = Self::read_terms(cursor, context, list, nulls, budget, true)?;
        // Groups are made before they are counted.
        Ok(read.filter(|read| {
            read.terms
                .iter()
                .all(|(key, _)| !matches!(key, Key::Column(index) if list.is_aggregate(*index)))
        }))
    }

    fn read_terms(
        cursor: &mut Cursor<'a>,
        context: &StatementContext<'_>,
        list: &SelectList<'_>,
        nulls: Row<'_>,
        budget: &mut Budget,
        columns_first: bool,
    ) -> Result<Option<Self>, ServerError> {
        let mut terms = Vec::new();
        loop {
            let is_column = columns_first
                && cursor.peek().is_some_and(|span| {
                    matches!(&span.token, Token::Word(name) if nulls.index("", name).is_ok())
                });
            let of_list = match is_column {
                true => None,
                false => column(cursor, list),
            };
            let key = match of_list {
                Some(index) => Key::Column(index),
                None => {
                    let start = cursor.clone();
                    // The number of a column that the result does not have.
                    if let Some(Token::Number(_)) = cursor.peek().map(|span| &span.token) {
                        return Ok(None);
                    }
                    if evaluate_in(cursor, context, Some(nulls), budget)?.is_none() {
                        return Ok(None);
                    }
                    Key::Expression(start)
                }
            };
            let is_descending = cursor.eat("DESC");
            if !is_descending {
                cursor.eat("ASC");
            }
            terms.push((key, is_descending));
            if !cursor.eat_symbol(',') {
                return Ok(Some(Self { terms }));
            }
        }
    }

    /// The values by which a row is ordered; `values` are those of the result.
    ///
    /// # Errors
    /// The budget is exceeded.
    pub fn keys(
        &self,
        context: &StatementContext<'_>,
        row: Row<'_>,
        values: &[Value],
        budget: &mut Budget,
    ) -> Result<Vec<Value>, ServerError> {
        let keys = self.terms.iter().map(|(key, _)| {
            let value = match key {
                Key::Column(index) => values.get(*index).cloned(),
                Key::Expression(start) => {
                    evaluate_in(&mut start.clone(), context, Some(row), budget)?
                }
            };
            budget.spend(value.unwrap_or(Value::Null))
        });
        keys.collect()
    }

    /// The order of two rows with these keys.
    pub fn compare(&self, one: &[Value], other: &[Value]) -> Ordering {
        let pairs = self.terms.iter().zip(one.iter().zip(other));
        let orders = pairs.map(|((_, is_descending), (one, other))| {
            let order = operators::order(one, other);
            if *is_descending {
                order.reverse()
            } else {
                order
            }
        });
        orders
            .into_iter()
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// Reads a column of the result: its name, or its number.
fn column(cursor: &mut Cursor<'_>, list: &SelectList<'_>) -> Option<usize> {
    let mut ahead = cursor.clone();
    let index = match ahead.next()? {
        Token::Word(name) => list.position(name)?,
        Token::Number(number) => number.parse::<usize>().ok()?.checked_sub(1)?,
        _ => return None,
    };
    let is_whole = ahead.peek().is_none_or(|span| {
        let token = &span.token;
        token.is_symbol(',')
            || ["ASC", "DESC", "LIMIT", "ORDER"]
                .iter()
                .any(|word| token.is(word))
    });
    (is_whole && index < list.len()).then(|| *cursor = ahead)?;
    Some(index)
}
