//! The log is a binlog: the servers' own tools read every file of it with checksums verified, and
//! get the same events over the network as from the files.

use crate::support;
use crate::support::binlog_text::{
    BinlogText, assert_same_events, read_file, read_remote, run_binlog_tool,
};
use crate::support::load::Load;
use crate::support::relay::RELAY_HOST;
use crate::support::servers::{REPL_PASSWORD, REPL_USER};
use crate::support::topology::{Mode, Topology, TopologyOptions};
use crate::support::{SeedNote, seed};

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_binlog_reads_it() {
    read_everything(Mode::MariaDbFilePosition, seed()).await;
}

/// Masters with a GTID domain each: the tool's strict mode applies.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_binlog_reads_two_domains_strictly() {
    read_everything(Mode::MariaDbSlavePos, seed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysqlbinlog_reads_rows() {
    read_everything(Mode::MySqlAutoPosition, seed() | 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysqlbinlog_reads_statements() {
    read_everything(Mode::MySqlAutoPosition, (seed() | 1) + 1).await;
}

async fn read_everything(mode: Mode, seed: u64) {
    let _turn = support::turn();
    let _note = SeedNote(seed);
    let mut options = TopologyOptions::new(mode, seed);
    options.replicas = 1;
    options.log_extra = vec!["max_size = \"256KiB\"".to_owned()];
    let mut topology = Topology::start(options).await;
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    // Enough for several files.
    on_m1.wait_for(600).await;
    on_m2.wait_for(600).await;
    on_m1.finish().await;
    on_m2.finish().await;
    topology.settle(60).await;

    // Stopped in order, so that no file is marked as in use.
    topology.relay.terminate();
    topology.relay.verify();
    let files = topology.relay.log_files();
    assert!(
        files.len() >= 3,
        "too few files to show rotation: {files:?}"
    );
    if mode == Mode::MariaDbSlavePos {
        for file in &files {
            run_binlog_tool(
                mode.kind(),
                &["--gtid-strict-mode".to_owned(), file.display().to_string()],
            );
        }
    }
    let texts: Vec<BinlogText> = files
        .iter()
        .map(|file| read_file(mode.kind(), file))
        .collect();
    topology.relay.restart();
    for (file, text) in files.iter().zip(&texts) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(text.events.len() > 1, "{name}: {text:?}");
        text.assert_positions_follow(name);
        let port = topology.relay.port;
        let remote = read_remote(
            mode.kind(),
            RELAY_HOST,
            port,
            REPL_USER,
            REPL_PASSWORD,
            name,
        );
        assert_same_events(name, text, &remote);
    }
}
