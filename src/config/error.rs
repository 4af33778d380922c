//! The problems of a configuration: one line each.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read at all.
    #[error("{}: cannot read the configuration", .path.display())]
    Read {
        /// The file as it was named by the user.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file was read, and settings in it are refused.
    #[error("{}", one_line_each(.0))]
    Invalid(Vec<Problem>),
}

/// One problem in a configuration file. `Display` gives
/// `FILE:LINE: SECTION KEY: what was expected and what was found`, always a single line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file.
    pub path: PathBuf,
    /// Line and column, both counted from 1 (columns in characters); `None` when a section is
    /// absent from the file.
    pub at: Option<(usize, usize)>,
    /// The section and the key, as in `[source "m2"] port`; empty for a syntax error.
    pub key: String,
    /// The expected and the found value. Never holds a password.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        match self.at {
            // A syntax error has no key, so the column is shown.
            Some((line, column)) if self.key.is_empty() => write!(f, "{line}:{column}:")?,
            Some((line, _)) => write!(f, "{line}:")?,
            None => {}
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

fn one_line_each(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
