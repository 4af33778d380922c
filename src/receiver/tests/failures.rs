//! Problems that only an administrator can resolve: they are reported, and nothing wrong is recorded.

use super::binlog::Binlog;
use super::following::WAYS;
use super::source::{FakeSource, Plan, Then};
use super::*;
use crate::protocol::ServerError;

#[tokio::test]
async fn wrong_checksum_stops_before_its_transaction() {
    for way in WAYS {
        let binlog = Binlog::sample(way.flavor(), 86);
        let source = FakeSource::start(binlog.clone()).await;
        let second = binlog.executed()[1];
        let damage = move |packets: &mut Vec<binlog::Packet>| {
            // The statement before the second commit.
            let ends = packets.iter().position(|p| p.ends == Some(second));
            let event = &mut packets[ends.unwrap() - 1].event;
            let last = event.len() - 6;
            event[last] ^= 4;
        };
        let boundaries = binlog.boundaries();
        let open: Vec<_> = boundaries.iter().filter(|(_, open)| *open).collect();
        let per_group = open.len() / 3;
        // After the event before the damaged one.
        let (position, _) = open[2 * per_group - 2];
        for _ in 0..1000 {
            source.plan(Plan::edit(damage, Then::Nothing));
        }
        let config = SourceConfig {
            connect_retry_max: Duration::from_secs(3600),
            ..way.config(&source)
        };
        let progress = vec![at_start(86)];
        let relay = Relay::start(way.flavor(), vec![config.clone()], progress);
        relay.until_executed(&binlog.executed()[..1]).await;
        let error = relay.until_failed(0).await;
        assert_eq!(source.state().asked.len(), 2, "{way:?}: it failed twice");
        let expected = format!("at bin.000001:{position}: Query: checksum mismatch: ");
        assert!(
            error.message.starts_with(&expected),
            "{way:?}: {expected}: {error:?}"
        );
        let advice = "check the file with mysqlbinlog --verify-binlog-checksum on the source";
        assert!(error.message.contains(advice), "{way:?}: {error:?}");
        assert_eq!(relay.kept(0), 1);
        source.state().plans.clear();
        relay.orders[0].send(config, Activity::Follow);
        relay.until_executed(binlog.executed()).await;
        relay
            .until("the source has recovered", |relay| {
                relay.state(0) == SourceState::Streaming
            })
            .await;
        assert_eq!(relay.stop().await, binlog.executed());
    }
}

#[tokio::test]
async fn refused_dump_is_a_failure_with_advice() {
    let refusals = [
        (1236, "could not find next log", "seed the replicas again"),
        (1227, "Access denied", "GRANT REPLICATION SLAVE"),
        (
            4052,
            "A slave with the same server_uuid/server_id as this slave has connected to the master",
            "stop the copy, or give it its own [relay] server_id",
        ),
    ];
    for (code, text, advice) in refusals {
        let source = FakeSource::start(Binlog::sample(Flavor::MySql, 86)).await;
        for _ in 0..1000 {
            source.plan(Plan::edit(Vec::clear, Then::Error(code, text)));
        }
        let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
        let error = relay.until_failed(0).await;
        assert_eq!(error.code, code);
        assert!(error.message.contains(text), "{error:?}");
        assert!(error.message.contains(advice), "{error:?}");
        assert_eq!(relay.stop().await, []);
    }
}

#[tokio::test]
async fn refused_login_is_a_failure_with_advice() {
    let refusals = [
        (
            1045,
            "Access denied for user",
            "correct the user and password",
        ),
        (3118, "Account is locked", "ALTER USER"),
        (
            3159,
            "Connections using insecure transport are prohibited",
            "mode = \"required\"",
        ),
    ];
    for (code, text, advice) in refusals {
        let source = FakeSource::start(Binlog::sample(Flavor::MySql, 86)).await;
        source.state().refuse_login = Some(ServerError::new(code, format!("{text}\nso it is")));
        let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
        let error = relay.until_failed(0).await;
        assert_eq!(error.code, code);
        assert!(error.message.contains(advice), "{error:?}");
        assert!(!error.message.contains('\n'), "one line: {error:?}");
        assert!(!error.message.contains("correct horse"), "{error:?}");
        source.state().refuse_login = None;
        relay
            .until("it streams", |relay| {
                relay.state(0) == SourceState::Streaming
            })
            .await;
        relay.stop().await;
    }
}

#[tokio::test]
async fn missing_privilege_is_named() {
    let source = FakeSource::start(Binlog::sample(Flavor::MySql, 86)).await;
    source.state().refuse_register = Some(ServerError::new(1045, "Access denied"));
    let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
    let error = relay.until_failed(0).await;
    assert!(
        error.message.contains("GRANT REPLICATION SLAVE"),
        "{error:?}"
    );
    relay.stop().await;
}

#[tokio::test]
async fn the_relays_own_server_id_is_refused() {
    for server_id in [OWN, 0] {
        let source = FakeSource::start(Binlog::sample(Flavor::MySql, server_id)).await;
        let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(0)]);
        let error = relay.until_failed(0).await;
        assert!(
            error.message.contains(&format!("server_id {server_id}")),
            "{error:?}"
        );
        relay.stop().await;
        assert_eq!(source.state().asked, []);
    }
}

#[tokio::test]
async fn one_of_two_sources_that_are_the_same_server_is_followed() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let source = FakeSource::start(binlog.clone()).await;
    let configs = vec![source.config("m1"), source.config("m2")];
    let relay = Relay::start(Flavor::MySql, configs, vec![at_start(86), at_start(86)]);
    let is = |relay: &Relay, state| {
        (0..2)
            .filter(|source| relay.state(*source) == state)
            .count()
    };
    relay
        .until("one streams, one failed", |relay| {
            (
                is(relay, SourceState::Streaming),
                is(relay, SourceState::Failed),
            ) == (1, 1)
        })
        .await;
    let failed = (0..2)
        .find(|source| relay.state(*source) == SourceState::Failed)
        .unwrap();
    let error = relay.statuses[failed].last_error().unwrap();
    assert!(error.message.contains("like another source"), "{error:?}");
    relay.until_executed(binlog.executed()).await;
    assert_eq!(relay.stop().await, binlog.executed());
    assert_eq!(source.state().asked.len(), 1);
}

#[tokio::test]
async fn another_flavor_is_refused() {
    let source = FakeSource::start(Binlog::sample(Flavor::MariaDb, 86)).await;
    let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
    let error = relay.until_failed(0).await;
    assert!(error.message.contains("a mariadb server"), "{error:?}");
    relay.stop().await;
}
