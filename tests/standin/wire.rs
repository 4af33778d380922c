//! Packets of the client/server protocol on a blocking socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A connection and the number of its next packet.
pub struct Wire {
    pub stream: TcpStream,
    pub sequence: u8,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).ok();
        Wire {
            stream,
            sequence: 0,
        }
    }

    /// The next packet's payload; None at the connection's end.
    pub fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut header = [0; 4];
        let mut filled = 0;
        while filled < header.len() {
            match self.stream.read(&mut header[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => filled += more,
            }
        }
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        assert!(
            length < 0xFF_FFFF,
            "the stand-ins send and get short packets only"
        );
        self.sequence = header[3].wrapping_add(1);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(Some(payload))
    }

    pub fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let packet = self.packet(payload);
        self.stream.write_all(&packet)
    }

    /// The packet with its header; it counts as sent.
    pub fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u32;
        let mut packet = length.to_le_bytes()[..3].to_vec();
        packet.push(self.sequence);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }
}

/// A length-encoded string of fewer than 2^16 bytes.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        short @ ..251 => out.push(short as u8),
        long => {
            out.push(0xFC);
            out.extend((long as u16).to_le_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Takes a length-encoded string, or NULL, from the front.
pub fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_first().expect("a length");
    let (length, rest) = match first {
        0xFB => {
            *bytes = rest;
            return None;
        }
        0xFC => (usize::from(rest[0]) | usize::from(rest[1]) << 8, &rest[2..]),
        short => (usize::from(*short), rest),
    };
    let (text, tail) = rest.split_at(length);
    *bytes = tail;
    Some(text)
}

/// An error packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorPacket {
    pub code: u16,
    pub state: String,
    pub message: String,
}

impl ErrorPacket {
    pub fn new(code: u16, state: &str, message: impl Into<String>) -> ErrorPacket {
        ErrorPacket {
            code,
            state: state.to_owned(),
            message: message.into(),
        }
    }

    /// The error with which a source refuses a dump for good.
    pub fn fatal(message: impl Into<String>) -> ErrorPacket {
        ErrorPacket::new(1236, "HY000", message)
    }

    pub fn payload(&self) -> Vec<u8> {
        let mut payload = vec![0xFF];
        payload.extend(self.code.to_le_bytes());
        payload.push(b'#');
        payload.extend(self.state.bytes());
        payload.extend(self.message.bytes());
        payload
    }

    pub fn read(payload: &[u8]) -> ErrorPacket {
        let code = u16::from_le_bytes([payload[1], payload[2]]);
        let text = String::from_utf8_lossy(&payload[3..]).into_owned();
        match text.strip_prefix('#') {
            Some(text) => ErrorPacket::new(code, &text[..5], &text[5..]),
            None => ErrorPacket::new(code, "", text),
        }
    }
}
