//! Rules that a reload changes during a dump.

use tokio::sync::Notify;

use super::binlog::{Asked, Binlog};
use super::source::{FakeSource, Plan, Then, frame};
use super::*;

/// A transaction that is being received is filtered by the former rules as a whole, and what follows by the new ones.
#[tokio::test]
async fn rules_change_between_two_transactions() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let mut binlog = Binlog::new(flavor, 86);
        for number in 1..=3 {
            binlog.commit(86, number);
        }
        let expected = binlog.executed().to_vec();
        // The dump pauses within the second transaction.
        let packets = binlog.dump(&Asked::File(SourcePosition::new("bin.000001", 4)));
        let first_end = packets.iter().position(|packet| packet.ends.is_some());
        let head: Vec<_> = packets.iter().take(first_end.unwrap() + 3).collect();
        let mut framed = Vec::new();
        for packet in &head {
            frame(&mut framed, &mut 0, packet);
        }
        let head_len: usize = head.iter().map(|packet| packet.event.len()).sum();
        let go = Arc::new(Notify::new());
        let source = FakeSource::start(binlog).await;
        source.plan(Plan {
            edit: None,
            cut: Some(framed.len()),
            then: Then::Rest(go.clone()),
        });
        let config = SourceConfig {
            auto_position: Some(false),
            ..source.config("m1")
        };
        let filter = config.filter.clone();
        let relay = Relay::start(flavor, vec![config], vec![at_start(86)]);
        relay
            .until("the head of the second transaction is received", |relay| {
                relay.statuses[0].bytes_received.load(Ordering::Relaxed) == head_len as u64
            })
            .await;
        filter.replace(Arc::new(FilterConfig {
            replicate_do_db: vec!["nothing".to_owned()],
            ..FilterConfig::default()
        }));
        go.notify_one();
        relay.until_executed(&expected).await;
        let filtered = || relay.counters[0].filtered.load(Ordering::Relaxed);
        relay
            .until("the third is counted", |relay| relay.kept(0) == 3)
            .await;
        assert_eq!(filtered(), 1, "{flavor}");
        assert_eq!(relay.stop().await, expected, "{flavor}");
    }
}
