//! By file and position: M1's newest transaction is in its first file, and the relay is at the head of its third one. The
//! server is replaced by a copy from before its restart: that transaction is unchanged, and its new files have the names of
//! the former ones. Then they have grown past the position before the relay looks.

use super::{copy_directory, insert, restore_m1, start, wait_failed};
use crate::support::history_changes::{execute, refusal};
use crate::support::servers::Kind;
use crate::support::topology::Mode;
use crate::support::{self, Deadline};

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56_written_to_in_a_file_that_had_no_transaction() {
    written_where_nothing_was(Kind::MySql56, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mysql_written_to_in_a_file_that_had_no_transaction() {
    written_where_nothing_was(Kind::MySql, Mode::MySqlNoGtids).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn mariadb_written_to_in_a_file_that_had_no_transaction() {
    written_where_nothing_was(Kind::MariaDb, Mode::MariaDbFilePosition).await;
}

async fn written_where_nothing_was(kind: Kind, mode: Mode) {
    let _turn = support::turn();
    let mut topology = start(kind, mode).await;
    // Its peer would log again what it writes.
    let mut sources = topology.relay.options.sources.clone();
    sources.truncate(1);
    topology.relay.terminate();
    topology.m2.terminate();
    topology.relay.restart_with(sources);
    topology.relay.wait_streaming().await;
    topology.m1.terminate();
    let copy = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    copy_directory(&topology.m1.data_dir(), &copy.path().join("data"));
    topology.m1.restart().await;
    let begun = topology.m1.log_files().pop().expect("a binlog file");
    let begun = begun.file_name().and_then(|name| name.to_str()).unwrap();
    topology.m1.sql("FLUSH LOGS").await;
    let newest = topology.m1.log_files().pop().expect("a binlog file");
    let newest = newest.file_name().and_then(|name| name.to_str()).unwrap();
    topology
        .relay
        .wait_status("the relay is in M1's newest file", 60, |status| {
            status["sources"][0]["file"] == newest
        })
        .await;
    topology.relay.terminate();
    restore_m1(&mut topology, copy.path()).await;
    insert(&topology.m1, 5).await;
    topology.m1.sql("FLUSH LOGS").await;
    insert(&topology.m1, 30).await;
    topology.relay.restart();
    wait_failed(&topology).await;
    let refused = refusal(&topology, "binrelay continue m1");
    assert!(refused.contains("history has changed"), "{refused}");

    let again = format!("binrelay continue m1 --new-history --at {begun}:4");
    execute(&topology, &again);
    for _ in 0..2 {
        topology.relay.wait_streaming().await;
        insert(&topology.m1, 3).await;
        let count = "SELECT CAST(COUNT(*) AS CHAR) FROM test.history";
        let expected = topology.m1.value(count).await;
        let deadline = Deadline::after_secs(60);
        while topology.replicas[0].value(count).await != expected {
            assert!(!deadline.passed(), "the replica lacks rows of M1");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        topology.relay.terminate();
        topology.relay.restart();
    }
    topology.relay.terminate();
    topology.relay.verify();
}
