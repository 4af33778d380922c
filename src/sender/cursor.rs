//! Reading a statement's tokens one by one.

use std::slice::Iter;

use super::sql::{Token, TokenSpan};

/// Reads a statement's tokens.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    tokens: Iter<'a, TokenSpan>,
    /// Offset in the statement after the last token read, in bytes.
    pub end: usize,
    /// Whether the last token read was in quotes.
    pub was_quoted: bool,
}

impl<'a> Cursor<'a> {
    /// A cursor at the first token.
    pub fn new(tokens: &'a [TokenSpan]) -> Self {
        Self {
            tokens: tokens.iter(),
            end: 0,
            was_quoted: false,
        }
    }

    /// Reads the next token.
    pub fn next(&mut self) -> Option<&'a Token> {
        let span = self.tokens.next()?;
        self.end = span.end;
        self.was_quoted = span.is_quoted();
        Some(&span.token)
    }

    /// The next token, not consumed.
    pub fn peek(&self) -> Option<&'a TokenSpan> {
        self.tokens.as_slice().first()
    }

    /// Consumes this word, ignoring case, if it is next.
    pub fn eat(&mut self, word: &str) -> bool {
        self.eat_if(|token| token.is(word))
    }

    /// Consumes this character if it is next.
    pub fn eat_symbol(&mut self, symbol: char) -> bool {
        self.eat_if(|token| token.is_symbol(symbol))
    }

    fn eat_if(&mut self, accept: impl Fn(&Token) -> bool) -> bool {
        let eats = self.peek().is_some_and(|span| accept(&span.token));
        if eats {
            self.next();
        }
        eats
    }

    /// Reads the next token if `wanted`.
    pub fn next_if(&mut self, wanted: bool) -> Option<&'a Token> {
        if wanted { self.next() } else { None }
    }

    /// Consumes these words if all of them are next.
    pub fn eat_words(&mut self, words: &[&str]) -> bool {
        let mut ahead = self.clone();
        if words.iter().all(|word| ahead.eat(word)) {
            *self = ahead;
            return true;
        }
        false
    }

    /// Whether all tokens were read.
    pub fn is_done(&self) -> bool {
        self.peek().is_none()
    }
}
