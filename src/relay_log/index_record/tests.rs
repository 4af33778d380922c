//! Round trips of every kind, every flipped bit, and values that are never written.

use super::*;
use crate::gtid::Uuid;
use crate::identity::IdentityKind;

const KINDS: [IdentityKind; 3] = [
    IdentityKind::MySql,
    IdentityKind::MariaDb,
    IdentityKind::Anonymous,
];

fn step() -> Step {
    Step {
        source: 2,
        log_end: 0x0102_0304,
        source_file: 9,
        source_offset: 1 << 40,
        source_server_id: 18,
        durable_to: 77,
        durable_records: 5,
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint {
        commit_timestamp: 1 << 50,
        content: 1 << 60,
        timestamp: 1_800_000_000,
        traits: 1 << 31 | 5,
    }
}

fn recorded(kind: IdentityKind) -> Recorded {
    let evidence = CopyEvidence {
        commit_time_us: 1_800_000_000_000_001,
        earliest: 1_799_999_990,
        latest: 1_800_000_000,
        has_changes: true,
    };
    let identity = match kind {
        IdentityKind::MySql => RecordedIdentity::MySql {
            origin: 7,
            gno: 1 << 50,
            evidence,
        },
        IdentityKind::MariaDb => RecordedIdentity::MariaDb {
            domain_id: 3,
            seq_no: 1 << 51,
            evidence,
        },
        IdentityKind::Anonymous => RecordedIdentity::Anonymous(fingerprint()),
    };
    Recorded {
        identity,
        server_id: 86,
    }
}

/// One record of each kind that occurs in such a log.
fn records(kind: IdentityKind) -> Vec<Record> {
    let (step, transaction) = (step(), recorded(kind));
    let history = SourceHistory {
        first_timestamp: 1_700_000_000,
        reading_back: true,
    };
    let mut records = vec![
        Record::Transaction {
            step,
            transaction,
            emptied: true,
            altered: true,
            may_be_repetition: true,
            executed_again: false,
        },
        Record::Transaction {
            step,
            transaction,
            emptied: false,
            altered: false,
            may_be_repetition: false,
            executed_again: false,
        },
        Record::Copy { step, transaction },
        Record::Ignored {
            step,
            transaction,
            is_cleanup: kind == IdentityKind::Anonymous,
        },
        Record::SourceMoved {
            step,
            history,
            last: None,
        },
        Record::SourceMoved {
            step,
            history,
            last: Some(LastRecorded {
                source_file: 3,
                begin: 1 << 33,
                len: 77,
                digest: u64::MAX - 1,
            }),
        },
    ];
    records.extend(records_with_text());
    match kind {
        IdentityKind::MySql => records.push(Record::CountedGtids {
            origin: 7,
            first: 1 << 33,
            last: 1 << 34,
        }),
        IdentityKind::MariaDb => records.extend(mariadb_records()),
        IdentityKind::Anonymous => {
            records.push(Record::BeforeStart { step, transaction });
            records.push(Record::SourceRestarted { step, history });
            records.extend(path_records());
        }
    }
    records
}

fn records_with_text() -> [Record; 7] {
    let text = TextPart::parts(b"name").next().unwrap();
    let (source, number) = (2, 11);
    [
        Record::SourceName { source, text },
        Record::SourceFile {
            source,
            number,
            text,
        },
        Record::Origin { number, text },
        Record::EmptiedXa(text),
        Record::EndedXa(text),
        Record::OpenTemporaryTable(text),
        Record::DroppedTemporaryTable(text),
    ]
}

fn mariadb_records() -> [Record; 7] {
    let gtid: MariaDbGtid = "3-86-12".parse().unwrap();
    [
        Record::SourceGtid {
            step: step(),
            gtid,
            is_highest: true,
        },
        Record::KeptAlter(gtid),
        Record::EmptiedAlter(gtid),
        Record::EndedAlter(gtid),
        Record::NewHistory { server_id: 86 },
        Record::EarlierHistory { server_id: 86 },
        Record::SkippedGtid(gtid),
    ]
}

fn path_records() -> [Record; 4] {
    let key = PathKey {
        path: 2,
        origin: 86,
    };
    let record = RecordNumber {
        file: 1 << 33,
        record: 1 << 34,
    };
    let fingerprint = fingerprint();
    [
        Record::PathQueue {
            key,
            cursor: record,
            before: 1 << 40,
            is_aligned: true,
            formats_differ: true,
            begins_again: true,
            own_until: RecordNumber {
                file: 1 << 35,
                record: 1 << 36,
            },
            lost_until: 1 << 31,
        },
        Record::PathSkipped {
            key,
            delivered: Delivered {
                record,
                fingerprint,
                path: 1,
                may_be_repetition: false,
            },
        },
        Record::PathNewest { key, fingerprint },
        Record::PathAgain { key, fingerprint },
    ]
}

#[test]
fn every_kind_round_trips_and_every_flipped_bit_is_found() {
    let mut codes = Vec::new();
    for kind in KINDS {
        for record in records(kind) {
            let bytes = record.encode();
            codes.push(bytes[0]);
            assert_eq!(Record::decode(&bytes, kind), Ok(record));
            for bit in 0..RECORD_LEN * 8 {
                let mut damaged = bytes;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    Record::decode(&damaged, kind).is_err(),
                    "{record:?}, bit {bit}"
                );
            }
        }
        assert!(Record::decode(&[0; RECORD_LEN], kind).is_err());
    }
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(
        codes,
        (1..=25).collect::<Vec<u8>>(),
        "all kinds were tested"
    );
}

/// A record with these bytes and a checksum that is right.
fn sealed(record: &Record, change: impl FnOnce(&mut RecordBytes)) -> RecordBytes {
    let mut bytes = record.encode();
    change(&mut bytes);
    let checksum = crc32fast::hash(&bytes[..RECORD_LEN - 4]);
    bytes[RECORD_LEN - 4..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn records_of_another_kind_of_log_are_refused() {
    for kind in KINDS {
        let own: Vec<u8> = records(kind)
            .iter()
            .map(|record| record.encode()[0])
            .collect();
        for other in KINDS {
            for record in records(other) {
                let bytes = record.encode();
                let decoded = Record::decode(&bytes, kind);
                assert_eq!(decoded.is_ok(), own.contains(&bytes[0]), "{record:?}");
            }
        }
    }
}

#[test]
fn values_that_are_never_written_are_refused() {
    let all = records(IdentityKind::Anonymous);
    let decode = |bytes| Record::decode(&bytes, IdentityKind::Anonymous);
    for kind in (26..=255).chain([0]) {
        let bytes = sealed(&all[0], |bytes| bytes[0] = kind);
        assert_eq!(decode(bytes), Err(RecordError::Kind(kind)));
    }
    let is_value = |bytes, expected| {
        let found = decode(bytes);
        assert!(
            matches!(found, Err(RecordError::Value { field, .. }) if field == expected),
            "{found:?}"
        );
    };
    is_value(sealed(&all[0], |bytes| bytes[1] = 4), "flags");
    let is_copy = |record: &&Record| matches!(record, Record::Copy { .. });
    let copy = all.iter().find(is_copy).unwrap();
    is_value(sealed(copy, |bytes| bytes[1] = 1), "flags");
    is_value(sealed(&all[4], |bytes| bytes[1] = 2), "flags");
    is_value(sealed(&all[0], |bytes| bytes[51] = 0xff), "durable to");
    is_value(sealed(&all[6], |bytes| bytes[1] = 49), "text length");
    is_value(sealed(&all[6], |bytes| bytes[8] = 1), "text part");
}

#[test]
fn long_texts_take_several_records() {
    for len in [0_usize, 1, 47, 48, 49, 96, 100] {
        let text: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let parts: Vec<TextPart> = TextPart::parts(&text).collect();
        assert_eq!(parts.len(), usize::max(1, len.div_ceil(48)), "{len}");
        let mut read = b"left over".to_vec();
        for (at, text) in parts.iter().enumerate() {
            let bytes = Record::EmptiedXa(*text).encode();
            let decoded = Record::decode(&bytes, IdentityKind::MySql).unwrap();
            let Record::EmptiedXa(text) = decoded else {
                panic!("{decoded:?}")
            };
            text.append_to(&mut read);
            assert_eq!(text.is_last(), at + 1 == parts.len());
        }
        assert_eq!(read, text);
    }
}

#[test]
fn commit_times_are_those_of_the_origin() {
    assert_eq!(
        recorded(IdentityKind::MySql).commit_time_us(),
        1_800_000_000_000_001
    );
    let mut fingerprint = fingerprint();
    let anonymous = |fingerprint| Recorded {
        identity: RecordedIdentity::Anonymous(fingerprint),
        server_id: 86,
    };
    assert_eq!(anonymous(fingerprint).commit_time_us(), 1 << 50);
    fingerprint.commit_timestamp = 0;
    assert_eq!(
        anonymous(fingerprint).commit_time_us(),
        1_800_000_000_000_000,
        "the time in the header has whole seconds"
    );
}

#[test]
fn what_copies_are_compared_by_is_read_as_it_was_written() {
    let exact = CopyEvidence {
        commit_time_us: 1_800_000_000_000_001,
        earliest: 1_799_999_990,
        latest: 1_800_000_000,
        has_changes: true,
    };
    let seconds = CopyEvidence {
        commit_time_us: 1_800_000_000_000_000,
        latest: 1_900_000_000,
        ..exact
    };
    let empty = CopyEvidence {
        has_changes: false,
        ..exact
    };
    let unknown = CopyEvidence {
        commit_time_us: 0,
        earliest: 0,
        latest: 0,
        has_changes: true,
    };
    let read = |evidence, kind| {
        let identity = match kind {
            IdentityKind::MySql => RecordedIdentity::MySql {
                origin: 7,
                gno: 8,
                evidence,
            },
            _ => RecordedIdentity::MariaDb {
                domain_id: 7,
                seq_no: 8,
                evidence,
            },
        };
        let (step, server_id) = (step(), 86);
        let transaction = Recorded {
            identity,
            server_id,
        };
        let bytes = Record::Copy { step, transaction }.encode();
        match Record::decode(&bytes, kind).unwrap() {
            Record::Copy { transaction, .. } => match transaction.identity {
                RecordedIdentity::MySql { evidence, .. }
                | RecordedIdentity::MariaDb { evidence, .. } => evidence,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    for kind in [IdentityKind::MySql, IdentityKind::MariaDb] {
        for evidence in [exact, seconds, empty, unknown] {
            assert_eq!(read(evidence, kind), evidence);
        }
        // A client has set the time: an exact time leaves no space for the latest timestamp.
        let later = CopyEvidence {
            latest: 1_900_000_000,
            ..exact
        };
        assert_eq!(
            read(later, kind),
            CopyEvidence {
                earliest: 0,
                ..exact
            }
        );
    }
}

#[test]
fn only_mariadb_executes_a_gtid_again() {
    let again = |kind| Record::Transaction {
        step: step(),
        transaction: recorded(kind),
        emptied: false,
        altered: false,
        may_be_repetition: false,
        executed_again: true,
    };
    for kind in KINDS {
        let decoded = Record::decode(&again(kind).encode(), kind);
        match kind {
            IdentityKind::MariaDb => assert_eq!(decoded, Ok(again(kind))),
            _ => assert!(decoded.is_err(), "{decoded:?}"),
        }
    }
}

#[test]
fn format_2_is_read_too() {
    let mut bytes = IndexHeader {
        kind: IdentityKind::MySql,
        log_id: Uuid([7; 16]),
        file_number: 1,
        log_head_len: 250,
        log_head_crc: 0,
        head_records: 1,
    }
    .encode();
    for (version, is_read) in [(1, false), (2, true), (3, true), (4, true), (5, false)] {
        bytes[4] = version;
        let checksum = crc32fast::hash(&bytes[..RECORD_LEN - 4]);
        bytes[RECORD_LEN - 4..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(IndexHeader::decode(&bytes).is_ok(), is_read, "{version}");
    }
}

#[test]
fn headers_round_trip_and_other_versions_are_refused() {
    for kind in KINDS {
        let header = IndexHeader {
            kind,
            log_id: Uuid([7; 16]),
            file_number: 1 << 31,
            log_head_len: 250,
            log_head_crc: 0xdead_beef,
            head_records: 9,
        };
        let bytes = header.encode();
        assert_eq!(IndexHeader::decode(&bytes), Ok(header));
        for bit in 0..RECORD_LEN * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(IndexHeader::decode(&damaged).is_err(), "bit {bit}");
        }
        let mut other = bytes;
        other[4] = 1;
        let checksum = crc32fast::hash(&other[..RECORD_LEN - 4]);
        other[RECORD_LEN - 4..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(IndexHeader::decode(&other), Err(RecordError::Version(1)));
    }
    assert_eq!(
        IndexHeader::decode(&[0; RECORD_LEN]),
        Err(RecordError::Magic)
    );
}
