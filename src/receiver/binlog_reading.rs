//! Reading a source's binlog up to its end, as transactions that are not recorded.

use super::connect::{connect, within};
use super::dump_position::{Change, DumpPosition};
use super::dump_request::{dump_file, prepare};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::listening::Listening;
use super::options::ReceiverOptions;
use super::packets::{DumpPart, next_part};
use crate::binlog::EventType;
use crate::binlog::event::EventHeader;
use crate::connection::{Connection, Phase};
use crate::position::SourcePosition;
use crate::protocol::command::BINLOG_DUMP_NON_BLOCK;
use crate::transaction::{Assembler, AssemblerOptions, TransactionBatch};

/// Passes the transactions of the binlog of the server `expected` from `from` up to its end on to `accept`.
/// Connects for that: a connection cannot be reused after a dump.
///
/// # Errors
/// When the source cannot be read, or has no transactions without GTIDs.
pub(super) async fn read_binlog(
    options: &ReceiverOptions,
    expected: &SourceFacts,
    from: &SourcePosition,
    accept: &mut (dyn FnMut(&TransactionBatch) + Send),
) -> Result<(), ReceiverError> {
    let (mut connection, facts) = connect(options).await?;
    facts.check_server(expected)?;
    prepare(&mut connection, options, &facts).await?;
    let dump = dump_file(options, &facts, BINLOG_DUMP_NON_BLOCK, from)?;
    within(options.config.read_timeout, async {
        Ok(connection.write_command(&dump).await?)
    })
    .await?;
    connection.set_phase(Phase::Dump);
    let mut reading = Reading {
        options,
        facts: &facts,
        position: DumpPosition::new(),
        assembler: None,
        skips_large: false,
    };
    reading.run(&mut connection, accept).await
}

struct Reading<'a> {
    options: &'a ReceiverOptions,
    facts: &'a SourceFacts,
    position: DumpPosition,
    /// `None` before the first format description.
    assembler: Option<Assembler>,
    /// Whether the event that arrives in parts is a control event.
    skips_large: bool,
}

impl Reading<'_> {
    async fn run(
        &mut self,
        connection: &mut Connection,
        accept: &mut (dyn FnMut(&TransactionBatch) + Send),
    ) -> Result<(), ReceiverError> {
        let mut listening = Listening::new(self.options.config.read_timeout);
        loop {
            while let Some(part) = next_part(connection, &self.position)? {
                if matches!(part, DumpPart::EndOfDump) {
                    return Ok(());
                }
                self.part(part)?;
                if let Some(batch) = self.assembler.as_mut().and_then(Assembler::take_batch) {
                    accept(&batch);
                    batch.recycle();
                }
            }
            listening.heard(connection);
            listening.fill(connection).await?;
        }
    }

    /// Handles an event, or a part of one.
    fn part(&mut self, part: DumpPart<'_>) -> Result<(), ReceiverError> {
        let at = self.position.at.clone();
        let (header, event) = match part {
            DumpPart::Event(header, event) | DumpPart::Begin(header, event)
                if header.event_type.is_control() =>
            {
                return self.control(&header, event);
            }
            DumpPart::Continue(_) if self.skips_large => return Ok(()),
            DumpPart::End(_) if self.skips_large => {
                self.skips_large = false;
                return Ok(());
            }
            DumpPart::EndOfDump => return Ok(()),
            DumpPart::Event(header, event) => (Some((header, true)), event),
            DumpPart::Begin(header, head) => (Some((header, false)), head),
            DumpPart::Continue(bytes) | DumpPart::End(bytes) => (None, bytes),
        };
        let is_end = matches!(part, DumpPart::End(_));
        let Some(assembler) = &mut self.assembler else {
            return Ok(());
        };
        let assembled = match header {
            Some((header, is_whole)) => {
                let after = self.position.after(&header);
                self.position.at.offset = after;
                match is_whole {
                    true => assembler.event(event, after),
                    false => assembler.large_part(event),
                }
            }
            None => assembler.large_part(event).and_then(|()| match is_end {
                true => assembler.end_large(self.position.at.offset),
                false => Ok(()),
            }),
        };
        assembled.map_err(|cause| ReceiverError::Transaction { at, cause })
    }

    /// Applies a control event.
    fn control(&mut self, header: &EventHeader, event: &[u8]) -> Result<(), ReceiverError> {
        if header.event_size as usize != event.len() {
            // A list of GTIDs.
            self.position.at.offset = self.position.after(header);
            self.skips_large = true;
            return Ok(());
        }
        if header.event_type == EventType::HEARTBEAT {
            return Ok(());
        }
        let change = self.position.control(header, event)?;
        let Some(format) = self.position.format.clone() else {
            return Ok(());
        };
        let assembler = self.assembler.get_or_insert_with(|| {
            let options = AssemblerOptions {
                source: self.options.number,
                source_server_id: self.facts.server_id,
                source_first_timestamp: 0,
                has_gtids: self.facts.has_gtids,
                first_run: 0,
                filter: self.facts.filter(&self.options.config.filter),
                spill_dir: self.options.spill_dir.clone(),
                spill_size: self.options.spill_size,
            };
            Assembler::new(options, format.clone())
        });
        if matches!(change, Change::File | Change::Format) {
            let at = &self.position.at;
            assembler.set_format(format);
            assembler.start_file(at.file.clone(), at.offset);
        }
        Ok(())
    }
}
