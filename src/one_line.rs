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

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("größer 'a'\\"), "größer 'a'\\");
        assert_eq!(
            escaped("a\nb\r\u{1b}[2J\u{9b}0m\0"),
            "a\\nb\\r\\u{1b}[2J\\u{9b}0m\\u{0}"
        );
    }
}
