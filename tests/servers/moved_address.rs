//! A virtual IP that is moved between two masters whose positions are not valid on each other, under load:
//! the relay follows the server that answers, and its replica has every row once.

use crate::starts::{Pair, Writers, has};
use crate::support;
use crate::support::programs::free_port;
use crate::support::relay::{RELAY_HOST, Relay, RelayOptions, SourceOptions};
use crate::support::replication::{StartAt, attach, retry_each_second};
use crate::support::servers::Kind;
use crate::support::topology::run_for;
use crate::support::virtual_ip::VirtualIp;
use crate::support::{Profile, profile};

/// What differs from run to run.
#[derive(Clone, Copy, Debug)]
struct Setup {
    kind: Kind,
    /// Whether a second source has M2's own address.
    has_fixed_m2: bool,
    /// The marks to which the masters are purged before the relay's start.
    purged: [usize; 2],
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_from_one_master_to_the_other() {
    moves(Setup {
        kind: Kind::MySql56,
        has_fixed_m2: false,
        purged: [2, 1],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_from_one_master_to_the_other() {
    moves(Setup {
        kind: Kind::MySql,
        has_fixed_m2: false,
        purged: [1, 2],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_from_one_master_to_the_other() {
    moves(Setup {
        kind: Kind::MariaDb,
        has_fixed_m2: false,
        purged: [1, 2],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_to_another_source() {
    moves(Setup {
        kind: Kind::MySql56,
        has_fixed_m2: true,
        purged: [0, 0],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_97_to_another_source() {
    moves(Setup {
        kind: Kind::MySql,
        has_fixed_m2: true,
        purged: [1, 2],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_to_another_source() {
    moves(Setup {
        kind: Kind::MariaDb,
        has_fixed_m2: true,
        purged: [2, 1],
    })
    .await;
}

fn relay(address: &VirtualIp, of_m2: &VirtualIp, setup: &Setup) -> Relay {
    let mut sources = vec![SourceOptions::at("m1", address.port)];
    if setup.has_fixed_m2 {
        sources.push(SourceOptions::at("m2", of_m2.port));
    }
    if setup.kind.is_mariadb() {
        for source in &mut sources {
            source.auto_position = Some(false);
        }
    }
    let mut options = RelayOptions::new(sources);
    options.replicate_do_db = Vec::new();
    Relay::start(options)
}

async fn moves(setup: Setup) {
    let _turn = support::turn();
    let mut pair = Pair::start(setup.kind, "MIXED").await;
    pair.fill().await;
    pair.purge(setup.purged).await;
    let mut at_start = pair.before_files(setup.purged);
    if !setup.has_fixed_m2 {
        at_start[1] = [(0, 0); 2];
    }
    let most = |at: usize| {
        let [one, two] = [at_start[0][at], at_start[1][at]];
        (one.0.max(two.0), one.1.max(two.1))
    };
    pair.seed_replica([most(0), most(1)]).await;
    let ports = [pair.masters[0].port, pair.masters[1].port];
    let address = VirtualIp::of(ports[0]).await;
    let of_m2 = VirtualIp::of(ports[1]).await;
    let mut relay = relay(&address, &of_m2, &setup);
    relay.wait_streaming().await;
    let first = StartAt::first_file("relay-bin");
    let retry = retry_each_second(setup.kind);
    attach(&pair.replica, RELAY_HOST, relay.port, &first, retry).await;
    let count = match profile() {
        Profile::Gate => 4,
        Profile::Long => 40,
    };
    let writers = Writers::start(&pair.masters);
    for number in 1..=count {
        run_for(300).await;
        address.move_to(ports[number % 2]);
        let id = pair.masters[number % 2].options.server_id;
        let is_parked = setup.has_fixed_m2 && number % 2 == 1;
        let follows = |status: &serde_json::Value| {
            let m1 = &status["sources"][0];
            match is_parked {
                true => {
                    m1["state"] == "connecting"
                        && m1["last_error"]["message"].as_str().is_some_and(|message| {
                            message.contains("another source of this relay follows")
                        })
                }
                false => m1["state"] == "streaming" && m1["server_id"] == id,
            }
        };
        relay
            .wait_status(&format!("{setup:?}: move {number}"), 30, follows)
            .await;
        if number % 7 == 3 {
            relay.kill9();
            relay.restart();
        }
    }
    if setup.has_fixed_m2 {
        meets_the_other_source(&relay, &pair, &address, &of_m2).await;
    }
    run_for(200).await;
    writers.finish().await;
    pair.settle().await;
    pair.wait_equal(&relay, &format!("{setup:?}")).await;
    run_for(300).await;
    assert_eq!(has(&pair.replica).await, has(&pair.masters[0]).await);
    relay.terminate();
    relay.verify();
}

/// The virtual IP is moved to M2 while the source m2 cannot be reached: it follows M2 until m2 is back.
async fn meets_the_other_source(
    relay: &Relay,
    pair: &Pair,
    address: &VirtualIp,
    of_m2: &VirtualIp,
) {
    let [m1, m2] = [&pair.masters[0], &pair.masters[1]];
    let state = |source: usize, state: &'static str, id: Option<u32>| {
        move |status: &serde_json::Value| {
            let source = &status["sources"][source];
            source["state"] == state && id.is_none_or(|id| source["server_id"] == id)
        }
    };
    of_m2.move_to(free_port());
    relay
        .wait_status("m2 is unreachable", 30, state(1, "connecting", None))
        .await;
    address.move_to(m2.port);
    let follows_m2 = state(0, "streaming", Some(m2.options.server_id));
    relay.wait_status("m1 follows M2", 30, follows_m2).await;
    run_for(300).await;
    of_m2.move_to(m2.port);
    let is_back = state(1, "streaming", Some(m2.options.server_id));
    relay.wait_status("m2 is back", 30, is_back).await;
    relay
        .wait_status("m1 leaves M2 to m2", 30, state(0, "connecting", None))
        .await;
    address.move_to(m1.port);
    let follows_m1 = state(0, "streaming", Some(m1.options.server_id));
    relay.wait_status("m1 follows M1", 30, follows_m1).await;
}
