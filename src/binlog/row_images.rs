//! Counting the rows of a rows event, by skipping over the values.
//!
//! ```text
//!  0        19         25      27
//!  | header | table id | flags | extra length 2 (counts itself), extra data: version 2 | …
//!  … column count (length-encoded) | columns present | in updates: columns present afterwards | …
//!  … rows: null bits of the present columns | values of those that are not null
//! ```
//!
//! An update has two images a row. In a partial update (39) the second begins with options
//! (length-encoded); option 1 adds one bit for each JSON column of the table. MariaDB's
//! compressed events hold the rows (all that follows the bitmaps) compressed.

use super::columns::{Columns, ValueLength};
use super::compressed;
use super::event::HEADER_LEN;
use super::event_type::EventType;
use super::fields::{EventError, FieldReader};

const NAME: &str = "rows event";
const PARTIAL_JSON: u64 = 1;

/// What a rows event does to its rows, and what stands behind its fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsData<'a> {
    /// Which columns the images have: the bitmaps behind the column count.
    pub columns: &'a [u8],
    /// Whether the images have all columns.
    pub is_full: bool,
    /// The images. Cut short when the event's head only was given.
    pub images: &'a [u8],
}

impl<'a> RowsData<'a> {
    /// Reads `body`, the event without its header and checksum, or the head of it.
    ///
    /// # Errors
    /// When it is cut short before the images.
    pub fn parse(event_type: EventType, body: &'a [u8]) -> Result<Self, EventError> {
        let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
        skip_head(&mut fields, event_type)?;
        let count = fields.length_encoded("column count")?;
        let bitmap_len = usize::try_from(count.div_ceil(8)).unwrap_or(usize::MAX);
        let bitmaps_len = match is_update(event_type) {
            true => bitmap_len.saturating_mul(2),
            false => bitmap_len,
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

/// Skips what stands before the column count.
fn skip_head(fields: &mut FieldReader<'_>, event_type: EventType) -> Result<(), EventError> {
    fields.take("table id and flags", 8)?;
    if has_extra_data(event_type) {
        let at = fields.offset();
        let length = fields.u16("extra data length")?;
        let Some(rest) = usize::from(length).checked_sub(2) else {
            return Err(fields.invalid("extra data length", at, length.into(), "2 or more"));
        };
        fields.take("extra data", rest)?;
    }
    Ok(())
}

/// The rows of `body`, a whole rows event without header and checksum; an update of one row
/// counts once. `None` when a column's type does not tell how long its values are, or the rows are
/// compressed and larger than `uncompressed_max` bytes.
///
/// # Errors
/// When the rows do not fill the event exactly, or it does not match `columns`.
pub fn count_rows(
    event_type: EventType,
    body: &[u8],
    columns: &Columns,
    uncompressed_max: usize,
) -> Result<Option<u64>, EventError> {
    let mut fields = FieldReader::new(NAME, body, HEADER_LEN);
    skip_head(&mut fields, event_type)?;
    let at = fields.offset();
    let count = fields.length_encoded("column count")?;
    let bitmap_len = usize::try_from(count.div_ceil(8)).unwrap_or(usize::MAX);
    let before = fields.take("columns present", bitmap_len)?;
    let after = match is_update(event_type) {
        true => Some(fields.take("columns present afterwards", bitmap_len)?),
        false => None,
    };
    if fields.remaining() == 0 && count != columns.lengths.len() as u64 {
        return Ok(Some(0)); // A dummy that only ends a statement belongs to no table.
    }
    if count != columns.lengths.len() as u64 {
        return Err(fields.invalid("column count", at, count, "that of the table map"));
    }
    let layout = Layout {
        columns,
        before,
        after,
        partial: event_type == EventType::PARTIAL_UPDATE_ROWS,
    };
    if layout.has_unknown_length() {
        return Ok(None);
    }
    if !is_compressed(event_type) {
        return layout.count(fields).map(Some);
    }
    let at = fields.offset();
    match compressed::decompress(NAME, fields.rest(), at, uncompressed_max)? {
        None => Ok(None),
        Some(rows) => layout.count(FieldReader::new(NAME, &rows, at)).map(Some),
    }
}

fn has_extra_data(event_type: EventType) -> bool {
    matches!(event_type.0, 30..=32 | 39 | 169..=171)
}

fn is_update(event_type: EventType) -> bool {
    matches!(event_type.0, 24 | 31 | 39 | 167 | 170)
}

fn is_compressed(event_type: EventType) -> bool {
    matches!(event_type.0, 166..=171)
}

struct Layout<'a> {
    columns: &'a Columns,
    before: &'a [u8],
    after: Option<&'a [u8]>,
    partial: bool,
}

impl Layout<'_> {
    fn has_unknown_length(&self) -> bool {
        let unknown = |present| {
            self.present(present)
                .any(|length| length == ValueLength::Unknown)
        };
        unknown(self.before) || self.after.is_some_and(unknown)
    }

    fn present<'b>(&'b self, bitmap: &'b [u8]) -> impl Iterator<Item = ValueLength> + 'b {
        let lengths = self.columns.lengths.iter().enumerate();
        lengths
            .filter(|(column, _)| bit(bitmap, *column))
            .map(|(_, length)| *length)
    }

    fn count(&self, mut fields: FieldReader<'_>) -> Result<u64, EventError> {
        let has_columns = |bitmap: &[u8]| self.present(bitmap).next().is_some();
        if !has_columns(self.before) && !self.after.is_some_and(has_columns) {
            // A row of which no column was logged takes no bytes (or its options only): one row.
            return Ok(1);
        }
        let mut count = 0;
        while fields.remaining() > 0 {
            self.skip_image(self.before, &mut fields)?;
            if let Some(after) = self.after {
                self.skip_options(&mut fields)?;
                self.skip_image(after, &mut fields)?;
            }
            count += 1;
        }
        Ok(count)
    }

    fn skip_options(&self, fields: &mut FieldReader<'_>) -> Result<(), EventError> {
        if self.partial && fields.length_encoded("value options")? & PARTIAL_JSON != 0 {
            fields.take("partial bits", self.columns.json_count.div_ceil(8))?;
        }
        Ok(())
    }

    fn skip_image(&self, bitmap: &[u8], fields: &mut FieldReader<'_>) -> Result<(), EventError> {
        let present = self.present(bitmap).count();
        let nulls = fields.take("null bits", present.div_ceil(8))?;
        for (i, length) in self.present(bitmap).enumerate() {
            if bit(nulls, i) {
                continue;
            }
            let length = match length {
                ValueLength::Fixed(length) => length,
                ValueLength::Prefixed(width) => {
                    let length = fields.uint("value length", width)?;
                    usize::try_from(length).unwrap_or(usize::MAX)
                }
                ValueLength::Unknown => 0,
            };
            fields.take("value", length)?;
        }
        Ok(())
    }
}

fn bit(bitmap: &[u8], number: usize) -> bool {
    bitmap
        .get(number / 8)
        .is_some_and(|byte| byte >> (number % 8) & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns {
            lengths: vec![
                ValueLength::Fixed(4),
                ValueLength::Prefixed(1),
                ValueLength::Prefixed(4),
            ],
            json_count: 1,
        }
    }

    fn head(event_type: EventType, bitmaps: &[u8]) -> Vec<u8> {
        let mut body = vec![1, 0, 0, 0, 0, 0, 1, 0];
        if has_extra_data(event_type) {
            body.extend_from_slice(&[2, 0]);
        }
        body.push(3);
        body.extend_from_slice(bitmaps);
        body
    }

    fn count(event_type: EventType, body: &[u8]) -> Result<Option<u64>, EventError> {
        count_rows(event_type, body, &columns(), 1000)
    }

    #[test]
    fn rows_of_every_kind() {
        let row = [0b100, 1, 0, 0, 0, 2, b'a', b'b'];
        for event_type in [EventType::WRITE_ROWS, EventType::DELETE_ROWS_V1] {
            let mut body = head(event_type, &[0b111]);
            assert_eq!(count(event_type, &body), Ok(Some(0)));
            for rows in 1..4 {
                body.extend_from_slice(&row);
                assert_eq!(count(event_type, &body), Ok(Some(rows)));
            }
        }
        let mut body = head(EventType::UPDATE_ROWS, &[0b001, 0b010]);
        body.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, b'x']);
        assert_eq!(count(EventType::UPDATE_ROWS, &body), Ok(Some(1)));
        let mut body = head(EventType::PARTIAL_UPDATE_ROWS, &[0b001, 0b110]);
        body.extend_from_slice(&[0, 1, 0, 0, 0, 1, 1, 0b01, 2, 0, 0, 0, 9, 9]);
        assert_eq!(count(EventType::PARTIAL_UPDATE_ROWS, &body), Ok(Some(1)));
    }

    #[test]
    fn the_images_are_what_follows_the_bitmaps() {
        let mut body = head(EventType::UPDATE_ROWS, &[0b001, 0b010]);
        let fixed = body.len();
        body.extend_from_slice(&[0, 1, 0, 0, 0]);
        let data = RowsData::parse(EventType::UPDATE_ROWS, &body).unwrap();
        assert_eq!(data.columns, [0b001, 0b010]);
        assert!(!data.is_full);
        let full = head(EventType::WRITE_ROWS, &[0b111]);
        let all_columns = RowsData::parse(EventType::WRITE_ROWS, &full).unwrap();
        assert!(all_columns.is_full);
        assert_eq!(data.images, [0, 1, 0, 0, 0]);
        for cut in 0..body.len() {
            let read = RowsData::parse(EventType::UPDATE_ROWS, &body[..cut]);
            assert_eq!(read.is_ok(), cut >= fixed, "cut at {cut}");
        }
    }

    #[test]
    fn cut_at_every_length() {
        let mut body = head(EventType::WRITE_ROWS, &[0b111]);
        let one = body.len();
        body.extend_from_slice(&[0b100, 1, 0, 0, 0, 2, b'a', b'b']);
        for cut in 0..body.len() {
            let result = count(EventType::WRITE_ROWS, &body[..cut]);
            assert_eq!(result.is_ok(), cut == one, "cut at {cut}: {result:?}");
        }
    }

    #[test]
    fn unknown_types_give_no_number() {
        let columns = Columns {
            lengths: vec![ValueLength::Unknown],
            json_count: 0,
        };
        let body = [1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 9];
        assert_eq!(
            count_rows(EventType::WRITE_ROWS_V1, &body, &columns, 10),
            Ok(None)
        );
    }
}
