//! Writing records. The offsets are those of the field tables in the module's documentation.

use super::bytes::{Fields, RecordBytes};
use super::{
    ALTERED, EXECUTED_AGAIN, IN_SECONDS, LastRecorded, PathKey, Record, Recorded, RecordedIdentity,
    SECOND_US, SourceHistory, Step, TextPart, WITHOUT_CHANGES,
};
use crate::gtid::MariaDbGtid;
use crate::identity::{CopyEvidence, Fingerprint};
use crate::merge::pairing::Delivered;
use crate::position::RecordNumber;

impl Record {
    /// The record's bytes.
    pub fn encode(&self) -> RecordBytes {
        match self {
            Record::Transaction {
                step,
                transaction,
                emptied,
                altered,
                may_be_repetition,
                executed_again,
            } => {
                let again = u8::from(*executed_again) * EXECUTED_AGAIN;
                let flags = u8::from(*emptied) | (u8::from(*may_be_repetition) << 1) | again;
                recorded(1, flags | (u8::from(*altered) * ALTERED), step, transaction)
            }
            Record::Copy { step, transaction } => recorded(2, 0, step, transaction),
            Record::Ignored {
                step,
                transaction,
                is_cleanup,
            } => recorded(3, u8::from(*is_cleanup), step, transaction),
            Record::BeforeStart { step, transaction } => recorded(4, 0, step, transaction),
            Record::SourceMoved {
                step,
                history,
                last,
            } => with_last(moved(5, step, history), last.as_ref()).seal(),
            Record::SourceRestarted { step, history } => moved(6, step, history).seal(),
            Record::SourceGtid {
                step,
                gtid,
                is_highest,
            } => source_gtid(step, gtid, *is_highest),
            Record::SourceName { source, text } => text_of(8, text).put_u16(2, *source).seal(),
            Record::SourceFile {
                source,
                number,
                text,
            } => source_file(*source, *number, text),
            Record::Origin { number, text } => text_of(10, text).put_u32(4, *number).seal(),
            Record::EmptiedXa(xid) => text_of(11, xid).seal(),
            Record::EndedXa(xid) => text_of(12, xid).seal(),
            Record::KeptAlter(start) => gtid(13, start),
            Record::EmptiedAlter(start) => gtid(14, start),
            Record::EndedAlter(start) => gtid(15, start),
            Record::PathQueue {
                key,
                cursor,
                before,
                is_aligned,
                formats_differ,
                begins_again,
                own_until,
                lost_until,
            } => {
                let flags = [*is_aligned, *formats_differ, *begins_again];
                path_queue(key, [cursor, own_until], *before, flags, *lost_until)
            }
            Record::PathSkipped { key, delivered } => path_skipped(key, delivered),
            Record::PathNewest { key, fingerprint } => path_of(18, key, fingerprint),
            Record::PathAgain { key, fingerprint } => path_of(19, key, fingerprint),
            Record::CountedGtids {
                origin,
                first,
                last,
            } => counted(*origin, *first, *last),
            Record::NewHistory { server_id } => Fields::new(21).put_u32(4, *server_id).seal(),
            Record::OpenTemporaryTable(table) => text_of(22, table).seal(),
            Record::DroppedTemporaryTable(table) => text_of(23, table).seal(),
            Record::EarlierHistory { server_id } => Fields::new(24).put_u32(4, *server_id).seal(),
            Record::SkippedGtid(skipped) => gtid(25, skipped),
        }
    }
}

fn source_file(source: u16, number: u32, text: &TextPart) -> RecordBytes {
    text_of(9, text)
        .put_u16(2, source)
        .put_u32(4, number)
        .seal()
}

fn path_queue(
    key: &PathKey,
    [cursor, own_until]: [&RecordNumber; 2],
    before: u64,
    flags: [bool; 3],
    lost_until: u32,
) -> RecordBytes {
    let [first, second, third] = flags.map(u8::from);
    path(16, key)
        .put(1, &[first | second << 1 | third << 2])
        .put_u64(4, before)
        .put_u64(16, cursor.file)
        .put_u64(24, cursor.record)
        .put_u32(36, lost_until)
        .put_u64(40, own_until.file)
        .put_u64(48, own_until.record)
        .seal()
}

fn path_of(kind: u8, key: &PathKey, of: &Fingerprint) -> RecordBytes {
    fingerprint(path(kind, key), of).seal()
}

fn counted(origin: u32, first: u64, last: u64) -> RecordBytes {
    Fields::new(20)
        .put_u32(4, origin)
        .put_u64(16, first)
        .put_u64(24, last)
        .seal()
}

fn path_skipped(key: &PathKey, delivered: &Delivered) -> RecordBytes {
    fingerprint(path(17, key), &delivered.fingerprint)
        .put_u16(4, delivered.path)
        .put_u64(16, delivered.record.file)
        .put_u64(24, delivered.record.record)
        .seal()
}

fn step(kind: u8, step: &Step) -> Fields {
    let mut fields = Fields::new(kind);
    fields
        .put_u16(2, step.source)
        .put_u32(4, step.log_end)
        .put_u32(8, step.source_file)
        .put_u64(16, step.source_offset)
        .put_u32(48, step.durable_to)
        .put_u32(52, step.source_server_id)
        .put_u32(56, step.durable_records);
    fields
}

fn recorded(kind: u8, flags: u8, step: &Step, transaction: &Recorded) -> RecordBytes {
    let mut fields = self::step(kind, step);
    fields.put_u32(32, transaction.server_id);
    let evidence_flags = match transaction.identity {
        RecordedIdentity::MySql {
            origin,
            gno,
            evidence,
        } => {
            fields.put_u32(12, origin).put_u64(24, gno);
            self::evidence(&mut fields, &evidence)
        }
        RecordedIdentity::MariaDb {
            domain_id,
            seq_no,
            evidence,
        } => {
            fields.put_u32(12, domain_id).put_u64(24, seq_no);
            self::evidence(&mut fields, &evidence)
        }
        RecordedIdentity::Anonymous(fingerprint) => {
            fields
                .put_u32(12, fingerprint.traits)
                .put_u64(24, fingerprint.commit_timestamp)
                .put_u32(36, fingerprint.timestamp)
                .put_u64(40, fingerprint.content);
            0
        }
    };
    fields.put(1, &[flags | evidence_flags]).seal()
}

/// Writes what copies are compared by; returns its flags. An exact commit time leaves no space for
/// the latest timestamp: it is not after the commit, unless a client has set the time. Then nothing
/// is known of the events.
fn evidence(fields: &mut Fields, evidence: &CopyEvidence) -> u8 {
    let seconds = evidence.commit_time_us / SECOND_US;
    let without_changes = match evidence.has_changes {
        true => 0,
        false => WITHOUT_CHANGES,
    };
    match u32::try_from(seconds) {
        Ok(seconds) if !evidence.is_exact() => {
            fields
                .put_u32(36, evidence.earliest)
                .put_u32(40, seconds)
                .put_u32(44, evidence.latest);
            IN_SECONDS | without_changes
        }
        _ => {
            if u64::from(evidence.latest) <= seconds {
                fields.put_u32(36, evidence.earliest);
            }
            fields.put_u64(40, evidence.commit_time_us);
            without_changes
        }
    }
}

fn source_gtid(step: &Step, gtid: &MariaDbGtid, is_highest: bool) -> RecordBytes {
    self::step(7, step)
        .put(1, &[u8::from(is_highest)])
        .put_u32(12, gtid.domain_id)
        .put_u64(24, gtid.seq_no)
        .put_u32(32, gtid.server_id)
        .seal()
}

fn moved(kind: u8, step: &Step, history: &SourceHistory) -> Fields {
    let mut fields = self::step(kind, step);
    fields
        .put(1, &[u8::from(history.reading_back)])
        .put_u32(36, history.first_timestamp);
    fields
}

fn with_last(mut fields: Fields, last: Option<&LastRecorded>) -> Fields {
    if let Some(last) = last {
        fields
            .put_u32(12, last.source_file)
            .put_u64(24, last.begin)
            .put_u32(32, last.len)
            .put_u64(40, last.digest);
    }
    fields
}

fn text_of(kind: u8, text: &TextPart) -> Fields {
    let mut fields = Fields::new(kind);
    fields
        .put(1, &[text.len])
        .put_u16(8, text.part)
        .put_u16(10, text.parts)
        .put(12, &text.bytes);
    fields
}

fn gtid(kind: u8, gtid: &MariaDbGtid) -> RecordBytes {
    Fields::new(kind)
        .put_u32(4, gtid.domain_id)
        .put_u32(8, gtid.server_id)
        .put_u64(16, gtid.seq_no)
        .seal()
}

fn path(kind: u8, key: &PathKey) -> Fields {
    let mut fields = Fields::new(kind);
    fields.put_u16(2, key.path).put_u32(32, key.origin);
    fields
}

fn fingerprint(mut fields: Fields, fingerprint: &Fingerprint) -> Fields {
    fields
        .put_u32(12, fingerprint.traits)
        .put_u32(36, fingerprint.timestamp)
        .put_u64(40, fingerprint.commit_timestamp)
        .put_u64(48, fingerprint.content);
    fields
}
