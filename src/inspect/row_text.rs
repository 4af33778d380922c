//! Rows as text: the pseudo-SQL of `mysqlbinlog -vv`, and for files of MariaDB that of
//! `mariadb-binlog -vv`.
//!
//! ```text
//! ### UPDATE `shop`.`orders`
//! ### WHERE
//! ###   @1=7 /* INT meta=0 nullable=0 is_null=0 */
//! ### SET
//! ###   @2=-1 (255) /* TINYINT meta=0 nullable=1 is_null=0 */
//! ```
//! An inserted row without columns is `### INSERT INTO … VALUES ()`. Columns are numbered from 1. A negative integer is followed by its value as UNSIGNED; an ENUM is
//! shown as the number of its element and a SET as a bit for each element, as in the binlog; a
//! TIMESTAMP is in seconds since 1970; a compressed column of MariaDB is shown as stored. Unlike
//! the tools, it shows GEOMETRY in files of MySQL too, and marks a value that cannot be read but
//! shows the rest of its row.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::text::push_sql_string;
use crate::binlog::columns::{Column, column_type::*};
use crate::binlog::fields::EventError;
use crate::binlog::float_text;
use crate::binlog::json::{Document, Shape};
use crate::binlog::json_diff::{self, Operation};
use crate::binlog::row_images::{Cell, Partition, RawValue, RowImages, RowsKind};
use crate::binlog::row_value::Value;
use crate::flavor::Flavor;

/// The width of a FLOAT in the tools' output.
const FLOAT_WIDTH: usize = 20;
/// Significant digits of a FLOAT and of a DOUBLE, and digits after the point of a VECTOR's element.
const FLOAT_DIGITS: usize = 6;
const DOUBLE_DIGITS: usize = 20;
const VECTOR_DIGITS: usize = 5;

/// Writes the rows of `images`, of the table `quoted`; `flavor` is the file's.
pub(super) fn write(
    out: &mut dyn Write,
    quoted: &str,
    images: &RowImages<'_>,
    flavor: Flavor,
) -> io::Result<()> {
    // The keyword before an image: the only one, or the one before an update.
    let (action, first) = match images.kind {
        RowsKind::Insert => ("INSERT INTO", "SET"),
        RowsKind::Update => ("UPDATE", "WHERE"),
        RowsKind::Delete => ("DELETE FROM", "WHERE"),
    };
    if let Some(partition) = images.partition {
        write_partition(out, partition)?;
    }
    for row in images.rows() {
        // The rows were read before, when they were counted.
        let Ok(row) = row else { break };
        if images.kind == RowsKind::Insert && row.image.is_empty() {
            writeln!(out, "### {action} {quoted} VALUES ()")?;
            continue;
        }
        writeln!(out, "### {action} {quoted}\n### {first}")?;
        for cell in &row.image {
            write_cell(out, cell, flavor)?;
        }
        if let Some(after) = &row.after {
            writeln!(out, "### SET")?;
            for cell in after {
                write_cell(out, cell, flavor)?;
            }
        }
    }
    Ok(())
}

fn write_partition(out: &mut dyn Write, partition: Partition) -> io::Result<()> {
    write!(out, "### Extra row info for partitioning: ")?;
    match partition.source {
        None => writeln!(out, "partition: {}", partition.partition),
        Some(source) => writeln!(
            out,
            "source_partition: {source} target_partition: {}",
            partition.partition
        ),
    }
}

fn write_cell(out: &mut dyn Write, cell: &Cell<'_>, flavor: Flavor) -> io::Result<()> {
    let number = cell.number + 1;
    let text = cell_text(cell, flavor);
    let text = text.unwrap_or_else(|error| format!("(damaged: {error})"));
    writeln!(
        out,
        "###   @{number}={text} /* {} meta={} nullable={} is_null={} */",
        type_name(cell.column),
        cell.column.metadata,
        u8::from(cell.column.nullable),
        u8::from(cell.value == RawValue::Null)
    )
}

fn cell_text(cell: &Cell<'_>, flavor: Flavor) -> Result<String, EventError> {
    match cell.value {
        RawValue::Null => Ok("NULL".to_owned()),
        RawValue::JsonDiff(bytes) => changes_text(cell.number + 1, bytes, flavor),
        RawValue::Bytes(bytes) => {
            Value::decode(cell.column, bytes).map(|value| value_text(&value, flavor))
        }
    }
}

fn value_text(value: &Value<'_>, flavor: Flavor) -> String {
    match value {
        Value::Int { bits, width } => match Value::signed(*bits, *width) {
            signed @ ..0 => format!("{signed} ({bits})"),
            signed => signed.to_string(),
        },
        Value::Float(value) => {
            let text = float_text::general(f64::from(*value), FLOAT_DIGITS);
            format!("{text:<FLOAT_WIDTH$}")
        }
        Value::Double(value) => float_text::general(*value, DOUBLE_DIGITS),
        Value::Decimal(text) => text.clone(),
        Value::Bit { bytes, width } => bits_text(bytes, *width),
        Value::Set(bytes) => bits_text(bytes, bytes.len() * 8),
        Value::Enum(number) => number.to_string(),
        Value::Year(year) => year.to_string(),
        // The tools write a DATE with colons.
        Value::Date(date) => format!("'{:04}:{:02}:{:02}'", date.year, date.month, date.day),
        Value::Time(time) => format!("'{time}'"),
        Value::DateTime(time) => format!("'{time}'"),
        Value::Timestamp(timestamp) => timestamp.to_string(),
        Value::Bytes(bytes) | Value::Compressed(bytes) | Value::Geometry(bytes) => {
            string(bytes, flavor)
        }
        Value::Vector(elements) => {
            let element =
                |element: &f32| float_text::exponential(f64::from(*element), VECTOR_DIGITS);
            let elements: Vec<_> = elements.iter().map(element).collect();
            format!("[{}]", elements.join(","))
        }
        Value::Json(document) => string(&document.text, flavor),
    }
}

fn string(bytes: &[u8], flavor: Flavor) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    push_sql_string(&mut text, bytes, flavor);
    text
}

/// The lowest `width` bits of `bytes`, in the order of the bytes.
fn bits_text(bytes: &[u8], width: usize) -> String {
    let all = bytes.len() * 8;
    let mut text = String::with_capacity(width + 3);
    text.push_str("b'");
    for number in all.saturating_sub(width)..all {
        let byte = bytes.get(number / 8).copied().unwrap_or(0);
        text.push(if byte << (number % 8) & 0x80 != 0 {
            '1'
        } else {
            '0'
        });
    }
    text.push('\'');
    text
}

/// Changes of a document as the functions that make them, the last one outermost.
fn changes_text(number: usize, bytes: &[u8], flavor: Flavor) -> Result<String, EventError> {
    let changes = json_diff::decode(bytes)?;
    let mut functions: Vec<_> = changes.iter().map(|change| change.function()).collect();
    functions.dedup();
    functions.reverse();
    let mut text = functions.join("(\n###      ");
    if !functions.is_empty() {
        text.push('(');
    }
    let _ = write!(text, "@{number}");
    let mut before: Option<&str> = None;
    for change in &changes {
        match before {
            None => text.push_str(", "),
            Some(function) if function == change.function() => text.push_str(",\n###      "),
            Some(_) => text.push_str("),\n###      "),
        }
        before = Some(change.function());
        push_sql_string(&mut text, change.path, flavor);
        if change.operation != Operation::Remove {
            text.push_str(", ");
            push_document(&mut text, &Document::decode(change.value)?, flavor);
        }
    }
    if before.is_some() {
        text.push(')');
    }
    Ok(text)
}

fn push_document(text: &mut String, document: &Document, flavor: Flavor) {
    match document.shape {
        Shape::Container => {
            text.push_str("CAST(");
            push_sql_string(text, &document.text, flavor);
            text.push_str(" AS JSON)");
        }
        // Digits and letters only.
        Shape::Bare => text.push_str(&String::from_utf8_lossy(&document.text)),
        Shape::String => push_sql_string(text, &document.text, flavor),
    }
}

/// The changes to a document, on one line.
pub(super) fn changes_line(number: usize, bytes: &[u8]) -> Result<String, EventError> {
    let text = changes_text(number, bytes, Flavor::MySql)?;
    Ok(text.replace("\n###      ", " ").replace("( ", "("))
}

/// The type as the tools write it.
fn type_name(column: &Column) -> String {
    let [first, second] = column.metadata.to_be_bytes();
    let name = match column.column_type {
        TINY => "TINYINT",
        SHORT => "SHORTINT",
        INT24 => "MEDIUMINT",
        LONG => "INT",
        LONGLONG => "LONGINT",
        FLOAT => "FLOAT",
        DOUBLE => "DOUBLE",
        NULL => "NULL",
        TIMESTAMP => "TIMESTAMP",
        DATETIME => "DATETIME",
        TIME => "TIME",
        DATE | NEWDATE => "DATE",
        YEAR => "YEAR",
        JSON => "JSON",
        GEOMETRY => "GEOMETRY",
        TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB => blob_name(second),
        BLOB_COMPRESSED => return format!("{} COMPRESSED", blob_name(second)),
        NEWDECIMAL => return format!("DECIMAL({first},{second})"),
        BIT => return format!("BIT({})", usize::from(first) * 8 + usize::from(second)),
        TIMESTAMP2 => return format!("TIMESTAMP({second})"),
        DATETIME2 => return format!("DATETIME({second})"),
        TIME2 => return format!("TIME({second})"),
        ENUM if second == 1 => "ENUM(1 byte)",
        ENUM => return format!("ENUM({second} bytes)"),
        SET => return format!("SET({second} bytes)"),
        VARCHAR | VAR_STRING => return format!("VARSTRING({})", column.length_max()),
        VARCHAR_COMPRESSED => return format!("VARSTRING({}) COMPRESSED", column.length_max()),
        STRING => return format!("STRING({})", column.length_max()),
        VECTOR => return format!("VECTOR({})", column.dimensions),
        other => return format!("type {other}"),
    };
    name.to_owned()
}

fn blob_name(prefix_len: u8) -> &'static str {
    match prefix_len {
        1 => "TINYBLOB/TINYTEXT",
        2 => "BLOB/TEXT",
        3 => "MEDIUMBLOB/MEDIUMTEXT",
        _ => "LONGBLOB/LONGTEXT",
    }
}
