//! Reading the answer to a query, as a client.

use std::borrow::Cow;

use super::packets::{
    HEADER_OK, OkPacket, SERVER_MORE_RESULTS_EXISTS, is_eof, is_error, parse_error,
};
use crate::protocol::wire::{WireReader, text};
use crate::protocol::{InvalidMessage, ProtocolError};

/// The first byte of a request for a file of the client.
const HEADER_LOCAL_INFILE: u8 = 0xFB;

/// A text result, as a client receives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextResult {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows of one value per column; None is NULL.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

impl TextResult {
    /// The first column of the first row as text; None if there is no row, or it is NULL.
    pub fn single(&self) -> Option<Cow<'_, str>> {
        self.rows
            .first()?
            .first()?
            .as_deref()
            .map(String::from_utf8_lossy)
    }

    /// The index of a column by its name, ignoring case.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
    }

    /// A value by row and column name as text; None if there is no such row or
    /// column, or the value is NULL.
    pub fn value(&self, row: usize, column: &str) -> Option<Cow<'_, str>> {
        let column = self.column(column)?;
        self.rows
            .get(row)?
            .get(column)?
            .as_deref()
            .map(String::from_utf8_lossy)
    }
}

/// The largest result that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultLimits {
    /// Columns.
    pub columns_max: u64,
    /// Rows.
    pub rows_max: usize,
    /// The memory of the whole result, in bytes; no packet may be larger, either. A NULL is one byte on the
    /// wire, but more in memory.
    pub bytes_max: usize,
}

impl Default for ResultLimits {
    fn default() -> Self {
        ResultLimits {
            columns_max: 256,
            rows_max: 100_000,
            bytes_max: 32 << 20,
        }
    }
}

/// The complete answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryResponse {
    /// No rows.
    Ok(OkPacket),
    /// Rows.
    Rows(TextResult),
}

/// The size of a value, a row or a column's name in memory beside its bytes.
const VALUE_SIZE: usize = size_of::<Option<Vec<u8>>>();

#[derive(Debug)]
enum ReadStep {
    First,
    /// This many column definitions follow.
    Columns(u64),
    ColumnsEnd,
    Rows,
}

/// Assembles the answer to a query from its packets.
#[derive(Debug)]
pub struct QueryResponseReader {
    limits: ResultLimits,
    bytes: usize,
    step: ReadStep,
    result: TextResult,
}

impl QueryResponseReader {
    /// A reader at the answer's first packet.
    pub fn new(limits: ResultLimits) -> QueryResponseReader {
        QueryResponseReader {
            limits,
            bytes: 0,
            step: ReadStep::First,
            result: TextResult::default(),
        }
    }

    /// Adds the next packet; Some when the answer is complete.
    ///
    /// # Errors
    /// The server's error, an invalid packet, or a result beyond the limits. Only after the
    /// server's error can the connection still be used.
    pub fn push(&mut self, packet: &[u8]) -> Result<Option<QueryResponse>, ProtocolError> {
        if is_error(packet) {
            return Err(parse_error(packet)?.into());
        }
        let reader = WireReader::new("query response", packet);
        let in_memory = match self.step {
            ReadStep::Rows => VALUE_SIZE.saturating_mul(self.result.columns.len() + 1),
            _ => VALUE_SIZE,
        };
        self.bytes = self.bytes.saturating_add(packet.len() + in_memory);
        if self.bytes > self.limits.bytes_max {
            return Err(too_much(&reader, self.limits.bytes_max, "bytes").into());
        }
        match self.step {
            ReadStep::First => self.push_first(packet),
            ReadStep::Columns(left) => {
                self.result.columns.push(parse_column(packet)?);
                let left = left.saturating_sub(1);
                self.step = if left == 0 {
                    ReadStep::ColumnsEnd
                } else {
                    ReadStep::Columns(left)
                };
                Ok(None)
            }
            ReadStep::ColumnsEnd if is_eof(packet) => {
                self.step = ReadStep::Rows;
                Ok(None)
            }
            ReadStep::ColumnsEnd => Err(reader
                .invalid("EOF after the columns", "another packet")
                .into()),
            ReadStep::Rows if is_eof(packet) => {
                check_last(&reader, parse_eof_status(packet)?)?;
                Ok(Some(QueryResponse::Rows(std::mem::take(&mut self.result))))
            }
            ReadStep::Rows => self.push_row(packet),
        }
    }

    fn push_first(&mut self, packet: &[u8]) -> Result<Option<QueryResponse>, ProtocolError> {
        let mut reader = WireReader::new("query response", packet);
        match packet.first() {
            Some(&HEADER_OK) => {
                let ok = OkPacket::decode(packet)?;
                check_last(&reader, ok.status)?;
                return Ok(Some(QueryResponse::Ok(ok)));
            }
            Some(&HEADER_LOCAL_INFILE) => {
                return Err(reader
                    .invalid(
                        "OK or columns",
                        "a request for a local file (LOAD DATA LOCAL)",
                    )
                    .into());
            }
            _ => {}
        }
        let count = reader.length_encoded()?;
        reader.finish()?;
        if count > self.limits.columns_max {
            let limit = usize::try_from(self.limits.columns_max).unwrap_or(usize::MAX);
            return Err(too_much(&reader, limit, "columns").into());
        }
        self.step = ReadStep::Columns(count);
        Ok(None)
    }

    fn push_row(&mut self, packet: &[u8]) -> Result<Option<QueryResponse>, ProtocolError> {
        let mut reader = WireReader::new("result row", packet);
        if self.result.rows.len() >= self.limits.rows_max {
            return Err(too_much(&reader, self.limits.rows_max, "rows").into());
        }
        let mut row = Vec::with_capacity(self.result.columns.len());
        for _ in 0..self.result.columns.len() {
            row.push(reader.length_encoded_bytes_or_null()?.map(<[u8]>::to_vec));
        }
        reader.finish()?;
        self.result.rows.push(row);
        Ok(None)
    }
}

fn too_much(reader: &WireReader<'_>, limit: usize, unit: &str) -> InvalidMessage {
    reader.invalid(format!("at most {limit} {unit} in a result"), "more")
}

fn check_last(reader: &WireReader<'_>, status: u16) -> Result<(), InvalidMessage> {
    if status & SERVER_MORE_RESULTS_EXISTS != 0 {
        return Err(reader.invalid("a single result", "a status that announces more"));
    }
    Ok(())
}

fn parse_eof_status(packet: &[u8]) -> Result<u16, InvalidMessage> {
    let mut reader = WireReader::new("EOF packet", packet);
    reader.u8()?;
    reader.u16()?;
    reader.u16()
}

/// The column's name in a `Protocol::ColumnDefinition41`.
fn parse_column(packet: &[u8]) -> Result<String, InvalidMessage> {
    let mut reader = WireReader::new("column definition", packet);
    // Catalog, schema, table alias and table.
    for _ in 0..4 {
        reader.length_encoded_bytes()?;
    }
    let name = text(reader.length_encoded_bytes()?);
    let _original_name = reader.length_encoded_bytes()?;
    Ok(name)
}
