//! The first packets of a connection: the server's greeting (`Protocol::HandshakeV10`), the
//! client's answer (`Protocol::HandshakeResponse41`) and its request for TLS
//! (`Protocol::SSLRequest`).

use super::capability::*;
use super::response::parse_error;
use super::wire::{WireReader, put_lenenc_bytes, put_lenenc_int, put_until_nul, text};
use super::{InvalidMessage, ProtocolError};
use zeroize::Zeroizing;

/// Length of the scramble of the greeting, in bytes, without its closing NUL.
pub const SCRAMBLE_LENGTH: usize = 20;
/// Length of an SSL request's payload, in bytes.
pub const SSL_REQUEST_LENGTH: usize = 32;
/// utf8mb4_general_ci: known to every server from 5.5.
pub const COLLATION_UTF8MB4: u8 = 45;
/// Status flag: autocommit is on.
pub const SERVER_STATUS_AUTOCOMMIT: u16 = 2;

const PROTOCOL_VERSION: u8 = 10;

/// What the server says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The version string as sent, with MariaDB's `5.5.5-` prefix if there is one.
    pub server_version: String,
    /// The connection's id on the server.
    pub connection_id: u32,
    /// The scramble that answers are computed from: [`SCRAMBLE_LENGTH`] bytes.
    pub scramble: [u8; SCRAMBLE_LENGTH],
    /// See [`super::capability`].
    pub capabilities: u32,
    /// The server's default collation; its low byte.
    pub collation: u8,
    /// Status flags.
    pub status: u16,
    /// The authentication plugin that the server would like; empty where it names none.
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
    /// The server's refusal where it sent an ERR packet instead (too many connections, host
    /// blocked, …); otherwise what is wrong with the greeting, e.g. a server before 4.1.
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
        // Ten reserved bytes; MariaDB keeps its extended capabilities in the last four.
        reader.bytes(10)?;
        if capabilities & (CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION)
            != CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION
        {
            let found = format!("capabilities {capabilities:#010x}");
            return Err(reader.invalid("a server of 4.1 or later", found).into());
        }
        // 13 bytes at least, says the documentation: 12 and a NUL.
        let tail_length = scramble_length.saturating_sub(8).max(13);
        scramble.extend_from_slice(reader.bytes(tail_length)?);
        let Some((scramble, _)) = scramble.split_first_chunk::<SCRAMBLE_LENGTH>() else {
            return Err(reader
                .invalid("a scramble of 20 bytes", "a shorter one")
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

/// Servers before 5.5.10 leave the closing NUL out.
fn read_plugin(reader: &mut WireReader<'_>, capabilities: u32) -> String {
    if capabilities & CLIENT_PLUGIN_AUTH == 0 {
        return String::new();
    }
    let bytes = reader.rest();
    text(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// What the client answers to the greeting.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// See [`super::capability`].
    pub capabilities: u32,
    /// The largest packet that the client takes, in bytes.
    pub packet_length_max: u32,
    /// The connection's collation; its low byte.
    pub collation: u8,
    /// The user's name.
    pub user: String,
    /// The authentication plugin's answer. Zeroed when dropped.
    pub auth_response: Zeroizing<Vec<u8>>,
    /// The default database, where one was named.
    pub database: Option<String>,
    /// The plugin that computed `auth_response`; empty where the client names none.
    pub auth_plugin: String,
    /// Connection attributes (`_client_name`, `program_name`, …).
    pub attributes: Vec<(String, String)>,
}

impl std::fmt::Debug for HandshakeResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandshakeResponse")
            .field("capabilities", &format_args!("{:#010x}", self.capabilities))
            .field("user", &self.user)
            .field("database", &self.database)
            .field("auth_plugin", &self.auth_plugin)
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

impl HandshakeResponse {
    /// The payload of the response, in the form that `capabilities` promise.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(256));
        put_response_head(
            &mut out,
            self.capabilities,
            self.packet_length_max,
            self.collation,
        );
        put_until_nul(&mut out, self.user.as_bytes());
        if self.capabilities & CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA != 0 {
            put_lenenc_bytes(&mut out, &self.auth_response);
        } else {
            // One length byte; no plugin's first answer is longer than 64.
            let length = u8::try_from(self.auth_response.len()).unwrap_or(u8::MAX);
            out.push(length);
            out.extend(self.auth_response.iter().take(usize::from(length)));
        }
        if self.capabilities & CLIENT_CONNECT_WITH_DB != 0 {
            put_until_nul(
                &mut out,
                self.database.as_deref().unwrap_or_default().as_bytes(),
            );
        }
        if self.capabilities & CLIENT_PLUGIN_AUTH != 0 {
            put_until_nul(&mut out, self.auth_plugin.as_bytes());
        }
        if self.capabilities & CLIENT_CONNECT_ATTRS != 0 {
            let mut pairs = Vec::new();
            for (key, value) in &self.attributes {
                put_lenenc_bytes(&mut pairs, key.as_bytes());
                put_lenenc_bytes(&mut pairs, value.as_bytes());
            }
            put_lenenc_int(&mut out, pairs.len() as u64);
            out.extend_from_slice(&pairs);
        }
        out
    }

    /// Reads a handshake response. Bytes after its known fields are ignored: clients with other
    /// capabilities put their own there.
    ///
    /// # Errors
    /// A message that is cut off or of a client before 4.1.
    pub fn decode(payload: &[u8]) -> Result<HandshakeResponse, InvalidMessage> {
        let mut reader = WireReader::new("handshake response", payload);
        let (capabilities, packet_length_max, collation) = read_response_head(&mut reader)?;
        let user = text(reader.until_nul()?);
        let auth_response = if capabilities & CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA != 0 {
            reader.lenenc_bytes()?
        } else if capabilities & CLIENT_SECURE_CONNECTION != 0 {
            reader.short_bytes()?
        } else {
            reader.until_nul()?
        };
        let auth_response = Zeroizing::new(auth_response.to_vec());
        let mut database = None;
        if capabilities & CLIENT_CONNECT_WITH_DB != 0 && !reader.is_empty() {
            database = Some(text(reader.until_nul()?)).filter(|name| !name.is_empty());
        }
        let mut auth_plugin = String::new();
        if capabilities & CLIENT_PLUGIN_AUTH != 0 && !reader.is_empty() {
            auth_plugin = text(reader.until_nul()?);
        }
        let mut attributes = Vec::new();
        if capabilities & CLIENT_CONNECT_ATTRS != 0 && !reader.is_empty() {
            let mut pairs = WireReader::new("connection attributes", reader.lenenc_bytes()?);
            while !pairs.is_empty() {
                let key = text(pairs.lenenc_bytes()?);
                attributes.push((key, text(pairs.lenenc_bytes()?)));
            }
        }
        Ok(HandshakeResponse {
            capabilities,
            packet_length_max,
            collation,
            user,
            auth_response,
            database,
            auth_plugin,
            attributes,
        })
    }
}

/// The client's request to go on with TLS: the head of a handshake response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SslRequest {
    /// See [`super::capability`].
    pub capabilities: u32,
    /// The largest packet that the client takes, in bytes.
    pub packet_length_max: u32,
    /// The connection's collation; its low byte.
    pub collation: u8,
}

impl SslRequest {
    /// The payload of the request.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SSL_REQUEST_LENGTH);
        put_response_head(
            &mut out,
            self.capabilities,
            self.packet_length_max,
            self.collation,
        );
        out
    }

    /// Reads a request for TLS; None where the payload is not one (then it should be a handshake
    /// response).
    ///
    /// # Errors
    /// A message that is cut off.
    pub fn decode(payload: &[u8]) -> Result<Option<SslRequest>, InvalidMessage> {
        let mut reader = WireReader::new("SSL request", payload);
        let (capabilities, packet_length_max, collation) = read_response_head(&mut reader)?;
        if capabilities & CLIENT_SSL == 0 || !reader.is_empty() {
            return Ok(None);
        }
        Ok(Some(SslRequest {
            capabilities,
            packet_length_max,
            collation,
        }))
    }
}

fn put_response_head(out: &mut Vec<u8>, capabilities: u32, packet_length_max: u32, collation: u8) {
    out.extend_from_slice(&capabilities.to_le_bytes());
    out.extend_from_slice(&packet_length_max.to_le_bytes());
    out.push(collation);
    out.extend_from_slice(&[0; 23]);
}

fn read_response_head(reader: &mut WireReader<'_>) -> Result<(u32, u32, u8), InvalidMessage> {
    let capabilities = reader.u32()?;
    if capabilities & CLIENT_PROTOCOL_41 == 0 {
        let found = format!("capabilities {capabilities:#010x}");
        return Err(reader.invalid("a client of 4.1 or later", found));
    }
    let packet_length_max = reader.u32()?;
    let collation = reader.u8()?;
    // 23 reserved bytes; MariaDB keeps its extended capabilities in the last four.
    reader.bytes(23)?;
    Ok((capabilities, packet_length_max, collation))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn response() -> HandshakeResponse {
        HandshakeResponse {
            capabilities: CLIENT_SIDE | CLIENT_CONNECT_WITH_DB,
            packet_length_max: 1 << 24,
            collation: COLLATION_UTF8MB4,
            user: "repl".into(),
            auth_response: Zeroizing::new(vec![7; 32]),
            database: Some("test".into()),
            auth_plugin: "caching_sha2_password".into(),
            attributes: vec![("_client_name".into(), "x".repeat(300))],
        }
    }

    #[test]
    fn greeting_round_trips_and_every_cut_is_an_error() {
        let bytes = greeting().encode();
        assert_eq!(Greeting::decode(&bytes).unwrap(), greeting());
        // The plugin's name is the last field and may lack its NUL.
        let plugin_start = bytes.len() - "caching_sha2_password".len() - 1;
        for cut in 0..plugin_start {
            assert!(Greeting::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn greeting_of_a_server_without_plugins() {
        let mut old = greeting();
        old.capabilities &= !CLIENT_PLUGIN_AUTH;
        old.auth_plugin = String::new();
        assert_eq!(Greeting::decode(&old.encode()).unwrap(), old);
    }

    #[test]
    fn refusal_in_place_of_a_greeting_has_no_sqlstate() {
        let mut payload = vec![0xFF, 0x10, 0x04];
        payload.extend_from_slice(b"Too many connections");
        let Err(ProtocolError::Server(error)) = Greeting::decode(&payload) else {
            panic!("expected the server's error")
        };
        assert_eq!((error.code, error.sqlstate.as_str()), (1040, "HY000"));
        assert_eq!(error.message, "Too many connections");
    }

    #[test]
    fn old_protocols_are_refused() {
        let mut bytes = greeting().encode();
        bytes[0] = 9;
        let error = Greeting::decode(&bytes).unwrap_err().to_string();
        assert!(
            error.contains("expected protocol version 10, found 9"),
            "{error}"
        );
        let mut old = response();
        old.capabilities &= !CLIENT_PROTOCOL_41;
        assert!(HandshakeResponse::decode(&old.encode()).is_err());
    }

    #[test]
    fn response_round_trips_in_every_form() {
        for without in [
            0,
            CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA,
            CLIENT_CONNECT_WITH_DB,
            CLIENT_CONNECT_ATTRS,
            CLIENT_PLUGIN_AUTH | CLIENT_CONNECT_ATTRS,
        ] {
            let mut wanted = response();
            wanted.capabilities &= !without;
            if without & CLIENT_CONNECT_WITH_DB != 0 {
                wanted.database = None;
            }
            if without & CLIENT_CONNECT_ATTRS != 0 {
                wanted.attributes.clear();
            }
            if without & CLIENT_PLUGIN_AUTH != 0 {
                wanted.auth_plugin.clear();
            }
            let decoded = HandshakeResponse::decode(&wanted.encode()).unwrap();
            assert_eq!(decoded, wanted, "without {without:#x}");
        }
    }

    #[test]
    fn a_cut_response_is_an_error_or_lacks_only_trailing_fields() {
        let bytes = response().encode();
        let auth_end = 32 + 5 + 1 + 32;
        for cut in 0..bytes.len() {
            match HandshakeResponse::decode(&bytes[..cut]) {
                Err(_) => {}
                Ok(decoded) => {
                    assert!(cut >= auth_end, "cut at {cut}");
                    assert_eq!(decoded.user, "repl");
                    assert!(decoded.attributes.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_response_never_shows_its_authentication_data() {
        let shown = format!("{:?}", response());
        assert!(shown.contains("repl") && !shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn ssl_request_is_told_from_a_response() {
        let request = SslRequest {
            capabilities: CLIENT_SIDE | CLIENT_SSL,
            packet_length_max: 1 << 24,
            collation: 45,
        };
        let bytes = request.encode();
        assert_eq!(bytes.len(), SSL_REQUEST_LENGTH);
        assert_eq!(SslRequest::decode(&bytes).unwrap(), Some(request));
        assert_eq!(SslRequest::decode(&response().encode()).unwrap(), None);
        for cut in 0..bytes.len() {
            assert!(SslRequest::decode(&bytes[..cut]).is_err());
        }
    }
}
