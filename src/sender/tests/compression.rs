//! Compression of the protocol: to whom it is offered, and dumps through it.

use super::fixture::*;
use super::streaming::{received_on, stored};
use crate::config::CompressionChoice;
use crate::connection::{Compression, ConnectionErrorCause};
use crate::flavor::Flavor;
use crate::protocol::capability::{CLIENT_COMPRESS, CLIENT_ZSTD_COMPRESSION};

const DDL: &[u8] = b"CREATE TABLE t (a INT)";

#[tokio::test]
async fn compressed_dumps_are_the_same_bytes() {
    let mut log = TestLog::empty(Flavor::MySql, 100_000);
    for gno in 1..=400 {
        log.mysql(gno, DDL);
    }
    log.mysql(401, &vec![b'y'; 17 << 20]);
    let choice = CompressionChoice::On;
    let sender = TestSender::offering(Some(log.log()), WRITE_TIMEOUT, choice).await;
    for algorithm in [Compression::Zlib, Compression::Zstd { level: 3 }] {
        let (mut connection, greeting) = sender.login_with("repl", Some(algorithm)).await.unwrap();
        let both = CLIENT_COMPRESS | CLIENT_ZSTD_COMPRESSION;
        assert_eq!(greeting.capabilities & both, both);
        let set = "SET @source_binlog_checksum = 'CRC32'";
        connection.execute(set).await.unwrap();
        // A long command, which the client compresses.
        let long = format!("SET @x = '{}'", "x".repeat(500_000));
        connection.execute(&long).await.unwrap();
        let bytes = received_on(connection, &by_position("", 4, 1, 11)).await;
        assert!(
            bytes == stored(&log),
            "{algorithm:?}: {} bytes",
            bytes.len()
        );
    }
}

/// By default not to clients on a loopback address, and to MariaDB clients zlib only.
#[tokio::test]
async fn compression_is_offered_as_configured() {
    let both = CLIENT_COMPRESS | CLIENT_ZSTD_COMPRESSION;
    for (flavor, choice, expected) in [
        (Flavor::MySql, CompressionChoice::Auto, 0),
        (Flavor::MySql, CompressionChoice::Off, 0),
        (Flavor::MySql, CompressionChoice::On, both),
        (Flavor::MariaDb, CompressionChoice::On, CLIENT_COMPRESS),
    ] {
        let log = TestLog::empty(flavor, 1 << 20);
        let sender = TestSender::offering(Some(log.log()), WRITE_TIMEOUT, choice).await;
        let (_, greeting) = sender.login("repl").await.unwrap();
        assert_eq!(
            greeting.capabilities & both,
            expected,
            "{flavor:?}, {choice:?}"
        );
        let zstd = Some(Compression::Zstd { level: 3 });
        let with_zstd = sender.login_with("repl", zstd).await;
        match expected & CLIENT_ZSTD_COMPRESSION {
            0 => {
                let error = with_zstd.unwrap_err();
                let is_refused = matches!(error.cause, ConnectionErrorCause::CompressionNotOffered);
                assert!(is_refused, "{error}");
            }
            _ => drop(with_zstd.unwrap()),
        }
    }
}
