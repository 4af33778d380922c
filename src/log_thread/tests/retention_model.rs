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
use crate::relay_log::retention::policy::FileFacts;

#[derive(Debug, Clone)]
enum Op {
    /// A source sends its next transactions: its own, or copies of the other's. Without a commit, those that
    /// follow are in the same group.
    Send {
        path: usize,
        own: bool,
        count: usize,
        is_committed: bool,
    },
    Rotate,
    /// Stops without a commit of what was appended since the last one.
    Crash,
    Wait {
        hours: u64,
    },
    Pin {
        at: usize,
    },
    Unpin,
    /// A replica is connected, and has received the log up to a file.
    Replica {
        at: usize,
    },
    /// Age and size are compared.
    Enforce,
    /// PURGE BINARY LOGS.
    Purge {
        to: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0usize..2, any::<bool>(), 1usize..6, any::<bool>())
            .prop_map(|(path, own, count, is_committed)| Op::Send { path, own, count, is_committed }),
        3 => Just(Op::Rotate),
        2 => Just(Op::Crash),
        1 => (1u64..4).prop_map(|hours| Op::Wait { hours }),
        1 => any::<usize>().prop_map(|at| Op::Pin { at }),
        1 => Just(Op::Unpin),
        1 => any::<usize>().prop_map(|at| Op::Replica { at }),
        3 => Just(Op::Enforce),
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

/// The source of a path, which continues after `offset` in its only file.
fn source_at(path: usize, offset: u64) -> TestSource {
    let mut source = source(path as u16);
    source.position = offset;
    let name = format!("bin.{:06}", source.file);
    source.assembler.start_file(name.into(), offset);
    source
}

/// A time that no number of hours equals.
fn hours_and_a_half(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600 + 1800)
}

fn retention() -> impl Strategy<Value = RetentionOptions> {
    let expire_after = prop_oneof![
        1 => Just(None),
        3 => (0u64..4).prop_map(|hours| Some(hours_and_a_half(hours))),
    ];
    let max_total_size = prop_oneof![Just(None), Just(None), (8_000u64..40_000).prop_map(Some)];
    let keep_for_replicas = (0u64..6).prop_map(hours_and_a_half);
    (expire_after, max_total_size, keep_for_replicas).prop_map(
        |(expire_after, max_total_size, keep_for_replicas)| RetentionOptions {
            expire_after,
            max_total_size,
            keep_for_replicas,
            max_file_size: 0,
        },
    )
}

/// A transaction that a path has sent.
struct Sent {
    origin: usize,
    number: usize,
    /// Where it ends in the source's binlog.
    end: u64,
}

struct World {
    log_thread: Option<LogThread>,
    options: LogOptions,
    sources: Vec<TestSource>,
    /// By path.
    sent: [Vec<Sent>; 2],
    /// How many of them are certainly on disk.
    committed: [usize; 2],
    /// By path: whether it was refused.
    refused: [bool; 2],
    /// Whether the size has ever exceeded the limit when it was compared.
    was_too_large: bool,
    delivered: BTreeSet<(usize, usize)>,
    pins: Vec<(u64, Pin)>,
    /// The file that the replica needs, and when it was last seen.
    replica: Option<(u64, Duration)>,
    /// The time since the start.
    clock: Duration,
    dir: tempfile::TempDir,
}

impl World {
    fn new(retention: RetentionOptions) -> Self {
        let dir = fast_dir();
        let options = LogOptions {
            max_size: 1500,
            source_names: vec!["m0".into(), "m1".into()],
            retention,
            ..options(dir.path())
        };
        Self {
            log_thread: Some(create_anonymous(&options, Vec::new())),
            options,
            sources: vec![source_at(0, 4), source_at(1, 4)],
            sent: [Vec::new(), Vec::new()],
            committed: [0; 2],
            refused: [false; 2],
            was_too_large: false,
            delivered: BTreeSet::new(),
            pins: Vec::new(),
            replica: None,
            clock: Duration::ZERO,
            dir,
        }
    }

    fn log_thread(&mut self) -> &mut LogThread {
        self.log_thread.as_mut().unwrap()
    }

    fn files(&mut self) -> Vec<u64> {
        self.log_thread().log().state().files.clone()
    }

    fn file_facts(&mut self) -> Vec<FileFacts> {
        file_facts(self.log_thread().log()).unwrap()
    }

    fn now(&self) -> SystemTime {
        SystemTime::now() + self.clock
    }

    /// How many transactions of an origin a path has sent.
    fn count(&self, path: usize, origin: usize) -> usize {
        let sent = self.sent[path].iter();
        sent.filter(|sent| sent.origin == origin).count()
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Send {
                path,
                own,
                count,
                is_committed,
            } => {
                self.send(path, own, count);
                if is_committed {
                    self.commit();
                }
            }
            Op::Rotate => self.log_thread().start_file().unwrap(),
            Op::Crash => self.crash(),
            Op::Wait { hours } => self.clock += Duration::from_secs(hours * 3600),
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
                let mut known = seen(11, None, ("h".to_owned(), "u".to_owned()), end);
                known.last_seen += self.clock.as_secs();
                let replicas = &self.log_thread().log().retention().replicas;
                replicas.note(known);
                replicas.save().unwrap();
                self.replica = Some((file, self.clock));
            }
            Op::Enforce => self.enforce(),
            Op::Purge { to } => {
                let (log, now) = (self.log_thread().log().clone(), self.now());
                let before = self.file_facts();
                let number = before[to % before.len()].number;
                let removed = purge::purge_to(&log, number, now).unwrap();
                assert!(removed.removed <= removed.wanted);
                self.check_removal(&before, number, None);
            }
        }
    }

    /// What was not committed is lost, and the sources send it again.
    fn crash(&mut self) {
        self.pins.clear();
        drop(self.log_thread.take());
        let found = recovered(&self.options);
        purge::delete_leftovers(&self.options.log_dir, &found.files, found.log_id).unwrap();
        for (path, sent) in self.sent.iter_mut().enumerate() {
            let progress = found.sources.get(&self.options.source_names[path]);
            let end = progress.map_or(4, |progress| progress.position.offset.max(4));
            sent.retain(|sent| sent.end <= end);
            assert!(sent.len() >= self.committed[path], "{path} has lost some");
            assert_eq!(sent.last().map_or(4, |last| last.end), end, "of {path}");
            self.sources[path] = source_at(path, end);
        }
        let sent = self.sent.iter().flatten();
        self.delivered = sent.map(|sent| (sent.origin, sent.number)).collect();
        self.refused = [false; 2];
        self.log_thread = Some(LogThread::resume(self.options.clone(), found).unwrap());
    }

    fn commit(&mut self) {
        self.log_thread().commit().unwrap();
        self.committed = self.sent.each_ref().map(Vec::len);
    }

    /// Compares age and size as often as the relay needs for it: the paths must do without a file first. Where files are
    /// as small as here, what the paths have lost begins new ones of the same size; ten comparisons were seen.
    fn enforce(&mut self) {
        let is_expired = self
            .options
            .retention
            .expire_after
            .is_some_and(|after| after < self.clock);
        let max = self.options.retention.max_total_size;
        for comparison in 1.. {
            let (log, now) = (self.log_thread().log().clone(), self.now());
            let before = self.file_facts();
            let valid = if is_expired {
                before.last()
            } else {
                before.first()
            };
            let valid = valid.unwrap().number;
            self.was_too_large |= max.is_some_and(|max| total(&before) > max);
            purge::enforce(&log, now).unwrap();
            self.check_removal(&before, valid, max);
            self.commit();
            self.log_thread().serve_requests().unwrap();
            let left = self.file_facts();
            // A new file may have begun since this comparison.
            let largest = left.iter().map(|file| file.len).max().unwrap();
            let is_bounded = max.is_none_or(|max| total(&left) <= max + largest);
            if comparison >= 3 && (is_bounded || left.len() <= 2) {
                return;
            }
            assert!(comparison < 50, "not bounded: {left:?}, {max:?}");
        }
    }

    /// The files before `valid` were to be removed, as far as nothing needs them, and the oldest ones while all had
    /// more bytes than `max`.
    fn check_removal(&mut self, before: &[FileFacts], valid: u64, max: Option<u64>) {
        let files = self.files();
        assert_eq!(self.options.log_dir.read_list().unwrap(), files);
        let (oldest, keep) = (before[0].number, self.options.retention.keep_for_replicas);
        let clock = self.clock;
        // Until the relay has run for so long, replicas could not connect.
        let is_kept = |seen: Duration| clock < keep || clock - seen < keep;
        let of_replica = self.replica.filter(|(_, seen)| is_kept(*seen));
        let needs = self.pins.iter().map(|(file, _)| *file);
        let needs = needs.chain(of_replica.map(|(file, _)| file));
        let needed = needs.filter(|file| *file >= oldest).min();
        let allowed = valid.min(needed.unwrap_or(u64::MAX));
        let removed = before.iter().take_while(|file| file.number < files[0]);
        let Some((at, last)) = removed.enumerate().last() else {
            return;
        };
        let size = total(&before[at..]);
        assert!(
            last.number < allowed || max.is_some_and(|max| size > max),
            "{} of {size} bytes with those after it is removed; from {allowed} on, they are kept: {before:?}",
            last.number
        );
    }

    fn send(&mut self, path: usize, own: bool, count: usize) {
        let origin = if own { path } else { 1 - path };
        for _ in 0..count {
            if self.refused[path] {
                return;
            }
            let number = self.count(path, origin);
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
                    assert!(
                        self.was_too_large,
                        "{origin}-{number} by {path}: nothing was forced"
                    );
                    self.refused[path] = true;
                    return;
                }
                other => panic!("{origin}-{number} by {path}: {other:?}"),
            }
            let end = self.sources[path].position;
            self.sent[path].push(Sent {
                origin,
                number,
                end,
            });
        }
    }
}

fn total(files: &[FileFacts]) -> u64 {
    files.iter().map(|file| file.len).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn removals_neither_repeat_nor_lose_transactions(
        ops in prop::collection::vec(op(), 1..80),
        limits in retention(),
    ) {
        let mut world = World::new(limits);
        for op in &ops {
            world.run(op);
        }
        // Everything that was sent is still recognised at the end, or refused.
        for path in 0..2 {
            for (own, origin) in [(true, path), (false, 1 - path)] {
                let all = world.count(1 - path, origin);
                let rest = all.saturating_sub(world.count(path, origin));
                world.send(path, own, rest);
            }
        }
        world.commit();
        drop(world.dir);
    }
}
