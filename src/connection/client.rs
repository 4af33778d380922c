//! Connecting to a source: socket, greeting, TLS, authentication.

use super::{Compression, Connection, ConnectionError, ConnectionErrorCause, Phase};
use crate::flavor::Flavor;
use crate::protocol::auth::{AuthStep, ClientAuth, Secret};
use crate::protocol::capability::{
    CLIENT_COMPRESS, CLIENT_SIDE, CLIENT_SSL, CLIENT_ZSTD_COMPRESSION,
};
use crate::protocol::handshake::{COLLATION_UTF8MB4, Greeting, HandshakeResponse, SslRequest};
use crate::tls::{ClientTls, TlsMode, client_config};
use rustls::pki_types::ServerName;
use std::time::Duration;
use tokio::net::TcpStream;

/// The largest packet accepted during the login, in bytes.
const LOGIN_PACKET_LENGTH_MAX: usize = 64 << 10;
/// The largest packet that the client announces to accept, in bytes: the protocol's maximum, so
/// that a source sends events of any size.
const PACKET_LENGTH_MAX: u32 = 1 << 30;

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
    if options.host.contains(':') {
        format!("[{}]:{}", options.host, options.port)
    } else {
        format!("{}:{}", options.host, options.port)
    }
}

async fn connect_phases(
    options: &ConnectOptions,
    phase: &mut Phase,
) -> Result<(Connection, ServerGreeting), ConnectionError> {
    let tcp = TcpStream::connect((options.host.as_str(), options.port))
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
    authenticate(&mut connection, options, &greeting).await?;
    if let Some(algorithm) = options.compression {
        connection.start_compression(algorithm)?;
    }
    connection.set_phase(Phase::Query);
    Ok((connection, server_greeting(greeting)))
}

fn server_greeting(greeting: Greeting) -> ServerGreeting {
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
        if options.tls.mode == TlsMode::Preferred {
            return Ok(());
        }
        return Err(connection.error(ConnectionErrorCause::TlsNotOffered));
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

async fn authenticate(
    connection: &mut Connection,
    options: &ConnectOptions,
    greeting: &Greeting,
) -> Result<(), ConnectionError> {
    let mut auth = ClientAuth::new(
        &greeting.auth_plugin,
        &greeting.scramble,
        &options.password,
        connection.is_tls(),
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
            AuthStep::Done(_) => return Ok(()),
        }
    }
}
