//! A relay log that began after the history of a MariaDB master that is reset: what its peer sends of the new history
//! cannot be compared with the former one.

use super::{assert_continues, continue_m2, insert, start, wait_for_rows};
use crate::support;
use crate::support::administration::printed;
use crate::support::faulty_link::{Fault, FaultyLink};
use crate::support::history_changes::{self, execute, wait_failed};
use crate::support::relay::{RELAY_HOST, run_binrelay};
use crate::support::replication::{attach, retry_each_second};
use crate::support::servers::Kind;
use crate::support::topology::{Mode, Topology};

/// M2 follows the new history before the source is continued, and is behind when it is.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_peer_is_ahead_of_the_decision() {
    let _turn = support::turn();
    let mut topology = start(Kind::MariaDb, Mode::MariaDbFilePosition).await;
    let link = FaultyLink::to(topology.m1.port).await;
    begin_a_later_log(&mut topology, link.port).await;
    // M2 has sent a later number of the former history.
    insert(&topology.m1, 1).await;
    topology.settle(60).await;
    // A GTID that is used again shows by its commit time, which has whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    history_changes::reset(&topology.m1, &topology.m2).await;
    insert(&topology.m1, 4).await;
    wait_for_rows(&topology.m2, &topology.m1).await;
    wait_failed(&topology, "history has changed").await;
    topology
        .relay
        .wait_status(
            "M2's copies of the new history were dropped",
            60,
            |status| status["sources"][1]["transactions"]["repeated"].as_u64() >= Some(4),
        )
        .await;
    missing_is_refused(&topology);
    topology.m2.sql("STOP SLAVE IO_THREAD").await;
    insert(&topology.m1, 40).await;
    link.set(Fault::Slow);
    execute(&topology, "binrelay continue m1 --new-history");
    // Nearly everything arrives from M2 first.
    link.set(Fault::OneWay);
    topology.m2.sql("START SLAVE IO_THREAD").await;
    wait_for_rows(&topology.m2, &topology.m1).await;
    topology
        .relay
        .wait_status("M2 has sent everything", 60, |status| {
            status["sources"][1]["transactions"]["received"].as_u64() >= Some(45)
        })
        .await;
    link.set(Fault::None);
    continue_m2(&topology).await;
    assert_continues(&mut topology).await;
}

/// A new log begins at the masters' current positions, M1 being at another port; the replica, which has everything,
/// follows it.
async fn begin_a_later_log(topology: &mut Topology, port_of_m1: u16) {
    topology.relay.terminate();
    std::fs::remove_dir_all(topology.relay.data_dir()).expect("the relay log is removed");
    let mut sources = topology.relay.options.sources.clone();
    sources[0].port = port_of_m1;
    for source in &mut sources {
        source.start = Some("latest".to_owned());
    }
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
    let (kind, replica) = (topology.m1.kind, &topology.replicas[0]);
    replica.sql("STOP SLAVE; RESET SLAVE ALL").await;
    let at = Mode::MariaDbFilePosition.start_at("relay-bin");
    let port = topology.relay.port;
    attach(replica, RELAY_HOST, port, &at, retry_each_second(kind)).await;
}

/// M2's GTIDs of M1 have begun again, so they do not show what M2 has of M1's former binlog.
fn missing_is_refused(topology: &Topology) {
    let config = topology.relay.config();
    let config = config.to_str().expect("UTF-8");
    let output = run_binrelay(&["missing", "m2", "--config", config]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("its GTIDs do not show what it has of the former one"),
        "{text}"
    );
}
