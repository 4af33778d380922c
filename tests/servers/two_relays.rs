//! A MySQL 5.7 with a channel for each of two relays. These tests exist where such a server is installed, see
//! tests/README.md.

use crate::support;
use crate::support::load::{Load, LoadOptions, create_tables};
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{attach_channel, replica_statuses, retry_each_second, settle};
use crate::support::servers::{Kind, Server};
use crate::support::tables::assert_same_tables_where;
use crate::support::topology::{Mode, pause, replica_options, run_for};
use crate::support::{SeedNote, seed};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_follows_two_relays_by_auto_position() {
    replica_of_two_relays(Mode::MySqlAutoPosition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_57_follows_two_relays_without_gtids() {
    replica_of_two_relays(Mode::MySqlNoGtids).await;
}

/// A replica with a channel for each of two relays, whose sources know nothing of each other.
async fn replica_of_two_relays(mode: Mode) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let kind = Kind::MySql57;
    let options = |server_id| {
        let mut options = replica_options(kind, server_id);
        options.gtid = mode.has_gtids();
        options.binlog_format = Some("MIXED");
        options
    };
    let (first, second, replica) = tokio::join!(
        Server::start(kind, options(86)),
        Server::start(kind, options(18)),
        Server::start(kind, options(11)),
    );
    let relay = |server_id, source| {
        Relay::start(RelayOptions {
            server_id,
            replicate_do_db: vec!["test".to_owned()],
            ..RelayOptions::new(vec![SourceOptions::of("m", source)])
        })
    };
    let mut relays = [relay(900, &first), relay(901, &second)];
    for (channel, relay) in ["one", "two"].into_iter().zip(&relays) {
        relay.wait_streaming().await;
        let (at, extra) = (mode.start_at("relay-bin"), retry_each_second(kind));
        attach_channel(&replica, channel, RELAY_HOST, relay.port, &at, extra).await;
    }
    let masters = [(&first, "_m1", 100), (&second, "_m2", 200)];
    for (master, suffix, _) in masters {
        create_tables(master, suffix).await;
    }
    let load = |(master, suffix, owner): (&Server, &str, u32)| {
        let mut load = LoadOptions::new(seed(), owner);
        load.suffix = suffix.to_owned();
        load.pause = pause(kind);
        Load::start(master, &load)
    };
    let loads = masters.map(load);
    for relay in &mut relays {
        run_for(700).await;
        relay.kill9();
        relay.restart();
    }
    run_for(700).await;
    for load in loads {
        load.finish().await;
    }
    settle(&[&first, &second], &[&replica], 60).await;
    for status in replica_statuses(&replica).await {
        let runs = status.io_running == "Yes" && status.sql_running == "Yes";
        assert!(runs, "{status:#?}");
    }
    for (master, suffix, owner) in masters {
        let own = format!("own_{}", owner / 100);
        assert_same_tables_where(master, &replica, "test", |name| {
            name.ends_with(suffix) || name.starts_with(&own)
        })
        .await;
    }
    for relay in &mut relays {
        relay.terminate();
        relay.verify();
    }
}
