//! Semi-synchronous dumps.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::fixture::*;
use crate::binlog::EventHeader;
use crate::config::CompressionChoice;
use crate::connection::{Compression, Connection};
use crate::flavor::Flavor;
use crate::protocol::semi_sync::{Acknowledgement, split_event};
use crate::relay_log::bridge::ServedFile;
use crate::relay_log::reader::FIRST_EVENT;
use crate::sender::dump_request::{ChecksumAwareness, DumpStart, EventSupport, SkipRule};
use crate::sender::packets::SentRegion;
use crate::sender::refusals::Wording;
use crate::sender::until::Until;
use crate::sender::value::Value;
use crate::sender::variables::SessionVariables;
use crate::sender::walk::Walk;
use tokio::time::timeout;

const DDL: &[u8] = b"CREATE TABLE t (a INT)";

async fn replica(sender: &TestSender, compression: Option<Compression>) -> Connection {
    let (mut connection, _) = sender.login_with("repl", compression).await.unwrap();
    for set in [
        "SET @source_binlog_checksum = 'CRC32', @mariadb_slave_capability = 4",
        "SET @rpl_semi_sync_replica = 1, @rpl_semi_sync_slave = 1",
    ] {
        connection.execute(set).await.unwrap();
    }
    connection
}

/// The events up to the one that asks for an acknowledgement: their names and its position.
async fn until_asked(connection: &mut Connection) -> (Vec<&'static str>, u64) {
    let mut names = Vec::new();
    loop {
        let packet = timeout(Duration::from_secs(20), connection.read_packet(1 << 20));
        let packet = packet.await.expect("a packet in time").unwrap();
        assert_eq!(packet[0], 0, "{packet:?}");
        let (asks, event) = split_event(&packet[1..]).expect("a header");
        let header = EventHeader::parse(event).unwrap();
        assert_eq!(header.event_size as usize, event.len());
        names.push(header.event_type.name());
        if asks {
            return (names, u64::from(header.log_pos));
        }
    }
}

async fn acknowledge(connection: &mut Connection, file: &str, position: u64) {
    let mut packet = Vec::new();
    let file = file.as_bytes();
    Acknowledgement { file, position }.encode(&mut packet);
    connection.write_acknowledgement(&packet).await.unwrap();
}

/// Waits until this many acknowledgements were counted.
async fn until_counted(sender: &TestSender, count: u64) {
    let waiting = async {
        loop {
            let reports = sender.replicas.report();
            if reports.len() == 1 && reports[0].semi_sync && reports[0].semi_sync_acks == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let counted = timeout(Duration::from_secs(20), waiting).await;
    assert!(counted.is_ok(), "{:?}", sender.replicas.report());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_event_asks_and_acknowledgements_are_counted() {
    for compression in [None, Some(Compression::Zlib)] {
        let mut log = TestLog::empty(Flavor::MySql, 1 << 20);
        log.mysql(1, DDL).mysql(2, DDL);
        let choice = CompressionChoice::On;
        let sender = TestSender::offering(Some(log.log()), WRITE_TIMEOUT, choice).await;
        let mut connection = replica(&sender, compression).await;
        let dump = by_position("relay-bin.000001", 4, 0, 11);
        connection.write_command(&dump).await.unwrap();
        connection.begin_semi_sync();
        let (names, end) = until_asked(&mut connection).await;
        let head = ["Rotate", "Format_desc", "Previous_gtids"];
        assert_eq!(names[..3], head);
        assert_eq!(names[3..], ["Gtid", "Query", "Gtid", "Query"]);
        assert_eq!(end, log.log().published().offset);
        // Without an answer, the next one is sent as well.
        log.mysql(3, DDL);
        assert_eq!(until_asked(&mut connection).await.0, ["Gtid", "Query"]);
        acknowledge(&mut connection, "relay-bin.000001", end).await;
        until_counted(&sender, 1).await;
        log.mysql(4, DDL);
        let (names, end) = until_asked(&mut connection).await;
        assert_eq!(names, ["Gtid", "Query"]);
        acknowledge(&mut connection, "relay-bin.000001", end).await;
        until_counted(&sender, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_of_what_was_not_sent_ends_the_dump() {
    let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
    log.mariadb("0-1-1", None);
    let sender = TestSender::of(&log).await;
    let hostile: [&[u8]; 5] = [
        b"\xef\xff\xff\xff\x7f\0\0\0\0relay-bin.000001",
        b"\xef\x04\0\0\0\0\0\0\0relay-bin.000009",
        b"\xef\x04\0\0",
        b"\x01",
        &[0xEF; 4000],
    ];
    for packet in hostile {
        let mut connection = replica(&sender, None).await;
        let dump = by_position("relay-bin.000001", 4, 0, 11);
        connection.write_command(&dump).await.unwrap();
        connection.begin_semi_sync();
        until_asked(&mut connection).await;
        connection.write_acknowledgement(packet).await.unwrap();
        let ended = timeout(Duration::from_secs(20), connection.read_packet(1 << 20));
        assert!(ended.await.expect("an end in time").is_err(), "{packet:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_do_not_ask_are_sent_ordinary_events() {
    let mut log = TestLog::empty(Flavor::MySql, 1 << 20);
    log.mysql(1, DDL);
    let sender = TestSender::of(&log).await;
    let mut connection = sender.replica().await;
    let off = "SET @rpl_semi_sync_replica = 0, @rpl_semi_sync_slave = 0";
    connection.execute(off).await.unwrap();
    let dump = by_position("relay-bin.000001", 4, 0, 11);
    connection.write_command(&dump).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(next(&mut connection).await, Item::Event(..)));
    }
    let clients = sender.replicas.clients();
    let replica = clients.iter().find_map(|client| client.replica()).unwrap();
    assert!(!replica.is_semi_sync && replica.progress.acknowledgements.load(Relaxed) == 0);
    assert_eq!(sender.replicas.semi_sync_count(), 0);
}

/// What a dump with this UNTIL sends of a log with one transaction.
fn region_of_dump(gtid: &str, until: &str) -> SentRegion {
    let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
    log.mariadb(gtid, None);
    let bytes = std::fs::read(log.log().log_dir().log_path(1)).unwrap();
    let wording = Wording::of_version("11.8.6-MariaDB");
    let mut variables = SessionVariables::default();
    let value = Value::Text(until.to_owned());
    variables.set_user("slave_until_gtid", value).unwrap();
    let mut start = DumpStart {
        file: ServedFile::Log(1),
        position: FIRST_EVENT,
        at_event_boundary: true,
        by_gtid: true,
        keeps_temporary_tables: false,
        skip: SkipRule::Nothing,
        until: Until::of_session(&variables, &Default::default(), wording).unwrap(),
        non_blocking: false,
        heartbeat: None,
        heartbeat_v2: false,
        annotate_rows: false,
        support: EventSupport::All,
        checksums: ChecksumAwareness::FromStart,
        is_semi_sync: true,
    };
    let mut walk = Walk::new(
        &mut start,
        SERVER_ID,
        wording,
        "relay-bin.000001".to_owned(),
    );
    let events = &bytes[FIRST_EVENT as usize..];
    let walked = walk.block(events, FIRST_EVENT, &mut Vec::new()).unwrap();
    assert_eq!(walked, events.len());
    walk.packets.take_region()
}

/// The replica does not have it: on a server its commit waits for the timeout.
#[test]
fn what_until_skips_is_not_taken_for_what_the_replica_has() {
    // Sent, and skipped because its domain is not named.
    for gtid in ["0-1-1", "1-1-1"] {
        let region = region_of_dump(gtid, "0-1-9");
        assert!(region.has_sent && region.has_transactions, "{region:?}");
    }
}
