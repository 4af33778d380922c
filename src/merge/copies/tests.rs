//! Windows against a model, and the decisions on transactions whose GTID was delivered.

use std::cell::Cell;
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::gtid::MariaDbGtid;

/// A log in memory: files of delivered transactions, with the highest numbers before each file.
#[derive(Debug, Default)]
struct Log {
    files: Vec<Vec<(u32, u64, CopyEvidence)>>,
    reads: Cell<usize>,
    sent_reads: Cell<usize>,
}

impl Log {
    fn before(&self, file: u64) -> HashMap<u32, u64> {
        let mut highest = HashMap::new();
        for (server, number, _) in self.files.iter().take(file as usize - 1).flatten() {
            let entry = highest.entry(*server).or_insert(0);
            *entry = (*number).max(*entry);
        }
        highest
    }
}

fn server_of(origin: &GtidOrigin) -> u32 {
    match origin {
        GtidOrigin::MariaDb { server_id, .. } => *server_id,
        GtidOrigin::MySql(_) => panic!("a log of MariaDB"),
    }
}

impl DeliveredGtids for Log {
    fn locate(&self, identity: &Identity) -> Result<Option<RecordNumber>, String> {
        let (origin, number) = GtidOrigin::split(identity).unwrap();
        let files = (1..=self.files.len() as u64).rev();
        let lacks = |file: &u64| {
            let highest = self.before(*file).get(&server_of(&origin)).copied();
            highest.is_none_or(|highest| highest < number)
        };
        Ok(files
            .into_iter()
            .find(lacks)
            .map(|file| RecordNumber { file, record: 0 }))
    }

    fn read_gtids(
        &self,
        cursor: &mut GtidCursor,
        origin: &GtidOrigin,
        accept: &mut dyn FnMut(DeliveredGtid) -> bool,
    ) -> Result<(), String> {
        loop {
            let next = cursor.next;
            let file = &self.files[next.file as usize - 1];
            for (at, (server, number, evidence)) in
                file.iter().enumerate().skip(next.record as usize)
            {
                self.reads.set(self.reads.get() + 1);
                cursor.next.record = at as u64 + 1;
                let entry = DeliveredGtid {
                    number: *number,
                    evidence: *evidence,
                    record: RecordNumber {
                        file: next.file,
                        record: at as u64,
                    },
                };
                if *server == server_of(origin) && !accept(entry) {
                    return Ok(());
                }
            }
            if next.file as usize == self.files.len() {
                return Ok(());
            }
            cursor.next = RecordNumber {
                file: next.file + 1,
                record: 0,
            };
        }
    }

    fn read_sent(
        &self,
        _: Option<u64>,
        _: &GtidOrigin,
        _: &mut dyn FnMut(SentRecord),
    ) -> Result<(), String> {
        self.sent_reads.set(self.sent_reads.get() + 1);
        Ok(())
    }

    fn describe(&self, record: RecordNumber) -> Result<String, String> {
        Ok(format!("{record:?}"))
    }
}

fn gtid(server_id: u32, seq_no: u64) -> Identity {
    Identity::MariaDb(MariaDbGtid {
        domain_id: 0,
        server_id,
        seq_no,
    })
}

fn evidence(time: u32) -> CopyEvidence {
    CopyEvidence {
        commit_time_us: u64::from(time) * 1_000_000,
        earliest: time,
        latest: time,
        has_changes: true,
    }
}

/// Two origins, numbers ascending with gaps and small displacements, in files of any length.
fn logs() -> impl Strategy<Value = Log> {
    let steps = prop::collection::vec((0..2u32, 1..3u64, 0..4usize, 0..300usize), 1..4000);
    steps.prop_map(|steps| {
        let mut log = Log {
            files: vec![Vec::new()],
            ..Log::default()
        };
        let mut highest = [0, 0];
        for (at, (server, gap, displaced, cut)) in steps.into_iter().enumerate() {
            if cut == 0 {
                log.files.push(Vec::new());
            }
            highest[server as usize] += gap;
            let file = log.files.last_mut().unwrap();
            let place = file.len().saturating_sub(displaced);
            file.insert(
                place,
                (server, highest[server as usize], evidence(at as u32 + 1)),
            );
        }
        log
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever a path asks for, in whatever order, is found exactly if it is in the log.
    #[test]
    fn window_finds_what_the_log_has(
        log in logs(),
        asked in prop::collection::vec((0..2u32, 0..4000u64), 0..60),
        from in 0..2000u64,
    ) {
        let mut windows = HashMap::new();
        let mut model = HashMap::new();
        for (server, number, evidence) in log.files.iter().flatten() {
            model.insert((*server, *number), *evidence);
        }
        let run = (from..from + 1500).flat_map(|number| [(0, number), (1, number)]);
        for (server, number) in asked.into_iter().chain(run) {
            let identity = gtid(server, number);
            let (origin, _) = GtidOrigin::split(&identity).unwrap();
            let window = windows.entry(server).or_insert_with(|| Window::new(0, origin));
            let found = window.find(&identity, number, &log).unwrap();
            let found = found.map(|found| found.evidence);
            prop_assert_eq!(found, model.get(&(server, number)).copied());
        }
    }
}

fn ascending(count: u64) -> Log {
    let file = |first: u64| {
        (first..first + 1000)
            .map(|number| (1, number, evidence(number as u32)))
            .collect()
    };
    Log {
        files: (0..count / 1000).map(|at| file(at * 1000 + 1)).collect(),
        ..Log::default()
    }
}

#[test]
fn path_that_reads_in_order_reads_the_log_once() {
    let log = ascending(30_000);
    let (origin, _) = GtidOrigin::split(&gtid(1, 1)).unwrap();
    let mut window = Window::new(0, origin);
    for number in 20_001..=30_000 {
        let found = window.find(&gtid(1, number), number, &log).unwrap();
        assert_eq!(found.unwrap().evidence, evidence(number as u32));
    }
    assert!(log.reads.get() <= 10_000, "{}", log.reads.get());
}

#[test]
fn transactions_without_a_record_are_searched_nearby_only() {
    let mut log = ascending(10_000);
    for file in &mut log.files {
        file.retain(|(_, number, _)| number % 2 == 0);
    }
    let (origin, _) = GtidOrigin::split(&gtid(1, 1)).unwrap();
    let mut window = Window::new(0, origin);
    for number in (1..10_000).step_by(2) {
        let found = window.find(&gtid(1, number), number, &log).unwrap();
        assert_eq!(found, None);
    }
    // Those at the beginning of a file need more.
    assert!(log.reads.get() < 5_000 * 150, "{}", log.reads.get());
}

#[test]
fn windows_are_bounded() {
    let log = ascending(3_000);
    let mut copies = Copies::new(Executed::MariaDb(BinlogState::new()));
    for path in 0..200 {
        assert!(copies.find(path, &gtid(1, 7), &log).unwrap().is_some());
        let all: usize = copies.windows.iter().map(Window::len).sum();
        assert!(all <= WINDOWS_LEN, "{all}");
    }
    assert_eq!(copies.windows.len(), WINDOWS_MAX);
    // As many paths and origins as that do not read the log again and again.
    let reads = log.reads.get();
    for number in 8..250 {
        for path in 80..200 {
            assert!(copies.find(path, &gtid(1, number), &log).unwrap().is_some());
        }
    }
    assert_eq!(log.reads.get(), reads);
}

#[test]
fn transactions_before_the_log_are_not_searched() {
    let mut before = BinlogState::new();
    before.record(MariaDbGtid {
        domain_id: 0,
        server_id: 1,
        seq_no: 500,
    });
    let log = ascending(1_000);
    let mut copies = Copies::new(Executed::MariaDb(before));
    assert_eq!(copies.find(0, &gtid(1, 500), &log), Ok(None));
    assert_eq!(log.reads.get(), 0);
    assert!(copies.find(0, &gtid(1, 501), &log).unwrap().is_some());
    // Nor are those whose records were removed.
    copies.note_removed(&Executed::MariaDb(state(1, 800)));
    let reads = log.reads.get();
    assert_eq!(copies.find(0, &gtid(1, 700), &log), Ok(None));
    assert_eq!(log.reads.get(), reads);
    // The numbers of a new history are those of other transactions.
    copies.forget(1, &state(1, 500));
    copies.note_removed(&Executed::MariaDb(state(1, 900)));
    assert!(copies.find(0, &gtid(1, 700), &log).unwrap().is_some());
}

fn state(server_id: u32, seq_no: u64) -> BinlogState {
    let mut state = BinlogState::new();
    state.record(gtid_of(server_id, seq_no));
    state
}

/// What server 1's own path has skipped if it sends `next` after `sent`, where `highest` was delivered.
fn skipped(copies: &mut Copies, log: &Log, sent: u64, next: u64, highest: u64) -> Option<u64> {
    let sent = state(1, sent);
    let path = PathProgress {
        server_id: 1,
        last: None,
        sent: &sent,
    };
    let found = copies.skipped(0, &gtid_of(1, next), &path, &state(1, highest), log);
    found.unwrap().map(|gtid| gtid.seq_no)
}

/// Server 1 has written each third number of a domain that others write to as well.
#[test]
fn what_a_server_s_own_path_has_skipped_is_found() {
    let mut log = ascending(3_000);
    for file in &mut log.files {
        file.retain(|(_, number, _)| number % 3 == 0);
    }
    let new = || Copies::new(Executed::MariaDb(BinlogState::new()));
    // After a restart nothing is in memory.
    let mut noted = new();
    for (server, number, evidence) in log.files.iter().flatten() {
        noted.note(&gtid(*server, *number), *evidence, true);
    }
    for copies in [&mut noted, &mut new()] {
        for sent in [3, 990, 999, 1002, 1500, 2994] {
            assert_eq!(skipped(copies, &log, sent, sent + 1, 3_000), None);
            assert_eq!(skipped(copies, &log, sent, sent + 3, 3_000), None);
            let found = skipped(copies, &log, sent, sent + 4, 3_000);
            assert_eq!(found, Some(sent + 3));
        }
        // What arrives is new: all between is in the state.
        assert_eq!(skipped(copies, &log, 3_000, 3_007, 3_000), None);
        assert_eq!(skipped(copies, &log, 2_997, 3_007, 3_000), Some(3_000));
        assert_eq!(skipped(copies, &log, 2_997, 3_007, 2_997), None);
        // It is executed again.
        assert_eq!(skipped(copies, &log, 2_997, 5, 3_000), None);
    }
    // What is executed again after a restart does not show that the others are in memory.
    let mut copies = new();
    copies.note(&gtid(1, 1500), evidence(1), false);
    assert_eq!(skipped(&mut copies, &log, 1500, 1504, 3_000), Some(1503));
}

#[test]
fn other_paths_and_other_histories_skip_nothing() {
    let log = ascending(1_000);
    let mut copies = Copies::new(Executed::MariaDb(state(1, 10)));
    let path = |server_id, sent| PathProgress {
        server_id,
        last: None,
        sent,
    };
    let (next, executed) = (gtid_of(1, 20), state(1, 1_000));
    let nothing = BinlogState::new();
    let first = copies.skipped(0, &next, &path(1, &nothing), &executed, &log);
    assert_eq!(first, Ok(None));
    let sent = state(1, 5);
    let peer = copies.skipped(0, &next, &path(2, &sent), &executed, &log);
    assert_eq!(peer, Ok(None));
    // 5 is before the log, in which there is no record of it.
    assert_eq!(skipped(&mut copies, &log, 5, 20, 1_000), None);
    assert_eq!(skipped(&mut copies, &log, 15, 20, 1_000), Some(19));
    // The records of 16 to 19 are those of a former history.
    copies.forget(1, &state(1, 15));
    assert_eq!(skipped(&mut copies, &log, 15, 20, 1_000), None);
    copies.note(&gtid(1, 18), evidence(1), true);
    assert_eq!(skipped(&mut copies, &log, 15, 20, 1_000), Some(18));
}

fn gtid_of(server_id: u32, seq_no: u64) -> MariaDbGtid {
    MariaDbGtid {
        domain_id: 0,
        server_id,
        seq_no,
    }
}

/// The peer's are dropped: its own path delivers them.
#[test]
fn what_both_servers_execute_again_is_read_once() {
    let log = Log::default();
    let mut copies = Copies::new(Executed::MariaDb(BinlogState::new()));
    let mut sent = state(1, 200);
    sent.record(gtid_of(2, 200));
    let executed = Executed::MariaDb(sent.clone());
    let path = PathProgress {
        server_id: 1,
        last: None,
        sent: &sent,
    };
    for number in 1..=100 {
        for (server, expected) in [(1, Known::ExecutedAgain), (2, Known::Repeated)] {
            let batch = crate::merge::tests::mariadb(0, 1, server, number, None);
            let transaction = &batch.transactions[0];
            let found = copies.classify(&batch, transaction, &path, &executed, &log);
            assert_eq!(found, Ok(expected), "{server}: {number}");
            if expected == Known::ExecutedAgain {
                copies.note(&transaction.identity, transaction.evidence(), false);
            }
        }
    }
    assert_eq!(log.sent_reads.get(), 1);
}
