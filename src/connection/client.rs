//! Connecting to a source: socket, greeting, TLS, authentication.

use super::socket::{self, host_and_port};
use super::{Compression, Connection, ConnectionError, ConnectionErrorCause, Phase};
use crate::flavor::Flavor;
use crate::protocol::StoredPassword;
use crate::protocol::auth::{
    AuthPlugin, AuthStep, ClientAuth, Protection, Secret, ServerKey, certificate_proof,
};
use crate::protocol::capability::{
    CLIENT_COMPRESS, CLIENT_SIDE, CLIENT_SSL, CLIENT_ZSTD_COMPRESSION,
};
use crate::protocol::handshake::{COLLATION_UTF8MB4, Greeting, HandshakeResponse, SslRequest};
use crate::protocol::response::OkPacket;
use crate::tls::{ClientTls, OfferedTls, TlsMode, client_config};
use rustls::pki_types::ServerName;
use std::time::Duration;

/// The largest packet accepted during the login, in bytes.
const LOGIN_PACKET_LENGTH_MAX: usize = 64 << 10;
/// The largest packet that the client announces to accept, in bytes: the protocol's maximum, so
/// that a source sends events of any size.
const PACKET_LENGTH_MAX: u32 = 1 << 30;

/// The first byte of a message in the last packet of a login that is a certificate proof.
const PROOF_MARK: u8 = 1;

/// The server to connect to, and how.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// TLS.
    pub tls: ClientTls,
    /// Whether this server has offered TLS before.
    pub offered_tls: OfferedTls,
    /// The RSA key under which the password may be sent without TLS.
    pub server_key: ServerKey,
    /// The compression to request; the server must offer it.
    pub compression: Option<Compression>,
    /// Timeout of the whole login, from connecting the socket.
    pub connect_timeout: Duration,
    /// Size of the connection's read buffer, in bytes.
    pub read_buffer_size: usize,
}

/// The facts about a server in its greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerGreeting {
    /// The version without MariaDB's `5.5.5-` prefix, e.g. `8.0.36` or `10.11.6-MariaDB-log`.
    pub version: String,
    /// The server's flavor.
    pub flavor: Flavor,
    /// The connection's id on the server, for KILL.
    pub connection_id: u32,
    /// The server's default authentication plugin.
    pub auth_plugin: String,
    /// See [`crate::protocol::capability`].
    pub capabilities: u32,
    /// The protection of the connection: TLS version, cipher and verification, or `none`.
    pub tls: String,
}

/// Connects and logs in.
///
/// # Errors
/// The peer, the phase that failed and the cause. [`ConnectionError::server_error`] is the
/// server's own error.
pub async fn connect(
    options: &ConnectOptions,
) -> Result<(Connection, ServerGreeting), ConnectionError> {
    // The current phase, for the error after a timeout.
    let mut phase = Phase::Connect;
    let login = connect_phases(options, &mut phase);
    match tokio::time::timeout(options.connect_timeout, login).await {
        Ok(result) => result,
        Err(_) => Err(error_at(
            options,
            phase,
            ConnectionErrorCause::TimedOut(options.connect_timeout),
        )),
    }
}

fn error_at(
    options: &ConnectOptions,
    phase: Phase,
    cause: impl Into<ConnectionErrorCause>,
) -> ConnectionError {
    ConnectionError {
        peer: peer_name(options),
        phase,
        cause: cause.into(),
    }
}

fn peer_name(options: &ConnectOptions) -> String {
    host_and_port(&options.host, options.port)
}

async fn connect_phases(
    options: &ConnectOptions,
    phase: &mut Phase,
) -> Result<(Connection, ServerGreeting), ConnectionError> {
    let tcp = socket::connect(&options.host, options.port, options.connect_timeout)
        .await
        .map_err(|error| error_at(options, Phase::Connect, error))?;
    let mut connection = Connection::new(tcp, peer_name(options), options.read_buffer_size);

    *phase = Phase::Greeting;
    connection.set_phase(Phase::Greeting);
    let packet = connection.read_packet(LOGIN_PACKET_LENGTH_MAX).await?;
    let greeting = Greeting::decode(&packet).map_err(|error| connection.error(error))?;

    let required = compression_capability(options.compression);
    if greeting.capabilities & required != required {
        return Err(connection.error(ConnectionErrorCause::CompressionNotOffered));
    }

    *phase = Phase::Tls;
    connection.set_phase(Phase::Tls);
    start_tls(&mut connection, options, &greeting).await?;

    *phase = Phase::Authentication;
    connection.set_phase(Phase::Authentication);
    let verification = authenticate(&mut connection, options, &greeting).await?;
    if let Some(algorithm) = options.compression {
        connection.start_compression(algorithm)?;
    }
    connection.set_phase(Phase::Query);
    let tls = match connection.encryption() {
        Some(encryption) => format!("{encryption}, {verification}"),
        None => "none".to_owned(),
    };
    Ok((connection, server_greeting(greeting, tls)))
}

fn server_greeting(greeting: Greeting, tls: String) -> ServerGreeting {
    let flavor = Flavor::of_version(&greeting.server_version);
    let version = match flavor {
        Flavor::MariaDb => greeting
            .server_version
            .trim_start_matches("5.5.5-")
            .to_owned(),
        Flavor::MySql => greeting.server_version,
    };
    ServerGreeting {
        version,
        flavor,
        connection_id: greeting.connection_id,
        auth_plugin: greeting.auth_plugin,
        capabilities: greeting.capabilities,
        tls,
    }
}

fn compression_capability(compression: Option<Compression>) -> u32 {
    match compression {
        None => 0,
        Some(Compression::Zlib) => CLIENT_COMPRESS,
        Some(Compression::Zstd { .. }) => CLIENT_ZSTD_COMPRESSION,
    }
}

fn capabilities(connection: &Connection, options: &ConnectOptions, greeting: &Greeting) -> u32 {
    let tls = if connection.is_tls() { CLIENT_SSL } else { 0 };
    CLIENT_SIDE & greeting.capabilities | tls | compression_capability(options.compression)
}

async fn start_tls(
    connection: &mut Connection,
    options: &ConnectOptions,
    greeting: &Greeting,
) -> Result<(), ConnectionError> {
    let Some(config) = client_config(&options.tls).map_err(|error| connection.error(error))? else {
        return Ok(());
    };
    if greeting.capabilities & CLIENT_SSL == 0 {
        return match options.tls.mode {
            // A man in the middle can change the greeting.
            TlsMode::Preferred if options.offered_tls.is_set() => {
                Err(connection.error(ConnectionErrorCause::TlsNoLongerOffered))
            }
            TlsMode::Preferred => Ok(()),
            _ => Err(connection.error(ConnectionErrorCause::TlsNotOffered)),
        };
    }
    let name = ServerName::try_from(options.host.clone())
        .map_err(|error| connection.error(std::io::Error::other(error)))?;
    let request = SslRequest {
        capabilities: capabilities(connection, options, greeting) | CLIENT_SSL,
        packet_length_max: PACKET_LENGTH_MAX,
        collation: COLLATION_UTF8MB4,
    };
    connection.write_packet(&request.encode()).await?;
    connection.flush().await?;
    connection.upgrade_client(config, name).await
}

/// How the server's certificate was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verification {
    Nothing,
    Chain,
    ChainAndName,
    /// By the server's proof that it knows the account's password hash: MariaDB 11.4 and later.
    Password,
}

impl std::fmt::Display for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verification::Nothing => "certificate not verified",
            Verification::Chain => "certificate verified (verify_ca)",
            Verification::ChainAndName => "certificate verified (verify_identity)",
            Verification::Password => "certificate verified (by the account's password)",
        })
    }
}

fn protection(connection: &Connection, options: &ConnectOptions) -> Protection {
    match options.tls.mode {
        _ if !connection.is_tls() => Protection::Plain(options.server_key.clone()),
        TlsMode::VerifyCa | TlsMode::VerifyIdentity => Protection::VerifiedTls,
        _ => Protection::UnverifiedTls,
    }
}

async fn authenticate(
    connection: &mut Connection,
    options: &ConnectOptions,
    greeting: &Greeting,
) -> Result<Verification, ConnectionError> {
    let mut auth = ClientAuth::new(
        &greeting.auth_plugin,
        &greeting.scramble,
        &options.password,
        protection(connection, options),
    );
    let response = HandshakeResponse {
        capabilities: capabilities(connection, options, greeting),
        packet_length_max: PACKET_LENGTH_MAX,
        collation: COLLATION_UTF8MB4,
        user: options.user.clone(),
        auth_response: auth.response().map_err(|error| connection.error(error))?,
        database: None,
        auth_plugin: auth.plugin().name().to_owned(),
        attributes: vec![
            ("_client_name".to_owned(), "binrelay".to_owned()),
            (
                "_client_version".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
            ("_pid".to_owned(), std::process::id().to_string()),
        ],
        zstd_level: match options.compression {
            Some(Compression::Zstd { level }) => level,
            _ => 0,
        },
    };
    connection.write_packet(&response.encode()).await?;
    connection.flush().await?;
    loop {
        let packet = connection.read_packet(LOGIN_PACKET_LENGTH_MAX).await?;
        match auth
            .on_packet(&packet)
            .map_err(|error| connection.error(error))?
        {
            AuthStep::Send(packet) => {
                connection.write_packet(&packet).await?;
                connection.flush().await?;
            }
            AuthStep::Read => {}
            AuthStep::Done(ok) => {
                if connection.is_tls() {
                    options.offered_tls.set();
                }
                return verification(connection, options, (greeting, &auth), &ok);
            }
        }
    }
}

/// How the certificate was verified, once the login is done.
///
/// MariaDB 11.4 and later prove with their last packet that the certificate is that of a server which
/// knows the account's password hash. A proof for another certificate than the one that was presented
/// is sent on by a man in the middle who has a certificate of his own. A missing proof proves nothing:
/// older servers, and accounts without a password, have none.
fn verification(
    connection: &Connection,
    options: &ConnectOptions,
    (greeting, auth): (&Greeting, &ClientAuth<'_>),
    ok: &OkPacket,
) -> Result<Verification, ConnectionError> {
    match options.tls.mode {
        TlsMode::VerifyCa => return Ok(Verification::Chain),
        TlsMode::VerifyIdentity => return Ok(Verification::ChainAndName),
        TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => {}
    }
    let (plugin, Some(certificate)) = (auth.plugin(), connection.peer_certificate()) else {
        return Ok(Verification::Nothing);
    };
    if ok.info.first() != Some(&PROOF_MARK) {
        return Ok(Verification::Nothing);
    }
    let stored = StoredPassword::from_plaintext(options.password.expose());
    let Some(hash) = stored.proof_hash(plugin) else {
        return Ok(Verification::Nothing);
    };
    // client_ed25519 signs a nonce of its own, but the proof is computed from the greeting's scramble.
    let scramble = match plugin {
        AuthPlugin::Ed25519 => greeting.scramble.as_slice(),
        _ => auth.scramble(),
    };
    let proof = certificate_proof(hash, scramble, certificate);
    match proof.eq_ignore_ascii_case(&ok.info) {
        true => Ok(Verification::Password),
        false => Err(connection.error(ConnectionErrorCause::CertificateProof)),
    }
}
