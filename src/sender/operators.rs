//! The operators of expressions, with the rules of servers for NULL and for comparing numbers with texts.

use std::cmp::Ordering;

use super::budget::PATTERN_LENGTH_MAX;
use super::cursor::Cursor;
use super::sql::{Token, matches_like};
use super::value::Value;

/// A number in a text has no more characters; what is after them is not read.
const NUMBER_LENGTH_MAX: usize = 400;

/// An operator after its first operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `OR`.
    Or,
    /// `AND`.
    And,
    /// `=`.
    Equal,
    /// `<>`, `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `LIKE`.
    Like,
    /// `NOT LIKE`.
    NotLike,
    /// `IN (…)`.
    In,
    /// `NOT IN (…)`.
    NotIn,
    /// `BETWEEN … AND …`.
    Between,
    /// `NOT BETWEEN … AND …`.
    NotBetween,
    /// `IS NULL`.
    IsNull,
    /// `IS NOT NULL`.
    IsNotNull,
    /// `|`.
    BitOr,
    /// `&`.
    BitAnd,
}

impl Operator {
    /// Reads an operator if there is one.
    pub fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let is_not = cursor.eat("NOT");
        match cursor.next()? {
            Token::Word(word) => match (word.to_ascii_uppercase().as_str(), is_not) {
                ("OR", false) => Some(Operator::Or),
                ("AND", false) => Some(Operator::And),
                ("LIKE", false) => Some(Operator::Like),
                ("LIKE", true) => Some(Operator::NotLike),
                ("IN", false) => Some(Operator::In),
                ("IN", true) => Some(Operator::NotIn),
                ("BETWEEN", false) => Some(Operator::Between),
                ("BETWEEN", true) => Some(Operator::NotBetween),
                ("IS", false) if cursor.eat("NULL") => Some(Operator::IsNull),
                ("IS", false) if cursor.eat_words(&["NOT", "NULL"]) => Some(Operator::IsNotNull),
                _ => None,
            },
            Token::Symbol(symbol) if !is_not => match symbol {
                '=' => Some(Operator::Equal),
                '!' => cursor.eat_symbol('=').then_some(Operator::NotEqual),
                '<' if cursor.eat_symbol('>') => Some(Operator::NotEqual),
                '<' if cursor.eat_symbol('=') => Some(Operator::LessOrEqual),
                '<' => Some(Operator::Less),
                '>' if cursor.eat_symbol('=') => Some(Operator::GreaterOrEqual),
                '>' => Some(Operator::Greater),
                '|' => Some(Operator::BitOr),
                '&' => Some(Operator::BitAnd),
                _ => None,
            },
            _ => None,
        }
    }

    /// How tightly it binds: `a | b & c = d AND e` is `((a | (b & c)) = d) AND e`.
    pub fn level(self) -> u8 {
        match self {
            Operator::Or => 0,
            Operator::And => 1,
            Operator::BitOr => 3,
            Operator::BitAnd => 4,
            _ => 2,
        }
    }
}

/// Applies an operator with two operands that are expressions: any but IN, BETWEEN and IS.
pub fn apply(operator: Operator, left: &Value, right: &Value) -> Value {
    match operator {
        Operator::Or | Operator::And => logical(operator == Operator::Or, left, right),
        Operator::BitOr => bits(left, right, |a, b| a | b),
        Operator::BitAnd => bits(left, right, |a, b| a & b),
        Operator::Like => like(left, right, false),
        Operator::NotLike => like(left, right, true),
        _ => {
            let ordering = compare(left, right);
            truth(ordering.map(|ordering| match operator {
                Operator::Equal => ordering.is_eq(),
                Operator::NotEqual => ordering.is_ne(),
                Operator::Less => ordering.is_lt(),
                Operator::LessOrEqual => ordering.is_le(),
                Operator::Greater => ordering.is_gt(),
                _ => ordering.is_ge(),
            }))
        }
    }
}

/// Whether a value is in a list; `is_not`: whether it is not.
pub fn is_in(value: &Value, list: &[Value], is_not: bool) -> Value {
    let compared: Vec<_> = list.iter().map(|other| compare(value, other)).collect();
    let is_found = compared.contains(&Some(Ordering::Equal));
    let is_known = is_found || !compared.contains(&None);
    truth(is_known.then_some(is_found != is_not))
}

/// Whether a value is in a range with these ends; `is_not`: whether it is not.
pub fn is_between(value: &Value, low: &Value, high: &Value, is_not: bool) -> Value {
    let is_after = apply(Operator::GreaterOrEqual, value, low);
    let is_before = apply(Operator::LessOrEqual, value, high);
    let is_within = logical(false, &is_after, &is_before);
    match is_not {
        true => not(&is_within),
        false => is_within,
    }
}

/// `IS NULL`.
pub fn is_null(value: &Value) -> Value {
    truth(Some(*value == Value::Null))
}

/// `NOT`.
pub fn not(value: &Value) -> Value {
    truth(is_true(value).map(|is_true| !is_true))
}

/// The order of two values, as `ORDER BY` has it: NULL is before all others.
pub fn order(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        _ => compare(one, other).unwrap_or(Ordering::Equal),
    }
}

/// Whether a condition with this value holds.
pub fn holds(value: &Value) -> bool {
    is_true(value) == Some(true)
}

fn truth(value: Option<bool>) -> Value {
    match value {
        Some(value) => Value::Number(u8::from(value).to_string()),
        None => Value::Null,
    }
}

fn is_true(value: &Value) -> Option<bool> {
    value.as_text().map(|text| float(text) != 0.0)
}

fn logical(is_or: bool, left: &Value, right: &Value) -> Value {
    let (left, right) = (is_true(left), is_true(right));
    // One of the two decides alone, even if the other is NULL.
    if left == Some(is_or) || right == Some(is_or) {
        return truth(Some(is_or));
    }
    truth(left.zip(right).map(|_| !is_or))
}

fn like(left: &Value, right: &Value, is_not: bool) -> Value {
    let texts = left.as_text().zip(right.as_text());
    truth(texts.map(|(text, pattern)| {
        let is_like = pattern.len() <= PATTERN_LENGTH_MAX && matches_like(text, pattern);
        is_like != is_not
    }))
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    let (a, b) = left.as_text().zip(right.as_text())?;
    let is_number = |value: &Value| matches!(value, Value::Number(_));
    if !is_number(left) && !is_number(right) {
        // As with the collation of all texts here, which ignores case.
        return Some(a.to_lowercase().cmp(&b.to_lowercase()));
    }
    match (a.parse::<i128>(), b.parse::<i128>()) {
        (Ok(a), Ok(b)) => Some(a.cmp(&b)),
        _ => float(a).partial_cmp(&float(b)),
    }
}

fn bits(left: &Value, right: &Value, combine: fn(u64, u64) -> u64) -> Value {
    match left.as_text().zip(right.as_text()) {
        Some((a, b)) => Value::Number(combine(integer(a), integer(b)).to_string()),
        None => Value::Null,
    }
}

/// The value as a term of SUM; `None` if it has a fraction, or is too large for a sum without errors.
pub fn whole_number(text: &str) -> Option<i128> {
    let rounded = || {
        let number = float(text);
        // Up to 2^53, each whole number is exact.
        let is_exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
        is_exact.then_some(number as i128)
    };
    text.parse().ok().or_else(rounded)
}

/// The 64 bits of a number.
fn integer(text: &str) -> u64 {
    let signed = || text.parse::<i64>().ok().map(i64::cast_unsigned);
    text.parse()
        .ok()
        .or_else(signed)
        // Rounded, and limited to the type.
        .unwrap_or_else(|| float(text).round() as u64)
}

/// The number at the beginning of a text, or 0.
pub fn float(text: &str) -> f64 {
    let text = text.trim_start();
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let mut end = end.min(NUMBER_LENGTH_MAX);
    while end > 0 {
        if let Some(Ok(number)) = text.get(..end).map(str::parse) {
            return number;
        }
        end -= 1;
    }
    0.0
}
