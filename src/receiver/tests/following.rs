//! Whole streams: everything received is in the log, and the source's position is exact.

use super::binlog::{Asked, Binlog, heartbeat, set_of, state_of};
use super::source::{FakeSource, Plan, Then};
use super::*;
use crate::config::SourceStart;
use crate::gtid::GtidPosition;

/// How a source is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FollowMode {
    MySqlSet,
    MySqlFile,
    MariaDbPosition,
    MariaDbFile,
}

pub(super) const FOLLOW_MODES: [FollowMode; 4] = [
    FollowMode::MySqlSet,
    FollowMode::MySqlFile,
    FollowMode::MariaDbPosition,
    FollowMode::MariaDbFile,
];

impl FollowMode {
    pub(super) fn flavor(self) -> Flavor {
        match self {
            FollowMode::MySqlSet | FollowMode::MySqlFile => Flavor::MySql,
            FollowMode::MariaDbPosition | FollowMode::MariaDbFile => Flavor::MariaDb,
        }
    }

    pub(super) fn config(self, source: &FakeSource) -> SourceConfig {
        let by_gtid = matches!(self, FollowMode::MySqlSet | FollowMode::MariaDbPosition);
        SourceConfig {
            auto_position: Some(by_gtid),
            ..source.config("m1")
        }
    }

    /// The request for a dump when these transactions are durable, up to that position.
    pub(super) fn asks(self, executed: &[Identity], durable: &SourcePosition) -> Asked {
        match self {
            FollowMode::MySqlSet => Asked::Set(set_of(executed)),
            FollowMode::MariaDbPosition => Asked::Position(state_of(executed).position()),
            FollowMode::MySqlFile | FollowMode::MariaDbFile => Asked::File(durable.clone()),
        }
    }
}

async fn follow_all(mode: FollowMode, binlog: Binlog) {
    let expected = binlog.executed().to_vec();
    let end = binlog.end();
    let source = FakeSource::start(binlog).await;
    let progress = vec![at_start(86)];
    let relay = Relay::start(mode.flavor(), vec![mode.config(&source)], progress);
    relay.until_executed(&expected).await;
    relay
        .until("the position is exact", |relay| relay.progress(0) == end)
        .await;
    assert_eq!(relay.state(0), SourceState::Streaming, "{mode:?}");
    assert_eq!(relay.kept(0), expected.len() as u64, "{mode:?}");
    assert_eq!(relay.duplicates(0), 0, "{mode:?}");
    assert_eq!(relay.stop().await, expected, "{mode:?}");
    let asked = mode.asks(&[], &SourcePosition::new("bin.000001", 4));
    assert_eq!(source.state().asked, [asked], "{mode:?}");
}

#[tokio::test]
async fn all_transactions_of_a_stream_are_in_the_log() {
    for mode in FOLLOW_MODES {
        follow_all(mode, Binlog::sample(mode.flavor(), 86)).await;
    }
}

/// After a reset of the source, its new history was accepted: it has used the numbers of the configured start again.
#[tokio::test]
async fn configured_start_has_no_effect_on_a_known_source() {
    let binlog = Binlog::sample(Flavor::MariaDb, 86);
    let expected = binlog.executed().to_vec();
    let source = FakeSource::start(binlog).await;
    let config = SourceConfig {
        start: SourceStart::Gtid("0-86-2".to_owned()),
        ..FollowMode::MariaDbPosition.config(&source)
    };
    let relay = Relay::start(Flavor::MariaDb, vec![config], vec![at_start(86)]);
    relay.until_executed(&expected).await;
    assert_eq!(relay.stop().await, expected);
    let asked = Asked::Position(GtidPosition::new());
    assert_eq!(source.state().asked, [asked]);
}

#[tokio::test]
async fn checksums_may_change_between_files() {
    for mode in FOLLOW_MODES {
        let mut binlog = Binlog::new(mode.flavor(), 86);
        binlog.commit(86, 1);
        binlog.next_file(Checksum::None);
        binlog.commit(86, 2);
        binlog.next_file(Checksum::Crc32);
        binlog.commit(86, 3);
        follow_all(mode, binlog).await;
    }
}

#[tokio::test]
async fn transaction_truncated_by_a_crash_of_the_source_is_discarded() {
    for mode in FOLLOW_MODES {
        let mut binlog = Binlog::new(mode.flavor(), 86);
        binlog.commit(86, 1);
        binlog.crash_in_transaction(86, 2);
        binlog.crash_to_next_file(Checksum::Crc32);
        binlog.commit(86, 2);
        binlog.commit(86, 3);
        follow_all(mode, binlog).await;
    }
}

#[tokio::test]
async fn copies_and_own_transactions_are_dropped() {
    let mut binlog = Binlog::new(Flavor::MySql, 86);
    binlog.commit(87, 1);
    binlog.commit(OWN, 1);
    binlog.commit(86, 1);
    let end = binlog.end();
    let (copy, own) = (binlog.identity(87, 1), binlog.identity(86, 1));
    let source = FakeSource::start(binlog).await;
    let config = FollowMode::MySqlFile.config(&source);
    let before = Executed::MySql(set_of(&[copy]));
    let relay = Relay::behind(before, vec![config], vec![at_start(86)]);
    relay
        .until("everything is recorded", |relay| relay.progress(0) == end)
        .await;
    assert_eq!((relay.kept(0), relay.duplicates(0)), (1, 2));
    assert_eq!(relay.stop().await, [own]);
}

#[tokio::test]
async fn backlog_in_the_socket_is_not_caught_up() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let source = FakeSource::start(binlog.clone()).await;
    source.plan_without_end();
    let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
    relay.until_executed(&binlog.executed()[..5]).await;
    // Waits for the rest of a packet, after everything that can be read has been read.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let behind = relay.statuses[0].seconds_behind(None, None);
    assert!(
        behind.is_some_and(|seconds| seconds > 1_000_000),
        "{behind:?}"
    );
    relay.stop().await;
}

#[tokio::test]
async fn source_with_nothing_more_is_caught_up() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let end = binlog.end();
    let source = FakeSource::start(binlog).await;
    source.plan(Plan::edit(
        move |packets| {
            let mut beat = packets[0].clone();
            beat.event = heartbeat(&end.file, end.offset, true);
            packets.push(beat);
        },
        Then::Nothing,
    ));
    let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
    relay
        .until("caught up", |relay| {
            relay.statuses[0].seconds_behind(None, None) == Some(0)
        })
        .await;
    relay.stop().await;
}
