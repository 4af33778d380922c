//! The status variables of a QUERY event: a code, and a value whose length depends on the code.
//!
//! | code | value | | code | value |
//! |---|---|---|---|---|
//! | 0 flags2 | 4 | | 11 invoker | two strings |
//! | 1 sql_mode | 8 | | 12 updated databases | count, then names that end with 0; 254 = too many to name |
//! | 2 catalog | string, 0 | | 13 microseconds | 3 |
//! | 3 auto_increment | 4 | | 16 explicit timestamp defaults | 1 |
//! | 4 character set: client, connection, server | 6 | | 17 DDL with XID | 8 |
//! | 5 time zone | string | | 18 default collation of utf8mb4 | 2 |
//! | 6 catalog | string | | 19 primary key required, 20 table encryption | 1 |
//! | 7 lc_time_names, 8 database's character set | 2 | | 128 microseconds (MariaDB) | 3 |
//! | 9 tables that an UPDATE of several changes | 8 | | 129 XID (MariaDB) | 8 |
//! | 10 source's data written | 4 | | 130 GTID flags (MariaDB) | 1, and 8 more if bit 2 or 3 |
//! | 131 default collations of character sets (MariaDB) | count, and 4 for each | | | |
//!
//! A string is preceded by its length, one byte.

use std::ops::Range;

use super::event::HEADER_LEN;
use super::fields::{EventError, FieldReader};

/// The code of the updated databases.
pub const UPDATED_DATABASES: u8 = 12;
/// Instead of their count: there are too many to name.
pub const TOO_MANY_DATABASES: u8 = 254;

/// The status variables that the relay reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusVariables {
    /// The statement's `sql_mode`.
    pub sql_mode: Option<u64>,
    /// The number of the collation of `character_set_client`.
    pub client_charset: Option<u16>,
    /// For a multi-table UPDATE: bit n is set when it changes the n-th table that it names.
    pub table_map_for_update: Option<u64>,
    /// The updated databases, as a range of the variables: from their code to the end of the last
    /// name.
    pub updated_databases: Option<Range<usize>>,
    /// MySQL 8.0+: the storage engine's number for a DDL statement's transaction.
    pub ddl_xid: Option<u64>,
    /// Whether all codes are known; otherwise a variable may be missing that follows the unknown one.
    pub complete: bool,
}

impl StatusVariables {
    /// Reads them up to the first unknown code, whose length is unknown as well.
    ///
    /// # Errors
    /// When one is truncated.
    pub fn parse(bytes: &[u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("Query event", bytes, HEADER_LEN);
        let mut found = Self::default();
        while fields.remaining() > 0 {
            let start = fields.offset() - HEADER_LEN;
            let code = fields.u8("status variable")?;
            match code {
                1 => found.sql_mode = Some(fields.uint("sql_mode", 8)?),
                4 => {
                    found.client_charset = Some(fields.u16("client character set")?);
                    fields.take("character sets", 4)?;
                }
                17 => found.ddl_xid = Some(fields.u64("xid")?),
                9 => found.table_map_for_update = Some(fields.uint("table map", 8)?),
                UPDATED_DATABASES => {
                    skip_databases(&mut fields)?;
                    found.updated_databases = Some(start..fields.offset() - HEADER_LEN);
                }
                _ => {
                    if !skip(code, &mut fields)? {
                        return Ok(found);
                    }
                }
            }
        }
        found.complete = true;
        Ok(found)
    }
}

/// The databases that a statement changes, according to its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdatedDatabases<'a> {
    /// Not stated.
    NotStated,
    /// Too many to list.
    TooMany,
    /// These; each name ends with a zero byte.
    Names(&'a [u8]),
}

impl<'a> UpdatedDatabases<'a> {
    /// Reads a QUERY event's status variables.
    ///
    /// # Errors
    /// When they are truncated.
    pub fn parse(status_variables: &'a [u8]) -> Result<Self, EventError> {
        let range = StatusVariables::parse(status_variables)?.updated_databases;
        let Some(bytes) = range.and_then(|range| status_variables.get(range)) else {
            return Ok(Self::NotStated);
        };
        Ok(match bytes {
            [_, 0..TOO_MANY_DATABASES, names @ ..] => Self::Names(names),
            _ => Self::TooMany,
        })
    }

    /// The names, if they are listed.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = match self {
            Self::Names(bytes) => *bytes,
            Self::NotStated | Self::TooMany => &[],
        };
        bytes
            .split_inclusive(|byte| *byte == 0)
            .map(|name| name.strip_suffix(&[0]).unwrap_or(name))
    }
}

fn skip_databases(fields: &mut FieldReader<'_>) -> Result<(), EventError> {
    let count = fields.u8("number of updated databases")?;
    if count >= TOO_MANY_DATABASES {
        return Ok(());
    }
    for _ in 0..count {
        while fields.u8("updated database")? != 0 {}
    }
    Ok(())
}

/// Skips a value; false when the code is unknown.
fn skip(code: u8, fields: &mut FieldReader<'_>) -> Result<bool, EventError> {
    let fixed = match code {
        0 | 3 | 10 => 4,
        7 | 8 | 18 => 2,
        13 | 128 => 3,
        16 | 19 | 20 => 1,
        129 => 8,
        2 | 5 | 6 => {
            let length = usize::from(fields.u8("string length")?);
            length + usize::from(code == 2)
        }
        11 => {
            let length = usize::from(fields.u8("user length")?);
            fields.take("user", length)?;
            usize::from(fields.u8("host length")?)
        }
        130 => {
            // 2 starts a two-phase ALTER; 4 commits it and 8 rolls it back, followed by the seq_no
            // of the GTID that started it.
            const ENDS_ALTER: u8 = 0b1100;
            let flags = fields.u8("GTID flags")?;
            if flags & ENDS_ALTER != 0 { 8 } else { 0 }
        }
        131 => 4 * usize::from(fields.u8("number of collations")?),
        _ => return Ok(false),
    };
    fields.take("status variable", fixed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_variables_are_read_and_truncation_is_safe() {
        let bytes = [
            &[0, 1, 2, 3, 4][..],
            &[1, 4, 0, 16, 0, 0, 0, 0, 0],
            &[6, 3, b's', b't', b'd'],
            &[3, 1, 0, 1, 0],
            &[131, 2, 33, 0, 0, 8, 45, 0, 0, 9],
            &[4, 33, 0, 8, 0, 8, 0],
            &[5, 3, b'U', b'T', b'C'],
            &[7, 1, 0, 8, 45, 0],
            &[9, 2, 0, 0, 0, 0, 0, 0, 0],
            &[11, 1, b'u', 2, b'h', b'h'],
            &[12, 2, b'a', 0, b'b', b'c', 0],
            &[13, 1, 2, 3, 16, 1, 17, 1, 2, 3, 4, 5, 6, 7, 8],
            &[18, 255, 0, 19, 0, 20, 1, 128, 1, 2, 3],
            &[130, 0, 130, 2, 130, 4, 1, 2, 3, 4, 5, 6, 7, 8],
            &[130, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        ];
        let bytes = bytes.concat();
        let found = StatusVariables::parse(&bytes).unwrap();
        assert_eq!(found.sql_mode, Some(0x10_0004));
        assert_eq!(found.client_charset, Some(33));
        assert_eq!(found.table_map_for_update, Some(2));
        let names = found.updated_databases.clone().unwrap();
        assert_eq!(bytes[names], [12, 2, b'a', 0, b'b', b'c', 0]);
        assert_eq!(found.ddl_xid, Some(0x0807_0605_0403_0201));
        assert!(found.complete);
        for cut in 0..bytes.len() {
            // An error, or less than the whole; never a panic.
            let _ = StatusVariables::parse(&bytes[..cut]);
        }
        assert!(StatusVariables::parse(&[1, 0, 0]).is_err());
    }

    #[test]
    fn unknown_variable_ends_the_reading() {
        let found = StatusVariables::parse(&[7, 1, 0, 77, 1, 2]).unwrap();
        assert!(!found.complete);
        let many = StatusVariables::parse(&[12, 254, 7, 0, 0]).unwrap();
        assert_eq!((many.updated_databases, many.complete), (Some(0..2), true));
    }

    #[test]
    fn databases_are_found_after_other_variables() {
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
    fn databases_not_listed_are_distinguished() {
        let parse = |bytes: &'static [u8]| UpdatedDatabases::parse(bytes).unwrap();
        assert_eq!(parse(&[12, 254]), UpdatedDatabases::TooMany);
        assert_eq!(parse(&[]), UpdatedDatabases::NotStated);
        assert_eq!(parse(&[99, 12, 1, b'a', 0]), UpdatedDatabases::NotStated);
        assert_eq!(parse(&[12, 0, 13, 1, 2, 3]).names().count(), 0);
    }
}
