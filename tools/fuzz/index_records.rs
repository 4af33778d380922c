//! The target of the commit index.

use binrelay::binlog::CHECKSUM_LEN;
use binrelay::identity::IdentityKind;
use binrelay::relay_log::index_record::{IndexHeader, RECORD_LEN, Record};

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
        if let Ok(header) = IndexHeader::decode(&record) {
            assert_eq!(IndexHeader::decode(&header.encode()), Ok(header));
        }
        for kind in [
            IdentityKind::MySql,
            IdentityKind::MariaDb,
            IdentityKind::Anonymous,
        ] {
            if let Ok(decoded) = Record::decode(&record, kind) {
                assert_eq!(Record::decode(&decoded.encode(), kind), Ok(decoded));
            }
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
