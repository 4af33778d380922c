//! The unix socket that answers `binrelay status`: each client gets the report as one JSON
//! object, and the connection is closed.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::fault;
use crate::status::Report;

/// Time limit for one client to read its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is accepted, in bytes.
const REPORT_LEN_MAX: u64 = 64 * 1024 * 1024;

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
pub async fn serve(
    listener: UnixListener,
    report: Arc<dyn Fn() -> Report + Send + Sync>,
    mut shutdown: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((client, _)) => {
                fault::inject("admin_loop");
                let report = report.clone();
                tokio::spawn(async move {
                    let report = report();
                    let answer = answer(client, &report);
                    let _ = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection on the admin socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut client: UnixStream, report: &Report) -> io::Result<()> {
    let mut json = serde_json::to_vec(report)?;
    json.push(b'\n');
    client.write_all(&json).await?;
    client.shutdown().await
}

/// Asks the relay at `socket`.
///
/// # Errors
/// When no relay answers there, or its answer cannot be read.
pub async fn ask(socket: &Path) -> io::Result<Report> {
    let asking = async {
        let client = UnixStream::connect(socket).await?;
        let mut json = Vec::new();
        client.take(REPORT_LEN_MAX).read_to_end(&mut json).await?;
        Ok(serde_json::from_slice(&json)?)
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no answer within 5 seconds",
        )),
    }
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
