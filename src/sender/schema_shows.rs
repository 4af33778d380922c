//! SHOW statements about databases, tables and character sets. There is no database but `information_schema`.

use super::answer::Answer;
use super::cursor::Cursor;
use super::name_filter::NameFilter;
use super::sql::Token;
use super::sql_errors::{no_such_table, unknown_database};
use super::statement_context::StatementContext;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind::{self, Integer, Text};

const SCHEMA: &str = "information_schema";
/// Its tables that have rows.
const TABLES: [&str; 3] = ["INNODB_CMP", "INNODB_CMPMEM", "PROCESSLIST"];

const TABLE_TYPE: &str = "SYSTEM VIEW";

/// A collation that answers can have: its name, its character set, its id, and whether it is that set's default.
type Collation = (&'static str, &'static str, &'static str, bool);

/// Answers the rest of a statement that began with SHOW; `None` if it is none of these.
///
/// # Errors
/// What is shown does not exist.
pub fn show(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    let mut rest = cursor.clone();
    if rest.eat("DATABASES") || rest.eat("SCHEMAS") {
        let rows = vec![vec![Some(SCHEMA.to_owned())]];
        return Ok(filtered(&mut rest, &[("Database", Text)], rows));
    }
    if rest.eat("COLLATION") {
        return Ok(collations(&mut rest, context));
    }
    if rest.eat_words(&["CHARACTER", "SET"]) || rest.eat("CHARSET") {
        return Ok(character_sets(&mut rest, context));
    }
    if rest.eat_words(&["CREATE", "DATABASE"]) || rest.eat_words(&["CREATE", "SCHEMA"]) {
        return Err(unknown_database(name(&mut rest).unwrap_or_default()));
    }
    if rest.eat_words(&["CREATE", "TABLE"]) || rest.eat_words(&["CREATE", "VIEW"]) {
        return Err(table_error(&mut rest));
    }
    rest.eat("EXTENDED");
    let is_full = rest.eat("FULL");
    if rest.eat("TABLES") {
        return tables(&mut rest, is_full);
    }
    if ["COLUMNS", "FIELDS", "INDEX", "INDEXES", "KEYS"]
        .iter()
        .any(|word| rest.eat(word))
    {
        return match rest.eat("FROM") || rest.eat("IN") {
            true => Err(table_error(&mut rest)),
            false => Ok(None),
        };
    }
    if rest.eat_words(&["TABLE", "STATUS"]) || rest.eat("TRIGGERS") || rest.eat("EVENTS") {
        return Err(database_error(&mut rest));
    }
    Ok(None)
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    match cursor.next()? {
        Token::Word(name) => Some(name),
        _ => None,
    }
}

/// The error about the table that follows: `table`, `database.table`, or `table FROM database`.
pub fn table_error(cursor: &mut Cursor<'_>) -> ServerError {
    let first = name(cursor).unwrap_or_default();
    if cursor.eat_symbol('.') {
        return no_such_table(first, name(cursor).unwrap_or_default());
    }
    match cursor.eat("FROM") || cursor.eat("IN") {
        true => no_such_table(name(cursor).unwrap_or_default(), first),
        false => no_such_table("", first),
    }
}

/// The error about the database that follows, or that is missing.
fn database_error(cursor: &mut Cursor<'_>) -> ServerError {
    match cursor.eat("FROM") || cursor.eat("IN") {
        true => unknown_database(name(cursor).unwrap_or_default()),
        false => no_such_table("", ""),
    }
}

fn tables(cursor: &mut Cursor<'_>, is_full: bool) -> Result<Option<Answer>, ServerError> {
    let mut rest = cursor.clone();
    let is_schema = (rest.eat("FROM") || rest.eat("IN")) && rest.eat(SCHEMA);
    if !is_schema {
        return Err(database_error(cursor));
    }
    let row = |table: &str| {
        let kind = is_full.then(|| Some(TABLE_TYPE.to_owned()));
        [Some(table.to_owned())].into_iter().chain(kind).collect()
    };
    let rows = TABLES.iter().map(|table| row(table)).collect();
    let columns = [("Tables_in_information_schema", Text), ("Table_type", Text)];
    let (short, _) = columns.split_at(1);
    let columns = if is_full { &columns } else { short };
    Ok(filtered(&mut rest, columns, rows))
}

/// The rows whose first value the rest of the statement selects.
fn filtered(
    cursor: &mut Cursor<'_>,
    columns: &[(&str, ColumnKind)],
    rows: Vec<Vec<Option<String>>>,
) -> Option<Answer> {
    let (column, _) = columns.first()?;
    let filter = NameFilter::read(cursor, column)?;
    let is_selected = |row: &Vec<Option<String>>| {
        let name = row.first().and_then(Option::as_deref);
        name.is_some_and(|name| filter.selects(name))
    };
    let rows = rows.into_iter().filter(is_selected).collect();
    let mut answer = Answer::rows(columns, rows);
    if let (Answer::Rows { columns, .. }, NameFilter::Like(pattern)) = (&mut answer, &filter)
        && let Some((name, _)) = columns.first_mut()
        && (name == "Database" || name.starts_with("Tables_in_"))
    {
        // As servers name it.
        *name = format!("{name} ({pattern})");
    }
    Some(answer)
}

/// The collations of the relay's answers, and those that its variables name.
fn known_collations(context: &StatementContext<'_>) -> Vec<Collation> {
    let numbers = version_numbers(context.relay.version);
    let is_newer = context.relay.flavor == Flavor::MySql && numbers >= (8, 0, 0);
    let mut collations = vec![
        ("binary", "binary", "63", true),
        ("utf8mb4_general_ci", "utf8mb4", "45", !is_newer),
    ];
    if is_newer {
        collations.push(("utf8mb4_0900_ai_ci", "utf8mb4", "255", true));
    }
    collations
}

fn collations(cursor: &mut Cursor<'_>, context: &StatementContext<'_>) -> Option<Answer> {
    let mut columns = vec![
        ("Collation", Text),
        ("Charset", Text),
        ("Id", Integer),
        ("Default", Text),
        ("Compiled", Text),
        ("Sortlen", Integer),
    ];
    let numbers = version_numbers(context.relay.version);
    let has_padding = context.relay.flavor == Flavor::MySql && numbers >= (8, 0, 0);
    if has_padding {
        columns.push(("Pad_attribute", Text));
    }
    let row = |(name, set, id, is_default): Collation| {
        let padding = match name {
            "utf8mb4_general_ci" => "PAD SPACE",
            _ => "NO PAD",
        };
        let default = if is_default { "Yes" } else { "" };
        let values = [name, set, id, default, "Yes", "1"];
        let values = values.into_iter().chain(has_padding.then_some(padding));
        values.map(|value| Some(value.to_owned())).collect()
    };
    let rows = known_collations(context).into_iter().map(row).collect();
    filtered(cursor, &columns, rows)
}

fn character_sets(cursor: &mut Cursor<'_>, context: &StatementContext<'_>) -> Option<Answer> {
    let columns = [
        ("Charset", Text),
        ("Description", Text),
        ("Default collation", Text),
        ("Maxlen", Integer),
    ];
    let collations = known_collations(context).into_iter();
    let rows = collations.filter(|(_, _, _, is_default)| *is_default);
    let row = |(name, set, _, _): Collation| {
        let (description, length) = match set {
            "binary" => ("Binary pseudo charset", "1"),
            _ => ("UTF-8 Unicode", "4"),
        };
        let values = [set, description, name, length];
        values.map(|value| Some(value.to_owned())).into()
    };
    filtered(cursor, &columns, rows.map(row).collect())
}
