//! Random removals against a model: every transaction is delivered exactly once, or its source is refused because
//! the size forced away what it needed; and no file is removed that a reader or a replica needs, unless the size
//! forces it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::anonymous::{create_anonymous, insert, source};
use super::*;
use crate::binlog::event;
use crate::merge::MergeError;
use crate::merge::pairing::Unaligned;
use crate::position::RelayLogPosition;
use crate::relay_log::RetentionOptions;
use crate::relay_log::purge::{self, file_facts};
use crate::relay_log::retention::known_replicas::seen;
use crate::relay_log::retention::pins::Pin;

#[derive(Debug, Clone)]
enum Op {
    /// A source sends its next transactions: its own, or copies of the other's.
    Send {
        path: usize,
        own: bool,
        count: usize,
    },
    Rotate,
    /// Stops without a commit of what was appended since the last one.
    Crash,
    Pin {
        at: usize,
    },
    Unpin,
    Replica {
        at: usize,
    },
    /// Age and size are compared.
    Enforce {
        expired: bool,
    },
    /// PURGE BINARY LOGS.
    Purge {
        to: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0usize..2, any::<bool>(), 1usize..6)
            .prop_map(|(path, own, count)| Op::Send { path, own, count }),
        3 => Just(Op::Rotate),
        1 => Just(Op::Crash),
        1 => any::<usize>().prop_map(|at| Op::Pin { at }),
        1 => Just(Op::Unpin),
        1 => any::<usize>().prop_map(|at| Op::Replica { at }),
        3 => any::<bool>().prop_map(|expired| Op::Enforce { expired }),
        1 => any::<usize>().prop_map(|to| Op::Purge { to }),
    ]
}

/// The transaction with this number of an origin: a few of each second, and pairs that look alike.
fn transaction(origin: usize, number: usize) -> Vec<Vec<u8>> {
    let mut group = insert(80 + origin as u32, number as u32 / 2);
    for bytes in &mut group {
        let timestamp = 1_600_000_000 + number as u32 / 4;
        bytes[..4].copy_from_slice(&timestamp.to_le_bytes());
        event::write_checksum(bytes).unwrap();
    }
    group
}

struct World {
    log_thread: Option<LogThread>,
    options: LogOptions,
    sources: Vec<TestSource>,
    /// By path and origin: how many of the origin's transactions the path has sent.
    sent: [[usize; 2]; 2],
    /// By path: whether it was refused.
    refused: [bool; 2],
    delivered: BTreeSet<(usize, usize)>,
    pins: Vec<(u64, Pin)>,
    replica: Option<u64>,
    dir: tempfile::TempDir,
}

impl World {
    fn new(max_total_size: Option<u64>) -> Self {
        let dir = fast_dir();
        let options = LogOptions {
            max_size: 1500,
            source_names: vec!["m0".into(), "m1".into()],
            retention: RetentionOptions {
                expire_after: Some(Duration::from_secs(3600)),
                max_total_size,
                keep_for_replicas: Duration::from_secs(1_000_000),
                max_file_size: 0,
            },
            ..options(dir.path())
        };
        Self {
            log_thread: Some(create_anonymous(&options, Vec::new())),
            options,
            sources: vec![source(0), source(1)],
            sent: [[0; 2]; 2],
            refused: [false; 2],
            delivered: BTreeSet::new(),
            pins: Vec::new(),
            replica: None,
            dir,
        }
    }

    fn log_thread(&mut self) -> &mut LogThread {
        self.log_thread.as_mut().unwrap()
    }

    fn files(&mut self) -> Vec<u64> {
        self.log_thread().log().state().files.clone()
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Send { path, own, count } => self.send(path, own, count),
            Op::Rotate => self.log_thread().start_file().unwrap(),
            Op::Crash => {
                self.pins.clear();
                drop(self.log_thread.take());
                let found = recovered(&self.options);
                purge::delete_leftovers(&self.options.log_dir, &found.files, found.log_id).unwrap();
                let resumed = LogThread::resume(self.options.clone(), found).unwrap();
                self.log_thread = Some(resumed);
            }
            Op::Pin { at } => {
                let files = self.files();
                let file = files[at % files.len()];
                let pin = self.log_thread().log().pin("a reader".to_owned());
                pin.move_to(file);
                self.pins.push((file, pin));
            }
            Op::Unpin => drop(self.pins.pop()),
            Op::Replica { at } => {
                let files = self.files();
                let file = files[at % files.len()];
                let end = RelayLogPosition { file, offset: 4 };
                let known = seen(11, None, ("h".to_owned(), "u".to_owned()), end);
                let replicas = &self.log_thread().log().retention().replicas;
                replicas.note(known);
                replicas.save().unwrap();
                self.replica = Some(file);
            }
            Op::Enforce { expired } => {
                let ages = Duration::from_secs(if expired { 7200 } else { 0 });
                let log = self.log_thread().log().clone();
                self.checked(|_| purge::enforce(&log, SystemTime::now() + ages).unwrap());
                self.log_thread().serve_requests().unwrap();
            }
            Op::Purge { to } => {
                let files = self.files();
                let number = files[to % files.len()];
                let log = self.log_thread().log().clone();
                let removed =
                    self.checked(|_| purge::purge_to(&log, number, SystemTime::now()).unwrap());
                assert!(removed.removed <= removed.wanted);
            }
        }
    }

    /// Removes files, and checks that what is needed was kept, unless the size forced it.
    fn checked<T>(&mut self, remove: impl FnOnce(&mut Self) -> T) -> T {
        let oldest = self.files()[0];
        let size = |world: &mut Self| {
            let files = file_facts(world.log_thread().log()).unwrap();
            files.iter().map(|file| file.len).sum::<u64>()
        };
        let before = size(self);
        let removed = remove(self);
        let files = self.files();
        let max = self.options.retention.max_total_size;
        let is_forced = max.is_some_and(|max| before > max);
        let pins = self.pins.iter().map(|(file, _)| *file);
        let needed = pins
            .chain(self.replica)
            .filter(|file| *file >= oldest)
            .min();
        if let Some(needed) = needed.filter(|_| !is_forced) {
            assert!(files[0] <= needed, "{needed} is needed, {files:?}");
        }
        assert_eq!(self.options.log_dir.read_list().unwrap(), files);
        removed
    }

    fn send(&mut self, path: usize, own: bool, count: usize) {
        let origin = if own { path } else { 1 - path };
        for _ in 0..count {
            if self.refused[path] {
                return;
            }
            let number = self.sent[path][origin];
            // A server has only copies of what the other has executed.
            let group = transaction(origin, number);
            let batch = self.sources[path].deliver(&[group]);
            let decided = self.log_thread().append(&batch, &batch.transactions[0]);
            let is_first = !self.delivered.contains(&(origin, number));
            match decided {
                Ok(Decision::New(_)) => {
                    assert!(is_first, "{origin}-{number} is delivered again by {path}");
                    self.delivered.insert((origin, number));
                }
                Ok(Decision::Duplicate) => {
                    assert!(!is_first, "{origin}-{number} is lost by {path}")
                }
                Err(AppendError::Refused(Refusal::Merge(MergeError::Unaligned {
                    cause: Unaligned::Removed,
                    ..
                }))) => {
                    let is_limited = self.options.retention.max_total_size.is_some();
                    assert!(
                        is_limited,
                        "{origin}-{number} by {path}: nothing was forced"
                    );
                    self.refused[path] = true;
                    return;
                }
                other => panic!("{origin}-{number} by {path}: {other:?}"),
            }
            self.sent[path][origin] += 1;
        }
        self.log_thread().commit().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn removals_neither_repeat_nor_lose_transactions(
        ops in prop::collection::vec(op(), 1..80),
        max_total_size in prop_oneof![Just(None), Just(None), (8_000u64..40_000).prop_map(Some)],
    ) {
        let mut world = World::new(max_total_size);
        for op in &ops {
            world.run(op);
        }
        // Everything that was sent is still recognised at the end, or refused.
        for path in 0..2 {
            let (own, copies) = (world.sent[1 - path][path], world.sent[1 - path][1 - path]);
            let left = |sent: usize, all: usize| all.saturating_sub(sent);
            let rest = left(world.sent[path][path], own);
            world.send(path, true, rest);
            let rest = left(world.sent[path][1 - path], copies);
            world.send(path, false, rest);
        }
        drop(world.dir);
    }
}
