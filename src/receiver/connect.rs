//! Connecting to a source for a dump.

use std::time::Duration;

use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::options::ReceiverOptions;
use crate::config::SourceCompression;
use crate::connection::client::{self, ConnectOptions};
use crate::connection::{Compression, Connection};

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
    let connecting = ConnectOptions {
        host: config.host.clone(),
        port: config.port,
        user: config.user.clone(),
        password: config.password.clone(),
        tls: config.tls.clone(),
        compression: match config.compression {
            SourceCompression::Off => None,
            SourceCompression::Zlib => Some(Compression::Zlib),
            SourceCompression::Zstd => Some(Compression::Zstd { level: ZSTD_LEVEL }),
        },
        connect_timeout: CONNECT_TIMEOUT,
        read_buffer_size: READ_BUFFER_LEN,
    };
    let (mut connection, greeting) = client::connect(&connecting).await?;
    let asking = SourceFacts::ask(&mut connection, &greeting);
    let facts = within(config.read_timeout, asking).await?;
    Ok((connection, facts))
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
