//! Bytes of a binlog as text.

use std::fmt::Write;

/// How much of a statement one line shows.
const STATEMENT_CHARS_MAX: usize = 120;

/// The bytes as they are if they are UTF-8; else each byte that is not is written `\xNN`, and a
/// backslash twice, so that nothing is lost.
pub(super) fn verbatim(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        push_hex(&mut text, chunk.invalid());
    }
    text
}

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

/// Appends up to `max` characters; whether that was not all.
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
                // These end or turn a line around on a terminal.
                '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    text.extend(c.escape_unicode());
                }
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
    fn lines_stay_one_line() {
        assert_eq!(one_line(b"a\nb\tc\\d\x1b[0m"), "a\\nb\\tc\\\\d\\u{1b}[0m");
        assert_eq!(one_line(b"gr\xf6\xdfer"), "gr\\xf6\\xdfer");
        assert_eq!(one_line("größer".as_bytes()), "größer");
        let long = "é".repeat(500);
        assert_eq!(shortened(long.as_bytes()).chars().count(), 121);
        assert!(shortened(&[0xff; 500]).ends_with('…'));
    }

    #[test]
    fn verbatim_loses_nothing() {
        assert_eq!(verbatim(b"a\\x41\n"), "a\\x41\n");
        assert_eq!(verbatim(b"a\\x\xff"), "a\\\\x\\xff");
    }
}
