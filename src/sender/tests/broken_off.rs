//! Dumps that end although the log has more: the error follows the last complete packet, or is not sent.

use super::fixture::*;
use crate::binlog::event;
use crate::flavor::Flavor;
use crate::protocol::response::is_error;
use crate::sender::block_reader::BLOCK_LEN;
use std::path::Path;

fn truncate(path: &Path, len: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(len).unwrap();
}

/// A log whose only transaction ends `tail` bytes after the first block of a dump.
fn log_with_tail(tail: u64) -> TestLog {
    let end_with = |len: usize| {
        let mut log = TestLog::empty(Flavor::MySql, 1 << 30);
        log.mysql(1, &vec![b'x'; len]);
        let end = log.log().published().offset;
        (log, end)
    };
    let wanted = 4 + BLOCK_LEN as u64 + tail;
    let (_, end) = end_with(1000);
    let (log, end) = end_with(1000 + (wanted - end) as usize);
    assert_eq!(end, wanted);
    log
}

/// A replica would take the error for the event's rest.
#[tokio::test]
async fn no_error_is_written_inside_an_event() {
    let log = log_with_tail(20);
    let relay_log = log.log();
    let path = relay_log.log_dir().log_path(1);
    truncate(&path, relay_log.published().offset - 10);
    let sender = TestSender::of(&log).await;
    let mut connection = sender.replica().await;
    let command = by_position("", 4, 1, 11);
    connection.write_command(&command).await.unwrap();
    let mut events = 0;
    while let Ok(packet) = connection.read_packet(64 << 20).await {
        assert!(!is_error(&packet), "an error was read as a packet");
        event::verify_checksum(&packet[1..]).expect("whole events only");
        events += 1;
    }
    // ROTATE, FORMAT_DESCRIPTION, PREVIOUS_GTIDS, GTID; the connection ends inside the next one.
    assert_eq!(events, 4);
}

#[tokio::test]
async fn an_error_continues_the_packet_numbers_of_what_was_written() {
    let mut log = TestLog::empty(Flavor::MySql, 500);
    for gno in 1..=4 {
        log.mysql(gno, b"CREATE TABLE t (a INT)");
    }
    let relay_log = log.log();
    let newest = relay_log.published().file;
    let path = relay_log.log_dir().log_path(newest);
    truncate(&path, relay_log.published().offset - 10);
    let sender = TestSender::of(&log).await;
    let mut connection = sender.replica().await;
    let lines = outline(&mut connection, &by_position("", 4, 1, 11)).await;
    let error = lines.last().unwrap();
    assert!(error.starts_with("1236 "), "{error}");
}
