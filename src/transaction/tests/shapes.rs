//! Every shape of a transaction, in both flavors: where it ends.

use super::*;

fn statement(text: &str) -> Vec<u8> {
    make::query(86, "test", text)
}

/// The events after a MySQL opener.
fn mysql_shapes() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let begin = || make::query(86, "", "BEGIN");
    let plain = |event_type| make::plain(event_type, 86);
    let rows = || [make::table_map(86, 1, "test"), make::rows(86, 1, true, 9)];
    let mut shapes = vec![
        (
            "rows, XID",
            [vec![begin()], rows().to_vec(), vec![make::xid(86)]].concat(),
        ),
        (
            "COMMIT",
            vec![begin(), statement("insert"), statement("COMMIT")],
        ),
        (
            "ROLLBACK",
            vec![begin(), statement("insert"), statement("ROLLBACK")],
        ),
        (
            "savepoints",
            vec![
                begin(),
                statement("SAVEPOINT `a`"),
                statement("insert"),
                statement("ROLLBACK TO `a`"),
                make::xid(86),
            ],
        ),
        ("DDL", vec![statement("create table t (a int)")]),
        (
            "prepared DDL",
            vec![
                plain(EventType::INTVAR),
                plain(EventType::RAND),
                plain(EventType::USER_VAR),
                statement("create function f"),
            ],
        ),
        (
            "CREATE … SELECT",
            [
                vec![
                    begin(),
                    statement("CREATE TABLE t (a int) START TRANSACTION"),
                ],
                rows().to_vec(),
                vec![make::xid(86)],
            ]
            .concat(),
        ),
    ];
    shapes.extend(rarer_mysql_shapes());
    shapes
}

fn rarer_mysql_shapes() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let begin = || make::query(86, "", "BEGIN");
    let plain = |event_type| make::plain(event_type, 86);
    let rows = || [make::table_map(86, 1, "test"), make::rows(86, 1, true, 9)];
    let xa = "X'61',X'',1";
    vec![
        (
            "XA prepare",
            [
                vec![make::query(86, "", &format!("XA START {xa}"))],
                rows().to_vec(),
                vec![
                    make::query(86, "", &format!("XA END {xa}")),
                    make::xa_prepare(86, false, "a"),
                ],
            ]
            .concat(),
        ),
        (
            "XA commit",
            vec![make::query(86, "", &format!("XA COMMIT {xa}"))],
        ),
        (
            "XA rollback",
            vec![make::query(86, "", &format!("XA ROLLBACK {xa}"))],
        ),
        ("payload", vec![plain(EventType::TRANSACTION_PAYLOAD)]),
        ("incident", vec![plain(EventType::INCIDENT)]),
        (
            "empty",
            vec![make::query(86, "", "BEGIN"), make::query(86, "", "COMMIT")],
        ),
        (
            "load data",
            vec![
                begin(),
                plain(EventType::BEGIN_LOAD_QUERY),
                plain(EventType::APPEND_BLOCK),
                statement("load"),
                make::xid(86),
            ],
        ),
    ]
}

#[test]
fn mysql_transactions_end_at_their_last_event() {
    for tag in ["", "blue"] {
        let mut source = Source::mysql();
        let mut groups = Vec::new();
        for (gno, (name, events)) in (1..).zip(mysql_shapes()) {
            let (gtid, clock) = (gtid(1, tag, gno), clock(gno as i64 - 1, gno as i64));
            let group = make::mysql_group(86, gtid, clock, events);
            for (at, event) in (1..).zip(&group) {
                source.event(event).unwrap();
                let open = at < group.len();
                assert_eq!(
                    source.assembler.is_in_transaction(),
                    open,
                    "{name}, event {at}"
                );
            }
            groups.push(group);
        }
        assert_eq!(source.taken(), groups);
    }
}

/// The events after MariaDB's opener, and whether the opener is `standalone`.
fn mariadb_shapes() -> Vec<(&'static str, u8, Vec<Vec<u8>>)> {
    let plain = |event_type| make::plain(event_type, 86);
    let rows = || [make::table_map(86, 1, "test"), make::rows(86, 1, true, 9)];
    vec![
        (
            "rows, XID",
            0,
            [
                vec![plain(EventType::ANNOTATE_ROWS)],
                rows().to_vec(),
                vec![make::xid(86)],
            ]
            .concat(),
        ),
        ("COMMIT", 4, vec![statement("insert"), statement("COMMIT")]),
        ("DDL", 1 | 32, vec![statement("create table t (a int)")]),
        (
            "prepared statement",
            1,
            vec![plain(EventType::USER_VAR), statement("create view")],
        ),
        (
            "CREATE … SELECT",
            0,
            [
                vec![statement("create table t (a int)")],
                rows().to_vec(),
                vec![make::xid(86)],
            ]
            .concat(),
        ),
        (
            "XA prepare",
            64,
            [
                vec![statement("XA START X'61',X'',1")],
                rows().to_vec(),
                vec![
                    statement("XA END X'61',X'',1"),
                    make::xa_prepare(86, false, "a"),
                ],
            ]
            .concat(),
        ),
        (
            "XA commit",
            1 | 128,
            vec![statement("XA COMMIT X'61',X'',1")],
        ),
        ("empty", 4, vec![statement("COMMIT")]),
    ]
}

#[test]
fn mariadb_transactions_end_at_their_last_event() {
    let mut source = Source::mariadb();
    let mut groups = Vec::new();
    for (seq_no, (name, flags2, events)) in (1..).zip(mariadb_shapes()) {
        let mut group = vec![make::mariadb_gtid(86, 0, seq_no, flags2, Some(seq_no))];
        group.extend(events);
        for (at, event) in (1..).zip(&group) {
            source.event(event).unwrap();
            let open = at < group.len();
            assert_eq!(
                source.assembler.is_in_transaction(),
                open,
                "{name}, event {at}"
            );
        }
        groups.push(group);
    }
    let batch = source.assembler.take_batch().unwrap();
    for (seq_no, (group, transaction)) in (1..).zip(groups.iter().zip(&batch.transactions)) {
        assert_eq!(bytes(&batch, transaction), group.concat());
        assert_eq!(transaction.commit_id, Some(seq_no));
        let Identity::MariaDb(gtid) = transaction.identity else {
            panic!("{transaction:?}")
        };
        assert_eq!(
            (gtid.domain_id, gtid.server_id, gtid.seq_no),
            (0, 86, seq_no)
        );
    }
}

/// A filter never changes where a transaction ends, nor leaves one without its opener.
#[test]
fn filtered_transactions_keep_their_boundaries() {
    for database in ["nothing", "test"] {
        let mut source = Source::new(
            make::mysql_format(Checksum::Crc32),
            &[database],
            SPILL_NEVER,
        );
        let shapes = mysql_shapes();
        // That one has its own tests.
        let shapes = shapes.into_iter().filter(|(name, _)| *name != "payload");
        for (gno, (name, events)) in (1..).zip(shapes) {
            let group = make::mysql_group(86, gtid(1, "", gno), clock(0, 1), events);
            for (at, event) in (1..).zip(&group) {
                source.event(event).unwrap();
                let open = at < group.len();
                assert_eq!(
                    source.assembler.is_in_transaction(),
                    open,
                    "{name}, event {at}"
                );
            }
            let [events] = &source.taken()[..] else {
                panic!("one transaction")
            };
            let outline = outline(events);
            assert_eq!(outline[0], "Gtid", "{name}");
            assert!(outline.len() > 1, "{name}: {outline:?}");
            if database == "test" {
                assert_eq!(events.concat(), group.concat(), "{name}");
            } else {
                let dropped = [
                    "insert",
                    "Write_rows",
                    "Table_map",
                    "Append_block",
                    "Intvar",
                ];
                assert!(
                    !dropped
                        .iter()
                        .any(|name| outline.contains(&(*name).to_owned()))
                );
            }
        }
    }
}
