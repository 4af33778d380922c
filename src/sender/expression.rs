//! The expressions that clients use in SELECT and SET: literals, variables, columns, a few operators and functions.
//!
//! One pass reads and evaluates: there is no tree. What a statement may cost is limited by its
//! [`Budget`] and by [`DEPTH_MAX`].

use super::budget::{Budget, DEPTH_MAX, too_deep};
use super::cursor::Cursor;
use super::functions;
use super::operators::{self, Operator};
use super::row::Row;
use super::sql::Token;
use super::sql_errors::unknown_variable;
use super::statement_context::StatementContext;
use super::value::Value;
use super::variables::Scope;
use crate::flavor::Flavor;
use crate::protocol::ServerError;

/// "Variable is a GLOBAL variable".
const ER_INCORRECT_GLOBAL_LOCAL_VAR: u16 = 1238;

type Outcome = Result<Option<Value>, ServerError>;

/// Reads and evaluates an expression within the statement's budget.
///
/// # Errors
/// An unknown variable or function, or the budget is exceeded. `Ok(None)` is any other unsupported
/// expression.
pub fn evaluate(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    budget: &mut Budget,
) -> Outcome {
    evaluate_in(cursor, context, None, budget)
}

/// The same; words are columns of `row`.
///
/// # Errors
/// As [`evaluate`], and an unknown or ambiguous column.
pub fn evaluate_in(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    row: Option<Row<'_>>,
    budget: &mut Budget,
) -> Outcome {
    let mut evaluation = Evaluation {
        context,
        row,
        budget,
    };
    evaluation.operation(cursor, 0, 0)
}

struct Evaluation<'a, 'c> {
    context: &'a StatementContext<'c>,
    row: Option<Row<'a>>,
    budget: &'a mut Budget,
}

impl Evaluation<'_, '_> {
    /// An operand and the operators after it that bind at least as tightly as `level`.
    fn operation(&mut self, cursor: &mut Cursor<'_>, level: u8, depth: usize) -> Outcome {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let Some(mut left) = self.operand(cursor, depth)? else {
            return Ok(None);
        };
        loop {
            let mut ahead = cursor.clone();
            let Some(operator) = Operator::read(&mut ahead) else {
                break;
            };
            if operator.level() < level {
                break;
            }
            *cursor = ahead;
            let value = match operator {
                Operator::In | Operator::NotIn => {
                    if !cursor.eat_symbol('(') {
                        return Ok(None);
                    }
                    let Some(list) = self.arguments(cursor, depth)? else {
                        return Ok(None);
                    };
                    // Each comparison reads the whole text.
                    let steps = left.byte_len().saturating_mul(list.len());
                    self.budget.charge(steps)?;
                    operators::is_in(&left, &list, operator == Operator::NotIn)
                }
                Operator::IsNull => operators::is_null(&left),
                Operator::IsNotNull => operators::not(&operators::is_null(&left)),
                Operator::Between | Operator::NotBetween => {
                    let next = operator.level() + 1;
                    let Some(low) = self.operation(cursor, next, depth + 1)? else {
                        return Ok(None);
                    };
                    if !cursor.eat("AND") {
                        return Ok(None);
                    }
                    let Some(high) = self.operation(cursor, next, depth + 1)? else {
                        return Ok(None);
                    };
                    operators::is_between(&left, &low, &high, operator == Operator::NotBetween)
                }
                _ => {
                    let next = operator.level() + 1;
                    let Some(right) = self.operation(cursor, next, depth + 1)? else {
                        return Ok(None);
                    };
                    if matches!(operator, Operator::Like | Operator::NotLike) {
                        // The pattern may be tried at each letter.
                        let steps = left.byte_len().saturating_mul(right.byte_len());
                        self.budget.charge(steps)?;
                    }
                    operators::apply(operator, &left, &right)
                }
            };
            left = self.budget.spend(value)?;
        }
        Ok(Some(left))
    }

    fn operand(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Outcome {
        let Some(token) = cursor.next() else {
            return Ok(None);
        };
        let value = match token {
            Token::Text(text) => Value::Text(text.clone()),
            Token::Number(number) => Value::Number(number.clone()),
            Token::UserVariable(name) => {
                // To look it up takes a copy of its name.
                self.budget.charge(name.len())?;
                self.context.variables.user(name)
            }
            Token::SystemVariable(scope, name) => system_variable(self.context, scope, name)?,
            // It binds less tightly than comparisons.
            Token::Word(word) if word.eq_ignore_ascii_case("NOT") && !cursor.was_quoted => {
                let level = Operator::Equal.level();
                let Some(value) = self.operation(cursor, level, depth + 1)? else {
                    return Ok(None);
                };
                operators::not(&value)
            }
            Token::Word(word) if cursor.eat_symbol('(') => {
                let Some(arguments) = self.arguments(cursor, depth)? else {
                    return Ok(None);
                };
                functions::call(self.context, word, arguments, self.budget)?
            }
            // A name in backquotes is not a keyword: SHOW COLUMNS has a column `Null`.
            Token::Word(word) if cursor.was_quoted && self.row.is_some() => match self.row {
                Some(row) => column(row, word, cursor)?,
                None => return Ok(None),
            },
            Token::Word(word) => match word.to_ascii_uppercase().as_str() {
                "NULL" => Value::Null,
                "TRUE" => Value::Number("1".to_owned()),
                "FALSE" => Value::Number("0".to_owned()),
                "CURRENT_USER" => functions::call(self.context, word, Vec::new(), self.budget)?,
                _ => match self.row {
                    Some(row) => column(row, word, cursor)?,
                    None => return Ok(None),
                },
            },
            Token::Symbol('(') => {
                let value = self.operation(cursor, 0, depth + 1)?;
                return Ok(value.filter(|_| cursor.eat_symbol(')')));
            }
            Token::Symbol(_) => return Ok(None),
        };
        self.budget.spend(value).map(Some)
    }

    /// The values up to the closing parenthesis.
    fn arguments(
        &mut self,
        cursor: &mut Cursor<'_>,
        depth: usize,
    ) -> Result<Option<Vec<Value>>, ServerError> {
        let mut arguments = Vec::new();
        while !cursor.eat_symbol(')') {
            let Some(argument) = self.operation(cursor, 0, depth + 1)? else {
                return Ok(None);
            };
            arguments.push(argument);
            cursor.eat_symbol(',');
        }
        Ok(Some(arguments))
    }
}

/// `column`, or `table.column`; `first` is the first word.
fn column(row: Row<'_>, first: &str, cursor: &mut Cursor<'_>) -> Result<Value, ServerError> {
    let mut ahead = cursor.clone();
    let value = match (ahead.eat_symbol('.'), ahead.next()) {
        (true, Some(Token::Word(name))) => {
            *cursor = ahead;
            row.value(first, name)?
        }
        _ => row.value("", first)?,
    };
    Ok(value.clone())
}

fn system_variable(
    context: &StatementContext<'_>,
    scope: &str,
    name: &str,
) -> Result<Value, ServerError> {
    let Some(variable) = context.system_variable(name) else {
        // It may be one that depends on the sources.
        context.relay.log()?;
        return Err(unknown_variable(name));
    };
    let wants_session = matches!(scope, "session" | "local");
    if wants_session && variable.scope == Scope::Global && context.relay.flavor == Flavor::MySql {
        return Err(ServerError::new(
            ER_INCORRECT_GLOBAL_LOCAL_VAR,
            format!("Variable '{}' is a GLOBAL variable", variable.name),
        ));
    }
    Ok(variable.value.clone())
}
