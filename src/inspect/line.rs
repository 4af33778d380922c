//! One event as one line: text, or JSON for scripts.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::description::Description;
use super::file_event::FileEvent;
use super::json_text::JsonText;
use super::row_json::JsonRows;

/// The line of `dump --json`. Scripts rely on field names and their order.
#[derive(Debug, Serialize)]
struct JsonLine<'a> {
    file: JsonText<'a>,
    position: u64,
    end_position: u64,
    timestamp: u32,
    server_id: u32,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gtid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<JsonText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<JsonText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<JsonText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<JsonRowsField<'a>>,
    checksum: &'a str,
}

/// The rows of an event in a line; `null` when they cannot be read.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum JsonRowsField<'a> {
    Count(Option<u64>),
    Values(Option<JsonRows<'a>>),
}

/// Writes the event as a JSON object and a line break; with the values of rows if `values` is given,
/// otherwise with their number.
pub(super) fn json(
    file: &[u8],
    event: &FileEvent,
    description: &Description,
    values: Option<Option<JsonRows<'_>>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let event_type = event.header.event_type.to_string();
    let line = JsonLine {
        file: JsonText(file),
        position: event.position,
        end_position: event.end(),
        timestamp: event.header.timestamp,
        server_id: event.header.server_id,
        event_type: &event_type,
        gtid: description.gtid(),
        database: description.database.as_deref().map(JsonText),
        table: description.table.as_deref().map(JsonText),
        statement: description.statement.as_deref().map(JsonText),
        rows: match values {
            Some(rows) => Some(JsonRowsField::Values(rows)),
            None => description.rows.map(JsonRowsField::Count),
        },
        checksum: event.checksum.name(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Writes the event as a line of text.
pub(super) fn text(
    event: &FileEvent,
    description: &Description,
    out: &mut dyn Write,
) -> io::Result<()> {
    let header = &event.header;
    let time = Timestamp::from_second(i64::from(header.timestamp)).unwrap_or_default();
    let line = format!(
        "{:>10} {time} {:>5} {:<20} {:>10} {}",
        event.position,
        header.server_id,
        header.event_type.to_string(),
        event.end(),
        description.text
    );
    out.write_all(line.trim_end().as_bytes())?;
    out.write_all(b"\n")
}
