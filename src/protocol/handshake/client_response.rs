//! The client's answer to the greeting, and its request for TLS before it.

use zeroize::Zeroizing;

use crate::protocol::InvalidMessage;
use crate::protocol::capability::*;
use crate::protocol::wire::{
    WireReader, put_length_encoded, put_length_encoded_bytes, put_until_nul, text,
};

/// Length of an SSL request's payload, in bytes.
pub const SSL_REQUEST_LENGTH: usize = 32;

/// The client's answer to the greeting.
#[derive(Clone, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// See [`crate::protocol::capability`].
    pub capabilities: u32,
    /// The largest packet that the client accepts, in bytes.
    pub packet_length_max: u32,
    /// The connection's collation; its low byte.
    pub collation: u8,
    /// The user's name.
    pub user: String,
    /// The authentication plugin's answer. Zeroed when dropped.
    pub auth_response: Zeroizing<Vec<u8>>,
    /// The default database, if one was named.
    pub database: Option<String>,
    /// The plugin that computed `auth_response`; empty if the client names none.
    pub auth_plugin: String,
    /// Connection attributes (`_client_name`, `program_name`, …).
    pub attributes: Vec<(String, String)>,
    /// With [`CLIENT_ZSTD_COMPRESSION`]: the level for both directions; otherwise 0.
    pub zstd_level: u8,
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
    /// The payload of the response, in the form that `capabilities` announces.
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
            put_length_encoded_bytes(&mut out, &self.auth_response);
        } else {
            // One length byte; the first answer of a plugin has at most 64 bytes.
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
                put_length_encoded_bytes(&mut pairs, key.as_bytes());
                put_length_encoded_bytes(&mut pairs, value.as_bytes());
            }
            put_length_encoded(&mut out, pairs.len() as u64);
            out.extend_from_slice(&pairs);
        }
        if self.capabilities & CLIENT_ZSTD_COMPRESSION != 0 {
            out.push(self.zstd_level);
        }
        out
    }

    /// Reads a handshake response. Bytes after the known fields are ignored: clients with
    /// other capabilities send further fields there.
    ///
    /// # Errors
    /// The message is truncated, or from a client before 4.1.
    pub fn decode(payload: &[u8]) -> Result<HandshakeResponse, InvalidMessage> {
        let mut reader = WireReader::new("handshake response", payload);
        let (capabilities, packet_length_max, collation) = read_response_head(&mut reader)?;
        let user = text(reader.until_nul()?);
        let auth_response = if capabilities & CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA != 0 {
            reader.length_encoded_bytes()?
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
            let mut pairs =
                WireReader::new("connection attributes", reader.length_encoded_bytes()?);
            while !pairs.is_empty() {
                let key = text(pairs.length_encoded_bytes()?);
                attributes.push((key, text(pairs.length_encoded_bytes()?)));
            }
        }
        let mut zstd_level = 0;
        if capabilities & CLIENT_ZSTD_COMPRESSION != 0 && !reader.is_empty() {
            zstd_level = reader.u8()?;
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
            zstd_level,
        })
    }
}

/// The client's TLS request (SSLRequest): the head of a handshake response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SslRequest {
    /// See [`crate::protocol::capability`].
    pub capabilities: u32,
    /// The largest packet that the client accepts, in bytes.
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

    /// Reads a TLS request; None if the payload is something else, which should be a handshake
    /// response.
    ///
    /// # Errors
    /// The message is truncated.
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
    // 23 reserved bytes; the last four are MariaDB's extended capabilities.
    reader.bytes(23)?;
    Ok((capabilities, packet_length_max, collation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::response::COLLATION_UTF8MB4;

    fn response() -> HandshakeResponse {
        HandshakeResponse {
            capabilities: CLIENT_SIDE | CLIENT_CONNECT_WITH_DB | CLIENT_ZSTD_COMPRESSION,
            packet_length_max: 1 << 24,
            collation: COLLATION_UTF8MB4,
            user: "repl".into(),
            auth_response: Zeroizing::new(vec![7; 32]),
            database: Some("test".into()),
            auth_plugin: "caching_sha2_password".into(),
            attributes: vec![("_client_name".into(), "x".repeat(300))],
            zstd_level: 7,
        }
    }

    #[test]
    fn a_client_before_4_1_is_refused() {
        let mut old = response();
        old.capabilities &= !CLIENT_PROTOCOL_41;
        assert!(HandshakeResponse::decode(&old.encode()).is_err());
    }

    #[test]
    fn a_response_round_trips_in_every_form() {
        for without in [
            0,
            CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA,
            CLIENT_CONNECT_WITH_DB,
            CLIENT_CONNECT_ATTRS,
            CLIENT_PLUGIN_AUTH | CLIENT_CONNECT_ATTRS,
            CLIENT_ZSTD_COMPRESSION,
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
            if without & CLIENT_ZSTD_COMPRESSION != 0 {
                wanted.zstd_level = 0;
            }
            let decoded = HandshakeResponse::decode(&wanted.encode()).unwrap();
            assert_eq!(decoded, wanted, "without {without:#x}");
        }
    }

    #[test]
    fn a_truncated_response_is_an_error_or_lacks_only_trailing_fields() {
        let bytes = response().encode();
        let auth_end = 32 + 5 + 1 + 32;
        for cut in 0..bytes.len() {
            match HandshakeResponse::decode(&bytes[..cut]) {
                Err(_) => {}
                Ok(decoded) => {
                    assert!(cut >= auth_end, "cut at {cut}");
                    assert_eq!(decoded.user, "repl");
                    assert!(decoded.attributes.is_empty() || cut == bytes.len() - 1);
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
    fn an_ssl_request_is_distinguished_from_a_response() {
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
