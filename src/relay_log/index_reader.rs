//! The reader of commit indexes: record by record, starting at any record.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::LogError;
use super::index_record::{
    IndexHeader, LastRecorded, RECORD_LEN, Record, RecordBytes, RecordError, Recorded,
    RecordedIdentity, Step,
};
use super::published::LastReceived;
use crate::data_file;
use crate::gtid::{Gtid, MariaDbGtid, Sid, Tag, Uuid};
use crate::identity::{HistoryDigest, Identity, IdentityKind};
use crate::position::SourcePosition;

/// Records read at once when the whole index is read.
const BUFFER_RECORDS: usize = 1024;
/// Records read at once when a few are looked up.
const LOOKUP_RECORDS: usize = 16;

/// A record with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberedRecord {
    /// The record.
    pub record: Record,
    /// Its number; the header is 0.
    pub number: u64,
}

impl NumberedRecord {
    /// The offset of its end in the index, in bytes.
    pub fn index_end(&self) -> u64 {
        (self.number + 1) * RECORD_LEN as u64
    }
}

/// Reads a commit index, and remembers the definitions that it has read.
#[derive(Debug)]
pub struct IndexReader<'a> {
    path: PathBuf,
    file: BufReader<File>,
    header: IndexHeader,
    /// The next record's number.
    next: u64,
    /// The records from number `staged_from` on, which are not in the file yet.
    staged: &'a [u8],
    staged_from: u64,
    definitions: Definitions,
}

impl IndexReader<'_> {
    /// Opens the index at `path` and reads its header.
    ///
    /// # Errors
    /// When it cannot be opened, or does not begin with a header.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Self::with_buffer(path, BUFFER_RECORDS)
    }

    /// As [`IndexReader::open`], for looking up a few records.
    ///
    /// # Errors
    /// As [`IndexReader::open`].
    pub fn open_for_lookup(path: &Path) -> Result<Self, LogError> {
        Self::with_buffer(path, LOOKUP_RECORDS)
    }

    fn with_buffer(path: &Path, records: usize) -> Result<Self, LogError> {
        let file =
            data_file::open_to_read(path).map_err(|cause| LogError::io("open", path, cause))?;
        let mut file = BufReader::with_capacity(RECORD_LEN * records, file);
        let mut bytes = [0; RECORD_LEN];
        file.read_exact(&mut bytes)
            .map_err(|cause| LogError::io("read", path, cause))?;
        let header = IndexHeader::decode(&bytes).map_err(|cause| LogError::Index {
            path: path.to_owned(),
            offset: 0,
            cause,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            header,
            next: 1,
            staged: &[],
            staged_from: u64::MAX,
            definitions: Definitions::default(),
        })
    }
}

impl<'a> IndexReader<'a> {
    /// Reads the records from number `from` on in `staged`: whole records that are not in the file
    /// yet.
    #[must_use]
    pub fn with_staged(self, from: u64, staged: &'a [u8]) -> Self {
        Self {
            staged,
            staged_from: from,
            ..self
        }
    }

    /// The header.
    pub fn header(&self) -> &IndexHeader {
        &self.header
    }

    /// How the log identifies its transactions.
    pub fn kind(&self) -> IdentityKind {
        self.header.kind
    }

    /// The number of the next record.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Continues at record `number`, which may be before or after the next one. Definitions in
    /// skipped records are not known then.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn seek(&mut self, number: u64) -> Result<(), LogError> {
        let number = number.max(1);
        let offset = SeekFrom::Start(number * RECORD_LEN as u64);
        self.file
            .seek(offset)
            .map_err(|cause| LogError::io("read", &self.path, cause))?;
        self.next = number;
        Ok(())
    }

    /// Reads the head: the records that were carried over from the file before.
    ///
    /// # Errors
    /// As [`IndexReader::next_record`].
    pub fn read_head(&mut self) -> Result<Vec<Record>, LogError> {
        let mut records = Vec::new();
        while let Some(record) = self.next_of_head()? {
            records.push(record);
        }
        Ok(records)
    }

    /// The next record of the head; `None` after the head.
    fn next_of_head(&mut self) -> Result<Option<Record>, LogError> {
        if self.next >= u64::from(self.header.head_records) {
            return Ok(None);
        }
        match self.next_record()? {
            Some(read) => Ok(Some(read.record)),
            None => Err(LogError::Unexpected {
                path: self.path.clone(),
                offset: self.next * RECORD_LEN as u64,
                found: "the commit index ends here".to_owned(),
                expected: "the rest of its head",
            }),
        }
    }

    /// Skips the head, whose definitions are known then.
    ///
    /// # Errors
    /// As [`IndexReader::next_record`].
    pub fn skip_head(&mut self) -> Result<(), LogError> {
        while self.next_of_head()?.is_some() {}
        Ok(())
    }

    /// The next record. `None` at the end of the file, even if a part of a record follows: the
    /// program was killed while writing it.
    ///
    /// # Errors
    /// When the file cannot be read, or the record is damaged.
    pub fn next_record(&mut self) -> Result<Option<NumberedRecord>, LogError> {
        let Some(bytes) = self.next_bytes()? else {
            return Ok(None);
        };
        let number = self.next;
        let record =
            Record::decode(&bytes, self.header.kind).map_err(|cause| self.damage(number, cause))?;
        self.definitions.note(&record);
        self.next += 1;
        Ok(Some(NumberedRecord { record, number }))
    }

    /// Skips a damaged record.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn skip_damaged(&mut self) -> Result<(), LogError> {
        self.seek(self.next + 1)
    }

    fn next_bytes(&mut self) -> Result<Option<RecordBytes>, LogError> {
        if self.next >= self.staged_from {
            let at = (self.next - self.staged_from) as usize * RECORD_LEN;
            let rest = self.staged.get(at..);
            return Ok(rest.and_then(|rest| rest.first_chunk()).copied());
        }
        let mut bytes = [0; RECORD_LEN];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(cause) => Err(LogError::io("read", &self.path, cause)),
        }
    }

    fn damage(&self, number: u64, cause: RecordError) -> LogError {
        LogError::Index {
            path: self.path.clone(),
            offset: number * RECORD_LEN as u64,
            cause,
        }
    }

    /// The sources that records before define: their numbers and names.
    pub fn source_names(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let sources = self.definitions.sources.iter();
        sources.map(|(source, name)| (*source, name.as_slice()))
    }

    /// The number of the source with this name, if a record before defines it.
    pub fn source_number(&self, name: &str) -> Option<u16> {
        let mut names = self.definitions.sources.iter();
        let found = names.find(|(_, text)| text.as_slice() == name.as_bytes());
        found.map(|(source, _)| *source)
    }

    /// The configured name of the step's source.
    ///
    /// # Errors
    /// When no record before defines it.
    pub fn name_of(&self, step: &Step) -> Result<Arc<str>, LogError> {
        match self.definitions.sources.get(&step.source) {
            Some(name) => Ok(String::from_utf8_lossy(name).into()),
            None => Err(self.undefined("source", u32::from(step.source))),
        }
    }

    /// The source's position after the step.
    ///
    /// # Errors
    /// When no record before defines the file.
    pub fn position(&self, step: &Step) -> Result<SourcePosition, LogError> {
        if step.source_file == 0 {
            return Ok(SourcePosition::new("", step.source_offset));
        }
        let file = self.source_file(step.source, step.source_file)?;
        Ok(SourcePosition::new(file.clone(), step.source_offset))
    }

    fn source_file(&self, source: u16, number: u32) -> Result<&Arc<str>, LogError> {
        match self.definitions.files.get(&(source, number)) {
            Some((file, _)) => Ok(file),
            None => Err(self.undefined("source file", number)),
        }
    }

    /// The newest transaction that the step's source sent.
    ///
    /// # Errors
    /// When no record before defines its file.
    pub fn last_received(
        &self,
        step: &Step,
        last: &LastRecorded,
    ) -> Result<LastReceived, LogError> {
        Ok(LastReceived {
            file: self.source_file(step.source, last.source_file)?.clone(),
            begin: last.begin,
            end: last.begin + u64::from(last.len),
            digest: HistoryDigest::Recorded(last.digest),
        })
    }

    /// The identity of a transaction.
    ///
    /// # Errors
    /// When no record before defines its origin.
    pub fn identity(&self, transaction: &Recorded) -> Result<Identity, LogError> {
        Ok(match transaction.identity {
            RecordedIdentity::Anonymous(fingerprint) => Identity::Anonymous(fingerprint),
            RecordedIdentity::MariaDb {
                domain_id, seq_no, ..
            } => Identity::MariaDb(MariaDbGtid {
                domain_id,
                server_id: transaction.server_id,
                seq_no,
            }),
            RecordedIdentity::MySql { origin, gno, .. } => {
                let sid = self.definitions.origin(origin);
                let sid = sid.ok_or_else(|| self.undefined("origin", origin))?;
                Identity::MySql(Gtid { sid, gno })
            }
        })
    }

    /// The interval of a record of counted GTIDs; `None` for other records.
    ///
    /// # Errors
    /// When no record before defines its origin.
    pub fn counted(&self, record: &Record) -> Result<Option<(Sid, u64, u64)>, LogError> {
        let Record::CountedGtids {
            origin,
            first,
            last,
        } = *record
        else {
            return Ok(None);
        };
        let sid = self.definitions.origin(origin);
        let sid = sid.ok_or_else(|| self.undefined("origin", origin))?;
        Ok(Some((sid, first, last)))
    }

    /// The UUID and tag with this number, if a record before defines it.
    pub fn origin(&self, number: u32) -> Option<Sid> {
        self.definitions.origin(number)
    }

    fn undefined(&self, what: &'static str, number: u32) -> LogError {
        self.damage(
            self.next.saturating_sub(1),
            RecordError::Undefined { what, number },
        )
    }
}

/// Whether a good record after the damaged record number `damaged` of the index at `path` has a
/// *durable records* that includes it: then the damage is not the torn end of a write.
///
/// # Errors
/// When the index cannot be read.
pub fn is_followed_by_proof(path: &Path, damaged: u64) -> Result<bool, LogError> {
    let mut index = IndexReader::open(path)?;
    index.seek(damaged + 1)?;
    loop {
        match index.next_record() {
            Ok(Some(NumberedRecord { record, .. })) => {
                let step = record.step();
                if step.is_some_and(|step| u64::from(step.durable_records) > damaged) {
                    return Ok(true);
                }
            }
            Ok(None) => return Ok(false),
            Err(LogError::Index { .. }) => index.skip_damaged()?,
            Err(error) => return Err(error),
        }
    }
}

/// The names that were defined.
#[derive(Debug, Default)]
struct Definitions {
    sources: HashMap<u16, Vec<u8>>,
    /// By number of source and file: the name, and the bytes of the parts read so far.
    files: HashMap<(u16, u32), (Arc<str>, Vec<u8>)>,
    origins: HashMap<u32, Vec<u8>>,
}

impl Definitions {
    fn note(&mut self, record: &Record) {
        match record {
            Record::SourceName { source, text } => {
                text.append_to(self.sources.entry(*source).or_default());
            }
            Record::SourceFile {
                source,
                number,
                text,
            } => {
                let entry = self.files.entry((*source, *number));
                let (name, bytes) = entry.or_insert_with(|| (Arc::from(""), Vec::new()));
                text.append_to(bytes);
                *name = String::from_utf8_lossy(bytes).into();
            }
            Record::Origin { number, text } => {
                text.append_to(self.origins.entry(*number).or_default());
            }
            _ => {}
        }
    }

    fn origin(&self, number: u32) -> Option<Sid> {
        let (uuid, tag) = self.origins.get(&number)?.split_first_chunk::<16>()?;
        let tag = match tag {
            [] => Tag::NONE,
            tag => Tag::from_bytes(tag).ok()?,
        };
        Some(Sid {
            uuid: Uuid(*uuid),
            tag,
        })
    }
}
