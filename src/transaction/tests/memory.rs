//! The memory that batches keep allocated: what a large transaction has needed is not kept after it is in a file.

use super::*;

const KIB: usize = 1024;
const SPILL_SIZE: usize = 1024 * KIB;

/// A transaction of about this many bytes, in row events of 50 KiB.
fn transaction(number: u64, len: usize) -> Vec<Vec<u8>> {
    let mut events = vec![make::query(86, "", "BEGIN"), make::table_map(86, 1, "test")];
    let rows = (len / (50 * KIB)).max(1);
    events.extend((1..=rows).map(|row| make::rows(86, 1, row == rows, len / rows)));
    events.push(make::xid(86));
    let gtid = make::gtid(86, "", number);
    make::mysql_group(86, gtid, make::clock(0, 1), events)
}

#[test]
fn memory_of_batches_is_bounded_by_capacity() {
    let dir = tempfile::tempdir().unwrap();
    let options = AssemblerOptions {
        source: 0,
        source_server_id: 86,
        source_first_timestamp: 0,
        has_gtids: true,
        first_run: 0,
        filter: make::keeping(&["test"]),
        spill_dir: dir.path().to_owned(),
        spill_size: SPILL_SIZE,
    };
    let mut assembler = Assembler::new(options, make::mysql_format(Checksum::Crc32));
    assembler.start_file("bin.000001".into(), 4);
    let _ = assembler.take_batch();
    let mut position = 4;
    let mut batches = Vec::new();
    let lens = [
        100,
        900 * KIB,
        2500 * KIB,
        1000 * KIB,
        5000 * KIB,
        300 * KIB,
    ];
    for (number, len) in (1..).zip(lens.into_iter().cycle().take(60)) {
        for event in transaction(number, len) {
            position += event.len() as u64;
            assembler.event(&event, position).unwrap();
        }
        // As the receiver does, with a smaller batch.
        if assembler.memory_len() > SPILL_SIZE || assembler.has_spilled() {
            let batch = assembler.take_batch().unwrap();
            let memory_len = batch.memory_len();
            // Finished transactions of up to that, and one more; a buffer doubles as it grows.
            assert!(memory_len <= 4 * SPILL_SIZE, "{memory_len} bytes");
            let is_spilled = |transaction: &Transaction| transaction.spill.is_some();
            if batch.transactions.iter().all(is_spilled) {
                assert!(memory_len < 16 * KIB, "{memory_len} bytes of spilled ones");
            }
            let kept = batch.bytes.len();
            assert!(
                batch.transactions.iter().all(|one| !is_spilled(one))
                    || batch.bytes.capacity() <= kept + 16 * KIB,
                "{} bytes for {kept}",
                batch.bytes.capacity()
            );
            batches.push(batch);
            // The relay log takes some of them late.
            if batches.len() == 5 {
                batches.drain(..).for_each(TransactionBatch::recycle);
            }
        }
    }
}
