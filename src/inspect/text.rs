//! Bytes of a binlog as text.

use std::fmt::Write;

use crate::flavor::Flavor;

/// The part of a statement that one line shows, in characters.
const STATEMENT_CHARS_MAX: usize = 120;

/// The bytes on one line, without control characters.
pub(super) fn one_line(bytes: &[u8]) -> String {
    let mut text = String::new();
    push_line(&mut text, bytes, usize::MAX);
    text
}

/// The beginning of a statement on one line.
pub(super) fn shortened(bytes: &[u8]) -> String {
    let mut text = String::new();
    if push_line(&mut text, bytes, STATEMENT_CHARS_MAX) {
        text.push('…');
    }
    text
}

/// Appends up to `max` characters; returns whether there are more.
fn push_line(text: &mut String, bytes: &[u8], max: usize) -> bool {
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if count == max {
                return true;
            }
            count += 1;
            match c {
                '\n' | '\r' | '\t' | '\\' => text.extend(c.escape_default()),
                c if c.is_control() => text.extend(c.escape_unicode()),
                c if breaks_line(c) => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        if count + chunk.invalid().len() > max {
            return true;
        }
        count += chunk.invalid().len();
        push_hex(text, chunk.invalid());
    }
    false
}

/// Whether a character ends a line or changes its direction on a terminal.
fn breaks_line(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends a name in backticks, on one line.
pub(super) fn push_identifier(text: &mut String, name: &[u8]) {
    text.push('`');
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '`' => text.push_str("``"),
                c => push_unless_control(text, c),
            }
        }
        push_hex(text, chunk.invalid());
    }
    text.push('`');
}

/// Appends a string with its quotation marks as the flavor's own tool escapes it, on one line.
/// Bytes that are not UTF-8, and control characters that the tool prints unescaped, become `\xNN`.
pub(super) fn push_sql_string(text: &mut String, bytes: &[u8], flavor: Flavor) {
    text.push('\'');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let escape = match (flavor, c) {
                (Flavor::MySql, '\'' | '\\') => Some(c),
                (Flavor::MySql, '\n') => Some('n'),
                (Flavor::MySql, '\r') => Some('r'),
                (Flavor::MySql, '\t') => Some('t'),
                (Flavor::MySql, '\u{8}') => Some('b'),
                (Flavor::MySql, '\u{c}') => Some('f'),
                _ => None,
            };
            match escape {
                Some(escape) => text.extend(['\\', escape]),
                None => push_unless_control(text, c),
            }
        }
        push_hex(text, chunk.invalid());
    }
    text.push('\'');
}

fn push_unless_control(text: &mut String, c: char) {
    if c.is_control() || breaks_line(c) {
        push_hex(text, c.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        text.push(c);
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_break_a_line() {
        assert_eq!(one_line(b"a\nb\tc\\d\x1b[0m"), "a\\nb\\tc\\\\d\\u{1b}[0m");
        assert_eq!(one_line(b"gr\xf6\xdfer"), "gr\\xf6\\xdfer");
        assert_eq!(one_line("größer".as_bytes()), "größer");
        let long = "é".repeat(500);
        assert_eq!(shortened(long.as_bytes()).chars().count(), 121);
        assert!(shortened(&[0xff; 500]).ends_with('…'));
    }

    #[test]
    fn sql_strings_are_escaped_as_by_the_tools() {
        let string = |bytes: &[u8], flavor| {
            let mut text = String::new();
            push_sql_string(&mut text, bytes, flavor);
            text
        };
        let bytes = "it's\\\n\u{1}ü\u{85}\u{202e}".as_bytes();
        assert_eq!(
            string(bytes, Flavor::MySql),
            r"'it\'s\\\n\x01ü\xc2\x85\xe2\x80\xae'"
        );
        assert_eq!(
            string(bytes, Flavor::MariaDb),
            r"'it's\\x0a\x01ü\xc2\x85\xe2\x80\xae'"
        );
        assert_eq!(string(b"\xff", Flavor::MySql), r"'\xff'");
        let mut name = String::new();
        push_identifier(&mut name, b"we`ird\n\xff");
        assert_eq!(name, r"`we``ird\x0a\xff`");
    }
}
