//! A crash after every operation on a file: whatever part of what was not synced is lost, the log continues
//! with everything that was served, and every transaction is in it exactly once at the end.
//!
//! A run with two masters that replicate each other is recorded: groups, rotations, removals, restarts, bridges,
//! decisions. For each prefix of its operations the states that a crash could leave are computed; each is
//! recovered, and the sources are resumed where the recovered log says.
//! `BINRELAY_PROFILE=long` checks many states of each prefix, and not a sample; `BINRELAY_SEED` repeats a run.

mod injected;
mod run;
mod streams;

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::run::{Entry, Recorded, entries, record, start};
use self::streams::{Kind, Streams, feeder, keys, name, send};
use super::*;
use crate::data_file::crash_states::{self, Disk, Files, Random, Variety, crashes};
use crate::data_file::recorder::{Operation, Step};

/// Transactions that each source sends after a crash.
const SENT_AFTER: usize = 12;
/// Failures that are described.
const DESCRIBED_MAX: usize = 5;

fn is_long() -> bool {
    std::env::var("BINRELAY_PROFILE").is_ok_and(|profile| profile == "long")
}

fn seed() -> u64 {
    let seed = std::env::var("BINRELAY_SEED").ok();
    seed.and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// What must be true of a state.
struct Expected<'a> {
    streams: &'a Streams,
    /// The log of the run, as it was written up to the next restart.
    log: &'a [Entry],
    /// The published end before the crash, as a number; see [`run::number`].
    promised: u64,
    /// No file from this one on was removed.
    removed_before: u64,
}

/// Recovers the files, continues, and compares.
fn check(files: &Files, expected: &Expected<'_>) {
    let dir = fast_dir();
    crash_states::write_to(files, dir.path());
    let (streams, options) = (expected.streams, run::options_in(dir.path()));
    let (mut log_thread, positions) = start(streams.kind, &options).unwrap();
    let first = options.log_dir.read_list().unwrap()[0];
    assert!(
        first <= expected.removed_before,
        "file {first} was not to be the first one"
    );
    let found = entries(streams.kind, &options);
    let removed = expected
        .log
        .iter()
        .filter(|entry| entry.file < first)
        .count();
    let kept = removed + found.len();
    assert!(
        expected.log.get(removed..kept) == Some(&found),
        "not what was written"
    );
    let is_served = |entry: &&Entry| run::number(entry.file, entry.end) <= expected.promised;
    let served = expected.log.iter().filter(is_served).count();
    assert!(
        kept >= served,
        "{kept} transactions are kept, {served} were served"
    );

    let mut sent = BTreeSet::new();
    for (source, position) in positions.iter().enumerate() {
        let items = &streams.items[source];
        let from = streams.index_after(source, position);
        let to = (from + SENT_AFTER).min(items.len());
        let mut feeder = feeder(streams.kind, source, position);
        send(streams.kind, &mut log_thread, &mut feeder, &items[from..to]).unwrap();
        sent.extend(keys(&items[..to]));
    }
    log_thread.close().unwrap();
    drop(log_thread);
    let continued = entries(streams.kind, &options);
    let appended = &continued[found.len()..];
    let all = expected.log[..kept].iter().chain(appended);
    let mut all: Vec<&str> = all.map(|entry| &*entry.name).collect();
    all.sort_unstable();
    let mut once: Vec<String> = sent.iter().map(|key| name(streams.kind, *key)).collect();
    once.sort_unstable();
    assert!(
        all == once,
        "{} transactions, but {} were sent",
        all.len(),
        once.len()
    );
}

/// Checks states of every prefix, and returns how many.
fn check_prefixes(
    recorded: &Recorded,
    variety: Variety,
    every: usize,
    random: &mut Random,
) -> usize {
    let mut disk = Disk::default();
    let mut seen = HashSet::new();
    let (mut checked, mut failures) = (0, Vec::new());
    let mut removed_before = 1;
    for (at, step) in recorded.steps.iter().enumerate() {
        disk.apply(step);
        let purges = recorded
            .purges
            .iter()
            .take_while(|(from, _)| *from <= at + 1);
        removed_before = purges
            .map(|(_, before)| *before)
            .max()
            .unwrap_or(removed_before);
        if every > 1 && random.below(every) > 0 {
            continue;
        }
        // What was promised before the next operation was done.
        let next = recorded.steps.get(at + 1).unwrap_or(step);
        let promised = next.promised;
        let expected = Expected {
            streams: &recorded.streams,
            log: recorded.log_at(at + 1),
            promised,
            removed_before,
        };
        let found = crashes(&disk, variety, random);
        let which = random.below(found.len());
        for (number, crash) in found.iter().enumerate() {
            if every > 1 && number != which {
                continue;
            }
            let files = crash.files(&disk);
            let mut hasher = DefaultHasher::new();
            (&files, promised).hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            checked += 1;
            if catch_unwind(AssertUnwindSafe(|| check(&files, &expected))).is_err() {
                failures.push(format!("{:?}; step {at}: {:?}", crash, step.operation));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {checked} states fail, seed {}: {:#?}",
        failures.len(),
        seed(),
        &failures[..failures.len().min(DESCRIBED_MAX)]
    );
    checked
}

fn enumerate(kind: Kind) {
    let mut random = Random(seed());
    let recorded = record(kind, &mut random);
    let (variety, every) = match is_long() {
        true => (
            Variety {
                tears: 16,
                random: 8,
                single: true,
            },
            1,
        ),
        false => (
            Variety {
                tears: 2,
                random: 2,
                single: true,
            },
            20,
        ),
    };
    let checked = check_prefixes(&recorded, variety, every, &mut random);
    println!(
        "{kind:?}: {} operations on files ({} writes during a sync), {} steps, {} transactions, {} files; {checked} states \
         after a crash, all right",
        recorded.operations,
        writes_during_syncs(&recorded.steps),
        recorded.steps.len(),
        recorded.log_at(recorded.steps.len()).len(),
        recorded.files
    );
}

/// How many writes were done while a sync was: those of the next group.
fn writes_during_syncs(steps: &[Step]) -> usize {
    let mut open = 0;
    let is_within = |step: &&Step| {
        match step.operation {
            Operation::SyncBegan { .. } | Operation::DirSyncBegan { .. } => open += 1,
            Operation::Synced { .. } => open -= 1,
            Operation::Wrote { .. } => return open > 0,
            _ => {}
        }
        false
    };
    steps.iter().filter(is_within).count()
}

#[test]
fn mysql_log_survives_a_crash_after_every_operation() {
    enumerate(Kind::MySql);
}

#[test]
fn mariadb_log_survives_a_crash_after_every_operation() {
    enumerate(Kind::MariaDb);
}

#[test]
fn log_without_gtids_survives_a_crash_after_every_operation() {
    enumerate(Kind::Anonymous);
}
