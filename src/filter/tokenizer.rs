//! SQL text as tokens, read one at a time.
//!
//! It covers enough of the servers' lexical rules to find names with certainty: comments, the contents of
//! versioned comments, strings and quoted names by `sql_mode`. Where the text cannot be read with
//! certainty, it reports an error and does not guess.

use super::unclear::Unclear;

/// A word longer than this, in bytes, is not a name that a server accepts.
const NAME_LEN_MAX: usize = 64 * 4;

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An unquoted word: a keyword, a name, or a number.
    Word(&'a [u8]),
    /// A quoted name without its quotes. A quote that is part of the name is still doubled.
    Quoted { name: &'a [u8], quote: u8 },
    /// A string; its value does not matter.
    Text,
    /// Anything else, byte by byte.
    Symbol(u8),
    /// The statement's end.
    End,
}

impl Token<'_> {
    /// Whether it is this keyword, given in upper case.
    pub(super) fn is(self, keyword: &str) -> bool {
        matches!(self, Token::Word(word) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    /// Whether it is one of these keywords.
    pub(super) fn is_any(self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }
}

/// How a statement's text must be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dialect {
    /// `"…"` is a name (sql_mode ANSI_QUOTES).
    pub(super) ansi_quotes: bool,
    /// A backslash in a string is not an escape (sql_mode NO_BACKSLASH_ESCAPES).
    pub(super) plain_backslash: bool,
    /// `/*M!…*/` is executed.
    pub(super) mariadb: bool,
    /// Whether versioned comments that only some servers execute are read as executed.
    pub(super) reads_versions: bool,
}

/// A cursor over a statement's text.
#[derive(Debug, Clone)]
pub(super) struct Tokenizer<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether `text` is the whole statement.
    whole: bool,
    dialect: Dialect,
    in_versioned: bool,
    /// Whether a comment was found that only some server versions execute.
    pub(super) found_version: bool,
}

impl<'a> Tokenizer<'a> {
    pub(super) fn new(text: &'a [u8], whole: bool, dialect: Dialect) -> Self {
        Self {
            text,
            at: 0,
            whole,
            dialect,
            in_versioned: false,
            found_version: false,
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or(&[])
    }

    /// Whether the text ends within the next `count` bytes of an incomplete statement.
    fn is_incomplete(&self, count: usize) -> bool {
        !self.whole && self.rest().len() < count
    }

    /// The error for text that ends inside a token.
    fn ended(&self) -> Unclear {
        match self.whole {
            true => Unclear::Unterminated,
            false => Unclear::Incomplete,
        }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Unclear> {
        self.skip_blanks()?;
        let Some(byte) = self.peek(0) else {
            return match self.in_versioned {
                true => Err(Unclear::Unterminated),
                false => Ok(Token::End),
            };
        };
        match byte {
            b'`' => self.quoted(byte),
            b'"' if self.dialect.ansi_quotes => self.quoted(byte),
            b'\'' | b'"' => self.string(byte),
            _ if is_word(byte) => self.word(),
            _ => {
                self.at += 1;
                Ok(Token::Symbol(byte))
            }
        }
    }

    fn word(&mut self) -> Result<Token<'a>, Unclear> {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !is_word(*byte));
        if length.is_none() && !self.whole {
            return Err(Unclear::Incomplete);
        }
        let word = rest.get(..length.unwrap_or(rest.len())).unwrap_or(rest);
        self.at += word.len();
        Ok(Token::Word(word))
    }

    fn quoted(&mut self, quote: u8) -> Result<Token<'a>, Unclear> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.peek(0) {
                None => return Err(self.ended()),
                Some(byte) if byte != quote => self.at += 1,
                Some(_) if self.peek(1) == Some(quote) => self.at += 2,
                Some(_) if self.is_incomplete(2) => return Err(Unclear::Incomplete),
                Some(_) => break,
            }
        }
        let name = self.text.get(start..self.at).ok_or_else(|| self.ended())?;
        self.at += 1;
        Ok(Token::Quoted { name, quote })
    }

    fn string(&mut self, quote: u8) -> Result<Token<'a>, Unclear> {
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(self.ended()),
                Some(b'\\') if !self.dialect.plain_backslash => self.at += 2,
                Some(byte) if byte != quote => self.at += 1,
                Some(_) if self.peek(1) == Some(quote) => self.at += 2,
                Some(_) if self.is_incomplete(2) => return Err(Unclear::Incomplete),
                Some(_) => break,
            }
        }
        self.at += 1;
        Ok(Token::Text)
    }

    fn skip_blanks(&mut self) -> Result<(), Unclear> {
        /// Bytes that determine whether a comment begins, and of which kind.
        const COMMENT_START_LEN: usize = 4;
        loop {
            if self.is_incomplete(COMMENT_START_LEN) {
                return Err(Unclear::Incomplete);
            }
            match (self.peek(0), self.peek(1)) {
                (Some(byte), _) if byte.is_ascii_whitespace() || byte == 0x0b => self.at += 1,
                (Some(b'#'), _) => self.skip_line(),
                (Some(b'-'), Some(b'-'))
                    if self.peek(2).is_none_or(|byte| byte <= b' ' || byte == 0x7f) =>
                {
                    self.skip_line();
                }
                (Some(b'/'), Some(b'*')) => self.comment()?,
                (Some(b'*'), Some(b'/')) if self.in_versioned => {
                    self.in_versioned = false;
                    self.at += 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        let length = rest.iter().position(|byte| *byte == b'\n');
        self.at += length.unwrap_or(rest.len());
    }

    fn comment(&mut self) -> Result<(), Unclear> {
        let mark = match (self.peek(2), self.peek(3)) {
            (Some(b'!'), _) => 3,
            (Some(b'M'), Some(b'!')) if self.dialect.mariadb => 4,
            _ => return self.skip_comment(),
        };
        if self.in_versioned {
            return Err(Unclear::Syntax); // Servers differ on nested comments.
        }
        let digits = self.text.get(self.at + mark..).unwrap_or(&[]);
        let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits.len() == count && !self.whole {
            return Err(Unclear::Incomplete);
        }
        let version = digits.iter().take(count.min(7)).fold(0, |value, byte| {
            value * 10 + u32::from(byte.wrapping_sub(b'0'))
        });
        // Comments that all supported servers execute: MySQL 5.6 and later, MariaDB 10.5 and later.
        let always = match self.dialect.mariadb {
            true => version <= 50_600 || (100_000..=100_500).contains(&version),
            false => version <= 50_600,
        };
        self.found_version |= !always;
        if !always && !self.dialect.reads_versions {
            return self.skip_comment();
        }
        self.at += mark + count;
        self.in_versioned = true;
        Ok(())
    }

    fn skip_comment(&mut self) -> Result<(), Unclear> {
        let body = self.text.get(self.at + 2..).unwrap_or(&[]);
        match body.windows(2).position(|pair| pair == b"*/") {
            Some(length) => {
                self.at += length + 4;
                Ok(())
            }
            None => Err(self.ended()),
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// The name in an unquoted word or a quoted name.
pub(super) fn name_of(token: Token<'_>) -> Result<Vec<u8>, Unclear> {
    let name = match token {
        Token::Word(word) => word.to_vec(),
        Token::Quoted { name, quote } => {
            let mut plain = Vec::with_capacity(name.len());
            let mut bytes = name.iter();
            while let Some(byte) = bytes.next() {
                plain.push(*byte);
                if *byte == quote {
                    bytes.next();
                }
            }
            plain
        }
        _ => return Err(Unclear::Syntax),
    };
    match name.len() {
        1..=NAME_LEN_MAX => Ok(name),
        _ => Err(Unclear::Syntax),
    }
}

#[cfg(test)]
mod tests;
