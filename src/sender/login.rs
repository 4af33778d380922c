//! The server's side of the connection phase: greeting, TLS, authentication.
//!
//! Until a client is authenticated, it is limited to one small buffer, a few packets and a
//! few seconds. An unknown user is processed like a wrong password.

mod accounts;
mod authenticate;
mod error;
mod options;

use super::admission::Place;
use crate::connection::{Compression, Connection, Phase};
use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::auth::new_scramble;
use crate::protocol::capability::{
    CLIENT_COMPRESS, CLIENT_PROTOCOL_41, CLIENT_SSL, CLIENT_ZSTD_COMPRESSION, SERVER_SIDE,
};
use crate::protocol::error_code::*;
use crate::protocol::handshake::{
    COLLATION_UTF8MB4, Greeting, HandshakeResponse, SERVER_STATUS_AUTOCOMMIT, SslRequest,
};
pub use accounts::{Account, Accounts, Privileges};
pub use error::LoginError;
use error::{access_denied, not_supported_auth_mode, refused};
pub use options::LoginOptions;
use options::{LOGIN_BUFFER_SIZE, LOGIN_PACKET_LENGTH_MAX};
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Time limit of an error that is sent instead of the greeting.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A client with a wrong password waits this long for the answer, so that passwords cannot be guessed fast:
/// an address has `max_connections_per_address` connections.
const WRONG_PASSWORD_DELAY: Duration = Duration::from_millis(500);

/// A client that has proved its password.
#[derive(Debug)]
pub struct LoggedIn {
    /// The connection, before the first command.
    pub connection: Connection,
    /// The account's name.
    pub user: String,
    /// The account's privileges.
    pub privileges: Privileges,
    /// The database that the client named; the relay has none.
    pub database: Option<String>,
    /// The capabilities that both sides have.
    pub capabilities: u32,
    /// The client's connection attributes.
    pub attributes: Vec<(String, String)>,
    /// The connection is encrypted.
    pub tls: bool,
    /// The connection is compressed.
    pub compression: Option<Compression>,
}

/// Runs a new client's login, from the greeting on. Afterwards the client has its `place`.
///
/// # Errors
/// See [`LoginError`]; the connection is closed then.
pub async fn login(
    tcp: TcpStream,
    connection_id: u32,
    options: &LoginOptions,
    place: &mut Place,
) -> Result<LoggedIn, LoginError> {
    let mut connection = new_connection(tcp);
    let peer = connection.peer_name().to_owned();
    let outcome = async {
        match run_login(&mut connection, connection_id, options, place).await {
            Err(error) => {
                if error.is_wrong_password() {
                    tokio::time::sleep(WRONG_PASSWORD_DELAY).await;
                }
                refuse_login(&mut connection, &error).await;
                Err(error)
            }
            done => done,
        }
    };
    match tokio::time::timeout(options.timeout, outcome).await {
        Ok(Ok(client)) => {
            connection.set_phase(Phase::Query);
            Ok(LoggedIn {
                user: client.user,
                privileges: client.privileges,
                database: client.database,
                capabilities: client.capabilities,
                attributes: client.attributes,
                tls: connection.is_tls(),
                compression: client.compression,
                connection,
            })
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(LoginError::TimedOut {
            peer,
            limit: options.timeout,
        }),
    }
}

/// Sends a new client an error instead of the greeting (too many connections, …).
pub async fn refuse(tcp: TcpStream, error: &ServerError) {
    let mut connection = new_connection(tcp);
    // The client may already be gone.
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, connection.write_error(error)).await;
}

fn new_connection(tcp: TcpStream) -> Connection {
    let peer = match tcp.peer_addr() {
        Ok(address) => address.to_string(),
        Err(_) => "client".to_owned(),
    };
    Connection::new(tcp, peer, LOGIN_BUFFER_SIZE)
}

/// The account that a connection belongs to, and the client's handshake response.
struct Client {
    user: String,
    privileges: Privileges,
    database: Option<String>,
    capabilities: u32,
    attributes: Vec<(String, String)>,
    compression: Option<Compression>,
}

async fn refuse_login(connection: &mut Connection, error: &LoginError) {
    let answer = match error {
        LoginError::Refused { error, .. } => error.clone(),
        LoginError::BadHandshake { .. } => ServerError::new(ER_HANDSHAKE_ERROR, "Bad handshake"),
        LoginError::Connection(_) | LoginError::TimedOut { .. } => return,
    };
    // The client may already be gone; the login's error is reported anyway.
    let _ = connection.write_error(&answer).await;
}

async fn run_login(
    connection: &mut Connection,
    connection_id: u32,
    options: &LoginOptions,
    place: &mut Place,
) -> Result<Client, LoginError> {
    let address = authenticate::client_address(connection);
    if !options.accounts.allow_host(address) {
        let error = host_not_allowed(address, &options.server_version);
        return Err(refused(connection, error));
    }
    let scramble = new_scramble();
    let tls_capability = if options.tls.is_some() { CLIENT_SSL } else { 0 };
    let greeting = Greeting {
        server_version: options.server_version.clone(),
        connection_id,
        scramble,
        capabilities: SERVER_SIDE | tls_capability | options.compression,
        collation: COLLATION_UTF8MB4,
        status: SERVER_STATUS_AUTOCOMMIT,
        auth_plugin: options.default_plugin.name().to_owned(),
    };
    connection.write_packet(&greeting.encode()).await?;
    connection.flush().await?;
    let response = read_response(connection, options).await?;
    let capabilities = response.capabilities & greeting.capabilities;
    let account =
        authenticate::authenticate(connection, options, place, scramble, &response).await?;
    let compression = compression(capabilities, response.zstd_level);
    if let Some(algorithm) = compression {
        connection.start_compression(algorithm)?;
    }
    Ok(Client {
        user: account.name.clone(),
        privileges: account.privileges,
        database: response.database,
        capabilities,
        attributes: response.attributes,
        compression,
    })
}

/// The error that servers send instead of the greeting to a host that no account allows.
fn host_not_allowed(address: Option<IpAddr>, server_version: &str) -> ServerError {
    let host = address.map_or("unknown".to_owned(), |address| {
        address.to_canonical().to_string()
    });
    let server = match Flavor::of_version(server_version) {
        Flavor::MySql => "MySQL",
        Flavor::MariaDb => "MariaDB",
    };
    let text = format!("Host '{host}' is not allowed to connect to this {server} server");
    let mut error = ServerError::new(ER_HOST_NOT_PRIVILEGED, text);
    // The client's capabilities are not known yet.
    error.sqlstate = String::new();
    error
}

/// The algorithm that both sides have, zlib before zstd, as on servers.
fn compression(capabilities: u32, level: u8) -> Option<Compression> {
    if capabilities & CLIENT_COMPRESS != 0 {
        return Some(Compression::Zlib);
    }
    (capabilities & CLIENT_ZSTD_COMPRESSION != 0).then_some(Compression::Zstd { level })
}

/// Reads the handshake response, after starting TLS if the client requests it.
async fn read_response(
    connection: &mut Connection,
    options: &LoginOptions,
) -> Result<HandshakeResponse, LoginError> {
    let bad = |connection: &Connection, cause| LoginError::BadHandshake {
        peer: connection.peer_name().to_owned(),
        cause,
    };
    let mut packet = Zeroizing::new(
        connection
            .read_packet_exactly(LOGIN_PACKET_LENGTH_MAX)
            .await?,
    );
    if is_before_4_1(&packet) {
        let error = too_old(connection, &options.server_version);
        return Err(refused(connection, error));
    }
    if let Some(tls) = &options.tls
        && SslRequest::decode(&packet)
            .map_err(|error| bad(connection, error))?
            .is_some()
    {
        connection.set_phase(Phase::Tls);
        connection.upgrade_server(tls.config.clone()).await?;
        packet = Zeroizing::new(connection.read_packet(LOGIN_PACKET_LENGTH_MAX).await?);
    }
    connection.set_phase(Phase::Authentication);
    let response = HandshakeResponse::decode(&packet).map_err(|error| bad(connection, error))?;
    if options.require_tls && !connection.is_tls() {
        let text = "Connections using insecure transport are prohibited while \
                    --require_secure_transport=ON.";
        return Err(refused(
            connection,
            ServerError::new(ER_SECURE_TRANSPORT_REQUIRED, text),
        ));
    }
    Ok(response)
}

/// Whether the answer to the greeting is in the protocol before MySQL 4.1; a command that is sent
/// instead of a login looks the same.
fn is_before_4_1(packet: &[u8]) -> bool {
    packet
        .first_chunk()
        .is_some_and(|low| u32::from(u16::from_le_bytes(*low)) & CLIENT_PROTOCOL_41 == 0)
}

/// The error that servers send to such a client, which does not know SQLSTATEs.
fn too_old(connection: &Connection, server_version: &str) -> ServerError {
    let mut error = match Flavor::of_version(server_version) {
        Flavor::MySql => not_supported_auth_mode(),
        Flavor::MariaDb => access_denied(connection, "", false),
    };
    error.sqlstate = String::new();
    error
}

#[cfg(test)]
mod tests;
