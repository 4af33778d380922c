//! Rows in the lines of `dump --json`.
//!
//! Each row is an object with its images: `{"before": [value, …], "after": [value, …]}`;
//! an insert does not have `before`, a delete does not have `after`. Where not every column was logged
//! (`binlog_row_image`), `before_columns` and `after_columns` are the ordinal numbers, from 1, of
//! the logged columns. Values:
//!
//! - integers, FLOAT, DOUBLE, YEAR, ENUM (the element's number), BIT and SET (their bits) are
//!   numbers; an integer is signed unless the table map says that its column is UNSIGNED
//! - DECIMAL, DATE, TIME and DATETIME are strings; so is TIMESTAMP, in UTC
//! - text is a string; bytes that are not UTF-8, text that begins with `0x`, and every GEOMETRY are
//!   `"0x"` and hexadecimal digits: a string that begins with `0x` always stands for bytes
//! - a JSON document is a string with its text; a partial update is a string with the functions
//!   that change it; a VECTOR is an array of numbers
//! - a compressed column of MariaDB is decompressed
//! - a value that cannot be read, or is larger than 64 MiB when decompressed, is an object:
//!   `{"damaged": "…"}`

use jiff::Timestamp as Instant;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::description::UNCOMPRESSED_MAX;
use super::json_text::{JsonText, hex};
use super::row_text::changes_line;
use crate::binlog::columns::Columns;
use crate::binlog::compressed::decompress_column;
use crate::binlog::row_images::{Cell, RawValue, RowImages, RowsKind};
use crate::binlog::row_value::Value as RowValue;
use crate::binlog::temporal::Timestamp;

/// The rows of an event, decoded while they are written.
#[derive(Debug)]
pub(super) struct JsonRows<'a> {
    pub(super) images: &'a RowImages<'a>,
    pub(super) columns: &'a Columns,
}

impl Serialize for JsonRows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = self.columns.columns.len();
        let kind = self.images.kind;
        // The rows were read before, when they were counted.
        serializer.collect_seq(self.images.rows().map_while(Result::ok).map(|row| JsonRow {
            before: (kind != RowsKind::Insert).then(|| row.image.clone()),
            after: match kind {
                RowsKind::Insert => Some(row.image),
                _ => row.after,
            },
            all,
        }))
    }
}

struct JsonRow<'a> {
    before: Option<Vec<Cell<'a>>>,
    after: Option<Vec<Cell<'a>>>,
    /// How many columns the table has.
    all: usize,
}

impl Serialize for JsonRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let images = [
            ("before", "before_columns", &self.before),
            ("after", "after_columns", &self.after),
        ];
        for (name, name_of_columns, image) in images {
            let Some(cells) = image else { continue };
            map.serialize_entry(name, &Values(cells))?;
            if cells.len() < self.all {
                let numbers: Vec<usize> = cells.iter().map(|cell| cell.number + 1).collect();
                map.serialize_entry(name_of_columns, &numbers)?;
            }
        }
        map.end()
    }
}

/// The values of an image, as the lines of `dump --json` show them.
pub fn image_json(cells: &[Cell<'_>]) -> Vec<Value> {
    let shown = |cell| serde_json::to_value(JsonCell(cell)).unwrap_or_default();
    cells.iter().map(shown).collect()
}

struct Values<'a>(&'a [Cell<'a>]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(JsonCell))
    }
}

struct JsonCell<'a>(&'a Cell<'a>);

impl Serialize for JsonCell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cell = self.0;
        match cell.value {
            RawValue::Null => serializer.serialize_none(),
            RawValue::JsonDiff(bytes) => match changes_line(cell.number + 1, bytes) {
                Ok(text) => serializer.serialize_str(&text),
                Err(error) => damaged(error, serializer),
            },
            RawValue::Bytes(bytes) => match RowValue::decode(cell.column, bytes) {
                Ok(value) => value_json(value, cell.column.unsigned, serializer),
                Err(error) => damaged(error, serializer),
            },
        }
    }
}

fn damaged<S: Serializer>(error: impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("damaged", &error.to_string())?;
    map.end()
}

fn value_json<S: Serializer>(
    value: RowValue<'_>,
    unsigned: bool,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        RowValue::Int { bits, .. } if unsigned => serializer.serialize_u64(bits),
        RowValue::Int { bits, width } => serializer.serialize_i64(RowValue::signed(bits, width)),
        RowValue::Float(value) => serializer.serialize_f32(value),
        RowValue::Double(value) => serializer.serialize_f64(value),
        RowValue::Decimal(text) => serializer.serialize_str(&text),
        RowValue::Bit { bytes, .. } => bits(bytes.iter(), bytes, serializer),
        RowValue::Set(bytes) => bits(bytes.iter().rev(), bytes, serializer),
        RowValue::Enum(number) => serializer.serialize_u64(number),
        RowValue::Year(1900) => serializer.serialize_u16(0),
        RowValue::Year(year) => serializer.serialize_u16(year),
        RowValue::Date(date) => serializer.collect_str(&date),
        RowValue::Time(time) => serializer.collect_str(&time),
        RowValue::DateTime(time) => serializer.collect_str(&time),
        RowValue::Timestamp(timestamp) => serializer.serialize_str(&instant(timestamp)),
        RowValue::Bytes(bytes) => JsonText(bytes).serialize(serializer),
        RowValue::Geometry(bytes) => serializer.serialize_str(&hex(bytes)),
        RowValue::Vector(elements) => serializer.collect_seq(elements),
        RowValue::Json(document) => JsonText(&document.into_json()).serialize(serializer),
        RowValue::Compressed(bytes) => match decompress_column(bytes, UNCOMPRESSED_MAX) {
            Ok(Some(expanded)) => JsonText(&expanded).serialize(serializer),
            Ok(None) => damaged("more than 64 MiB when decompressed", serializer),
            Err(error) => damaged(error, serializer),
        },
    }
}

/// The bits as one number, if there are at most 64; `bytes` begins with the highest ones.
fn bits<'a, S: Serializer>(
    ordered: impl Iterator<Item = &'a u8>,
    bytes: &[u8],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if bytes.len() > 8 {
        return serializer.serialize_str(&hex(bytes));
    }
    serializer.serialize_u64(ordered.fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn instant(timestamp: Timestamp) -> String {
    let (date, time) = match timestamp.seconds {
        0 => ("0000-00-00".to_owned(), "00:00:00".to_owned()),
        seconds => {
            let at = Instant::from_second(i64::from(seconds)).unwrap_or_default();
            let text = at.to_string();
            let (date, time) = text.split_once('T').unwrap_or((&text, ""));
            (date.to_owned(), time.trim_end_matches('Z').to_owned())
        }
    };
    let text = timestamp.to_string();
    let fraction = text.find('.').and_then(|at| text.get(at..)).unwrap_or("");
    format!("{date} {time}{fraction}")
}
