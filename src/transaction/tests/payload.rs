//! Compressed transactions under a filter.

use super::*;
use crate::filter::RuleLists;
use crate::flavor::Flavor;

const ZSTD: u8 = 0;

fn compressed(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// A transaction whose one event is `payload`.
fn group(payload: Vec<u8>) -> Vec<Vec<u8>> {
    make::mysql_group(86, gtid(1, "", 1), clock(0, 1), vec![payload])
}

fn group_of(events: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let bytes = make::payload_events(events);
    group(make::payload(
        86,
        ZSTD,
        bytes.len() as u64,
        &compressed(&bytes),
    ))
}

/// The filtered transaction: whole, spilled and in parts, always the same.
fn filtered(sent: &[Vec<u8>]) -> Result<(Vec<Vec<u8>>, bool), TransactionError> {
    filtered_by(&make::keeping(&["test"]), sent)
}

fn filtered_by(
    filter: &Filter,
    sent: &[Vec<u8>],
) -> Result<(Vec<Vec<u8>>, bool), TransactionError> {
    let mut results = Vec::new();
    for (spill_size, parts) in [(SPILL_NEVER, 0), (100, 0), (SPILL_NEVER, 77), (100, 77)] {
        let format = make::mysql_format(Checksum::Crc32);
        let mut source = Source::with(format, filter.clone(), spill_size);
        source.event(&sent[0])?;
        for event in &sent[1..] {
            if parts == 0 {
                source.event(event)?;
                continue;
            }
            event
                .chunks(parts)
                .try_for_each(|part| source.assembler.large_part(part))?;
            source.assembler.end_large(500)?;
        }
        assert!(!source.assembler.is_in_transaction());
        let batch = source.assembler.take_batch().unwrap();
        let transaction = &batch.transactions[0];
        let events = make::split(&bytes(&batch, transaction));
        results.push((events, transaction.emptied));
    }
    let first = results.swap_remove(0);
    for result in &results {
        assert_eq!(*result, first);
    }
    Ok(first)
}

fn refused(sent: &[Vec<u8>], word: &str) {
    let error = filtered(sent).unwrap_err().to_string();
    assert!(error.contains(word), "{error:?} does not say {word:?}");
}

#[test]
fn payload_with_everything_kept_is_unchanged() {
    let events = row_transaction(1, &["test", "test"]);
    let sent = group_of(&events[1..]);
    assert_eq!(filtered(&sent).unwrap(), (sent, false));
}

#[test]
fn kept_events_of_a_payload_become_plain_events() {
    let whole = row_transaction(1, &["test", "x"]);
    let sent = group_of(&whole[1..]);
    let (events, emptied) = filtered(&sent).unwrap();
    assert!(!emptied);
    let expected = ["Gtid", "BEGIN", "Table_map", "Write_rows", "Xid"];
    assert_eq!(outline(&events), expected);
    for event in &events {
        let size = EventHeader::parse(event).unwrap().event_size;
        assert_eq!(size as usize, event.len());
    }
    // The same as without compression, except for the checksums, which are computed later.
    let mut plain = Source::filtered(make::mysql_format(Checksum::Crc32));
    plain.events(&whole).unwrap();
    let body = |event: &Vec<u8>| event[..event.len() - 4].to_vec();
    let plain: Vec<_> = plain.taken()[0][1..].iter().map(body).collect();
    let found: Vec<_> = events[1..].iter().map(body).collect();
    assert_eq!(found, plain);
}

#[test]
fn payload_with_nothing_kept_becomes_an_empty_transaction() {
    let sent = group_of(&row_transaction(1, &["x", "y"])[1..]);
    let (events, emptied) = filtered(&sent).unwrap();
    assert!(emptied);
    assert_eq!(outline(&events), ["Gtid", "BEGIN", "Xid"]);
}

#[test]
fn large_events_in_a_payload_are_copied_in_pieces() {
    let mut events = vec![make::query(86, "", "BEGIN")];
    for (id, database) in [(1, "x"), (2, "test")] {
        events.push(make::table_map(86, id, database));
        events.push(make::rows(86, id, true, 300_000));
    }
    events.push(make::xid(86));
    let (found, _) = filtered(&group_of(&events)).unwrap();
    assert_eq!(found.len(), 5);
    let (kept, sent) = (&found[3], &events[4]);
    assert_eq!(kept[..kept.len() - 4], sent[..sent.len() - 4]);
}

#[test]
fn uncompressed_payloads_and_statements_in_payloads_are_filtered() {
    let events = [
        make::query(86, "", "BEGIN"),
        make::plain(EventType::INTVAR, 86),
        make::query(86, "x", "insert 1"),
        make::query(86, "test", "insert 2"),
        make::query(86, "", "COMMIT"),
    ];
    let bytes = make::payload_events(&events);
    let sent = group(make::payload(86, 255, bytes.len() as u64, &bytes));
    let (found, _) = filtered(&sent).unwrap();
    assert_eq!(outline(&found), ["Gtid", "BEGIN", "insert 2", "COMMIT"]);
}

/// Without a filter the payload is not read; with one, damage is always detected.
#[test]
fn damaged_payloads_are_refused() {
    let events = &row_transaction(1, &["test", "x"])[1..];
    let bytes = make::payload_events(events);
    let len = bytes.len() as u64;
    let stream = compressed(&bytes);
    for cut in 0..stream.len() {
        let sent = group(make::payload(86, ZSTD, len, &stream[..cut]));
        assert!(filtered(&sent).is_err(), "stream cut at {cut}");
    }
    for cut in 0..bytes.len() {
        let sent = group(make::payload(86, 255, len, &bytes[..cut]));
        assert!(filtered(&sent).is_err(), "events cut at {cut}");
        let sent = group(make::payload(86, 255, cut as u64, &bytes[..cut]));
        assert!(filtered(&sent).is_err(), "events and size cut at {cut}");
    }
    let payload = make::payload(86, ZSTD, len, &stream);
    for cut in HEADER_LEN..payload.len() - 4 {
        let kind = EventType::TRANSACTION_PAYLOAD;
        let sent = group(make::event(kind, 86, &payload[HEADER_LEN..cut]));
        assert!(filtered(&sent).is_err(), "event cut at {cut}");
    }
    refused(
        &group(make::payload(86, 7, len, &stream)),
        "compression type at byte 19 is 7",
    );
    refused(
        &group(make::payload(86, ZSTD, len - 1, &stream)),
        "its header says",
    );
    refused(
        &group(make::payload(86, ZSTD, len + 1, &stream)),
        "its header says",
    );
    refused(&group(make::payload(86, ZSTD, 5 << 32, &stream)), "4 GiB");
    let junk = [stream.as_slice(), b"junk"].concat();
    refused(&group(make::payload(86, ZSTD, len, &junk)), "decompressed");
}

/// A megabyte that unfolds to gigabytes costs neither memory nor time.
#[test]
fn payload_larger_than_its_header_says_is_refused_at_that_size() {
    let mut head = make::without_checksum(&make::rows(86, 1, true, 8));
    event::set_event_size(&mut head, 3 << 30).unwrap();
    let begin = [make::query(86, "", "BEGIN"), make::table_map(86, 1, "x")];
    let mut bytes = make::payload_events(&begin);
    bytes.extend(head);
    bytes.resize(32 << 20, 0);
    let announced = 1 << 20;
    refused(
        &group(make::payload(86, ZSTD, announced, &compressed(&bytes))),
        "its header says 1048576 bytes",
    );
    // Nor is a size believed that is not there.
    refused(
        &group(make::payload(86, ZSTD, 4 << 30, &compressed(&bytes))),
        "4 GiB",
    );
    refused(
        &group(make::payload(86, ZSTD, 7 << 29, &compressed(&bytes))),
        "is truncated",
    );
}

#[test]
fn events_not_allowed_in_a_payload_are_refused() {
    let begin = || make::query(86, "", "BEGIN");
    let inner = group_of(&[begin(), make::xid(86)]).remove(1);
    for alien in [
        inner,
        make::mysql_gtid(86, gtid(1, "", 2), clock(1, 2), 50),
        make::plain(EventType::ROTATE, 86),
        make::plain(EventType::PREVIOUS_GTIDS, 86),
    ] {
        refused(
            &group_of(&[begin(), alien, make::xid(86)]),
            "none is allowed",
        );
    }
    let after_the_end = [begin(), make::xid(86), make::query(86, "x", "insert")];
    refused(&group_of(&after_the_end), "none is allowed");
    refused(&group_of(&[begin()]), "does not end");
    refused(&group_of(&[]), "does not end");
}

/// Whether the filter keeps everything or nothing, the prepared XID is recorded.
#[test]
fn xa_transactions_in_a_payload_are_recorded() {
    for (database, emptied) in [("test", false), ("x", true)] {
        let events = make::xa_prepared(86, gtid(1, "", 1), "a", database);
        let mut source = Source::filtered(make::mysql_format(Checksum::Crc32));
        source.events(&group_of(&events[1..])).unwrap();
        let batch = source.assembler.take_batch().unwrap();
        let transaction = &batch.transactions[0];
        let prepared = Some(Half::XaPrepared(b"x'61',x'',1".to_vec()));
        assert_eq!(
            (&transaction.half, transaction.emptied),
            (&prepared, emptied)
        );
        let events = make::split(&bytes(&batch, transaction));
        match emptied {
            true => assert_eq!(outline(&events), ["Gtid", "BEGIN", "COMMIT"]),
            false => assert_eq!(events.len(), 2, "unchanged"),
        }
    }
}

fn rules(do_table: &[&str], rewrite_db: &[(&str, &str)]) -> Filter {
    let rewrites = rewrite_db.iter();
    let lists = RuleLists {
        do_table: do_table.iter().map(|name| (*name).to_owned()).collect(),
        rewrite_db: rewrites.map(|(a, b)| ((*a).into(), (*b).into())).collect(),
        ..RuleLists::default()
    };
    Filter::new(lists, Flavor::MySql, false)
}

/// The new names of "test" have one, two and many letters: events become shorter and longer.
#[test]
fn table_rules_and_rewrites_apply_in_a_payload_too() {
    let long = "n".repeat(60);
    let filters = [
        rules(&["test.t"], &[]),
        rules(&[], &[("test", "a")]),
        rules(&[], &[("test", &long), ("x", "y")]),
        rules(&["ab.t"], &[("test", "ab")]),
    ];
    let insert = |len| format!("insert into t values ('{}')", "v".repeat(len));
    let events = [
        make::query(86, "", "BEGIN"),
        make::query(86, "test", &insert(9)),
        make::query(86, "x", &insert(9)),
        make::query(86, "test", "insert into u values (1)"),
        make::query(86, "test", &insert(200_000)),
        make::table_map(86, 1, "test"),
        make::table_map(86, 2, "x"),
        make::rows(86, 1, false, 50),
        make::rows(86, 2, true, 200_000),
        make::query(86, "", "COMMIT"),
    ];
    let whole = make::mysql_group(86, gtid(1, "", 1), clock(0, 1), events.to_vec());
    // Without checksums, which are computed later.
    let body = |event: &Vec<u8>| event[..event.len() - 4].to_vec();
    for filter in filters {
        let format = make::mysql_format(Checksum::Crc32);
        let mut source = Source::with(format, filter.clone(), SPILL_NEVER);
        source.events(&whole).unwrap();
        let plain = source.taken().remove(0);
        assert_ne!(plain, whole, "{filter:?}");
        let (found, emptied) = filtered_by(&filter, &group_of(&whole[1..])).unwrap();
        assert!(!emptied);
        assert_eq!(outline(&found), outline(&plain), "{filter:?}");
        let plain: Vec<_> = plain[1..].iter().map(body).collect();
        let found: Vec<_> = found[1..].iter().map(body).collect();
        assert!(found == plain, "{filter:?}");
    }
}

#[test]
fn statements_with_uncertain_tables_are_refused_in_a_payload_too() {
    let filter = rules(&["test.t"], &[]);
    let events = [
        make::query(86, "", "BEGIN"),
        make::query(86, "test", "insert into u values (1)"),
        make::query(86, "test", "insert into 'never ends"),
        make::query(86, "", "COMMIT"),
    ];
    let plain = make::mysql_group(86, gtid(1, "", 1), clock(0, 1), events.to_vec());
    for sent in [group_of(&plain[1..]), plain] {
        let mut source = Source::with(
            make::mysql_format(Checksum::Crc32),
            filter.clone(),
            SPILL_NEVER,
        );
        let error = source.events(&sent).unwrap_err().to_string();
        assert!(
            error.contains("the table rules cannot be evaluated"),
            "{error}"
        );
        assert!(error.contains("never ends"), "{error}");
        assert!(
            source
                .assembler
                .take_batch()
                .is_none_or(|batch| batch.transactions.is_empty())
        );
    }
}
