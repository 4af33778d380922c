//! The records of a commit index.
#![doc = include_str!("commit_index.md")]

mod bytes;
mod decode;
mod encode;
mod error;
mod header;
#[cfg(test)]
mod tests;

pub use bytes::RecordBytes;
pub use error::RecordError;
pub use header::IndexHeader;

use crate::gtid::MariaDbGtid;
use crate::identity::{CopyEvidence, Fingerprint};
use crate::merge::pairing::Delivered;
use crate::position::RecordNumber;

/// Bytes of the header and of each record.
pub const RECORD_LEN: usize = 64;
/// The version of the format that is written.
pub const VERSION: u16 = 4;
/// The oldest version that is read. What it lacks counts as unknown.
const OLDEST_VERSION: u16 = 2;
/// Flag of a transaction with a GTID: its times are whole seconds.
const IN_SECONDS: u8 = 4;
/// Flag of a transaction with a GTID: its source has logged no change in it.
const WITHOUT_CHANGES: u8 = 8;
/// Flag of an appended transaction of MariaDB: its GTID was delivered before.
const EXECUTED_AGAIN: u8 = 16;
/// Flag of an appended transaction: the filter dropped or rewrote a part of it.
const ALTERED: u8 = 32;
/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;
/// Bytes of text in one record.
const TEXT_LEN: usize = 48;

/// A source's progress, and how much of the log was durable: the fields that all steps have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// The source's number in this index; 0 is a valid one.
    pub source: u16,
    /// End offset in the log file of the transaction, or of the newest one.
    pub log_end: u32,
    /// The number of the source's binlog file; 0 if it has none yet.
    pub source_file: u32,
    /// The source's own offset in that file, after this step.
    pub source_offset: u64,
    /// The source's own server_id; 0 when unknown.
    pub source_server_id: u32,
    /// Log offset known to be on disk when the record was made. Invariant: `durable_to ≤ log_end`.
    pub durable_to: u32,
    /// Records of this index, the header included, known to be on disk then.
    pub durable_records: u32,
}

/// A transaction's identity in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedIdentity {
    /// MySQL with GTIDs.
    MySql {
        /// The number of its UUID and tag.
        origin: u32,
        /// The number after the colon.
        gno: u64,
        /// What copies are compared by.
        evidence: CopyEvidence,
    },
    /// MariaDB.
    MariaDb {
        /// The GTID's domain_id; its server_id is that of the transaction.
        domain_id: u32,
        /// The GTID's sequence number.
        seq_no: u64,
        /// What copies are compared by.
        evidence: CopyEvidence,
    },
    /// MySQL without GTIDs.
    Anonymous(Fingerprint),
}

/// A transaction in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its identity.
    pub identity: RecordedIdentity,
    /// The server on which it began.
    pub server_id: u32,
}

impl Recorded {
    /// When it committed on its origin, in microseconds since 1970, as
    /// [`crate::transaction::Transaction::commit_time_us`].
    pub fn commit_time_us(&self) -> u64 {
        match self.identity {
            RecordedIdentity::MySql { evidence, .. }
            | RecordedIdentity::MariaDb { evidence, .. } => evidence.commit_time_us,
            RecordedIdentity::Anonymous(fingerprint) => match fingerprint.commit_timestamp {
                0 => u64::from(fingerprint.timestamp) * 1_000_000,
                commit_time_us => commit_time_us,
            },
        }
    }
}

/// The part of a source's history that matters without GTIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceHistory {
    /// Creation time (source clock, seconds since 1970) of the first file that was read; 0 if no
    /// earlier file was purged.
    pub first_timestamp: u32,
    /// Whether the binlog before the source's start is still being read, so that the log has not
    /// begun.
    pub reading_back: bool,
}

/// The newest transaction that a source sent, see [`crate::relay_log::LastReceived`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecorded {
    /// The number of the source's binlog file.
    pub source_file: u32,
    /// Where the transaction before it ended in that file, or 4.
    pub begin: u64,
    /// Bytes from there to its end. Invariant: not 0.
    pub len: u32,
    /// See [`crate::identity::HistoryDigest`].
    pub digest: u64,
}

/// A part of a text. Long texts need several records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextPart {
    /// Which part, from 0. Invariant: less than `parts`.
    part: u16,
    /// The number of parts of the text.
    parts: u16,
    /// Invariant: at most `TEXT_LEN`.
    len: u8,
    bytes: [u8; TEXT_LEN],
}

impl TextPart {
    /// The parts of `text`, in order; one empty part for an empty text. Texts are names and xids:
    /// at most 64 KiB.
    pub fn parts(text: &[u8]) -> impl Iterator<Item = TextPart> + '_ {
        let empty = text.is_empty().then_some(&[][..]);
        let chunks = empty.into_iter().chain(text.chunks(TEXT_LEN));
        let parts = text.len().div_ceil(TEXT_LEN).max(1) as u16;
        (0u16..).zip(chunks).map(move |(part, chunk)| {
            let mut bytes = [0; TEXT_LEN];
            for (slot, byte) in bytes.iter_mut().zip(chunk) {
                *slot = *byte;
            }
            TextPart {
                part,
                parts,
                len: chunk.len() as u8,
                bytes,
            }
        })
    }

    /// Appends this part to the parts before it; the first part begins the text.
    pub fn append_to(&self, text: &mut Vec<u8>) {
        if self.part == 0 {
            text.clear();
        }
        text.extend(self.bytes.iter().take(usize::from(self.len)));
    }

    /// Whether the text ends with this part.
    pub fn is_last(&self) -> bool {
        self.part + 1 == self.parts
    }
}

/// One record after the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// 1: a transaction was appended to the log.
    Transaction {
        /// Its source's progress after it.
        step: Step,
        /// The transaction.
        transaction: Recorded,
        /// Whether the filter left only an empty transaction.
        emptied: bool,
        /// Whether the filter dropped or rewrote a part of it.
        altered: bool,
        /// Without GTIDs: whether its source may have logged it twice.
        may_be_repetition: bool,
        /// MariaDB: whether its GTID was delivered before: its origin has executed it again.
        executed_again: bool,
    },
    /// 2: a copy of a delivered transaction was dropped.
    Copy {
        /// Its source's progress after it.
        step: Step,
        /// The transaction.
        transaction: Recorded,
    },
    /// 3: a transaction was dropped although no copy of it was delivered: it has the relay's own
    /// server_id, or precedes another path's first file.
    Ignored {
        /// Its source's progress after it.
        step: Step,
        /// The transaction.
        transaction: Recorded,
        /// Without GTIDs: whether it drops temporary tables of another server's ended sessions.
        is_cleanup: bool,
    },
    /// 4: a transaction without a GTID that is before its source's start, and counts as
    /// delivered.
    BeforeStart {
        /// Its source's progress after it.
        step: Step,
        /// The transaction.
        transaction: Recorded,
    },
    /// 5: the source's position, where it moved without a transaction.
    SourceMoved {
        /// The source's progress.
        step: Step,
        /// Its history.
        history: SourceHistory,
        /// In the head of an index: the newest transaction that the source sent.
        last: Option<LastRecorded>,
    },
    /// 6: the same, because the source's server was restarted.
    SourceRestarted {
        /// The source's progress.
        step: Step,
        /// Its history.
        history: SourceHistory,
    },
    /// 7: MariaDB: a GTID that this source has sent, carried over from the file before.
    SourceGtid {
        /// The source's progress.
        step: Step,
        /// The GTID.
        gtid: MariaDbGtid,
        /// Whether it is the highest of its domain and server, not the newest of its domain.
        is_highest: bool,
    },
    /// 8: a part of a source's name in the configuration.
    SourceName {
        /// The source's number in this index.
        source: u16,
        /// The name.
        text: TextPart,
    },
    /// 9: a part of the name of a source's binlog file.
    SourceFile {
        /// The source's number in this index.
        source: u16,
        /// The number assigned to the file.
        number: u32,
        /// The name.
        text: TextPart,
    },
    /// 10: a part of the UUID (16 bytes) and tag of MySQL GTIDs.
    Origin {
        /// The number assigned to them.
        number: u32,
        /// UUID and tag.
        text: TextPart,
    },
    /// 11: a part of the xid of a prepared XA transaction that the filter emptied.
    EmptiedXa(TextPart),
    /// 12: a part of the xid of an emptied XA transaction that was committed or rolled back.
    EndedXa(TextPart),
    /// 13: MariaDB: the GTID of a START ALTER that was kept.
    KeptAlter(MariaDbGtid),
    /// 14: MariaDB: the GTID of a START ALTER that the filter emptied.
    EmptiedAlter(MariaDbGtid),
    /// 15: MariaDB: the GTID of a START ALTER that was committed or rolled back.
    EndedAlter(MariaDbGtid),
    /// 16: without GTIDs: where a path's queue of one origin's transactions begins.
    PathQueue {
        /// The path and origin.
        key: PathKey,
        /// The first record to read.
        cursor: RecordNumber,
        /// How many transactions that precede another path's first file have not arrived yet.
        before: u64,
        /// Whether a transaction of the origin after the start has arrived on this path.
        is_aligned: bool,
        /// Whether a server has logged statements of the origin as rows.
        formats_differ: bool,
        /// Whether the path began again at a position that an administrator chose.
        begins_again: bool,
        /// The queue also has what the path itself delivered before this record.
        own_until: RecordNumber,
        /// The second of the newest entry that was removed with its file; 0 if none was.
        lost_until: u32,
    },
    /// 17: without GTIDs: a transaction that the path skipped.
    PathSkipped {
        /// The path and origin.
        key: PathKey,
        /// The transaction.
        delivered: Delivered,
    },
    /// 18: without GTIDs: one of the newest transactions of the path.
    PathNewest {
        /// The path and origin.
        key: PathKey,
        /// The transaction.
        fingerprint: Fingerprint,
    },
    /// 19: without GTIDs: a transaction that the source may log again after its server's restart.
    PathAgain {
        /// The path and origin.
        key: PathKey,
        /// The transaction.
        fingerprint: Fingerprint,
    },
    /// 20: MySQL with GTIDs: an interval of GTIDs that count as delivered by decision of an administrator. No
    /// file of the log contains them. Carried over into every later file.
    CountedGtids {
        /// The number of UUID and tag.
        origin: u32,
        /// The first gno.
        first: u64,
        /// The last gno.
        last: u64,
    },
    /// 21: MariaDB: with this file a new history of a server begins, which was accepted by an administrator:
    /// its sequence numbers may occur again.
    NewHistory {
        /// The server_id.
        server_id: u32,
    },
    /// 22: a part of the description of a temporary table that is open.
    OpenTemporaryTable(TextPart),
    /// 23: a part of the description of a temporary table that was dropped.
    DroppedTemporaryTable(TextPart),
    /// 24: MariaDB: a new history of a server began with an earlier file, which may have been removed: GTIDs do not
    /// show what a replica has. Carried over into every later file.
    EarlierHistory {
        /// The server_id.
        server_id: u32,
    },
    /// 25: MariaDB: from this file on, all transactions of its domain and server up to this one count as delivered by
    /// decision of an administrator. No file of the log contains those that were not delivered before.
    SkippedGtid(MariaDbGtid),
}

/// A path, and one origin of the transactions on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathKey {
    /// The path: a source's number in this index.
    pub path: u16,
    /// The origin's server_id.
    pub origin: u32,
}

impl Record {
    /// The step of a record of kind 1 to 7; `None` for the others, which describe a later step.
    pub fn step(&self) -> Option<&Step> {
        match self {
            Record::Transaction { step, .. }
            | Record::Copy { step, .. }
            | Record::Ignored { step, .. }
            | Record::BeforeStart { step, .. }
            | Record::SourceMoved { step, .. }
            | Record::SourceRestarted { step, .. }
            | Record::SourceGtid { step, .. } => Some(step),
            _ => None,
        }
    }

    /// The transaction of a record of kind 1 to 4.
    pub fn transaction(&self) -> Option<&Recorded> {
        match self {
            Record::Transaction { transaction, .. }
            | Record::Copy { transaction, .. }
            | Record::Ignored { transaction, .. }
            | Record::BeforeStart { transaction, .. } => Some(transaction),
            _ => None,
        }
    }

    /// The kind, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Record::Transaction { .. } => "transaction",
            Record::Copy { .. } => "dropped copy",
            Record::Ignored { .. } => "ignored transaction",
            Record::BeforeStart { .. } => "transaction before the start",
            Record::SourceMoved { .. } => "source position",
            Record::SourceRestarted { .. } => "source restart",
            Record::SourceGtid { .. } => "source GTID",
            Record::SourceName { .. } => "source name",
            Record::SourceFile { .. } => "source file",
            Record::Origin { .. } => "origin",
            Record::EmptiedXa(_) => "emptied XA",
            Record::EndedXa(_) => "ended XA",
            Record::KeptAlter(_) => "kept ALTER",
            Record::EmptiedAlter(_) => "emptied ALTER",
            Record::EndedAlter(_) => "ended ALTER",
            Record::PathQueue { .. } => "path queue",
            Record::PathSkipped { .. } => "transaction skipped on a path",
            Record::PathNewest { .. } => "newest transaction of a path",
            Record::PathAgain { .. } => "transaction that may be logged again",
            Record::CountedGtids { .. } => "counted GTIDs",
            Record::NewHistory { .. } => "new history",
            Record::EarlierHistory { .. } => "earlier history",
            Record::SkippedGtid(_) => "skipped GTID",
            Record::OpenTemporaryTable(_) => "open temporary table",
            Record::DroppedTemporaryTable(_) => "dropped temporary table",
        }
    }
}
