//! Connecting to a source: for a dump, and for queries beside it.

use std::path::Path;
use std::time::Duration;

use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use crate::config::{SourceCompression, SourceConfig, read_password_again};
use crate::connection::client::{self, ConnectOptions, ServerGreeting};
use crate::connection::{Compression, Connection, ConnectionError, Phase, host_and_port};
use crate::protocol::auth::ServerKey;
use crate::secret::Secret;
use crate::tls::read_public_key;

/// Time limit for connecting and logging in.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The default of `SOURCE_ZSTD_COMPRESSION_LEVEL`.
const ZSTD_LEVEL: u8 = 3;
/// The read buffer of a dump connection, in bytes. Events up to this size are handled in place.
const READ_BUFFER_LEN: usize = 1024 * 1024;

/// Connects, logs in, and asks which server answers.
pub(super) async fn connect(
    options: &ReceiverOptions,
) -> Result<(Connection, SourceFacts), ReceiverError> {
    let config = &options.config;
    let compression = match config.compression {
        SourceCompression::Off => None,
        SourceCompression::Zlib => Some(Compression::Zlib),
        SourceCompression::Zstd => Some(Compression::Zstd { level: ZSTD_LEVEL }),
    };
    let (mut connection, greeting) = log_in(config, compression, READ_BUFFER_LEN).await?;
    let asking = SourceFacts::ask(&mut connection, &greeting);
    let facts = within(config.read_timeout, asking).await?;
    Ok((connection, facts))
}

/// Connects and logs in: every connection to a source, so that all send the password by the same rules.
/// `read_buffer_size` is in bytes.
pub(super) async fn log_in(
    config: &SourceConfig,
    compression: Option<Compression>,
    read_buffer_size: usize,
) -> Result<(Connection, ServerGreeting), ConnectionError> {
    let connecting = ConnectOptions {
        host: config.host.clone(),
        port: config.port,
        user: config.user.clone(),
        password: password(config)?,
        tls: config.tls.clone(),
        offered_tls: config.offered_tls.clone(),
        server_key: server_key(config)?,
        compression,
        connect_timeout: CONNECT_TIMEOUT,
        read_buffer_size,
    };
    client::connect(&connecting).await
}

/// The password. Its file is read again for each connection: it may have been corrected.
fn password(config: &SourceConfig) -> Result<Secret, ConnectionError> {
    let Some(path) = &config.password_file else {
        return Ok(config.password.clone());
    };
    read_password_again(path).map_err(|cause| ConnectionError {
        peer: address(config),
        phase: Phase::Authentication,
        cause: cause.into(),
    })
}

/// The RSA key for the password. The file is read again for each connection.
fn server_key(config: &SourceConfig) -> Result<ServerKey, ConnectionError> {
    let Some(path) = &config.source_public_key_file else {
        return Ok(match config.get_source_public_key {
            true => ServerKey::Requested,
            false => ServerKey::Refused,
        });
    };
    match read_public_key(path) {
        Ok(pem) => Ok(ServerKey::Pinned(pem)),
        Err(error) => Err(ConnectionError {
            peer: address(config),
            phase: Phase::Authentication,
            cause: error.into(),
        }),
    }
}

/// Reads which of the sources have offered TLS before.
pub fn read_offered_tls(data_dir: &Path, sources: &[SourceConfig]) {
    for source in sources {
        let offered = &source.offered_tls;
        offered.read(data_dir, &source.name, &address(source));
    }
}

/// As [`read_offered_tls`], and remembers in `data_dir` which do from now on.
pub fn keep_offered_tls(data_dir: &Path, sources: &[SourceConfig]) {
    for source in sources {
        let offered = &source.offered_tls;
        offered.keep_in(data_dir, &source.name, &address(source));
    }
}

fn address(source: &SourceConfig) -> String {
    host_and_port(&source.host, source.port)
}

/// Fails when the source does not answer within `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, ReceiverError>>,
) -> Result<T, ReceiverError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ReceiverError::Silent(limit)),
    }
}
