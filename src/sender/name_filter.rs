//! Which names a SHOW statement selects.

use super::budget::PATTERN_LENGTH_MAX;
use super::cursor::Cursor;
use super::sql::{Token, matches_like};

/// The names that a statement selects.
pub enum NameFilter {
    /// All.
    All,
    /// Those that match a pattern of LIKE.
    Like(String),
    /// These.
    OneOf(Vec<String>),
}

impl NameFilter {
    /// `LIKE 'pattern'`, `WHERE name = '…'`, `WHERE name IN (…)`, `WHERE name LIKE '…'`, or nothing;
    /// `None` for anything else.
    pub fn read(cursor: &mut Cursor<'_>, column: &str) -> Option<Self> {
        if cursor.is_done() {
            return Some(NameFilter::All);
        }
        let mut names = Vec::new();
        let is_like = if cursor.eat("LIKE") {
            true
        } else if cursor.eat_words(&["WHERE", column]) {
            if cursor.eat("LIKE") {
                true
            } else if cursor.eat("IN") {
                cursor.eat_symbol('(').then_some(())?;
                loop {
                    names.push(text(cursor)?);
                    if !cursor.eat_symbol(',') {
                        break;
                    }
                }
                (cursor.eat_symbol(')') && cursor.is_done()).then_some(())?;
                return Some(NameFilter::OneOf(names));
            } else {
                cursor.eat_symbol('=').then_some(())?;
                let mut more = true;
                while more {
                    names.push(text(cursor)?);
                    more = cursor.eat_words(&["OR", column]) && cursor.eat_symbol('=');
                }
                return cursor.is_done().then_some(NameFilter::OneOf(names));
            }
        } else {
            return None;
        };
        let pattern = text(cursor)?;
        let is_like = is_like && pattern.len() <= PATTERN_LENGTH_MAX;
        (is_like && cursor.is_done()).then_some(NameFilter::Like(pattern))
    }

    /// Whether the name is selected.
    pub fn selects(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Like(pattern) => matches_like(name, pattern),
            Self::OneOf(names) => names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)),
        }
    }
}

fn text(cursor: &mut Cursor<'_>) -> Option<String> {
    match cursor.next()? {
        Token::Text(text) => Some(text.clone()),
        _ => None,
    }
}
