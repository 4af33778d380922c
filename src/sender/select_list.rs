//! The list of expressions between SELECT and FROM, evaluated for each row of a table, and its groups.

use std::collections::HashMap;

use super::answer::Answer;
use super::budget::{Budget, COLUMNS_MAX, too_many_columns};
use super::cursor::Cursor;
use super::expression::evaluate_in;
use super::operators::whole_number;
use super::row::Row;
use super::sql::Token;
use super::sql_errors::not_supported;
use super::statement_context::StatementContext;
use super::value::Value;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind;

/// How the values of a group become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    /// They are equal: the group is made by them.
    None,
    /// COUNT(*), or of values that are not NULL.
    Count,
    /// SUM of integers.
    Sum,
}

/// Where a value comes from.
#[derive(Debug)]
enum Source<'a> {
    /// A column of the row, by its index: of `*`.
    Column(usize),
    /// The row itself: of `COUNT(*)`.
    Row,
    /// An expression, by its beginning; for aggregates, their argument.
    Expression(Cursor<'a>),
}

/// One expression.
#[derive(Debug)]
struct Item<'a> {
    name: String,
    aggregate: Aggregate,
    source: Source<'a>,
}

/// The key by which a row is grouped or ordered, and its values.
pub type KeyedRow = (Vec<Value>, Vec<Value>);

/// The expressions of a SELECT.
#[derive(Debug)]
pub struct SelectList<'a> {
    items: Vec<Item<'a>>,
}

impl<'a> SelectList<'a> {
    /// Reads the list; `nulls` is a row with all columns of the table. `None` if it is not supported.
    ///
    /// # Errors
    /// An unknown column or function, or the budget is exceeded.
    pub fn read(
        text: &str,
        cursor: &mut Cursor<'a>,
        context: &StatementContext<'_>,
        nulls: Row<'_>,
        budget: &mut Budget,
    ) -> Result<Option<Self>, ServerError> {
        let mut items = Vec::new();
        loop {
            if cursor.eat_symbol('*') {
                let columns = nulls.columns.iter().enumerate();
                items.extend(columns.map(|(index, column)| Item {
                    name: column.name.to_owned(),
                    aggregate: Aggregate::None,
                    source: Source::Column(index),
                }));
            } else {
                let Some(item) = Item::read(text, cursor, context, nulls, budget)? else {
                    return Ok(None);
                };
                items.push(item);
            }
            if items.len() > COLUMNS_MAX {
                return Err(too_many_columns());
            }
            if !cursor.eat_symbol(',') {
                return Ok(Some(Self { items }));
            }
        }
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The index of the column with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        let mut names = self.items.iter().map(|item| &item.name);
        names.position(|item| item.eq_ignore_ascii_case(name))
    }

    /// The values for one row.
    ///
    /// # Errors
    /// The budget is exceeded.
    pub fn values(
        &self,
        context: &StatementContext<'_>,
        row: Row<'_>,
        budget: &mut Budget,
    ) -> Result<Vec<Value>, ServerError> {
        let values = self.items.iter().map(|item| {
            let value = match &item.source {
                Source::Row => Some(Value::Number("1".to_owned())),
                Source::Column(index) => row.values.get(*index).copied().cloned(),
                Source::Expression(start) => {
                    return Ok(evaluate_in(&mut start.clone(), context, Some(row), budget)?
                        .unwrap_or(Value::Null));
                }
            };
            budget.spend(value.unwrap_or(Value::Null))
        });
        values.collect()
    }

    /// The result of these rows.
    ///
    /// # Errors
    /// A sum of fractions, which is not supported.
    pub fn answer(
        &self,
        context: &StatementContext<'_>,
        text: &str,
        mut rows: Vec<KeyedRow>,
        is_grouped: bool,
        limit: usize,
    ) -> Result<Answer, ServerError> {
        let has_aggregates = self
            .items
            .iter()
            .any(|item| item.aggregate != Aggregate::None);
        if !is_grouped {
            // All rows are one group.
            rows.iter_mut().for_each(|(key, _)| key.clear());
        }
        let rows = match (is_grouped || has_aggregates, rows.is_empty()) {
            (false, _) => rows.into_iter().map(|(_, row)| row).collect(),
            (true, true) if is_grouped => Vec::new(),
            (true, true) => vec![self.items.iter().map(Item::of_no_rows).collect()],
            (true, false) => self
                .groups(rows)
                .ok_or_else(|| not_supported(context.relay.flavor, text))?,
        };
        let kind = |(index, item): (usize, &Item<'_>)| match item.aggregate {
            Aggregate::Count => ColumnKind::Integer,
            Aggregate::Sum => ColumnKind::Decimal,
            Aggregate::None => {
                let mut values = rows.iter().filter_map(|row| row.get(index));
                let known = values.find(|value| **value != Value::Null);
                known.map_or(ColumnKind::Text, Value::kind)
            }
        };
        let kinds: Vec<ColumnKind> = self.items.iter().enumerate().map(kind).collect();
        let names = self.items.iter().map(|item| item.name.clone());
        Ok(Answer::Rows {
            columns: names.zip(kinds).collect(),
            rows: rows
                .into_iter()
                .take(limit)
                .map(|row| row.into_iter().map(Value::into_text).collect())
                .collect(),
        })
    }

    /// Whether the item with this index is a count or a sum.
    pub fn is_aggregate(&self, index: usize) -> bool {
        let item = self.items.get(index);
        item.is_some_and(|item| item.aggregate != Aggregate::None)
    }

    /// One row for those with the same key; what is not aggregated is from the first of them. `None` if a sum is not
    /// supported.
    fn groups(&self, rows: Vec<KeyedRow>) -> Option<Vec<Vec<Value>>> {
        let mut known: HashMap<Vec<Value>, usize> = HashMap::new();
        let mut groups: Vec<Vec<Value>> = Vec::new();
        for (key, row) in rows {
            let group = *known.entry(key).or_insert(groups.len());
            let mut values = self.items.iter().zip(row);
            match groups.get_mut(group) {
                None => {
                    let first = values.map(|(item, value)| item.first(value));
                    groups.push(first.collect::<Option<_>>()?);
                }
                Some(group) => group.iter_mut().try_for_each(|sum| {
                    values.next().and_then(|(item, value)| item.add(sum, value))
                })?,
            }
        }
        Some(groups)
    }
}

impl<'a> Item<'a> {
    fn read(
        text: &str,
        cursor: &mut Cursor<'a>,
        context: &StatementContext<'_>,
        nulls: Row<'_>,
        budget: &mut Budget,
    ) -> Result<Option<Self>, ServerError> {
        let Some(begin) = cursor.peek().map(|span| span.start) else {
            return Ok(None);
        };
        let aggregate = aggregate(cursor);
        let start = cursor.clone();
        let source = match aggregate == Aggregate::Count && cursor.eat_symbol('*') {
            true => Source::Row,
            false if evaluate_in(cursor, context, Some(nulls), budget)?.is_none() => {
                return Ok(None);
            }
            false => Source::Expression(start),
        };
        if aggregate != Aggregate::None && !cursor.eat_symbol(')') {
            return Ok(None);
        }
        let name = match &source {
            Source::Expression(start) => column_name(start.clone(), cursor.end),
            _ => None,
        };
        let name = name.unwrap_or_else(|| text.get(begin..cursor.end).unwrap_or_default());
        let name = name.to_owned();
        Ok(Some(Self {
            name: alias(cursor).unwrap_or(name),
            aggregate,
            source,
        }))
    }

    fn of_no_rows(&self) -> Value {
        match self.aggregate {
            Aggregate::Count => Value::Number("0".to_owned()),
            Aggregate::None | Aggregate::Sum => Value::Null,
        }
    }

    /// The value of a group that has one row; `None` if a sum is not supported.
    fn first(&self, value: Value) -> Option<Value> {
        Some(match (self.aggregate, value.as_text()) {
            (Aggregate::Count, text) => Value::Number(u8::from(text.is_some()).to_string()),
            (Aggregate::Sum, Some(text)) => Value::Number(whole_number(text)?.to_string()),
            _ => value,
        })
    }

    /// Adds the value of another row; `None` if a sum is not supported.
    fn add(&self, sum: &mut Value, value: Value) -> Option<()> {
        let added = match (self.aggregate, value.as_text()) {
            (Aggregate::None, _) | (_, None) => return Some(()),
            (Aggregate::Count, Some(_)) => 1,
            (Aggregate::Sum, Some(text)) => whole_number(text)?,
        };
        let total = sum.as_text().and_then(whole_number).unwrap_or_default();
        *sum = Value::Number(total.saturating_add(added).to_string());
        Some(())
    }
}

/// The name of a column that the expression up to `end` names with its table, as servers show it.
fn column_name(mut cursor: Cursor<'_>, end: usize) -> Option<&str> {
    let is_qualified = matches!(cursor.next()?, Token::Word(_)) && cursor.eat_symbol('.');
    match cursor.next_if(is_qualified)? {
        Token::Word(name) if cursor.end == end => Some(name),
        _ => None,
    }
}

/// Reads the name of an aggregate function and its opening parenthesis.
fn aggregate(cursor: &mut Cursor<'_>) -> Aggregate {
    for (name, aggregate) in [("COUNT", Aggregate::Count), ("SUM", Aggregate::Sum)] {
        let mut ahead = cursor.clone();
        if ahead.eat(name) && ahead.eat_symbol('(') {
            *cursor = ahead;
            return aggregate;
        }
    }
    Aggregate::None
}

/// The reserved words that can follow a list or a table's name. Others may be names, even without AS, and these in
/// backquotes.
const RESERVED: [&str; 27] = [
    "CROSS",
    "EXCEPT",
    "FOR",
    "FORCE",
    "FROM",
    "GROUP",
    "HAVING",
    "IGNORE",
    "INNER",
    "INTERSECT",
    "INTO",
    "JOIN",
    "LEFT",
    "LIMIT",
    "LOCK",
    "NATURAL",
    "ON",
    "ORDER",
    "OUTER",
    "PARTITION",
    "PROCEDURE",
    "RIGHT",
    "STRAIGHT_JOIN",
    "UNION",
    "USE",
    "USING",
    "WHERE",
];

/// Reads the name that a statement gives to a column or to a table, with or without AS.
pub fn alias(cursor: &mut Cursor<'_>) -> Option<String> {
    let has_as = cursor.eat("AS");
    let is_alias = cursor.peek().is_some_and(|span| match &span.token {
        Token::Word(word) => {
            let is_reserved = RESERVED
                .iter()
                .any(|found| word.eq_ignore_ascii_case(found));
            has_as || span.is_quoted() || !is_reserved
        }
        Token::Text(_) => true,
        _ => false,
    });
    match cursor.next_if(is_alias)? {
        Token::Word(name) | Token::Text(name) => Some(name.clone()),
        _ => None,
    }
}
