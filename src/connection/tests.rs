use super::client::{ConnectOptions, connect};
use super::*;
use crate::protocol::ServerError;
use crate::protocol::auth::{Secret, ServerKey};
use crate::protocol::framing::FRAME_PAYLOAD_MAX;
use crate::protocol::response::{Column, OkPacket};
use crate::tls::{ClientTls, OfferedTls, server_config};
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Two ends of a TCP connection.
async fn pair(read_buffer_size: usize) -> (Connection, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = TcpStream::connect(address);
    let (client, server) = tokio::join!(connecting, listener.accept());
    (
        Connection::new(client.unwrap(), "server".to_owned(), read_buffer_size),
        Connection::new(server.unwrap().0, "client".to_owned(), read_buffer_size),
    )
}

async fn tls_pair(read_buffer_size: usize) -> (Connection, Connection) {
    let (mut client, mut server) = pair(read_buffer_size).await;
    let dir = tempfile::tempdir().unwrap();
    let tls = server_config(None, dir.path()).unwrap();
    let config = crate::tls::client_config(&ClientTls::default())
        .unwrap()
        .unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let (one, two) = tokio::join!(
        client.upgrade_client(config, name),
        server.upgrade_server(tls.config)
    );
    one.unwrap();
    two.unwrap();
    (client, server)
}

#[tokio::test]
async fn many_small_packets_are_returned_from_one_read() {
    let (mut client, mut server) = pair(64 << 10).await;
    let (mut wire, mut sequence) = (Vec::new(), 0);
    for index in 0..500u16 {
        put_packet(&mut wire, &mut sequence, &index.to_le_bytes());
    }
    server.write_raw(&wire).await.unwrap();
    server.flush().await.unwrap();
    while client.input.available().len() < wire.len() {
        client.fill().await.unwrap();
    }
    for index in 0..500u16 {
        let part = client.buffered_part().unwrap();
        assert_eq!(part, Some(PacketPart::Whole(&index.to_le_bytes())));
    }
    assert_eq!(client.buffered_part().unwrap(), None);
}

#[tokio::test]
async fn a_packet_of_40_mib_is_returned_in_parts_with_and_without_tls() {
    let payload: Vec<u8> = (0..FRAME_PAYLOAD_MAX * 2 + 9000)
        .map(|i| (i % 253) as u8)
        .collect();
    for (mut client, mut server) in [pair(16 << 10).await, tls_pair(16 << 10).await] {
        let sent = payload.clone();
        let sending = tokio::spawn(async move {
            let (mut wire, mut sequence) = (Vec::new(), 0);
            put_packet(&mut wire, &mut sequence, &sent);
            put_packet(&mut wire, &mut sequence, b"next");
            let (head, tail) = wire.split_at(1_000_001);
            server
                .write_raw_slices(&mut [IoSlice::new(&[]), IoSlice::new(head), IoSlice::new(tail)])
                .await
                .unwrap();
            server.flush().await.unwrap();
            server
        });
        let mut received = Vec::new();
        loop {
            if let Some(part) = client.buffered_part().unwrap() {
                received.extend_from_slice(part.bytes());
                if part.is_last() {
                    break;
                }
            } else {
                client.fill().await.unwrap();
            }
        }
        assert!(received == payload);
        assert_eq!(client.input.capacity(), 16 << 10);
        assert_eq!(client.read_packet(4).await.unwrap(), b"next");
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn a_cancelled_fill_loses_nothing() {
    for (mut client, mut server) in [pair(1024).await, tls_pair(1024).await] {
        let (mut wire, mut sequence) = (Vec::new(), 0);
        put_packet(
            &mut wire,
            &mut sequence,
            b"a packet that comes byte by byte",
        );
        let sending = tokio::spawn(async move {
            for byte in wire {
                server.write_raw(&[byte]).await.unwrap();
                server.flush().await.unwrap();
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
            server
        });
        let packet = loop {
            if let Some(part) = client.buffered_part().unwrap() {
                break part.bytes().to_vec();
            }
            if let Ok(outcome) = timeout(Duration::from_micros(100), client.fill()).await {
                outcome.unwrap();
            }
        };
        assert_eq!(packet, b"a packet that comes byte by byte");
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_peer_is_noticed_while_waiting() {
    let (mut client, server) = pair(1024).await;
    let waiting = timeout(Duration::from_millis(20), client.wait_readable_or_closed());
    assert!(waiting.await.is_err(), "nothing was sent yet");
    drop(server);
    let error = client.wait_readable_or_closed().await.unwrap_err();
    assert!(
        matches!(error.cause, ConnectionErrorCause::Closed),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_closes_without_close_notify_counts_as_closed() {
    let (mut client, server) = tls_pair(1024).await;
    client.set_phase(Phase::Dump);
    // Dropped without a shutdown: the socket closes under TLS.
    drop(server);
    let error = client.fill().await.unwrap_err();
    let expected = format!(
        "{}: dump: the peer closed the connection",
        client.peer_name()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_peer_that_overfills_an_unread_buffer_is_an_error() {
    let (mut client, mut server) = pair(1024).await;
    server.write_packet(&[0; 1000]).await.unwrap();
    server.write_packet(&[0; 1000]).await.unwrap();
    server.flush().await.unwrap();
    let error = loop {
        if let Err(error) = client.fill().await {
            break error;
        }
    };
    assert!(
        matches!(error.cause, ConnectionErrorCause::ReadBufferFull),
        "{error}"
    );
}

#[tokio::test]
async fn read_packet_refuses_more_than_its_limit() {
    let (mut client, mut server) = pair(1024).await;
    server.write_packet(&[1; 4000]).await.unwrap();
    server.flush().await.unwrap();
    let error = client.read_packet(3999).await.unwrap_err();
    let cause = error.cause;
    assert!(matches!(
        cause,
        ConnectionErrorCause::PacketTooLarge { length_max: 3999 }
    ));
    let (mut client, mut server) = pair(1024).await;
    server.write_packet(&[1; 4000]).await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(client.read_packet(4000).await.unwrap(), [1; 4000]);
}

#[tokio::test]
async fn an_exact_read_leaves_the_next_bytes_in_the_socket() {
    let (mut client, mut server) = pair(1024).await;
    server.write_packet(&[7; 3000]).await.unwrap();
    server.write_raw(b"raw bytes of TLS").await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(client.read_packet_exactly(3000).await.unwrap(), [7; 3000]);
    assert!(client.input.available().is_empty());
    let mut rest = [0; 16];
    client.stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"raw bytes of TLS");
}

#[tokio::test]
async fn bytes_before_tls_are_not_read_under_it() {
    let (mut client, mut server) = pair(1024).await;
    server.write_packet(b"greeting").await.unwrap();
    server.write_packet(b"injected").await.unwrap();
    server.flush().await.unwrap();
    client.read_packet(100).await.unwrap();
    while client.input.available().len() < 12 {
        client.fill().await.unwrap();
    }
    let config = crate::tls::client_config(&ClientTls::default())
        .unwrap()
        .unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let error = client.upgrade_client(config, name).await.unwrap_err();
    assert!(
        error.to_string().contains("12 unencrypted bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn queries_and_answers_share_their_packet_numbers() {
    let (mut client, mut server) = pair(1024).await;
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            assert_eq!(
                server.read_command(100).await.unwrap(),
                b"\x03SELECT @@server_id"
            );
            let rows: Vec<_> = (0..400).map(|_| vec![Some(b"900".to_vec())]).collect();
            let columns = [Column::integer("@@server_id")];
            server.write_text_result(&columns, &rows).await.unwrap();
        }
        server.read_command(100).await.unwrap();
        server.write_ok(&OkPacket::default()).await.unwrap();
        server.read_command(100).await.unwrap();
        let error = ServerError::new(1193, "Unknown system variable 'x'");
        server.write_error(&error).await.unwrap();
        server.read_command(100).await.unwrap_err()
    });
    for _ in 0..2 {
        let result = client.query("SELECT @@server_id").await.unwrap();
        assert_eq!(
            (result.rows.len(), result.single().as_deref()),
            (400, Some("900"))
        );
    }
    client.execute("SET @x = 1").await.unwrap();
    client.set_phase(Phase::Query);
    let error = client.execute("SET @@x = 1").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "server: query: error 1193 (HY000): Unknown system variable 'x'"
    );
    drop(client);
    assert!(matches!(
        serving.await.unwrap().cause,
        ConnectionErrorCause::Closed
    ));
}

#[tokio::test]
async fn resizing_keeps_the_bytes_that_were_read() {
    let (mut client, mut server) = pair(64 << 10).await;
    server.write_packet(&[5; 10_000]).await.unwrap();
    server.flush().await.unwrap();
    while client.input.available().len() < 10_004 {
        client.fill().await.unwrap();
    }
    client.resize_read_buffer(1024);
    assert_eq!(client.input.capacity(), 10_004);
    client.resize_read_buffer(128 << 10);
    assert_eq!(
        client.buffered_part().unwrap(),
        Some(PacketPart::Whole(&[5; 10_000]))
    );
}

#[tokio::test]
async fn a_silent_server_times_out_in_its_phase() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = ConnectOptions {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        user: "repl".to_owned(),
        password: Secret::new("secret"),
        tls: ClientTls::default(),
        offered_tls: OfferedTls::default(),
        server_key: ServerKey::Refused,
        compression: None,
        connect_timeout: Duration::from_millis(50),
        read_buffer_size: 1024,
    };
    let error = connect(&options).await.unwrap_err();
    assert_eq!(error.phase, Phase::Greeting);
    assert!(
        matches!(error.cause, ConnectionErrorCause::TimedOut(_)),
        "{error}"
    );
    drop(listener);
    let error = connect(&options).await.unwrap_err();
    assert_eq!(error.phase, Phase::Connect);
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!format!("{options:?}").contains("secret"));
}
