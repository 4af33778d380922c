//! Round trips, and every flipped bit.

use super::*;
use crate::merge::pairing::{Delivered, LedgerPlace};

fn step() -> Step {
    Step {
        kind: StepKind::Duplicate,
        emptied: true,
        is_no_copy: true,
        may_be_repetition: true,
        source: 2,
        log_end: 0x0102_0304,
        source_file: 9,
        origin: 7,
        source_position: 1 << 40,
        number: 1 << 50,
        server_id: 86,
        timestamp: 1_800_000_000,
        content: 1 << 60,
        durable_to: 77,
        source_server_id: 18,
        durable_records: 5,
    }
}

#[test]
fn steps_round_trip_and_every_flipped_bit_is_found() {
    let bytes = step().encode();
    assert_eq!(decode(&bytes), Ok(Record::Step(step())));
    for bit in 0..RECORD_LEN * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged).is_err(), "bit {bit}");
    }
    assert!(decode(&[0; RECORD_LEN]).is_err(), "zeros are no record");
}

#[test]
fn queues_round_trip() {
    let place = LedgerPlace {
        file: 1 << 33,
        record: 1 << 34,
    };
    let skipped = Delivered {
        place,
        fingerprint: Fingerprint {
            commit_timestamp: 1 << 50,
            content: 1 << 60,
            timestamp: 1_800_000_000,
            traits: 1 << 31 | 5,
        },
        path: 1,
        may_be_repetition: false,
    };
    let begin = QueueEntry::Begin {
        cursor: place,
        is_aligned: true,
    };
    let fingerprint = skipped.fingerprint;
    for entry in [
        begin,
        QueueEntry::Skipped(skipped),
        QueueEntry::Newest(fingerprint),
        QueueEntry::Again(fingerprint),
    ] {
        let record = QueueRecord {
            path: 2,
            origin: 86,
            entry,
        };
        assert_eq!(decode(&record.encode()), Ok(Record::Queue(record)));
    }
}

#[test]
fn long_names_take_several_records() {
    let name = vec![b'x'; 100];
    let records = encode_definition(DefinitionKind::SourceFile, 1, 3, &name);
    assert_eq!(records.len(), 3);
    let mut read = Vec::new();
    for (part, record) in records.iter().enumerate() {
        let Ok(Record::Definition(definition)) = decode(record) else {
            panic!("no definition")
        };
        assert_eq!((definition.source, definition.number), (1, 3));
        assert_eq!(usize::from(definition.part), part);
        read.extend(definition.text);
    }
    assert_eq!(read, name);
}

#[test]
fn headers() {
    for kind in [
        IdentityKind::MySql,
        IdentityKind::MariaDb,
        IdentityKind::Anonymous,
    ] {
        assert_eq!(decode_header(&encode_header(kind)), Ok(kind));
    }
    assert_eq!(decode_header(&[0; RECORD_LEN]), Err(RecordError::Magic));
    let mut newer = encode_header(IdentityKind::MySql);
    newer[4] = 2;
    assert_eq!(decode_header(&seal(newer)), Err(RecordError::Version(2)));
}
