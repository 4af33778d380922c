//! Two MariaDB masters that both take writes in one gtid_domain_id: `check` and `run` say what will
//! fail and how to fix it, and by file and position nothing fails, even when a master and the
//! relay are lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::support;
use crate::support::binlog_text::{TextEvent, count_gtids, read_file};
use crate::support::load::{Load, assert_acknowledged};
use crate::support::relay::{Relay, run_binrelay};
use crate::support::replication::{assert_no_errors, retry_each_second};
use crate::support::servers::Kind;
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{SeedNote, seeds};

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_domain_works_by_file_and_position() {
    for seed in seeds(1, 5) {
        let _turn = support::turn();
        let _note = SeedNote(seed);
        // The default gtid_domain_id is 0 on both.
        let mut options = TopologyOptions::new(Mode::MariaDbFilePosition, seed);
        options.attach_extra = retry_each_second(Kind::MariaDb);
        options.log_extra = vec!["max_size = \"512KiB\"".to_owned()];
        options.replicas = 1;
        let mut topology = Topology::start(options).await;
        assert_warned_once(&topology.relay);
        assert_check_warns(&topology.relay);
        lose_both(&mut topology).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_for_each_master_is_accepted() {
    let _turn = support::turn();
    let mut options = TopologyOptions::new(Mode::MariaDbSlavePos, 1);
    options.replicas = 0;
    let topology = Topology::start(options).await;
    assert!(!topology.relay.log().contains("gtid_domain_id"));
    let output = run_check(&topology.relay);
    assert_eq!(output, (Some(0), output.1.clone()));
    assert!(!output.1.contains("warning"), "{}", output.1);

    // A server that takes no writes of its own rightly has its master's domain.
    let (m1, m2) = (&topology.m1, &topology.m2);
    m2.sql("SET GLOBAL gtid_domain_id = 86").await;
    let output = run_check(&topology.relay);
    assert_eq!(output.0, Some(3), "{}", output.1);
    m1.sql("SET GLOBAL read_only = 1").await;
    let output = run_check(&topology.relay);
    assert_eq!(output.0, Some(0), "{}", output.1);
}

fn run_check(relay: &Relay) -> (Option<i32>, String) {
    let config = relay.config();
    let output = run_binrelay(&["check", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text)
}

fn assert_check_warns(relay: &Relay) {
    let (code, text) = run_check(relay);
    assert_eq!(code, Some(3), "{text}");
    let line = text.lines().find(|line| line.contains("warning:"));
    assert_names_the_fix(line.unwrap_or_else(|| panic!("no warning: {text}")));
}

/// Since this start of the relay.
fn assert_warned_once(relay: &Relay) {
    let log = relay.log();
    let start = log.rfind("listening on").unwrap();
    let lines = log[start..].lines();
    let lines: Vec<&str> = lines.filter(|line| line.contains("domain")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains(" WARN "), "{}", lines[0]);
    assert_names_the_fix(lines[0]);
}

fn assert_names_the_fix(line: &str) {
    for words in [
        "server_id 86",
        "server_id 18",
        "GTID domain 0",
        "SET GLOBAL gtid_domain_id=",
        "MASTER_USE_GTID=no",
    ] {
        assert!(line.contains(words), "{words} is missing: {line}");
    }
}

/// Load on both; M1 is killed and comes back, then the relay.
async fn lose_both(topology: &mut Topology) {
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    on_m1.wait_for(100).await;
    topology.m1.kill9();
    let of_m1 = on_m1.finish().await;
    run_for(700).await;
    topology.restart_m1().await;
    let back_on_m1 = Load::start(&topology.m1, &topology.load_options(1, 1));
    run_for(700).await;
    topology.relay.kill9();
    run_for(300).await;
    topology.relay.restart();
    back_on_m1.wait_for(50).await;
    let reports = [of_m1, on_m2.finish().await, back_on_m1.finish().await];
    topology.settle(90).await;
    topology.assert_replicas_equal_m1().await;
    assert_warned_once(&topology.relay);
    let replica = &topology.replicas[0];
    let allowed = ["econnecting", "Error reading packet", "Lost connection"];
    assert_no_errors(replica, &allowed);
    for report in &reports {
        assert!(report.acknowledged > 40, "too little load: {report:?}");
        assert_acknowledged(replica, report, "").await;
    }
    topology.relay.terminate();
    topology.relay.verify();
    assert_order_of_each_master(topology);
}

/// In the relay log numbers of the domain do not rise, but those of each master do; each
/// transaction is there once, and the list at a file's beginning is what the files before it hold.
fn assert_order_of_each_master(topology: &Topology) {
    let files = topology.relay.log_files();
    assert!(files.len() > 1, "no rotation happened: {files:?}");
    let counts = count_gtids(Kind::MariaDb, &files);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "in the relay log not once: {twice:?}");
    let mut highest: BTreeMap<u64, u64> = BTreeMap::new();
    let mut backwards = 0;
    for file in &files {
        for event in read_file(Kind::MariaDb, file).events {
            if event.type_name == "Gtid list" {
                assert_eq!(listed(&event), entries(&highest), "{event:?}");
            }
            let Some(gtid) = event.gtid else { continue };
            let numbers: Vec<u64> = gtid.split('-').map(|part| part.parse().unwrap()).collect();
            let (server, number) = (numbers[1], numbers[2]);
            let before = highest.insert(server, number).unwrap_or(0);
            assert!(before < number, "{gtid} behind number {before}");
            backwards += u32::from(highest.values().any(|other| *other > number));
        }
    }
    assert!(backwards > 0, "the masters' numbers did not interleave");
}

/// The entries of a GTID list, in the order of their text.
fn entries(highest: &BTreeMap<u64, u64>) -> BTreeSet<String> {
    let entries = highest.iter();
    entries
        .map(|(server, number)| format!("0-{server}-{number}"))
        .collect()
}

/// `Gtid list [0-18-5, 0-86-7]`, on one line or several; the tool has an order of its own.
fn listed(event: &TextEvent) -> BTreeSet<String> {
    let (_, list) = event.body.split_once('[').unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let gtids = list
        .split([',', '\n', '#', ' '])
        .filter(|part| !part.is_empty());
    gtids.map(str::to_owned).collect()
}
