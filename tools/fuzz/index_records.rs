//! The target of the commit index.

use binrelay::binlog::CHECKSUM_LEN;
use binrelay::relay_log::index_record::{self, RECORD_LEN, Record};

/// Records of the commit index, also with a checksum that is right.
pub fn fuzz_index_record(data: &[u8]) {
    let mut record = [0; RECORD_LEN];
    for (slot, byte) in record.iter_mut().zip(data) {
        *slot = *byte;
    }
    let covered = RECORD_LEN - CHECKSUM_LEN;
    let crc = crc32(&record[..covered]);
    for sealed in [false, true] {
        if sealed {
            record[covered..].copy_from_slice(&crc.to_le_bytes());
        }
        let _ = index_record::decode_header(&record);
        match index_record::decode(&record) {
            Ok(Record::Step(step)) => {
                let again = index_record::decode(&step.encode());
                assert_eq!(again, Ok(Record::Step(step)));
            }
            Ok(Record::Queue(queue)) => {
                let again = index_record::decode(&queue.encode());
                assert_eq!(again, Ok(Record::Queue(queue)));
            }
            Ok(Record::Definition(definition)) => assert!(definition.text.len() < RECORD_LEN),
            Err(_) => {}
        }
    }
}

/// The CRC of binlog events and index records; bit by bit, so that the target needs no package.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
