//! Whether an event begins at a position of a source's file, and which file is the oldest.
//!
//! A dump that is requested from within an event is sent as if it were events: its bytes look like damage.
//! Only reading the file from its beginning distinguishes that from real damage.

use super::connect::connect;
use super::dump_position::DumpPosition;
use super::dump_request::{FIRST_EVENT, request_to_end};
use super::error::ReceiverError;
use super::listening::Listening;
use super::options::ReceiverOptions;
use super::packets::{DumpPart, next_part};
use crate::connection::Connection;
use crate::position::SourcePosition;

/// Whether an event of the source's file begins at `position`, or the file ends there. Reads the file up to it.
///
/// # Errors
/// When the source cannot be asked, or the file cannot be read up to the position.
pub(super) async fn begins_event(
    options: &ReceiverOptions,
    position: &SourcePosition,
) -> Result<bool, ReceiverError> {
    let mut connection = dump_from(
        options,
        &SourcePosition::new(position.file.clone(), FIRST_EVENT),
    )
    .await?;
    let mut listening = Listening::new(options.config.read_timeout);
    let mut reached = DumpPosition::new();
    loop {
        while let Some(part) = next_part(&mut connection, &reached)? {
            match part {
                DumpPart::Event(header, event) if header.event_type.is_control() => {
                    reached.control(&header, event)?;
                }
                DumpPart::Event(header, event) => {
                    reached.verify(&header, event)?;
                    reached.pass(reached.after(&header));
                }
                DumpPart::Begin(header, _) => reached.pass(reached.after(&header)),
                DumpPart::Continue(_) | DumpPart::End(_) => continue,
                DumpPart::EndOfDump => return Ok(false),
            }
            let has_left = !reached.at.file.is_empty() && reached.at.file != position.file;
            if has_left || reached.at.offset >= position.offset {
                return Ok(reached.at == *position);
            }
        }
        listening.heard(&connection);
        listening.fill(&mut connection).await?;
    }
}

/// The beginning of the source's oldest file.
///
/// # Errors
/// When the source cannot be asked, or sends no file.
pub(super) async fn oldest_file(
    options: &ReceiverOptions,
) -> Result<SourcePosition, ReceiverError> {
    let mut connection = dump_from(options, &SourcePosition::new("", FIRST_EVENT)).await?;
    let mut listening = Listening::new(options.config.read_timeout);
    let mut reached = DumpPosition::new();
    loop {
        while let Some(part) = next_part(&mut connection, &reached)? {
            match part {
                DumpPart::Event(header, event) if header.event_type.is_control() => {
                    reached.control(&header, event)?;
                }
                DumpPart::EndOfDump => return Err(ReceiverError::Ended { at: reached.at }),
                _ => {}
            }
            if !reached.at.file.is_empty() {
                return Ok(SourcePosition::new(reached.at.file, FIRST_EVENT));
            }
        }
        listening.heard(&connection);
        listening.fill(&mut connection).await?;
    }
}

/// Requests a dump over a connection of its own.
async fn dump_from(
    options: &ReceiverOptions,
    from: &SourcePosition,
) -> Result<Connection, ReceiverError> {
    let (mut connection, facts) = connect(options).await?;
    request_to_end(&mut connection, options, &facts, from).await?;
    Ok(connection)
}
