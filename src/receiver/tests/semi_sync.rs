//! Acknowledgements to semi-synchronous sources.

use std::time::Instant;

use super::binlog::{Asked, Binlog, Packet, heartbeat, mysql};
use super::following::FOLLOW_MODES;
use super::source::{FakeSource, Plan, SemiSyncPlugin, Then};
use super::*;
use crate::binlog::EventHeader;
use crate::config::SharedFilter;
use crate::receiver::semi_sync::until_acknowledgeable;
use crate::relay_log::{RelayLogPosition, ReplicaWait};

async fn source(binlog: Binlog, plugin: Option<SemiSyncPlugin>) -> FakeSource {
    let source = FakeSource::start(binlog).await;
    source.state().semi_sync = plugin;
    source
}

fn config(source: &FakeSource, name: &str) -> SourceConfig {
    SourceConfig {
        semi_sync: true,
        ..source.config(name)
    }
}

fn acknowledged(source: &FakeSource) -> Vec<SourcePosition> {
    let state = source.state();
    let positions = state.acknowledged.iter();
    positions.map(|(position, _)| position.clone()).collect()
}

/// Waits until everything is acknowledged. What is acknowledged never goes back, and ends where transactions
/// end.
async fn until_acknowledged(relay: &Relay, source: &FakeSource) {
    let end = source.state().binlog.end();
    relay
        .until("the end is acknowledged", |_| {
            acknowledged(source).last() == Some(&end)
        })
        .await;
    let positions = acknowledged(source);
    for (one, next) in positions.iter().zip(&positions[1..]) {
        assert!(!next.precedes(one), "{next} after {one}");
    }
    let first = Asked::File(SourcePosition::new("bin.000001", 4));
    let packets = source.state().binlog.dump(&first);
    for position in positions {
        let is_end = |packet: &Packet| packet.durable.as_ref() == Some(&position);
        let is_control = |packet: &Packet| {
            let header = EventHeader::parse(&packet.event).unwrap();
            header.event_type.is_control() && u64::from(header.log_pos) == position.offset
        };
        let is_boundary =
            position.offset == 4 || packets.iter().any(is_end) || packets.iter().any(is_control);
        assert!(is_boundary, "{position}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_acknowledged_with_the_coordinates_of_the_source() {
    for plugin in [SemiSyncPlugin::Transactions, SemiSyncPlugin::EveryEvent] {
        for mode in FOLLOW_MODES {
            let binlog = Binlog::sample(mode.flavor(), 86);
            let expected = binlog.executed().to_vec();
            let source = source(binlog, Some(plugin)).await;
            let config = SourceConfig {
                semi_sync: true,
                ..mode.config(&source)
            };
            let relay = Relay::start(mode.flavor(), vec![config], vec![at_start(86)]);
            until_acknowledged(&relay, &source).await;
            let semi_sync = &relay.statuses[0].semi_sync;
            assert!(semi_sync.is_active() && semi_sync.problem().is_none());
            // The source may have read the last one before the relay counts it.
            let is_counted = |relay: &Relay| {
                let counted = &relay.statuses[0].semi_sync.acknowledgements;
                counted.load(Ordering::Relaxed) == acknowledged(&source).len() as u64
            };
            relay.until("all are counted", is_counted).await;
            assert_eq!(relay.stop().await, expected, "{plugin:?} {mode:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_filtered_and_own_transactions_are_acknowledged() {
    let mut binlog = Binlog::new(Flavor::MySql, 86);
    for number in 1..=3 {
        binlog.commit(86, number);
    }
    // The relay's own number: dropped.
    binlog.commit(OWN, 1);
    let one = source(binlog.clone(), Some(SemiSyncPlugin::Transactions)).await;
    let mut copies = Binlog::new(Flavor::MySql, 18);
    for number in 1..=3 {
        copies.commit(86, number);
    }
    let other = source(copies, Some(SemiSyncPlugin::EveryEvent)).await;
    let filter = FilterConfig {
        replicate_do_db: vec!["nothing".to_owned()],
        ..FilterConfig::default()
    };
    let filtered = SourceConfig {
        filter: SharedFilter::new(filter),
        ..config(&one, "m1")
    };
    // By position: by GTID, it would skip what the relay has already.
    let copying = SourceConfig {
        auto_position: Some(false),
        ..config(&other, "m2")
    };
    let configs = vec![filtered, copying];
    let relay = Relay::start(Flavor::MySql, configs, vec![at_start(86), at_start(18)]);
    until_acknowledged(&relay, &one).await;
    until_acknowledged(&relay, &other).await;
    relay
        .until("both ways are in the log", |relay| {
            relay.progress(0) == one.state().binlog.end()
                && relay.progress(1) == other.state().binlog.end()
        })
        .await;
    relay.stop().await;
}

/// MySQL since 8.0 does not count what it skips as acknowledged, but reports its position.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_skips_is_acknowledged() {
    let source = source(
        Binlog::sample(Flavor::MySql, 86),
        Some(SemiSyncPlugin::Transactions),
    )
    .await;
    let end = source.state().binlog.end();
    let skip_last = move |packets: &mut Vec<Packet>| {
        let mut ends = (0..packets.len()).rev();
        let mut next_end = || ends.find(|index| packets[*index].ends.is_some()).unwrap();
        next_end();
        let last_sent = next_end();
        packets.truncate(last_sent + 1);
        packets.push(Packet {
            event: heartbeat(&end.file, end.offset, true),
            durable: None,
            reached: None,
            ends: None,
        });
    };
    source.plan(Plan::edit(skip_last, Then::Nothing));
    let config = config(&source, "m1");
    let relay = Relay::start(Flavor::MySql, vec![config], vec![at_start(86)]);
    until_acknowledged(&relay, &source).await;
    assert_eq!(relay.stop().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_it_is_on_disk() {
    let interval = Duration::from_millis(400);
    let source = source(
        Binlog::sample(Flavor::MySql, 86),
        Some(SemiSyncPlugin::Transactions),
    )
    .await;
    let began = Instant::now();
    let relay = Relay::with(
        Executed::empty(Flavor::MySql),
        vec![config(&source, "m1")],
        vec![at_start(86)],
        SyncPolicy::Interval(interval),
        Arc::default(),
    );
    relay.until_executed(&[mysql(86, 6)]).await;
    if began.elapsed() < interval / 2 {
        assert!(acknowledged(&source).is_empty());
    }
    until_acknowledged(&relay, &source).await;
    let first = source.state().acknowledged[0].1;
    assert!(first - began >= interval, "{:?}", first - began);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_wait_for_replicas_until_the_timeout() {
    let source = source(
        Binlog::sample(Flavor::MySql, 86),
        Some(SemiSyncPlugin::Transactions),
    )
    .await;
    let timeout = Duration::from_millis(300);
    let wait = ReplicaWait {
        replicas: 1,
        timeout,
    };
    let replicas = Arc::new(ReplicaAcknowledgements::new(wait));
    let began = Instant::now();
    let relay = Relay::with(
        Executed::empty(Flavor::MySql),
        vec![config(&source, "m1")],
        vec![at_start(86)],
        SyncPolicy::Commit,
        replicas.clone(),
    );
    until_acknowledged(&relay, &source).await;
    let first = source.state().acknowledged[0].1;
    assert!(first - began >= timeout && replicas.have_timed_out());
    // A replica has caught up, and acknowledges in time.
    let end = RelayLogPosition { file: 9, offset: 4 };
    replicas.acknowledge(1, end);
    assert!(!replicas.have_timed_out());
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_the_plugin_is_followed_asynchronously() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let expected = binlog.executed().to_vec();
    let source = source(binlog, None).await;
    let relay = Relay::start(
        Flavor::MySql,
        vec![config(&source, "m1")],
        vec![at_start(86)],
    );
    relay.until_executed(&expected).await;
    let semi_sync = &relay.statuses[0].semi_sync;
    assert!(!semi_sync.is_active());
    assert!(semi_sync.problem().unwrap().contains("plugin"));
    assert_eq!(relay.stop().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_in_another_form_than_requested_are_an_error() {
    for (plugin, semi_sync, expected) in [
        (SemiSyncPlugin::NoHeader, true, "without the header of semi"),
        (SemiSyncPlugin::Unasked, false, "with the header of semi"),
    ] {
        let source = source(Binlog::sample(Flavor::MySql, 86), Some(plugin)).await;
        let config = SourceConfig {
            semi_sync,
            auto_position: Some(false),
            ..source.config("m1")
        };
        let relay = Relay::start(Flavor::MySql, vec![config], vec![at_start(86)]);
        relay
            .until("it is reported", |relay| {
                let error = relay.statuses[0].last_error();
                error.is_some_and(|error| error.message.contains(expected))
            })
            .await;
        assert!(relay.stop().await.is_empty());
    }
}

/// The request for a dump acknowledges what precedes its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_requested_once_replicas_have_what_precedes_it_or_time_out() {
    let source = source(Binlog::sample(Flavor::MySql, 86), None).await;
    let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
    let expected = source.state().binlog.executed().to_vec();
    relay.until_executed(&expected).await;
    let log = relay.context.log.clone();
    let waiting_for = |timeout| {
        let wait = ReplicaWait {
            replicas: 1,
            timeout,
        };
        ReplicaAcknowledgements::new(wait)
    };
    let late = waiting_for(Duration::from_millis(50));
    until_acknowledgeable(&log, &late).await;
    assert!(late.have_timed_out());
    let caught_up = waiting_for(Duration::from_secs(3600));
    caught_up.acknowledge(1, log.published());
    until_acknowledgeable(&log, &caught_up).await;
    assert!(!caught_up.have_timed_out());
    until_acknowledgeable(&log, &ReplicaAcknowledgements::default()).await;
    drop(log);
    relay.stop().await;
}
