//! SHOW statements about databases, tables and character sets. There is no database but `information_schema`.

use super::answer::Answer;
use super::cursor::Cursor;
use super::schema_tables::{self, SCHEMA, SchemaColumn, SchemaTable};
use super::show_filter::filtered;
use super::sql::Token;
use super::sql_errors::{no_such_table, unknown_database};
use super::statement_context::StatementContext;
use super::variables::system_character_set;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::response::ColumnKind::{Integer, Text};

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
        return filtered(&mut rest, context, &[("Database", Text)], rows);
    }
    if rest.eat("COLLATION") {
        return collations(&mut rest, context);
    }
    if rest.eat_words(&["CHARACTER", "SET"]) || rest.eat("CHARSET") {
        return character_sets(&mut rest, context);
    }
    if rest.eat_words(&["CREATE", "DATABASE"]) || rest.eat_words(&["CREATE", "SCHEMA"]) {
        let name = name(&mut rest).unwrap_or_default();
        return no_database(name).map_or(Ok(None), Err);
    }
    if rest.eat_words(&["CREATE", "TABLE"]) || rest.eat_words(&["CREATE", "VIEW"]) {
        return table(&mut rest, context).map(|_| None);
    }
    rest.eat("EXTENDED");
    let is_full = rest.eat("FULL");
    if rest.eat("TABLES") {
        return tables(&mut rest, context, is_full);
    }
    if rest.eat("COLUMNS") || rest.eat("FIELDS") {
        return match rest.eat("FROM") || rest.eat("IN") {
            true => columns(&mut rest, context, is_full),
            false => Ok(None),
        };
    }
    if ["INDEX", "INDEXES", "KEYS"]
        .iter()
        .any(|word| rest.eat(word))
    {
        return match rest.eat("FROM") || rest.eat("IN") {
            true => table(&mut rest, context).map(|_| None),
            false => Ok(None),
        };
    }
    if rest.eat_words(&["TABLE", "STATUS"]) || rest.eat("TRIGGERS") || rest.eat("EVENTS") {
        return check_database(&mut rest, context).map(|()| None);
    }
    Ok(None)
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    match cursor.next()? {
        Token::Word(name) => Some(name),
        _ => None,
    }
}

/// The table that follows: `table`, `database.table`, or `table FROM database`.
fn table(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<SchemaTable, ServerError> {
    let first = name(cursor).unwrap_or_default();
    if cursor.eat_symbol('.') {
        return schema_tables::find(context, first, name(cursor).unwrap_or_default());
    }
    match cursor.eat("FROM") || cursor.eat("IN") {
        true => schema_tables::find(context, name(cursor).unwrap_or_default(), first),
        false => schema_tables::find(context, "", first),
    }
}

/// The answer to DESCRIBE.
///
/// # Errors
/// The table does not exist.
pub fn describe(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
    columns(cursor, context, false)
}

/// The columns of the table that follows.
fn columns(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    is_full: bool,
) -> Result<Option<Answer>, ServerError> {
    let table = table(cursor, context)?;
    let shown: &[_] = match is_full {
        true => &[
            ("Field", Text),
            ("Type", Text),
            ("Collation", Text),
            ("Null", Text),
            ("Key", Text),
            ("Default", Text),
            ("Extra", Text),
            ("Privileges", Text),
            ("Comment", Text),
        ],
        false => &[
            ("Field", Text),
            ("Type", Text),
            ("Null", Text),
            ("Key", Text),
            ("Default", Text),
            ("Extra", Text),
        ],
    };
    let collation = format!("{}_general_ci", system_character_set(&context.relay));
    let row = |column: &SchemaColumn| -> Vec<Option<String>> {
        let is_text = column.sql_type.starts_with(|c| "lv".contains(c));
        let collation = is_text.then_some(collation.as_str());
        let null = if column.is_nullable { "YES" } else { "NO" };
        let all = [
            (Some(column.name), true),
            (Some(column.sql_type), true),
            (collation, is_full),
            (Some(null), true),
            (Some(""), true),
            (None, true),
            (Some(""), true),
            (Some("select"), is_full),
            (Some(""), is_full),
        ];
        let shown = all.into_iter().filter(|(_, is_shown)| *is_shown);
        shown.map(|(value, _)| value.map(str::to_owned)).collect()
    };
    let rows = table.columns.iter().map(row).collect();
    filtered(cursor, context, shown, rows)
}

/// The error about a database that does not exist.
fn no_database(name: &str) -> Option<ServerError> {
    (!name.eq_ignore_ascii_case(SCHEMA)).then(|| unknown_database(name))
}

/// Checks that the database that follows, or else the default one, exists.
fn check_database(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<(), ServerError> {
    let error = match cursor.eat("FROM") || cursor.eat("IN") {
        true => no_database(name(cursor).unwrap_or_default()),
        false if context.variables.database.is_some() => None,
        false => Some(no_such_table("", "")),
    };
    error.map_or(Ok(()), Err)
}

fn tables(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
    is_full: bool,
) -> Result<Option<Answer>, ServerError> {
    check_database(cursor, context)?;
    let row = |table: SchemaTable| {
        let kind = is_full.then(|| Some(TABLE_TYPE.to_owned()));
        [Some(table.name.to_owned())]
            .into_iter()
            .chain(kind)
            .collect()
    };
    let rows = schema_tables::all(context).into_iter().map(row).collect();
    let columns = [("Tables_in_information_schema", Text), ("Table_type", Text)];
    let (short, _) = columns.split_at(1);
    let columns = if is_full { &columns } else { short };
    filtered(cursor, context, columns, rows)
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

fn collations(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
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
    filtered(cursor, context, &columns, rows)
}

fn character_sets(
    cursor: &mut Cursor<'_>,
    context: &StatementContext<'_>,
) -> Result<Option<Answer>, ServerError> {
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
    filtered(cursor, context, &columns, rows.map(row).collect())
}
