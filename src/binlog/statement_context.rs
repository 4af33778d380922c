//! Values that a statement depends on, logged before it: INTVAR (5), RAND (13), USER_VAR (14).
//!
//! ```text
//!  INTVAR    | type 1 (1 LAST_INSERT_ID, 2 INSERT_ID) | value 8 |
//!  RAND      | seed 8 | seed 8 |
//!  USER_VAR  | name length 4 | name | is null 1 | type 1 | collation 4 | value length 4 | value | flags 1 |
//! ```
//! A null USER_VAR ends after *is null*. Flag 1: the integer is unsigned. MySQL before 5.6 may
//! omit the flags.

use super::event::HEADER_LEN;
use super::fields::{EventError, FieldReader};

/// The automatic value that the next statement uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intvar {
    /// `LAST_INSERT_ID` or `INSERT_ID`.
    pub name: &'static str,
    /// The value.
    pub value: u64,
}

impl Intvar {
    /// Reads `body`, the event without its header and checksum.
    ///
    /// # Errors
    /// When it is truncated, or of an unknown type.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("Intvar event", body, HEADER_LEN);
        let name = match fields.u8("type")? {
            1 => "LAST_INSERT_ID",
            2 => "INSERT_ID",
            found => {
                return Err(fields.invalid("type", HEADER_LEN, found.into(), "1 or 2"));
            }
        };
        let value = fields.u64("value")?;
        Ok(Self { name, value })
    }
}

/// The two seeds of RAND() in the next statement.
///
/// # Errors
/// When `body`, the event without its header and checksum, is truncated.
pub fn parse_rand(body: &[u8]) -> Result<(u64, u64), EventError> {
    let mut fields = FieldReader::new("Rand event", body, HEADER_LEN);
    Ok((fields.u64("first seed")?, fields.u64("second seed")?))
}

/// A user variable that the next statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserVar<'a> {
    /// Its name, without `@`.
    pub name: &'a [u8],
    /// `STRING`, `REAL`, `INT`, `DECIMAL` or `NULL`.
    pub type_name: &'static str,
    /// The collation's number, as the servers count them; 0 when it is NULL.
    pub collation: u32,
    /// The value's bytes; empty when it is NULL.
    pub value: &'a [u8],
    /// Whether an integer is unsigned.
    pub unsigned: bool,
}

impl<'a> UserVar<'a> {
    /// Reads `body`, the event without its header and checksum, or the head of it: then the value
    /// may be short.
    ///
    /// # Errors
    /// When it ends before the value, or of an unknown type.
    pub fn parse(body: &'a [u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new("User_var event", body, HEADER_LEN);
        let length = fields.u32("name length")?;
        let name = fields.take("name", length as usize)?;
        if fields.u8("is null")? != 0 {
            return Ok(Self {
                name,
                type_name: "NULL",
                collation: 0,
                value: &[],
                unsigned: false,
            });
        }
        let at = fields.offset();
        let type_name = match fields.u8("type")? {
            0 => "STRING",
            1 => "REAL",
            2 => "INT",
            4 => "DECIMAL",
            found => return Err(fields.invalid("type", at, found.into(), "0, 1, 2 or 4")),
        };
        let collation = fields.u32("collation")?;
        let length = fields.u32("value length")?;
        let value = fields.take("value", length as usize)?;
        let unsigned = fields.remaining() > 0 && fields.u8("flags")? & 1 != 0;
        Ok(Self {
            name,
            type_name,
            collation,
            value,
            unsigned,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intvar_and_rand_are_read_and_truncation_is_safe() {
        let mut body = vec![2];
        body.extend_from_slice(&77u64.to_le_bytes());
        let intvar = Intvar::parse(&body).unwrap();
        assert_eq!((intvar.name, intvar.value), ("INSERT_ID", 77));
        for cut in 0..body.len() {
            assert!(Intvar::parse(&body[..cut]).is_err());
        }
        assert!(Intvar::parse(&[3; 9]).is_err());
        let seeds: Vec<u8> = (0..16).collect();
        assert_eq!(parse_rand(&seeds).unwrap().0, 0x0706_0504_0302_0100);
        for cut in 0..16 {
            assert!(parse_rand(&seeds[..cut]).is_err());
        }
    }

    #[test]
    fn user_variables_are_read_and_truncation_is_safe() {
        let mut body = vec![1, 0, 0, 0, b'i', 0, 2, 63, 0, 0, 0, 8, 0, 0, 0];
        body.extend_from_slice(&(-5i64).to_le_bytes());
        let without_flags = body.len();
        body.push(1);
        let variable = UserVar::parse(&body).unwrap();
        assert_eq!((variable.name, variable.type_name), (&b"i"[..], "INT"));
        assert_eq!(variable.value, (-5i64).to_le_bytes());
        assert!(variable.unsigned);
        assert_eq!(variable.collation, 63);
        for cut in 0..without_flags {
            assert!(UserVar::parse(&body[..cut]).is_err(), "cut at {cut}");
        }
        let null = UserVar::parse(&[1, 0, 0, 0, b'n', 1]).unwrap();
        assert_eq!(null.type_name, "NULL");
        assert!(UserVar::parse(&[255, 255, 255, 255, b'n']).is_err());
    }
}
