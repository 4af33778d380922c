//! Reading a statement token by token: the parts common to all statements.

use super::tokenizer::{Dialect, Token, Tokenizer, name_of};
use super::unclear::Unclear;

/// More tables than a server accepts in a statement whose list matters here (MySQL joins 61, but
/// lists of DROP TABLE may be long).
const TABLES_MAX: usize = 4096;
/// The most nested parentheses.
const DEPTH_MAX: usize = 1000;

/// A table as named in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableName {
    /// `None`: the default database.
    pub(super) database: Option<Vec<u8>>,
    pub(super) table: Vec<u8>,
}

/// A cursor over a statement's tokens.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    tokenizer: Tokenizer<'a>,
    next: Token<'a>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [u8], whole: bool, dialect: Dialect) -> Result<Self, Unclear> {
        let mut tokenizer = Tokenizer::new(text, whole, dialect);
        let next = tokenizer.next()?;
        Ok(Self { tokenizer, next })
    }

    /// Whether a comment was found that only some server versions execute.
    pub(super) fn found_version(&self) -> bool {
        self.tokenizer.found_version
    }

    /// The next token, not consumed.
    pub(super) fn peek(&self) -> Token<'a> {
        self.next
    }

    /// The token after the next; neither is consumed.
    pub(super) fn peek_second(&self) -> Result<Token<'a>, Unclear> {
        self.tokenizer.clone().next()
    }

    /// Consumes the next token.
    pub(super) fn take(&mut self) -> Result<Token<'a>, Unclear> {
        let token = self.next;
        if token != Token::End {
            self.next = self.tokenizer.next()?;
        }
        Ok(token)
    }

    /// Consumes the next token if it is this keyword.
    pub(super) fn accept(&mut self, keyword: &str) -> Result<bool, Unclear> {
        self.accept_any(&[keyword])
    }

    /// Consumes the next token if it is one of these keywords.
    pub(super) fn accept_any(&mut self, keywords: &[&str]) -> Result<bool, Unclear> {
        let found = self.next.is_any(keywords);
        if found {
            self.take()?;
        }
        Ok(found)
    }

    /// Consumes all tokens up to the first that is not one of these keywords.
    pub(super) fn skip_all(&mut self, keywords: &[&str]) -> Result<(), Unclear> {
        while self.accept_any(keywords)? {}
        Ok(())
    }

    /// Consumes the next token if it is this symbol.
    pub(super) fn accept_symbol(&mut self, symbol: u8) -> Result<bool, Unclear> {
        let found = self.next == Token::Symbol(symbol);
        if found {
            self.take()?;
        }
        Ok(found)
    }

    /// Consumes the next token, which must be this keyword.
    pub(super) fn expect(&mut self, keyword: &str) -> Result<(), Unclear> {
        match self.accept(keyword)? {
            true => Ok(()),
            false => Err(Unclear::Syntax),
        }
    }

    /// Consumes `IF EXISTS` or `IF NOT EXISTS`, if present.
    pub(super) fn accept_if_exists(&mut self) -> Result<bool, Unclear> {
        if !self.next.is("IF") || !self.peek_second()?.is_any(&["EXISTS", "NOT"]) {
            return Ok(false);
        }
        self.take()?;
        self.accept("NOT")?;
        self.expect("EXISTS")?;
        Ok(true)
    }

    /// Reads a name.
    pub(super) fn name(&mut self) -> Result<Vec<u8>, Unclear> {
        name_of(self.take()?)
    }

    /// Reads `table`, `database.table` or `.table`.
    pub(super) fn table(&mut self) -> Result<TableName, Unclear> {
        if self.accept_symbol(b'.')? {
            let table = self.name()?;
            let database = None;
            return Ok(TableName { database, table });
        }
        let first = self.name()?;
        if !self.accept_symbol(b'.')? {
            return Ok(TableName {
                database: None,
                table: first,
            });
        }
        let table = self.name()?;
        Ok(TableName {
            database: Some(first),
            table,
        })
    }

    /// Reads a comma-separated list of tables.
    pub(super) fn tables(&mut self) -> Result<Vec<TableName>, Unclear> {
        let mut tables = vec![self.table()?];
        while self.accept_symbol(b',')? {
            if tables.len() == TABLES_MAX {
                return Err(Unclear::Syntax);
            }
            tables.push(self.table()?);
        }
        Ok(tables)
    }

    /// Consumes everything from the next `(` to the matching `)`. True if it contains a subquery.
    pub(super) fn skip_parentheses(&mut self) -> Result<bool, Unclear> {
        let mut depth = 0usize;
        let mut has_query = false;
        loop {
            match self.take()? {
                Token::Symbol(b'(') if depth < DEPTH_MAX => depth += 1,
                Token::Symbol(b')') if depth > 1 => depth -= 1,
                Token::Symbol(b')') if depth == 1 => return Ok(has_query),
                Token::End | Token::Symbol(b'(' | b')') => return Err(Unclear::Syntax),
                token if depth == 0 => {
                    debug_assert_ne!(token, Token::End);
                    return Err(Unclear::Syntax);
                }
                token => has_query |= token.is_any(&["SELECT", "VALUES", "TABLE", "WITH"]),
            }
        }
    }

    /// Consumes everything up to one of these keywords outside parentheses; the keyword is not
    /// consumed.
    pub(super) fn skip_to(&mut self, keywords: &[&str]) -> Result<(), Unclear> {
        loop {
            match self.peek() {
                Token::End => return Err(Unclear::Syntax),
                Token::Symbol(b'(') => {
                    self.skip_parentheses()?;
                }
                token if token.is_any(keywords) => return Ok(()),
                _ => {
                    self.take()?;
                }
            }
        }
    }
}
