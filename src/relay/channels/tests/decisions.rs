//! CHANGE with a position is a decision: it is carried out as it is answered, or not at all.

use tokio::sync::Notify;

use super::*;
use crate::config::ChangedSettings;
use crate::receiver::tests::binlog::Asked;
use crate::receiver::tests::source::{Plan, Then};

/// Long enough for a decision to begin on any machine that is not stuck. Nothing depends on it.
const SHORT: Duration = Duration::from_millis(300);

/// A source that is followed by positions.
fn by_position(source: &FakeSource) -> SourceConfig {
    SourceConfig {
        auto_position: Some(false),
        ..source.config("m1")
    }
}

fn change(position: &SourcePosition) -> SourceChange {
    SourceChange::Change {
        name: "m1".to_owned(),
        settings: Box::new(ChangedSettings {
            read_timeout: Some(Duration::from_secs(59)),
            ..ChangedSettings::default()
        }),
        position: Some(position.clone()),
    }
}

/// A relay that has all of the source, which is stopped; and an earlier position of it.
async fn stopped() -> (FakeSource, Relay, SourcePosition) {
    let binlog = Binlog::sample(Flavor::MySql, 1);
    let earlier = SourcePosition::new(&*binlog.end().file, 4);
    let source = FakeSource::start(binlog).await;
    let mut relay = Relay::start(vec![by_position(&source)]).await;
    relay.until_received("m1", &source).await;
    relay.ask(stop("m1")).await;
    (source, relay, earlier)
}

/// What the newest dump was asked for, once the source is started again.
async fn asked_after_start(relay: &mut Relay, source: &FakeSource) -> Asked {
    let before = source.state().asked.len();
    relay.ask(start("m1")).await;
    relay
        .until("another dump", |_| source.state().asked.len() > before)
        .await;
    source.state().asked.pop().expect("a dump")
}

#[tokio::test]
async fn position_that_was_not_found_in_time_is_never_taken() {
    let (source, mut relay, earlier) = stopped().await;
    let before = relay.position("m1");
    assert_ne!(before, earlier);
    let go = Arc::new(Notify::new());
    let slow = Plan {
        cut: Some(10),
        ..Plan::then(Then::Rest(go.clone()))
    };
    source.state().scan_plans.push_back(slow);
    relay.channels.limits.position = SHORT;
    let text = relay.refused(change(&earlier)).await;
    assert!(
        text.starts_with("the position was not found within"),
        "{text}"
    );
    assert!(text.contains("nothing was changed"), "{text}");
    // The source sends the rest now, which is not read.
    go.notify_one();
    let asked = asked_after_start(&mut relay, &source).await;
    assert_eq!(asked, Asked::File(before.clone()));
    let settings = &relay.source("m1").config;
    assert_eq!(settings.read_timeout, source.config("m1").read_timeout);
    relay.until_received("m1", &source).await;
    relay.stop().await;
}

#[tokio::test]
async fn position_that_is_being_recorded_is_not_refused() {
    let (source, mut relay, earlier) = stopped().await;
    relay.gate.send_replace(false);
    relay.channels.limits = Limits {
        position: SHORT,
        step: SHORT,
    };
    let text = relay.refused(change(&earlier)).await;
    assert!(text.contains("will continue at the position"), "{text}");
    let settings = &relay.source("m1").config;
    assert_eq!(settings.read_timeout, Duration::from_secs(59), "kept");
    relay.channels.limits = Limits::default();
    relay.gate.send_replace(true);
    let asked = asked_after_start(&mut relay, &source).await;
    assert_eq!(asked, Asked::File(earlier));
    relay.until_received("m1", &source).await;
    relay.stop().await;
}

/// Its path is in the log: the position is not a start, which would be ignored.
#[tokio::test]
async fn position_of_a_source_that_was_removed_counts() {
    let (source, mut relay, earlier) = stopped().await;
    let config = relay.source("m1").config.clone();
    relay.ask(SourceChange::Remove(vec!["m1".to_owned()])).await;
    assert!(relay.channels.find("m1").is_none());
    let nowhere = SourcePosition::new("bin.000001", 7);
    relay.refused(change(&nowhere)).await;
    assert!(relay.channels.find("m1").is_none(), "nothing has changed");
    relay.ask(change(&earlier)).await;
    assert_eq!(relay.position("m1"), earlier);
    assert_eq!(relay.source("m1").config.start, config.start);
    let asked = asked_after_start(&mut relay, &source).await;
    assert_eq!(asked, Asked::File(earlier));
    relay.until_received("m1", &source).await;
    relay.stop().await;
}

/// What was read of it counts as delivered, and the rest would not.
#[tokio::test]
async fn source_that_is_read_up_to_its_start_is_not_removed() {
    let (_source, mut relay, _) = stopped().await;
    let set = |relay: &Relay, reading_back| {
        relay.log.state().sources[0].reading_back = reading_back;
    };
    set(&relay, true);
    let remove = || SourceChange::Remove(vec!["m1".to_owned()]);
    let refused = relay.refused(remove()).await;
    assert!(refused.contains("still read up to its start"), "{refused}");
    let reloaded = relay
        .channels
        .configure(Vec::new(), SharedFilter::default())
        .await;
    let Err(SourceChangeError::Refused(text)) = reloaded else {
        panic!("{reloaded:?}");
    };
    assert_eq!(text, refused);
    assert!(relay.channels.find("m1").is_some());
    set(&relay, false);
    relay.ask(remove()).await;
    assert!(relay.channels.find("m1").is_none());
    relay.stop().await;
}
