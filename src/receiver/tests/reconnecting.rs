//! Connections that end: the next one requests exactly what is not durable.

use tokio::sync::Notify;

use super::binlog::{Asked, Binlog, Packet, heartbeat, set_of, state_of};
use super::following::{FOLLOW_MODES, FollowMode};
use super::source::{FakeSource, Plan, Then, frame};
use super::*;
use crate::binlog::event;

/// What is durable when a dump has been cut after `cut` bytes: the transactions, and the possible
/// positions of the source.
fn expect_at(packets: &[Packet], cut: usize) -> (Vec<Identity>, Vec<SourcePosition>) {
    let mut executed = Vec::new();
    let mut positions = vec![SourcePosition::new("bin.000001", 4)];
    let (mut bytes, mut sequence) = (Vec::new(), 1);
    for packet in packets {
        frame(&mut bytes, &mut sequence, packet);
        if bytes.len() > cut {
            break;
        }
        executed.extend(packet.ends);
        match &packet.durable {
            Some(position) => positions = vec![position.clone()],
            None => positions.extend(packet.reached.clone()),
        }
    }
    (executed, positions)
}

/// Every boundary between packets, and offsets in each packet.
fn cuts(packets: &[Packet]) -> Vec<usize> {
    let (mut bytes, mut sequence) = (Vec::new(), 1);
    let mut cuts = vec![0];
    for packet in packets {
        let start = bytes.len();
        frame(&mut bytes, &mut sequence, packet);
        cuts.extend([start + 2, start + 10, bytes.len() - 1, bytes.len()]);
    }
    cuts
}

async fn cut_and_resume(mode: FollowMode, binlog: &Binlog, cut: usize) {
    let first = mode.asks(&[], &SourcePosition::new("bin.000001", 4));
    let (executed, positions) = expect_at(&binlog.dump(&first), cut);
    let source = FakeSource::start(binlog.clone()).await;
    let go = Arc::new(Notify::new());
    source.plan(Plan {
        edit: None,
        cut: Some(cut),
        then: Then::Close(go.clone()),
    });
    let progress = vec![at_start(86)];
    let relay = Relay::start(mode.flavor(), vec![mode.config(&source)], progress);
    let what = format!("{mode:?}, cut at {cut}: one of {positions:?} is durable");
    relay
        .until(&what, |relay| positions.contains(&relay.progress(0)))
        .await;
    relay.until_executed(&executed).await;
    let durable = relay.progress(0);
    go.notify_one();
    relay.until_executed(binlog.executed()).await;
    let end = binlog.end();
    relay
        .until("the position is exact", |relay| relay.progress(0) == end)
        .await;
    relay
        .until(&what, |_| source.state().asked.len() == 2)
        .await;
    assert_eq!(relay.duplicates(0), 0, "{what}");
    assert_eq!(relay.stop().await, binlog.executed(), "{what}");
    let asked = source.state().asked.clone();
    assert_eq!(asked, [first, mode.asks(&executed, &durable)], "{what}");
}

#[tokio::test]
async fn each_transaction_is_recorded_once_wherever_the_connection_is_cut() {
    for mode in FOLLOW_MODES {
        let mut binlog = Binlog::new(mode.flavor(), 86);
        binlog.commit(86, 1);
        binlog.commit(87, 2);
        binlog.next_file(Checksum::None);
        binlog.commit(86, 3);
        let first = mode.asks(&[], &SourcePosition::new("bin.000001", 4));
        for cut in cuts(&binlog.dump(&first)) {
            cut_and_resume(mode, &binlog, cut).await;
        }
    }
}

/// The first dump follows `plan`; the second must be requested, and deliver everything.
async fn comes_back(plan: Plan, read_timeout: Duration) -> LastError {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let source = FakeSource::start(binlog.clone()).await;
    source.plan(plan);
    let config = SourceConfig {
        read_timeout,
        ..FollowMode::MySqlFile.config(&source)
    };
    let relay = Relay::start(Flavor::MySql, vec![config], vec![at_start(86)]);
    relay
        .until("two dumps were requested", |_| {
            source.state().asked.len() == 2
        })
        .await;
    relay.until_executed(binlog.executed()).await;
    relay
        .until("it streams", |relay| {
            relay.state(0) == SourceState::Streaming
        })
        .await;
    let error = relay.statuses[0].last_error().unwrap();
    assert_eq!(relay.stop().await, binlog.executed());
    error
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn end_of_a_dump_is_not_a_failure() {
    let error = comes_back(Plan::then(Then::Eof), LONG).await;
    assert!(
        error.message.contains("ended the dump at bin.000002:"),
        "{error:?}"
    );
}

#[tokio::test]
async fn temporary_error_is_not_a_failure() {
    let error = comes_back(Plan::then(Then::Error(1053, "Server shutdown")), LONG).await;
    assert_eq!(error.code, 1053);
}

#[tokio::test]
async fn silent_source_is_given_up() {
    let plan = Plan {
        edit: None,
        cut: Some(300),
        then: Then::Nothing,
    };
    let error = comes_back(plan, SHORT).await;
    assert!(error.message.contains("sent nothing"), "{error:?}");
}

#[tokio::test]
async fn source_that_sends_only_a_byte_now_and_then_is_given_up() {
    let plan = Plan::then(Then::Trickle(Duration::from_millis(20)));
    let error = comes_back(plan, SHORT).await;
    assert!(error.message.contains("sent nothing"), "{error:?}");
}

async fn beat(file: &'static str, position: u64) -> LastError {
    let plan = Plan::edit(
        move |packets| {
            packets.truncate(7); // After the first transaction.
            let mut packet = packets[0].clone();
            packet.event = heartbeat(file, position, true);
            packets.push(packet);
        },
        Then::Nothing,
    );
    comes_back(plan, LONG).await
}

#[tokio::test]
async fn heartbeat_for_another_position_ends_the_connection() {
    for (file, position) in [("bin.000009", 1000), ("bin.000001", 5)] {
        let error = beat(file, position).await;
        assert!(error.message.contains("a heartbeat for"), "{error:?}");
    }
}

/// In the first dump one byte of the event of this type is changed.
async fn damaged(kind: u8, at: usize) -> LastError {
    let plan = Plan::edit(
        move |packets| {
            let found = packets.iter_mut().skip(2).find(|p| p.event[4] == kind);
            let event = &mut found.unwrap().event;
            event[at] ^= 1;
        },
        Then::Nothing,
    );
    comes_back(plan, LONG).await
}

#[tokio::test]
async fn damaged_control_events_are_found() {
    let (rotate, previous) = (EventType::ROTATE.0, EventType::PREVIOUS_GTIDS.0);
    for (kind, at) in [(rotate, 28), (previous, 14), (previous, 25)] {
        let error = damaged(kind, at).await;
        assert!(error.message.contains("checksum"), "{error:?}");
    }
}

#[tokio::test]
async fn rotate_without_a_file_name_is_refused() {
    let plan = Plan::edit(
        |packets| {
            let event = &mut packets[0].event;
            event[30] = b'\n';
            event::write_checksum(event).unwrap();
        },
        Then::Nothing,
    );
    let error = comes_back(plan, LONG).await;
    assert!(error.message.contains("rotate"), "{error:?}");
    assert!(!error.message.contains('\n'), "{error:?}");
}

#[tokio::test]
async fn another_server_is_read_from_its_first_file_not_from_the_old_position() {
    for mode in [FollowMode::MySqlFile, FollowMode::MariaDbFile] {
        let binlog = Binlog::sample(mode.flavor(), 87);
        let source = FakeSource::start(binlog.clone()).await;
        let progress = SourceProgress {
            position: SourcePosition::new("bin.000002", 4),
            ..at_start(86)
        };
        // Of the other server, the log has what the binlog begins with.
        let first = &binlog.executed()[..1];
        let before = match mode.flavor() {
            Flavor::MySql => Executed::MySql(set_of(first)),
            Flavor::MariaDb => Executed::MariaDb(state_of(first)),
        };
        let relay = Relay::behind(before, vec![mode.config(&source)], vec![progress]);
        relay.until_executed(binlog.executed()).await;
        assert_eq!(relay.stop().await, binlog.executed()[1..]);
        let old = Asked::File(SourcePosition::new("bin.000002", 4));
        assert!(!source.state().asked.contains(&old));
    }
}

#[tokio::test]
async fn another_server_may_answer_a_request_by_gtid() {
    for mode in [FollowMode::MySqlSet, FollowMode::MariaDbPosition] {
        let binlog = Binlog::sample(mode.flavor(), 87);
        let source = FakeSource::start(binlog.clone()).await;
        let progress = vec![at_start(86)];
        let relay = Relay::start(mode.flavor(), vec![mode.config(&source)], progress);
        relay.until_executed(binlog.executed()).await;
        assert_eq!(relay.stop().await, binlog.executed());
        let asked = mode.asks(&[], &SourcePosition::default());
        assert_eq!(source.state().asked, [asked]);
        assert!(!matches!(source.state().asked[0], Asked::File(..)));
    }
}

/// The position in the log is behind what was received as long as the log thread is not done with it.
#[tokio::test]
async fn a_new_connection_waits_until_the_log_has_what_was_received() {
    let mut binlog = Binlog::new(Flavor::MySql, 86);
    binlog.commit(86, 1);
    let source = FakeSource::start(binlog).await;
    let go = Arc::new(Notify::new());
    source.plan(Plan::then(Then::Close(go.clone())));
    let config = source.config("m1");
    let relay = Relay::start(Flavor::MySql, vec![config], vec![at_start(86)]);
    relay.until("it is kept", |relay| relay.kept(0) == 1).await;
    // As if the log thread had not reached another batch.
    relay.counters[0].queued.fetch_add(1, Ordering::Release);
    go.notify_one();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(source.state().asked.len(), 1);
    relay.counters[0].taken.fetch_add(1, Ordering::Release);
    relay
        .until("the second dump", |_| source.state().asked.len() == 2)
        .await;
    relay.stop().await;
}
