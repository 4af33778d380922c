//! Authentication plugins: the client's side of the exchange, and the server's packets.
//!
//! Sources: "Authentication Phase" in the MySQL source code documentation; MariaDB's knowledge
//! base, "Authentication Plugin - ed25519".

use super::handshake::SCRAMBLE_LENGTH;
use super::response::{OkPacket, parse_error};
use super::wire::{WireReader, put_until_nul, text};
use super::{InvalidMessage, ProtocolError};
pub use crate::secret::Secret;
use aws_lc_rs::digest;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use mysql_common::scramble::{create_response_for_ed25519, scramble_native, scramble_sha256};
use rand::Rng;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

/// Length of the nonce that `client_ed25519` signs, in bytes.
pub const ED25519_NONCE_LENGTH: usize = 32;
const HEADER_MORE_DATA: u8 = 0x01;
const HEADER_SWITCH: u8 = 0xFE;
const FAST_AUTH_SUCCESS: u8 = 0x03;
const FULL_AUTH_NEEDED: u8 = 0x04;
const REQUEST_PUBLIC_KEY: u8 = 0x02;
/// The most packets of a login. No server needs more than a switch, a key and a result; a peer that
/// sent packets without end would keep the login busy forever.
const ROUNDS_MAX: usize = 8;

/// A way to prove a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthPlugin {
    /// `mysql_native_password`: SHA-1, the default of MariaDB and of MySQL before 8.0; removed in
    /// MySQL 9.0.
    Native,
    /// `caching_sha2_password`: SHA-256, the default since MySQL 8.0.
    CachingSha2,
    /// `client_ed25519`: the client's side of MariaDB's `ed25519`.
    Ed25519,
    /// `mysql_clear_password`: the password itself; only over TLS with a verified certificate.
    Clear,
}

impl AuthPlugin {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            AuthPlugin::Native => "mysql_native_password",
            AuthPlugin::CachingSha2 => "caching_sha2_password",
            AuthPlugin::Ed25519 => "client_ed25519",
            AuthPlugin::Clear => "mysql_clear_password",
        }
    }

    /// The plugin of that name; None if it is not supported here.
    pub fn from_name(name: &str) -> Option<AuthPlugin> {
        [
            AuthPlugin::Native,
            AuthPlugin::CachingSha2,
            AuthPlugin::Ed25519,
            AuthPlugin::Clear,
        ]
        .into_iter()
        .find(|plugin| plugin.name() == name)
    }
}

/// Why authentication cannot continue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The server sent an invalid packet or an error.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The account uses a plugin that is not supported here.
    #[error(
        "the server requires authentication plugin {0:?}; supported are mysql_native_password, \
         caching_sha2_password, client_ed25519 and, over verified TLS, mysql_clear_password"
    )]
    UnsupportedPlugin(String),
    /// The account's plugin sends the password itself, and it is not certain who receives it.
    #[error(
        "the server requires the clear-text password, which is only sent over TLS with a verified \
         certificate: set mode = \"verify_ca\" and ca in this source's [source.tls]"
    )]
    ClearPasswordUnverified,
    /// The password would be encrypted for a key that anyone may have sent; MySQL's error 2061.
    #[error(
        "Authentication plugin 'caching_sha2_password' reported error: Authentication requires secure \
         connection; enable TLS on the source, or set source_public_key_file, or, in a trusted network, \
         get_source_public_key = true in this [[source]]"
    )]
    KeyNotTrusted,
    /// The server's public key cannot encrypt the password.
    #[error("the server's RSA public key cannot be used: {0}")]
    PublicKey(&'static str),
}

impl From<InvalidMessage> for AuthError {
    fn from(error: InvalidMessage) -> Self {
        AuthError::Protocol(error.into())
    }
}

/// The client's next step.
#[derive(Debug)]
pub enum AuthStep {
    /// Send this packet, then read the next one.
    Send(Zeroizing<Vec<u8>>),
    /// Read the next packet.
    Read,
    /// The login is done.
    Done(OkPacket),
}

/// How far a connection is protected: it decides in which forms the password itself may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Not encrypted.
    Plain(ServerKey),
    /// TLS with a certificate that was not verified.
    UnverifiedTls,
    /// TLS with a verified certificate.
    VerifiedTls,
}

/// The RSA key under which the password may be sent without TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ServerKey {
    /// None: a server that requires the password is refused.
    #[default]
    Refused,
    /// The key that the server sends, whoever it is.
    Requested,
    /// This one, in PEM.
    Pinned(Vec<u8>),
}

/// The client's side of an authentication.
pub struct ClientAuth<'a> {
    password: &'a [u8],
    plugin: AuthPlugin,
    scramble: Vec<u8>,
    protection: Protection,
    key_requested: bool,
    rounds: usize,
}

impl<'a> ClientAuth<'a> {
    /// Begins with the plugin and scramble of the greeting. A plugin that cannot answer the
    /// greeting is replaced by one that can: the server then requests a switch.
    pub fn new(
        greeting_plugin: &str,
        scramble: &[u8; SCRAMBLE_LENGTH],
        password: &'a Secret,
        protection: Protection,
    ) -> ClientAuth<'a> {
        let plugin = match AuthPlugin::from_name(greeting_plugin) {
            Some(AuthPlugin::CachingSha2) => AuthPlugin::CachingSha2,
            _ => AuthPlugin::Native,
        };
        ClientAuth {
            password: password.expose().as_bytes(),
            plugin,
            scramble: scramble.to_vec(),
            protection,
            key_requested: false,
            rounds: 0,
        }
    }

    /// The current plugin.
    pub fn plugin(&self) -> AuthPlugin {
        self.plugin
    }

    /// The scramble that the current plugin has answered.
    pub fn scramble(&self) -> &[u8] {
        &self.scramble
    }

    /// The current plugin's answer to the scramble: for the handshake response, or after a switch.
    ///
    /// # Errors
    /// The plugin would send the clear-text password to a server that may be anyone.
    pub fn response(&self) -> Result<Zeroizing<Vec<u8>>, AuthError> {
        let bytes = match self.plugin {
            AuthPlugin::Native => scramble_native(&self.scramble, self.password)
                .map_or_else(Vec::new, |answer| answer.to_vec()),
            AuthPlugin::CachingSha2 => scramble_sha256(&self.scramble, self.password)
                .map_or_else(|| vec![0], |answer| answer.to_vec()),
            AuthPlugin::Ed25519 => {
                create_response_for_ed25519(self.password, &self.scramble).to_vec()
            }
            AuthPlugin::Clear if self.protection == Protection::VerifiedTls => {
                return Ok(self.clear_password());
            }
            AuthPlugin::Clear => return Err(AuthError::ClearPasswordUnverified),
        };
        Ok(Zeroizing::new(bytes))
    }

    /// Handles the server's next packet.
    ///
    /// # Errors
    /// The server's error, an invalid packet, or an unsupported plugin.
    pub fn on_packet(&mut self, packet: &[u8]) -> Result<AuthStep, AuthError> {
        let mut reader = WireReader::new("authentication packet", packet);
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Err(reader
                .invalid("the end of the authentication", "another packet")
                .into());
        }
        match reader.u8()? {
            0x00 => Ok(AuthStep::Done(OkPacket::decode(packet)?)),
            0xFF => Err(ProtocolError::from(parse_error(packet)?).into()),
            HEADER_SWITCH => self.on_switch(reader),
            HEADER_MORE_DATA if self.plugin == AuthPlugin::CachingSha2 => self.on_more_data(reader),
            other => {
                let found = format!("0x{other:02x}");
                Err(reader
                    .invalid("OK, ERR or an authentication switch", found)
                    .into())
            }
        }
    }

    fn on_switch(&mut self, mut reader: WireReader<'_>) -> Result<AuthStep, AuthError> {
        if reader.is_empty() {
            return Err(AuthError::UnsupportedPlugin("mysql_old_password".into()));
        }
        let name = text(reader.until_nul()?);
        let Some(plugin) = AuthPlugin::from_name(&name) else {
            return Err(AuthError::UnsupportedPlugin(name));
        };
        let length = match plugin {
            AuthPlugin::Native | AuthPlugin::CachingSha2 => SCRAMBLE_LENGTH,
            AuthPlugin::Ed25519 => ED25519_NONCE_LENGTH,
            AuthPlugin::Clear => 0,
        };
        // A NUL may follow, which is not part of the scramble.
        self.scramble = reader.bytes(length)?.to_vec();
        self.plugin = plugin;
        self.key_requested = false;
        Ok(AuthStep::Send(self.response()?))
    }

    fn on_more_data(&mut self, mut reader: WireReader<'_>) -> Result<AuthStep, AuthError> {
        let data = reader.rest();
        if self.key_requested {
            self.key_requested = false;
            return Ok(AuthStep::Send(self.encrypt_password(data)?));
        }
        match data {
            [FAST_AUTH_SUCCESS] => Ok(AuthStep::Read),
            [FULL_AUTH_NEEDED] => self.on_full_auth(),
            _ => Err(reader
                .invalid("a caching_sha2_password state", "another value")
                .into()),
        }
    }

    /// The server does not have the account's hash in memory, and requires the password. Over TLS it
    /// accepts no other form than the password itself: as a MySQL replica, the relay sends it also where
    /// the certificate was not verified, because otherwise no source with MySQL's default settings could
    /// be followed.
    fn on_full_auth(&mut self) -> Result<AuthStep, AuthError> {
        let key = match &self.protection {
            Protection::UnverifiedTls | Protection::VerifiedTls => {
                return Ok(AuthStep::Send(self.clear_password()));
            }
            Protection::Plain(key) => key,
        };
        match key {
            ServerKey::Refused => Err(AuthError::KeyNotTrusted),
            ServerKey::Pinned(pem) => Ok(AuthStep::Send(self.encrypt_password(pem)?)),
            ServerKey::Requested => {
                self.key_requested = true;
                Ok(AuthStep::Send(Zeroizing::new(vec![REQUEST_PUBLIC_KEY])))
            }
        }
    }

    fn clear_password(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.password.len() + 1));
        bytes.extend_from_slice(self.password);
        bytes.push(0);
        bytes
    }

    /// RSA-OAEP of the password XOR the scramble, under the key that the server sent as PEM.
    fn encrypt_password(&self, key_pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, AuthError> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(key_pem)
            .map_err(|_| AuthError::PublicKey("it is not a PEM public key"))?;
        let key = PublicEncryptingKey::from_der(&key)
            .map_err(|_| AuthError::PublicKey("it is not an RSA key of 2048 bits or more"))?;
        let key = OaepPublicEncryptingKey::new(key)
            .map_err(|_| AuthError::PublicKey("it cannot encrypt with OAEP"))?;
        let mut clear = self.clear_password();
        for (byte, mask) in clear.iter_mut().zip(self.scramble.iter().cycle()) {
            *byte ^= mask;
        }
        let mut encrypted = Zeroizing::new(vec![0; key.ciphertext_size()]);
        let length = key
            .encrypt(&OAEP_SHA1_MGF1SHA1, &clear, &mut encrypted, None)
            .map_err(|_| AuthError::PublicKey("the password is too long for it"))?
            .len();
        encrypted.truncate(length);
        Ok(encrypted)
    }
}

/// A scramble for a greeting: no NUL, which would end it early, and no `$`, which MySQL avoids
/// because it separates the parts of a stored hash.
pub fn new_scramble() -> [u8; SCRAMBLE_LENGTH] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| {
        loop {
            let byte: u8 = rng.random_range(1..128);
            if byte != b'$' {
                return byte;
            }
        }
    })
}

/// The server's request to continue with another plugin; `scramble` has the length that this
/// plugin expects.
pub fn encode_switch(plugin: AuthPlugin, scramble: &[u8]) -> Vec<u8> {
    let mut out = vec![HEADER_SWITCH];
    put_until_nul(&mut out, plugin.name().as_bytes());
    out.extend_from_slice(scramble);
    // MariaDB's client expects exactly the nonce; the other plugins' scrambles end with a NUL.
    if plugin != AuthPlugin::Ed25519 {
        out.push(0);
    }
    out
}

/// Tells the client that caching_sha2_password's first answer was correct; OK follows.
pub fn encode_fast_auth_success() -> Vec<u8> {
    vec![HEADER_MORE_DATA, FAST_AUTH_SUCCESS]
}

/// Tells the client that caching_sha2_password's first answer is not sufficient: the password
/// itself is required, over TLS or encrypted.
pub fn encode_full_auth_needed() -> Vec<u8> {
    vec![HEADER_MORE_DATA, FULL_AUTH_NEEDED]
}

/// True for a client's request for the key that encrypts the password.
pub fn is_public_key_request(packet: &[u8]) -> bool {
    packet == [REQUEST_PUBLIC_KEY]
}

/// The server's public key, in PEM.
pub fn encode_public_key(pem: &str) -> Vec<u8> {
    let mut out = vec![HEADER_MORE_DATA];
    out.extend_from_slice(pem.as_bytes());
    out
}

/// The inverse of the mask in `encrypt_password`: the password that a client has sent, without
/// its terminating NUL. None if that is missing. `mask` is empty over TLS, else the scramble.
pub fn decode_password(mut packet: Zeroizing<Vec<u8>>, mask: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    for (byte, mask) in packet.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    (packet.pop() == Some(0)).then_some(packet)
}

/// The proof for MariaDB 11.4+ clients that a certificate belongs to a server that knows the
/// password; it is sent in the OK packet's message: byte 1, then in upper-case hex the SHA-256 of
/// the stored hash ([`super::StoredPassword::proof_hash`]), scramble and the SHA-256 of the
/// certificate (DER). Other clients at most show it as the OK's message.
pub fn certificate_proof(stored_hash: &[u8], scramble: &[u8], certificate: &[u8]) -> Vec<u8> {
    let mut proof = digest::Context::new(&digest::SHA256);
    proof.update(stored_hash);
    proof.update(scramble);
    proof.update(digest::digest(&digest::SHA256, certificate).as_ref());
    let mut info = vec![1];
    for byte in proof.finish().as_ref() {
        info.extend(format!("{byte:02X}").bytes());
    }
    info
}

#[cfg(test)]
mod tests;
