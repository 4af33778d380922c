//! The text of a configuration file while it is read, and the problems found in it.

use std::path::{Path, PathBuf};

use super::error::Problem;
use crate::one_line::escaped;

/// The longest part of a refused value that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// The state shared by all sections of one file: its text, for line numbers, and the findings.
pub(super) struct Reader<'t> {
    text: &'t str,
    path: &'t Path,
    /// Whether files and environment variables that the configuration names are read as well.
    pub(super) reads_secrets: bool,
    /// Whether the file itself contains a password or a hash of one.
    pub(super) holds_passwords: bool,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, path: &'t Path, reads_secrets: bool) -> Reader<'t> {
        Reader {
            text,
            path,
            reads_secrets,
            holds_passwords: false,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Records a problem at a byte offset of the text. `key` is the section and the key.
    pub(super) fn problem(&mut self, offset: Option<usize>, key: &str, message: &str) {
        self.problems.push(Problem {
            path: self.path.to_owned(),
            at: offset.map(|offset| line_and_column(self.text.as_bytes(), offset)),
            key: key.to_owned(),
            message: escaped(message).into_owned(),
        });
    }

    /// A path of the configuration; a relative one is relative to the directory of the configuration
    /// file, so that it does not depend on the working directory.
    pub(super) fn resolve(&self, text: &str) -> PathBuf {
        match self.path.parent() {
            Some(directory) => directory.join(text),
            None => PathBuf::from(text),
        }
    }
}

/// Line and column of a byte offset, both from 1; columns count characters.
pub(super) fn line_and_column(text: &[u8], offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default())
        .chars()
        .count();
    (line, column + 1)
}

/// The first characters of a refused value, on one line.
pub(super) fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let shown: String = characters.by_ref().take(SHOWN_CHARS_MAX).collect();
    let more = if characters.next().is_some() {
        "…"
    } else {
        ""
    };
    format!("{}{more}", escaped(&shown))
}
