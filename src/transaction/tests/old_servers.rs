//! Events in files of MySQL before 5.6.

use super::*;

fn source(version: &str) -> Source {
    Source::of(false, format(version), make::keeping(&[]), SPILL_NEVER)
}

fn format(version: &str) -> Arc<FormatDescription> {
    let format = FormatDescription {
        server_version: version.to_owned(),
        created: 0,
        post_header_lengths: vec![8; 27],
        checksum: Checksum::None,
    };
    Arc::new(format)
}

fn plain(events: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let events = events.iter();
    events.map(|event| make::without_checksum(event)).collect()
}

fn v1_rows(ends_statement: bool) -> Vec<u8> {
    let body = [
        &[1, 0, 0, 0, 0, 0, u8::from(ends_statement), 0, 1, 1][..],
        &[0; 9],
    ]
    .concat();
    make::event(EventType::WRITE_ROWS_V1, 86, &body)
}

/// Every transaction has a BEGIN and an end, also rows that MySQL 5.1 logged without them.
#[test]
fn rows_without_begin_become_a_transaction() {
    let group = [
        make::table_map(86, 1, "test"),
        v1_rows(false),
        v1_rows(true),
    ];
    let mut source = source("5.1.43-log");
    source.events(&plain(&group)).unwrap();
    source.events(&plain(&group)).unwrap();
    let taken = source.taken();
    assert_eq!(taken.len(), 2);
    for events in &taken {
        let expected = [
            "BEGIN",
            "Table_map",
            "Write_rows_v1",
            "Write_rows_v1",
            "COMMIT",
        ];
        assert_eq!(outline(events), expected);
    }
    // Later versions write both, so there it means that reading began inside a transaction.
    let mut source = self::source("5.5.59-log");
    let error = source.events(&plain(&group)).unwrap_err();
    assert!(
        matches!(error, TransactionError::OutsideTransaction { .. }),
        "{error}"
    );
}

#[test]
fn user_variable_without_flags_gets_them() {
    let mut body = vec![1, 0, 0, 0, b'x', 0, 2, 0x3f, 0, 0, 0, 8, 0, 0, 0];
    body.extend_from_slice(&(-4i64).to_le_bytes());
    let with_flags = [&body[..], &[0]].concat();
    let statement = make::query(86, "test", "insert into t values (@x)");
    let transaction = |body: &[u8]| {
        let mut source = source("5.0.86-log");
        let variable = make::event(EventType::USER_VAR, 86, body);
        source
            .events(&plain(&[variable, statement.clone()]))
            .unwrap();
        let batch = source.assembler.take_batch().unwrap();
        let events = make::split(&bytes(&batch, &batch.transactions[0]));
        (batch.transactions[0].identity, events)
    };
    let (identity, events) = transaction(&body);
    assert_eq!(event::body(&events[0], true), with_flags);
    assert_eq!((identity, events), transaction(&with_flags));
}

#[test]
fn unsupported_events_are_refused_with_the_version() {
    let insert_id = make::plain(EventType::INTVAR, 86);
    let old_rows = make::plain(EventType::PRE_GA_WRITE_ROWS, 86);
    for (version, event) in [("5.0.46-log", insert_id), ("5.1.17-beta", old_rows)] {
        let error = source(version).events(&plain(&[event])).unwrap_err();
        assert!(
            matches!(&error, TransactionError::Unsupported { version: found, .. } if found == version),
            "{error}"
        );
        assert!(error.to_string().contains(version), "{error}");
    }
}

/// Files of MySQL 5.5 that a server with GTIDs still holds.
#[test]
fn transaction_without_gtid_is_refused_where_the_source_has_gtids() {
    let mut source = Source::of(true, format("5.5.59-log"), make::keeping(&[]), SPILL_NEVER);
    let statement = make::query(86, "test", "create table t (a int)");
    let error = source.events(&plain(&[statement])).unwrap_err();
    assert!(error.to_string().contains("5.5.59-log"), "{error}");
}
