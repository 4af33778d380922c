//! CREATE, ALTER, DROP and RENAME: the objects that they change.

use super::parser::{Parser, TableName};
use super::tokenizer::Token;
use super::touched::Touched;
use super::unclear::Unclear;

/// Keywords between CREATE or ALTER and the type of the object.
const MODIFIERS: &[&str] = &[
    "TEMPORARY",
    "EXTERNAL",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "VECTOR",
    "ONLINE",
    "OFFLINE",
    "IGNORE",
    "AGGREGATE",
    "UNDO",
    "JSON",
    "RELATIONAL",
    "DUALITY",
    "MATERIALIZED",
];
/// Types of objects without tables of their own: the bodies of routines do not count.
const WITHOUT_TABLES: &[&str] = &[
    "PROCEDURE",
    "FUNCTION",
    "EVENT",
    "SERVER",
    "TABLESPACE",
    "LOGFILE",
    "RESOURCE",
    "INSTANCE",
    "PACKAGE",
    "PREPARE",
    "LIBRARY",
];

/// The next table, as the only one.
pub(super) fn one(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    Ok(Touched::Tables(vec![parser.table()?]))
}

pub(super) fn create(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    if parser.accept("OR")? {
        parser.expect("REPLACE")?;
    }
    object_options(parser)?;
    let object = parser.take()?;
    if object.is_any(&["TABLE", "SEQUENCE", "VIEW"]) {
        parser.accept_if_exists()?;
        one(parser)
    } else if object.is("INDEX") {
        parser.accept_if_exists()?;
        parser.name()?;
        on_table(parser)
    } else if object.is("TRIGGER") {
        parser.accept_if_exists()?;
        parser.table()?;
        on_table(parser)
    } else {
        other_object(object, parser)
    }
}

/// ALGORITHM, DEFINER, SQL SECURITY and single keywords.
fn object_options(parser: &mut Parser<'_>) -> Result<(), Unclear> {
    loop {
        parser.skip_all(MODIFIERS)?;
        if parser.accept("ALGORITHM")? {
            parser.accept_symbol(b'=')?;
            parser.take()?;
        } else if parser.accept("SQL")? {
            parser.expect("SECURITY")?;
            parser.take()?;
        } else if parser.accept("DEFINER")? {
            parser.accept_symbol(b'=')?;
            parser.take()?;
            if parser.accept_symbol(b'@')? {
                parser.take()?;
            } else if parser.peek() == Token::Symbol(b'(') {
                parser.skip_parentheses()?;
            }
        } else {
            return Ok(());
        }
    }
}

fn on_table(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    parser.skip_to(&["ON"])?;
    parser.take()?;
    one(parser)
}

fn other_object(object: Token<'_>, parser: &Parser<'_>) -> Result<Touched, Unclear> {
    if object.is_any(&["DATABASE", "SCHEMA"]) {
        Ok(Touched::Database)
    } else if object.is_any(&["USER", "ROLE"]) {
        Ok(Touched::Accounts(None))
    } else if object.is_any(WITHOUT_TABLES)
        || (object.is("REFERENCE") && parser.peek().is("SYSTEM"))
    {
        Ok(Touched::Nothing)
    } else {
        Err(Unclear::Syntax)
    }
}

pub(super) fn alter(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    object_options(parser)?;
    let object = parser.take()?;
    if object.is("TABLE") {
        parser.accept_if_exists()?;
        let mut tables = vec![parser.table()?];
        tables.extend(exchanged_table(parser)?);
        return Ok(Touched::Tables(tables));
    }
    if object.is_any(&["VIEW", "SEQUENCE"]) {
        parser.accept_if_exists()?;
        return one(parser);
    }
    other_object(object, parser)
}

/// The other table of ALTER TABLE … EXCHANGE PARTITION p WITH TABLE t.
fn exchanged_table(parser: &mut Parser<'_>) -> Result<Option<TableName>, Unclear> {
    if parser.peek().is("CONVERT") && parser.peek_second()?.is_any(&["PARTITION", "TABLE"]) {
        return Err(Unclear::Syntax);
    }
    if !parser.accept("EXCHANGE")? {
        return Ok(None);
    }
    parser.expect("PARTITION")?;
    parser.name()?;
    parser.expect("WITH")?;
    parser.expect("TABLE")?;
    parser.table().map(Some)
}

pub(super) fn drop_object(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    let temporary = parser.accept("TEMPORARY")?;
    parser.skip_all(&["ONLINE", "OFFLINE", "UNDO", "SPATIAL"])?;
    let object = parser.take()?;
    if object.is_any(&["TABLE", "TABLES", "SEQUENCE", "VIEW"]) {
        let if_exists = parser.accept_if_exists()?;
        if temporary && if_exists && !object.is("VIEW") {
            return Ok(Touched::Always);
        }
        return Ok(Touched::Tables(parser.tables()?));
    }
    if object.is("INDEX") {
        return on_table(parser);
    }
    if object.is("TRIGGER") {
        // The text does not name the table. A replica that does not have the trigger, because its
        // CREATE was filtered out, ignores the error.
        return Ok(Touched::Nothing);
    }
    other_object(object, parser)
}

pub(super) fn rename(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    if parser.accept("USER")? {
        return Ok(Touched::Accounts(None));
    }
    if !parser.accept_any(&["TABLE", "TABLES"])? {
        return Err(Unclear::Syntax);
    }
    parser.accept_if_exists()?;
    let mut tables = Vec::new();
    loop {
        tables.push(parser.table()?);
        if parser.accept("WAIT")? {
            parser.take()?;
        }
        parser.accept("NOWAIT")?;
        parser.expect("TO")?;
        tables.push(parser.table()?);
        if !parser.accept_symbol(b',')? {
            return Ok(Touched::Tables(tables));
        }
    }
}
