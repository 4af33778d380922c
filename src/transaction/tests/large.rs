//! Spilling, and events that arrive in parts: the bytes are the same as in memory and in one piece.

use proptest::prelude::*;

use super::*;

/// One kind of change in a transaction of the property test.
#[derive(Debug, Clone)]
enum Change {
    Rows {
        tables: Vec<bool>,
        len: usize,
    },
    Statement {
        kept: bool,
        prepared: bool,
        len: usize,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let len = || prop_oneof![1usize..300, 30_000usize..90_000];
    prop_oneof![
        (prop::collection::vec(any::<bool>(), 1..5), len())
            .prop_map(|(tables, len)| Change::Rows { tables, len }),
        (any::<bool>(), any::<bool>(), len()).prop_map(|(kept, prepared, len)| {
            Change::Statement {
                kept,
                prepared,
                len,
            }
        }),
    ]
}

fn events(change: &Change) -> Vec<Vec<u8>> {
    let name = |kept: bool| if kept { "test" } else { "other" };
    match change {
        Change::Rows { tables, len } => {
            let ids = || (1u8..).zip(tables);
            let maps = ids().map(|(id, kept)| make::table_map(86, id, name(*kept)));
            let last = tables.len() as u8;
            let rows = ids().map(|(id, _)| make::rows(86, id, id == last, *len));
            let annotation = make::plain(EventType::ROWS_QUERY, 86);
            [annotation].into_iter().chain(maps).chain(rows).collect()
        }
        Change::Statement {
            kept,
            prepared,
            len,
        } => {
            let query = make::query(86, name(*kept), &"x".repeat(*len));
            match prepared {
                true => vec![make::plain(EventType::INTVAR, 86), query],
                false => vec![query],
            }
        }
    }
}

/// Feeds an event in parts whose lengths repeat `parts`.
pub(super) fn feed_in_parts(
    source: &mut Source,
    event: &[u8],
    parts: &[usize],
) -> Result<(), TransactionError> {
    let mut left = event;
    for len in parts.iter().cycle() {
        let (part, rest) = left.split_at((*len).min(left.len()));
        source.assembler.large_part(part)?;
        left = rest;
        if left.is_empty() {
            break;
        }
    }
    source.position += event.len() as u64;
    source.assembler.end_large(source.position)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is kept and dropped: in memory, spilled, and in parts the bytes are the same.
    #[test]
    fn memory_spill_and_parts_agree(
        changes in prop::collection::vec(change(), 1..6),
        spill_size in 1usize..60_000,
        parts in prop::collection::vec(1usize..100_000, 1..4),
        checksummed in any::<bool>(),
    ) {
        let mut rest = vec![make::query(86, "", "BEGIN")];
        rest.extend(changes.iter().flat_map(events));
        rest.push(make::xid(86));
        let checksum = if checksummed { Checksum::Crc32 } else { Checksum::None };
        let missing = if checksummed { 0 } else { 4 };
        let rest_len: u64 = rest.iter().map(|event| event.len() as u64 - missing).sum();
        let mut sent = vec![make::mysql_gtid(86, gtid(1, "", 5), clock(0, 1), rest_len - missing)];
        sent.append(&mut rest);
        if !checksummed {
            sent = sent.iter().map(|event| without_checksum(event)).collect();
        }
        let source = |spill_size| Source::new(make::mysql_format(checksum), &["test"], spill_size);
        let (mut whole, mut spilled) = (source(SPILL_NEVER), source(spill_size));
        let (mut in_parts, mut both) = (source(SPILL_NEVER), source(spill_size));
        whole.events(&sent).unwrap();
        spilled.events(&sent).unwrap();
        for source in [&mut in_parts, &mut both] {
            source.event(&sent[0]).unwrap();
            for event in &sent[1..] {
                feed_in_parts(source, event, &parts).unwrap();
            }
        }
        let expected = whole.taken();
        prop_assert_eq!(&spilled.taken(), &expected);
        prop_assert_eq!(&in_parts.taken(), &expected);
        prop_assert_eq!(&both.taken(), &expected);
        let outline = outline(&expected[0]);
        prop_assert!(outline.first().unwrap() == "Gtid" && outline.last().unwrap() == "Xid");
    }
}

fn big_transaction(database: &str, len: usize) -> Vec<Vec<u8>> {
    let events = vec![
        make::query(86, "", "BEGIN"),
        make::table_map(86, 1, database),
        make::rows(86, 1, true, len),
        make::xid(86),
    ];
    make::mysql_group(86, gtid(1, "", 5), clock(0, 1), events)
}

#[test]
fn large_event_split_anywhere_gives_the_same_bytes() {
    for database in ["test", "other"] {
        let group = big_transaction(database, 200_000);
        let mut whole = Source::filtered(make::mysql_format(Checksum::Crc32));
        whole.events(&group).unwrap();
        let expected = whole.taken();
        let head = 72 * 1024;
        let near = [0, 1, 3, 4, 5, 18, 19, 20, 26, 27].into_iter();
        let around = [head - 1, head, head + 1].into_iter();
        let end = group[3].len();
        let last = (end - 6..end).chain([end]);
        for first in near.chain(around).chain(last) {
            let mut source = Source::new(make::mysql_format(Checksum::Crc32), &["test"], 1000);
            source.events(&group[..3]).unwrap();
            feed_in_parts(&mut source, &group[3], &[first, end]).unwrap();
            source.event(&group[4]).unwrap();
            assert!(source.taken() == expected, "first part of {first}");
        }
        for len in [1, 2, 3, 4, 5, 19, 4096, 1 << 20] {
            let mut source = Source::filtered(make::mysql_format(Checksum::Crc32));
            source.events(&group[..3]).unwrap();
            feed_in_parts(&mut source, &group[3], &[len]).unwrap();
            source.event(&group[4]).unwrap();
            assert!(source.taken() == expected, "parts of {len}");
        }
    }
}

/// The last bytes of a statement in parts are its checksum, not its text.
#[test]
fn keyword_in_parts_ends_a_transaction() {
    let events = vec![
        make::query(86, "", "BEGIN"),
        make::query(86, "test", "insert"),
        make::query(86, "", "COMMIT"),
    ];
    let group = make::mysql_group(86, gtid(1, "", 5), clock(0, 1), events);
    let mut source = Source::mysql();
    source.event(&group[0]).unwrap();
    for event in &group[1..] {
        feed_in_parts(&mut source, event, &[1]).unwrap();
    }
    assert!(!source.assembler.is_in_transaction());
    assert_eq!(source.taken(), [group]);
}

#[test]
fn damaged_large_events_are_refused() {
    let group = big_transaction("test", 100_000);
    for (what, at) in [
        ("type", 4),
        ("rows", 60_000),
        ("checksum", group[3].len() - 2),
    ] {
        let mut damaged = group[3].clone();
        damaged[at] ^= 1;
        let mut source = Source::mysql();
        source.events(&group[..3]).unwrap();
        let error = feed_in_parts(&mut source, &damaged, &[7000]);
        assert!(error.is_err(), "{what}");
        source.assembler.abandon();
        assert!(!source.assembler.is_in_transaction());
    }
}

/// A source that sends more than the header says is stopped at once, not when the disk is full.
#[test]
fn event_longer_than_its_header_says_is_refused_at_once() {
    let group = big_transaction("test", 100_000);
    let mut source = Source::mysql();
    source.events(&group[..3]).unwrap();
    source.assembler.large_part(&group[3]).unwrap();
    let error = source.assembler.large_part(&[0; 10]).unwrap_err();
    assert!(matches!(error, TransactionError::Size { .. }), "{error}");
}

#[test]
fn all_spill_files_are_removed() {
    let mut source = Source::new(make::mysql_format(Checksum::Crc32), &[], 1000);
    let files = |source: &Source| std::fs::read_dir(source.dir.path()).unwrap().count();
    source.events(&big_transaction("test", 5000)).unwrap();
    assert!(source.assembler.has_spilled());
    assert_eq!(files(&source), 1);
    let batch = source.assembler.take_batch().unwrap();
    assert!(batch.bytes.len() < 200 && batch.len() > 5000);
    source.events(&big_transaction("test", 5000)[..4]).unwrap();
    assert_eq!(files(&source), 2);
    source.assembler.abandon();
    assert_eq!(files(&source), 1);
    batch.recycle();
    assert_eq!(files(&source), 0);
}

/// No more than `spill_size` stays in memory.
#[test]
fn memory_of_a_large_transaction_is_bounded() {
    let mut source = Source::new(make::mysql_format(Checksum::Crc32), &[], 100_000);
    let group = big_transaction("test", 3_000_000);
    source.events(&group[..3]).unwrap();
    for part in group[3].chunks(16_384) {
        source.assembler.large_part(part).unwrap();
        assert!(source.assembler.memory_len() <= 100_000);
    }
}

#[test]
fn missing_spool_directory_is_an_error_that_names_it() {
    let mut source = Source::new(make::mysql_format(Checksum::Crc32), &[], 10);
    let dir = source.dir.path().to_owned();
    std::fs::remove_dir(&dir).unwrap();
    let error = source.events(&big_transaction("test", 5000)).unwrap_err();
    assert!(matches!(error, TransactionError::Spill { .. }), "{error}");
    assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
}

#[test]
fn transaction_over_the_configured_limit_is_refused_and_a_smaller_one_is_not() {
    let mut source = Source::mariadb();
    source.assembler.limit_transactions(2_000);
    let group = |number, len: usize| {
        vec![
            make::mariadb_gtid(86, 0, number, 0, None),
            make::query(86, "test", &"x".repeat(len)),
            make::xid(86),
        ]
    };
    source.events(&group(1, 1_500)).unwrap();
    assert_eq!(source.taken().len(), 1);
    let error = source.events(&group(2, 2_000)).unwrap_err();
    assert!(
        matches!(error, TransactionError::OverLimit { max: 2_000 }),
        "{error}"
    );
    assert!(
        error.to_string().contains("raise it and restart binrelay"),
        "{error}"
    );
    // A filter that drops it makes it small.
    let mut source = Source::filtered(make::mariadb_format(Checksum::Crc32));
    source.assembler.limit_transactions(2_000);
    let mut dropped = group(3, 3_000);
    dropped[1] = make::query(86, "other", &"x".repeat(3_000));
    source.events(&dropped).unwrap();
    assert_eq!(source.taken().len(), 1);
    // No limit is higher than that of the format.
    source.assembler.limit_transactions(u64::MAX);
    source.events(&group(4, 5_000)).unwrap();
}
