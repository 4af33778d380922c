//! Streams, byte for byte, over real sockets.

use super::fixture::*;
use crate::binlog::EventType;
use crate::connection::Connection;
use crate::flavor::Flavor;
use crate::relay_log::reader::LogFile;
use std::time::Duration;
use tokio::time::sleep;

const DDL: &[u8] = b"CREATE TABLE t (a INT)";

/// The contents of a log's files, in order, without artificial events.
pub(super) fn stored(log: &TestLog) -> Vec<u8> {
    let relay_log = log.log();
    let mut bytes = Vec::new();
    for file in relay_log.state().files.clone() {
        bytes.extend_from_slice(&std::fs::read(relay_log.log_dir().log_path(file)).unwrap()[4..]);
    }
    bytes
}

/// All events of a non-blocking dump, without artificial events.
async fn received(sender: &TestSender, command: &[u8]) -> Vec<u8> {
    received_on(sender.replica().await, command).await
}

/// As `received`, on a connection.
pub(super) async fn received_on(mut connection: Connection, command: &[u8]) -> Vec<u8> {
    connection.write_command(command).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        match next(&mut connection).await {
            Item::Event(header, _) if header.is_artificial() => {}
            Item::Event(_, event) => bytes.extend(event),
            Item::Eof => return bytes,
            Item::Error(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn all_files_are_sent_byte_for_byte() {
    let mut log = TestLog::empty(Flavor::MySql, 2000);
    for gno in 1..=40 {
        log.mysql(gno, DDL);
    }
    // More than one block, more than one frame, and the exact limits of a frame.
    log.mysql(41, &vec![b'x'; 700_000]);
    for (gno, len) in (42..).zip([0xFF_FFFF - 38 - 1, 0xFF_FFFF - 38, 40 << 20]) {
        log.mysql(gno, &vec![b'y'; len]);
    }
    log.mysql(60, DDL);
    let sender = TestSender::of(&log).await;
    let bytes = received(&sender, &by_position("", 4, 1, 11)).await;
    assert!(bytes == stored(&log), "{} bytes", bytes.len());
    let by_gtid = received(&sender, &by_set("", 1)).await;
    assert!(by_gtid == bytes);
}

#[tokio::test]
async fn a_dump_from_the_middle_of_a_file_continues_in_the_next_one() {
    let mut log = TestLog::empty(Flavor::MySql, 500);
    for gno in 1..=3 {
        log.mysql(gno, DDL);
    }
    let relay_log = log.log();
    let sender = TestSender::of(&log).await;
    let mut connection = sender.replica().await;
    let file = LogFile::open(&relay_log.log_dir().log_path(1)).unwrap();
    let mut at = 4;
    for _ in 0..3 {
        at += u64::from(file.header_at(at).unwrap().event_size);
    }
    let command = by_position("relay-bin.000001", at as u32, 1, 11);
    let lines = outline(&mut connection, &command).await;
    // The position is inside the first transaction: its Query is sent first.
    assert_eq!(lines[..2], ["!Rotate@0", "Format_desc@0"]);
    let names: Vec<_> = lines
        .iter()
        .map(|line| line.split('@').next().unwrap())
        .collect();
    assert_eq!(
        names[2..],
        [
            "Query",
            "Gtid",
            "Query",
            "Rotate",
            "!Rotate",
            "Format_desc",
            "Previous_gtids",
            "Gtid",
            "Query"
        ]
    );
    // The connection accepts commands after a non-blocking dump.
    assert_eq!(
        connection
            .query("SELECT 1")
            .await
            .unwrap()
            .single()
            .as_deref(),
        Some("1")
    );
}

#[tokio::test]
async fn mysql_skips_transactions_that_the_replica_has() {
    let mut log = TestLog::empty(Flavor::MySql, 1 << 20);
    for gno in 1..=4 {
        log.mysql(gno, DDL);
    }
    let sender = TestSender::of(&log).await;
    let end = log.log().published().offset;
    let all = outline(&mut sender.replica().await, &by_set("", 1)).await;
    let ends: Vec<&str> = all
        .iter()
        .filter_map(|line| line.strip_prefix("Query@"))
        .collect();
    let heads = ["!Rotate@0".to_owned(), all[1].clone(), all[2].clone()];
    let expect = |rest: &[String]| [&heads[..], rest].concat();
    let outline_of = async |numbers: &str| {
        let set = format!("{UUID}:{numbers}");
        outline(&mut sender.replica().await, &by_set(&set, 1)).await
    };
    assert_eq!(
        outline_of("1-4").await,
        expect(&[format!("Heartbeat@{end}")])
    );
    assert_eq!(
        outline_of("1-2:4").await,
        expect(&[
            format!("Heartbeat@{}", ends[1]),
            all[7].clone(),
            all[8].clone(),
            format!("Heartbeat@{end}"),
        ])
    );
    let some = outline_of("4-9").await;
    assert_eq!(some.len(), all.len() - 2 + 1);
    assert_eq!(outline_of(&format!("4-9{}", gaps())).await, some);
    let v2 = by_set(&format!("{UUID}:1-4"), 1 | 2);
    let lines = outline(&mut sender.replica().await, &v2).await;
    assert_eq!(lines[3], format!("Heartbeat_v2@{end}"));
}

#[tokio::test]
async fn mysql_dumps_are_refused_with_real_errors() {
    let purged = format!("{UUID}:1-3").parse().unwrap();
    let purged = crate::identity::Executed::MySql(purged);
    let mut log = TestLog::new(Flavor::MySql, 1 << 20, purged);
    log.mysql(4, DDL);
    let sender = TestSender::of(&log).await;
    let refusal = async |command: Vec<u8>| {
        let mut connection = sender.replica().await;
        outline(&mut connection, &command).await.pop().unwrap()
    };
    let name = "relay-bin.000001";
    for (command, expected) in [
        (
            by_set("", 1),
            format!(
                "1236 Cannot replicate because the source purged required binary logs. Replicate \
                 the missing transactions from elsewhere, or provision a new replica from backup. \
                 Consider increasing the source's binary log expiration period. The GTID set sent \
                 by the replica is '', and the missing transactions are '{UUID}:1-3'"
            ),
        ),
        (
            by_position(name, 3, 1, 11),
            "1236 Client requested source to start replication from position < 4".to_owned(),
        ),
        (
            by_position(name, 1 << 30, 1, 11),
            "1236 Client requested source to start replication from position > file size"
                .to_owned(),
        ),
        (
            by_position("relay-bin.000009", 4, 1, 11),
            "1236 Could not find first log file name in binary log index file".to_owned(),
        ),
    ] {
        assert_eq!(refusal(command).await, expected);
    }
    let long = refusal(by_set(&format!("{UUID}:2{}", gaps()), 1)).await;
    assert!(
        long.contains("purged transactions are too long to print"),
        "{long}"
    );
    let ahead = refusal(by_set(&format!("{RELAY_UUID}:1"), 1)).await;
    assert!(ahead.starts_with("1236 Replica has more GTIDs than the source has"));
    assert!(ahead.ends_with("GTID_EXECU"), "{ahead}");
    let inside = refusal(by_position(name, 100, 1, 11)).await;
    assert!(
        inside.starts_with("1236 binlog truncated in the middle of event; consider out of disk"),
        "{inside}"
    );
    // Clients that request a dump by GTID must announce that they know checksums.
    let mut unaware = sender.connect("repl").await.unwrap();
    let by_gtid = by_set(&format!("{UUID}:1-3"), 1);
    unaware.write_command(&by_gtid).await.unwrap();
    let rotate = unaware.read_packet(1000).await.unwrap();
    assert!(rotate.ends_with(name.as_bytes()), "no checksum follows");
    let Item::Error(error) = next(&mut unaware).await else {
        panic!("checksums would be taken for a part of the events")
    };
    assert!(
        error.message.starts_with(
            "Replica can not handle replication events with the checksum that source is \
             configured to log; the first event 'relay-bin.000001' at 4, the last event read from \
             './relay-bin.000001' at 256, the last byte read from './relay-bin.000001' at 256."
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_account_without_the_privilege_may_not_dump() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::of(&log).await;
    let mut connection = sender.connect("nobody").await.unwrap();
    let lines = outline(&mut connection, &by_position("", 4, 1, 11)).await;
    assert_eq!(
        lines,
        [
            "1227 Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s) for \
             this operation"
        ]
    );
}

async fn mariadb_outline(
    sender: &TestSender,
    state: &str,
    strict: bool,
    flags: u16,
) -> Vec<String> {
    let mut connection = sender.replica().await;
    for set in [
        format!("SET @slave_connect_state='{state}'"),
        format!("SET @slave_gtid_strict_mode={}", u8::from(strict)),
    ] {
        connection.execute(&set).await.unwrap();
    }
    let mut lines = outline(&mut connection, &by_position("", 4, flags, 11)).await;
    lines.retain(|line| !line.starts_with("Query") && !line.contains("Format"));
    lines
}

#[tokio::test]
async fn mariadb_skips_each_domain_up_to_the_replicas_position() {
    let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
    let mut ends = Vec::new();
    for gtid in ["0-1-1", "1-1-1", "0-2-2", "1-1-2"] {
        log.mariadb(gtid, None);
        ends.push(log.log().published().offset);
    }
    let sender = TestSender::of(&log).await;
    let all = mariadb_outline(&sender, "", false, 1).await;
    assert_eq!(all.len(), 2 + 4, "{all:?}");
    let [rotate, list, g1, g2, g3, g4] = &all[..] else {
        panic!()
    };
    let gtid_list = |end: usize| format!("!Gtid_list@{}", ends[end]);
    let expected = |rest: &[&String]| {
        [&[rotate, list], rest]
            .concat()
            .into_iter()
            .cloned()
            .collect::<Vec<_>>()
    };
    let _ = g1;
    assert_eq!(
        mariadb_outline(&sender, "0-1-1", false, 1).await,
        expected(&[&gtid_list(0), g2, g3, g4])
    );
    assert_eq!(
        mariadb_outline(&sender, "0-2-2,1-1-1", false, 1).await,
        expected(&[&gtid_list(1), &gtid_list(2), g4])
    );
    assert_eq!(
        mariadb_outline(&sender, "0-2-2,1-1-2", false, 1).await,
        expected(&[&gtid_list(2), &gtid_list(3)])
    );
    assert_eq!(
        mariadb_outline(&sender, "0-2-70", false, 1).await,
        [
            "1236 Error: connecting slave requested to start from GTID 0-2-70, which is not in the \
          master's binlog"
        ]
    );
    assert_eq!(
        mariadb_outline(&sender, "zz", false, 1).await,
        ["1941 Could not parse GTID list"]
    );
    assert_eq!(
        mariadb_outline(&sender, "0-1-3,0-1-4", false, 1).await,
        ["1943 GTID 0-1-4 and 0-1-3 conflict (duplicate domain id 0)"]
    );
}

#[tokio::test]
async fn mariadb_domains_that_the_log_lacks_are_accepted_or_refused() {
    for (event, strict, sent) in [
        ("5-1-3", true, Ok("!Gtid_list")),
        ("5-1-4", false, Ok("Gtid")),
        (
            "5-1-4",
            true,
            Err("The binlog on the master is missing the GTID 5-1-3"),
        ),
        (
            "5-1-1",
            false,
            Err("Error: connecting slave requested to start from GTID 5-1-3, which"),
        ),
        (
            "5-2-9",
            false,
            Err("the slave has diverged due to executing extra"),
        ),
    ] {
        let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
        log.mariadb("0-1-1", None);
        let sender = TestSender::of(&log).await;
        let mut connection = sender.replica().await;
        let set = format!(
            "SET @slave_connect_state='0-1-1,5-1-3', @slave_gtid_strict_mode={}",
            u8::from(strict)
        );
        connection.execute(&set).await.unwrap();
        connection
            .write_command(&by_position("", 4, 0, 11))
            .await
            .unwrap();
        for _ in 0..4 {
            assert!(matches!(next(&mut connection).await, Item::Event(..)));
        }
        log.mariadb(event, None);
        match (next(&mut connection).await, sent) {
            (Item::Event(header, _), Ok(name)) => {
                let is_list = header.event_type == EventType::GTID_LIST;
                assert_eq!(is_list, name == "!Gtid_list", "{event}");
            }
            (Item::Error(error), Err(text)) => assert!(error.message.contains(text), "{error}"),
            (other, _) => panic!("{event}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn annotations_are_sent_on_request_and_old_clients_get_replacements() {
    let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
    log.mariadb("0-1-1", Some(b"INSERT INTO t VALUES (1), (2), (3)"));
    let sender = TestSender::of(&log).await;
    let all = mariadb_outline(&sender, "", false, 3).await;
    assert!(
        all.iter().any(|line| line.starts_with("Annotate")),
        "{all:?}"
    );
    let without = mariadb_outline(&sender, "", false, 1).await;
    assert_eq!(without.len(), all.len() - 1);
    let mut old = sender.replica().await;
    old.execute("SET @mariadb_slave_capability=NULL")
        .await
        .unwrap();
    let lines = outline(&mut old, &by_position("", 4, 1, 11)).await;
    assert!(
        lines
            .iter()
            .all(|line| !line.starts_with("Gtid") && !line.starts_with("Annotate"))
    );
    assert!(lines[2].starts_with("User_var@"), "{lines:?}");
    assert!(lines[3].starts_with("Query@") && lines[4].starts_with("Query@"));
    // To a MySQL replica the flag of ANNOTATE_ROWS means another event.
    let mut mysql = sender.replica().await;
    mysql
        .execute("SET @mariadb_slave_capability=NULL")
        .await
        .unwrap();
    let with_flag = outline(&mut mysql, &by_position("", 4, 3, 11)).await;
    assert_eq!(with_flag, lines);
}

#[tokio::test]
async fn appended_transactions_follow_and_heartbeats_fill_the_pauses() {
    let mut log = TestLog::empty(Flavor::MySql, 400);
    let sender = TestSender::of(&log).await;
    let mut connection = sender.replica().await;
    connection
        .execute("SET @master_heartbeat_period = 20000000, @source_heartbeat_period = 20000000")
        .await
        .unwrap();
    connection
        .write_command(&by_position("", 4, 2, 11))
        .await
        .unwrap();
    let mut gtids = 0;
    let mut beats = 0;
    let mut written = 0;
    while gtids < 6 || beats < 5 {
        let Item::Event(header, event) = next(&mut connection).await else {
            panic!("the stream ended")
        };
        match header.event_type {
            EventType::GTID => gtids += 1,
            EventType::HEARTBEAT_V2 => {
                beats += 1;
                let end = log.log().published();
                assert_eq!(u64::from(header.log_pos), end.offset);
                let name = log.log().log_dir().file_name(end.file);
                let at = event
                    .windows(name.len())
                    .position(|part| part == name.as_bytes());
                assert_eq!(at, Some(21));
                if written < 6 {
                    written += 1;
                    log.mysql(written, DDL);
                }
            }
            _ => {}
        }
    }
    let report = &sender.replicas.report()[0];
    let end = log.log().published();
    assert_eq!((report.server_id, report.state.as_str()), (11, "streaming"));
    assert_eq!(report.file, log.log().log_dir().file_name(end.file));
    assert_eq!(report.position, end.offset);
    assert_eq!(report.seconds_behind, Some(0));
    drop(connection);
    wait_until(|| sender.replicas.report().is_empty()).await;
}

pub async fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s");
}

#[tokio::test]
async fn a_replica_that_accepts_no_data_is_disconnected() {
    let mut log = TestLog::empty(Flavor::MySql, 1 << 30);
    log.mysql(1, &vec![b'z'; 60 << 20]);
    let sender = TestSender::start(Some(log.log()), Duration::from_millis(300)).await;
    let mut connection = sender.replica().await;
    connection
        .write_command(&by_position("", 4, 0, 11))
        .await
        .unwrap();
    wait_until(|| !sender.replicas.report().is_empty()).await;
    wait_until(|| sender.replicas.report().is_empty()).await;
    // Another replica is served meanwhile.
    assert!(received(&sender, &by_position("", 4, 1, 12)).await == stored(&log));
}

#[tokio::test]
async fn a_reconnected_replica_ends_its_older_dump() {
    let log = TestLog::empty(Flavor::MySql, 1 << 20);
    let sender = TestSender::of(&log).await;
    let mut older = sender.replica().await;
    let mut newer = sender.replica().await;
    for connection in [&mut older, &mut newer] {
        let set = format!("SET @slave_uuid = '{UUID}', @replica_uuid = '{UUID}'");
        connection.execute(&set).await.unwrap();
        connection
            .write_command(&by_position("", 4, 0, 11))
            .await
            .unwrap();
        for _ in 0..3 {
            assert!(matches!(next(connection).await, Item::Event(..)));
        }
        wait_until(|| {
            sender
                .replicas
                .report()
                .first()
                .is_some_and(|r| r.state == "streaming")
        })
        .await;
    }
    let Item::Error(error) = next(&mut older).await else {
        panic!("the older dump continues")
    };
    assert_eq!(error.code, 1236);
    assert!(
        error.message.starts_with(
            "A replica with the same server_uuid/server_id as this replica has connected to the \
             source; the first event 'relay-bin.000001' at 4, the last event read from \
             './relay-bin.000001' at "
        ),
        "{error}"
    );
    assert_eq!(sender.replicas.report().len(), 1);
}
