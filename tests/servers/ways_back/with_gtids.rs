//! The ways back of MySQL sources with GTIDs: purged binlogs, a reset, and GTIDs that are declared as purged.

use serde_json::Value;

use super::{
    advised, assert_continues, execute, insert, purge_to, refusal, start, wait_failed,
    wait_for_rows,
};
use crate::support::history_changes::{rebuild_from_peer, run, wait_m2};
use crate::support::programs::free_port;
use crate::support::replication::replica_status;
use crate::support::servers::Kind;
use crate::support::topology::Mode;
use crate::support::virtual_ip::VirtualIp;
use crate::support::{self, Deadline};

/// With GTIDs the relay requests what it lacks, so m1 is failed only if it is connected before M2 has delivered that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn purged_mysql_with_gtids() {
    for kind in [Kind::MySql, Kind::MySql56] {
        let _turn = support::turn();
        let mut topology = start(kind, Mode::MySqlAutoPosition).await;
        let address = VirtualIp::of(topology.m2.port).await;
        let mut sources = topology.relay.options.sources.clone();
        sources[1].port = address.port;
        topology.relay.terminate();
        insert(&topology.m1, 5).await;
        topology.m1.sql("FLUSH LOGS").await;
        insert(&topology.m1, 5).await;
        wait_for_rows(&topology.m2, &topology.m1).await;
        let last = topology.m1.log_files().pop().expect("a binlog file");
        let last = last.file_name().and_then(|name| name.to_str()).unwrap();
        purge_to(&topology.m1, last).await;
        address.move_to(free_port());
        topology.relay.restart_with(sources);
        let failed = |status: &Value| {
            let m1 = &status["sources"][0];
            m1["state"] == "failed" && m1["last_error"].to_string().contains("1236")
        };
        topology.relay.wait_status("m1 is failed", 60, failed).await;
        let m1 = topology.relay.source_status("m1");
        let message = m1["last_error"]["message"].as_str().unwrap().to_owned();
        address.move_to(topology.m2.port);
        wait_for_rows(&topology.replicas[0], &topology.m1).await;
        // It is tried again each second: perhaps it has been since then, and streams.
        let output = run(&topology, &advised(&message));
        let done = String::from_utf8_lossy(&output.stdout).into_owned();
        let refused = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{kind}: {done}{refused}");
        assert!(
            output.status.success() || refused.contains("the source is streaming"),
            "{refused}"
        );
        assert!(!done.contains("warning"), "{done}");
        assert_continues(&mut topology).await;
    }
}

/// With GTIDs, transactions of a reset source would be skipped silently by the replicas: that is refused. The
/// source gets the data of its peer and a new identity.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn reset_mysql_with_gtids() {
    let _turn = support::turn();
    let mut topology = start(Kind::MySql, Mode::MySqlAutoPosition).await;
    topology.m1.sql("RESET BINARY LOGS AND GTIDS").await;
    insert(&topology.m1, 3).await;
    let message = wait_failed(&topology, "history has changed").await;
    assert!(
        message.contains("binrelay continue m1 --new-history"),
        "{message}"
    );
    let refused = refusal(&topology, "binrelay continue m1 --new-history");
    assert!(
        refused.contains("Replicas that have them skip"),
        "{refused}"
    );
    assert!(refused.contains("auto.cnf"), "{refused}");
    // Growth must not hide it.
    insert(&topology.m1, 30).await;
    let refused = refusal(&topology, "binrelay continue m1 --new-history");
    assert!(refused.contains("auto.cnf"), "{refused}");

    rebuild_from_peer(&mut topology.m1, &mut topology.m2).await;
    wait_m2(&topology).await;
    execute(&topology, "binrelay continue m1 --new-history");
    assert_continues(&mut topology).await;
}

/// Transactions that never existed are declared as purged on a master: the relay counts them as delivered, and
/// replicas that lack them are refused until they do as well.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn gtid_purged_of_a_source_grew() {
    let _turn = support::turn();
    let mut topology = start(Kind::MySql, Mode::MySqlAutoPosition).await;
    let purged = "SET GLOBAL gtid_purged = '+11111111-2222-3333-4444-555555555555:1-5'";
    topology.m1.sql(purged).await;
    topology.m2.sql("STOP REPLICA").await;
    topology.relay.terminate();
    topology.relay.restart();
    let message = wait_failed(&topology, "1236").await;
    let done = execute(&topology, &advised(&message));
    assert!(done.contains(purged), "{done}");
    topology.m2.sql(&format!("{purged}; START REPLICA")).await;
    topology.m1.sql("STOP REPLICA; START REPLICA").await;
    // The relay keeps this across restarts.
    topology.relay.terminate();
    topology.relay.verify();
    topology.relay.restart();
    topology.relay.wait_streaming().await;
    let purged_here = topology.relay.status()["relay"]["gtid_purged"].to_string();
    assert!(purged_here.contains("555555555555:1-5"), "{purged_here}");
    let replica = &topology.replicas[0];
    replica.sql("STOP REPLICA; START REPLICA").await;
    let deadline = Deadline::after_secs(60);
    while replica_status(replica).await.io_errno != 13114 {
        assert!(!deadline.passed(), "the replica is not refused");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    replica.sql(purged).await;
    replica.sql("STOP REPLICA; START REPLICA").await;
    assert_continues(&mut topology).await;
}
