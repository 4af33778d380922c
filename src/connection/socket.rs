//! Connecting a socket to a host, by name or address.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

/// `HOST:PORT`, with an IPv6 address in brackets.
pub fn host_and_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Connects to the first of the host's addresses that accepts. Its name is resolved at each call: it may have moved.
///
/// # Errors
/// When the name has no address, or none of its addresses accepts; then all are named.
pub(super) async fn connect(host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + limit;
    let addresses = match lookup_host((host, port)).await {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            let text = format!("cannot resolve the name {host}: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
    };
    connect_to_any(&addresses, end).await
}

/// An address that does not answer leaves time for the others.
async fn connect_to_any(addresses: &[SocketAddr], end: Instant) -> io::Result<TcpStream> {
    let mut failed = Vec::new();
    for (number, address) in addresses.iter().enumerate() {
        let left = addresses.len() - number;
        let limit = end.saturating_duration_since(Instant::now()) / left as u32;
        let error = match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("timed out after {} ms", limit.as_millis()),
            ),
        };
        failed.push((address, error));
    }
    let Some((address, last)) = failed.pop() else {
        return Err(io::Error::other("the name has no address"));
    };
    if failed.is_empty() {
        return Err(last);
    }
    let kind = last.kind();
    failed.push((address, last));
    let texts = failed.iter();
    let texts = texts.map(|(address, error)| format!("{address}: {error}"));
    let text = texts.collect::<Vec<_>>().join("; ");
    Err(io::Error::new(kind, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    #[test]
    fn ipv6_addresses_are_written_in_brackets() {
        assert_eq!(host_and_port("::1", 3306), "[::1]:3306");
        assert_eq!(host_and_port("db1", 3306), "db1:3306");
    }

    /// An address that answers no connection: its queue is full.
    fn silent() -> (SocketAddr, Vec<Socket>) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            sockets.push(socket);
        }
        (address.as_socket().unwrap(), sockets)
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = closed.local_addr().unwrap();
        drop(closed);
        let (silent, _sockets) = silent();
        let end = || Instant::now() + Duration::from_secs(2);
        for addresses in [
            vec![refusing, good],
            vec![silent, good],
            vec![silent, refusing, good],
        ] {
            let stream = connect_to_any(&addresses, end()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good, "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn all_addresses_that_failed_are_named() {
        let refusing = |host: &str| format!("{host}:1").parse::<SocketAddr>().unwrap();
        let addresses = [refusing("127.0.0.1"), refusing("[::1]")];
        let end = Instant::now() + Duration::from_secs(2);
        let error = connect_to_any(&addresses, end).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("127.0.0.1:1: ") && text.contains("; [::1]:1: "),
            "{text}"
        );
        let error = connect_to_any(&addresses[..1], end).await.unwrap_err();
        assert!(!error.to_string().contains(":1: "), "{error}");
    }

    #[tokio::test]
    async fn name_that_does_not_resolve_is_named() {
        let limit = Duration::from_secs(10);
        let error = connect("no-such-host.invalid", 3306, limit)
            .await
            .unwrap_err();
        let expected = "cannot resolve the name no-such-host.invalid: ";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
