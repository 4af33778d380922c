//! XA transactions of MySQL that the filter has emptied: their ends are emptied too.

use super::*;
use crate::relay_log::index_file::IndexFile;
use crate::transaction::test_events::{outline, split};

fn prepared(gno: u64, name: &str, database: &str) -> Vec<Vec<u8>> {
    make::xa_prepared(80, gtid(80, "", gno), name, database)
}

fn ended(gno: u64, statement: &str) -> Vec<Vec<u8>> {
    let events = vec![make::query(80, "", statement)];
    make::mysql_group(
        80,
        gtid(80, "", gno),
        clock(gno as i64 - 1, gno as i64),
        events,
    )
}

fn append(writer: &mut Writer, batch: &TransactionBatch) {
    for transaction in &batch.transactions {
        writer.append(batch, transaction).unwrap();
    }
    writer.commit().unwrap();
}

/// The newest file's transactions, without their openers.
fn newest(writer: &Writer) -> Vec<String> {
    let file = *writer.log().state().files.last().unwrap();
    let bytes = std::fs::read(writer.log().log_dir().log_path(file)).unwrap();
    let words = outline(&split(&bytes[4..]));
    let own = ["Format_desc", "Previous_gtids", "Gtid", "Rotate"];
    words
        .into_iter()
        .filter(|word| !own.contains(&word.as_str()))
        .collect()
}

#[test]
fn the_end_of_an_emptied_xa_transaction_is_emptied_after_restarts_and_rotations() {
    let dir = fast_dir();
    let options = options(dir.path());
    let mut writer = create(&options, Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    let long = "n".repeat(60);
    let batch = source.deliver(&[
        prepared(1, "a", "other"),
        prepared(2, "b", "test"),
        prepared(3, &long, "other"),
        prepared(4, "d", "other"),
    ]);
    append(&mut writer, &batch);
    // The same by another path: nothing changes.
    let mut peer = TestSource::new(1, Flavor::MySql);
    append(&mut writer, &peer.deliver(&[prepared(1, "a", "other")]));
    let kept = "XA START X'61',X'',1 Table_map Write_rows XA END X'61',X'',1 XA_prepare";
    let emptied = "BEGIN COMMIT";
    let expected = [emptied, kept, emptied, emptied].join(" ");
    assert_eq!(newest(&writer).join(" "), expected);

    // Killed, then stopped: each time a new file begins.
    drop(writer);
    let mut writer = resume(&options);
    append(
        &mut writer,
        &source.deliver(&[ended(5, "XA ROLLBACK X'64',X'',1")]),
    );
    assert_eq!(newest(&writer).join(" "), emptied);
    writer.close().unwrap();
    drop(writer);
    let mut writer = resume(&options);
    let hex: String = long.bytes().map(|byte| format!("{byte:02x}")).collect();
    let batch = source.deliver(&[
        ended(6, "XA COMMIT X'61',X'',1"),
        ended(7, "XA COMMIT X'62',X'',1"),
        ended(8, &format!("XA COMMIT X'{hex}',X'',1")),
        // Its xid was used once more, and its end is no longer an emptied one.
        ended(9, "XA COMMIT X'64',X'',1"),
    ]);
    append(&mut writer, &batch);
    let expected = [
        emptied,
        "XA COMMIT X'62',X'',1",
        emptied,
        "XA COMMIT X'64',X'',1",
    ];
    assert_eq!(newest(&writer).join(" "), expected.join(" "));
    writer.close().unwrap();
    assert!(recovered(&options).emptied_xas.is_empty());
}

/// Readers that do not want the XA records do not gather them.
#[test]
fn xa_records_belong_to_the_step_behind_them() {
    let dir = fast_dir();
    let mut writer = create(&options(dir.path()), Flavor::MySql);
    let mut source = TestSource::new(0, Flavor::MySql);
    let batch = source.deliver(&[
        prepared(1, "a", "other"),
        ended(2, "XA COMMIT X'61',X'',1"),
        ended(3, "XA COMMIT X'62',X'',1"),
    ]);
    append(&mut writer, &batch);
    let file = *writer.log().state().files.last().unwrap();
    let path = writer.log().log_dir().index_path(file);
    let (mut all, mut newest) = (IndexFile::open(&path).unwrap(), 0);
    let mut skipping = IndexFile::open(&path).unwrap();
    while all.next_step().unwrap().is_some() {
        newest = all.take_xa_changes().len();
        skipping.next_step().unwrap();
    }
    assert_eq!(newest, 0, "nothing is noted of an end that nobody knows");
    assert!(skipping.take_xa_changes().is_empty());
}
