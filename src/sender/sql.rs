//! The tokens of the few SQL statements that are supported.

use crate::like;

/// One token of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// An unquoted word, or one in backquotes.
    Word(String),
    /// `@name`.
    UserVariable(String),
    /// `@@name`, `@@scope.name`: the scope in lower case, or empty.
    SystemVariable(String, String),
    /// A quoted text, with its escapes resolved.
    Text(String),
    /// A number, with its sign and point if it has them.
    Number(String),
    /// Any other character.
    Symbol(char),
}

impl Token {
    /// Whether it is this word, ignoring case.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    /// Whether it is this character.
    pub fn is_symbol(&self, symbol: char) -> bool {
        *self == Token::Symbol(symbol)
    }
}

/// A token and its position in the statement, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSpan {
    /// The token.
    pub token: Token,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
}

impl TokenSpan {
    /// Whether it is in quotes: a word in backquotes is always a name.
    pub fn is_quoted(&self) -> bool {
        match &self.token {
            Token::Word(word) => self.end - self.start > word.len(),
            token => matches!(token, Token::Text(_)),
        }
    }
}

/// Splits a statement into tokens. Comments are dropped (except the contents of `/*! … */`), and so
/// is one `;` at the end. `None` if a quoted text does not end. Stops after `limit` tokens.
pub fn tokenize(text: &str, limit: usize) -> Option<Vec<TokenSpan>> {
    let mut scanner = Scanner { text, at: 0 };
    let mut tokens = Vec::new();
    while tokens.len() < limit {
        scanner.skip_space_and_comments();
        let start = scanner.at;
        let Some(first) = scanner.next() else {
            break;
        };
        let token = scanner.token(first)?;
        tokens.push(TokenSpan {
            token,
            start,
            end: scanner.at,
        });
    }
    if tokens.last().is_some_and(|span| span.token.is_symbol(';')) {
        tokens.pop();
    }
    Some(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, text: &str) -> bool {
        let eats = self.rest().starts_with(text);
        if eats {
            self.at += text.len();
        }
        eats
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or("")
    }

    fn skip_past(&mut self, end: &str) {
        let rest = self.rest();
        self.at += rest.find(end).map_or(rest.len(), |found| found + end.len());
    }

    fn skip_space_and_comments(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.eat("/*!") || self.eat("/*M!") {
                // Its contents are part of the statement; the version number is not.
                self.take_while(|c| c.is_ascii_digit());
            } else if self.eat("*/") {
            } else if self.eat("/*") {
                self.skip_past("*/");
            } else if self.eat("#") || self.eat("-- ") || self.eat("--\n") {
                self.skip_past("\n");
            } else {
                return;
            }
        }
    }

    fn token(&mut self, first: char) -> Option<Token> {
        Some(match first {
            '\'' | '"' => Token::Text(self.quoted(first)?),
            '`' => Token::Word(self.quoted('`')?),
            '@' if self.eat("@") => {
                let mut parts: Vec<String> = vec![self.name()?];
                while self.eat(".") {
                    parts.push(self.name()?);
                }
                let scope = parts.first().map(|first| first.to_ascii_lowercase());
                match scope {
                    Some(scope) if matches!(scope.as_str(), "global" | "session" | "local") => {
                        let name = parts.split_off(1).join(".");
                        Token::SystemVariable(scope, name)
                    }
                    _ => Token::SystemVariable(String::new(), parts.join(".")),
                }
            }
            '@' => Token::UserVariable(self.user_variable()?),
            _ if first.is_ascii_digit() => self.number(first),
            '-' | '+' if self.peek().is_some_and(|c| c.is_ascii_digit()) => self.number(first),
            _ if is_word(first) => {
                let mut word = String::from(first);
                word.push_str(self.take_while(is_word));
                Token::Word(word)
            }
            _ => Token::Symbol(first),
        })
    }

    fn number(&mut self, first: char) -> Token {
        let mut number = String::from(first);
        number.push_str(self.take_while(|c| c.is_ascii_alphanumeric() || c == '.'));
        Token::Number(number)
    }

    fn name(&mut self) -> Option<String> {
        if self.eat("`") {
            return self.quoted('`');
        }
        Some(self.take_while(is_word).to_owned())
    }

    fn user_variable(&mut self) -> Option<String> {
        match self.peek() {
            Some(quote @ ('\'' | '"' | '`')) => {
                self.next();
                self.quoted(quote)
            }
            _ => Some(self.take_while(|c| is_word(c) || c == '.').to_owned()),
        }
    }

    /// The text up to the closing quote. A quote inside is doubled or, except in names, escaped.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '\\' if quote != '`' => match self.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    '0' => text.push('\0'),
                    // LIKE resolves these.
                    escaped @ ('%' | '_') => text.extend(['\\', escaped]),
                    escaped => text.push(escaped),
                },
                found if found == quote => {
                    if self.peek() != Some(quote) {
                        return Some(text);
                    }
                    self.next();
                    text.push(quote);
                }
                other => text.push(other),
            }
        }
    }
}

/// Whether a name matches a LIKE pattern, ignoring case.
pub fn matches_like(name: &str, pattern: &str) -> bool {
    like::matches(pattern.chars(), name.chars(), |a, b| {
        a == b || a.to_lowercase().eq(b.to_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        let span = tokenize(text, 100).unwrap();
        span.into_iter().map(|span| span.token).collect()
    }

    #[test]
    fn words_variables_texts_and_numbers_are_tokens() {
        assert_eq!(
            tokens("SeLECT @@GLOBAL.x,@@y , @z:='a''b\\'c' -12 1.5;"),
            [
                Token::Word("SeLECT".into()),
                Token::SystemVariable("global".into(), "x".into()),
                Token::Symbol(','),
                Token::SystemVariable(String::new(), "y".into()),
                Token::Symbol(','),
                Token::UserVariable("z".into()),
                Token::Symbol(':'),
                Token::Symbol('='),
                Token::Text("a'b'c".into()),
                Token::Number("-12".into()),
                Token::Number("1.5".into()),
            ]
        );
        assert_eq!(
            tokens("/* a */ /*!40101 SET NAMES utf8 */; -- x"),
            tokens("SET NAMES utf8")
        );
        assert_eq!(tokens("@`a b` `c``d`").len(), 2);
    }

    #[test]
    fn unterminated_quotes_and_truncated_statements_do_no_harm() {
        assert_eq!(tokenize("SELECT 'a", 100), None);
        let text = "/*!4 SET */ @'é' = \"\\\"ü\", @@session.`x` := 1 -- é\n `y`";
        for cut in 0..text.len() {
            if let Some(part) = text.get(..cut) {
                let _ = tokenize(part, 100);
            }
        }
        assert!(tokenize(text, 100).is_some());
    }

    #[test]
    fn like_ignores_case() {
        for (name, pattern, expected) in [
            ("server_id", "SERVER_ID", true),
            ("server_id", "server%", true),
            ("server_id", "%id", true),
            ("server_id", "s%r%_d", true),
            ("server_id", "server", false),
            ("server_id", "server\\_id", true),
            ("serverxid", "server\\_id", false),
            ("", "%", true),
            ("", "_", false),
        ] {
            assert_eq!(matches_like(name, pattern), expected, "{name} {pattern}");
        }
    }
}
