//! Answers to commands: OK, ERR, EOF and text results. CLIENT_DEPRECATE_EOF and
//! CLIENT_SESSION_TRACK are never negotiated, so these are the classic forms.

use super::framing::put_packet;
use super::handshake::{COLLATION_UTF8MB4, SERVER_STATUS_AUTOCOMMIT};
use super::wire::{WireReader, put_lenenc_bytes, put_lenenc_int, text};
use super::{InvalidMessage, ProtocolError, ServerError};
use std::borrow::Cow;

/// Status flag: another result follows this one.
pub const SERVER_MORE_RESULTS_EXISTS: u16 = 8;

const HEADER_OK: u8 = 0x00;
const HEADER_LOCAL_INFILE: u8 = 0xFB;
const HEADER_EOF: u8 = 0xFE;
const HEADER_ERR: u8 = 0xFF;
/// From this length on a packet beginning with 0xFE is a row, not an EOF.
const EOF_LENGTH_LIMIT: usize = 9;

/// An OK packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OkPacket {
    /// Rows that the statement changed.
    pub affected_rows: u64,
    /// The last AUTO_INCREMENT value.
    pub last_insert_id: u64,
    /// Status flags.
    pub status: u16,
    /// Number of warnings.
    pub warnings: u16,
    /// Text for people; after a login, MariaDB 11.4+ keeps its certificate proof here.
    pub info: Vec<u8>,
}

impl Default for OkPacket {
    fn default() -> Self {
        OkPacket {
            affected_rows: 0,
            last_insert_id: 0,
            status: SERVER_STATUS_AUTOCOMMIT,
            warnings: 0,
            info: Vec::new(),
        }
    }
}

impl OkPacket {
    /// The payload of the packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![HEADER_OK];
        put_lenenc_int(&mut out, self.affected_rows);
        put_lenenc_int(&mut out, self.last_insert_id);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        // Documented as the rest of the packet; servers write, and clients read, a length too.
        if !self.info.is_empty() {
            put_lenenc_bytes(&mut out, &self.info);
        }
        out
    }

    /// Reads an OK packet.
    ///
    /// # Errors
    /// Another packet, or one that is cut off.
    pub fn decode(payload: &[u8]) -> Result<OkPacket, InvalidMessage> {
        let mut reader = WireReader::new("OK packet", payload);
        let header = reader.u8()?;
        if header != HEADER_OK {
            return Err(reader.invalid("the byte 0x00", format!("0x{header:02x}")));
        }
        let affected_rows = reader.lenenc_int()?;
        let last_insert_id = reader.lenenc_int()?;
        let status = reader.u16()?;
        let warnings = reader.u16()?;
        let mut with_length = reader.clone();
        let info = match with_length.lenenc_bytes() {
            Ok(info) if with_length.is_empty() => info,
            _ => reader.rest(),
        };
        Ok(OkPacket {
            affected_rows,
            last_insert_id,
            status,
            warnings,
            info: info.to_vec(),
        })
    }
}

/// The payload of an ERR packet. An empty SQLSTATE is left out, as for clients that know none.
pub fn encode_error(error: &ServerError) -> Vec<u8> {
    let mut out = vec![HEADER_ERR];
    out.extend_from_slice(&error.code.to_le_bytes());
    if !error.sqlstate.is_empty() {
        let filled = error.sqlstate.bytes().chain(std::iter::repeat(b'0'));
        out.push(b'#');
        out.extend(filled.take(5));
    }
    out.extend_from_slice(error.message.as_bytes());
    out
}

/// Reads an ERR packet. Before the handshake is answered there is no SQLSTATE in it.
///
/// # Errors
/// Another packet, or one that is cut off.
pub fn parse_error(payload: &[u8]) -> Result<ServerError, InvalidMessage> {
    let mut reader = WireReader::new("ERR packet", payload);
    let header = reader.u8()?;
    if header != HEADER_ERR {
        return Err(reader.invalid("the byte 0xff", format!("0x{header:02x}")));
    }
    let code = reader.u16()?;
    let mut with_state = reader.clone();
    let sqlstate = match with_state.u8() {
        Ok(b'#') => {
            let state = text(with_state.bytes(5)?);
            reader = with_state;
            state
        }
        _ => "HY000".to_owned(),
    };
    Ok(ServerError {
        code,
        sqlstate,
        message: text(reader.rest()),
    })
}

/// The payload of an EOF packet.
pub fn encode_eof(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![HEADER_EOF, 0, 0, low, high]
}

/// True for an EOF packet, e.g. at the end of a dump that does not wait.
pub fn is_eof(payload: &[u8]) -> bool {
    payload.first() == Some(&HEADER_EOF) && payload.len() < EOF_LENGTH_LIMIT
}

/// True for an ERR packet.
pub fn is_error(payload: &[u8]) -> bool {
    payload.first() == Some(&HEADER_ERR)
}

/// A text result as a client sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextResult {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows of one value per column; None is NULL.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

impl TextResult {
    /// The first column of the first row as text; None where there is no row, or it is NULL.
    pub fn single(&self) -> Option<Cow<'_, str>> {
        self.rows
            .first()?
            .first()?
            .as_deref()
            .map(String::from_utf8_lossy)
    }

    /// The index of a column by its name, in any case.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
    }

    /// A value by row and column name as text; None where there is no such place, or it is NULL.
    pub fn value(&self, row: usize, column: &str) -> Option<Cow<'_, str>> {
        let column = self.column(column)?;
        self.rows
            .get(row)?
            .get(column)?
            .as_deref()
            .map(String::from_utf8_lossy)
    }
}

/// How much of a result a client takes before it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultLimits {
    /// Columns.
    pub columns_max: u64,
    /// Rows.
    pub rows_max: usize,
    /// Payload of all packets together, in bytes.
    pub bytes_max: usize,
}

impl Default for ResultLimits {
    fn default() -> Self {
        ResultLimits {
            columns_max: 4096,
            rows_max: 100_000,
            bytes_max: 64 << 20,
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

#[derive(Debug)]
enum ReadStep {
    First,
    /// So many column definitions are to come.
    Columns(u64),
    ColumnsEnd,
    Rows,
}

/// Puts the answer to a query together from its packets.
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

    /// Takes the next packet; Some when the answer is complete.
    ///
    /// # Errors
    /// The server's error, an invalid packet, or a result beyond the limits. The connection can
    /// only be used further after the server's error.
    pub fn push(&mut self, packet: &[u8]) -> Result<Option<QueryResponse>, ProtocolError> {
        if is_error(packet) {
            return Err(parse_error(packet)?.into());
        }
        let reader = WireReader::new("query response", packet);
        self.bytes = self.bytes.saturating_add(packet.len());
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
            ReadStep::ColumnsEnd => Err(reader.invalid("EOF after the columns", "another").into()),
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
                    .invalid("OK or columns", "a request for a local file")
                    .into());
            }
            _ => {}
        }
        let count = reader.lenenc_int()?;
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
            row.push(reader.lenenc_bytes_or_null()?.map(<[u8]>::to_vec));
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
        return Err(reader.invalid("one result", "a status that announces more"));
    }
    Ok(())
}

fn parse_eof_status(packet: &[u8]) -> Result<u16, InvalidMessage> {
    let mut reader = WireReader::new("EOF packet", packet);
    reader.u8()?;
    reader.u16()?;
    reader.u16()
}

/// The column's name out of a `Protocol::ColumnDefinition41`.
fn parse_column(packet: &[u8]) -> Result<String, InvalidMessage> {
    let mut reader = WireReader::new("column definition", packet);
    // Catalog, schema, table alias and table.
    for _ in 0..4 {
        reader.lenenc_bytes()?;
    }
    let name = text(reader.lenenc_bytes()?);
    let _original_name = reader.lenenc_bytes()?;
    Ok(name)
}

/// How a column of a served result is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// VAR_STRING in utf8mb4.
    Text,
    /// LONGLONG.
    Integer,
}

/// A column of a served result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// The column's name.
    pub name: &'a str,
    /// Its type.
    pub kind: ColumnKind,
}

impl<'a> Column<'a> {
    /// A VAR_STRING column.
    pub fn text(name: &'a str) -> Column<'a> {
        Column {
            name,
            kind: ColumnKind::Text,
        }
    }

    /// A LONGLONG column.
    pub fn integer(name: &'a str) -> Column<'a> {
        Column {
            name,
            kind: ColumnKind::Integer,
        }
    }

    fn encode(&self) -> Vec<u8> {
        const MYSQL_TYPE_LONGLONG: u8 = 8;
        const MYSQL_TYPE_VAR_STRING: u8 = 253;
        const COLLATION_BINARY: u8 = 63;
        const BINARY_FLAG: u16 = 128;
        let (kind, collation, length, flags) = match self.kind {
            ColumnKind::Text => (MYSQL_TYPE_VAR_STRING, COLLATION_UTF8MB4, 4096u32, 0),
            ColumnKind::Integer => (MYSQL_TYPE_LONGLONG, COLLATION_BINARY, 21, BINARY_FLAG),
        };
        let mut out = Vec::new();
        put_lenenc_bytes(&mut out, b"def");
        // Schema, table alias and table.
        out.extend_from_slice(&[0, 0, 0]);
        put_lenenc_bytes(&mut out, self.name.as_bytes());
        put_lenenc_bytes(&mut out, b"");
        out.push(12);
        out.extend_from_slice(&u16::from(collation).to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.push(kind);
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[0, 0, 0]);
        out
    }
}

/// Appends the packets of a text result to `out`, counting `sequence` on. A row with fewer values
/// than columns is filled up with NULL, so that what is sent is always well-formed.
pub fn put_text_result(
    out: &mut Vec<u8>,
    sequence: &mut u8,
    columns: &[Column<'_>],
    rows: &[Vec<Option<Vec<u8>>>],
) {
    put_columns(out, sequence, columns);
    put_rows(out, sequence, columns.len(), rows);
    put_packet(out, sequence, &encode_eof(SERVER_STATUS_AUTOCOMMIT));
}

/// Appends the packets before a text result's first row.
pub fn put_columns(out: &mut Vec<u8>, sequence: &mut u8, columns: &[Column<'_>]) {
    let mut packet = Vec::new();
    put_lenenc_int(&mut packet, columns.len() as u64);
    put_packet(out, sequence, &packet);
    for column in columns {
        put_packet(out, sequence, &column.encode());
    }
    put_packet(out, sequence, &encode_eof(SERVER_STATUS_AUTOCOMMIT));
}

/// Appends rows of a text result that has so many columns.
pub fn put_rows(
    out: &mut Vec<u8>,
    sequence: &mut u8,
    columns: usize,
    rows: &[Vec<Option<Vec<u8>>>],
) {
    let mut packet = Vec::new();
    for row in rows {
        packet.clear();
        let values = row
            .iter()
            .map(Option::as_deref)
            .chain(std::iter::repeat(None));
        for value in values.take(columns) {
            match value {
                Some(value) => put_lenenc_bytes(&mut packet, value),
                None => packet.push(0xFB),
            }
        }
        put_packet(out, sequence, &packet);
    }
}

#[cfg(test)]
mod tests;
