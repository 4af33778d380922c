//! Copies are recognised, whatever the paths' pace; what cannot be told stops.

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;
use crate::identity::Fingerprint;

mod repetitions;

/// A ledger in memory, up to an end.
struct Memory {
    records: RefCell<Vec<(u32, Delivered)>>,
    end: RecordNumber,
}

impl Ledger for Memory {
    fn read(
        &self,
        from: RecordNumber,
        origin: u32,
        take: &mut dyn FnMut(Delivered) -> bool,
    ) -> Result<Option<RecordNumber>, String> {
        let records = self.records.borrow();
        let known = records.iter().filter(|(_, one)| one.record < self.end);
        for (of, delivered) in known {
            let mut next = delivered.record;
            next.record += 1;
            if *of == origin && delivered.record >= from && !take(*delivered) {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }
}

/// A log that takes in what its sources send.
struct Log {
    pairing: Pairing,
    ledger: Memory,
    /// The origins and contents of what was delivered.
    delivered: Vec<(u32, u64)>,
    /// What the newest file's index says: the states at its head, and what followed.
    head: Vec<PathState>,
    head_at: RecordNumber,
    steps: Vec<Recorded>,
}

/// A record of the index.
#[derive(Clone, Copy)]
enum Recorded {
    Taken(Arrival, Paired, RecordNumber),
    SourceStart(u16),
}

fn start() -> RecordNumber {
    RecordNumber { file: 1, record: 0 }
}

impl Log {
    fn new(paths: usize) -> Self {
        Self {
            pairing: Pairing::new(vec![start(); paths]),
            ledger: Memory {
                records: RefCell::default(),
                end: RecordNumber {
                    file: u64::MAX,
                    record: 0,
                },
            },
            delivered: Vec::new(),
            head: Vec::new(),
            head_at: start(),
            steps: Vec::new(),
        }
    }

    fn next_record(&self) -> RecordNumber {
        RecordNumber {
            file: 1,
            record: self.ledger.records.borrow().len() as u64,
        }
    }

    /// Path n has server_id n + 1; so have its transactions' origins.
    fn take(
        &mut self,
        path: u16,
        origin: u32,
        fingerprint: Fingerprint,
    ) -> Result<Paired, Unaligned> {
        let arrival = Arrival {
            path,
            path_server_id: u32::from(path) + 1,
            origin: origin + 1,
            fingerprint,
        };
        let paired = self.pairing.pair(&arrival, &self.ledger)?;
        let record = self.next_record();
        self.steps.push(Recorded::Taken(arrival, paired, record));
        if matches!(paired, Paired::New | Paired::NewOrRepeated) {
            let may_be_repetition = paired == Paired::NewOrRepeated;
            self.pairing.deliver(&arrival, record, may_be_repetition);
            let delivered = Delivered {
                record,
                fingerprint,
                path,
                may_be_repetition,
            };
            self.ledger
                .records
                .borrow_mut()
                .push((origin + 1, delivered));
            self.delivered.push((origin, fingerprint.content));
        }
        Ok(paired)
    }

    /// The server of a source was started again.
    fn note_restart(&mut self, path: u16) {
        self.pairing.note_restart(path);
        self.steps.push(Recorded::SourceStart(path));
    }

    /// The relay log begins a new file.
    fn rotate(&mut self) {
        self.head_at = self.next_record();
        self.head = self.pairing.states(self.head_at).collect();
        self.steps.clear();
    }

    /// What a restart does: only the newest index and the ledger are left.
    fn restart(&mut self) {
        let paths = self.pairing.sources.len();
        let begins = std::mem::take(&mut self.pairing.begins);
        self.pairing = Pairing::new(vec![self.head_at; paths]);
        for state in std::mem::take(&mut self.head) {
            self.pairing.restore(state);
        }
        for step in std::mem::take(&mut self.steps) {
            self.replay(step);
        }
        self.ledger.end.file = u64::MAX;
        self.pairing.begins = begins;
        self.rotate();
    }

    fn replay(&mut self, step: Recorded) {
        let (arrival, paired, record) = match step {
            Recorded::SourceStart(path) => return self.pairing.note_restart(path),
            Recorded::Taken(arrival, paired, record) => (arrival, paired, record),
        };
        self.ledger.end = record;
        match paired {
            Paired::New | Paired::NewOrRepeated => {
                self.pairing.advance(&arrival, &self.ledger).unwrap();
                let may_be_repetition = paired == Paired::NewOrRepeated;
                self.pairing.deliver(&arrival, record, may_be_repetition);
            }
            Paired::Copy | Paired::Repeated => {
                assert_eq!(self.pairing.pair(&arrival, &self.ledger), Ok(paired));
            }
            Paired::Before => {}
        }
    }
}

fn rows(content: u64, timestamp: u32) -> Fingerprint {
    Fingerprint {
        content,
        timestamp,
        traits: Fingerprint::HAS_ROWS | Fingerprint::INSERTS,
        ..Fingerprint::default()
    }
}

fn statement(content: u64, timestamp: u32) -> Fingerprint {
    Fingerprint {
        traits: Fingerprint::HAS_STATEMENTS | Fingerprint::INSERTS,
        ..rows(content, timestamp)
    }
}

fn committed(at: u64) -> Fingerprint {
    Fingerprint {
        commit_timestamp: at,
        ..Fingerprint::default()
    }
}

#[test]
fn identical_looking_transactions_are_counted() {
    let mut log = Log::new(2);
    let same = rows(7, 5);
    for _ in 0..3 {
        assert_eq!(log.take(1, 0, same), Ok(Paired::New));
    }
    for _ in 0..3 {
        assert_eq!(log.take(0, 0, same), Ok(Paired::Copy));
    }
    assert_eq!(log.take(0, 0, same), Ok(Paired::New));
    assert_eq!(log.take(1, 0, same), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, same), Ok(Paired::New));
}

#[test]
fn path_that_omits_transactions_stays_aligned() {
    let mut log = Log::new(2);
    for content in [1, 2, 3, 4] {
        assert_eq!(log.take(0, 0, rows(content, 5)), Ok(Paired::New));
    }
    assert_eq!(log.take(1, 0, rows(2, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, rows(4, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, rows(5, 5)), Ok(Paired::New));
    // What comes late, after all, is known too.
    assert_eq!(log.take(0, 0, rows(5, 5)), Ok(Paired::Copy));
}

#[test]
fn origin_that_lacks_its_own_transaction_stops() {
    let mut log = Log::new(2);
    log.take(1, 0, rows(1, 5)).unwrap();
    log.take(1, 0, rows(2, 6)).unwrap();
    // Before what is missing something else may come: the peer may have left that out.
    assert_eq!(log.take(0, 0, rows(9, 5)), Ok(Paired::New));
    assert_eq!(
        log.take(0, 0, rows(2, 6)),
        Err(Unaligned::Missing {
            missing_timestamp: 5
        })
    );
    // Commit timestamps leave no doubt.
    let mut log = Log::new(2);
    log.take(1, 0, committed(1)).unwrap();
    log.take(1, 0, committed(2)).unwrap();
    assert_eq!(log.take(0, 0, committed(2)), Ok(Paired::Copy));
    assert_eq!(log.take(0, 0, committed(1)), Ok(Paired::Copy));
}

/// A master that crashed has lost what its peer has of it, and writes on.
#[test]
fn transactions_after_one_that_only_a_peer_has_are_still_copies() {
    let mut log = Log::new(2);
    for content in [1, 3, 4] {
        log.take(1, 1, rows(content, 5)).unwrap();
    }
    assert_eq!(log.take(0, 1, rows(1, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(0, 1, rows(2, 5)), Ok(Paired::New));
    for content in [3, 4] {
        assert_eq!(log.take(0, 1, rows(content, 5)), Ok(Paired::Copy));
    }
}

#[test]
fn statements_and_rows_of_one_transaction_are_paired_in_order() {
    for first in [0, 1] {
        let mut log = Log::new(2);
        let form = |path: u16, at: u64| match path {
            0 => statement(at, 5),
            _ => rows(100 + at, 5),
        };
        for at in 0..3 {
            assert_eq!(log.take(first, 0, form(first, at)), Ok(Paired::New));
        }
        for at in 0..3 {
            assert_eq!(
                log.take(1 - first, 0, form(1 - first, at)),
                Ok(Paired::Copy)
            );
        }
        assert_eq!(log.take(1 - first, 0, form(1 - first, 9)), Ok(Paired::New));
    }
}

/// A statement that changes nothing has no rows, so that one side has more of that second.
#[test]
fn different_numbers_of_statements_and_rows_stop_the_source() {
    let mut log = Log::new(2);
    log.take(1, 0, rows(1, 5)).unwrap();
    log.take(1, 0, rows(2, 6)).unwrap();
    assert_eq!(log.take(0, 0, statement(11, 5)), Ok(Paired::Copy));
    assert_eq!(
        log.take(0, 0, statement(12, 5)),
        Err(Unaligned::Ambiguous { timestamp: 5 })
    );
    // Here the origin's own path was first: nothing can have been delivered twice.
    let mut log = Log::new(2);
    log.take(0, 0, statement(11, 5)).unwrap();
    log.take(0, 0, statement(12, 5)).unwrap();
    log.take(0, 0, statement(13, 6)).unwrap();
    assert_eq!(log.take(1, 0, rows(1, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, rows(3, 6)), Ok(Paired::Copy));
}

/// A statement group of InnoDB that changed no row ends in another way, and is known by that.
#[test]
fn statements_without_rows_leave_the_queue_unchanged() {
    let without = Fingerprint {
        traits: statement(0, 5).traits | Fingerprint::MAY_BE_WITHOUT_ROWS,
        ..statement(40, 5)
    };
    // The peer, which logs rows, was first.
    let mut log = Log::new(2);
    log.take(1, 0, rows(1, 5)).unwrap();
    log.take(1, 0, rows(2, 5)).unwrap();
    log.take(1, 0, rows(3, 6)).unwrap();
    assert_eq!(log.take(0, 0, without), Ok(Paired::Copy));
    assert_eq!(log.take(0, 0, statement(11, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(0, 0, statement(12, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(0, 0, statement(13, 6)), Ok(Paired::Copy));
    assert_eq!(log.take(0, 0, statement(14, 6)), Ok(Paired::New));
    // The origin was first, and dies: what only the peer has is new.
    let mut log = Log::new(2);
    log.take(0, 0, without).unwrap();
    log.take(0, 0, statement(11, 5)).unwrap();
    assert_eq!(log.take(1, 0, rows(1, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, rows(3, 6)), Ok(Paired::New));
    // Of a MyISAM table there may be rows after all.
    let mut log = Log::new(2);
    log.take(1, 0, rows(1, 5)).unwrap();
    log.take(1, 0, rows(2, 6)).unwrap();
    assert_eq!(log.take(0, 0, without), Ok(Paired::Copy));
    assert_eq!(log.take(0, 0, statement(12, 6)), Ok(Paired::Copy));
    let mut log = Log::new(2);
    log.take(0, 0, without).unwrap();
    log.take(0, 0, statement(11, 5)).unwrap();
    assert_eq!(log.take(1, 0, rows(40, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, rows(1, 5)), Ok(Paired::Copy));
}

#[test]
fn transaction_before_its_origins_first_file_is_not_new() {
    let mut log = Log::new(2);
    log.pairing.begin_origin(1, 1000);
    assert_eq!(log.take(1, 0, rows(1, 900)), Ok(Paired::Before));
    assert_eq!(log.take(1, 1, rows(1, 900)), Ok(Paired::New), "of its own");
    assert_eq!(log.take(0, 0, rows(2, 990)), Ok(Paired::New));
    assert_eq!(log.take(1, 0, rows(2, 990)), Ok(Paired::Copy));
    // Now it is known where the path stands, and times mean nothing.
    assert_eq!(log.take(1, 0, rows(3, 10)), Ok(Paired::New));
}

#[test]
fn transaction_before_the_start_counts_as_delivered() {
    let mut log = Log::new(2);
    for content in [1, 2] {
        let record = log.next_record();
        let arrival = Arrival {
            path: 1,
            path_server_id: 2,
            origin: 1,
            fingerprint: rows(content, 5),
        };
        assert_eq!(log.pairing.pair(&arrival, &log.ledger), Ok(Paired::New));
        let delivered = Delivered {
            record,
            fingerprint: arrival.fingerprint,
            path: 1,
            may_be_repetition: false,
        };
        log.ledger.records.borrow_mut().push((1, delivered));
        log.pairing.count_before(&arrival, record);
    }
    assert_eq!(log.take(0, 0, rows(1, 5)), Ok(Paired::Copy));
    log.restart();
    assert_eq!(log.take(0, 0, rows(2, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(0, 0, rows(3, 5)), Ok(Paired::New));
}

#[test]
fn queue_longer_than_the_window_is_read_from_the_ledger() {
    let mut log = Log::new(2);
    let count = WINDOW_LEN as u64 * 2 + 100;
    for content in 0..count {
        assert_eq!(log.take(0, 0, rows(content, 5)), Ok(Paired::New));
    }
    for content in 0..count {
        if content == 50 {
            log.restart();
        }
        // One of them is passed over, and comes late.
        if content == 70 {
            continue;
        }
        assert_eq!(
            log.take(1, 0, rows(content, 5)),
            Ok(Paired::Copy),
            "{content}"
        );
    }
    assert_eq!(log.take(1, 0, rows(70, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, rows(count, 5)), Ok(Paired::New));
}

#[test]
fn copy_far_beyond_the_window_is_found_in_the_ledger() {
    let mut log = Log::new(2);
    let count = WINDOW_LEN as u64 * 3;
    for content in 0..count {
        log.take(0, 0, rows(content, 5)).unwrap();
    }
    assert_eq!(log.take(1, 0, rows(count - 2, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, rows(count - 1, 5)), Ok(Paired::Copy));
    assert_eq!(log.take(1, 0, rows(count, 5)), Ok(Paired::New));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Two or three masters, each of which has all transactions of all, in an order in which
    /// each origin's own order is kept; some paths leave some out. However the paths' paces are,
    /// and with restarts at any record, each is delivered once, and each origin's order is kept
    /// where all paths are complete.
    #[test]
    fn each_transaction_is_delivered_once(
        masters in 2usize..4,
        contents in prop::collection::vec((0u32..3, 0u64..4, 0u32..3), 1..120),
        left_out in prop::collection::vec(any::<bool>(), 4),
        steps in prop::collection::vec((0usize..3, 0u8..40), 0..400),
        timestamps in any::<bool>(),
    ) {
        let mut second = 100;
        let all: Vec<(u32, Fingerprint)> = contents
            .iter()
            .enumerate()
            .map(|(at, (origin, content, wait))| {
                second += wait / 2;
                let fingerprint = match timestamps {
                    true => committed(at as u64 + 1),
                    false => rows(*content, second),
                };
                (origin % masters as u32, fingerprint)
            })
            .collect();
        // What is left out is so by content: a filter treats alike what looks alike.
        let paths: Vec<Vec<(u32, Fingerprint)>> = (0..masters as u32)
            .map(|path| {
                let carried = all.iter().filter(|(origin, fingerprint)| {
                    let kind = fingerprint.content.max(fingerprint.commit_timestamp) % 4;
                    path != 1 || *origin == path || !left_out[kind as usize]
                });
                carried.copied().collect()
            })
            .collect();
        let mut log = Log::new(masters);
        let mut at = vec![0; masters];
        let mut send = |log: &mut Log, path: usize| -> Result<bool, TestCaseError> {
            let Some((origin, fingerprint)) = paths[path].get(at[path]) else {
                return Ok(false);
            };
            at[path] += 1;
            let taken = log.take(path as u16, *origin, *fingerprint);
            prop_assert!(taken.is_ok(), "{taken:?}");
            Ok(true)
        };
        for (path, restart) in steps {
            match restart {
                0 => log.restart(),
                1 => log.rotate(),
                _ => {}
            }
            send(&mut log, path % masters)?;
        }
        for path in 0..masters {
            while send(&mut log, path)? {}
        }
        let count = |list: &mut dyn Iterator<Item = (u32, u64)>| {
            let mut counts = std::collections::BTreeMap::new();
            for key in list {
                *counts.entry(key).or_insert(0) += 1;
            }
            counts
        };
        let expected = count(&mut all.iter().map(|(origin, print)| (*origin, print.content)));
        let found = count(&mut log.delivered.iter().copied());
        prop_assert_eq!(found, expected);
    }
}
