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
//! transaction (1), duplicate (2), moved (3), source GTID (4)
//!  0      1       2        4         8             12       16                24
//!  | kind | flags | source | log end | source file | origin | source position | number …
//!  … 32          36          40            48           52                 56              60     64
//!  … | server_id | timestamp | fingerprint | durable to | source server_id | durable records | CRC32 |
//!
//! source file name (5), origin (6), source name (7): what a number stands for
//!  0      1          2        4        8      10                                60     64
//!  | kind | length   | source | number | part | zeros 2 | up to 48 bytes         | CRC32 |
//! ```
//!
//! *log end* is the offset in the log file behind the transaction; it was written before the
//! record. *number* is a GTID's gno or seq_no, *origin* the number of its UUID and tag (MySQL) or
//! its domain id (MariaDB). *fingerprint* is kept for sources without GTIDs, and 0. *durable to*
//! is the log offset that was known to be on disk when the record was made: what lies behind it
//! is verified at recovery. *durable records* is the same of the index, header included, in
//! records. *source server_id* is that of the server the step came from, while *server_id* is that
//! of the one on which the transaction began. A transaction's source position is that behind it on
//! its source.
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

use crate::flavor::Flavor;

/// A record of kind 1 to 4: a step of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// What was done.
    pub kind: StepKind,
    /// Whether the filter left only an empty transaction.
    pub emptied: bool,
    /// The source's number in this file; 0 is a valid one.
    pub source: u16,
    /// Offset in the log behind the transaction, or behind the newest one.
    pub log_end: u32,
    /// The number of the source's file name.
    pub source_file: u32,
    /// MySQL: number of the UUID and tag; MariaDB: domain id.
    pub origin: u32,
    /// The source's position behind the transaction.
    pub source_position: u64,
    /// gno or seq_no.
    pub number: u64,
    /// The server on which the transaction began; 0 where there is none.
    pub server_id: u32,
    /// When it began, in seconds since 1970.
    pub timestamp: u32,
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
}

/// What a [`Definition`] defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionKind {
    /// A binlog file of a source.
    SourceFile,
    /// UUID (16 bytes) and tag of MySQL GTIDs.
    Origin,
    /// A source's name in the configuration.
    SourceName,
}

/// A record of kind 5 to 7: a part of the name that a number stands for.
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
pub fn encode_header(flavor: Flavor) -> Bytes {
    let mut record = [0; RECORD_LEN];
    put(&mut record, 0, &MAGIC);
    put(&mut record, 4, &VERSION.to_le_bytes());
    let flavor = match flavor {
        Flavor::MySql => 1,
        Flavor::MariaDb => 2,
    };
    put(&mut record, 6, &[flavor]);
    seal(record)
}

/// Reads a header.
///
/// # Errors
/// When it is damaged, or of another program or version.
pub fn decode_header(record: &Bytes) -> Result<Flavor, RecordError> {
    if get::<4>(record, 0) != MAGIC {
        return Err(RecordError::Magic);
    }
    unseal(record)?;
    match u16::from_le_bytes(get(record, 4)) {
        VERSION => {}
        other => return Err(RecordError::Version(other)),
    }
    match get::<1>(record, 6) {
        [1] => Ok(Flavor::MySql),
        [2] => Ok(Flavor::MariaDb),
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
        };
        put(&mut record, 0, &[kind, u8::from(self.emptied)]);
        put(&mut record, 2, &self.source.to_le_bytes());
        put(&mut record, 4, &self.log_end.to_le_bytes());
        put(&mut record, 8, &self.source_file.to_le_bytes());
        put(&mut record, 12, &self.origin.to_le_bytes());
        put(&mut record, 16, &self.source_position.to_le_bytes());
        put(&mut record, 24, &self.number.to_le_bytes());
        put(&mut record, 32, &self.server_id.to_le_bytes());
        put(&mut record, 36, &self.timestamp.to_le_bytes());
        put(&mut record, 48, &self.durable_to.to_le_bytes());
        put(&mut record, 52, &self.source_server_id.to_le_bytes());
        put(&mut record, 56, &self.durable_records.to_le_bytes());
        seal(record)
    }
}

/// The records that define `number` as `text`, which may be of any length.
pub fn encode_definition(
    kind: DefinitionKind,
    source: u16,
    number: u32,
    text: &[u8],
) -> Vec<Bytes> {
    let kind = match kind {
        DefinitionKind::SourceFile => 5,
        DefinitionKind::Origin => 6,
        DefinitionKind::SourceName => 7,
    };
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
        5 => return Ok(definition(DefinitionKind::SourceFile)),
        6 => return Ok(definition(DefinitionKind::Origin)),
        7 => return Ok(definition(DefinitionKind::SourceName)),
        other => return Err(RecordError::Kind(other)),
    };
    Ok(Record::Step(Step {
        kind,
        emptied: second & 1 != 0,
        source,
        log_end: u32::from_le_bytes(get(record, 4)),
        source_file: u32::from_le_bytes(get(record, 8)),
        origin: u32::from_le_bytes(get(record, 12)),
        source_position: u64::from_le_bytes(get(record, 16)),
        number: u64::from_le_bytes(get(record, 24)),
        server_id: u32::from_le_bytes(get(record, 32)),
        timestamp: u32::from_le_bytes(get(record, 36)),
        durable_to: u32::from_le_bytes(get(record, 48)),
        source_server_id: u32::from_le_bytes(get(record, 52)),
        durable_records: u32::from_le_bytes(get(record, 56)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        Step {
            kind: StepKind::Duplicate,
            emptied: true,
            source: 2,
            log_end: 0x0102_0304,
            source_file: 9,
            origin: 7,
            source_position: 1 << 40,
            number: 1 << 50,
            server_id: 86,
            timestamp: 1_800_000_000,
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
        for flavor in [Flavor::MySql, Flavor::MariaDb] {
            assert_eq!(decode_header(&encode_header(flavor)), Ok(flavor));
        }
        assert_eq!(decode_header(&[0; RECORD_LEN]), Err(RecordError::Magic));
        let mut newer = encode_header(Flavor::MySql);
        newer[4] = 2;
        assert_eq!(decode_header(&seal(newer)), Err(RecordError::Version(2)));
    }
}
