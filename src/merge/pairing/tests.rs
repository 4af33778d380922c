//! Copies are recognised at any pace of the paths; what cannot be classified stops its source.

use std::cell::RefCell;

use proptest::prelude::*;

use std::collections::BTreeMap;

use super::*;
use crate::identity::Fingerprint;

mod formats;
mod own;
mod removals;
mod repetitions;
mod times;

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
        accept: &mut dyn FnMut(Delivered) -> bool,
    ) -> Result<Option<RecordNumber>, String> {
        let records = self.records.borrow();
        let known = records.iter().filter(|(_, one)| one.record < self.end);
        for (of, delivered) in known {
            let mut next = delivered.record;
            next.record += 1;
            if *of == origin && delivered.record >= from && !accept(*delivered) {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }
}

/// A log that records the transactions of its sources.
struct Log {
    pairing: Pairing,
    ledger: Memory,
    /// The origins and contents of the delivered transactions.
    delivered: Vec<(u32, u64)>,
    /// The newest file's index: the states in its head, and its steps.
    head: Vec<PathState>,
    head_at: RecordNumber,
    head_servers: Vec<u32>,
    steps: Vec<Recorded>,
}

/// A record of the index.
#[derive(Clone, Copy)]
enum Recorded {
    Received(Arrival, Paired, RecordNumber),
    SourceRestart(u16),
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
            head_servers: vec![0; paths],
            steps: Vec::new(),
        }
    }

    fn next_record(&self) -> RecordNumber {
        RecordNumber {
            file: 1,
            record: self.ledger.records.borrow().len() as u64,
        }
    }

    /// Path n has server_id n + 1, and so has origin n.
    fn receive(
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
        self.steps.push(Recorded::Received(arrival, paired, record));
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

    /// The server of a source is restarted.
    fn note_restart(&mut self, path: u16) {
        self.pairing.note_restart(path);
        self.steps.push(Recorded::SourceRestart(path));
    }

    /// The relay log begins a new file.
    fn rotate(&mut self) {
        self.head_at = self.next_record();
        self.head = self.pairing.states(self.head_at).collect();
        self.start_file();
        self.steps.clear();
    }

    fn start_file(&mut self) {
        let server_ids = self.pairing.sources.iter().map(|source| source.server_id);
        self.head_servers = server_ids.collect();
        let servers = self.head_servers.clone();
        self.pairing.start_file(self.head_at, servers);
    }

    /// The relay is restarted: only the newest index and the ledger remain.
    fn restart(&mut self) {
        let paths = self.pairing.sources.len();
        let purged = std::mem::take(&mut self.pairing.purged);
        self.pairing = Pairing::new(vec![self.head_at; paths]);
        // The head of the newest index has it.
        self.pairing.purged = purged;
        self.pairing
            .start_file(self.head_at, self.head_servers.clone());
        for state in std::mem::take(&mut self.head) {
            self.pairing.restore(state);
        }
        for step in std::mem::take(&mut self.steps) {
            self.replay(step);
        }
        self.ledger.end.file = u64::MAX;
        self.rotate();
    }

    fn replay(&mut self, step: Recorded) {
        let (arrival, paired, record) = match step {
            Recorded::SourceRestart(path) => return self.pairing.note_restart(path),
            Recorded::Received(arrival, paired, record) => (arrival, paired, record),
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
            Paired::Before => assert!(self.pairing.pass_before(arrival.path, arrival.origin)),
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
        assert_eq!(log.receive(1, 0, same), Ok(Paired::New));
    }
    for _ in 0..3 {
        assert_eq!(log.receive(0, 0, same), Ok(Paired::Copy));
    }
    assert_eq!(log.receive(0, 0, same), Ok(Paired::New));
    assert_eq!(log.receive(1, 0, same), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, same), Ok(Paired::New));
}

#[test]
fn path_that_omits_transactions_stays_aligned() {
    let mut log = Log::new(2);
    for content in [1, 2, 3, 4] {
        assert_eq!(log.receive(0, 0, rows(content, 5)), Ok(Paired::New));
    }
    assert_eq!(log.receive(1, 0, rows(2, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(4, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(5, 5)), Ok(Paired::New));
    // A late copy is recognised, too.
    assert_eq!(log.receive(0, 0, rows(5, 5)), Ok(Paired::Copy));
}

#[test]
fn origin_that_lacks_its_own_transaction_stops() {
    let mut log = Log::new(2);
    log.receive(1, 0, rows(1, 5)).unwrap();
    log.receive(1, 0, rows(2, 6)).unwrap();
    // Another one may precede the missing one: the peer may have omitted it.
    assert_eq!(log.receive(0, 0, rows(9, 5)), Ok(Paired::New));
    assert_eq!(
        log.receive(0, 0, rows(2, 6)),
        Err(Unaligned::Missing {
            missing_timestamp: 5
        })
    );
    // Commit timestamps leave no doubt.
    let mut log = Log::new(2);
    log.receive(1, 0, committed(1)).unwrap();
    log.receive(1, 0, committed(2)).unwrap();
    assert_eq!(log.receive(0, 0, committed(2)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 0, committed(1)), Ok(Paired::Copy));
}

/// A master that crashed has lost transactions that its peer has, and continues.
#[test]
fn transactions_after_one_that_only_a_peer_has_are_still_copies() {
    let mut log = Log::new(2);
    for content in [1, 3, 4] {
        log.receive(1, 1, rows(content, 5)).unwrap();
    }
    assert_eq!(log.receive(0, 1, rows(1, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 1, rows(2, 5)), Ok(Paired::New));
    for content in [3, 4] {
        assert_eq!(log.receive(0, 1, rows(content, 5)), Ok(Paired::Copy));
    }
}

#[test]
fn transaction_before_its_origins_first_file_is_not_new() {
    let mut log = Log::new(2);
    log.pairing.begin_origin(1, 4);
    log.pairing.begin_after(1, 1, 2);
    log.rotate();
    assert_eq!(log.receive(1, 0, rows(1, 900)), Ok(Paired::Before));
    assert_eq!(
        log.receive(1, 1, rows(1, 900)),
        Ok(Paired::New),
        "of its own"
    );
    assert_eq!(log.receive(0, 0, rows(2, 900)), Ok(Paired::New));
    log.restart();
    assert_eq!(log.receive(1, 0, rows(2, 900)), Ok(Paired::Before));
    log.restart();
    assert_eq!(log.receive(1, 0, rows(2, 900)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(3, 10)), Ok(Paired::New));
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
    assert_eq!(log.receive(0, 0, rows(1, 5)), Ok(Paired::Copy));
    log.restart();
    assert_eq!(log.receive(0, 0, rows(2, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(0, 0, rows(3, 5)), Ok(Paired::New));
}

#[test]
fn queue_longer_than_the_window_is_read_from_the_ledger() {
    let mut log = Log::new(2);
    let count = WINDOW_LEN as u64 * 2 + 100;
    for content in 0..count {
        assert_eq!(log.receive(0, 0, rows(content, 5)), Ok(Paired::New));
    }
    for content in 0..count {
        if content == 50 {
            log.restart();
        }
        // One of them is skipped, and arrives late.
        if content == 70 {
            continue;
        }
        assert_eq!(
            log.receive(1, 0, rows(content, 5)),
            Ok(Paired::Copy),
            "{content}"
        );
    }
    assert_eq!(log.receive(1, 0, rows(70, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(count, 5)), Ok(Paired::New));
}

#[test]
fn copy_far_beyond_the_window_is_found_in_the_ledger() {
    let mut log = Log::new(2);
    let count = WINDOW_LEN as u64 * 3;
    for content in 0..count {
        log.receive(0, 0, rows(content, 5)).unwrap();
    }
    assert_eq!(log.receive(1, 0, rows(count - 2, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(count - 1, 5)), Ok(Paired::Copy));
    assert_eq!(log.receive(1, 0, rows(count, 5)), Ok(Paired::New));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Two or three masters, each of which has the transactions of all, in an order that preserves
    /// each origin's own; one path omits some. At any pace of the paths, and with restarts at any
    /// record, each transaction is delivered once.
    #[test]
    fn each_transaction_is_delivered_once(
        masters in 2usize..4,
        contents in prop::collection::vec((0u32..3, 0u64..4, 0u32..3), 1..120),
        omitted in prop::collection::vec(any::<bool>(), 4),
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
        // Transactions are omitted by content: a filter treats identical-looking ones alike.
        let paths: Vec<Vec<(u32, Fingerprint)>> = (0..masters as u32)
            .map(|path| {
                let carried = all.iter().filter(|(origin, fingerprint)| {
                    let kind = fingerprint.content.max(fingerprint.commit_timestamp) % 4;
                    path != 1 || *origin == path || !omitted[kind as usize]
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
            let received = log.receive(path as u16, *origin, *fingerprint);
            prop_assert!(received.is_ok(), "{received:?}");
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
