//! The unix socket that answers `binrelay status`, `position` and `attach`.
//!
//! A client sends one request as a JSON object, or nothing to get the status, and shuts its side of
//! the connection down. It gets the answer as one JSON object, and the connection is closed.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::adoption::{Answer, AttachRequest};
use crate::fault;
use crate::status::Report;

/// Time limit for one client to send its request, and to read its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for the answer to a request to attach a replica: files of a source and all commit
/// indexes may have to be read.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(3600);
/// The largest request that is accepted, in bytes.
const REQUEST_LEN_MAX: u64 = 16 * 1024 * 1024;
/// The largest answer that is accepted, in bytes.
const REPORT_LEN_MAX: u64 = 64 * 1024 * 1024;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// For the [`Report`].
    Status,
    /// For an [`Answer`].
    Attach(AttachRequest),
}

/// Answers a request with one JSON object.
pub type Respond = Arc<dyn Fn(Request) -> Response + Send + Sync>;
/// The answer, once it is known.
pub type Response = Pin<Box<dyn Future<Output = serde_json::Result<Vec<u8>>> + Send>>;

/// Opens the socket. The socket of a killed relay is replaced; one that answers is not.
///
/// # Errors
/// When another relay answers there, or the socket cannot be created.
pub async fn listen(path: &Path) -> io::Result<UnixListener> {
    let in_use = |text| Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return in_use(
                "a file that is not a socket exists there; set [admin] socket to another path",
            );
        }
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            // A socket that is too busy to answer is still in use.
            _ => {
                return in_use(
                    "another binrelay answers there; set [admin] socket to another path",
                );
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers until the relay stops.
pub async fn serve(listener: UnixListener, respond: Respond, mut shutdown: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((client, _)) => {
                fault::inject("admin_loop");
                let respond = respond.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(client, &respond).await {
                        tracing::debug!("a client of the admin socket: {error}");
                    }
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection on the admin socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut client: UnixStream, respond: &Respond) -> io::Result<()> {
    let mut json = Vec::new();
    let reading = (&mut client).take(REQUEST_LEN_MAX);
    let mut reading = Box::pin(reading);
    within(ANSWER_TIMEOUT, reading.read_to_end(&mut json)).await?;
    drop(reading);
    let request = match json.trim_ascii() {
        [] => Request::Status,
        json => serde_json::from_slice(json)?,
    };
    let mut json = respond(request).await?;
    json.push(b'\n');
    within(ANSWER_TIMEOUT, async {
        client.write_all(&json).await?;
        client.shutdown().await
    })
    .await
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let text = format!("no answer within {} seconds", limit.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// Asks the relay at `socket` for its state.
///
/// # Errors
/// When no relay answers there, or its answer cannot be read.
pub async fn ask(socket: &Path) -> io::Result<Report> {
    request(socket, &Request::Status, ANSWER_TIMEOUT).await
}

/// Asks the relay at `socket` to attach a replica.
///
/// # Errors
/// As [`ask`].
pub async fn ask_to_attach(socket: &Path, wanted: AttachRequest) -> io::Result<Answer> {
    request(socket, &Request::Attach(wanted), ATTACH_TIMEOUT).await
}

async fn request<T: DeserializeOwned>(
    socket: &Path,
    request: &Request,
    limit: Duration,
) -> io::Result<T> {
    let request = serde_json::to_vec(request)?;
    within(limit, async {
        let mut client = UnixStream::connect(socket).await?;
        client.write_all(&request).await?;
        client.shutdown().await?;
        let mut json = Vec::new();
        client.take(REPORT_LEN_MAX).read_to_end(&mut json).await?;
        Ok(serde_json::from_slice(&json)?)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_an_unused_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let alive = listen(&path).await.unwrap();
        let error = listen(&path).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(alive);
        listen(&path).await.unwrap();

        let file = dir.path().join("precious");
        std::fs::write(&file, "kept").unwrap();
        let error = listen(&file).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }
}
