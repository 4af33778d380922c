//! Reading records. The offsets are those of the field tables in the module's documentation.

use super::bytes::{self, RecordBytes, get_u8, get_u16, get_u32, get_u64};
use super::{
    ALTERED, EXECUTED_AGAIN, IN_SECONDS, LastRecorded, PathKey, Record, RecordError, Recorded,
    RecordedIdentity, SECOND_US, SourceHistory, Step, TEXT_LEN, TextPart, WITHOUT_CHANGES,
};
use crate::gtid::MariaDbGtid;
use crate::identity::{CopyEvidence, Fingerprint, IdentityKind};
use crate::merge::pairing::Delivered;
use crate::position::RecordNumber;

impl Record {
    /// Reads one record of an index whose header names `kind`.
    ///
    /// # Errors
    /// When it is damaged, of an unknown kind, or has a value that is never written.
    pub fn decode(record: &RecordBytes, kind: IdentityKind) -> Result<Self, RecordError> {
        bytes::verify(record)?;
        let code = get_u8(record, 0);
        if matches!(code, 4 | 6 | 16..=19) && kind != IdentityKind::Anonymous {
            let log = "a relay log with GTIDs";
            return Err(RecordError::KindOfOther { kind: code, log });
        }
        if code == 20 && kind != IdentityKind::MySql {
            let log = "a relay log of MariaDB, or without GTIDs";
            return Err(RecordError::KindOfOther { kind: code, log });
        }
        if matches!(code, 7 | 13..=15 | 21 | 24 | 25) && kind != IdentityKind::MariaDb {
            let log = "a relay log of MySQL";
            return Err(RecordError::KindOfOther { kind: code, log });
        }
        Ok(match code {
            1..=4 => transaction(record, code, kind)?,
            5 => Record::SourceMoved {
                step: step(record)?,
                history: history(record)?,
                last: last(record),
            },
            6 => Record::SourceRestarted {
                step: step(record)?,
                history: history(record)?,
            },
            7 => Record::SourceGtid {
                step: step(record)?,
                gtid: MariaDbGtid {
                    domain_id: get_u32(record, 12),
                    server_id: get_u32(record, 32),
                    seq_no: get_u64(record, 24),
                },
                is_highest: flags(record, 1)? != 0,
            },
            8..=12 => definition(record, code)?,
            13 => Record::KeptAlter(gtid(record)),
            14 => Record::EmptiedAlter(gtid(record)),
            15 => Record::EndedAlter(gtid(record)),
            16..=19 => path_record(record, code)?,
            20 => Record::CountedGtids {
                origin: get_u32(record, 4),
                first: get_u64(record, 16),
                last: get_u64(record, 24),
            },
            21 => Record::NewHistory {
                server_id: get_u32(record, 4),
            },
            22 => Record::OpenTemporaryTable(text(record)?),
            23 => Record::DroppedTemporaryTable(text(record)?),
            24 => Record::EarlierHistory {
                server_id: get_u32(record, 4),
            },
            25 => Record::SkippedGtid(gtid(record)),
            other => return Err(RecordError::Kind(other)),
        })
    }
}

fn transaction(record: &RecordBytes, code: u8, kind: IdentityKind) -> Result<Record, RecordError> {
    let of_gtid = match kind {
        IdentityKind::Anonymous => 0,
        IdentityKind::MySql | IdentityKind::MariaDb => IN_SECONDS | WITHOUT_CHANGES,
    };
    let of_new = match (code, kind) {
        (1, IdentityKind::MariaDb) => 0b11 | EXECUTED_AGAIN | ALTERED,
        (1, _) => 0b11 | ALTERED,
        (3, _) => 1,
        _ => 0,
    };
    let flags = flags(record, of_gtid | of_new)?;
    let (step, transaction) = (step(record)?, recorded(record, kind, flags));
    Ok(match code {
        1 => Record::Transaction {
            step,
            transaction,
            emptied: flags & 1 != 0,
            altered: flags & ALTERED != 0,
            may_be_repetition: flags & 2 != 0,
            executed_again: flags & EXECUTED_AGAIN != 0,
        },
        2 => Record::Copy { step, transaction },
        3 => Record::Ignored {
            step,
            transaction,
            is_cleanup: flags & 1 != 0,
        },
        _ => Record::BeforeStart { step, transaction },
    })
}

fn definition(record: &RecordBytes, code: u8) -> Result<Record, RecordError> {
    let text = text(record)?;
    let (source, number) = (get_u16(record, 2), get_u32(record, 4));
    Ok(match code {
        8 => Record::SourceName { source, text },
        9 => Record::SourceFile {
            source,
            number,
            text,
        },
        10 => Record::Origin { number, text },
        11 => Record::EmptiedXa(text),
        _ => Record::EndedXa(text),
    })
}

fn path_record(record: &RecordBytes, code: u8) -> Result<Record, RecordError> {
    Ok(match code {
        16 => Record::PathQueue {
            key: path(record),
            cursor: record_number(record),
            before: get_u64(record, 4),
            is_aligned: flags(record, 7)? & 1 != 0,
            formats_differ: flags(record, 7)? & 2 != 0,
            begins_again: flags(record, 7)? & 4 != 0,
            own_until: RecordNumber {
                file: get_u64(record, 40),
                record: get_u64(record, 48),
            },
            lost_until: get_u32(record, 36),
        },
        17 => Record::PathSkipped {
            key: path(record),
            delivered: Delivered {
                record: record_number(record),
                fingerprint: fingerprint(record),
                path: get_u16(record, 4),
                may_be_repetition: false,
            },
        },
        18 => Record::PathNewest {
            key: path(record),
            fingerprint: fingerprint(record),
        },
        _ => Record::PathAgain {
            key: path(record),
            fingerprint: fingerprint(record),
        },
    })
}

fn last(record: &RecordBytes) -> Option<LastRecorded> {
    let last = LastRecorded {
        source_file: get_u32(record, 12),
        begin: get_u64(record, 24),
        len: get_u32(record, 32),
        digest: get_u64(record, 40),
    };
    (last.len != 0).then_some(last)
}

/// The flags. Only those in `known` are ever set.
fn flags(record: &RecordBytes, known: u8) -> Result<u8, RecordError> {
    let flags = get_u8(record, 1);
    match flags & !known {
        0 => Ok(flags),
        _ => Err(RecordError::Value {
            field: "flags",
            found: flags.into(),
            expected: "known flags only",
        }),
    }
}

fn step(record: &RecordBytes) -> Result<Step, RecordError> {
    let step = Step {
        source: get_u16(record, 2),
        log_end: get_u32(record, 4),
        source_file: get_u32(record, 8),
        source_offset: get_u64(record, 16),
        source_server_id: get_u32(record, 52),
        durable_to: get_u32(record, 48),
        durable_records: get_u32(record, 56),
    };
    if step.durable_to > step.log_end {
        return Err(RecordError::Value {
            field: "durable to",
            found: step.durable_to.into(),
            expected: "at most the record's log end",
        });
    }
    Ok(step)
}

fn recorded(record: &RecordBytes, kind: IdentityKind, flags: u8) -> Recorded {
    let (second, number) = (get_u32(record, 12), get_u64(record, 24));
    let identity = match kind {
        IdentityKind::MySql => RecordedIdentity::MySql {
            origin: second,
            gno: number,
            evidence: evidence(record, flags),
        },
        IdentityKind::MariaDb => RecordedIdentity::MariaDb {
            domain_id: second,
            seq_no: number,
            evidence: evidence(record, flags),
        },
        IdentityKind::Anonymous => RecordedIdentity::Anonymous(Fingerprint {
            commit_timestamp: number,
            content: get_u64(record, 40),
            timestamp: get_u32(record, 36),
            traits: second,
        }),
    };
    Recorded {
        identity,
        server_id: get_u32(record, 32),
    }
}

/// What copies are compared by. In format 2 the earliest timestamp is 0: nothing is known of the
/// events.
fn evidence(record: &RecordBytes, flags: u8) -> CopyEvidence {
    let (commit_time_us, latest) = match flags & IN_SECONDS {
        0 => {
            let commit_time_us = get_u64(record, 40);
            let seconds = u32::try_from(commit_time_us / SECOND_US);
            (commit_time_us, seconds.unwrap_or(u32::MAX))
        }
        _ => (
            u64::from(get_u32(record, 40)) * SECOND_US,
            get_u32(record, 44),
        ),
    };
    CopyEvidence {
        commit_time_us,
        earliest: get_u32(record, 36),
        latest,
        has_changes: flags & WITHOUT_CHANGES == 0,
    }
}

fn history(record: &RecordBytes) -> Result<SourceHistory, RecordError> {
    Ok(SourceHistory {
        first_timestamp: get_u32(record, 36),
        reading_back: flags(record, 1)? != 0,
    })
}

fn text(record: &RecordBytes) -> Result<TextPart, RecordError> {
    let len = get_u8(record, 1);
    if usize::from(len) > TEXT_LEN {
        return Err(RecordError::Value {
            field: "text length",
            found: len.into(),
            expected: "at most 48",
        });
    }
    let (part, parts) = (get_u16(record, 8), get_u16(record, 10));
    if part >= parts {
        return Err(RecordError::Value {
            field: "text part",
            found: part.into(),
            expected: "less than the number of parts",
        });
    }
    Ok(TextPart {
        part,
        parts,
        len,
        bytes: bytes::get_bytes(record, 12),
    })
}

fn gtid(record: &RecordBytes) -> MariaDbGtid {
    MariaDbGtid {
        domain_id: get_u32(record, 4),
        server_id: get_u32(record, 8),
        seq_no: get_u64(record, 16),
    }
}

fn path(record: &RecordBytes) -> PathKey {
    PathKey {
        path: get_u16(record, 2),
        origin: get_u32(record, 32),
    }
}

fn record_number(record: &RecordBytes) -> RecordNumber {
    RecordNumber {
        file: get_u64(record, 16),
        record: get_u64(record, 24),
    }
}

fn fingerprint(record: &RecordBytes) -> Fingerprint {
    Fingerprint {
        traits: get_u32(record, 12),
        timestamp: get_u32(record, 36),
        commit_timestamp: get_u64(record, 40),
        content: get_u64(record, 48),
    }
}
