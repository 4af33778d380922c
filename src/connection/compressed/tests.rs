//! Compressed packets over sockets: round trips, splits, limits, and hostile lengths.

use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const ALGORITHMS: [Compression; 4] = [
    Compression::Zlib,
    Compression::Zstd { level: 1 },
    Compression::Zstd { level: 3 },
    Compression::Zstd { level: 22 },
];

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

fn over(socket: TcpStream, algorithm: Compression) -> CompressedStream {
    CompressedStream::new(Stream::Tcp(socket), algorithm).unwrap()
}

async fn pair(algorithm: Compression) -> (CompressedStream, CompressedStream) {
    let (one, other) = sockets().await;
    (over(one, algorithm), over(other, algorithm))
}

/// Bytes that compress a little.
fn text(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (state >> 28) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rand::fill(bytes.as_mut_slice());
    bytes
}

async fn read(stream: &mut CompressedStream, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let reading = stream.read_exact(&mut bytes);
    timeout(Duration::from_secs(20), reading)
        .await
        .expect("in time")?;
    Ok(bytes)
}

#[tokio::test]
async fn bytes_of_any_kind_and_length_arrive_unchanged() {
    for algorithm in ALGORITHMS {
        let (mut one, mut other) = pair(algorithm).await;
        for len in [
            1,
            49,
            50,
            51,
            1000,
            CHUNK_LEN_MAX,
            CHUNK_LEN_MAX + 1,
            300_000,
        ] {
            for sent in [text(len), noise(len), vec![0; len]] {
                let writing = async {
                    one.write_all(&sent).await.unwrap();
                    one.flush().await.unwrap();
                };
                let ((), received) = tokio::join!(writing, read(&mut other, len));
                assert!(received.unwrap() == sent, "{algorithm:?}: {len} bytes");
            }
        }
    }
}

/// Not in one piece, and not piece by piece as it was sent.
#[tokio::test]
async fn a_packet_of_16_mib_arrives_unchanged() {
    for algorithm in [Compression::Zlib, Compression::Zstd { level: 1 }] {
        let sent = [text(9 << 20), noise(7 << 20)].concat();
        // As another implementation may send it: as one compressed packet of the largest length.
        let mut whole = vec![0; 0xFF_FFFF];
        let (bytes, rest) = sent.split_at(0xFF_FFF0 - 9000);
        let length = Packer::new(algorithm)
            .unwrap()
            .pack(bytes, &mut whole)
            .unwrap();
        let mut wire = header(length, 0, bytes.len());
        wire.extend_from_slice(&whole[..length]);
        let (mut raw, receiver) = sockets().await;
        let mut receiver = over(receiver, algorithm);
        let writing = async { raw.write_all(&wire).await.unwrap() };
        let ((), received) = tokio::join!(writing, read(&mut receiver, bytes.len()));
        assert!(received.unwrap() == bytes, "{algorithm:?}");

        let mut sender = over(raw, algorithm);
        sender.sequence = 1;
        let writing = async {
            sender.write_all(rest).await.unwrap();
            sender.flush().await.unwrap();
        };
        let ((), received) = tokio::join!(writing, read(&mut receiver, rest.len()));
        assert!(received.unwrap() == rest, "{algorithm:?}");
    }
}

fn header(length: usize, sequence: u8, unpacked: usize) -> Vec<u8> {
    let ([a, b, c, ..], [d, e, f, ..]) = (length.to_le_bytes(), unpacked.to_le_bytes());
    vec![a, b, c, sequence, d, e, f]
}

fn packet(algorithm: Compression, sequence: u8, bytes: &[u8], claimed: usize) -> Vec<u8> {
    let mut packed = vec![0; bytes.len() + 100];
    let length = Packer::new(algorithm)
        .unwrap()
        .pack(bytes, &mut packed)
        .unwrap();
    [header(length, sequence, claimed), packed[..length].to_vec()].concat()
}

#[tokio::test]
async fn packets_may_be_split_anywhere() {
    for algorithm in ALGORITHMS {
        let sent = text(200);
        let mut wire = packet(algorithm, 0, &sent, sent.len());
        wire.extend(header(3, 1, 0));
        wire.extend(b"abc");
        wire.extend(header(0, 2, 0));
        wire.extend(packet(algorithm, 3, &sent, sent.len()));
        let (mut raw, receiver) = sockets().await;
        let mut receiver = over(receiver, algorithm);
        let writing = async {
            for byte in &wire {
                raw.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let expected = [&sent[..], b"abc", &sent].concat();
        let ((), received) = tokio::join!(writing, read(&mut receiver, expected.len()));
        assert_eq!(received.unwrap(), expected, "{algorithm:?}");
    }
}

/// The error of a stream that was sent these bytes.
async fn error_of(algorithm: Compression, wire: &[u8]) -> io::Error {
    let (mut raw, receiver) = sockets().await;
    let mut receiver = over(receiver, algorithm);
    raw.write_all(wire).await.unwrap();
    raw.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    let reading = receiver.read_to_end(&mut bytes);
    let read = timeout(Duration::from_secs(20), reading)
        .await
        .expect("in time");
    read.expect_err("an error")
}

#[tokio::test]
async fn lengths_that_contradict_the_contents_are_refused() {
    for algorithm in ALGORITHMS {
        let bytes = text(5000);
        for claimed in [1, 50, 4999, 5001, 0xFF_FFFF] {
            let mut wire = packet(algorithm, 0, &bytes, claimed);
            // More would be needed to fulfil the claim.
            wire.extend(packet(algorithm, 1, &bytes, bytes.len()));
            let error = error_of(algorithm, &wire).await;
            assert_eq!(
                error.kind(),
                ErrorKind::InvalidData,
                "{algorithm:?}: {claimed}"
            );
        }
        // The payload continues after the compressed stream's end.
        let mut wire = packet(algorithm, 0, &bytes, bytes.len());
        wire[0] = wire[0].wrapping_add(1);
        wire[1] = wire[1].wrapping_add(u8::from(wire[0] == 0));
        wire.push(0);
        let error = error_of(algorithm, &wire).await;
        assert_eq!(
            error.kind(),
            ErrorKind::InvalidData,
            "{algorithm:?}: {error}"
        );
    }
}

#[tokio::test]
async fn garbage_and_wrong_numbers_are_refused() {
    for algorithm in ALGORITHMS {
        let mut wire = header(100, 0, 200);
        wire.extend([0xAB; 100]);
        error_of(algorithm, &wire).await;
        let wire = packet(algorithm, 7, &text(100), 100);
        let error = error_of(algorithm, &wire).await;
        assert!(
            error.to_string().contains("number 7 instead of 0"),
            "{error}"
        );
    }
}

/// Every byte of a packet, damaged: an error or other bytes, but no panic, and no more than announced.
#[tokio::test]
async fn damaged_packets_do_no_harm() {
    for algorithm in [Compression::Zlib, Compression::Zstd { level: 3 }] {
        let bytes = text(300);
        let whole = packet(algorithm, 0, &bytes, bytes.len());
        for at in 0..whole.len() {
            let mut wire = whole.clone();
            wire[at] ^= 0x55;
            let (mut raw, receiver) = sockets().await;
            let mut receiver = over(receiver, algorithm);
            raw.write_all(&wire).await.unwrap();
            raw.shutdown().await.unwrap();
            let mut received = Vec::new();
            let reading = receiver.read_to_end(&mut received);
            let _ = timeout(Duration::from_secs(20), reading)
                .await
                .expect("in time");
            assert!(received.len() <= 0xFF_FFFF, "byte {at}");
        }
    }
}

#[tokio::test]
async fn numbers_count_both_directions_and_begin_with_each_command() {
    let (mut one, mut other) = pair(Compression::Zlib).await;
    for _ in 0..3 {
        one.begin_command();
        other.begin_command();
        one.write_all(&[1; 100]).await.unwrap();
        one.flush().await.unwrap();
        read(&mut other, 100).await.unwrap();
        for _ in 0..300 {
            other.write_all(&[2; 100]).await.unwrap();
            other.flush().await.unwrap();
            read(&mut one, 100).await.unwrap();
        }
    }
    // A client that ends a dump sends a command, whose number is 0.
    one.begin_command();
    other.accept_any_sequence();
    one.write_all(&[1; 100]).await.unwrap();
    one.flush().await.unwrap();
    read(&mut other, 100).await.unwrap();
}

#[tokio::test]
async fn small_and_incompressible_packets_are_sent_as_they_are() {
    let (mut raw, sender) = sockets().await;
    let mut sender = over(sender, Compression::Zstd { level: 3 });
    for bytes in [vec![b'a'; 49], noise(5000)] {
        sender.begin_command();
        sender.write_all(&bytes).await.unwrap();
        sender.flush().await.unwrap();
        let mut wire = vec![0; HEADER_LEN + bytes.len()];
        raw.read_exact(&mut wire).await.unwrap();
        assert_eq!(wire[..HEADER_LEN], header(bytes.len(), 0, 0));
        assert!(wire[HEADER_LEN..] == bytes);
    }
}
