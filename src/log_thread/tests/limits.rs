//! Transactions and sources that do not fit into this log.

use std::fs;

use super::read_back::transactions;
use super::*;
use crate::relay_log::WriteError;

fn append_all(log_thread: &mut LogThread, batch: &TransactionBatch) -> Result<(), AppendError> {
    for transaction in &batch.transactions {
        log_thread.append(batch, transaction)?;
    }
    Ok(())
}

fn small(flavor: Flavor, number: u64) -> Vec<Vec<u8>> {
    group(flavor, 80, number, "", Shape::Small)
}

/// A source of the other flavor must not leave its format description in this log.
#[test]
fn source_of_the_other_flavor_changes_nothing() {
    for (flavor, other) in [
        (Flavor::MySql, Flavor::MariaDb),
        (Flavor::MariaDb, Flavor::MySql),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path());
        let mut log_thread = create(&options, flavor);
        let batch = TestSource::new(0, other).deliver(&[small(other, 1)]);
        let error = append_all(&mut log_thread, &batch).unwrap_err();
        assert!(!matches!(error, AppendError::Log(_)), "{error}");
        let batch = TestSource::new(1, flavor).deliver(&[small(flavor, 2)]);
        append_all(&mut log_thread, &batch).unwrap();
        log_thread.close().unwrap();
        assert_eq!(options.log_dir.read_list().unwrap(), [1]);
        assert_eq!(transactions(&options.log_dir).len(), 1);
        drop(log_thread);
        resume(&options);
    }
}

fn with_lengths(lengths: Vec<u8>) -> FormatDescription {
    FormatDescription {
        post_header_lengths: lengths,
        ..(*format(Flavor::MySql)).clone()
    }
}

/// New event types of a newer source need a format description that has them, and so do types for
/// which the log's own has no length yet.
#[test]
fn formats_grow_in_a_new_file_and_never_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let empty = Executed::empty(Flavor::MySql);
    // After the types of MySQL 5.6, which every file of the relay has.
    let with_more = |more: &[u8]| with_lengths([&[8; 35], more].concat());
    let own = with_more(&[8, 8, 0, 8]);
    let mut log_thread = LogThread::create(options.clone(), &own, empty, Vec::new()).unwrap();
    let mut source = TestSource::new(0, Flavor::MySql);
    let mut number = 0;
    let mut append = |log_thread: &mut LogThread, lengths: &[u8]| {
        number += 1;
        let mut batch = source.deliver(&[small(Flavor::MySql, number)]);
        batch.format = Arc::new(with_more(lengths));
        append_all(log_thread, &batch)
    };
    append(&mut log_thread, &[8, 8, 0]).unwrap();
    assert_eq!(
        log_thread.log().published().file,
        1,
        "an older source's format fits"
    );
    append(&mut log_thread, &[8, 8, 7]).unwrap();
    assert_eq!(
        log_thread.log().published().file,
        2,
        "a type without a length before"
    );
    append(&mut log_thread, &[0, 8, 7, 8, 9]).unwrap();
    assert_eq!(
        log_thread.log().published().file,
        3,
        "a longer list of types"
    );
    append(&mut log_thread, &[8, 8, 7, 8, 9]).unwrap();
    append(&mut log_thread, &[8]).unwrap();
    assert_eq!(log_thread.log().published().file, 3);
    let error = append(&mut log_thread, &[8, 8, 6]).unwrap_err();
    assert!(
        matches!(
            error,
            AppendError::Refused(Refusal::Write(WriteError::Format { .. }))
        ),
        "{error}"
    );
    log_thread.close().unwrap();
    let head = reader::FileHead::read(&options.log_dir.log_path(3)).unwrap();
    assert_eq!(head.format, with_more(&[8, 8, 7, 8, 9]));
    assert_eq!(transactions(&options.log_dir).len(), 5);
}

/// A file of MySQL 5.5 lists fewer event types than the relay writes, and its version has no
/// checksums.
#[test]
fn file_with_events_of_mysql_5_5_is_described_completely() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let old = FormatDescription {
        server_version: "5.5.59-log".to_owned(),
        created: 7,
        checksum: Checksum::None,
        ..with_lengths(vec![8; 27])
    };
    let new = FormatDescription {
        server_version: "5.6.24-log".to_owned(),
        ..with_lengths([&[8; 27][..], &[0, 0, 10, 10, 10, 25, 25, 0]].concat())
    };
    let mut log_thread =
        LogThread::create(options.clone(), &old, Executed::Anonymous, Vec::new()).unwrap();
    let mut source = anonymous::source(0);
    for (number, format, file) in [(1, &old, 1), (2, &new, 2), (3, &new, 2), (4, &old, 3)] {
        let mut batch = source.deliver(&[anonymous::insert(80, number)]);
        batch.format = Arc::new(format.clone());
        append_all(&mut log_thread, &batch).unwrap();
        assert_eq!(log_thread.log().published().file, file, "{number}");
    }
    log_thread.close().unwrap();
    for (file, version) in [
        (1, "5.6.5-binrelay"),
        (2, "5.6.24-log"),
        (3, "5.6.5-binrelay"),
    ] {
        let head = reader::FileHead::read(&options.log_dir.log_path(file)).unwrap();
        assert_eq!(head.format.server_version, version);
        assert_eq!(head.format.checksum, Checksum::Crc32);
        assert_eq!(
            (head.format.created, head.format.post_header_lengths.len()),
            (0, 35)
        );
    }
    drop(log_thread);
    resume(&options);
}

/// An upgraded server has more event types, so its format description is longer, and has another
/// length for itself.
#[test]
fn upgraded_source_begins_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let empty = Executed::empty(Flavor::MySql);
    let version = |types: usize| {
        let mut lengths = vec![8; types];
        lengths[14] = 57 + types as u8;
        with_lengths(lengths)
    };
    let mut log_thread =
        LogThread::create(options.clone(), &version(41), empty, Vec::new()).unwrap();
    let mut source = TestSource::new(0, Flavor::MySql);
    for (number, types, file) in [(1, 41, 1), (2, 42, 2), (3, 41, 2), (4, 42, 2)] {
        let mut batch = source.deliver(&[small(Flavor::MySql, number)]);
        batch.format = Arc::new(version(types));
        append_all(&mut log_thread, &batch).unwrap();
        assert_eq!(log_thread.log().published().file, file, "{types} types");
    }
    log_thread.close().unwrap();
    let head = reader::FileHead::read(&options.log_dir.log_path(2)).unwrap();
    assert_eq!(
        head.format.post_header_lengths,
        version(42).post_header_lengths
    );
}

#[test]
fn transaction_too_large_for_any_file_is_refused_and_the_log_continues() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut log_thread = create(&options, Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    let mut batch = source.deliver(&[small(Flavor::MySql, 1)]);
    let whole = batch.transactions[0].rest.clone();
    for len in [u32::MAX as usize - 60_000, u32::MAX as usize, 1 << 40] {
        batch.transactions[0].rest = 0..len;
        let error = append_all(&mut log_thread, &batch).unwrap_err();
        assert!(
            matches!(
                error,
                AppendError::Refused(Refusal::Write(WriteError::TooLarge { .. }))
            ),
            "{len}: {error}"
        );
    }
    batch.transactions[0].rest = whole;
    append_all(&mut log_thread, &batch).unwrap();
    log_thread.close().unwrap();
    assert_eq!(transactions(&options.log_dir).len(), 1);
}

/// The head of the file counts, too: here a set with many gaps.
#[test]
fn long_head_leaves_less_space_for_transactions() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut purged = crate::gtid::GtidSet::new();
    for gno in 1..20_000 {
        purged.insert(gtid(9, "", 2 * gno));
    }
    let format = format(Flavor::MySql);
    let purged = Executed::MySql(purged);
    let mut log_thread = LogThread::create(options, &format, purged, Vec::new()).unwrap();
    let mut batch = TestSource::new(0, Flavor::MySql).deliver(&[small(Flavor::MySql, 1)]);
    batch.transactions[0].rest = 0..u32::MAX as usize - 200_000;
    let error = append_all(&mut log_thread, &batch).unwrap_err();
    assert!(
        matches!(
            error,
            AppendError::Refused(Refusal::Write(WriteError::TooLarge { .. }))
        ),
        "{error}"
    );
}

/// The start of a source is stored, even if it never sent anything.
#[test]
fn start_without_file_survives_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut start = SourceProgress::default();
    start.gtid_position.set("0-1-5".parse().unwrap());
    let format = format(Flavor::MariaDb);
    let empty = Executed::empty(Flavor::MariaDb);
    let sources = vec![SourceProgress::default(), start.clone()];
    drop(LogThread::create(options.clone(), &format, empty, sources).unwrap());
    for _ in 0..2 {
        let log_thread = resume(&options);
        assert_eq!(log_thread.log().state().sources[1], start);
        assert_eq!(
            log_thread.log().state().sources[0],
            SourceProgress::default()
        );
    }
}

#[test]
fn long_names_survive_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    let name: Arc<str> = "m".repeat(150).into();
    options.source_names[2] = name.clone();
    let mut log_thread = create(&options, Flavor::MySql);
    let mut batch = TestSource::new(2, Flavor::MySql).deliver(&[small(Flavor::MySql, 1)]);
    batch.source_end.file = "b".repeat(511).into();
    append_all(&mut log_thread, &batch).unwrap();
    log_thread.close().unwrap();
    let progress = recovered(&options).sources[&name].clone();
    assert_eq!(progress.position.file, batch.source_end.file);
    assert_eq!(progress.position.offset, batch.source_end.offset);
}

/// Without the list the served files are unknown: none may be overwritten.
#[test]
fn files_that_the_list_does_not_name_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let mut log_thread = create(&options, Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    append_all(&mut log_thread, &source.deliver(&[small(Flavor::MySql, 1)])).unwrap();
    log_thread.close().unwrap();
    drop(log_thread);
    let mut log_thread = resume(&options);
    append_all(&mut log_thread, &source.deliver(&[small(Flavor::MySql, 2)])).unwrap();
    log_thread.close().unwrap();
    drop(log_thread);
    for list in [None, Some(""), Some("./relay-bin.000001\n")] {
        match list {
            None => fs::remove_file(options.log_dir.list_path()).unwrap(),
            Some(text) => fs::write(options.log_dir.list_path(), text).unwrap(),
        }
        let error = recover(&options.log_dir, &options.source_names)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("relay-bin.00000") && error.contains("restore"),
            "{error}"
        );
    }
    options.log_dir.write_list(&[1, 2]).unwrap();
    assert_eq!(recovered(&options).files, [1, 2]);
}

#[test]
fn file_numbers_beyond_32_bits_are_not_accepted() {
    let log_dir = options(Path::new("/x")).log_dir;
    assert_eq!(
        log_dir.file_number("relay-bin.4294967295"),
        Some(u32::MAX.into())
    );
    assert_eq!(log_dir.file_number("relay-bin.4294967296"), None);
    assert_eq!(log_dir.file_number("relay-bin.18446744073709551615"), None);
}

/// Large events are copied in pieces and written before the commit. After a kill in between, the
/// whole transaction is truncated.
#[test]
fn large_transaction_is_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let rows = [1 << 20, (1 << 20) - 33, 6 << 20, 40].map(|len| make::rows(80, 1, true, len));
    let mut rest = vec![make::query(80, "", "BEGIN"), make::table_map(80, 1, "test")];
    for rows in rows {
        rest.push(rows);
        rest.push(make::table_map(80, 1, "test"));
    }
    rest.push(make::xid(80));
    let large = make::mysql_group(80, gtid(80, "", 2), clock(0, 2), rest.clone());
    let mut log_thread = create(&options, Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    append_all(&mut log_thread, &source.deliver(&[small(Flavor::MySql, 1)])).unwrap();
    log_thread.commit().unwrap();
    let end = log_thread.log().published();
    let batch = source.deliver(&[large]);
    assert!(batch.transactions[0].spill.is_some());
    append_all(&mut log_thread, &batch).unwrap();
    assert_eq!(log_thread.log().published(), end);
    let len = |file| fs::metadata(options.log_dir.log_path(file)).unwrap().len();
    assert!(len(1) > end.offset, "a part is already written");
    drop(log_thread);
    let mut log_thread = resume(&options);
    assert_eq!(transactions(&options.log_dir).len(), 1);
    append_all(&mut log_thread, &batch).unwrap();
    log_thread.close().unwrap();
    let found = transactions(&options.log_dir);
    let expected: Vec<_> = rest
        .iter()
        .map(|event| super::read_back::without_position(event))
        .collect();
    assert!(found.len() == 2 && found[1].rest == expected);
    assert_eq!(len(2), recovered(&options).end.offset);
}
