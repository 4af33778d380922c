//! MHA makes a replica the master while the relay follows both (BINRELAY_PROFILE=long, root): the masters run on hosts of
//! their own (network namespaces), which ssh connects, and MHA's programs do what an administrator has them do.
//!
//! With GTIDs the candidate has stopped receiving when the master is killed, so that only the dead master's binlog, which MHA
//! reads over ssh, and the relay have the last transactions. Without GTIDs a copy that MHA makes of them cannot be recognised
//! (`binrelay help monitoring`), and the candidate has everything.

mod stage;

use crate::support;
use crate::support::load::{Load, LoadOptions, LoadReport, assert_acknowledged};
use crate::support::replication::{assert_healthy, settle};
use crate::support::servers::Kind;
use crate::support::tables::{assert_no_database, assert_same_tables};
use crate::support::topology::gtid_executed;
use crate::support::{SeedNote, seed};
use stage::Stage;

/// Transactions of each part of the load.
const PART: u64 = 60;
const LIMIT_SECS: u64 = 120;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn fails_over_by_gtid() {
    fails_over(Kind::MySql56, true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn fails_over_without_gtids() {
    fails_over(Kind::MySql56, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "BINRELAY_PROFILE=long"]
async fn fails_over_with_mariadb() {
    fails_over(Kind::MariaDb, true).await;
}

async fn fails_over(kind: Kind, gtid: bool) {
    let _turn = support::turn();
    let _note = SeedNote(seed());
    let mut stage = Stage::start(kind, gtid).await;
    stage.check();
    let first = load_and_kill(&mut stage, gtid).await;
    // The new master has everything that clients were told to be committed, and the relay continues with it.
    assert_acknowledged(&stage.m2, &first, "").await;
    let load = Load::start(&stage.m2, &load_options(kind, 200));
    load.wait_for(PART).await;
    let second = load.finish().await;
    assert_eq!(second.disconnected, 0, "{second:?}");
    settle(&[&stage.m2], &[&stage.replica], LIMIT_SECS).await;
    assert_healthy(&stage.replica).await;
    for report in [&first, &second] {
        assert_acknowledged(&stage.replica, report, "").await;
    }
    assert_same_tables(&stage.m2, &stage.replica, "test").await;
    assert_no_database(&stage.replica, "other").await;
    if kind.is_mysql() && gtid {
        let expected = gtid_executed(&stage.m2).await;
        assert_eq!(gtid_executed(&stage.replica).await, expected);
    }
    stage.finish();
}

fn load_options(kind: Kind, first_owner: u32) -> LoadOptions {
    let mut load = LoadOptions::new(seed(), first_owner);
    load.cross_database = true;
    load.pause = support::topology::pause(kind);
    // What a killed server does of DDL is not always in its binlog.
    load.ddl = kind.has_atomic_ddl();
    load.truncate = kind.is_mysql();
    load
}

/// Load on the master, its death, and the fail-over.
async fn load_and_kill(stage: &mut Stage, gtid: bool) -> LoadReport {
    let manager = stage.start_manager();
    let load = Load::start(&stage.m1, &load_options(stage.kind, 100));
    load.wait_for(PART).await;
    if gtid {
        stage.m2.sql("STOP SLAVE IO_THREAD").await;
    }
    load.wait_for(PART).await;
    let report = load.finish().await;
    assert_eq!(report.disconnected, 0, "{report:?}");
    let (m1, m2, replica) = (&stage.m1, &stage.m2, &stage.replica);
    let readers = [replica, m2];
    settle(
        &[m1],
        if gtid { &readers[..1] } else { &readers },
        LIMIT_SECS,
    )
    .await;
    stage.m1.kill9();
    stage.fails_over(manager);
    report
}
