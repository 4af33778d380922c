//! Logs of sources without GTIDs: copies are recognised after a restart at any record.

use std::fs;

use super::*;
use crate::binlog::EventType;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::query::Query;
use crate::identity::IdentityKind;
use crate::relay_log::index_reader::IndexReader;
use crate::relay_log::index_record::RECORD_LEN;

fn options_for(dir: &Path) -> LogOptions {
    options(dir)
}

pub(super) fn create_anonymous(options: &LogOptions, sources: Vec<SourceProgress>) -> LogThread {
    let format = make::mysql56_format(Checksum::Crc32);
    LogThread::create(options.clone(), &format, Executed::Anonymous, sources).unwrap()
}

/// Master `number` (server_id 80 + number) as a source of MySQL 5.6.
pub(super) fn source(number: u16) -> TestSource {
    source_since(number, 0)
}

/// The same; `first_timestamp` is when its first file was begun, if files before it are lost.
fn source_since(number: u16, first_timestamp: u32) -> TestSource {
    let mut source = TestSource::new(number, Flavor::MySql);
    let options = AssemblerOptions {
        source: number,
        source_server_id: source.server_id,
        source_first_timestamp: first_timestamp,
        has_gtids: false,
        first_run: 0,
        filter: make::keeping(&[]),
        spill_dir: source.spool.path().to_owned(),
        spill_size: SPILL_SIZE,
    };
    source.assembler = Assembler::new(options, make::mysql56_format(Checksum::Crc32));
    let _ = source.next_file();
    source
}

/// An insert by server `origin`; equal numbers look alike.
pub(super) fn insert(origin: u32, number: u32) -> Vec<Vec<u8>> {
    let text = format!("insert into t values ({number})");
    vec![
        make::query(origin, "test", "BEGIN"),
        make::query(origin, "test", &text),
        make::query(origin, "test", "COMMIT"),
    ]
}

pub(super) fn append_all(log_thread: &mut LogThread, batch: &TransactionBatch) -> Vec<bool> {
    let is_new = |transaction| {
        let decision = log_thread.append(batch, transaction).unwrap();
        matches!(decision, Decision::New(_))
    };
    batch.transactions.iter().map(is_new).collect()
}

/// All statements in the log, from its first file on.
fn statements(options: &LogOptions) -> Vec<String> {
    let mut found = Vec::new();
    for number in options.log_dir.read_list().unwrap() {
        let bytes = fs::read(options.log_dir.log_path(number)).unwrap();
        for event in make::split(&bytes[4..]) {
            let header = EventHeader::parse(&event).unwrap();
            if header.event_type == EventType::QUERY {
                let body = event::body(&event, true);
                let query = Query::parse(header.event_type, body).unwrap();
                found.push(String::from_utf8_lossy(query.statement).into_owned());
            }
        }
    }
    found.retain(|text| text.starts_with("insert"));
    found
}

#[test]
fn copies_are_recognised_after_restarts_and_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options_for(dir.path());
    options.max_size = 1500;
    let mut log_thread = create_anonymous(&options, Vec::new());
    let (mut m1, mut m2) = (source(0), source(1));
    // 30 transactions of M1, in groups of three that look alike. M2 lags with its copies, and stops
    // after each.
    let numbers: Vec<u32> = (0..30).map(|at| at / 3).collect();
    let groups: Vec<_> = numbers.iter().map(|number| insert(80, *number)).collect();
    assert!(
        append_all(&mut log_thread, &m1.deliver(&groups))
            .iter()
            .all(|new| *new)
    );
    log_thread.commit().unwrap();
    for (at, group) in groups.iter().enumerate() {
        let batch = m2.deliver(std::slice::from_ref(group));
        assert_eq!(append_all(&mut log_thread, &batch), [false], "copy {at}");
        log_thread.commit().unwrap();
        if at % 4 == 0 {
            drop(log_thread);
            log_thread = resume(&options);
        }
    }
    // One more that looks alike is new, whichever source sends it.
    let more = m2.deliver(&[insert(80, 9)]);
    assert_eq!(append_all(&mut log_thread, &more), [true]);
    let more = m1.deliver(&[insert(80, 9)]);
    assert_eq!(append_all(&mut log_thread, &more), [false]);
    log_thread.close().unwrap();
    assert_eq!(statements(&options).len(), 31);
    let recovered = recovered(&options);
    assert_eq!(recovered.executed.kind(), IdentityKind::Anonymous);
    assert!(recovered.files.len() > 2, "no rotation");
}

/// M2 has sent copies of all of M1's transactions when M1 joins, which has lost its first files: the
/// first transaction that it sends is not the first in its queue.
#[test]
fn source_that_joins_with_lost_files_is_recovered_at_any_record() {
    let dir = tempfile::tempdir().unwrap();
    let whole = options_for(dir.path());
    let mut log_thread = create_anonymous(&whole, Vec::new());
    let copies: Vec<_> = (1..=4).map(|number| insert(80, number)).collect();
    let own: Vec<_> = (3..=5).map(|number| insert(80, number)).collect();
    let joining = || source_since(0, 1_000);
    let expected: Vec<String> = (1..=5)
        .map(|number| format!("insert into t values ({number})"))
        .collect();
    assert_eq!(
        append_all(&mut log_thread, &source(1).deliver(&copies)),
        [true; 4]
    );
    log_thread.commit().unwrap();
    let joined = head_records(&whole) + copies.len();
    assert_eq!(
        append_all(&mut log_thread, &joining().deliver(&own)),
        [false, false, true]
    );
    log_thread.commit().unwrap();
    drop(log_thread);
    assert_eq!(statements(&whole), expected);

    let index = fs::read(whole.log_dir.index_path(1)).unwrap();
    for cut in joined..=index.len() / RECORD_LEN {
        let dir = tempfile::tempdir().unwrap();
        let options = options_for(dir.path());
        fs::copy(whole.log_dir.log_path(1), options.log_dir.log_path(1)).unwrap();
        fs::copy(whole.log_dir.list_path(), options.log_dir.list_path()).unwrap();
        fs::write(options.log_dir.durable_path(), []).unwrap();
        fs::write(options.log_dir.index_path(1), &index[..cut * RECORD_LEN]).unwrap();
        let recovered = recovered(&options);
        let done = |name: &str| {
            let progress = recovered.sources.get(name);
            progress.map_or(0, |progress| progress.position.offset)
        };
        let done = [done("m0"), done("m1")];
        let mut log_thread = LogThread::resume(options.clone(), recovered).unwrap();
        for (batch, done) in [joining().deliver(&own), source(1).deliver(&copies)]
            .into_iter()
            .zip(done)
        {
            for transaction in &batch.transactions {
                if transaction.source_offset > done {
                    log_thread.append(&batch, transaction).unwrap();
                }
            }
        }
        log_thread.close().unwrap();
        let mut found = statements(&options);
        found.sort();
        assert_eq!(found, expected, "truncated at record {cut}");
    }
}

#[test]
fn crash_at_any_record_neither_loses_nor_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let options = options_for(dir.path());
    let mut log_thread = create_anonymous(&options, Vec::new());
    let (mut m1, mut m2) = (source(0), source(1));
    let groups: Vec<_> = [1, 1, 2, 3, 3, 3].map(|number| insert(80, number)).to_vec();
    let (first, second) = (m1.deliver(&groups[..4]), m2.deliver(&groups));
    append_all(&mut log_thread, &first);
    log_thread.commit().unwrap();
    append_all(&mut log_thread, &second);
    log_thread.commit().unwrap();
    drop(log_thread);
    let index = fs::read(options.log_dir.index_path(1)).unwrap();
    let log = fs::read(options.log_dir.log_path(1)).unwrap();
    let list = fs::read(options.log_dir.list_path()).unwrap();
    let mut cuts = 0;
    for records in head_records(&options)..=index.len() / RECORD_LEN {
        let dir = tempfile::tempdir().unwrap();
        let options = options_for(dir.path());
        fs::write(
            options.log_dir.index_path(1),
            &index[..records * RECORD_LEN],
        )
        .unwrap();
        fs::write(options.log_dir.log_path(1), &log).unwrap();
        fs::write(options.log_dir.list_path(), &list).unwrap();
        fs::write(options.log_dir.durable_path(), []).unwrap();
        let recovered = recovered(&options);
        // Both masters continue after the positions in the index.
        let positions: Vec<u64> = ["m0", "m1"]
            .iter()
            .map(|name| {
                recovered
                    .sources
                    .get(*name)
                    .map_or(4, |source| source.position.offset)
            })
            .collect();
        let mut log_thread = LogThread::resume(options.clone(), recovered).unwrap();
        for (number, position) in (0u16..2).zip(positions) {
            let mut again = source(number);
            let all = again.deliver(&groups);
            for transaction in &all.transactions {
                if transaction.source_offset > position {
                    log_thread.append(&all, transaction).unwrap();
                }
            }
        }
        log_thread.close().unwrap();
        let expected: Vec<String> = [1, 1, 2, 3, 3, 3]
            .map(|number| format!("insert into t values ({number})"))
            .to_vec();
        assert_eq!(statements(&options), expected, "cut at record {records}");
        cuts += 1;
    }
    assert!(cuts > 10, "{cuts}");
}

/// Records of the first index that are on disk before anything is appended.
fn head_records(options: &LogOptions) -> usize {
    let index = IndexReader::open(&options.log_dir.index_path(1)).unwrap();
    index.header().head_records as usize
}

/// The source's server is restarted.
fn restart_server(source: &mut TestSource) {
    let format = FormatDescription {
        created: 1_800_000_000 + source.file,
        ..(*make::mysql56_format(Checksum::Crc32)).clone()
    };
    source.assembler.set_format(Arc::new(format));
    let _ = source.next_file();
}

/// M1 was killed while replicating, and its next file begins with the last transaction of the file
/// before, which is M2's. M2 has another identical-looking one later.
#[test]
fn copy_that_a_source_logged_twice_is_recognised_after_a_crash_at_any_record() {
    let all = [1, 2, 3, 2, 4].map(|number| insert(81, number)).to_vec();
    let expected: Vec<String> = [1, 2, 3, 2, 4]
        .map(|number| format!("insert into t values ({number})"))
        .to_vec();
    // What the sources send, in this order.
    let batches = || {
        let (mut m1, mut m2) = (source(0), source(1));
        let before = m1.deliver(&all[..2]);
        restart_server(&mut m1);
        [m2.deliver(&all), before, m1.deliver(&all[1..])]
    };
    let dir = tempfile::tempdir().unwrap();
    let whole = options_for(dir.path());
    let mut log_thread = create_anonymous(&whole, Vec::new());
    let decisions: Vec<Vec<Decision>> = batches()
        .iter()
        .map(|batch| {
            let append = |transaction| log_thread.append(batch, transaction).unwrap();
            let decisions = batch.transactions.iter().map(append).collect();
            log_thread.commit().unwrap();
            decisions
        })
        .collect();
    drop(log_thread);
    let mut copies = [const { Decision::Duplicate }; 4];
    copies[0] = Decision::Repeated;
    assert_eq!(
        decisions[1..],
        [vec![Decision::Duplicate; 2], copies.to_vec()]
    );
    assert_eq!(statements(&whole), expected);

    let index = fs::read(whole.log_dir.index_path(1)).unwrap();
    let records = index.len() / RECORD_LEN;
    assert!(records > 12, "{records}");
    for cut in head_records(&whole)..=records {
        let dir = tempfile::tempdir().unwrap();
        let options = options_for(dir.path());
        for path in [LogDir::log_path, LogDir::index_path] {
            fs::copy(path(&whole.log_dir, 1), path(&options.log_dir, 1)).unwrap();
        }
        fs::copy(whole.log_dir.list_path(), options.log_dir.list_path()).unwrap();
        fs::write(options.log_dir.durable_path(), []).unwrap();
        fs::write(options.log_dir.index_path(1), &index[..cut * RECORD_LEN]).unwrap();
        let recovered = recovered(&options);
        let positions = recovered.sources.clone();
        let mut log_thread = LogThread::resume(options.clone(), recovered).unwrap();
        for batch in batches() {
            let name = &options.source_names[usize::from(batch.source)];
            let done = positions.get(name).cloned().unwrap_or_default();
            for transaction in &batch.transactions {
                let end = (&*batch.source_end.file, transaction.source_offset);
                if end > (&*done.position.file, done.position.offset) {
                    log_thread.append(&batch, transaction).unwrap();
                }
            }
        }
        log_thread.close().unwrap();
        assert_eq!(statements(&options), expected, "cut at record {cut}");
    }
}

/// M2's 1 and 2 were delivered; M1 has logged 1 and 3, and 2 later, as with parallel workers. The
/// log begins a new file before 3, and the relay is restarted before or after 2 arrives.
#[test]
fn skipped_transactions_are_remembered_after_a_rotation_and_a_restart() {
    for before_two in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options_for(dir.path());
        options.source_names.truncate(2);
        let mut log_thread = create_anonymous(&options, Vec::new());
        let (mut m1, mut m2) = (source(0), source(1));
        let of_m2 = [1, 2, 3].map(|number| {
            let mut events = insert(81, number);
            events.pop();
            events.push(make::xid(81));
            events
        });
        let of_m1 = [insert(80, 10)];
        append_all(&mut log_thread, &m2.deliver(&of_m2[..2]));
        assert_eq!(
            append_all(&mut log_thread, &m1.deliver(&of_m2[..1])),
            [false]
        );
        assert_eq!(append_all(&mut log_thread, &m1.deliver(&of_m1)), [true]);
        log_thread.close().unwrap();
        drop(log_thread);
        log_thread = resume(&options);
        // M2 is already known as the origin.
        assert_eq!(append_all(&mut log_thread, &m2.deliver(&of_m1)), [false]);
        assert_eq!(
            append_all(&mut log_thread, &m1.deliver(&of_m2[2..])),
            [true]
        );
        log_thread.commit().unwrap();
        if before_two {
            drop(log_thread);
            log_thread = resume(&options);
        }
        let two = m1.deliver(&of_m2[1..2]);
        assert_eq!(append_all(&mut log_thread, &two), [false]);
        log_thread.commit().unwrap();
        drop(log_thread);
        let _ = resume(&options);
        assert_eq!(statements(&options).len(), 4);
    }
}

#[test]
fn log_that_had_not_begun_is_created_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = options_for(dir.path());
    let reading_back = SourceProgress {
        position: SourcePosition::new("bin.000001", 4),
        server_id: 80,
        reading_back: true,
        ..SourceProgress::default()
    };
    let mut log_thread = create_anonymous(&options, vec![reading_back.clone()]);
    let (mut m1, mut m2) = (source(0), source(1));
    m1.assembler.set_before_start(true);
    let before = m1.deliver(&[insert(80, 1), insert(80, 2)]);
    assert_eq!(append_all(&mut log_thread, &before), [false, false]);
    log_thread.commit().unwrap();
    drop(log_thread);
    let outcome = recover(&options.log_dir, &options.source_names).unwrap();
    assert!(outcome.is_none(), "nothing of it was served");
    assert!(!options.log_dir.log_path(1).exists());

    let mut log_thread = create_anonymous(&options, vec![reading_back]);
    assert_eq!(append_all(&mut log_thread, &before), [false, false]);
    m1.assembler.set_before_start(false);
    let begins = m1.assembler.take_batch().unwrap();
    log_thread.move_source(&begins).unwrap();
    log_thread.commit().unwrap();
    drop(log_thread);
    let mut log_thread = resume(&options);
    // M2's copies of transactions before M1's start are not new.
    let copies = m2.deliver(&[insert(80, 1), insert(80, 2), insert(80, 3)]);
    assert_eq!(append_all(&mut log_thread, &copies), [false, false, true]);
}

/// Another server answers at the address of M1, and has copies of what M1 has sent, and older
/// transactions.
#[test]
fn path_that_is_added_is_recovered_at_any_record() {
    let dir = tempfile::tempdir().unwrap();
    let whole = options_for(dir.path());
    let mut log_thread = create_anonymous(&whole, Vec::new());
    let sent: Vec<_> = (1..=3).map(|number| insert(80, number)).collect();
    assert_eq!(
        append_all(&mut log_thread, &source(0).deliver(&sent)),
        [true; 3]
    );
    log_thread.commit().unwrap();
    let path = log_thread.paths().add(NewPath {
        name: "m0@other".into(),
        before: vec![(80, 2)],
    });
    assert_eq!(usize::from(path), whole.source_names.len());
    assert_eq!(log_thread.paths().number_of("m0@other"), Some(path));
    log_thread.add_paths().unwrap();
    let other: Vec<_> = [8, 9, 1, 2, 3, 4].map(|number| insert(80, number)).into();
    let batch = || source(path).deliver(&other);
    let is_new = append_all(&mut log_thread, &batch());
    assert_eq!(is_new, [false, false, false, false, false, true]);
    log_thread.commit().unwrap();
    drop(log_thread);
    let expected: Vec<String> = (1..=4)
        .map(|number| format!("insert into t values ({number})"))
        .collect();
    assert_eq!(statements(&whole), expected);

    let index = fs::read(whole.log_dir.index_path(2)).unwrap();
    let records = index.len() / RECORD_LEN;
    for cut in records - other.len()..=records {
        let dir = tempfile::tempdir().unwrap();
        let options = options_for(dir.path());
        for entry in fs::read_dir(&whole.log_dir.dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, options.log_dir.dir.join(path.file_name().unwrap())).unwrap();
            }
        }
        fs::write(options.log_dir.durable_path(), []).unwrap();
        let index = index.get(..cut * RECORD_LEN).unwrap();
        fs::write(options.log_dir.index_path(2), index).unwrap();
        let mut log_thread = resume(&options);
        let number = log_thread.paths().number_of("m0@other");
        assert_eq!(number, Some(path), "cut at record {cut}");
        let done = log_thread.log().state().sources[usize::from(path)].clone();
        let batch = batch();
        for transaction in &batch.transactions {
            if transaction.source_offset > done.position.offset {
                log_thread.append(&batch, transaction).unwrap();
            }
        }
        log_thread.commit().unwrap();
        drop(log_thread);
        assert_eq!(statements(&options), expected, "cut at record {cut}");
    }
}
