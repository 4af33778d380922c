//! Dumps that end with a GTID position, as the server's side of START SLAVE UNTIL.

use super::fixture::*;
use crate::binlog::{EventType, event};
use crate::flavor::Flavor;
use crate::gtid::BinlogState;

/// The end offset of each transaction.
fn log_of(gtids: &[&str]) -> (TestLog, Vec<u64>) {
    let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
    let mut ends = Vec::new();
    for gtid in gtids {
        log.mariadb(gtid, None);
        ends.push(log.log().published().offset);
    }
    (log, ends)
}

/// The GTID events that arrive until the dump ends by itself, and its last event: the position, flags and
/// state of the GTID list.
async fn dump(sender: &TestSender, state: &str, set: &str) -> (usize, (u32, u32, String)) {
    let mut connection = sender.replica().await;
    let state = format!("SET @slave_connect_state='{state}'");
    connection.execute(&state).await.unwrap();
    connection.execute(set).await.unwrap();
    // Not a dump that ends with the log.
    let command = by_position("", 4, 0, 11);
    connection.write_command(&command).await.unwrap();
    let (mut sent, mut last) = (0, None);
    loop {
        match next(&mut connection).await {
            Item::Event(header, bytes) => {
                sent += usize::from(header.event_type == EventType::MARIADB_GTID);
                last = Some((header, bytes));
            }
            Item::Eof => break,
            Item::Error(error) => panic!("{error}"),
        }
    }
    // Commands may follow.
    connection.query("SELECT 1").await.unwrap();
    let (header, bytes) = last.unwrap();
    assert_eq!(header.event_type, EventType::GTID_LIST);
    assert!(header.is_artificial());
    let list = BinlogState::decode_gtid_list(event::body(&bytes, true));
    let (state, flags) = list.unwrap();
    (sent, (header.log_pos, flags, state.to_string()))
}

#[tokio::test]
async fn a_dump_ends_after_the_last_domain_with_a_flagged_gtid_list() {
    let (log, ends) = log_of(&["0-1-1", "1-1-1", "0-1-2", "1-1-2", "0-1-3"]);
    let sender = TestSender::of(&log).await;
    let flag = 1 << 28;
    for (state, set, sent, end, seen) in [
        ("", "SET @slave_until_gtid='0-1-2'", 2, 2, "0-1-2,1-1-1"),
        (
            "",
            "SET @slave_until_gtid='0-1-2,1-1-2'",
            4,
            3,
            "0-1-2,1-1-2",
        ),
        // It ends with the log.
        ("", "SET @slave_until_gtid='0-1-3'", 3, 4, "0-1-3,1-1-2"),
        (
            "0-1-1",
            "SET @slave_until_gtid='0-1-2'",
            1,
            2,
            "0-1-2,1-1-1",
        ),
        // The replica has it.
        (
            "0-1-3",
            "SET @slave_until_gtid='0-1-2'",
            0,
            2,
            "0-1-2,1-1-1",
        ),
        (
            "",
            "SET @slave_until_gtid='0-1-2', @slave_gtid_until_before_gtids=1",
            1,
            2,
            "0-1-2,1-1-1",
        ),
    ] {
        let expected = (sent, (ends[end] as u32, flag, seen.to_owned()));
        assert_eq!(dump(&sender, state, set).await, expected, "{state}: {set}");
    }
    let (sent, (_, flags, seen)) = dump(&sender, "", "SET @slave_until_gtid=''").await;
    assert_eq!((sent, flags, seen.as_str()), (0, flag, ""));
}
