//! The server's first packet.

use crate::protocol::ProtocolError;
use crate::protocol::capability::*;
use crate::protocol::response::parse_error;
use crate::protocol::wire::{WireReader, put_until_nul, text};

/// Length of the scramble of the greeting, in bytes, without its terminating NUL.
pub const SCRAMBLE_LENGTH: usize = 20;
const PROTOCOL_VERSION: u8 = 10;

/// The server's first packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The version string as sent, with MariaDB's `5.5.5-` prefix if there is one.
    pub server_version: String,
    /// The connection's id on the server.
    pub connection_id: u32,
    /// The scramble from which authentication answers are computed.
    pub scramble: [u8; SCRAMBLE_LENGTH],
    /// See [`crate::protocol::capability`].
    pub capabilities: u32,
    /// The server's default collation; its low byte.
    pub collation: u8,
    /// Status flags.
    pub status: u16,
    /// The server's default authentication plugin; empty if it names none.
    pub auth_plugin: String,
}

impl Greeting {
    /// The payload of the greeting.
    pub fn encode(&self) -> Vec<u8> {
        let (scramble_head, scramble_tail) = self.scramble.split_at(8);
        let [low_a, low_b, high_a, high_b] = self.capabilities.to_le_bytes();
        let mut out = vec![PROTOCOL_VERSION];
        put_until_nul(&mut out, self.server_version.as_bytes());
        out.extend_from_slice(&self.connection_id.to_le_bytes());
        out.extend_from_slice(scramble_head);
        out.push(0);
        out.extend_from_slice(&[low_a, low_b, self.collation]);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&[high_a, high_b]);
        out.push(SCRAMBLE_LENGTH as u8 + 1);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(scramble_tail);
        out.push(0);
        put_until_nul(&mut out, self.auth_plugin.as_bytes());
        out
    }

    /// Reads a greeting.
    ///
    /// # Errors
    /// The server's error if it sent an ERR packet instead (too many connections, host blocked,
    /// …); otherwise the fault in the greeting, e.g. a server before 4.1.
    pub fn decode(payload: &[u8]) -> Result<Greeting, ProtocolError> {
        if payload.first() == Some(&0xFF) {
            return Err(parse_error(payload)?.into());
        }
        let mut reader = WireReader::new("greeting", payload);
        let version = reader.u8()?;
        if version != PROTOCOL_VERSION {
            let expected = format!("protocol version {PROTOCOL_VERSION}");
            return Err(reader.invalid(expected, version.to_string()).into());
        }
        let server_version = text(reader.until_nul()?);
        let connection_id = reader.u32()?;
        let mut scramble = reader.bytes(8)?.to_vec();
        reader.u8()?;
        let capabilities_low = reader.u16()?;
        let collation = reader.u8()?;
        let status = reader.u16()?;
        let capabilities = u32::from(capabilities_low) | u32::from(reader.u16()?) << 16;
        let scramble_length = usize::from(reader.u8()?);
        // Ten reserved bytes; the last four are MariaDB's extended capabilities.
        reader.bytes(10)?;
        if capabilities & (CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION)
            != CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION
        {
            let found = format!("capabilities {capabilities:#010x}");
            return Err(reader.invalid("a server of 4.1 or later", found).into());
        }
        // At least 13 bytes, according to the documentation: 12 and a NUL.
        let tail_length = scramble_length.saturating_sub(8).max(13);
        scramble.extend_from_slice(reader.bytes(tail_length)?);
        let Some((scramble, _)) = scramble.split_first_chunk::<SCRAMBLE_LENGTH>() else {
            return Err(reader
                .invalid("a scramble of 20 bytes", "a shorter scramble")
                .into());
        };
        let auth_plugin = read_plugin(&mut reader, capabilities);
        Ok(Greeting {
            server_version,
            connection_id,
            scramble: *scramble,
            capabilities,
            collation,
            status,
            auth_plugin,
        })
    }
}

/// Servers before 5.5.10 omit the terminating NUL.
fn read_plugin(reader: &mut WireReader<'_>, capabilities: u32) -> String {
    if capabilities & CLIENT_PLUGIN_AUTH == 0 {
        return String::new();
    }
    let bytes = reader.rest();
    text(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::response::SERVER_STATUS_AUTOCOMMIT;

    fn greeting() -> Greeting {
        Greeting {
            server_version: "8.4.5-binrelay".into(),
            connection_id: 0x0102_0304,
            scramble: *b"abcdefghijklmnopqrst",
            capabilities: SERVER_SIDE | CLIENT_SSL,
            collation: 255,
            status: SERVER_STATUS_AUTOCOMMIT,
            auth_plugin: "caching_sha2_password".into(),
        }
    }

    #[test]
    fn a_greeting_round_trips_and_is_an_error_when_truncated() {
        let bytes = greeting().encode();
        assert_eq!(Greeting::decode(&bytes).unwrap(), greeting());
        // The plugin's name is the last field and may lack its NUL.
        let plugin_start = bytes.len() - "caching_sha2_password".len() - 1;
        for cut in 0..plugin_start {
            assert!(Greeting::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_greeting_without_plugins_round_trips() {
        let mut old = greeting();
        old.capabilities &= !CLIENT_PLUGIN_AUTH;
        old.auth_plugin = String::new();
        assert_eq!(Greeting::decode(&old.encode()).unwrap(), old);
    }

    #[test]
    fn an_error_in_place_of_a_greeting_needs_no_sqlstate() {
        let mut payload = vec![0xFF, 0x10, 0x04];
        payload.extend_from_slice(b"Too many connections");
        let Err(ProtocolError::Server(error)) = Greeting::decode(&payload) else {
            panic!("expected the server's error")
        };
        assert_eq!((error.code, error.sqlstate.as_str()), (1040, "HY000"));
        assert_eq!(error.message, "Too many connections");
    }

    #[test]
    fn an_old_protocol_version_is_refused() {
        let mut bytes = greeting().encode();
        bytes[0] = 9;
        let error = Greeting::decode(&bytes).unwrap_err().to_string();
        assert!(
            error.contains("expected protocol version 10, found 9"),
            "{error}"
        );
    }
}
