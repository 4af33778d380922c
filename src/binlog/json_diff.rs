//! The changes of a PARTIAL_UPDATE_ROWS_EVENT to a JSON document.
//!
//! ```text
//!  operation 1 | length | path | unless it removes: length | document | next operation …
//! ```
//! Lengths are length-encoded, documents are as in the module `json`.

use super::fields::{EventError, FieldReader};

const NAME: &str = "JSON change";

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The value at the path is replaced.
    Replace,
    /// A value is inserted at the path: into an object, or into an array before the existing one.
    Insert,
    /// The value at the path is removed.
    Remove,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The kind of the change.
    pub operation: Operation,
    /// The path, like `$.a[1]`.
    pub path: &'a [u8],
    /// The new value, a binary document; empty when it removes.
    pub value: &'a [u8],
}

impl Change<'_> {
    /// The SQL function that does the same.
    pub fn function(&self) -> &'static str {
        match self.operation {
            Operation::Replace => "JSON_REPLACE",
            Operation::Insert if self.path.ends_with(b"]") => "JSON_ARRAY_INSERT",
            Operation::Insert => "JSON_INSERT",
            Operation::Remove => "JSON_REMOVE",
        }
    }
}

/// Reads the changes of one value, in their order.
///
/// # Errors
/// When it is truncated, or holds an unknown operation.
pub fn decode(bytes: &[u8]) -> Result<Vec<Change<'_>>, EventError> {
    let mut fields = FieldReader::new(NAME, bytes, 0);
    let mut changes = Vec::new();
    while fields.remaining() > 0 {
        let at = fields.offset();
        let operation = match fields.u8("operation")? {
            0 => Operation::Replace,
            1 => Operation::Insert,
            2 => Operation::Remove,
            found => return Err(fields.invalid("operation", at, found.into(), "0, 1 or 2")),
        };
        let path = prefixed("path", &mut fields)?;
        let value = match operation {
            Operation::Remove => &[],
            _ => prefixed("value", &mut fields)?,
        };
        changes.push(Change {
            operation,
            path,
            value,
        });
    }
    Ok(changes)
}

fn prefixed<'a>(field: &'static str, fields: &mut FieldReader<'a>) -> Result<&'a [u8], EventError> {
    let length = fields.length_encoded(field)?;
    fields.take(field, usize::try_from(length).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_and_truncation_is_safe() {
        let bytes = b"\x00\x03$.a\x03\x05\x02\x00\x01\x04$[1]\x02\x04\x00\x02\x03$.b";
        let changes = decode(bytes).unwrap();
        let functions: Vec<_> = changes.iter().map(Change::function).collect();
        assert_eq!(
            functions,
            ["JSON_REPLACE", "JSON_ARRAY_INSERT", "JSON_REMOVE"]
        );
        assert_eq!(changes[0].value, [5, 2, 0]);
        assert_eq!(changes[2].path, b"$.b");
        let boundaries = [0, 9, 18];
        for cut in 0..bytes.len() {
            assert_eq!(
                decode(&bytes[..cut]).is_ok(),
                boundaries.contains(&cut),
                "{cut}"
            );
        }
        assert!(decode(&[3, 0]).is_err());
    }
}
