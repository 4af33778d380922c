//! Which of the log's transactions a replica has that followed something else until now, and where
//! in the log it can continue.
//!
//! A replica that has everything in a source's binlog up to a position has, in the order of the relay
//! log, some transactions that follow others that it lacks. Only when the transactions that it has
//! are the first ones of the log is there a position at which it can start.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::LogError;
use super::files::LogDir;
use super::held_origins::Origin;
use super::index_reader::{IndexReader, NumberedRecord};
use super::index_record::{Record, Recorded, Step};
use super::published::{LogState, RelayLog};
use super::reader::FIRST_EVENT;
use crate::identity::{Executed, Identity};
use crate::position::{RecordNumber, RelayLogPosition};

/// The transactions that a replica has.
#[derive(Debug, Clone)]
pub enum Held {
    /// Those with these GTIDs.
    Gtids(Executed),
    /// Without GTIDs: those of these records.
    Records(RecordSet),
}

impl Held {
    /// Whether it has the transaction.
    pub fn has(&self, transaction: &Logged) -> bool {
        match self {
            Held::Gtids(executed) => executed.contains(&transaction.identity),
            Held::Records(records) => records.contains(transaction.record),
        }
    }
}

/// A set of records of the commit indexes: one bit for each.
#[derive(Debug, Clone, Default)]
pub struct RecordSet {
    files: BTreeMap<u64, Vec<u64>>,
    /// All records of the files before this number are in the set, too.
    whole_before: u64,
}

impl RecordSet {
    /// Adds all records of the files before `number`.
    pub fn insert_before(&mut self, number: u64) {
        self.whole_before = self.whole_before.max(number);
    }

    /// Adds a record.
    pub fn insert(&mut self, record: RecordNumber) {
        let words = self.files.entry(record.file).or_default();
        let at = (record.record / 64) as usize;
        if words.len() <= at {
            words.resize(at + 1, 0);
        }
        if let Some(word) = words.get_mut(at) {
            *word |= 1 << (record.record % 64);
        }
    }

    /// Whether the record is in the set.
    pub fn contains(&self, record: RecordNumber) -> bool {
        let words = self.files.get(&record.file);
        let word = words.and_then(|words| words.get((record.record / 64) as usize));
        let is_whole = record.file < self.whole_before;
        is_whole || word.is_some_and(|word| word & (1 << (record.record % 64)) != 0)
    }
}

/// A transaction in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// Its record.
    pub record: RecordNumber,
    /// The number of the log file.
    pub file: u64,
    /// Where it begins in the log file.
    pub begin: u64,
    /// Where it ends.
    pub end: u64,
    /// Its identity.
    pub identity: Identity,
    /// The server on which it began.
    pub server_id: u32,
    /// Whether the filter left only an empty transaction.
    pub emptied: bool,
    /// Whether the filter dropped or rewrote a part of it.
    pub altered: bool,
    /// MariaDB: whether its GTID was delivered before, so that the GTID does not identify it.
    pub executed_again: bool,
}

/// The part of a log that is read: it may still grow.
#[derive(Debug, Clone)]
pub struct LogPart<'a> {
    /// Where the files are.
    pub log_dir: &'a LogDir,
    /// The numbers of the files, in order.
    pub files: Vec<u64>,
    /// The published end.
    pub end: RelayLogPosition,
}

/// A step of the commit indexes, as [`LogPart::visit`] passes it on.
#[derive(Debug)]
pub struct Visited<'a> {
    /// The index, for names and identities.
    pub index: &'a IndexReader<'a>,
    /// The step.
    pub step: &'a Step,
    /// The record.
    pub record: &'a Record,
    /// Its number.
    pub at: RecordNumber,
    /// The transaction, if it was appended.
    pub logged: Option<Logged>,
}

impl<'a> LogPart<'a> {
    /// The published part, and the state at that moment: both are changed under one lock.
    pub fn published(log: &'a RelayLog) -> (Self, LogState) {
        let (end, state) = {
            let state = log.state();
            (log.published(), state.clone())
        };
        let part = Self {
            log_dir: log.log_dir(),
            files: state.files.clone(),
            end,
        };
        (part, state)
    }
}

impl LogPart<'_> {
    /// The names of the paths by number, as in [`LogState::sources`], also of those whose sources are no longer
    /// followed; an empty name where nothing was received. A list of the sources that are followed is not in this
    /// order once one was removed or added.
    ///
    /// # Errors
    /// When the newest index cannot be read.
    pub fn path_names(&self) -> Result<Vec<Arc<str>>, LogError> {
        let mut index = IndexReader::open(&self.log_dir.index_path(self.end.file))?;
        // It defines each source at the latest where the source sends something. The head has those before.
        while next_record(&mut index, true)?.is_some() {}
        let mut names: Vec<Arc<str>> = Vec::new();
        for (number, name) in index.source_names() {
            let number = usize::from(number);
            names.resize(names.len().max(number + 1), Arc::from(""));
            if let Some(known) = names.get_mut(number) {
                *known = String::from_utf8_lossy(name).into();
            }
        }
        Ok(names)
    }

    /// Passes all steps up to the published end to `accept`, in order. Those in the heads of indexes
    /// are passed on only from the first file's.
    ///
    /// # Errors
    /// When an index cannot be read, or `accept` fails.
    pub fn visit<E: From<LogError>>(
        &self,
        accept: &mut dyn FnMut(&Visited<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (at, number) in self.files.iter().enumerate() {
            if *number > self.end.file {
                break;
            }
            self.visit_file(*number, at == 0, accept)?;
        }
        Ok(())
    }

    fn visit_file<E: From<LogError>>(
        &self,
        number: u64,
        with_head: bool,
        accept: &mut dyn FnMut(&Visited<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let is_newest = number == self.end.file;
        let mut index = IndexReader::open(&self.log_dir.index_path(number))?;
        let mut log_end = u64::from(index.header().log_head_len);
        let head_records = u64::from(index.header().head_records);
        while let Some(read) = next_record(&mut index, is_newest)? {
            let NumberedRecord { record, number: at } = read;
            let Some(step) = record.step() else { continue };
            if at < head_records && !with_head {
                continue;
            }
            let begin = log_end;
            log_end = log_end.max(step.log_end.into());
            if is_newest && log_end > self.end.offset {
                break;
            }
            let at = RecordNumber {
                file: number,
                record: at,
            };
            let logged = match &record {
                Record::Transaction {
                    transaction,
                    emptied,
                    altered,
                    executed_again,
                    ..
                } => Some(Logged {
                    record: at,
                    file: number,
                    begin,
                    end: log_end,
                    identity: index.identity(transaction)?,
                    server_id: transaction.server_id,
                    emptied: *emptied,
                    altered: *altered,
                    executed_again: *executed_again,
                }),
                _ => None,
            };
            accept(&Visited {
                index: &index,
                step,
                record: &record,
                at,
                logged,
            })?;
        }
        Ok(())
    }

    /// Whether the history of a server changed within the log, so that GTIDs may occur in it again. Later files
    /// show it even if those before were removed: a replica may have what was in them.
    ///
    /// # Errors
    /// When an index cannot be read.
    pub fn has_new_history(&self) -> Result<bool, LogError> {
        for number in self.files.iter().filter(|number| **number <= self.end.file) {
            let mut index = IndexReader::open(&self.log_dir.index_path(*number))?;
            while let Some(read) = next_record(&mut index, *number == self.end.file)? {
                if matches!(
                    read.record,
                    Record::NewHistory { .. } | Record::EarlierHistory { .. }
                ) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The number of bytes of the newest index whose steps are up to the published end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn index_end(&self, number: u64) -> Result<u64, LogError> {
        let mut index = IndexReader::open(&self.log_dir.index_path(number))?;
        let is_newest = number == self.end.file;
        let mut end = 0;
        while let Some(read) = next_record(&mut index, is_newest)? {
            let Some(step) = read.record.step() else {
                continue;
            };
            if is_newest && u64::from(step.log_end) > self.end.offset {
                break;
            }
            end = read.index_end();
        }
        Ok(end)
    }
}

/// The next record. In the newest index, one that cannot be read is still being written.
fn next_record(
    index: &mut IndexReader<'_>,
    is_newest: bool,
) -> Result<Option<NumberedRecord>, LogError> {
    match index.next_record() {
        Err(LogError::Index { .. }) if is_newest => Ok(None),
        read => read,
    }
}

/// Where a replica can continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// From here on the log can be taken whole: the end of the last transaction that the replica has.
    pub from: RelayLogPosition,
    /// Transactions before it that the replica lacks.
    pub missing: u64,
    /// Their bytes.
    pub missing_len: u64,
    /// Transactions whose GTID was delivered before: whether the replica has them is not known.
    pub again: u64,
    /// By server_id: the transactions in the log that began there.
    pub origins: BTreeMap<u32, Origin>,
    /// The origins that the paths which were asked about have logged again: with GTIDs, those of which they have
    /// sent the log's first transaction, or one before it.
    pub on_paths: BTreeSet<u32>,
}

/// Finds where a replica that has `held` can continue. `paths` are names of sources, whose origins
/// are collected; without GTIDs, `sent_later` are the transactions that they have sent after the replica's position.
///
/// # Errors
/// When an index cannot be read.
pub fn continuation(
    part: &LogPart<'_>,
    held: &Held,
    paths: &[&str],
    sent_later: &RecordSet,
) -> Result<Continuation, LogError> {
    let first = part.files.first().copied().unwrap_or(1);
    let mut found = Continuation {
        from: RelayLogPosition {
            file: first,
            offset: FIRST_EVENT,
        },
        missing: 0,
        missing_len: 0,
        again: 0,
        origins: BTreeMap::new(),
        on_paths: BTreeSet::new(),
    };
    let (mut lacking, mut lacking_len) = (0, 0);
    part.visit::<LogError>(&mut |visited| {
        if let Some(transaction) = visited.record.transaction() {
            note_origin(&mut found, visited, transaction, paths)?;
        }
        let Some(logged) = &visited.logged else {
            return Ok(());
        };
        let origin = match found.origins.entry(logged.server_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let delivered_by = visited.index.name_of(visited.step)?;
                new.insert(Origin::new(logged.identity, delivered_by))
            }
        };
        origin.count += 1;
        found.again += u64::from(logged.executed_again);
        if !held.has(logged) {
            if matches!(held, Held::Records(_)) {
                note_lacking(origin, visited, logged, sent_later)?;
            }
            lacking += 1;
            lacking_len += logged.end - logged.begin;
            return Ok(());
        }
        origin.note_held();
        found.missing += std::mem::take(&mut lacking);
        found.missing_len += std::mem::take(&mut lacking_len);
        found.from = RelayLogPosition {
            file: logged.file,
            offset: logged.end,
        };
        Ok(())
    })?;
    Ok(found)
}

/// Without GTIDs. A possible repetition need not be on another path, and an empty transaction changes nothing.
fn note_lacking(
    origin: &mut Origin,
    visited: &Visited<'_>,
    logged: &Logged,
    sent_later: &RecordSet,
) -> Result<(), LogError> {
    let may_be_repetition = matches!(
        visited.record,
        Record::Transaction {
            may_be_repetition: true,
            ..
        }
    );
    if sent_later.contains(logged.record) {
        origin.note_sent_later();
    } else if !may_be_repetition && !logged.emptied {
        origin.note_unsent(visited.index.name_of(visited.step)?);
    }
    Ok(())
}

fn note_origin(
    found: &mut Continuation,
    visited: &Visited<'_>,
    transaction: &Recorded,
    paths: &[&str],
) -> Result<(), LogError> {
    if found.on_paths.contains(&transaction.server_id) {
        return Ok(());
    }
    let name = visited.index.name_of(visited.step)?;
    let is_from_first_on = match found.origins.get(&transaction.server_id) {
        None => true,
        Some(origin) => match origin.first {
            Identity::Anonymous(_) => true,
            first => visited.index.identity(transaction)? == first,
        },
    };
    if is_from_first_on && paths.iter().any(|path| **path == *name) {
        found.on_paths.insert(transaction.server_id);
    }
    Ok(())
}
