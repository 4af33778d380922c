//! The rows of a rows event, and the positions of their values.
//!
//! ```text
//!  0        19         25      27
//!  | header | table id | flags | extra length 2 (counts itself), extra data: version 2 | …
//!  … column count (length-encoded) | columns present | in updates: columns present afterwards | …
//!  … rows: null bits of the present columns | values of those that are not null
//! ```
//!
//! Extra data are parts that each begin with their type. 1 names the partition of the rows (2 bytes), in
//! updates also the one that they move from (2 more). 0 is NDB's own: a length (1 byte) that counts
//! itself, and the data. Other types are of unknown length: they end the reading.
//!
//! An update has two images a row. In a partial update (39) the second begins with options
//! (length-encoded); option 1 adds one bit for each JSON column of the table. MariaDB's
//! compressed events hold the rows (all that follows the bitmaps) compressed.

use std::borrow::Cow;

use super::columns::{Column, Columns, ValueLength, bit, column_type};
use super::compressed;
use super::event::HEADER_LEN;
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};

const NAME: &str = "rows event";
const PARTIAL_JSON: u64 = 1;
const EXTRA_NDB: u8 = 0;
const EXTRA_PARTITION: u8 = 1;
/// NDB's data begin with their length and their format.
const NDB_HEAD_LEN: u8 = 2;

/// The change that an event makes to its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsKind {
    /// They are inserted.
    Insert,
    /// They are updated.
    Update,
    /// They are deleted.
    Delete,
}

impl RowsKind {
    /// The change that an event of this type makes.
    pub fn of(event_type: EventType) -> Self {
        match event_type.0 {
            24 | 31 | 39 | 167 | 170 => RowsKind::Update,
            25 | 32 | 168 | 171 => RowsKind::Delete,
            _ => RowsKind::Insert,
        }
    }
}

/// The columns and images of a rows event, which follow its fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsData<'a> {
    /// Which columns the images have: the bitmaps after the column count.
    pub columns: &'a [u8],
    /// Whether the images have all columns.
    pub is_full: bool,
    /// The images; incomplete when only the event's head was given.
    pub images: &'a [u8],
}

impl<'a> RowsData<'a> {
    /// Reads `body`, the event without its header and checksum, or the head of it.
    ///
    /// # Errors
    /// When it ends before the images.
    pub fn parse(event_type: EventType, body: &'a [u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
        take_extra_data(&mut fields, event_type)?;
        let count = fields.length_encoded("column count")?;
        let bitmap_len = usize::try_from(count.div_ceil(8)).unwrap_or(usize::MAX);
        let bitmaps_len = match RowsKind::of(event_type) {
            RowsKind::Update => bitmap_len.saturating_mul(2),
            _ => bitmap_len,
        };
        let columns = fields.take("columns present", bitmaps_len)?;
        let has_all = |bitmap: &[u8]| (0..count).all(|column| bit(bitmap, column as usize));
        Ok(Self {
            columns,
            is_full: bitmap_len == 0 || columns.chunks(bitmap_len).all(has_all),
            images: fields.rest(),
        })
    }
}

/// The partitions of the rows of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// The one they are in, after an update.
    pub partition: u16,
    /// The one they were in before an update.
    pub source: Option<u16>,
}

/// A value in a row image, not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawValue<'a> {
    /// NULL.
    Null,
    /// Its bytes, without a prefix of its length.
    Bytes(&'a [u8]),
    /// The changes to a JSON document.
    JsonDiff(&'a [u8]),
}

/// A column of a row image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    /// Its number in the table, from 0.
    pub number: usize,
    /// Its column.
    pub column: &'a Column,
    /// Its value.
    pub value: RawValue<'a>,
}

/// Everything before the rows of an event.
struct Head<'a> {
    /// The rest of the event.
    fields: FieldReader<'a>,
    partition: Option<Partition>,
    /// How many columns the table has, and the offset of that.
    count: u64,
    count_at: usize,
    before: &'a [u8],
    after: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    fn parse(event_type: EventType, body: &'a [u8]) -> Result<Self, EventError> {
        let kind = RowsKind::of(event_type);
        let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
        let partition = match take_extra_data(&mut fields, event_type)? {
            Some(extra) => partition(kind, extra)?,
            None => None,
        };
        let count_at = fields.offset();
        let count = fields.length_encoded("column count")?;
        if count == 0 {
            return Err(fields.invalid("column count", count_at, count, "1 or more"));
        }
        let bitmap_len = usize::try_from(count.div_ceil(8)).unwrap_or(usize::MAX);
        let before = fields.take("columns present", bitmap_len)?;
        let after = match kind {
            RowsKind::Update => Some(fields.take("columns present afterwards", bitmap_len)?),
            _ => None,
        };
        Ok(Self {
            fields,
            partition,
            count,
            count_at,
            before,
            after,
        })
    }
}

/// Checks what precedes the rows of an event whose table is not known; `body` is the event without
/// header and checksum, or the head of it.
///
/// # Errors
/// When it ends before its rows, or its extra data are malformed.
pub fn check_head(event_type: EventType, body: &[u8]) -> Result<(), EventError> {
    Head::parse(event_type, body).map(drop)
}

/// One row: one image of it, or two if it was updated. Columns that were not logged are absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'a> {
    /// The inserted or deleted row, or the row before an update.
    pub image: Vec<Cell<'a>>,
    /// The row after an update.
    pub after: Option<Vec<Cell<'a>>>,
}

/// The rows of one event.
#[derive(Debug)]
pub struct RowImages<'a> {
    /// The change that the event makes.
    pub kind: RowsKind,
    /// The partition, if the event names it.
    pub partition: Option<Partition>,
    columns: &'a Columns,
    before: &'a [u8],
    after: Option<&'a [u8]>,
    partial: bool,
    /// Whether it is a dummy event that only ends a statement, without a table.
    empty: bool,
    rows: Cow<'a, [u8]>,
    /// Offset of `rows` in the event.
    at: usize,
}

impl<'a> RowImages<'a> {
    /// Reads `body`, a whole rows event without header and checksum. `None` when the length of a
    /// column's values is unknown, or the rows are compressed and larger than
    /// `uncompressed_max` bytes.
    ///
    /// # Errors
    /// When it ends before its rows, they cannot be decompressed, or it does not match `columns`.
    pub fn parse(
        event_type: EventType,
        body: &'a [u8],
        columns: &'a Columns,
        uncompressed_max: usize,
    ) -> Result<Option<Self>, EventError> {
        let kind = RowsKind::of(event_type);
        let Head {
            mut fields,
            partition,
            count,
            count_at,
            before,
            after,
        } = Head::parse(event_type, body)?;
        let matches = count == columns.columns.len() as u64;
        if fields.remaining() > 0 && !matches {
            return Err(fields.invalid("column count", count_at, count, "that of the table map"));
        }
        let at = fields.offset();
        let mut images = RowImages {
            kind,
            partition,
            columns,
            before,
            after,
            partial: event_type == EventType::PARTIAL_UPDATE_ROWS,
            empty: !matches,
            rows: Cow::Borrowed(fields.rest()),
            at,
        };
        if !images.empty && images.has_unknown_length() {
            return Ok(None);
        }
        if !images.empty && is_compressed(event_type) {
            match compressed::decompress(NAME, &images.rows, at, uncompressed_max)? {
                None => return Ok(None),
                Some(rows) => images.rows = Cow::Owned(rows),
            }
        }
        Ok(Some(images))
    }

    /// How many rows there are; an update of one row counts once.
    ///
    /// # Errors
    /// When the rows do not fill the event exactly.
    pub fn count(&self) -> Result<u64, EventError> {
        if self.empty {
            return Ok(0);
        }
        let mut fields = FieldReader::new(NAME, &self.rows, self.at);
        if self.has_no_columns() {
            return Ok(1);
        }
        let mut count = 0;
        while fields.remaining() > 0 {
            self.skip_row(&mut fields)?;
            count += 1;
        }
        Ok(count)
    }

    /// The rows, in their order. Iteration ends after an error.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row<'_>, EventError>> {
        let mut fields = FieldReader::new(NAME, &self.rows, self.at);
        // A row without logged columns has no bytes (or only its options): one row.
        let mut bare = self.has_no_columns();
        std::iter::from_fn(move || {
            if self.empty || (fields.remaining() == 0 && !bare) {
                return None;
            }
            if std::mem::take(&mut bare) {
                fields.rest();
                let after = self.after.map(|_| Vec::new());
                let image = Vec::new();
                return Some(Ok(Row { image, after }));
            }
            let row = self.row(&mut fields);
            if row.is_err() {
                fields.rest();
            }
            Some(row)
        })
    }

    fn row<'b>(&'b self, fields: &mut FieldReader<'b>) -> Result<Row<'b>, EventError> {
        let image = self.image(self.before, None, fields)?;
        let after = match self.after {
            Some(after) => {
                let partial = self.partial_bits(fields)?;
                Some(self.image(after, partial, fields)?)
            }
            None => None,
        };
        Ok(Row { image, after })
    }

    /// Whether no column of the rows was logged.
    fn has_no_columns(&self) -> bool {
        let has_columns = |bitmap: &[u8]| self.present(bitmap).next().is_some();
        !has_columns(self.before) && !self.after.is_some_and(has_columns)
    }

    fn has_unknown_length(&self) -> bool {
        let unknown = |present| {
            self.present(present)
                .any(|(_, column)| column.length == ValueLength::Unknown)
        };
        unknown(self.before) || self.after.is_some_and(unknown)
    }

    fn present<'b>(&'b self, bitmap: &'b [u8]) -> impl Iterator<Item = (usize, &'b Column)> + 'b {
        let columns = self.columns.columns.iter().enumerate();
        columns.filter(|(number, _)| bit(bitmap, *number))
    }

    fn skip_row<'b>(&'b self, fields: &mut FieldReader<'b>) -> Result<(), EventError> {
        self.each(self.before, None, fields, |_| ())?;
        if let Some(after) = self.after {
            let partial = self.partial_bits(fields)?;
            self.each(after, partial, fields, |_| ())?;
        }
        Ok(())
    }

    /// The bits that say which JSON columns of an image hold changes and not documents.
    fn partial_bits<'b>(
        &self,
        fields: &mut FieldReader<'b>,
    ) -> Result<Option<&'b [u8]>, EventError> {
        if self.partial && fields.length_encoded("value options")? & PARTIAL_JSON != 0 {
            let len = self.columns.json_count.div_ceil(8);
            return fields.take("partial bits", len).map(Some);
        }
        Ok(None)
    }

    fn image<'b>(
        &'b self,
        bitmap: &'b [u8],
        partial: Option<&'b [u8]>,
        fields: &mut FieldReader<'b>,
    ) -> Result<Vec<Cell<'b>>, EventError> {
        let mut cells = Vec::with_capacity(self.present(bitmap).count());
        self.each(bitmap, partial, fields, |cell| cells.push(cell))?;
        Ok(cells)
    }

    fn each<'b>(
        &'b self,
        bitmap: &'b [u8],
        partial: Option<&'b [u8]>,
        fields: &mut FieldReader<'b>,
        mut take: impl FnMut(Cell<'b>),
    ) -> Result<(), EventError> {
        let present = self.present(bitmap).count();
        let nulls = fields.take("null bits", present.div_ceil(8))?;
        let mut value_number = 0;
        let mut json_number = 0;
        for (number, column) in self.columns.columns.iter().enumerate() {
            let is_json = column.column_type == column_type::JSON;
            let is_diff = is_json && partial.is_some_and(|bits| bit(bits, json_number));
            json_number += usize::from(is_json);
            if !bit(bitmap, number) {
                continue;
            }
            let is_null = bit(nulls, value_number);
            value_number += 1;
            let value = match (is_null, is_diff) {
                (true, _) => RawValue::Null,
                (false, false) => RawValue::Bytes(value(column.length, fields)?),
                (false, true) => RawValue::JsonDiff(value(column.length, fields)?),
            };
            take(Cell {
                number,
                column,
                value,
            });
        }
        Ok(())
    }
}

fn value<'a>(length: ValueLength, fields: &mut FieldReader<'a>) -> Result<&'a [u8], EventError> {
    let length = match length {
        ValueLength::Fixed(length) => length,
        ValueLength::Prefixed(width) => {
            let length = fields.uint("value length", width)?;
            usize::try_from(length).unwrap_or(usize::MAX)
        }
        ValueLength::Unknown => 0,
    };
    fields.take("value", length)
}

/// Reads everything before the column count, and returns the extra data if the event has any.
fn take_extra_data<'a>(
    fields: &mut FieldReader<'a>,
    event_type: EventType,
) -> Result<Option<FieldReader<'a>>, EventError> {
    fields.take("table id and flags", 8)?;
    if !has_extra_data(event_type) {
        return Ok(None);
    }
    let at = fields.offset();
    let length = fields.u16("extra data length")?;
    let Some(rest) = usize::from(length).checked_sub(2) else {
        return Err(fields.invalid("extra data length", at, length.into(), "2 or more"));
    };
    let at = fields.offset();
    let extra = fields.take("extra data", rest)?;
    Ok(Some(FieldReader::new(NAME, extra, at)))
}

fn partition(kind: RowsKind, mut extra: FieldReader<'_>) -> Result<Option<Partition>, EventError> {
    let mut found = None;
    while extra.remaining() > 0 {
        match extra.u8("type of extra data")? {
            EXTRA_PARTITION => {
                let partition = extra.u16("partition")?;
                let source = match kind {
                    RowsKind::Update => Some(extra.u16("source partition")?),
                    _ => None,
                };
                found = Some(Partition { partition, source });
            }
            EXTRA_NDB => {
                let at = extra.offset();
                let length = extra.u8("length of NDB data")?;
                if length < NDB_HEAD_LEN {
                    let found = u64::from(length);
                    return Err(extra.invalid("length of NDB data", at, found, "2 or more"));
                }
                extra.take("NDB data", usize::from(length) - 1)?;
            }
            _ => drop(extra.rest()),
        }
    }
    Ok(found)
}

/// Whether the event has extra data before its columns (version 2).
pub fn has_extra_data(event_type: EventType) -> bool {
    matches!(event_type.0, 30..=32 | 39 | 169..=171)
}

fn is_compressed(event_type: EventType) -> bool {
    matches!(event_type.0, 166..=171)
}

#[cfg(test)]
mod tests;
