//! The listener's socket, which the service manager keeps open while the relay is restarted.
//!
//! A replica that loses its connection connects again at once. If that is refused, it waits for its connect retry, by
//! default a minute. A service of systemd can store a socket (`FDSTORE=1`, sd_notify(3)), which systemd keeps open and
//! passes to the service's next process (sd_listen_fds(3)). Connections that are made meanwhile wait in it until that
//! process accepts them.

use std::io;
use std::os::fd::AsFd;

use sd_notify::NotifyState;
use socket2::SockRef;
use tokio::net::{TcpListener, lookup_host};

/// The name under which the listener is stored.
const NAME: &str = "replicas";

/// How many connections may wait to be accepted, as far as the system permits (`net.core.somaxconn`). While as many wait,
/// it ignores new ones, and their clients try again after a second: a flood of connections must not fill this between
/// two turns of the accepting task.
const BACKLOG: i32 = 4096;

/// The listening sockets that the service manager has passed to this process: stored by an earlier process, or those of
/// a socket unit.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<std::net::TcpListener>);

impl PassedSockets {
    /// Takes ownership of them, so it must be called only once.
    pub fn take() -> Self {
        let passed = sd_listen_fds::get().unwrap_or_else(|error| {
            tracing::debug!("the sockets of the service manager are not used: {error}");
            Vec::new()
        });
        let listeners = passed.into_iter().map(|(_, socket)| socket.into());
        Self(listeners.collect())
    }

    /// The listener at `address`: the one that was passed, which the service manager still has, or a new one, which it is
    /// asked to keep.
    ///
    /// # Errors
    /// When the address is unknown or in use.
    pub(super) async fn listen(self, address: &str) -> io::Result<TcpListener> {
        // Changes the backlog of a socket that listens already.
        let listen = |listener: &TcpListener| SockRef::from(listener).listen(BACKLOG);
        if let Some(listener) = self.find(address).await? {
            tracing::info!("listening on the socket that the service manager has kept open");
            listen(&listener)?;
            return Ok(listener);
        }
        let listener = TcpListener::bind(address).await?;
        listen(&listener)?;
        let store = [NotifyState::FdStore, NotifyState::FdName(NAME)];
        if let Err(error) = sd_notify::notify_with_fds(&store, &[listener.as_fd()]) {
            tracing::debug!("the service manager does not keep the socket: {error}");
        }
        Ok(listener)
    }

    async fn find(self, address: &str) -> io::Result<Option<TcpListener>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let wanted: Vec<_> = lookup_host(address).await?.collect();
        let is_wanted = |socket: &std::net::TcpListener| {
            socket
                .local_addr()
                .is_ok_and(|found| wanted.contains(&found))
        };
        let Some(socket) = self.0.into_iter().find(is_wanted) else {
            // The address was changed: nothing would accept the connections of the old one.
            let remove = [NotifyState::FdStoreRemove, NotifyState::FdName(NAME)];
            if let Err(error) = sd_notify::notify(&remove) {
                tracing::debug!("the service manager keeps an old socket: {error}");
            }
            return Ok(None);
        };
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn many_connections_wait_until_they_are_accepted() {
        let sockets = PassedSockets::default();
        let listener = sockets.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let count = limit
            .trim()
            .parse()
            .map_or(400, |limit: usize| limit.min(400));
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap();
        let waiting: Vec<TcpStream> = (0..count).map(|_| connect()).collect();
        assert_eq!(waiting.len(), count);
    }
}
