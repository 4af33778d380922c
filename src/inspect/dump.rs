//! `binrelay dump`: the events of binlog files, one line each, and on request their rows.
//!
//! With rows, the events in a TRANSACTION_PAYLOAD_EVENT follow it, each with the position and the
//! checksum of that event. Rows are decoded while they are written, since as text they are many
//! times larger than their event. When rows cannot be decoded (too large to keep, no table map, an
//! unknown type), the text says so, and in JSON they are null.

mod options;
mod print;

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use self::options::{DumpError, DumpOptions, Remark};
use super::describe::Describer;
use super::description::Description;
use super::error::InspectError;
use super::file_event::{ChecksumState, FileEvent};
use super::reader::{EVENT_KEPT_MAX, EventReader, FIRST_EVENT};
use super::resync;
use super::selection::Selection;
use crate::binlog::{EventType, event};
use crate::transaction::boundary::Boundary;

/// Writes the lines of `files` to `out`; `remark` is called for messages alongside the lines, after
/// all lines before it were written. Returns whether no damage was found; without `force` damage is
/// an error instead.
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
        checksum: ChecksumState::None,
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
    /// Whether the start time was reached.
    started: bool,
    /// Whether no damage was found.
    sound: bool,
    /// The checksum of the event that was read last.
    checksum: ChecksumState,
}

/// The part of a file that is shown, by offset.
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

    /// Shows one file; false when the stop time was reached.
    fn file(&mut self, path: &Path, bounds: Bounds) -> Result<bool, DumpError> {
        let mut reader = EventReader::open(path, EVENT_KEPT_MAX)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).as_bytes();
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
            let (event, description) = match self.next(&mut reader, &mut describer) {
                Ok(Some(found)) => found,
                Ok(None) => {
                    self.note_open_transaction(boundary, path, position)?;
                    break;
                }
                Err(DumpError::Input(error @ InspectError::Damaged { .. }))
                    if self.options.force =>
                {
                    boundary = Boundary::Outside;
                    if self.checksum != ChecksumState::Ok {
                        describer = Describer::new();
                    }
                    if !self.skip_damage(&mut reader, position, error, name)? {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(error),
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
                self.show(name, &event, &description, &reader.bytes())?;
                if event.header.event_type == EventType::TRANSACTION_PAYLOAD {
                    match self.payload(name, &event, &mut describer, &reader) {
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

    /// The next event and its description. A wrong checksum is an error here, and so is a body that
    /// cannot be read; the reader is then past the event. The first log_pos that is wrong is a
    /// warning, if the event's checksum is right or the next event follows it; otherwise an error.
    fn next(
        &mut self,
        reader: &mut EventReader,
        describer: &mut Describer,
    ) -> Result<Option<(FileEvent, Description)>, DumpError> {
        let position = reader.offset();
        self.checksum = ChecksumState::None;
        let Some(event) = reader.next_event()? else {
            return Ok(None);
        };
        self.checksum = event.checksum;
        let damaged = |cause: String| InspectError::damaged(reader.path(), position, cause);
        if event.checksum == ChecksumState::Bad {
            let cause = match event::verify_checksum(reader.event()) {
                Err(cause) if event.whole => cause.to_string(),
                _ => format!("{} event: checksum mismatch", event.header.event_type),
            };
            return Err(damaged(cause).into());
        }
        if !event.log_pos_is_right {
            let what = reader.wrong_log_pos(&event);
            if event.checksum != ChecksumState::Ok && !resync::is_followed(reader, &event)? {
                return Err(damaged(what).into());
            }
            // The tables of what is before it may not be its tables.
            *describer = Describer::new();
            if reader.accept_log_pos(&event) {
                self.warn(reader.path(), position, &what)?;
            }
        }
        match describer.describe(&reader.bytes(), &event) {
            Ok(description) => Ok(Some((event, description))),
            Err(cause) => Err(InspectError::damaged(reader.path(), position, cause).into()),
        }
    }

    fn skip_to(&mut self, reader: &mut EventReader, start: u64) -> Result<(), DumpError> {
        // The file's first event describes the format of the others.
        reader.next_event()?;
        let io = |cause| InspectError::io("read", reader.path(), cause);
        let len = reader.file().metadata().map_err(io)?.len();
        if start > len {
            let cause = format!("--start-position is past the end of the file ({len} bytes)");
            return Err(InspectError::damaged(reader.path(), start, cause).into());
        }
        Ok(reader.seek(start)?)
    }

    /// Reports damage at `position` and continues at the next event; false when there is none.
    fn skip_damage(
        &mut self,
        reader: &mut EventReader,
        position: u64,
        error: InspectError,
        name: &[u8],
    ) -> Result<bool, DumpError> {
        // If only an event's checksum or body is wrong, its end is still known: it is shown.
        let framed = reader.offset();
        self.damage(error)?;
        let is_framed = framed > position
            && (self.checksum == ChecksumState::Ok
                || resync::find_event(reader, framed)? == Some(framed));
        if is_framed {
            self.show_damaged(reader, position, name)?;
            return Ok(true);
        }
        match resync::find_event(reader, position + 1)? {
            Some(offset) => {
                reader.seek(offset)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn show_damaged(
        &mut self,
        reader: &EventReader,
        position: u64,
        name: &[u8],
    ) -> Result<(), DumpError> {
        let Ok(header) = event::EventHeader::parse(reader.event()) else {
            return Ok(());
        };
        let event = FileEvent {
            position,
            header,
            checksum: self.checksum,
            whole: false,
            log_pos_is_right: true,
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
        self.warn(path, position, "the file ends inside a transaction")
    }

    pub(super) fn warn(&mut self, path: &Path, offset: u64, what: &str) -> Result<(), DumpError> {
        self.out.flush().map_err(DumpError::Output)?;
        let text = format!("{}, offset {offset}: {what}", path.display());
        (self.remark)(Remark::Warning(text));
        Ok(())
    }

    /// Whether the stop time is reached; as in the servers' own tools, by any event.
    fn has_stopped(&self, event: &FileEvent) -> bool {
        let stop = self.options.stop_time;
        stop.is_some_and(|stop| i64::from(event.header.timestamp) >= stop)
    }

    /// Whether the start time is reached. From the first event that reaches it on, all do; a format
    /// description does not count, since it may be older or newer than what follows it.
    fn has_started(&mut self, event: &FileEvent) -> bool {
        let start = self.options.start_time;
        let reached = start.is_none_or(|start| i64::from(event.header.timestamp) >= start);
        self.started |= reached && event.header.event_type != EventType::FORMAT_DESCRIPTION;
        self.started || reached
    }
}

#[cfg(test)]
mod tests;
