//! The packets that end or replace a result: OK, ERR and EOF.

use crate::protocol::wire::{WireReader, put_length_encoded, put_length_encoded_bytes, text};
use crate::protocol::{InvalidMessage, ServerError};

/// Status flag: autocommit is on.
pub const SERVER_STATUS_AUTOCOMMIT: u16 = 2;
/// Status flag: another result follows this one.
pub const SERVER_MORE_RESULTS_EXISTS: u16 = 8;

pub(super) const HEADER_OK: u8 = 0x00;
const HEADER_EOF: u8 = 0xFE;
const HEADER_ERR: u8 = 0xFF;
/// A packet of this length or more that begins with 0xFE is a row, not an EOF.
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
    /// A message; after a login, it contains the certificate proof of MariaDB 11.4+.
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
        put_length_encoded(&mut out, self.affected_rows);
        put_length_encoded(&mut out, self.last_insert_id);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        // Documented as the rest of the packet, but servers write, and clients read, a length first.
        if !self.info.is_empty() {
            put_length_encoded_bytes(&mut out, &self.info);
        }
        out
    }

    /// Reads an OK packet.
    ///
    /// # Errors
    /// It is another packet, or truncated.
    pub fn decode(payload: &[u8]) -> Result<OkPacket, InvalidMessage> {
        let mut reader = WireReader::new("OK packet", payload);
        let header = reader.u8()?;
        if header != HEADER_OK {
            return Err(reader.invalid("the byte 0x00", format!("0x{header:02x}")));
        }
        let affected_rows = reader.length_encoded()?;
        let last_insert_id = reader.length_encoded()?;
        let status = reader.u16()?;
        let warnings = reader.u16()?;
        let mut with_length = reader.clone();
        let info = match with_length.length_encoded_bytes() {
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

/// The payload of an ERR packet. An empty SQLSTATE is omitted, as for clients that do not know it.
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

/// Reads an ERR packet. It has no SQLSTATE if the handshake was not answered yet.
///
/// # Errors
/// It is another packet, or truncated.
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

/// True for an EOF packet, e.g. at the end of a non-blocking dump.
pub fn is_eof(payload: &[u8]) -> bool {
    payload.first() == Some(&HEADER_EOF) && payload.len() < EOF_LENGTH_LIMIT
}

/// True for an ERR packet.
pub fn is_error(payload: &[u8]) -> bool {
    payload.first() == Some(&HEADER_ERR)
}
