//! `binrelay dump`: the events of binlog files, one line each, and if asked for their rows.
//!
//! With rows, the events in a TRANSACTION_PAYLOAD_EVENT follow it, each with the place and the
//! checksum of that event. Rows are decoded while they are written: they take many times the
//! room of their event. Of rows that cannot be told (too large to keep, no table map, a type that is not
//! known) the text says so, and in JSON they are null.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::describe::{Describer, Description, UNCOMPRESSED_MAX};
use super::reader::{
    ChecksumState, EVENT_KEPT_MAX, EventBytes, EventReader, FIRST_EVENT, PlacedEvent,
};
use super::row_json::JsonRows;
use super::selection::Selection;
use super::{GtidSelection, InspectError, line, resync, row_text};
use crate::binlog::payload::PayloadEvents;
use crate::binlog::row_images::RowImages;
use crate::binlog::{EventType, event};
use crate::flavor::Flavor;
use crate::transaction::boundary::Boundary;

/// What is shown, and how.
#[derive(Debug, Clone, Default)]
pub struct DumpOptions {
    /// JSON instead of text.
    pub json: bool,
    /// Begin at this offset of the first file.
    pub start_position: Option<u64>,
    /// End before the first event at this offset of the last file or behind it.
    pub stop_position: Option<u64>,
    /// Begin at the first event of this time (seconds since 1970) or later.
    pub start_time: Option<i64>,
    /// End before the first event of this time or later.
    pub stop_time: Option<i64>,
    /// Only events of these databases, and what shapes transactions; all if there is none.
    pub databases: Vec<String>,
    /// Only these transactions.
    pub gtids: Option<GtidSelection>,
    /// The values of rows, too.
    pub rows: bool,
    /// Go on after damage.
    pub force: bool,
}

/// Why a dump ended early.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A file cannot be read, or not any further.
    #[error(transparent)]
    Input(#[from] InspectError),
    /// The lines cannot be written.
    #[error("cannot write the listing: {0}")]
    Output(#[source] io::Error),
}

/// What is said beside the lines.
#[derive(Debug)]
pub enum Remark {
    /// Damage, after which the dump goes on (`force`).
    Damage(InspectError),
    /// Something that is no damage but worth knowing, as a sentence with its place.
    Warning(String),
}

/// Writes the lines of `files` to `out`; `remark` is called for what is to be said beside them,
/// after all lines before it were written. Returns whether no damage was found, which without
/// `force` is an error instead.
///
/// # Errors
/// When a file cannot be read, is damaged (everything before the damage has been written), or the
/// lines cannot be written.
pub fn dump(
    files: &[PathBuf],
    options: &DumpOptions,
    out: &mut dyn Write,
    remark: &mut dyn FnMut(Remark),
) -> Result<bool, DumpError> {
    let mut dump = Dump {
        options,
        out: io::BufWriter::with_capacity(64 * 1024, out),
        remark,
        selection: Selection::new(options.databases.clone(), options.gtids.clone()),
        started: options.start_time.is_none(),
        sound: true,
    };
    let result = dump.files(files);
    let flushed = dump.out.flush().map_err(DumpError::Output);
    let sound = dump.sound;
    result.and(flushed).map(|()| sound)
}

struct Dump<'a> {
    options: &'a DumpOptions,
    out: io::BufWriter<&'a mut dyn Write>,
    remark: &'a mut dyn FnMut(Remark),
    selection: Selection,
    /// Whether the start time has come.
    started: bool,
    sound: bool,
}

/// The part of the files that is shown of one of them.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    start: Option<u64>,
    stop: Option<u64>,
}

impl Dump<'_> {
    fn files(&mut self, files: &[PathBuf]) -> Result<(), DumpError> {
        let last = files.len().saturating_sub(1);
        for (number, path) in files.iter().enumerate() {
            let bounds = Bounds {
                start: self.options.start_position.filter(|_| number == 0),
                stop: self.options.stop_position.filter(|_| number == last),
            };
            match self.file(path, bounds) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(DumpError::Input(error)) if self.options.force => self.damage(error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Shows one file; false when the stop time has come.
    fn file(&mut self, path: &Path, bounds: Bounds) -> Result<bool, DumpError> {
        let mut reader = EventReader::open(path, EVENT_KEPT_MAX)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy();
        if let Some(start) = bounds.start.filter(|start| *start > FIRST_EVENT) {
            self.skip_to(&mut reader, start)?;
        }
        let mut describer = Describer::new();
        let mut boundary = Boundary::Outside;
        loop {
            if bounds.stop.is_some_and(|stop| reader.offset() >= stop) {
                break;
            }
            let position = reader.offset();
            let (event, description) = match next(&mut reader, &mut describer) {
                Ok(Some(found)) => found,
                Ok(None) => {
                    self.note_open_transaction(boundary, path, position)?;
                    break;
                }
                Err(error @ InspectError::Damaged { .. }) if self.options.force => {
                    boundary = Boundary::Outside;
                    describer = Describer::new();
                    if !self.skip_damage(&mut reader, position, error, &name)? {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if self.has_stopped(&event) {
                return Ok(false);
            }
            // A file may be older than GTIDs, so that a transaction may begin without an opener.
            let (event_type, checksummed) = (event.header.event_type, reader.is_checksummed());
            boundary = boundary
                .after_event(event_type, reader.event(), checksummed, true)
                .map_err(|error| InspectError::damaged(path, event.position, error))?;
            if self.has_started(&event) {
                self.show(&name, &event, &description, &reader.bytes())?;
                if self.options.rows && event.header.event_type == EventType::TRANSACTION_PAYLOAD {
                    match self.show_payload(&name, &event, &mut describer, &reader) {
                        Err(DumpError::Input(error)) if self.options.force => self.damage(error)?,
                        other => other?,
                    }
                }
            }
        }
        for line in self.selection.finish() {
            self.write(&line)?;
        }
        Ok(true)
    }

    fn skip_to(&mut self, reader: &mut EventReader, start: u64) -> Result<(), DumpError> {
        // What follows can only be read by what the file's first event says.
        reader.next_event()?;
        let io = |cause| InspectError::io("read", reader.path(), cause);
        let len = reader.file().metadata().map_err(io)?.len();
        if start > len {
            let cause = format!("--start-position is behind the end of the file ({len} bytes)");
            return Err(InspectError::damaged(reader.path(), start, cause).into());
        }
        Ok(reader.seek(start)?)
    }

    /// Reports damage at `position` and goes on at the next event; false when there is none.
    fn skip_damage(
        &mut self,
        reader: &mut EventReader,
        position: u64,
        error: InspectError,
        name: &str,
    ) -> Result<bool, DumpError> {
        // An event that is wrong in its checksum only still has its place: it is shown as bad.
        let framed = reader.offset();
        self.damage(error)?;
        let mut found = None;
        if framed > position {
            found = resync::find_event(reader, framed)?;
            if found == Some(framed) {
                self.show_bad(reader, position, name)?;
            } else {
                found = None;
            }
        }
        if found.is_none() {
            found = resync::find_event(reader, position + 1)?;
        }
        match found {
            Some(offset) => {
                reader.seek(offset)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn show_bad(
        &mut self,
        reader: &EventReader,
        position: u64,
        name: &str,
    ) -> Result<(), DumpError> {
        let Ok(header) = event::EventHeader::parse(reader.event()) else {
            return Ok(());
        };
        let event = PlacedEvent {
            position,
            header,
            checksum: ChecksumState::Bad,
            whole: false,
        };
        let description = Description {
            text: "(damaged)".to_owned(),
            ..Description::default()
        };
        self.show(name, &event, &description, &reader.bytes())
    }

    fn damage(&mut self, error: InspectError) -> Result<(), DumpError> {
        self.sound = false;
        self.out.flush().map_err(DumpError::Output)?;
        (self.remark)(Remark::Damage(error));
        Ok(())
    }

    fn note_open_transaction(
        &mut self,
        boundary: Boundary,
        path: &Path,
        position: u64,
    ) -> Result<(), DumpError> {
        if boundary == Boundary::Outside {
            return Ok(());
        }
        self.out.flush().map_err(DumpError::Output)?;
        (self.remark)(Remark::Warning(format!(
            "{}, offset {position}: the file ends inside a transaction",
            path.display()
        )));
        Ok(())
    }

    fn has_stopped(&self, event: &PlacedEvent) -> bool {
        let header = &event.header;
        let stop = self.options.stop_time;
        !header.event_type.is_control()
            && stop.is_some_and(|stop| i64::from(header.timestamp) >= stop)
    }

    fn has_started(&mut self, event: &PlacedEvent) -> bool {
        let start = self.options.start_time;
        self.started |= start.is_none_or(|start| i64::from(event.header.timestamp) >= start);
        self.started
    }

    /// Shows the events in a payload.
    fn show_payload(
        &mut self,
        name: &str,
        payload: &PlacedEvent,
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
            self.out.flush().map_err(DumpError::Output)?;
            (self.remark)(Remark::Warning(format!(
                "{}, offset {}: the payload is too large, or of an unknown compression: what is in \
                 it is not shown",
                reader.path().display(),
                payload.position
            )));
            return Ok(());
        };
        loop {
            let next = events
                .next_event()
                .map_err(|error| damaged(error.to_string()))?;
            let Some((mut header, whole)) = next else {
                return Ok(());
            };
            header.event_size = payload.header.event_size;
            let event = PlacedEvent {
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
            self.show(name, &event, &description, &bytes)?;
        }
    }

    fn show(
        &mut self,
        name: &str,
        event: &PlacedEvent,
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
        name: &str,
        event: &PlacedEvent,
        description: &Description,
        bytes: &EventBytes<'_>,
    ) -> Result<(), DumpError> {
        // The event's own line is written here: it may be too long to be built first.
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
            (false, ..) => line::text(event, description, &mut self.out)
                .and_then(|()| self.out.write_all(b"### (the rows cannot be read)\n")),
        };
        written.map_err(DumpError::Output)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), DumpError> {
        self.out.write_all(line).map_err(DumpError::Output)
    }
}

/// The next event and what it does. A wrong checksum is an error here, and so is a body that
/// cannot be read; the reader then stands behind the event.
fn next(
    reader: &mut EventReader,
    describer: &mut Describer,
) -> Result<Option<(PlacedEvent, Description)>, InspectError> {
    let position = reader.offset();
    let Some(event) = reader.next_event()? else {
        return Ok(None);
    };
    if event.checksum == ChecksumState::Bad {
        let cause = match event::verify_checksum(reader.event()) {
            Err(cause) if event.whole => cause.to_string(),
            _ => format!("{} event: checksum mismatch", event.header.event_type),
        };
        return Err(InspectError::damaged(reader.path(), position, cause));
    }
    match describer.describe(&reader.bytes(), &event) {
        Ok(description) => Ok(Some((event, description))),
        Err(cause) => Err(InspectError::damaged(reader.path(), position, cause)),
    }
}

#[cfg(test)]
mod tests;
