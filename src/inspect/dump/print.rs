//! Printing one event: its line, its rows, the events in its payload.

use std::io::Write;

use super::Dump;
use super::options::DumpError;
use crate::binlog::EventType;
use crate::binlog::early_row_events::has_early_rows;
use crate::binlog::payload::PayloadEvents;
use crate::binlog::row_images::RowImages;
use crate::flavor::Flavor;
use crate::inspect::describe::Describer;
use crate::inspect::description::{Description, UNCOMPRESSED_MAX};
use crate::inspect::error::InspectError;
use crate::inspect::file_event::{EventBytes, FileEvent};
use crate::inspect::reader::{EVENT_KEPT_MAX, EventReader};
use crate::inspect::row_json::JsonRows;
use crate::inspect::{line, row_text};

impl Dump<'_> {
    /// Reads the events in a payload, and shows them with `rows`.
    pub(super) fn payload(
        &mut self,
        name: &[u8],
        payload: &FileEvent,
        describer: &mut Describer,
        reader: &EventReader,
    ) -> Result<(), DumpError> {
        let damaged = |cause: String| {
            let cause = format!("in the payload: {cause}");
            InspectError::damaged(reader.path(), payload.position, cause)
        };
        let events = match payload.whole {
            true => PayloadEvents::new(reader.body(), EVENT_KEPT_MAX)
                .map_err(|error| damaged(error.to_string()))?,
            false => None,
        };
        let Some(mut events) = events else {
            if !self.options.rows {
                return Ok(());
            }
            let what = "the payload is too large, or its compression is unknown; its events are not \
                        shown";
            self.warn(reader.path(), payload.position, what)?;
            return Ok(());
        };
        loop {
            let next = events
                .next_event()
                .map_err(|error| damaged(error.to_string()))?;
            let Some((mut header, whole)) = next else {
                return Ok(());
            };
            let event_type = header.event_type;
            if event_type.is_control() || event_type == EventType::TRANSACTION_PAYLOAD {
                return Err(damaged(format!(
                    "a {event_type} event, expected one of a transaction"
                ))
                .into());
            }
            header.event_size = payload.header.event_size;
            let event = FileEvent {
                header,
                whole,
                ..*payload
            };
            let bytes = EventBytes {
                event: events.event(),
                checksummed: false,
                format: reader.format(),
            };
            let description = describer.describe(&bytes, &event).map_err(damaged)?;
            if self.options.rows {
                self.show(name, &event, &description, &bytes)?;
            }
        }
    }

    /// Shows one event, if the selection includes it.
    pub(super) fn show(
        &mut self,
        name: &[u8],
        event: &FileEvent,
        description: &Description,
        bytes: &EventBytes<'_>,
    ) -> Result<(), DumpError> {
        if self.options.rows && description.rows.is_some() {
            return self.show_rows(name, event, description, bytes);
        }
        let mut line = Vec::new();
        let built = match self.options.json {
            true => line::json(name, event, description, None, &mut line),
            false => line::text(event, description, &mut line),
        };
        built.map_err(DumpError::Output)?;
        for line in self.selection.pass(event, description, line) {
            self.write(&line)?;
        }
        Ok(())
    }

    fn show_rows(
        &mut self,
        name: &[u8],
        event: &FileEvent,
        description: &Description,
        bytes: &EventBytes<'_>,
    ) -> Result<(), DumpError> {
        // The event's own line is written directly: it may be too long for a buffer.
        let lines = self.selection.pass(event, description, Vec::new());
        if lines.is_empty() {
            return Ok(());
        }
        for line in lines {
            self.write(&line)?;
        }
        let table = description.changed.as_deref();
        let readable = table.filter(|_| description.rows.flatten().is_some());
        let event_type = event.header.event_type;
        let body = bytes.body();
        let images = readable.and_then(|table| {
            RowImages::parse(event_type, body, &table.columns, UNCOMPRESSED_MAX).ok()?
        });
        let written = match (self.options.json, readable, &images) {
            (true, Some(table), Some(images)) => {
                let columns = &table.columns;
                let rows = Some(JsonRows { images, columns });
                line::json(name, event, description, Some(rows), &mut self.out)
            }
            (true, ..) => line::json(name, event, description, Some(None), &mut self.out),
            (false, Some(table), Some(images)) => {
                let version = bytes.format.map_or("", |format| &format.server_version);
                let flavor = Flavor::of_version(version);
                line::text(event, description, &mut self.out)
                    .and_then(|()| row_text::write(&mut self.out, &table.quoted, images, flavor))
            }
            (false, ..) => line::text(event, description, &mut self.out).and_then(|()| {
                let reason = reason_without_rows(event, description);
                writeln!(self.out, "### (the rows cannot be read{reason})")
            }),
        };
        written.map_err(DumpError::Output)
    }

    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), DumpError> {
        self.out.write_all(line).map_err(DumpError::Output)
    }
}

/// Why the rows of an event are not shown; empty if a column's type is not known.
fn reason_without_rows(event: &FileEvent, description: &Description) -> &'static str {
    if has_early_rows(event.header.event_type) {
        ": MySQL before 5.1.18 wrote them, and only the table's definition describes them"
    } else if !event.whole {
        ": the event is larger than 64 MiB"
    } else if description.changed.is_none() {
        ": the file has no table map for them"
    } else {
        ""
    }
}
