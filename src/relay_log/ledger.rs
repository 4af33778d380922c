//! The commit indexes as the record of what was delivered without GTIDs.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::files::LogDir;
use super::index_record::{self, DefinitionKind, RECORD_LEN, Record, Step, StepKind};
use crate::merge::pairing::{Delivered, Ledger, LedgerPlace};

/// The number of a source that is not configured any more.
pub(super) const GONE: u16 = u16::MAX;
/// Bytes that are read at once.
const BUFFER_LEN: usize = RECORD_LEN * 1024;

/// Reads commit indexes from a place on, over files, up to an end.
#[derive(Debug)]
pub struct IndexLedger<'a> {
    /// Where the files are.
    pub log_dir: &'a LogDir,
    /// The configured sources' names, by number.
    pub source_names: &'a [Arc<str>],
    /// The place behind the last record that is looked at.
    pub end: LedgerPlace,
    /// The last records before `end`, which are not in the file yet.
    pub staged: &'a [u8],
}

/// How the reading of one index ended.
enum Stopped {
    /// The taker has enough; behind this record.
    At(u64),
    AtEnd,
}

impl Ledger for IndexLedger<'_> {
    fn read(
        &self,
        from: LedgerPlace,
        origin: u32,
        take: &mut dyn FnMut(Delivered) -> bool,
    ) -> Result<Option<LedgerPlace>, String> {
        let mut next = from;
        while next.file <= self.end.file {
            let file = next.file;
            match self.read_file(next, origin, take)? {
                Stopped::At(record) => return Ok(Some(LedgerPlace { file, record })),
                Stopped::AtEnd => {
                    next = LedgerPlace {
                        file: file + 1,
                        record: 0,
                    }
                }
            }
        }
        Ok(None)
    }
}

impl IndexLedger<'_> {
    fn read_file(
        &self,
        from: LedgerPlace,
        origin: u32,
        take: &mut dyn FnMut(Delivered) -> bool,
    ) -> Result<Stopped, String> {
        let path = self.log_dir.index_path(from.file);
        let say = |cause: io::Error| format!("{}: {cause}", path.display());
        let file = match File::open(&path) {
            Ok(file) => file,
            // Removed with its log file: what it held counts as passed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stopped::AtEnd),
            Err(error) => return Err(say(error)),
        };
        let is_last = from.file == self.end.file;
        let staged_from = match is_last {
            true => self.end.record - (self.staged.len() / RECORD_LEN) as u64,
            false => u64::MAX,
        };
        let mut reader = BufReader::with_capacity(BUFFER_LEN, file);
        let paths = self.paths_of(&mut reader, &path)?;
        let mut record = from.record.max(1);
        reader
            .seek(SeekFrom::Start(record * RECORD_LEN as u64))
            .map_err(say)?;
        while !is_last || record < self.end.record {
            let mut bytes = [0; RECORD_LEN];
            if record < staged_from {
                match reader.read_exact(&mut bytes) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(say(error)),
                }
            } else {
                let at = (record - staged_from) as usize * RECORD_LEN;
                let staged = self.staged.get(at..).and_then(|rest| rest.first_chunk());
                bytes = *staged.unwrap_or(&bytes);
            }
            let place = LedgerPlace {
                file: from.file,
                record,
            };
            record += 1;
            let decoded = index_record::decode(&bytes)
                .map_err(|cause| format!("{}, record {}: {cause}", path.display(), place.record))?;
            if let Some(delivered) = delivered(&decoded, origin, place, &paths)
                && !take(delivered)
            {
                return Ok(Stopped::At(record));
            }
        }
        Ok(Stopped::AtEnd)
    }

    /// The numbers of today's sources, by their number in this file: all are defined at its head.
    fn paths_of(&self, reader: &mut BufReader<File>, path: &Path) -> Result<Vec<u16>, String> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut bytes = [0; RECORD_LEN];
        let say = |cause: io::Error| format!("{}: {cause}", path.display());
        reader.read_exact(&mut bytes).map_err(say)?; // the header
        while reader.read_exact(&mut bytes).is_ok() {
            match index_record::decode(&bytes) {
                Ok(Record::Definition(definition)) => {
                    if definition.kind != DefinitionKind::SourceName {
                        continue;
                    }
                    let number = usize::from(definition.source);
                    if names.len() <= number {
                        names.resize(number + 1, Vec::new());
                    }
                    if let Some(name) = names.get_mut(number) {
                        name.extend_from_slice(&definition.text);
                    }
                }
                // What follows is no head any more.
                Ok(Record::Step(step)) if is_delivered(&step) => break,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let known = |name: &Vec<u8>| {
            let place = self
                .source_names
                .iter()
                .position(|known| known.as_bytes() == name.as_slice());
            place.map_or(GONE, |place| place as u16)
        };
        Ok(names.iter().map(known).collect())
    }
}

fn is_delivered(step: &Step) -> bool {
    matches!(step.kind, StepKind::Transaction | StepKind::BeforeStart)
}

fn delivered(record: &Record, origin: u32, place: LedgerPlace, paths: &[u16]) -> Option<Delivered> {
    let Record::Step(step) = record else {
        return None;
    };
    (is_delivered(step) && step.server_id == origin).then(|| Delivered {
        place,
        fingerprint: step.fingerprint(),
        path: paths.get(usize::from(step.source)).copied().unwrap_or(GONE),
        may_be_repetition: step.may_be_repetition,
    })
}
