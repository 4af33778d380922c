//! Text from outside (clients, sources, configuration) on one line of a log or a table.

use std::borrow::Cow;

/// The text with its control characters escaped: it can neither begin another line nor steer a terminal.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    Cow::Owned(line)
}

/// The first sentence. It ends at a full stop before a capital letter, the description before an action at a semicolon.
pub fn first_sentence(text: &str) -> &str {
    let mut ends = text.char_indices().filter(|(at, _)| {
        let rest = text.get(*at..).unwrap_or_default();
        let next = rest.strip_prefix(". ").and_then(|next| next.chars().next());
        rest.starts_with("; ") || next.is_some_and(char::is_uppercase)
    });
    let end = ends.next().map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::{escaped, first_sentence};

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("größer 'a'\\"), "größer 'a'\\");
        assert_eq!(
            escaped("a\nb\r\u{1b}[2J\u{9b}0m\0"),
            "a\\nb\\r\\u{1b}[2J\\u{9b}0m\\u{0}"
        );
    }

    #[test]
    fn first_sentence_has_no_advice() {
        for (text, expected) in [
            ("db1:3306: dump: refused", "db1:3306: dump: refused"),
            (
                "expected 1.2, found 3. Its binlog was reset; decide",
                "expected 1.2, found 3",
            ),
            (
                "connection refused; start the server. Or wait",
                "connection refused",
            ),
            ("größer. than 8.0", "größer. than 8.0"),
            ("", ""),
        ] {
            assert_eq!(first_sentence(text), expected);
        }
    }
}
