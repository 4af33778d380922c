//! The string literals of the project's Rust files, and the calls that they are in.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A Rust file: its code without comments and string contents, and its string literals.
pub struct Source {
    pub path: PathBuf,
    /// As long as the file, other bytes than code blanked.
    code: String,
    /// Where each literal begins, and its value.
    pub literals: Vec<(usize, String)>,
}

impl Source {
    pub fn parse(path: PathBuf, text: &str) -> Self {
        // The unit tests at the end of a file.
        let text = text
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or(text);
        let bytes = text.as_bytes();
        let mut code = vec![b' '; bytes.len()];
        let mut literals = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &text[at..];
            if rest.starts_with("//") {
                at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(raw) = rest.strip_prefix("r#\"") {
                let len = raw.find("\"#").unwrap_or(raw.len());
                literals.push((at, raw[..len].to_owned()));
                at += len + 5;
            } else if rest.starts_with('"') {
                let (value, len) = string(rest);
                literals.push((at, value));
                at += len;
            } else if rest.starts_with('\'') {
                at += character_len(rest);
            } else {
                let len = rest.chars().next().map_or(1, char::len_utf8);
                code[at..at + len].copy_from_slice(&bytes[at..at + len]);
                at += len;
            }
        }
        let code = String::from_utf8(code).expect("whole characters were copied");
        Self {
            path,
            code,
            literals,
        }
    }

    /// The literals inside of each call of `opener`, which ends with a parenthesis.
    pub fn literals_in(&self, opener: &str) -> Vec<Vec<&str>> {
        let mut calls = Vec::new();
        for (at, _) in self.code.match_indices(opener) {
            let range = self.parenthesised(at + opener.len());
            let inside = self.literals.iter().filter(|(at, _)| range.contains(at));
            calls.push(inside.map(|(_, value)| value.as_str()).collect());
        }
        calls
    }

    /// From `start`, just after an opening parenthesis, to the one that closes it.
    fn parenthesised(&self, start: usize) -> Range<usize> {
        let mut depth = 1;
        for (offset, byte) in self.code.bytes().enumerate().skip(start) {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return start..offset;
            }
        }
        start..self.code.len()
    }
}

/// The value of the string literal that `text` begins with, and its length in the text.
fn string(text: &str) -> (String, usize) {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, at + 1),
            '\\' => match characters.next() {
                Some((_, '\n')) => {
                    while characters.next_if(|(_, c)| c.is_whitespace()).is_some() {}
                }
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped)) => value.push(escaped),
                None => {}
            },
            other => value.push(other),
        }
    }
    (value, text.len())
}

/// The length of the character literal or the lifetime that `text` begins with.
fn character_len(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            after + text[after..].find('\'').map_or(0, |end| end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

pub fn sources() -> Vec<Source> {
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.contains("test") {
                continue;
            } else if path.is_dir() {
                directories.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                sources.push(Source::parse(path, &text));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

#[test]
fn literals_are_found_in_rust_text() {
    let text = "// \"no\"\n#[error(\"a {b} \\\n    c\")] x('\"', '\\'', r#\"raw \"text\"\"#); f::<'a>(\"d\")";
    let source = Source::parse("a.rs".into(), text);
    let values: Vec<&str> = source.literals.iter().map(|(_, v)| v.as_str()).collect();
    assert_eq!(values, ["a {b} c", "raw \"text\"", "d"]);
    assert_eq!(source.literals_in("#[error("), [["a {b} c"]]);
}
