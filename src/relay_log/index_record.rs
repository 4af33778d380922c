//! The records of a commit index, byte for byte.
//!
//! `relay-bin.000001.idx` stands beside `relay-bin.000001`: a header and any number of records,
//! 64 bytes each, all integers little-endian, the last four bytes the CRC32 of the other sixty.
//!
//! ```text
//! header
//!  0       4         6        7                                             60     64
//!  | BRIX  | version | flavor | zeros …                                     | CRC32 |
//!
//! transaction (1), duplicate (2), moved (3), source GTID (4), before the start (8)
//!  0      1       2        4         8             12       16                24
//!  | kind | flags | source | log end | source file | origin | source position | number …
//!  … 32          36          40            48           52                 56              60     64
//!  … | server_id | timestamp | content | durable to | source server_id | durable records | CRC32 |
//!
//! source file name (5), origin (6), source name (7): what a number stands for
//! emptied XA (11), ended XA (12): the xid of an XA transaction
//! kept ALTER (13), emptied ALTER (14), ended ALTER (15): domain_id, server_id, seq_no of its START
//!  0      1          2        4        8      10                                60     64
//!  | kind | length   | source | number | part | zeros 2 | up to 48 bytes         | CRC32 |
//!
//! queue of a path (9), passed over (10), newest on a path (16), may come again (17): sources
//! without GTIDs only, at the head of a file
//!  0      1       2        4           8        12       16     24       32          36
//!  | kind | flags | source | delivered | zeros | traits | file | record | server_id | timestamp …
//!  … 40                 48        56     60     64
//!  … | commit timestamp | content | zeros | CRC32 |
//!
//! flags: 1 emptied by the filter (1, 2) · 2 dropped, but no copy of anything delivered (2), or
//!        what lies before the source's start is still being read (3) ·
//!        4 new, or else its source has logged it twice (1), or
//!        the source's server was started again (3), or
//!        something of the origin that lies behind the start has come by this path (9)
//! ```
//!
//! *log end* is the offset in the log file behind the transaction; it was written before the
//! record. *number* is a GTID's gno or seq_no, *origin* the number of its UUID and tag (MySQL) or
//! its domain id (MariaDB). Without GTIDs *number*, *origin*, *timestamp* and *content* are the
//! fingerprint: commit timestamp, traits, timestamp, content; otherwise *content* is 0. The queue
//! of a path begins at *file* and *record* of the indexes, which also is where a transaction that
//! was passed over stands; *delivered* is the source that delivered it. The flavor is 1 MySQL, 2
//! MariaDB, 3 MySQL without GTIDs. In a *moved* record, *timestamp* is when the first file that
//! was read of the source was begun, if files before it are lost, else 0. *durable to*
//! is the log offset that was known to be on disk when the record was made: what lies behind it
//! is verified at recovery. *durable records* is the same of the index, header included, in
//! records. *source server_id* is that of the server the step came from, while *server_id* is that
//! of the one on which the transaction began. A transaction's source position is that behind it on
//! its source.
//!
//! An *emptied XA* was prepared, but the filter had left nothing of it; its end, which is emptied
//! too, makes it an *ended XA*. A START ALTER of MariaDB was *kept* or *emptied*, and what ends it
//! shares its fate. These records stand before the transaction's; those of what has not ended are
//! carried over into the next file's index.
//!
//! Version 1. A reader refuses other versions.

/// Bytes of the header and of each record.
pub const RECORD_LEN: usize = 64;
/// The format's version.
pub const VERSION: u16 = 1;
const MAGIC: [u8; 4] = *b"BRIX";
const COVERED_LEN: usize = RECORD_LEN - 4;
/// Bytes of text in one definition record.
const TEXT_LEN: usize = 48;

mod queue;
#[cfg(test)]
mod tests;

pub use queue::{QueueEntry, QueueRecord};

use crate::identity::Fingerprint;
use crate::identity::IdentityKind;

/// A record of kind 1 to 4: a step of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// What was done.
    pub kind: StepKind,
    /// Whether the filter left only an empty transaction.
    pub emptied: bool,
    /// Dropped although nothing that it is a copy of was delivered: it was the relay's own, or lies
    /// before its origin's start. Of `Moved`: what lies before the start is still being read.
    pub is_no_copy: bool,
    /// Without GTIDs: it is new, or its source has logged it twice. Of `Moved`: the source's server
    /// was started again.
    pub may_be_repetition: bool,
    /// The source's number in this file; 0 is a valid one.
    pub source: u16,
    /// Offset in the log behind the transaction, or behind the newest one.
    pub log_end: u32,
    /// The number of the source's file name.
    pub source_file: u32,
    /// MySQL: number of the UUID and tag, or the fingerprint's traits; MariaDB: domain id.
    pub origin: u32,
    /// The source's position behind the transaction.
    pub source_position: u64,
    /// gno or seq_no, or the fingerprint's commit timestamp.
    pub number: u64,
    /// The server on which the transaction began; 0 where there is none.
    pub server_id: u32,
    /// When it began, in seconds since 1970; without GTIDs the fingerprint's.
    pub timestamp: u32,
    /// The fingerprint's content; 0 with GTIDs.
    pub content: u64,
    /// Log offset known to be on disk when the record was made.
    pub durable_to: u32,
    /// The source's own server_id; 0 when unknown.
    pub source_server_id: u32,
    /// How many records of this index, the header included, were known to be on disk then.
    pub durable_records: u32,
}

/// The kind of a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepKind {
    /// A transaction was appended to the log.
    Transaction,
    /// A second copy was dropped; only the source's position moved.
    Duplicate,
    /// The source's position moved without a transaction.
    #[default]
    Moved,
    /// MariaDB: the newest GTID of a domain on this source's path (carried over from the file
    /// before).
    SourceGtid,
    /// A transaction without GTID that lies before its source's start, and counts as delivered.
    BeforeStart,
}

/// What a [`Definition`] defines, with its number in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DefinitionKind {
    /// A binlog file of a source.
    SourceFile = 5,
    /// UUID (16 bytes) and tag of MySQL GTIDs.
    Origin = 6,
    /// A source's name in the configuration.
    SourceName = 7,
    /// The xid of a prepared XA transaction of which the filter left nothing.
    EmptiedXa = 11,
    /// The xid of such a transaction that was committed or rolled back.
    EndedXa = 12,
    /// domain_id (4 bytes), server_id (4) and seq_no (8) of a START ALTER that was kept.
    KeptAlter = 13,
    /// The same of one of which the filter left nothing.
    EmptiedAlter = 14,
    /// The same of one that was committed or rolled back.
    EndedAlter = 15,
}

impl DefinitionKind {
    const ALL: [DefinitionKind; 8] = [
        DefinitionKind::SourceFile,
        DefinitionKind::Origin,
        DefinitionKind::SourceName,
        DefinitionKind::EmptiedXa,
        DefinitionKind::EndedXa,
        DefinitionKind::KeptAlter,
        DefinitionKind::EmptiedAlter,
        DefinitionKind::EndedAlter,
    ];

    /// Whether it is about a transaction that comes in two halves, and belongs to the step behind
    /// it.
    pub fn is_half(self) -> bool {
        !matches!(
            self,
            DefinitionKind::SourceFile | DefinitionKind::Origin | DefinitionKind::SourceName
        )
    }

    fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// A record of kind 5 to 7 or 11 to 15: a part of the name that a number stands for, or of an xid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What is defined.
    pub kind: DefinitionKind,
    /// The source it belongs to (not for origins).
    pub source: u16,
    /// The number.
    pub number: u32,
    /// Which part of the text this is, from 0.
    pub part: u16,
    /// The text, at most 48 bytes.
    pub text: Vec<u8>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A step of one source.
    Step(Step),
    /// What a number stands for.
    Definition(Definition),
    /// A queue of a path.
    Queue(QueueRecord),
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The CRC32 does not match.
    #[error("checksum mismatch: stored {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// The record's last four bytes.
        stored: u32,
        /// The checksum of the others.
        computed: u32,
    },
    /// A kind that this version does not know.
    #[error("unknown record kind {0}")]
    Kind(u8),
    /// The header is not one.
    #[error("not a commit index: it does not begin with BRIX")]
    Magic,
    /// Another version wrote it.
    #[error("commit index of version {0}, this program reads version 1")]
    Version(u16),
    /// A flavor that does not exist.
    #[error("unknown flavor {0}")]
    Flavor(u8),
    /// A kind 13 to 15 that does not hold a GTID.
    #[error("a record about an ALTER holds no GTID")]
    Half,
}

type Bytes = [u8; RECORD_LEN];

/// Writes `value` at `at` of a record under construction; offsets are the constants above.
fn put(record: &mut Bytes, at: usize, value: &[u8]) {
    for (slot, byte) in record.iter_mut().skip(at).zip(value) {
        *slot = *byte;
    }
}

fn seal(mut record: Bytes) -> Bytes {
    let checksum = crc32fast::hash(record.first_chunk::<COVERED_LEN>().map_or(&[], |c| c));
    put(&mut record, COVERED_LEN, &checksum.to_le_bytes());
    record
}

fn get<const N: usize>(record: &Bytes, at: usize) -> [u8; N] {
    record
        .get(at..)
        .and_then(|tail| tail.first_chunk::<N>())
        .copied()
        .unwrap_or([0; N])
}

fn unseal(record: &Bytes) -> Result<(), RecordError> {
    let computed = crc32fast::hash(record.first_chunk::<COVERED_LEN>().map_or(&[], |c| c));
    let stored = u32::from_le_bytes(get(record, COVERED_LEN));
    if stored == computed {
        Ok(())
    } else {
        Err(RecordError::Checksum { stored, computed })
    }
}

/// The header of a file's index.
pub fn encode_header(kind: IdentityKind) -> Bytes {
    let mut record = [0; RECORD_LEN];
    put(&mut record, 0, &MAGIC);
    put(&mut record, 4, &VERSION.to_le_bytes());
    let kind = match kind {
        IdentityKind::MySql => 1,
        IdentityKind::MariaDb => 2,
        IdentityKind::Anonymous => 3,
    };
    put(&mut record, 6, &[kind]);
    seal(record)
}

/// Reads a header.
///
/// # Errors
/// When it is damaged, or of another program or version.
pub fn decode_header(record: &Bytes) -> Result<IdentityKind, RecordError> {
    if get::<4>(record, 0) != MAGIC {
        return Err(RecordError::Magic);
    }
    unseal(record)?;
    match u16::from_le_bytes(get(record, 4)) {
        VERSION => {}
        other => return Err(RecordError::Version(other)),
    }
    match get::<1>(record, 6) {
        [1] => Ok(IdentityKind::MySql),
        [2] => Ok(IdentityKind::MariaDb),
        [3] => Ok(IdentityKind::Anonymous),
        [other] => Err(RecordError::Flavor(other)),
    }
}

impl Step {
    /// The record's bytes.
    pub fn encode(&self) -> Bytes {
        let mut record = [0; RECORD_LEN];
        let kind = match self.kind {
            StepKind::Transaction => 1,
            StepKind::Duplicate => 2,
            StepKind::Moved => 3,
            StepKind::SourceGtid => 4,
            StepKind::BeforeStart => 8,
        };
        let flags = u8::from(self.emptied)
            | u8::from(self.is_no_copy) << 1
            | u8::from(self.may_be_repetition) << 2;
        put(&mut record, 0, &[kind, flags]);
        put(&mut record, 2, &self.source.to_le_bytes());
        put(&mut record, 4, &self.log_end.to_le_bytes());
        put(&mut record, 8, &self.source_file.to_le_bytes());
        put(&mut record, 12, &self.origin.to_le_bytes());
        put(&mut record, 16, &self.source_position.to_le_bytes());
        put(&mut record, 24, &self.number.to_le_bytes());
        put(&mut record, 32, &self.server_id.to_le_bytes());
        put(&mut record, 36, &self.timestamp.to_le_bytes());
        put(&mut record, 40, &self.content.to_le_bytes());
        put(&mut record, 48, &self.durable_to.to_le_bytes());
        put(&mut record, 52, &self.source_server_id.to_le_bytes());
        put(&mut record, 56, &self.durable_records.to_le_bytes());
        seal(record)
    }

    /// Of a transaction without GTID: by which it is known.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            commit_timestamp: self.number,
            content: self.content,
            timestamp: self.timestamp,
            traits: self.origin,
        }
    }
}

/// The records that define `number` as `text`, which may be of any length.
pub fn encode_definition(
    kind: DefinitionKind,
    source: u16,
    number: u32,
    text: &[u8],
) -> Vec<Bytes> {
    let kind = kind as u8;
    let parts = text.chunks(TEXT_LEN).enumerate().map(|(part, text)| {
        let mut record = [0; RECORD_LEN];
        put(&mut record, 0, &[kind, text.len() as u8]);
        put(&mut record, 2, &source.to_le_bytes());
        put(&mut record, 4, &number.to_le_bytes());
        put(&mut record, 8, &(part as u16).to_le_bytes());
        put(&mut record, 12, text);
        seal(record)
    });
    parts.collect()
}

/// Reads one record.
///
/// # Errors
/// When it is damaged or of an unknown kind.
pub fn decode(record: &Bytes) -> Result<Record, RecordError> {
    unseal(record)?;
    let [kind, second] = get::<2>(record, 0);
    let source = u16::from_le_bytes(get(record, 2));
    let definition = |kind| {
        let text = get::<TEXT_LEN>(record, 12);
        let text = text.get(..usize::from(second)).unwrap_or(&text).to_vec();
        let number = u32::from_le_bytes(get(record, 4));
        let part = u16::from_le_bytes(get(record, 8));
        Record::Definition(Definition {
            kind,
            source,
            number,
            part,
            text,
        })
    };
    let kind = match kind {
        1 => StepKind::Transaction,
        2 => StepKind::Duplicate,
        3 => StepKind::Moved,
        4 => StepKind::SourceGtid,
        8 => StepKind::BeforeStart,
        kind if queue::KINDS.contains(&kind) => {
            return Ok(Record::Queue(QueueRecord::decode(record, kind, second)));
        }
        other => match DefinitionKind::of_code(other) {
            Some(kind) => return Ok(definition(kind)),
            None => return Err(RecordError::Kind(other)),
        },
    };
    Ok(Record::Step(Step {
        kind,
        emptied: second & 1 != 0,
        is_no_copy: second & 2 != 0,
        may_be_repetition: second & 4 != 0,
        source,
        log_end: u32::from_le_bytes(get(record, 4)),
        source_file: u32::from_le_bytes(get(record, 8)),
        origin: u32::from_le_bytes(get(record, 12)),
        source_position: u64::from_le_bytes(get(record, 16)),
        number: u64::from_le_bytes(get(record, 24)),
        server_id: u32::from_le_bytes(get(record, 32)),
        timestamp: u32::from_le_bytes(get(record, 36)),
        content: u64::from_le_bytes(get(record, 40)),
        durable_to: u32::from_le_bytes(get(record, 48)),
        source_server_id: u32::from_le_bytes(get(record, 52)),
        durable_records: u32::from_le_bytes(get(record, 56)),
    }))
}
