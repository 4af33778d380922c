//! Which tables a statement changes, as the servers determine it before execution.
//!
//! A server marks the tables that its parser finds as targets: that of INSERT but not those of its
//! SELECT, all of a DROP TABLE, old and new names of a RENAME. Views, and the names of routines in
//! GRANT, are in the same lists. Changes by triggers and stored functions are not considered.

use super::definitions::{alter, create, drop_object, one, rename};
use super::parser::{Parser, TableName};
use super::table_references::{delete, update};
use super::tokenizer::{Dialect, Token};
use super::touched::Touched;
use super::unclear::Unclear;

/// Finds the objects that a statement changes. `whole`: `text` is not just its first part.
///
/// # Errors
/// When they cannot be determined with certainty.
pub(super) fn find(text: &[u8], whole: bool, dialect: Dialect) -> Result<Touched, Unclear> {
    let without = Dialect {
        reads_versions: false,
        ..dialect
    };
    let (touched, found_version) = find_as(text, whole, without)?;
    if found_version {
        let with = Dialect {
            reads_versions: true,
            ..dialect
        };
        if find_as(text, whole, with)?.0 != touched {
            return Err(Unclear::VersionedComment);
        }
    }
    Ok(touched)
}

fn find_as(text: &[u8], whole: bool, dialect: Dialect) -> Result<(Touched, bool), Unclear> {
    let mut parser = Parser::new(text, whole, dialect)?;
    let touched = statement(&mut parser, dialect)?;
    Ok((touched, parser.found_version()))
}

fn statement(parser: &mut Parser<'_>, dialect: Dialect) -> Result<Touched, Unclear> {
    let first = parser.take()?;
    let Token::Word(word) = first else {
        return match first {
            Token::End => Ok(Touched::Nothing), // Only comments.
            _ => Err(Unclear::Syntax),
        };
    };
    let word = word.to_ascii_uppercase();
    match word.as_slice() {
        b"INSERT" | b"REPLACE" => {
            parser.skip_all(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"])?;
            one(parser)
        }
        b"UPDATE" => update(parser, false),
        b"DELETE" => delete(parser),
        b"LOAD" => {
            parser.skip_to(&["INTO"])?;
            parser.take()?;
            parser.expect("TABLE")?;
            one(parser)
        }
        b"WITH" => with(parser),
        b"CREATE" => create(parser),
        b"ALTER" => alter(parser),
        b"DROP" => drop_object(parser),
        b"TRUNCATE" => {
            parser.accept("TABLE")?;
            one(parser)
        }
        b"RENAME" => rename(parser),
        b"ANALYZE" | b"OPTIMIZE" | b"REPAIR" => maintain(parser, dialect),
        b"FLUSH" => flush(parser),
        b"GRANT" | b"REVOKE" => grant(parser),
        b"SET" => set(parser, dialect),
        b"SELECT" | b"DO" => query(parser),
        b"INSTALL" | b"UNINSTALL" => Ok(Touched::Nothing),
        _ => Err(Unclear::Syntax),
    }
}

fn several(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    parser.accept_if_exists()?;
    Ok(Touched::Tables(parser.tables()?))
}

/// Common table expressions before UPDATE or DELETE.
fn with(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    parser.skip_to(&["UPDATE", "DELETE"])?;
    match parser.take()?.is("UPDATE") {
        true => update(parser, true),
        false => delete(parser),
    }
}

fn maintain(parser: &mut Parser<'_>, dialect: Dialect) -> Result<Touched, Unclear> {
    parser.skip_all(&["NO_WRITE_TO_BINLOG", "LOCAL"])?;
    if parser.accept_any(&["TABLE", "TABLES"])? {
        return several(parser);
    }
    if parser.accept("VIEW")? {
        return several(parser);
    }
    if !dialect.mariadb {
        return Err(Unclear::Syntax);
    }
    // ANALYZE [FORMAT = JSON] statement.
    if parser.accept("FORMAT")? {
        parser.accept_symbol(b'=')?;
        parser.take()?;
    }
    inner(parser)
}

/// A statement inside another one.
fn inner(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    let first = parser.take()?;
    if first.is_any(&["INSERT", "REPLACE"]) {
        parser.skip_all(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"])?;
        one(parser)
    } else if first.is("UPDATE") {
        update(parser, false)
    } else if first.is("DELETE") {
        delete(parser)
    } else if first.is("CREATE") {
        create(parser)
    } else if first.is("ALTER") {
        alter(parser)
    } else if first.is("DROP") {
        drop_object(parser)
    } else if first.is("TRUNCATE") {
        parser.accept("TABLE")?;
        one(parser)
    } else {
        Err(Unclear::Syntax)
    }
}

fn flush(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    parser.skip_all(&["NO_WRITE_TO_BINLOG", "LOCAL"])?;
    if !parser.accept_any(&["TABLE", "TABLES"])? {
        return Ok(Touched::Nothing);
    }
    match parser.peek() {
        Token::End | Token::Symbol(_) => Ok(Touched::Nothing),
        token if token.is_any(&["WITH", "FOR"]) => Ok(Touched::Nothing),
        _ => Ok(Touched::Tables(parser.tables()?)),
    }
}

fn grant(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    loop {
        match parser.peek() {
            Token::Symbol(b'(') => {
                parser.skip_parentheses()?;
            }
            // Roles, or all privileges.
            token if token.is_any(&["TO", "FROM"]) => return Ok(Touched::Accounts(None)),
            token if token.is("PROXY") => return Ok(Touched::Accounts(None)),
            token if token.is("ON") => break,
            Token::End => return Err(Unclear::Syntax),
            _ => {
                parser.take()?;
            }
        }
    }
    parser.take()?;
    let kinds = ["TABLE", "FUNCTION", "PROCEDURE", "LIBRARY"];
    if parser.peek().is("PACKAGE") {
        return Err(Unclear::Syntax);
    }
    parser.accept_any(&kinds)?;
    if parser.accept_symbol(b'*')? {
        return Ok(Touched::Accounts(None));
    }
    let first = parser.name()?;
    if !parser.accept_symbol(b'.')? {
        return Ok(Touched::Accounts(Some(TableName {
            database: None,
            table: first,
        })));
    }
    if parser.accept_symbol(b'*')? {
        return Ok(Touched::Accounts(None));
    }
    Ok(Touched::Accounts(Some(TableName {
        database: Some(first),
        table: parser.name()?,
    })))
}

fn set(parser: &mut Parser<'_>, dialect: Dialect) -> Result<Touched, Unclear> {
    if parser.peek().is("PASSWORD") {
        return Ok(Touched::Accounts(None));
    }
    if parser.peek().is("DEFAULT") && parser.peek_second()?.is("ROLE") {
        return Ok(Touched::Accounts(None));
    }
    if dialect.mariadb && parser.accept("STATEMENT")? {
        parser.skip_to(&["FOR"])?;
        parser.take()?;
        return inner(parser);
    }
    Ok(Touched::Nothing)
}

/// A query is logged because of the stored functions in it.
fn query(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    loop {
        match parser.take()? {
            Token::End => return Ok(Touched::Nothing),
            token if token.is("FROM") => return Ok(Touched::OnlyReads),
            token if token.is_any(&["SELECT", "INTO"]) => return Err(Unclear::Syntax),
            _ => {}
        }
    }
}
