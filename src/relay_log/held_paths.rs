//! Which transactions a replica has that has everything in the binlogs of sources up to given
//! positions, from the records of these paths alone.
//!
//! Each transaction that a path has sent left a record, also where it was dropped as a copy. Without
//! GTIDs the pairing is replayed, to find the transaction that each copy was paired with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::LogError;
use super::held::{Held, LogPart, RecordSet};
use super::index_reader::{IndexReader, NumberedRecord};
use super::index_record::Record;
use super::published::FIRST_FILE;
use super::replay_pairing::replay_pairing;
use crate::gtid::BinlogState;
use crate::identity::{Executed, Identity};
use crate::position::{RecordNumber, SourcePosition};

/// A position in the binlog of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPosition {
    /// The source's name.
    pub source: Arc<str>,
    /// The position.
    pub at: SourcePosition,
}

/// What the records of the paths show.
#[derive(Debug, Clone)]
pub struct HeldOnPaths {
    /// The transactions.
    pub held: Held,
    /// Without GTIDs: those that the paths have sent after the positions.
    pub sent_later: RecordSet,
    /// By source: whether its position is certainly between two transactions.
    pub at_boundary: BTreeMap<Arc<str>, bool>,
    /// A source that has dropped temporary tables of another server's ended sessions after its position.
    pub ends_sessions: Option<Arc<str>>,
}

/// Why the records of the paths do not show it.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Nothing was received from the source.
    #[error("the relay log has received nothing from {0}")]
    NothingReceived(Arc<str>),
    /// The log began after the position.
    #[error(
        "{at} of {source_name} is before the relay log's own start there, {start}: the relay does not have \
         the transactions between the two; use a newer dump of {source_name}, or let the replica \
         follow {source_name} up to {start}"
    )]
    BeforeStart {
        /// The source.
        source_name: Arc<str>,
        /// The position.
        at: SourcePosition,
        /// The start.
        start: SourcePosition,
    },
    /// The path goes back.
    #[error(
        "the binlog of {source_name} was reset while the relay followed it, so {at} may be a position \
         of either binlog; use a newer dump, or a GTID set"
    )]
    Reset {
        /// The source.
        source_name: Arc<str>,
        /// The position.
        at: SourcePosition,
    },
    /// The path has a transaction after the position that is before the start of another path.
    #[error(
        "the replica lacks {count} transactions that are not in the relay log: {source_name} had not \
         executed them at {at}, and they are before the start of another source; use a newer dump \
         of {source_name}"
    )]
    Lost {
        /// The source.
        source_name: Arc<str>,
        /// The position.
        at: SourcePosition,
        /// Their number.
        count: u64,
    },
    /// An administrator continued the path at another position.
    #[error(
        "{0} was continued at another position by binrelay continue, so its positions do not show what the \
         replica has; use coordinates of another source, or seed the replica from the relay's replicas"
    )]
    Continued(Arc<str>),
    /// Another server has answered at the source's address.
    #[error(
        "another server has answered at the address of {0}, so it is not known to which one the position \
         belongs; use coordinates of another source, or a GTID set"
    )]
    Moved(Arc<str>),
    /// Files were removed that would show it.
    #[error(
        "the relay log begins with {first}: older files were removed, and those that are left do not show which \
         transactions a replica has at these coordinates; use a newer dump, or coordinates of all sources"
    )]
    Removed {
        /// The oldest file.
        first: String,
    },
    /// An index cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Refuses positions of a source that do not show what a replica has: of one whose path is not the whole of
/// one server's binlog.
///
/// # Errors
/// See [`PathError`].
pub fn check_paths(part: &LogPart<'_>, positions: &[PathPosition]) -> Result<(), PathError> {
    for file in part.files.iter().filter(|file| **file <= part.end.file) {
        let mut index = IndexReader::open(&part.log_dir.index_path(*file))?;
        let head = index.read_head()?;
        for position in positions {
            let source = &position.source;
            let number = index.source_number(source);
            let is_continued = |record: &Record| match record {
                Record::PathQueue {
                    key, begins_again, ..
                } => *begins_again && Some(key.path) == number,
                _ => false,
            };
            if head.iter().any(is_continued) {
                return Err(PathError::Continued(source.clone()));
            }
            let moved = format!("{source}@");
            let mut names = index.source_names();
            if names.any(|(_, name)| name.starts_with(moved.as_bytes())) {
                return Err(PathError::Moved(source.clone()));
            }
        }
    }
    Ok(())
}

/// The state of one path while its records are read.
struct Path<'a> {
    position: &'a PathPosition,
    first: Option<SourcePosition>,
    last: Option<SourcePosition>,
    at_boundary: bool,
    has_gone_back: bool,
    /// The end of the last transaction before the path's start that is after the position.
    start_after: Option<SourcePosition>,
    lost: u64,
    /// Statements after the position that drop temporary tables of another server's ended sessions.
    ended_after: u64,
}

impl<'a> Path<'a> {
    fn new(position: &'a PathPosition) -> Self {
        Self {
            position,
            first: None,
            last: None,
            at_boundary: position.at.offset == super::reader::FIRST_EVENT,
            has_gone_back: false,
            start_after: None,
            lost: 0,
            ended_after: 0,
        }
    }

    /// Records that the path has reached `at`; returns whether that is at or before the position.
    fn reach(&mut self, at: &SourcePosition) -> bool {
        if at.is_unknown() {
            return true;
        }
        let goes_back = self.last.as_ref().is_some_and(|last| at.precedes(last));
        self.has_gone_back |= goes_back;
        self.at_boundary |= *at == self.position.at;
        if self.first.is_none() {
            self.first = Some(at.clone());
        }
        self.last = Some(at.clone());
        !self.position.at.precedes(at)
    }

    fn checked(self) -> Result<(Arc<str>, bool), PathError> {
        let source_name = self.position.source.clone();
        let at = self.position.at.clone();
        let Some(first) = self.first else {
            return Err(PathError::NothingReceived(source_name));
        };
        if self.has_gone_back {
            return Err(PathError::Reset { source_name, at });
        }
        let start = self
            .start_after
            .or_else(|| at.precedes(&first).then_some(first));
        if let Some(start) = start {
            return Err(PathError::BeforeStart {
                source_name,
                at,
                start,
            });
        }
        if self.lost > 0 {
            let count = self.lost;
            return Err(PathError::Lost {
                source_name,
                at,
                count,
            });
        }
        Ok((source_name, self.at_boundary))
    }
}

fn boundaries(paths: Vec<Path<'_>>) -> Result<BTreeMap<Arc<str>, bool>, PathError> {
    paths.into_iter().map(Path::checked).collect()
}

/// The path of the record's source, if it is one of those asked about, and whether the record is at
/// or before its position.
fn reached<'p, 'a>(
    paths: &'p mut [Path<'a>],
    index: &IndexReader<'_>,
    record: &Record,
) -> Result<Option<(&'p mut Path<'a>, bool)>, LogError> {
    let Some(step) = record.step() else {
        return Ok(None);
    };
    let name = index.name_of(step)?;
    let mut paths = paths.iter_mut();
    let Some(path) = paths.find(|path| path.position.source == name) else {
        return Ok(None);
    };
    let is_up_to = path.reach(&index.position(step)?);
    Ok(Some((path, is_up_to)))
}

/// Without GTIDs. `source_names` are the configured sources by number, `own_server_id` is the
/// relay's.
///
/// # Errors
/// See [`PathError`].
pub fn held_without_gtids(
    part: &LogPart<'_>,
    source_names: &[Arc<str>],
    own_server_id: u32,
    positions: &[PathPosition],
) -> Result<HeldOnPaths, PathError> {
    let mut paths: Vec<Path<'_>> = positions.iter().map(Path::new).collect();
    let mut replay = Replay::default();
    let begin = |file| RecordNumber { file, record: 0 };
    let first = begin(part.files.first().copied().unwrap_or(1));
    let replayed = first_replayed(part, positions)?;
    replay.held.insert_before(replayed);
    let is_read = |file: &&u64| (replayed..=part.end.file).contains(*file);
    for file in part.files.iter().filter(is_read) {
        let end = part.index_end(*file)?;
        let mut observe =
            |index: &IndexReader<'_>, read: &NumberedRecord, paired: Option<RecordNumber>| {
                let at = RecordNumber {
                    file: *file,
                    record: read.number,
                };
                let found = reached(&mut paths, index, &read.record)?;
                replay.note(found, &read.record, at, paired, own_server_id);
                Ok(())
            };
        replay_pairing(
            part.log_dir,
            source_names,
            first,
            begin(*file),
            end,
            &mut observe,
        )?;
    }
    for (record, source) in &replay.late {
        if replay.before_start.contains(*record) && !replay.held.contains(*record) {
            let path = paths
                .iter_mut()
                .find(|path| path.position.source == *source);
            if let Some(path) = path {
                path.lost += 1;
            }
        }
    }
    let ending = paths.iter().find(|path| path.ended_after > 0);
    Ok(HeldOnPaths {
        ends_sessions: ending.map(|path| path.position.source.clone()),
        at_boundary: boundaries(paths)?,
        held: Held::Records(replay.held),
        sent_later: replay.sent_later,
    })
}

/// The first file whose pairing can be replayed: its queues begin in files that the log still has. If files were
/// removed, the paths that were asked about must have sent everything that the files before it have.
fn first_replayed(part: &LogPart<'_>, positions: &[PathPosition]) -> Result<u64, PathError> {
    let first = part.files.first().copied().unwrap_or(FIRST_FILE);
    if first == FIRST_FILE {
        return Ok(first);
    }
    for file in part.files.iter().filter(|file| **file <= part.end.file) {
        let mut index = IndexReader::open(&part.log_dir.index_path(*file))?;
        let head = index.read_head()?;
        let paths: Vec<Option<u16>> = positions
            .iter()
            .map(|position| index.source_number(&position.source))
            .collect();
        if can_begin(&head, first, *file, &paths) {
            return Ok(*file);
        }
    }
    Err(PathError::Removed {
        first: part.log_dir.file_name(first),
    })
}

/// Whether the records in the files before `file` are not needed: those of `first` are the oldest.
fn can_begin(head: &[Record], first: u64, file: u64, asked: &[Option<u16>]) -> bool {
    // By origin: whether one of the paths has sent all of its transactions before the file.
    let mut origins: BTreeMap<u32, bool> = BTreeMap::new();
    let mut skipped: BTreeSet<(u16, u32)> = BTreeSet::new();
    for record in head {
        if let Record::PathSkipped { key, .. } = record {
            skipped.insert((key.path, key.origin));
        }
    }
    for record in head {
        let Record::PathQueue {
            key,
            cursor,
            lost_until,
            ..
        } = record
        else {
            continue;
        };
        if cursor.file < first {
            return false;
        }
        let has_sent_all =
            cursor.file >= file && *lost_until == 0 && !skipped.contains(&(key.path, key.origin));
        let is_asked = asked.contains(&Some(key.path));
        *origins.entry(key.origin).or_default() |= is_asked && has_sent_all;
    }
    // An origin that no other path has sent is delivered by its own path, which has no queue for it.
    let has_queue = |path: u16, origin: u32| {
        head.iter().any(|record| match record {
            Record::PathQueue { key, .. } => (key.path, key.origin) == (path, origin),
            _ => false,
        })
    };
    origins.iter().all(|(origin, has_sent_all)| {
        let mut asked = asked.iter().flatten();
        *has_sent_all || asked.any(|path| !has_queue(*path, *origin))
    })
}

#[derive(Default)]
struct Replay {
    held: RecordSet,
    sent_later: RecordSet,
    /// Transactions before the start of a path.
    before_start: RecordSet,
    /// Records of transactions before a start, of which another path has sent a copy after its
    /// position.
    late: Vec<(RecordNumber, Arc<str>)>,
}

impl Replay {
    fn note(
        &mut self,
        found: Option<(&mut Path<'_>, bool)>,
        record: &Record,
        at: RecordNumber,
        paired: Option<RecordNumber>,
        own_server_id: u32,
    ) {
        if let Record::BeforeStart { .. } = record {
            self.before_start.insert(at);
        }
        let Some((path, is_up_to)) = found else {
            return;
        };
        match (record, paired) {
            (Record::Transaction { .. } | Record::BeforeStart { .. }, _) if is_up_to => {
                self.held.insert(at);
            }
            (Record::BeforeStart { .. }, _) => path.start_after.clone_from(&path.last),
            (Record::Transaction { .. }, _) => self.sent_later.insert(at),
            (Record::Copy { .. }, Some(paired)) if is_up_to => self.held.insert(paired),
            (Record::Copy { .. }, Some(paired)) if self.before_start.contains(paired) => {
                self.late.push((paired, path.position.source.clone()));
            }
            (Record::Copy { .. }, Some(paired)) => self.sent_later.insert(paired),
            // The relay log ends these tables itself.
            (Record::Ignored { is_cleanup, .. }, _) if *is_cleanup => {
                path.ended_after += u64::from(!is_up_to);
            }
            (Record::Ignored { transaction, .. }, _) if !is_up_to => {
                path.lost += u64::from(transaction.server_id != own_server_id);
            }
            _ => {}
        }
    }
}

/// MariaDB.
///
/// # Errors
/// See [`PathError`].
pub fn held_of_mariadb(
    part: &LogPart<'_>,
    positions: &[PathPosition],
) -> Result<HeldOnPaths, PathError> {
    let mut paths: Vec<Path<'_>> = positions.iter().map(Path::new).collect();
    let mut state = BinlogState::new();
    part.visit::<LogError>(&mut |visited| {
        let Some((_, true)) = reached(&mut paths, visited.index, visited.record)? else {
            return Ok(());
        };
        if let Record::SourceGtid { gtid, .. } = visited.record {
            state.record(*gtid);
        } else if let Some(transaction) = visited.record.transaction()
            && let Identity::MariaDb(gtid) = visited.index.identity(transaction)?
        {
            state.record(gtid);
        }
        Ok(())
    })?;
    Ok(HeldOnPaths {
        ends_sessions: None,
        at_boundary: boundaries(paths)?,
        held: Held::Gtids(Executed::MariaDb(state)),
        sent_later: RecordSet::default(),
    })
}
