//! How the servers compare a table's name with a rule: letter by letter, with LIKE's wildcards.

use super::unclear::Unclear;
use crate::like;

/// Which letters compare as equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Comparison {
    /// MySQL with `lower_case_table_names=0`: bytes.
    #[default]
    Bytes,
    /// MySQL with names in lower case: case-insensitively.
    Folded,
    /// MariaDB, whatever `lower_case_table_names` is: the collation `utf8_general_ci`, which
    /// treats some accented and unaccented letters as equal (only the server's collation tables say
    /// which).
    Collation,
}

impl Comparison {
    /// A strict comparison, where only certainly equal letters match, and a loose one, where all
    /// letters match that may be equal: if both agree, the result is certain.
    fn strictnesses(self) -> [Strictness; 2] {
        match self {
            Comparison::Bytes => [Strictness::Exact; 2],
            Comparison::Folded => [Strictness::Same; 2],
            Comparison::Collation => [Strictness::Same, Strictness::PerhapsSame],
        }
    }
}

/// Whether one of the rules is `database.table`.
pub(super) fn is_table(
    comparison: Comparison,
    rules: &[String],
    database: &[u8],
    table: &[u8],
) -> Result<bool, Unclear> {
    first_match(rules, |rule| {
        let name = Letters::of_table(comparison, database, table);
        let rule = Letters::new(comparison, rule.as_bytes());
        comparison.strictnesses().map(|strictness| {
            let mut name = name;
            let mut rule = rule;
            loop {
                match (rule.next(), name.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if strictness.equal(a, b) => {}
                    _ => return false,
                }
            }
        })
    })
}

/// Whether `database.table` matches one of the patterns.
pub(super) fn matches_any(
    comparison: Comparison,
    patterns: &[String],
    database: &[u8],
    table: &[u8],
) -> Result<bool, Unclear> {
    first_match(patterns, |pattern| {
        comparison.strictnesses().map(|strictness| {
            matches(
                Letters::new(comparison, pattern.as_bytes()),
                Letters::of_table(comparison, database, table),
                strictness,
            )
        })
    })
}

/// Whether any rule matches; `answer` gives the strict and the loose result.
fn first_match(rules: &[String], answer: impl Fn(&str) -> [bool; 2]) -> Result<bool, Unclear> {
    for rule in rules {
        match answer(rule) {
            [true, _] => return Ok(true),
            [false, true] => return Err(Unclear::Letters),
            [false, false] => {}
        }
    }
    Ok(false)
}

#[derive(Debug, Clone, Copy)]
enum Strictness {
    /// Equal.
    Exact,
    /// Equal, ignoring case.
    Same,
    /// Also any pair with a non-ASCII letter.
    PerhapsSame,
}

impl Strictness {
    fn equal(self, a: Letter, b: Letter) -> bool {
        if a == b || matches!(self, Strictness::Exact) {
            return a == b;
        }
        match (a, b) {
            (Letter::Character(a), Letter::Character(b)) if a.is_ascii() && b.is_ascii() => {
                a.eq_ignore_ascii_case(&b)
            }
            (Letter::Character(a), Letter::Character(b)) => {
                a.to_lowercase().eq(b.to_lowercase()) || matches!(self, Strictness::PerhapsSame)
            }
            _ => matches!(self, Strictness::PerhapsSame),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Character(char),
    /// A byte that is not UTF-8.
    Byte(u8),
}

impl PartialEq<char> for Letter {
    fn eq(&self, other: &char) -> bool {
        *self == Letter::Character(*other)
    }
}

/// The letters of `database.table`, or of a rule.
#[derive(Debug, Clone, Copy)]
struct Letters<'a> {
    by_byte: bool,
    /// The part being read.
    now: &'a [u8],
    /// The part after it, separated by a dot.
    after: Option<&'a [u8]>,
}

impl<'a> Letters<'a> {
    fn new(comparison: Comparison, text: &'a [u8]) -> Self {
        Self {
            by_byte: comparison == Comparison::Bytes,
            now: text,
            after: None,
        }
    }

    fn of_table(comparison: Comparison, database: &'a [u8], table: &'a [u8]) -> Self {
        Self {
            by_byte: comparison == Comparison::Bytes,
            now: database,
            after: Some(table),
        }
    }
}

impl Iterator for Letters<'_> {
    type Item = Letter;

    fn next(&mut self) -> Option<Letter> {
        let Some((first, rest)) = self.now.split_first() else {
            self.now = self.after.take()?;
            return Some(Letter::Character('.'));
        };
        if first.is_ascii() {
            self.now = rest;
            return Some(Letter::Character(char::from(*first)));
        }
        let lengths = if self.by_byte { 0..0 } else { 2..5 };
        for length in lengths {
            let Some((head, rest)) = self.now.split_at_checked(length) else {
                break;
            };
            if let Some(character) = std::str::from_utf8(head)
                .ok()
                .and_then(|s| s.chars().next())
            {
                self.now = rest;
                return Some(Letter::Character(character));
            }
        }
        self.now = rest;
        Some(Letter::Byte(*first))
    }
}

/// Whether a name matches a pattern, as LIKE does.
fn matches(pattern: Letters<'_>, name: Letters<'_>, strictness: Strictness) -> bool {
    like::matches(pattern, name, |a, b| strictness.equal(a, b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FOLDED: Comparison = Comparison::Folded;

    #[test]
    fn like_patterns_match() {
        let like = |pattern: &str, name: &str| {
            let name = Letters::new(FOLDED, name.as_bytes());
            matches(
                Letters::new(FOLDED, pattern.as_bytes()),
                name,
                Strictness::Same,
            )
        };
        for (pattern, name) in [
            ("a.b", "a.b"),
            ("%.%", "a."),
            ("a%.%c", "abc.abcabc"),
            ("a_.t", "aé.t"),
            ("a\\_.t", "a_.t"),
            ("%a%b%", "xxaxxbxx"),
            ("a.t\\", "a.t\\"),
            ("ä.t", "Ä.T"),
        ] {
            assert!(like(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a.b", "a.bc"),
            ("a_.t", "a.t"),
            ("a\\_.t", "ab.t"),
            ("%a%b", "ab.c"),
            ("a.t", "a."),
        ] {
            assert!(!like(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn one_letter_is_one_byte_when_bytes_are_compared() {
        let like = |pattern: &str| {
            matches_any(
                Comparison::Bytes,
                &[pattern.to_owned()],
                b"a",
                "é".as_bytes(),
            )
        };
        assert_eq!(
            [like("a._"), like("a.__"), like("a.É"), like("a.é")].map(Result::unwrap),
            [false, true, false, true]
        );
    }

    proptest! {
        /// Against the recursive definition.
        #[test]
        fn patterns_match_as_defined(
            pattern in prop::collection::vec(prop::sample::select(b"ab%_\\".to_vec()), 0..9),
            name in prop::collection::vec(prop::sample::select(b"ab_%".to_vec()), 0..9),
        ) {
            fn define(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern, name) {
                    ([], name) => name.is_empty(),
                    ([b'%', rest @ ..], name) => (0..=name.len()).any(|n| define(rest, &name[n..])),
                    ([b'_', rest @ ..], [_, name @ ..]) => define(rest, name),
                    ([b'\\', wanted, rest @ ..], [found, name @ ..]) => wanted == found && define(rest, name),
                    ([wanted, rest @ ..], [found, name @ ..]) => wanted == found && define(rest, name),
                    _ => false,
                }
            }
            let found = matches(Letters::new(FOLDED, &pattern), Letters::new(FOLDED, &name), Strictness::Same);
            prop_assert_eq!(found, define(&pattern, &name));
        }

        #[test]
        fn any_bytes_do_not_panic(
            pattern in prop::collection::vec(any::<u8>(), 0..40),
            name in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let strict = matches(Letters::new(FOLDED, &pattern), Letters::new(FOLDED, &name), Strictness::Same);
            let loose = matches(Letters::new(FOLDED, &pattern), Letters::new(FOLDED, &name), Strictness::PerhapsSame);
            prop_assert!(loose || !strict);
        }
    }
}
