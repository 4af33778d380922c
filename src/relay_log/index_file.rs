//! Reading a commit index from its start.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index_record::{
    self, Definition, DefinitionKind, QueueRecord, RECORD_LEN, Record, RecordError, Step, StepKind,
};
use super::{LogError, half_record};
use crate::gtid::{Gtid, MariaDbGtid, Sid, Tag, Uuid};
use crate::identity::Identity;
use crate::identity::IdentityKind;
use crate::merge::halves::HalfChange;

/// Reads an index record by record and keeps the definitions met so far.
#[derive(Debug)]
pub struct IndexFile {
    path: PathBuf,
    reader: BufReader<File>,
    kind: IdentityKind,
    /// Offset of the next record.
    offset: u64,
    texts: HashMap<(DefinitionKind, u16, u32), Vec<u8>>,
    queues: Vec<QueueRecord>,
    /// Records of halves before the newest step, since the step before it.
    halves: Vec<(DefinitionKind, Vec<u8>)>,
}

/// A step with its place in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedStep {
    /// The step.
    pub step: Step,
    /// Offset in the index behind its record.
    pub index_end: u64,
}

impl IndexFile {
    /// Opens the index at `path` and reads its header.
    ///
    /// # Errors
    /// When it cannot be opened, or its header is not one.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file = File::open(path).map_err(|cause| LogError::io("open", path, cause))?;
        let mut reader = BufReader::with_capacity(RECORD_LEN * 1024, file);
        let mut header = [0; RECORD_LEN];
        reader
            .read_exact(&mut header)
            .map_err(|cause| LogError::io("read", path, cause))?;
        let kind = index_record::decode_header(&header).map_err(|cause| LogError::Index {
            path: path.to_owned(),
            offset: 0,
            cause,
        })?;
        let offset = RECORD_LEN as u64;
        Ok(Self {
            path: path.to_owned(),
            reader,
            kind,
            offset,
            texts: HashMap::new(),
            queues: Vec::new(),
            halves: Vec::new(),
        })
    }

    /// By what the log's transactions are known.
    pub fn kind(&self) -> IdentityKind {
        self.kind
    }

    /// The queues of paths that stood among the records read so far.
    pub fn take_queues(&mut self) -> Vec<QueueRecord> {
        std::mem::take(&mut self.queues)
    }

    /// The next step; definitions before it are taken in. `None` at the end of the file, where a
    /// part of a record may still stand if the program was killed while it wrote.
    ///
    /// # Errors
    /// When the file cannot be read, or a record is damaged.
    pub fn next_step(&mut self) -> Result<Option<PlacedStep>, LogError> {
        // Most readers never take them.
        self.halves.clear();
        loop {
            let mut record = [0; RECORD_LEN];
            match self.reader.read_exact(&mut record) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(cause) => return Err(LogError::io("read", &self.path, cause)),
            }
            let decoded = index_record::decode(&record).map_err(|cause| self.damage(cause))?;
            self.offset += RECORD_LEN as u64;
            match decoded {
                Record::Definition(definition) => self.define(definition),
                Record::Queue(queue) => self.queues.push(queue),
                Record::Step(step) => {
                    return Ok(Some(PlacedStep {
                        step,
                        index_end: self.offset,
                    }));
                }
            }
        }
    }

    fn damage(&self, cause: RecordError) -> LogError {
        LogError::Index {
            path: self.path.clone(),
            offset: self.offset,
            cause,
        }
    }

    /// What the newest step changes of transactions that come in two halves.
    ///
    /// # Errors
    /// When a record is none that this program writes.
    pub fn take_half_changes(&mut self) -> Result<Vec<HalfChange>, LogError> {
        let records = std::mem::take(&mut self.halves).into_iter();
        let changes = records.map(|(kind, text)| {
            let change = half_record::decode(kind, text);
            change.ok_or_else(|| self.damage(RecordError::Half))
        });
        changes.collect()
    }

    fn define_half(&mut self, definition: Definition) {
        match self.halves.last_mut() {
            Some((_, text)) if definition.part > 0 => text.extend(definition.text),
            _ => self.halves.push((definition.kind, definition.text)),
        }
    }

    fn define(&mut self, definition: Definition) {
        if definition.kind.is_half() {
            return self.define_half(definition);
        }
        let key = (definition.kind, definition.source, definition.number);
        let text = self.texts.entry(key).or_default();
        if definition.part == 0 {
            text.clear();
        }
        text.extend(definition.text);
    }

    fn text(&self, kind: DefinitionKind, source: u16, number: u32) -> &[u8] {
        self.texts
            .get(&(kind, source, number))
            .map_or(&[], Vec::as_slice)
    }

    /// The number of the source of this name, if the records read so far define it.
    pub fn source_number(&self, name: &str) -> Option<u16> {
        let mut names = self.texts.iter();
        let found = names.find(|((kind, _, _), text)| {
            *kind == DefinitionKind::SourceName && *text == name.as_bytes()
        });
        found.map(|((_, source, _), _)| *source)
    }

    /// The name of the source of this number, if the records read so far define it.
    pub fn source_by_number(&self, source: u16) -> Option<String> {
        let text = self.text(DefinitionKind::SourceName, source, 0);
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// The configured name of the step's source.
    pub fn source_name(&self, step: &Step) -> Arc<str> {
        String::from_utf8_lossy(self.text(DefinitionKind::SourceName, step.source, 0)).into()
    }

    /// The name of the source's binlog file that the step's position is in.
    pub fn source_file(&self, step: &Step) -> Arc<str> {
        let text = self.text(DefinitionKind::SourceFile, step.source, step.source_file);
        String::from_utf8_lossy(text).into()
    }

    /// The step's transaction; `None` when it has none.
    pub fn identity(&self, step: &Step) -> Option<Identity> {
        if step.kind == StepKind::Moved {
            return None;
        }
        match self.kind {
            IdentityKind::Anonymous => Some(Identity::Anonymous(step.fingerprint())),
            IdentityKind::MariaDb => Some(Identity::MariaDb(MariaDbGtid {
                domain_id: step.origin,
                server_id: step.server_id,
                seq_no: step.number,
            })),
            IdentityKind::MySql => {
                let text = self.text(DefinitionKind::Origin, 0, step.origin);
                let (uuid, tag) = text.split_first_chunk::<16>()?;
                let tag = Tag::from_bytes(tag).unwrap_or(Tag::NONE);
                Some(Identity::MySql(Gtid {
                    sid: Sid {
                        uuid: Uuid(*uuid),
                        tag,
                    },
                    gno: step.number,
                }))
            }
        }
    }
}
