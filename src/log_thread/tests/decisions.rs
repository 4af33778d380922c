//! Decisions of an administrator survive restarts, and so does the progress of sources that were removed from the
//! configuration.

use tokio::sync::oneshot;

use super::anonymous::{append_all, create_anonymous, insert, source};
use super::*;
use crate::gtid::{BinlogState, GtidSet};
use crate::log_thread::followed_sources::CounterTable;
use crate::relay_log::SourceProgress;
use crate::relay_log::held::LogPart;

/// Continues source 0 at `bin.000009:4`; returns the answer.
fn continue_at(thread: &mut LogThread, new_history: bool, change: DeliveredChange) -> Executed {
    let (done, mut answer) = oneshot::channel();
    let counters: Vec<Arc<SourceCounters>> = (0..SOURCES).map(|_| Arc::default()).collect();
    let refusal = &counters[0].refusal;
    refusal.send_replace(Some(RefusalNote::Other("refused".to_owned())));
    let progress = SourceProgress {
        position: SourcePosition::new("bin.000009", 4),
        server_id: 80,
        ..SourceProgress::default()
    };
    let continuation = Continuation {
        path: 0,
        source: 0,
        progress,
        new_history,
        change,
        done,
    };
    let table = CounterTable::new(&counters);
    thread.continue_source(continuation, &table).unwrap();
    assert_eq!(*refusal.borrow(), None, "the refusal ends");
    answer.try_recv().unwrap()
}

fn append(thread: &mut LogThread, source: &mut TestSource, numbers: &[u64]) -> Vec<Decision> {
    let server_id = source.server_id;
    append_of(thread, source, server_id, numbers)
}

/// Transactions of the server with this server_id arrive from `source`.
fn append_of(
    thread: &mut LogThread,
    source: &mut TestSource,
    server_id: u32,
    numbers: &[u64],
) -> Vec<Decision> {
    let flavor = source.flavor;
    let groups = numbers
        .iter()
        .map(|number| group(flavor, server_id, *number, "a", Shape::Small));
    let batch = source.deliver(&groups.collect::<Vec<_>>());
    let decided = batch.transactions.iter();
    let decided = decided.map(|transaction| thread.append(&batch, transaction).unwrap());
    let decided = decided.collect();
    thread.commit().unwrap();
    decided
}

fn is_new(decisions: &[Decision]) -> Vec<bool> {
    let new = decisions.iter();
    new.map(|decision| matches!(decision, Decision::New(_)))
        .collect()
}

#[test]
fn counted_gtids_are_purged_and_survive_restarts_and_rotations() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut thread = create(&options, Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    append(&mut thread, &mut source, &[1, 2]);
    let counted: GtidSet = "11111111-2222-3333-4444-555555555555:1-5:8"
        .parse()
        .unwrap();
    let change = DeliveredChange::Counted(counted.clone());
    continue_at(&mut thread, false, change);
    append(&mut thread, &mut source, &[3]);
    let state = thread.log().state().clone();
    assert_eq!(state.purged, Executed::MySql(counted.clone()));
    assert!(counted.is_subset_of(state.executed.as_mysql().unwrap()));
    drop(thread);
    for _ in 0..2 {
        let recovered = recovered(&options);
        assert_eq!(recovered.executed, state.executed);
        assert_eq!(recovered.purged, state.purged);
        let mut thread = LogThread::resume(options.clone(), recovered).unwrap();
        thread.close().unwrap();
    }
}

/// The replicas have the changes of what was skipped, so that it must not be delivered by another path, whenever that
/// sends it.
#[test]
fn skipped_transactions_are_not_delivered_by_another_path() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut thread = create(&options, Flavor::MariaDb);
    let mut source = TestSource::new(0, Flavor::MariaDb);
    let mut peer = TestSource::new(1, Flavor::MariaDb);
    append(&mut thread, &mut source, &[1, 2]);
    // Number 3 arrives from the peer while the decision is verified.
    let skipped = vec!["1-80-4".parse().unwrap()];
    append_of(&mut thread, &mut peer, 80, &[1, 2, 3]);
    let before = thread.log().state().executed.clone();
    let change = DeliveredChange::Skipped(skipped);
    let delivered = continue_at(&mut thread, false, change);
    assert_eq!(delivered, before, "what is reported as missing");
    for _ in 0..2 {
        thread.close().unwrap();
        drop(thread);
        thread = resume(&options);
    }
    let copies = append_of(&mut thread, &mut peer, 80, &[4]);
    assert_eq!(copies, [Decision::Duplicate]);
    let new = append(&mut thread, &mut source, &[5, 6]);
    assert_eq!(is_new(&new), [true, true]);
    let copies = append_of(&mut thread, &mut peer, 80, &[5, 6]);
    assert_eq!(is_new(&copies), [false, false]);
}

#[test]
fn gtids_that_arrive_while_they_are_counted_are_not_purged() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut thread = create(&options, Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    append(&mut thread, &mut source, &[1, 2, 3]);
    let before = thread.log().state().executed.clone();
    let mut counted = before.as_mysql().unwrap().clone();
    let other: GtidSet = "11111111-2222-3333-4444-555555555555:1-5".parse().unwrap();
    counted.union_with(&other);
    let change = DeliveredChange::Counted(counted);
    assert_eq!(continue_at(&mut thread, false, change), before);
    assert_eq!(thread.log().state().purged, Executed::MySql(other.clone()));
    thread.close().unwrap();
    drop(thread);
    assert_eq!(recovered(&options).purged, Executed::MySql(other));
}

#[test]
fn position_of_a_continued_source_has_no_newest_transaction() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let dir = fast_dir();
        let options = options(dir.path());
        let mut thread = create(&options, flavor);
        let mut source = TestSource::new(0, flavor);
        append(&mut thread, &mut source, &[1]);
        continue_at(&mut thread, false, DeliveredChange::None);
        drop(thread);
        let progress = recovered(&options).sources["m0"].clone();
        assert_eq!(progress.position, SourcePosition::new("bin.000009", 4));
        assert_eq!(progress.last, None);
    }
}

#[test]
fn gtids_of_a_server_may_occur_again_in_its_new_history() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut thread = create(&options, Flavor::MariaDb);
    let mut source = TestSource::new(0, Flavor::MariaDb);
    let mut peer = TestSource::new(1, Flavor::MariaDb);
    append(&mut thread, &mut source, &[1, 2, 3]);
    append(&mut thread, &mut peer, &[1]);
    let before: BinlogState = "1-80-1,1-81-9".parse().unwrap();
    continue_at(&mut thread, true, DeliveredChange::NewHistory(80, before));
    let again = append(&mut thread, &mut source, &[2, 3]);
    assert_eq!(is_new(&again), [true, true]);
    let executed = thread.log().state().executed.clone();
    assert_eq!(
        executed,
        Executed::MariaDb("1-81-1,1-80-3".parse().unwrap())
    );
    drop(thread);
    assert_eq!(recovered(&options).executed, executed);
}

#[test]
fn new_history_is_known_after_its_file_was_removed() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut thread = create(&options, Flavor::MariaDb);
    let mut source = TestSource::new(0, Flavor::MariaDb);
    append(&mut thread, &mut source, &[1, 2]);
    let newest = |thread: &LogThread| {
        let log = thread.log();
        let (mut part, _) = LogPart::published(log);
        part.files.retain(|file| *file == part.end.file);
        part.has_new_history().unwrap()
    };
    assert!(!newest(&thread));
    let change = DeliveredChange::NewHistory(80, BinlogState::new());
    continue_at(&mut thread, true, change);
    assert!(newest(&thread));
    thread.start_file().unwrap();
    assert!(newest(&thread));
    for _ in 0..2 {
        thread.close().unwrap();
        drop(thread);
        thread = resume(&options);
        assert!(newest(&thread));
    }
}

#[test]
fn peers_copies_of_a_new_history_are_no_repetitions_and_are_compared() {
    let dir = fast_dir();
    let options = options(dir.path());
    // Numbers up to 2 are before the log, too.
    let before_log = Executed::MariaDb("1-80-2".parse().unwrap());
    let progress = vec![SourceProgress::default(); SOURCES];
    let created = LogThread::create(
        options.clone(),
        &format(Flavor::MariaDb),
        before_log,
        progress,
    );
    let mut thread = created.unwrap();
    let mut source = TestSource::new(0, Flavor::MariaDb);
    let mut peer = TestSource::new(1, Flavor::MariaDb);
    append(&mut thread, &mut source, &[3, 4, 5]);
    append_of(&mut thread, &mut peer, 80, &[3, 4, 5]);
    let change = DeliveredChange::NewHistory(80, BinlogState::new());
    continue_at(&mut thread, true, change);
    append(&mut thread, &mut source, &[1, 2, 3]);
    let copies = append_of(&mut thread, &mut peer, 80, &[1]);
    assert_eq!(copies, [Decision::Duplicate]);
    for _ in 0..2 {
        thread.close().unwrap();
        drop(thread);
        thread = resume(&options);
    }
    let copies = append_of(&mut thread, &mut peer, 80, &[2]);
    assert_eq!(copies, [Decision::Duplicate]);
    // Another transaction with the number of one that is in the log now.
    let mut other = group(Flavor::MariaDb, 80, 2, "a", Shape::Small);
    for event in &mut other {
        event[..4].copy_from_slice(&77u32.to_le_bytes());
        crate::binlog::event::write_checksum(event).unwrap();
    }
    let batch = peer.deliver(&[other]);
    let refused = thread.append(&batch, &batch.transactions[0]);
    assert!(
        matches!(refused, Err(AppendError::Refused(_))),
        "{refused:?}"
    );
}

/// A log that began after number 5 of server 80, that server's source, and a peer that has sent number 5 and then `again`, two
/// numbers of a new history, which were dropped.
fn ahead_of_the_decision(
    options: &LogOptions,
    again: [u64; 2],
) -> (LogThread, TestSource, TestSource) {
    let before_log = Executed::MariaDb("1-80-5".parse().unwrap());
    let (format, progress) = (
        format(Flavor::MariaDb),
        vec![SourceProgress::default(); SOURCES],
    );
    let created = LogThread::create(options.clone(), &format, before_log, progress);
    let mut thread = created.unwrap();
    let source = TestSource::new(0, Flavor::MariaDb);
    let mut peer = TestSource::new(1, Flavor::MariaDb);
    append_of(&mut thread, &mut peer, 80, &[5]);
    let dropped = append_of(&mut thread, &mut peer, 80, &again);
    assert_eq!(dropped, [Decision::Repeated, Decision::Repeated]);
    (thread, source, peer)
}

/// What a peer sends of a new history before it is accepted counts as copies of transactions from before the log.
#[test]
fn peer_that_was_ahead_of_a_new_history_waits_for_its_server() {
    for restarts in [false, true] {
        let dir = fast_dir();
        let options = options(dir.path());
        let (mut thread, mut source, mut peer) = ahead_of_the_decision(&options, [1, 2]);
        let change = DeliveredChange::NewHistory(80, BinlogState::new());
        continue_at(&mut thread, true, change);
        let restart = |mut thread: LogThread| {
            if !restarts {
                return thread;
            }
            thread.close().unwrap();
            drop(thread);
            resume(&options)
        };
        let mut thread = restart(thread);
        let ahead = append_of(&mut thread, &mut peer, 80, &[3, 4]);
        assert_eq!(ahead, [Decision::Repeated, Decision::Repeated]);
        let mut thread = restart(thread);
        let own = append(&mut thread, &mut source, &[1, 2, 3]);
        assert_eq!(is_new(&own), [true, true, true]);
        let ahead = append_of(&mut thread, &mut peer, 80, &[5]);
        assert_eq!(ahead, [Decision::Repeated]);
        let own = append(&mut thread, &mut source, &[4, 5]);
        assert_eq!(is_new(&own), [true, true]);
        let mut thread = restart(thread);
        // It has nothing that was not delivered: from here on, either may be faster.
        let both = append_of(&mut thread, &mut peer, 80, &[6]);
        assert_eq!(is_new(&both), [true]);
        let copy = append(&mut thread, &mut source, &[6]);
        assert_eq!(copy, [Decision::Duplicate]);
    }
}

/// The new history begins after an older copy: what is before it says nothing of how far the peer is.
#[test]
fn peer_that_was_ahead_of_a_restored_server_waits_for_it() {
    for restarts in [false, true] {
        let dir = fast_dir();
        let options = options(dir.path());
        let (mut thread, mut source, mut peer) = ahead_of_the_decision(&options, [3, 4]);
        let before = "1-80-2".parse().unwrap();
        continue_at(&mut thread, true, DeliveredChange::NewHistory(80, before));
        if restarts {
            thread.close().unwrap();
            drop(thread);
            thread = resume(&options);
        }
        let ahead = append_of(&mut thread, &mut peer, 80, &[5]);
        assert_eq!(ahead, [Decision::Repeated]);
        let own = append(&mut thread, &mut source, &[3, 4, 5]);
        assert_eq!(is_new(&own), [true, true, true]);
        let both = append_of(&mut thread, &mut peer, 80, &[6]);
        assert_eq!(is_new(&both), [true]);
    }
}

#[test]
fn removed_source_continues_where_it_was() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let dir = fast_dir();
        let all = options(dir.path());
        let mut thread = create(&all, flavor);
        let mut source = TestSource::new(0, flavor);
        append(&mut thread, &mut source, &[1, 2]);
        thread.close().unwrap();
        drop(thread);
        let before = recovered(&all).sources["m0"].clone();
        assert!(before.last.is_some());
        // Opened more than once without it, and with the others in another order.
        let fewer = LogOptions {
            source_names: vec!["m2".into(), "m1".into()],
            ..all.clone()
        };
        for _ in 0..2 {
            resume(&fewer).close().unwrap();
        }
        let recovered = recovered(&all);
        assert_eq!(recovered.sources["m0"], before);
        let thread = LogThread::resume(all.clone(), recovered).unwrap();
        assert_eq!(thread.log().state().sources[0], before);
    }
}

#[test]
fn source_that_has_lost_its_own_transaction_is_refused() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut log_thread = create_anonymous(&options, Vec::new());
    let (mut m0, mut m1) = (source(0), source(1));
    append_all(&mut log_thread, &m0.deliver(&[xid_insert(80, 1)]));
    append_all(
        &mut log_thread,
        &m1.deliver(&[xid_insert(80, 1), xid_insert(80, 2)]),
    );
    log_thread.commit().unwrap();
    let counters: Vec<Arc<SourceCounters>> = (0..SOURCES).map(|_| Arc::default()).collect();
    let table = CounterTable::new(&counters);
    let ask = |log_thread: &mut LogThread, refused| {
        let (done, mut answered) = tokio::sync::oneshot::channel();
        let question = OwnUnsent {
            path: 0,
            source: 0,
            refused,
            done,
        };
        log_thread.answer_own_unsent(question, &table).unwrap();
        answered.try_recv().unwrap()
    };
    let unsent = ask(&mut log_thread, None).unwrap();
    let end = SourcePosition::new("bin.000001", 900);
    // It has arrived meanwhile.
    append_all(&mut log_thread, &m0.deliver(&[xid_insert(80, 2)]));
    assert_eq!(ask(&mut log_thread, Some((unsent, end.clone()))), None);
    append_all(&mut log_thread, &m1.deliver(&[xid_insert(80, 3)]));
    log_thread.commit().unwrap();
    let unsent = ask(&mut log_thread, None).unwrap();
    assert_eq!(ask(&mut log_thread, Some((unsent, end))), Some(unsent));
    let refusal = counters[0].refusal.borrow().clone();
    let Some(RefusalNote::Reused { expected, found }) = refusal else {
        panic!("{refusal:?}");
    };
    assert!(
        expected.contains("from m1, ending at bin.000002:"),
        "{expected}"
    );
    assert!(found.contains("bin.000001:900"), "{found}");
    assert_eq!(*counters[1].refusal.borrow(), None);
}

/// The address of a source was moved to a new server, whose first batch waits for the queue's memory.
#[test]
fn path_that_is_not_in_the_log_yet_has_nothing_unsent() {
    let dir = fast_dir();
    let mut thread = create_anonymous(&options(dir.path()), Vec::new());
    let counters: Vec<Arc<SourceCounters>> = (0..SOURCES).map(|_| Arc::default()).collect();
    let table = CounterTable::new(&counters);
    let path = SOURCES as u16;
    let (done, mut answered) = oneshot::channel();
    let question = OwnUnsent {
        path,
        source: 0,
        refused: None,
        done,
    };
    thread.answer_own_unsent(question, &table).unwrap();
    assert_eq!(answered.try_recv(), Ok(None));
    let (done, mut excused) = oneshot::channel();
    thread.excuse_own(OwnExcused { path, done }).unwrap();
    assert_eq!(excused.try_recv(), Ok(()));
}

/// As [`insert`], into a transactional table.
pub(super) fn xid_insert(origin: u32, number: u32) -> Vec<Vec<u8>> {
    let mut group = insert(origin, number);
    group.pop();
    group.push(make::xid(origin));
    group
}

/// A ring of three: M2 was killed and has logged a transaction of M0 twice; M1 logs both. That is so in the log's first
/// file and in the oldest that remains, too, where no file is before it.
#[test]
fn repetition_that_a_third_server_has_logged_is_excused_in_the_oldest_file() {
    for (is_first, again) in [(true, true), (false, true), (true, false)] {
        let dir = fast_dir();
        let options = options(dir.path());
        let mut thread = create_anonymous(&options, Vec::new());
        if !is_first {
            thread.start_file().unwrap();
            std::fs::remove_file(options.log_dir.index_path(1)).unwrap();
        }
        let (mut m0, mut m1) = (source(0), source(1));
        let sent = [xid_insert(80, 1), xid_insert(80, 2)];
        append_all(&mut thread, &m0.deliver(&sent));
        append_all(&mut thread, &m1.deliver(&sent));
        let last = xid_insert(80, if again { 1 } else { 3 });
        assert_eq!(append_all(&mut thread, &m1.deliver(&[last])), [true]);
        let ledger = thread.log.ledger();
        let unsent = thread.merge.own_unsent(0, 80, &ledger).unwrap();
        let is_excused = thread.merge.excuse_repeated(0, 80, unsent, &ledger);
        assert_eq!(is_excused, again);
    }
}
