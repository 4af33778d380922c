//! `binrelay dump` lists what the servers' own tools list, and reports damaged files with the offset.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::support;
use crate::support::binlog_text::{canonical_type, read_open_file};
use crate::support::load::Load;
use crate::support::relay::{binrelay, run_binrelay};
use crate::support::servers::{Kind, wait_limited};
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{SeedNote, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// Damaged copies of each sort for each file.
const DAMAGES: u32 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_files_are_listed_as_by_its_tool() {
    list_and_damage(Mode::MariaDbFilePosition, seed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_files_with_rows_are_listed_as_by_its_tool() {
    list_and_damage(Mode::MySqlAutoPosition, seed() | 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_files_with_statements_are_listed_as_by_its_tool() {
    list_and_damage(Mode::MySqlAutoPosition, (seed() | 1) + 1).await;
}

async fn list_and_damage(mode: Mode, seed: u64) {
    let turn = support::turn();
    let _note = SeedNote(seed);
    let mut options = TopologyOptions::new(mode, seed);
    options.replicas = 1;
    let mut topology = Topology::start(options).await;
    let on_m1 = Load::start(&topology.m1, &topology.load_options(1, 0));
    let on_m2 = Load::start(&topology.m2, &topology.load_options(2, 0));
    run_for(700).await;
    topology.m1.sql("FLUSH BINARY LOGS").await;
    run_for(700).await;
    on_m1.finish().await;
    on_m2.finish().await;
    topology.settle(60).await;
    topology.relay.terminate();
    topology.m1.terminate();
    topology.m2.terminate();

    let of_m1 = topology.m1.log_files();
    let of_relay = topology.relay.log_files();
    let files = [of_m1.clone(), topology.m2.log_files(), of_relay.clone()].concat();
    for file in &files {
        assert_lists_the_same(mode.kind(), file);
    }
    // No server is needed any more.
    drop(turn);
    for file in [&of_m1[0], &of_relay[0]] {
        damage(file, seed);
    }
}

/// One event as `dump --json` prints it.
fn dump(file: &Path) -> Vec<Value> {
    let output = run_binrelay(&["dump", "--json", file.to_str().unwrap()]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "dump {}: {} {stderr}",
        file.display(),
        output.status
    );
    let text = String::from_utf8(output.stdout).expect("dump prints UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn assert_lists_the_same(kind: Kind, file: &Path) {
    let expected = read_open_file(kind, file);
    let events = dump(file);
    assert!(
        expected.events.len() > 3,
        "{}: {expected:?}",
        file.display()
    );
    for (index, (event, expected)) in events.iter().zip(&expected.events).enumerate() {
        let at = format!(
            "{}: event {index}: {event} but {expected:?}",
            file.display()
        );
        assert_eq!(event["end_position"], expected.end_position, "{at}");
        assert_eq!(event["server_id"], expected.server_id, "{at}");
        assert_eq!(event["checksum"], "ok", "{at}");
        let type_name = event["type"].as_str().expect("a type");
        assert_eq!(
            canonical_type(type_name),
            canonical_type(&expected.type_name),
            "{at}"
        );
        if let Some(gtid) = &expected.gtid {
            assert_eq!(event["gtid"], gtid.as_str(), "{at}");
        }
    }
    assert_eq!(
        events.len(),
        expected.events.len(),
        "{}: number of events",
        file.display()
    );
    let positions: Vec<u64> = events
        .iter()
        .map(|event| event["position"].as_u64().expect("a position"))
        .collect();
    assert_eq!(
        positions,
        expected.positions,
        "{}: positions",
        file.display()
    );
}

/// Where the events of an undamaged file begin, and its length.
struct EventBoundaries {
    starts: Vec<u64>,
    length: u64,
}

impl EventBoundaries {
    /// The index of the event that the byte belongs to.
    fn event_of(&self, offset: u64) -> usize {
        self.starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }
}

fn damage(file: &Path, seed: u64) {
    let bytes = std::fs::read(file).unwrap();
    let starts = dump(file)
        .iter()
        .map(|event| event["position"].as_u64().unwrap())
        .collect();
    let boundaries = EventBoundaries {
        starts,
        length: bytes.len() as u64,
    };
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("damaged.000001");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..DAMAGES {
        let cut = rng.random_range(1..boundaries.length);
        std::fs::write(&copy, &bytes[..cut as usize]).unwrap();
        let what = format!("{} cut at {cut}", file.display());
        // A file that ends with a whole event is a whole file: a file that is being written looks
        // the same. With only the magic number there is no event at all; either result is right.
        let whole = boundaries.starts.contains(&cut);
        check_damaged(&copy, &what, &boundaries, cut, whole, cut == 4);
    }
    for _ in 0..DAMAGES {
        let offset = rng.random_range(0..boundaries.length);
        let bit = rng.random_range(0..8);
        let mut damaged = bytes.clone();
        damaged[offset as usize] ^= 1 << bit;
        std::fs::write(&copy, &damaged).unwrap();
        let what = format!("{} with bit {bit} of byte {offset} flipped", file.display());
        // The checksum of a format description leaves out the flag LOG_EVENT_BINLOG_IN_USE_F, the
        // lowest bit of the flags at byte 17 of the header: that flip makes a legal file.
        let legal = offset == 4 + 17 && bit == 0;
        check_damaged(&copy, &what, &boundaries, offset, legal, false);
    }
}

/// `damaged_at` lies in the event that must be named; `legal` damage is none.
fn check_damaged(
    copy: &Path,
    what: &str,
    boundaries: &EventBoundaries,
    damaged_at: u64,
    legal: bool,
    either: bool,
) {
    let stdout: PathBuf = copy.with_extension("stdout");
    let stderr: PathBuf = copy.with_extension("stderr");
    let child = binrelay()
        .args(["dump", "--json"])
        .arg(copy)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&stdout).unwrap())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let status = wait_limited(child, Duration::from_secs(5));
    let printed = std::fs::read_to_string(&stdout).unwrap().lines().count();
    let error = std::fs::read_to_string(&stderr).unwrap();
    assert!(!error.contains("panicked"), "{what}: {error}");
    let code = status.code();
    if legal {
        assert_eq!(code, Some(0), "{what}: {status} {error}");
        return;
    }
    if either && code == Some(0) {
        return;
    }
    assert_eq!(code, Some(1), "{what}: {status} {error}");
    if damaged_at < 4 {
        return;
    }
    let index = boundaries.event_of(damaged_at);
    let numbers: Vec<u64> = error
        .split(|letter: char| !letter.is_ascii_digit())
        .flat_map(str::parse)
        .collect();
    let named = numbers.contains(&boundaries.starts[index]) || numbers.contains(&damaged_at);
    assert!(
        named,
        "{what}: the event at {} is not named: {error}",
        boundaries.starts[index]
    );
    // Everything before the damage, and perhaps the damaged event itself, marked as bad.
    assert!(
        printed == index || printed == index + 1,
        "{what}: {printed} printed, not {index}"
    );
}
