//! The status variables of a QUERY event: the surroundings in which its statement ran.
//!
//! ```text
//!  | code 1 | value | code 1 | value | …
//!  code 12, the databases that the statement changes: | count 1 | name | 0 | name | 0 | …
//! ```
//! Numbers and widths from MySQL's `Query_event`. What follows a code that is not known here
//! cannot be read.

use super::event::HEADER_LEN;
use super::fields::{EventError, FieldReader};

const UPDATED_DATABASES: u8 = 12;
/// Stands for the count when there are more than the server cares to list.
const TOO_MANY: u8 = 254;

/// Which databases a statement changes, as far as its server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdatedDatabases<'a> {
    /// The server does not say.
    Unsaid,
    /// More than it lists.
    TooMany,
    /// These; each name ends with a zero byte.
    Names(&'a [u8]),
}

impl<'a> UpdatedDatabases<'a> {
    /// Reads a QUERY event's status variables.
    ///
    /// # Errors
    /// When they are cut short.
    pub fn parse(status_variables: &'a [u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("status variables", status_variables, HEADER_LEN);
        while fields.remaining() > 0 {
            let code = fields.u8("code")?;
            if code == UPDATED_DATABASES {
                return match fields.u8("number of databases")? {
                    TOO_MANY => Ok(Self::TooMany),
                    count => Ok(Self::Names(names(fields.rest(), count))),
                };
            }
            if !skip(&mut fields, code)? {
                break;
            }
        }
        Ok(Self::Unsaid)
    }

    /// The names, if they are listed.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = match self {
            Self::Names(bytes) => *bytes,
            Self::Unsaid | Self::TooMany => &[],
        };
        bytes
            .split_inclusive(|byte| *byte == 0)
            .map(|name| name.strip_suffix(&[0]).unwrap_or(name))
    }
}

/// The first `count` names of `bytes`.
fn names(bytes: &[u8], count: u8) -> &[u8] {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == 0);
    let last = usize::from(count).checked_sub(1);
    let end = last.and_then(|last| ends.nth(last));
    match (end, count) {
        (_, 0) => &[],
        (Some((at, _)), _) => bytes.get(..=at).unwrap_or(bytes),
        (None, _) => bytes,
    }
}

/// Skips the value of a variable; false when its width is not known.
fn skip(fields: &mut FieldReader<'_>, code: u8) -> Result<bool, EventError> {
    let mut text = |field, terminator| {
        let length = usize::from(fields.u8("length")?);
        fields.take(field, length + terminator).map(|_| ())
    };
    let width = match code {
        2 => {
            text("catalog", 1)?;
            0
        }
        5 | 6 => {
            text("time zone or catalog", 0)?;
            0
        }
        11 => {
            text("invoker's name", 0)?;
            text("invoker's host", 0)?;
            0
        }
        16 | 19 | 20 => 1,
        7 | 8 | 18 => 2,
        13 => 3,
        0 | 3 | 10 => 4,
        4 => 6,
        1 | 9 | 17 => 8,
        _ => return Ok(false),
    };
    fields.take("status variable", width)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_behind_other_variables() {
        let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 3];
        bytes.extend_from_slice(b"std\x05\x03UTC\x0b\x01u\x02ho\x0c\x02test\0other\0");
        bytes.extend_from_slice(&[13, 1, 2, 3]);
        let read = UpdatedDatabases::parse(&bytes).unwrap();
        let names: Vec<&[u8]> = read.names().collect();
        assert_eq!(names, [&b"test"[..], b"other"]);
        for cut in 0..bytes.len() {
            let _ = UpdatedDatabases::parse(&bytes[..cut]);
        }
        assert!(UpdatedDatabases::parse(&bytes[..10]).is_err());
    }

    #[test]
    fn databases_that_are_not_listed() {
        let parse = |bytes: &'static [u8]| UpdatedDatabases::parse(bytes).unwrap();
        assert_eq!(parse(&[12, 254]), UpdatedDatabases::TooMany);
        assert_eq!(parse(&[]), UpdatedDatabases::Unsaid);
        assert_eq!(parse(&[99, 12, 1, b'a', 0]), UpdatedDatabases::Unsaid);
        assert_eq!(parse(&[12, 0, 13]).names().count(), 0);
    }
}
