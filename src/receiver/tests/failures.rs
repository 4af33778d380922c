//! Problems that only an administrator can resolve: they are reported, and nothing wrong is recorded.

use tokio::sync::oneshot;

use super::binlog::Binlog;
use super::following::FOLLOW_MODES;
use super::source::{FakeSource, Plan, Then};
use super::*;
use crate::config::SourceStart;
use crate::protocol::ServerError;
use crate::receiver::continuing::continue_source;
use crate::receiver::withdrawal::Wanted;

#[tokio::test]
async fn wrong_checksum_stops_before_its_transaction() {
    for mode in FOLLOW_MODES {
        let binlog = Binlog::sample(mode.flavor(), 86);
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
            ..mode.config(&source)
        };
        let progress = vec![at_start(86)];
        let relay = Relay::start(mode.flavor(), vec![config.clone()], progress);
        relay.until_executed(&binlog.executed()[..1]).await;
        let error = relay.until_failed(0).await;
        assert_eq!(source.state().asked.len(), 2, "{mode:?}: it failed twice");
        let expected = format!("at bin.000001:{position}: Query: checksum mismatch: ");
        assert!(
            error.message.starts_with(&expected),
            "{mode:?}: {expected}: {error:?}"
        );
        let advice = "check the file with mysqlbinlog --verify-binlog-checksum on the source";
        assert!(error.message.contains(advice), "{mode:?}: {error:?}");
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

impl Relay {
    /// As `binrelay continue m1`, perhaps `--at` a position; returns the answer.
    async fn continue_m1(
        &self,
        config: &SourceConfig,
        at: Option<&SourcePosition>,
    ) -> Result<String, String> {
        let options = receiver_options(0, config.clone(), &self.dir.path().join("spool"));
        let from = ContinueFrom {
            at: at.cloned().map(SourceStart::FilePosition),
            new_history: false,
            counts_missing: false,
            skips_missing: false,
        };
        let asked = (oneshot::channel().0, Wanted::always());
        let (context, counters) = (&self.context, &self.counters[0]);
        let answer = continue_source(&options, context, counters, &from, asked).await;
        answer.map_err(|error| error.to_string())
    }

    /// Waits until the source has been tried again several times.
    async fn until_retried(&self) {
        let reconnects = |relay: &Relay| relay.statuses[0].reconnects.load(Ordering::Relaxed);
        let before = reconnects(self);
        self.until("it is tried again", |relay| reconnects(relay) > before + 5)
            .await;
    }
}

/// MySQL, by GTID: the next dump begins with the file after the incident, which ends its file.
#[tokio::test]
async fn incident_without_a_gtid_fails_until_an_administrator_decides() {
    for mode in FOLLOW_MODES {
        let mut binlog = Binlog::new(mode.flavor(), 86);
        binlog.commit(86, 1);
        let at = binlog.end();
        let lost = make::event(EventType::INCIDENT, 86, b"\x01\0\x04lost");
        binlog.push(lost, None, None);
        let after = binlog.end();
        binlog.next_file(Checksum::Crc32);
        binlog.commit(86, 2);
        let source = FakeSource::start(binlog.clone()).await;
        source.plan(Plan::then(Then::Nothing));
        for _ in 0..1000 {
            let is_incident = |packet: &binlog::Packet| packet.event[4] == EventType::INCIDENT.0;
            let next_file = move |packets: &mut Vec<binlog::Packet>| {
                packets.retain(|packet| !is_incident(packet));
            };
            source.plan(Plan::edit(next_file, Then::Nothing));
        }
        let config = mode.config(&source);
        let relay = Relay::start(mode.flavor(), vec![config.clone()], vec![at_start(86)]);
        let error = relay.until_failed(0).await;
        let expected = format!("at {at}: the source lost changes");
        assert!(error.message.starts_with(&expected), "{mode:?}: {error:?}");
        relay.until_retried().await;
        assert_eq!(relay.state(0), SourceState::Failed, "{mode:?}");
        assert_eq!(source.state().asked.len(), 1, "{mode:?}");

        // MariaDB: the event is sent again.
        source.state().plans.clear();
        let refused = relay.continue_m1(&config, None).await.unwrap_err();
        assert!(refused.starts_with(&expected), "{mode:?}: {refused}");
        let refused = relay.continue_m1(&config, Some(&at)).await.unwrap_err();
        let before = format!("{at} is not after the Incident event at {at}");
        assert!(refused.starts_with(&before), "{mode:?}: {refused}");
        relay.continue_m1(&config, Some(&after)).await.unwrap();
        relay.until_executed(binlog.executed()).await;
        assert_eq!(relay.state(0), SourceState::Streaming, "{mode:?}");
        relay.stop().await;
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

/// MariaDB 12.3 and later: only a binlog in files has positions.
#[tokio::test]
async fn binlog_in_a_storage_engine_is_refused() {
    let source = FakeSource::start(Binlog::sample(Flavor::MariaDb, 86)).await;
    source.state().binlog_engine = Some("innodb");
    let relay = Relay::start(
        Flavor::MariaDb,
        vec![source.config("m1")],
        vec![at_start(86)],
    );
    let error = relay.until_failed(0).await;
    assert!(
        error.message.contains("binlog_storage_engine=innodb"),
        "{error:?}"
    );
    assert_eq!(source.state().asked, []);
    source.state().binlog_engine = Some("");
    relay
        .until("it streams", |relay| {
            relay.state(0) == SourceState::Streaming
        })
        .await;
    relay.stop().await;
}
