//! `SELECT … FROM information_schema.…`: clients that decode rows ask it for the columns' names.
//!
//! The relay holds no tables, so there are never rows: what a master answers without the table
//! that is asked for.

use super::answer::Answer;
use super::cursor::Cursor;
use super::sql::Token;
use crate::protocol::response::ColumnKind;

/// The tables that are known to be empty here.
const TABLES: [&str; 4] = ["COLUMNS", "TABLES", "KEY_COLUMN_USAGE", "STATISTICS"];

/// The answer to the rest of a statement that began with SELECT, if it is one for plain columns of
/// such a table; whatever its conditions are, nothing meets them.
pub fn select(mut cursor: Cursor<'_>) -> Option<Answer> {
    let mut columns = Vec::new();
    loop {
        let Token::Word(name) = cursor.next()? else {
            return None;
        };
        columns.push((name.clone(), ColumnKind::Text));
        if !cursor.eat_symbol(',') {
            break;
        }
    }
    let is_schema = cursor.eat_words(&["FROM", "INFORMATION_SCHEMA"]) && cursor.eat_symbol('.');
    let is_table = is_schema && TABLES.iter().any(|table| cursor.eat(table));
    is_table.then(|| Answer::Rows {
        columns,
        rows: Vec::new(),
    })
}
