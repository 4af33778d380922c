//! UPDATE and DELETE: the tables after UPDATE, FROM or USING, with their joins.

use super::parser::{Parser, TableName};
use super::tokenizer::Token;
use super::touched::Touched;
use super::unclear::Unclear;

/// Keywords that may follow a table name (so they are not aliases).
const AFTER_TABLE: &[&str] = &[
    "JOIN",
    "INNER",
    "CROSS",
    "LEFT",
    "RIGHT",
    "NATURAL",
    "STRAIGHT_JOIN",
    "ON",
    "USING",
    "SET",
    "WHERE",
    "USE",
    "FORCE",
    "IGNORE",
    "ORDER",
    "LIMIT",
    "PARTITION",
    "RETURNING",
];
/// Keywords that begin a join.
const JOINS: &[&str] = &[
    "JOIN",
    "INNER",
    "CROSS",
    "LEFT",
    "RIGHT",
    "NATURAL",
    "STRAIGHT_JOIN",
];
/// Keywords that end the list of tables.
const ENDS: &[&str] = &["SET", "WHERE", "ORDER", "LIMIT", "RETURNING"];
/// Keywords that begin a subquery.
const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES", "TABLE"];
/// The most tables in one statement; servers join at most 61.
const TABLES_MAX: usize = 256;
/// The most nested parentheses around joins.
const DEPTH_MAX: usize = 64;

/// A table in the list, and its alias in the statement.
#[derive(Debug)]
struct Reference {
    name: TableName,
    alias: Option<Vec<u8>>,
}

/// The list of tables.
#[derive(Debug, Default)]
struct References {
    tables: Vec<Reference>,
    /// Whether subqueries are among them, which a server counts when it numbers the tables.
    has_query: bool,
    depth: usize,
}

/// UPDATE, after the keyword. `has_with`: a WITH clause precedes it.
pub(super) fn update(parser: &mut Parser<'_>, has_with: bool) -> Result<Touched, Unclear> {
    parser.skip_all(&["LOW_PRIORITY", "IGNORE"])?;
    let references = References::read(parser)?;
    if !parser.peek().is("SET") {
        return Err(Unclear::Syntax);
    }
    let names: Vec<_> = references
        .tables
        .into_iter()
        .map(|reference| reference.name)
        .collect();
    if references.has_query || has_with {
        return Ok(Touched::UpdateAmong(names));
    }
    Ok(match names.len() {
        1 => Touched::Tables(names),
        _ => Touched::Update(names),
    })
}

/// DELETE, after the keyword.
pub(super) fn delete(parser: &mut Parser<'_>) -> Result<Touched, Unclear> {
    parser.skip_all(&["LOW_PRIORITY", "QUICK", "IGNORE", "HISTORY"])?;
    if !parser.accept("FROM")? {
        let targets = targets(parser)?;
        parser.expect("FROM")?;
        return several(parser, &targets);
    }
    let targets = targets(parser)?;
    if parser.accept("USING")? {
        return several(parser, &targets);
    }
    match targets.len() {
        1 => Ok(Touched::Tables(targets)),
        _ => Err(Unclear::Syntax),
    }
}

/// Reads a comma-separated list of `table` or `table.*`.
fn targets(parser: &mut Parser<'_>) -> Result<Vec<TableName>, Unclear> {
    let mut targets = Vec::new();
    loop {
        let first = parser.name()?;
        let mut target = TableName {
            database: None,
            table: first,
        };
        while parser.accept_symbol(b'.')? {
            if parser.accept_symbol(b'*')? {
                break;
            }
            if target.database.is_some() {
                return Err(Unclear::Syntax);
            }
            target.database = Some(std::mem::replace(&mut target.table, parser.name()?));
        }
        if targets.len() == TABLES_MAX {
            return Err(Unclear::Syntax);
        }
        targets.push(target);
        if !parser.accept_symbol(b',')? {
            return Ok(targets);
        }
    }
}

/// A DELETE that names its targets separately from the tables that it reads.
fn several(parser: &mut Parser<'_>, targets: &[TableName]) -> Result<Touched, Unclear> {
    let references = References::read(parser)?;
    let mut changed = vec![false; references.tables.len()];
    for target in targets {
        let mut found = false;
        for (reference, changed) in references.tables.iter().zip(&mut changed) {
            if refers_to(target, reference) {
                *changed = true;
                found = true;
            }
        }
        if !found {
            return Err(Unclear::Syntax);
        }
    }
    let tables = references.tables.into_iter().zip(changed);
    Ok(Touched::Tables(
        tables
            .filter(|(_, changed)| *changed)
            .map(|(reference, _)| reference.name)
            .collect(),
    ))
}

/// Whether a target of DELETE is this table. If only one of them names the database, the other one
/// may mean the same: then they count as the same table.
fn refers_to(target: &TableName, reference: &Reference) -> bool {
    match &reference.alias {
        Some(alias) => target.database.is_none() && target.table.eq_ignore_ascii_case(alias),
        None => {
            let databases = (&target.database, &reference.name.database);
            target.table.eq_ignore_ascii_case(&reference.name.table)
                && match databases {
                    (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                    _ => true,
                }
        }
    }
}

impl References {
    fn read(parser: &mut Parser<'_>) -> Result<Self, Unclear> {
        let mut references = References::default();
        loop {
            references.factor(parser)?;
            if !references.after_factor(parser)? {
                return Ok(references);
            }
        }
    }

    /// One table or subquery, with opening parentheses before it.
    fn factor(&mut self, parser: &mut Parser<'_>) -> Result<(), Unclear> {
        while parser.peek() == Token::Symbol(b'(') {
            if parser.peek_second()?.is_any(QUERIES) {
                self.has_query = true;
                parser.skip_parentheses()?;
                return alias(parser).map(|_| ());
            }
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(Unclear::Syntax);
            }
            parser.take()?;
        }
        if parser.peek().is("LATERAL") {
            return Err(Unclear::Syntax);
        }
        let name = parser.table()?;
        if parser.peek() == Token::Symbol(b'(') {
            return Err(Unclear::Syntax); // A table function.
        }
        if parser.accept("PARTITION")? {
            parser.skip_parentheses()?;
        }
        let alias = alias(parser)?;
        if self.tables.len() == TABLES_MAX {
            return Err(Unclear::Syntax);
        }
        self.tables.push(Reference { name, alias });
        Ok(())
    }

    /// Reads up to the next table or the end of the list; true when another table follows.
    fn after_factor(&mut self, parser: &mut Parser<'_>) -> Result<bool, Unclear> {
        loop {
            let token = parser.peek();
            if token.is_any(&["USE", "FORCE", "IGNORE"]) {
                self.index_hint(parser)?;
            } else if token.is("ON") {
                self.condition(parser)?;
            } else if parser.accept("USING")? {
                parser.skip_parentheses()?;
            } else if parser.accept_symbol(b')')? {
                self.depth = self.depth.checked_sub(1).ok_or(Unclear::Syntax)?;
            } else if parser.accept_symbol(b',')? {
                return Ok(true);
            } else if token.is_any(JOINS) {
                parser.skip_all(JOINS_AND_OUTER)?;
                return Ok(true);
            } else if token.is_any(ENDS) || matches!(token, Token::End | Token::Symbol(b';')) {
                return match self.depth {
                    0 => Ok(false),
                    _ => Err(Unclear::Syntax),
                };
            } else {
                return Err(Unclear::Syntax);
            }
        }
    }

    fn index_hint(&mut self, parser: &mut Parser<'_>) -> Result<(), Unclear> {
        parser.take()?;
        if !parser.accept_any(&["INDEX", "KEY"])? {
            return Err(Unclear::Syntax);
        }
        if parser.accept("FOR")? {
            parser.skip_all(&["JOIN", "ORDER", "GROUP", "BY"])?;
        }
        parser.skip_parentheses().map(|_| ())
    }

    /// ON and its expression.
    fn condition(&mut self, parser: &mut Parser<'_>) -> Result<(), Unclear> {
        parser.take()?;
        loop {
            let token = parser.peek();
            match token {
                Token::Symbol(b'(') => self.has_query |= parser.skip_parentheses()?,
                Token::End | Token::Symbol(b',' | b')' | b';') => return Ok(()),
                // There are functions with these names, too.
                _ if token.is_any(&["LEFT", "RIGHT"])
                    && parser.peek_second()? == Token::Symbol(b'(') =>
                {
                    parser.take()?;
                }
                _ if token.is_any(JOINS) || token.is_any(ENDS) => return Ok(()),
                Token::Symbol(b'.') => {
                    // A name follows, even if it is a keyword.
                    parser.take()?;
                    parser.take()?;
                }
                _ => {
                    parser.take()?;
                }
            }
        }
    }
}

const JOINS_AND_OUTER: &[&str] = &[
    "JOIN",
    "INNER",
    "CROSS",
    "LEFT",
    "RIGHT",
    "NATURAL",
    "STRAIGHT_JOIN",
    "OUTER",
];

fn alias(parser: &mut Parser<'_>) -> Result<Option<Vec<u8>>, Unclear> {
    let has_as = parser.accept("AS")?;
    match parser.peek() {
        Token::Quoted { .. } => parser.name().map(Some),
        Token::Word(_) if has_as || !parser.peek().is_any(AFTER_TABLE) => parser.name().map(Some),
        _ if has_as => Err(Unclear::Syntax),
        _ => Ok(None),
    }
}
