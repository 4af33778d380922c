//! A source whose clock differs from this machine's.

use std::time::{SystemTime, UNIX_EPOCH};

use super::binlog::{Asked, Binlog};
use super::source::{FakeSource, Plan, Then, frame};
use super::*;
use crate::receiver::control::watch_source_end;

/// The age of the newest transaction, by the source's clock.
const AGE: u64 = 7;

#[tokio::test]
async fn lag_is_measured_by_the_clock_of_the_source() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let source = FakeSource::start(binlog.clone()).await;
    let packets = binlog.dump(&Asked::Set(Default::default()));
    let mut bytes = Vec::new();
    packets
        .iter()
        .for_each(|packet| frame(&mut bytes, &mut 1, packet));
    // The last transaction does not arrive, so the relay stays behind.
    source.plan(Plan {
        edit: None,
        cut: Some(bytes.len() - 1),
        then: Then::Nothing,
    });
    let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
    relay.until_executed(&binlog.executed()[..5]).await;
    let behind = || relay.statuses[0].seconds_behind(None, None).unwrap();
    let by_own_clock = behind();
    assert!(by_own_clock > 1_000_000, "the sample is years old");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    source.state().clock = Some(now.as_secs() - by_own_clock + AGE);
    let watching = tokio::spawn(watch_source_end(
        relay.orders[0].subscribe(),
        Arc::clone(&relay.statuses[0]),
        relay.stop.subscribe(),
    ));
    relay
        .until("the clock is known", |_| behind() < 1_000_000)
        .await;
    // The source's clock does not advance while it is asked: seconds of this test are counted on top.
    let found = behind();
    assert!((AGE..AGE + 60).contains(&found), "{found}");
    relay.stop().await;
    watching.await.unwrap();
}
