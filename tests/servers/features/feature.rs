//! What a feature is, and how its script is read.

use std::fmt;

use crate::support::servers::Kind;

/// Each line of a script is an action on the master:
///
/// - `STATEMENT` runs in session 1, `@2 STATEMENT` in session 2.
/// - `?LINE` is what a server that lacks the feature refuses, with the text in `lacking`.
/// - `~1705 LINE` must fail with this error code.
/// - `[mysql-5.6] LINE` is for these kinds, `[-mysql-5.6] LINE` for all others.
/// - `!COMMAND`: see `Stand::command`.
///
/// Each begins with fresh databases `test`, which the filter keeps, and `other`, which it drops,
/// with a table `t (id, v)` in each.
pub struct Feature {
    pub name: &'static str,
    /// The flavor that alone has it.
    own: Option<&'static str>,
    lacking: &'static [Expected],
    refused: &'static [Expected],
    pub script: &'static str,
}

/// Kinds by the beginning of their name, and the text that they must give.
type Expected = (&'static str, &'static str);

pub const fn both(name: &'static str, script: &'static str) -> Feature {
    Feature {
        name,
        own: None,
        lacking: &[],
        refused: &[],
        script,
    }
}

pub const fn mariadb(name: &'static str, script: &'static str) -> Feature {
    Feature {
        own: Some("mariadb"),
        ..both(name, script)
    }
}

pub const fn mysql(name: &'static str, script: &'static str) -> Feature {
    Feature {
        own: Some("mysql"),
        ..both(name, script)
    }
}

impl Feature {
    /// What kinds that do not have it say at a line with `?`. Nothing else makes a cell "not
    /// supported", and where it is expected nothing else will do.
    pub const fn lacking(self, lacking: &'static [Expected]) -> Feature {
        Feature { lacking, ..self }
    }

    /// The relay's message, for kinds with which it refuses the feature.
    pub const fn refused(self, refused: &'static [Expected]) -> Feature {
        Feature { refused, ..self }
    }

    /// Why a server of this kind cannot even be asked.
    pub fn is_foreign_to(&self, kind: Kind) -> Option<&'static str> {
        match self.own {
            Some(own) if own != kind.flavor() => match own {
                "mariadb" => Some("MariaDB's own"),
                _ => Some("MySQL's own"),
            },
            _ => None,
        }
    }

    pub fn lacking_text(&self, kind: Kind) -> Option<&'static str> {
        expected_of(self.lacking, kind)
    }

    pub fn refused_text(&self, kind: Kind) -> Option<&'static str> {
        expected_of(self.refused, kind)
    }

    /// The lines for a kind, without their conditions.
    pub fn lines(&self, kind: Kind) -> impl Iterator<Item = &'static str> {
        let lines = self.script.lines().map(str::trim);
        lines.filter_map(move |line| {
            let Some((words, rest)) = line.strip_prefix('[').and_then(|at| at.split_once("] "))
            else {
                return Some(line).filter(|line| !line.is_empty());
            };
            let names = |word: &str| kind.name().starts_with(word);
            let applies = match words.strip_prefix('-') {
                Some(others) => !others.split(' ').any(names),
                None => words.split(' ').any(names),
            };
            applies.then_some(rest)
        })
    }
}

fn expected_of(list: &[Expected], kind: Kind) -> Option<&'static str> {
    let mut list = list.iter();
    let found = list.find(|(word, _)| kind.name().starts_with(word));
    found.map(|(_, text)| *text)
}

/// How a feature fared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    Ok,
    /// The server itself does not support it: its message.
    NotSupported(String),
    /// The relay refuses to pass it on and stops that source: its message.
    Refused(String),
    Failed(String),
}

impl Cell {
    /// Details beside the cell in the table.
    pub fn note(&self) -> &str {
        match self {
            Cell::Ok => "",
            Cell::NotSupported(text) | Cell::Refused(text) | Cell::Failed(text) => text,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Cell::Ok => "ok",
            Cell::NotSupported(_) => "not supported",
            Cell::Refused(_) => "refused",
            Cell::Failed(_) => "FAILED",
        })
    }
}
