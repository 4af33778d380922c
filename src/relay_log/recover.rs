//! Recovers the log's state after a stop or a crash. The documentation of [`crate::relay_log`]
//! lists the cases.

mod ends;
mod settle;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use self::ends::{Ends, find_ends};
use self::settle::settle;
use super::check::LogBinding;
use super::durable_mark::DurableMark;
use super::error::LogError;
use super::files::LogDir;
use super::index_reader::{IndexReader, NumberedRecord};
use super::index_record::{RECORD_LEN, Record, Step, TextPart};
use super::ledger::ConfiguredNumbers;
use super::published::SourceProgress;
use super::reader::{FileHead, LogFile};
use super::replay_pairing::replay_pairing;
use super::temporary_table;
use crate::binlog::FormatDescription;
use crate::data_file;
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidSet, MariaDbGtid, Uuid};
use crate::identity::{Executed, HistoryDigest, Identity, IdentityKind};
use crate::merge::halves::{HalfChange, OpenHalves};
use crate::merge::pairing::Pairing;
use crate::merge::temporary_tables::TemporaryTables;
use crate::position::{RecordNumber, RelayLogPosition};

/// A recovered log's state.
#[derive(Debug)]
pub struct Recovered {
    /// The relay log's identity.
    pub log_id: Uuid,
    /// The newest file's format description.
    pub format: FormatDescription,
    /// All transactions in the log or before it.
    pub executed: Executed,
    /// All transactions before its first file.
    pub purged: Executed,
    /// The log files' numbers.
    pub files: Vec<u64>,
    /// The sources' names, by number: those of the configuration, then those that were removed from it. If
    /// these are added again, they continue where they were.
    pub source_names: Vec<Arc<str>>,
    /// Each source's progress, by its name.
    pub sources: HashMap<Arc<str>, SourceProgress>,
    /// MySQL: GTIDs that count as delivered by decision of an administrator. They are in `executed` and `purged`.
    pub counted: GtidSet,
    /// MariaDB: the servers of which a new history began within the log, and the transactions before it.
    pub new_histories: Vec<(u32, BinlogState)>,
    /// MariaDB: the transactions that were missing before a position at which an administrator continued a source, and
    /// count as delivered with those of their servers before them.
    pub skipped: Vec<MariaDbGtid>,
    /// MariaDB: those servers, and the ones of which a new history began with a file that was removed.
    pub earlier_histories: BTreeSet<u32>,
    /// Without GTIDs: the state of each path's queues.
    pub pairing: Pairing,
    /// The two-part operations whose second part has not arrived.
    pub halves: OpenHalves,
    /// The temporary tables that are open on the replicas.
    pub temporary_tables: TemporaryTables,
    /// The end of the newest file.
    pub end: RelayLogPosition,
    /// A message for each truncation, and for a damaged durable mark; empty after a clean stop.
    pub repairs: Vec<String>,
}

/// Recovers the log in `log_dir`; `None` when there is none yet. `source_names` are the names of
/// the configured sources, by number.
///
/// # Errors
/// When a file cannot be read or truncated, data that may have been served is damaged, or a commit
/// index does not belong to its log file. Unless writing itself failed, nothing is changed then.
pub fn recover(log_dir: &LogDir, source_names: &[Arc<str>]) -> Result<Option<Recovered>, LogError> {
    let Some(Found {
        mut recovered,
        durable,
        good,
    }) = find(log_dir, source_names)?
    else {
        return Ok(None);
    };
    let last = recovered.end.file;
    if recovered.executed == Executed::Anonymous {
        let begin = |file| RecordNumber { file, record: 0 };
        let first = recovered.files.first().copied().unwrap_or(last);
        recovered.pairing = replay_pairing(
            log_dir,
            &recovered.source_names,
            begin(first),
            begin(last),
            good.index,
            &mut |_, _, _| Ok(()),
        )?;
    }
    if recovered.executed.flavor() == Flavor::MariaDb {
        (recovered.new_histories, recovered.skipped) = decisions(log_dir, &recovered.files)?;
        let servers = recovered.new_histories.iter();
        let servers = servers.map(|(server_id, _)| *server_id);
        recovered.earlier_histories.extend(servers);
    }
    // From here on files are written, and what a crash leaves of them is no reason to refuse them.
    DurableMark::open(log_dir)?;
    settle(&log_dir.log_path(last), durable.log, good.log)?;
    settle(&log_dir.index_path(last), durable.index, good.index)?;
    if recovered.has_not_begun() {
        forget(log_dir, &recovered.files)?;
        return Ok(None);
    }
    Ok(Some(recovered))
}

/// What [`inspect`] finds: from where `run` would continue.
#[derive(Debug)]
pub struct Inspected {
    /// All transactions in the log or before it.
    pub executed: Executed,
    /// Each source's progress, by its name.
    pub sources: HashMap<Arc<str>, SourceProgress>,
}

impl Inspected {
    /// How far the source with this name was received; `None` before its first start.
    pub fn started(&self, name: &str) -> Option<&SourceProgress> {
        let progress = self.sources.get(name);
        progress.filter(|progress| !progress.position.is_unknown())
    }
}

/// Reads as much of the log as shows where [`recover`] would continue, and changes nothing: the log may be in use. What is
/// written meanwhile can make that fail; then it has to be repeated.
///
/// # Errors
/// Those of [`recover`], except for what only concerns older files' records.
pub fn inspect(log_dir: &LogDir, source_names: &[Arc<str>]) -> Result<Option<Inspected>, LogError> {
    if !log_dir.dir.exists() {
        return Ok(None);
    }
    let found = find(log_dir, source_names)?.map(|found| found.recovered);
    let found = found.filter(|recovered| !recovered.has_not_begun());
    Ok(found.map(|recovered| Inspected {
        executed: recovered.executed,
        sources: recovered.sources,
    }))
}

impl Recovered {
    /// Whether it ends before the start of one of its sources: then it has no transactions.
    fn has_not_begun(&self) -> bool {
        self.sources.values().any(|source| source.reading_back)
    }
}

/// The state of a log, of which nothing was repaired yet.
struct Found {
    /// Without its pairing, and the decisions of an administrator.
    recovered: Recovered,
    durable: Ends,
    good: Ends,
}

/// Reads the newest file's state; `None` when there is no log yet.
fn find(log_dir: &LogDir, source_names: &[Arc<str>]) -> Result<Option<Found>, LogError> {
    let (binding, files) = LogBinding::read(log_dir)?;
    refuse_unlisted(log_dir, &files)?;
    let Some(last) = files.last().copied() else {
        return Ok(None);
    };
    let purged = check_older(log_dir, &binding, &files, last)?;
    let head = FileHead::read(&log_dir.log_path(last))?;
    binding.check(last, &head)?;
    let mut repairs = Vec::new();
    let (durable, good) = find_ends(log_dir, last, &head, &binding, &mut repairs)?;
    let mut index = IndexReader::open(&log_dir.index_path(last))?;
    while index.next_number() * (RECORD_LEN as u64) < good.index && index.next_record()?.is_some() {
    }
    let source_names = with_removed(source_names, &index);
    index.seek(1)?;
    let mut recovered = Recovered {
        log_id: index.header().log_id,
        executed: head.previous.clone(),
        format: head.format,
        purged: purged.unwrap_or(head.previous),
        files,
        source_names,
        sources: HashMap::new(),
        counted: GtidSet::new(),
        new_histories: Vec::new(),
        skipped: Vec::new(),
        earlier_histories: BTreeSet::new(),
        pairing: Pairing::new([]),
        halves: OpenHalves::default(),
        temporary_tables: TemporaryTables::default(),
        end: RelayLogPosition {
            file: last,
            offset: good.log,
        },
        repairs,
    };
    if index.kind() == IdentityKind::Anonymous {
        (recovered.executed, recovered.purged) = (Executed::Anonymous, Executed::Anonymous);
    }
    replay(&mut index, &good, &mut recovered)?;
    let numbers = ConfiguredNumbers::of(&index, &recovered.source_names);
    let tables = std::mem::take(&mut recovered.temporary_tables);
    recovered.temporary_tables = tables.renumbered(|source| numbers.find(source));
    if let Executed::MySql(purged) = &mut recovered.purged {
        purged.union_with(&recovered.counted);
    }
    Ok(Some(Found {
        recovered,
        durable,
        good,
    }))
}

/// Checks that the files before `last` belong to the log, and returns what is before the first of them.
fn check_older(
    log_dir: &LogDir,
    binding: &LogBinding,
    files: &[u64],
    last: u64,
) -> Result<Option<Executed>, LogError> {
    let mut purged = None;
    for number in files.iter().filter(|number| **number != last) {
        let head = FileHead::read(&log_dir.log_path(*number))?;
        binding.check(*number, &head)?;
        purged.get_or_insert(head.previous);
    }
    Ok(purged)
}

/// The new histories that begin with one of the files: the server, and the transactions before it.
type NewHistories = Vec<(u32, BinlogState)>;

/// MariaDB: the decisions of an administrator with which one of the files begins: new histories, and what was skipped.
fn decisions(
    log_dir: &LogDir,
    files: &[u64],
) -> Result<(NewHistories, Vec<MariaDbGtid>), LogError> {
    let (mut histories, mut skipped) = (Vec::new(), Vec::new());
    for number in files {
        for record in IndexReader::open(&log_dir.index_path(*number))?.read_head()? {
            match record {
                Record::NewHistory { server_id } => {
                    let before = FileHead::read(&log_dir.log_path(*number))?.previous;
                    let before = before.as_mariadb().cloned();
                    histories.extend(before.map(|before| (server_id, before)));
                }
                Record::SkippedGtid(gtid) => skipped.push(gtid),
                _ => {}
            }
        }
    }
    Ok((histories, skipped))
}

/// The configured names, and after them the others that the records of the newest index have defined.
fn with_removed(configured: &[Arc<str>], index: &IndexReader<'_>) -> Vec<Arc<str>> {
    let mut names = configured.to_vec();
    let mut known: Vec<(u16, &[u8])> = index.source_names().collect();
    known.sort_unstable();
    for (_, name) in known {
        if !names.iter().any(|configured| configured.as_bytes() == name) {
            names.push(String::from_utf8_lossy(name).into());
        }
    }
    names
}

/// Removes a log that had not begun: it has no transactions. The next start creates it again.
///
/// A crash after any step leaves files that the next start accepts: with the old list, a log that
/// had not begun; with the empty list, files whose creation was interrupted. The durable mark is
/// emptied first, because with it an empty list would look like one that was lost. It is not removed: a missing
/// mark proves that something is wrong.
fn forget(log_dir: &LogDir, files: &[u64]) -> Result<(), LogError> {
    tracing::warn!(
        "the first start was interrupted before the relay log began: the log is created again"
    );
    DurableMark::open(log_dir)?.empty()?;
    log_dir.write_list(&[])?;
    for number in files {
        remove(&log_dir.log_path(*number))?;
        remove(&log_dir.index_path(*number))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), LogError> {
    match data_file::remove(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|cause| LogError::io("remove", path, cause)),
    }
}

/// Refuses a log file with transactions that is not in the list: the list was lost.
///
/// A file is added to the list before its first transaction. So any other unlisted file has none:
/// its creation was interrupted, or its removal by [`forget`], which can leave a file with a Rotate
/// event after its head.
fn refuse_unlisted(log_dir: &LogDir, files: &[u64]) -> Result<(), LogError> {
    for number in log_dir.unlisted(files)? {
        let path = log_dir.log_path(number);
        let Ok(head) = FileHead::read(&path) else {
            continue; // Its head is incomplete.
        };
        let log = LogFile::open(&path)?;
        if log.file_len()? > head.end && !log.ends_with_rotate(head.end)? {
            let list = log_dir.list_path();
            return Err(LogError::Unlisted { path, list });
        }
    }
    Ok(())
}

/// Applies the records up to the end of the last good step.
fn replay(
    index: &mut IndexReader<'_>,
    good: &Ends,
    recovered: &mut Recovered,
) -> Result<(), LogError> {
    let (mut xid, mut table) = (Vec::new(), Vec::new());
    while index.next_number() * (RECORD_LEN as u64) < good.index {
        let Some(NumberedRecord { record, .. }) = index.next_record()? else {
            break;
        };
        if let Some(change) = half_change(&record, &mut xid) {
            recovered.halves.apply(change);
        }
        if let Some(change) = temporary_table::change(&record, &mut table) {
            recovered.temporary_tables.apply(change);
        }
        if let Some((sid, first, last)) = index.counted(&record)? {
            recovered.counted.insert_interval(sid, first, last);
        }
        if let Record::EarlierHistory { server_id } = record {
            recovered.earlier_histories.insert(server_id);
        }
        if let Some(step) = record.step() {
            replay_step(index, &record, step, recovered)?;
        }
    }
    Ok(())
}

/// The change of open two-part operations that a record describes. `xid` collects the parts of a
/// long xid.
fn half_change(record: &Record, xid: &mut Vec<u8>) -> Option<HalfChange> {
    let mut whole = |text: &TextPart| {
        text.append_to(xid);
        text.is_last().then(|| xid.clone())
    };
    match record {
        Record::EmptiedXa(text) => whole(text).map(HalfChange::EmptiedXa),
        Record::EndedXa(text) => whole(text).map(HalfChange::EndedXa),
        Record::KeptAlter(start) => Some(HalfChange::StartedAlter {
            start: *start,
            kept: true,
        }),
        Record::EmptiedAlter(start) => Some(HalfChange::StartedAlter {
            start: *start,
            kept: false,
        }),
        Record::EndedAlter(start) => Some(HalfChange::EndedAlter(*start)),
        _ => None,
    }
}

fn replay_step(
    index: &IndexReader<'_>,
    record: &Record,
    step: &Step,
    recovered: &mut Recovered,
) -> Result<(), LogError> {
    let progress = recovered.sources.entry(index.name_of(step)?).or_default();
    let position = index.position(step)?;
    progress.set_server(step.source_server_id, index.kind());
    if let Some(transaction) = record.transaction() {
        let identity = index.identity(transaction)?;
        if let Identity::MariaDb(gtid) = identity {
            progress.note_gtid(gtid);
        }
        let digest = HistoryDigest::Of {
            identity,
            server_id: transaction.server_id,
            commit_time_us: transaction.commit_time_us(),
        };
        progress.note_last(&position.file, position.offset, digest);
    }
    progress.position = position;
    match record {
        Record::Transaction { transaction, .. } => {
            recovered.executed.deliver(&index.identity(transaction)?);
        }
        Record::SourceMoved { history, last, .. } => {
            progress.set_history(history);
            if let Some(last) = last {
                progress.last = Some(index.last_received(step, last)?);
            }
        }
        Record::SourceRestarted { history, .. } => progress.set_history(history),
        Record::SourceGtid {
            gtid, is_highest, ..
        } => match is_highest {
            true => {
                progress.sent.record_again(*gtid);
            }
            false => progress.gtid_position.set(*gtid),
        },
        _ => {}
    }
    Ok(())
}
