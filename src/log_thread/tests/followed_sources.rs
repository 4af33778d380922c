//! Sources that are removed and added again: where they resume, and which files they keep.

use tokio::sync::oneshot;

use super::anonymous::{append_all, create_anonymous, insert, source};
use super::*;
use crate::log_thread::followed_sources::CounterTable;
use crate::relay_log::recover::inspect;

fn table() -> CounterTable {
    let counters: Vec<Arc<SourceCounters>> = (0..SOURCES).map(|_| Arc::default()).collect();
    CounterTable::new(&counters)
}

/// Follows a source from now on, or no more.
fn follow(thread: &mut LogThread, table: &mut CounterTable, source: u16, is_followed: bool) {
    let (done, mut answered) = oneshot::channel();
    let change = FollowChange {
        source,
        name: format!("m{source}").into(),
        counters: is_followed.then(Arc::default),
        done,
    };
    thread.change_followed(change, table).unwrap();
    answered.try_recv().unwrap();
}

fn published(thread: &LogThread, source: usize) -> SourceProgress {
    thread.log().state().sources[source].clone()
}

/// Without GTIDs a source resumes at its published position: what is not published yet would be sent and delivered
/// again.
#[test]
fn what_a_source_has_sent_is_published_when_it_is_removed() {
    for is_followed in [false, true] {
        let dir = fast_dir();
        let mut thread = create_anonymous(&options(dir.path()), Vec::new());
        let (mut m1, mut table) = (source(1), table());
        append_all(&mut thread, &m1.deliver(&[insert(81, 1)]));
        thread.commit().unwrap();
        append_all(&mut thread, &m1.deliver(&[insert(81, 2)]));
        follow(&mut thread, &mut table, 1, is_followed);
        assert_eq!(published(&thread, 1).position.offset, m1.position);
    }
}

/// `check` reads a log that may be in use, and finds from where `run` would continue.
#[test]
fn inspection_finds_what_recovery_does_and_changes_nothing() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let dir = fast_dir();
        let options = options(dir.path());
        let mut thread = super::create(&options, flavor);
        let mut m1 = TestSource::new(1, flavor);
        for number in 1..=3 {
            let batch = m1.deliver(&[group(flavor, 81, number, "a", Shape::Small)]);
            thread.append(&batch, &batch.transactions[0]).unwrap();
        }
        thread.commit().unwrap();
        drop(thread);
        // As after a crash: a transaction that was never served.
        let path = options.log_dir.log_path(1);
        let mut log = std::fs::read(&path).unwrap();
        log.extend([7; 100]);
        std::fs::write(&path, &log).unwrap();
        let found = inspect(&options.log_dir, &options.source_names);
        let found = found.unwrap().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), log);
        let recovered = recovered(&options);
        assert_eq!(std::fs::read(&path).unwrap().len(), log.len() - 100);
        assert_eq!(found.executed, recovered.executed);
        assert_eq!(found.sources, recovered.sources);
        assert_eq!(found.started("m1"), recovered.sources.get("m1"));
        assert!(found.started("m1").is_some() && found.started("m2").is_none());
    }
}

/// MariaDB: the only source that remains has executed a transaction of another server again, which no other path brings.
#[test]
fn the_source_that_remains_is_the_only_one() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut thread = super::create(&options, Flavor::MariaDb);
    let mut m0 = TestSource::new(0, Flavor::MariaDb);
    let mut table = table();
    let mut arrive = |thread: &mut LogThread, number| {
        let batch = m0.deliver(&[group(Flavor::MariaDb, 90, number, "a", Shape::Small)]);
        thread.append(&batch, &batch.transactions[0]).unwrap()
    };
    let executed_again = |decision| matches!(decision, Decision::New(new) if new.executed_again);
    arrive(&mut thread, 1);
    assert_eq!(arrive(&mut thread, 1), Decision::Repeated);
    for removed in 1..SOURCES {
        follow(&mut thread, &mut table, removed as u16, false);
    }
    assert!(executed_again(arrive(&mut thread, 1)));
    follow(&mut thread, &mut table, 1, true);
    assert_eq!(arrive(&mut thread, 1), Decision::Repeated);
}

fn reading_back(number: u16) -> SourceProgress {
    SourceProgress {
        position: SourcePosition::new("bin.000001", 4),
        server_id: 80 + u32::from(number),
        reading_back: true,
        ..SourceProgress::default()
    }
}

/// M1 is removed before it has reached its start, and the log begins without it. M0 has a start, too, or begins with
/// its first transaction.
#[test]
fn source_that_is_removed_before_its_start_does_not_resume_before_it() {
    for has_start in [true, false] {
        let dir = fast_dir();
        let options = options(dir.path());
        let m0_progress = match has_start {
            true => reading_back(0),
            false => SourceProgress::default(),
        };
        let mut thread = create_anonymous(&options, vec![m0_progress, reading_back(1)]);
        let (mut m0, mut m1, mut table) = (source(0), source(1), table());
        m1.assembler.set_before_start(true);
        let before = m1.deliver(&[insert(81, 1)]);
        assert_eq!(append_all(&mut thread, &before), [false]);
        if has_start {
            m0.assembler.set_before_start(true);
            let before = m0.deliver(&[insert(80, 1)]);
            assert_eq!(append_all(&mut thread, &before), [false]);
            m0.assembler.set_before_start(false);
        }
        follow(&mut thread, &mut table, 1, false);
        assert_eq!(published(&thread, 1), SourceProgress::default());
        // M0 begins the log, which is not created again afterwards, and M1 is added again.
        let first = m0.deliver(&[insert(80, 2)]);
        assert_eq!(append_all(&mut thread, &first), [true]);
        follow(&mut thread, &mut table, 1, true);
        assert_eq!(published(&thread, 1), SourceProgress::default());
        drop(thread);
        let mut thread = resume(&options);
        assert_eq!(published(&thread, 0).position.offset, m0.position);
        assert_eq!(published(&thread, 1), SourceProgress::default());
        // What M0 sends later is not a copy, and M1's copies are.
        let next = m0.deliver(&[insert(80, 3)]);
        assert_eq!(append_all(&mut thread, &next), [true]);
        let copies = m1.deliver(&[insert(80, 2), insert(80, 3)]);
        assert_eq!(append_all(&mut thread, &copies), [false, false]);
    }
}

/// The others are still read up to their starts: the log has not begun.
#[test]
fn removal_before_the_log_begins_does_not_begin_it() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut thread = create_anonymous(&options, vec![reading_back(0), reading_back(1)]);
    follow(&mut thread, &mut table(), 1, false);
    assert!(published(&thread, 0).reading_back);
    drop(thread);
    let outcome = recover(&options.log_dir, &options.source_names).unwrap();
    assert!(outcome.is_none(), "nothing of it was served");
}

/// Whether M0 and M1 keep the files that they need.
fn keeping(thread: &LogThread) -> Vec<bool> {
    let paths = thread.log().retention().paths();
    paths.iter().map(|path| path.is_followed).collect()
}

#[test]
fn removed_source_keeps_no_files_until_it_is_added_again() {
    let dir = fast_dir();
    let options = LogOptions {
        source_names: vec!["m0".into(), "m1".into()],
        ..options(dir.path())
    };
    let mut thread = create_anonymous(&options, Vec::new());
    append_all(&mut thread, &source(0).deliver(&[insert(80, 1)]));
    thread.start_file().unwrap();
    let (needs, mut table) = (thread.log().retention().paths(), table());
    assert_eq!(keeping(&thread), [true, true]);
    follow(&mut thread, &mut table, 1, false);
    assert_eq!(keeping(&thread), [true, false]);
    thread.start_file().unwrap();
    follow(&mut thread, &mut table, 1, true);
    assert_eq!(keeping(&thread), [true, true]);
    // It still needs the file with M0's transaction.
    let now = thread.log().retention().paths();
    assert_eq!((now[1].file, needs[1].file), (1, 1));
}
