//! The newest transaction that was received is requested again before a source is resumed.

use super::binlog::{Binlog, Packet};
use super::source::{FakeSource, Plan, Then};
use super::*;
use crate::binlog::{EventType, event};
use crate::receiver::connect::connect;
use crate::receiver::history::verify_last;
use crate::receiver::own_gtids::verify_executed;
use crate::receiver::without_transactions;

const FLAVORS: [Flavor; 2] = [Flavor::MySql, Flavor::MariaDb];

/// A binlog with `count` transactions, numbers from `first` on.
fn binlog(flavor: Flavor, first: u64, count: u64) -> Binlog {
    let mut binlog = Binlog::new(flavor, 86);
    for number in first..first + count {
        binlog.commit(86, number);
    }
    binlog
}

/// Receives everything from a source with `received`; then verifies what it has after `change`.
async fn verified(
    received: &Binlog,
    change: impl FnOnce(&FakeSource),
) -> Result<(), ReceiverError> {
    let source = FakeSource::start(received.clone()).await;
    let configs = vec![source.config("m1")];
    let relay = Relay::start(received.flavor, configs, vec![at_start(86)]);
    relay.until_executed(received.executed()).await;
    let progress = relay.context.log.state().sources[0].clone();
    relay.stop().await;
    change(&source);
    let spool = tempfile::tempdir().unwrap();
    let options = receiver_options(0, source.config("m1"), spool.path());
    let (_connection, facts) = connect(&options).await?;
    verify_last(&options, &facts, &progress).await.map(|_| ())
}

/// The binlog of M1 after `count` transactions in its first file, and rotations to this file.
fn rotated(flavor: Flavor, count: u64, file: usize) -> Binlog {
    let mut binlog = binlog(flavor, 1, count);
    (1..file).for_each(|_| binlog.next_file(Checksum::Crc32));
    binlog
}

/// Follows a source with `received` by position; then verifies that nothing was written after its newest transaction, up
/// to the position, after `change`.
async fn verified_gap(
    received: &Binlog,
    change: impl FnOnce(&FakeSource),
) -> Result<bool, ReceiverError> {
    let source = FakeSource::start(received.clone()).await;
    let config = || SourceConfig {
        auto_position: Some(false),
        ..source.config("m1")
    };
    let relay = Relay::start(received.flavor, vec![config()], vec![at_start(86)]);
    let end = received.end();
    relay
        .until("the position is exact", |relay| relay.progress(0) == end)
        .await;
    let progress = relay.context.log.state().sources[0].clone();
    change(&source);
    let options = receiver_options(0, config(), "/nowhere".as_ref());
    let (_connection, facts) = connect(&options).await?;
    let verified = without_transactions::verify(&options, &relay.context, &facts, &progress).await;
    relay.stop().await;
    verified
}

fn is_history<T>(verified: &Result<T, ReceiverError>) -> bool {
    matches!(verified, Err(ReceiverError::History { .. }))
}

fn large(flavor: Flavor) -> impl FnOnce(&mut Vec<Packet>) + Send + 'static {
    let kind = match flavor {
        Flavor::MySql => EventType::PREVIOUS_GTIDS,
        Flavor::MariaDb => EventType::GTID_LIST,
    };
    move |packets| {
        let list = packets.iter_mut();
        let list = list.map(|packet| &mut packet.event);
        let mut lists = list.filter(|event| event[4] == kind.0);
        *lists.next().expect("a list of GTIDs") = make::event(kind, 86, &[7; 3 << 20]);
    }
}

/// A dump whose first event after the format description is damaged.
fn damaged() -> Plan {
    let damage = |packets: &mut Vec<Packet>| *packets[2].event.last_mut().unwrap() ^= 1;
    Plan::edit(damage, Then::Eof)
}

#[tokio::test]
async fn unchanged_and_longer_binlogs_are_verified() {
    for flavor in FLAVORS {
        for count in [1, 3] {
            let received = binlog(flavor, 1, count);
            verified(&received, |_| ()).await.unwrap();
            let longer = |source: &FakeSource| source.state().binlog.commit(86, 9);
            verified(&received, longer).await.unwrap();
        }
    }
}

#[tokio::test]
async fn other_transaction_at_the_position_is_a_changed_history() {
    for flavor in FLAVORS {
        let other = |source: &FakeSource| source.state().binlog = binlog(flavor, 5, 3);
        let error = verified(&binlog(flavor, 1, 3), other).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("found another transaction"), "{text}");
    }
}

#[tokio::test]
async fn binlog_that_ends_before_the_position_is_a_changed_history() {
    for flavor in FLAVORS {
        let shorter = |source: &FakeSource| source.state().binlog = binlog(flavor, 1, 2);
        let error = verified(&binlog(flavor, 1, 3), shorter).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("found the end of its binlog"), "{text}");
    }
}

#[tokio::test]
async fn dump_that_ends_once_is_requested_again() {
    let ended = |source: &FakeSource| {
        let plan = Plan::edit(|packets| packets.truncate(3), Then::Eof);
        source.state().scan_plans.push_back(plan);
    };
    verified(&binlog(Flavor::MySql, 1, 3), ended).await.unwrap();
}

#[tokio::test]
async fn large_list_of_gtids_is_skipped() {
    for flavor in FLAVORS {
        let change = |source: &FakeSource| {
            let plan = Plan::edit(large(flavor), Then::Eof);
            source.state().scan_plans.push_back(plan);
        };
        verified(&binlog(flavor, 1, 1), change).await.unwrap();
    }
}

/// A dump from within an event looks like damage.
#[tokio::test]
async fn position_within_an_event_is_a_changed_history() {
    for flavor in FLAVORS {
        let shifted = |source: &FakeSource| {
            let mut other = Binlog::new(flavor, 86);
            other.crash_in_transaction(86, 1);
            for number in 1..=4 {
                other.commit(86, number);
            }
            let mut state = source.state();
            state.binlog = other;
            state.scan_plans.push_back(damaged());
        };
        let error = verified(&binlog(flavor, 1, 3), shifted).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("found no event that begins at"), "{text}");
    }
}

/// What is wrong for another reason must not keep the source from being followed.
#[tokio::test]
async fn only_errors_about_the_position_are_a_changed_history() {
    let unknown = "Client requested source to start replication from position > file size";
    for (text, expected) in [
        (unknown, true),
        (
            "A replica with the same server_uuid/server_id as this replica has connected",
            false,
        ),
        (
            "Could not find first log file name in binary log index file",
            false,
        ),
    ] {
        let refuse = |source: &FakeSource| {
            let plan = Plan::edit(|packets| packets.truncate(2), Then::Error(1236, text));
            source.state().scan_plans.push_back(plan);
        };
        let found = verified(&binlog(Flavor::MySql, 1, 3), refuse).await;
        assert_eq!(is_history(&found), expected, "{text}: {found:?}");
    }
    let damage = |source: &FakeSource| source.state().scan_plans.push_back(damaged());
    let found = verified(&binlog(Flavor::MySql, 1, 3), damage).await;
    assert!(found.is_err() && !is_history(&found), "{found:?}");
}

/// Receives everything from a source with transactions 1 to 5; then looks for them after `change`.
async fn looked_for(flavor: Flavor, change: impl FnOnce(&FakeSource)) -> Result<(), ReceiverError> {
    let source = FakeSource::start(binlog(flavor, 1, 5)).await;
    source.state().uuid = Some(make::gtid(86, "", 1).sid.uuid.to_string());
    let received = source.state().binlog.executed().to_vec();
    let relay = Relay::start(flavor, vec![source.config("m1")], vec![at_start(86)]);
    relay.until_executed(&received).await;
    change(&source);
    let spool = tempfile::tempdir().unwrap();
    let options = receiver_options(0, source.config("m1"), spool.path());
    let log = relay.context.log.clone();
    let executed = log.state().executed.clone();
    let (mut connection, facts) = connect(&options).await?;
    let verified = verify_executed(&mut connection, &options, &log, &facts, &executed).await;
    drop(log);
    relay.stop().await;
    verified
}

/// Their events are those of transactions that were committed later.
pub(super) fn later(packets: &mut Vec<Packet>) {
    for packet in packets {
        let time = make::TIMESTAMP + 100;
        packet.event[..4].copy_from_slice(&time.to_le_bytes());
        if packet.event[4] == EventType::GTID.0 {
            // The lowest byte of the microseconds, after UUID, number and clock.
            packet.event[HEADER_LEN + 42] ^= 1;
        }
        event::write_checksum(&mut packet.event).unwrap();
    }
}

#[tokio::test]
async fn source_that_lost_transactions_has_a_changed_history_at_the_first_look() {
    for flavor in FLAVORS {
        looked_for(flavor, |_| ()).await.unwrap();
        let shorter = |source: &FakeSource| source.state().binlog = binlog(flavor, 1, 3);
        let verified = looked_for(flavor, shorter).await;
        assert!(is_history(&verified), "{verified:?}");
    }
}

#[tokio::test]
async fn transactions_that_wait_for_an_acknowledgement_are_not_lost() {
    let waiting = |source: &FakeSource| source.state().waiting = 2;
    looked_for(Flavor::MySql, waiting).await.unwrap();
}

/// The source has assigned the numbers again, and its new transactions wait.
#[tokio::test]
async fn other_transactions_under_the_lost_gtids_are_a_changed_history() {
    let again = |source: &FakeSource| {
        let mut state = source.state();
        state.waiting = 2;
        state.scan_plans.push_back(Plan::edit(later, Then::Eof));
    };
    let verified = looked_for(Flavor::MySql, again).await;
    let text = verified.unwrap_err().to_string();
    assert!(
        text.contains("found a binlog with another transaction"),
        "{text}"
    );
}

#[tokio::test]
async fn a_binlog_that_cannot_be_read_proves_nothing() {
    let broken = |source: &FakeSource| {
        let mut state = source.state();
        state.binlog = binlog(Flavor::MySql, 1, 3);
        let purged = Then::Error(1236, "the source has purged required binary logs");
        let plan = Plan::edit(|packets| packets.truncate(2), purged);
        state.scan_plans.push_back(plan);
    };
    let verified = looked_for(Flavor::MySql, broken).await;
    assert!(verified.is_err() && !is_history(&verified), "{verified:?}");
}

/// Behind one address, each connection may reach another server: that proves nothing.
#[tokio::test]
async fn history_is_not_compared_with_that_of_another_server() {
    for flavor in FLAVORS {
        let source = FakeSource::start(binlog(flavor, 1, 5)).await;
        let received = source.state().binlog.executed().to_vec();
        let relay = Relay::start(flavor, vec![source.config("m1")], vec![at_start(86)]);
        relay.until_executed(&received).await;
        let progress = relay.context.log.state().sources[0].clone();
        let spool = tempfile::tempdir().unwrap();
        let options = receiver_options(0, source.config("m1"), spool.path());
        let (_, facts) = connect(&options).await.unwrap();
        assert!(verify_last(&options, &facts, &progress).await.unwrap());
        let other = SourceFacts {
            server_uuid: Some("5e2e1dd6-0000-0000-0000-000000000001".to_owned()),
            ..facts
        };
        source.state().binlog = binlog(flavor, 1, 3);
        let verified = verify_last(&options, &other, &progress).await;
        let is_elsewhere = matches!(verified, Err(ReceiverError::Elsewhere(_)));
        assert!(is_elsewhere, "{flavor}: {verified:?}");
        relay.stop().await;
    }
}

#[tokio::test]
async fn rotations_without_transactions_are_verified() {
    for flavor in FLAVORS {
        for count in [0, 3] {
            let received = rotated(flavor, count, 3);
            assert!(verified_gap(&received, |_| ()).await.unwrap());
            let longer = |source: &FakeSource| {
                let mut state = source.state();
                state.binlog.commit(86, 9);
                state.binlog.next_file(Checksum::Crc32);
                state.binlog.commit(86, 10);
            };
            assert!(verified_gap(&received, longer).await.unwrap());
            // What is left shows nothing else.
            let purged = |source: &FakeSource| source.state().binlog.purge(1);
            assert!(verified_gap(&received, purged).await.unwrap());
            let all_purged = |source: &FakeSource| {
                let mut state = source.state();
                state.binlog.next_file(Checksum::Crc32);
                state.binlog.purge(3);
            };
            assert!(!verified_gap(&received, all_purged).await.unwrap());
        }
    }
}

/// It may be long, and is received soon enough.
#[tokio::test]
async fn transaction_after_the_position_is_not_read_for_that() {
    for flavor in FLAVORS {
        let begun = |source: &FakeSource| {
            let mut state = source.state();
            state.binlog.commit(86, 9);
            let cut = |packets: &mut Vec<Packet>| {
                let last = packets.pop().expect("an event");
                // Its last event never arrives.
                assert_eq!(last.event[4], EventType::XID.0);
            };
            state.scan_plans.push_back(Plan::edit(cut, Then::Nothing));
        };
        let received = rotated(flavor, 3, 3);
        let verified =
            tokio::time::timeout(Duration::from_secs(20), verified_gap(&received, begun));
        assert!(verified.await.expect("an end").unwrap());
    }
}

/// While the source was followed by GTID, its position has passed what another source had delivered.
#[tokio::test]
async fn transactions_that_were_delivered_are_no_changed_history() {
    for flavor in FLAVORS {
        let mut other = rotated(flavor, 2, 2);
        other.commit(18, 3);
        other.next_file(Checksum::Crc32);
        let source = FakeSource::start(other.clone()).await;
        let config = || SourceConfig {
            auto_position: Some(false),
            ..source.config("m1")
        };
        let relay = Relay::start(flavor, vec![config()], vec![at_start(86)]);
        let end = other.end();
        relay
            .until("the position is exact", |relay| relay.progress(0) == end)
            .await;
        let mut progress = relay.context.log.state().sources[0].clone();
        let last = progress.last.as_mut().expect("a newest transaction");
        // As if only the first two had been received here.
        let first_two = rotated(flavor, 2, 1).end();
        (last.file, last.end) = (first_two.file, first_two.offset);
        let options = receiver_options(0, config(), "/nowhere".as_ref());
        let (_connection, facts) = connect(&options).await.unwrap();
        let verified = without_transactions::verify(&options, &relay.context, &facts, &progress);
        assert!(verified.await.unwrap());
        relay.stop().await;
    }
}

/// The newest transaction that was received is in the first file as before, if there is one. The server was restored from
/// a copy, or reset, and its binlog has reached the file up to which it was received.
#[tokio::test]
async fn transactions_where_the_binlog_had_none_are_a_changed_history() {
    for flavor in FLAVORS {
        for count in [0, 3] {
            for written in [1, 2] {
                let other = |source: &FakeSource| {
                    let mut other = rotated(flavor, count, written);
                    other.commit(86, 7);
                    (written..3).for_each(|_| other.next_file(Checksum::Crc32));
                    other.commit(86, 8);
                    source.state().binlog = other;
                };
                let verified = verified_gap(&rotated(flavor, count, 3), other).await;
                let text = verified.unwrap_err().to_string();
                assert!(text.contains("history has changed"), "{text}");
                assert!(text.contains("expected no transaction between"), "{text}");
                assert!(text.contains("found another transaction"), "{text}");
            }
        }
    }
}

/// A purge removes the oldest files only.
#[tokio::test]
async fn binlog_that_lacks_its_newest_files_is_a_changed_history() {
    for flavor in FLAVORS {
        for count in [0, 3] {
            let shorter = |source: &FakeSource| source.state().binlog = rotated(flavor, count, 2);
            let verified = verified_gap(&rotated(flavor, count, 3), shorter).await;
            let text = verified.unwrap_err().to_string();
            assert!(
                text.contains("found the end of its binlog at bin.000002"),
                "{text}"
            );
        }
    }
}
