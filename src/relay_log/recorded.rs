//! What the commit indexes have recorded, for those who do not recover the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::LogError;
use super::files::LogDir;
use super::index_reader::IndexReader;
use super::index_record::{Record, Recorded, RecordedIdentity, Step};
use super::published::RelayLog;
use crate::gtid::{GtidSet, Sid};
use crate::identity::HistoryDigest;
use crate::position::SourcePosition;

/// Whether a transaction whose [`HistoryDigest`] is `digest` was recorded in one of the log's `files`: one that
/// `source` sent, or, without a source, one that counts as delivered. It reads the indexes from their first
/// record on.
///
/// # Errors
/// When an index cannot be read.
pub fn was_recorded(
    log_dir: &LogDir,
    files: &[u64],
    digest: HistoryDigest,
    source: Option<&str>,
) -> Result<bool, LogError> {
    let wanted = digest.value();
    for number in files {
        let mut index = IndexReader::open(&log_dir.index_path(*number))?;
        while let Some(read) = index.next_record()? {
            let (Some(step), Some(transaction)) = (read.record.step(), read.record.transaction())
            else {
                continue;
            };
            let is_meant = match source {
                Some(name) => index.source_number(name) == Some(step.source),
                None => matches!(
                    read.record,
                    Record::Transaction { .. } | Record::BeforeStart { .. }
                ),
            };
            if !is_meant {
                continue;
            }
            let found = HistoryDigest::Of {
                identity: index.identity(transaction)?,
                server_id: transaction.server_id,
                commit_time_us: transaction.commit_time_us(),
            };
            if found.value() == wanted {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// MySQL with GTIDs: how far a server has sent its own transactions itself.
#[derive(Debug, Default)]
pub struct SentByServer {
    /// The newest one that it has sent, of each UUID and tag.
    pub newest: GtidSet,
    /// Those after it, and all where it has sent none.
    pub unsent: GtidSet,
}

/// MySQL with GTIDs: which of `own`, transactions of the server with this `server_id`, it has sent itself at the source.
/// Those before the newest one that it has sent count as sent: a server sends its own in the order of their
/// numbers, and what it did not send was compared when it was resumed. The log's files must be pinned.
///
/// # Errors
/// When an index cannot be read.
pub fn sent_by(
    log: &RelayLog,
    source: &str,
    server_id: u32,
    own: &GtidSet,
) -> Result<SentByServer, LogError> {
    let files = log.state().files.clone();
    let mut wanted: BTreeSet<Sid> = own.sids().collect();
    let mut newest = BTreeMap::new();
    for number in files.into_iter().rev() {
        let mut found: HashMap<u32, u64> = HashMap::new();
        let of_mysql = |transaction: &Recorded| match transaction.identity {
            RecordedIdentity::MySql { origin, gno, .. } => Some((origin, gno)),
            _ => None,
        };
        let index = read_sent(log.log_dir(), number, (source, server_id), &mut |sent| {
            note_highest(&mut found, of_mysql(sent));
        })?;
        for (origin, gno) in found {
            if let Some(sid) = index.origin(origin)
                && wanted.remove(&sid)
            {
                newest.insert(sid, gno);
            }
        }
        if wanted.is_empty() {
            break;
        }
    }
    let mut sent = SentByServer::default();
    for (sid, first, last) in own.iter_intervals() {
        let highest = newest.get(&sid).copied();
        if let Some(highest) = highest.filter(|highest| (first..=last).contains(highest)) {
            sent.newest.insert_interval(sid, highest, highest);
        }
        let after = highest.map_or(first, |highest| first.max(highest + 1));
        if after <= last {
            sent.unsent.insert_interval(sid, after, last);
        }
    }
    Ok(sent)
}

/// MariaDB: the highest numbers of its own transactions that the server with this `server_id` has sent itself at the source,
/// by domain: of those of `domains` of which there are records. The log's files must be pinned.
///
/// # Errors
/// When an index cannot be read.
pub fn highest_sent_by(
    log: &RelayLog,
    source: &str,
    server_id: u32,
    mut domains: BTreeSet<u32>,
) -> Result<BTreeMap<u32, u64>, LogError> {
    let files = log.state().files.clone();
    let mut highest = BTreeMap::new();
    for number in files.into_iter().rev() {
        let mut found: HashMap<u32, u64> = HashMap::new();
        let own = |transaction: &Recorded| match transaction.identity {
            RecordedIdentity::MariaDb {
                domain_id, seq_no, ..
            } if transaction.server_id == server_id => Some((domain_id, seq_no)),
            _ => None,
        };
        read_sent(log.log_dir(), number, (source, server_id), &mut |sent| {
            note_highest(&mut found, own(sent));
        })?;
        for (domain_id, seq_no) in found {
            if domains.remove(&domain_id) {
                highest.insert(domain_id, seq_no);
            }
        }
        if domains.is_empty() {
            break;
        }
    }
    Ok(highest)
}

fn note_highest(found: &mut HashMap<u32, u64>, sent: Option<(u32, u64)>) {
    if let Some((origin, number)) = sent {
        let highest = found.entry(origin).or_default();
        *highest = number.max(*highest);
    }
}

/// Passes the transactions that the server has sent at the source on to `accept`, of one index. Returns the index, which
/// knows its origins then.
fn read_sent(
    log_dir: &LogDir,
    number: u64,
    (source, server_id): (&str, u32),
    accept: &mut dyn FnMut(&Recorded),
) -> Result<IndexReader<'static>, LogError> {
    let mut index = IndexReader::open(&log_dir.index_path(number))?;
    index.skip_head()?; // It defines all sources.
    let Some(source) = index.source_number(source) else {
        return Ok(index);
    };
    loop {
        let read = match index.next_record() {
            Ok(Some(read)) => read,
            // A record that is still being written.
            Ok(None) | Err(LogError::Index { .. }) => return Ok(index),
            Err(error) => return Err(error),
        };
        let is_meant = |step: &Step| step.source == source && step.source_server_id == server_id;
        if read.record.step().is_some_and(is_meant)
            && let Some(transaction) = read.record.transaction()
        {
            accept(transaction);
        }
    }
}

/// Of a source that was followed by file and position, and has sent no transaction since its start, or since an
/// administrator has continued it at another position: where that was, as far as the log's files show it. `None` if they
/// do not. The log's files must be pinned.
///
/// # Errors
/// When an index cannot be read.
pub fn without_transactions_from(
    log: &RelayLog,
    source: &str,
) -> Result<Option<SourcePosition>, LogError> {
    let files = log.state().files.clone();
    let mut from: Option<SourcePosition> = None;
    for number in files.into_iter().rev() {
        let mut index = IndexReader::open(&log.log_dir().index_path(number))?;
        let head = position_in_head(&mut index, source)?;
        let carried = match &head {
            Some((_, true)) => return Ok(from),
            Some((position, false)) => Some(position.clone()),
            None => None,
        };
        // A decision of an administrator begins a new file. So in the newest one there was none, and where the position
        // is the same at the beginning of the next one, neither.
        if carried.is_none() || from.is_some() && carried != from {
            let moves = moves(&mut index, source)?;
            let is_continued = from.is_none() || moves.last == from;
            if moves.has_transaction || !is_continued {
                return Ok(from);
            }
            if carried.is_none() {
                return Ok(moves.first.or(from));
            }
        }
        from = carried;
    }
    Ok(from)
}

/// The position of the source in the head of an index, and whether it had sent a transaction.
fn position_in_head(
    index: &mut IndexReader<'_>,
    source: &str,
) -> Result<Option<(SourcePosition, bool)>, LogError> {
    let head = index.read_head()?;
    let number = index.source_number(source);
    for record in head {
        if let Record::SourceMoved { step, last, .. } = record
            && Some(step.source) == number
        {
            return Ok(Some((index.position(&step)?, last.is_some())));
        }
    }
    Ok(None)
}

/// What an index has of a source after its head.
#[derive(Default)]
struct Moves {
    first: Option<SourcePosition>,
    last: Option<SourcePosition>,
    has_transaction: bool,
}

/// The source's steps in the rest of an index.
fn moves(index: &mut IndexReader<'_>, source: &str) -> Result<Moves, LogError> {
    let mut moves = Moves::default();
    loop {
        let read = match index.next_record() {
            Ok(Some(read)) => read,
            // A record that is still being written.
            Ok(None) | Err(LogError::Index { .. }) => return Ok(moves),
            Err(error) => return Err(error),
        };
        let Some(step) = read.record.step() else {
            continue;
        };
        if index.source_number(source) != Some(step.source) {
            continue;
        }
        moves.has_transaction |= read.record.transaction().is_some();
        let position = index.position(step)?;
        moves.first.get_or_insert_with(|| position.clone());
        moves.last = Some(position);
    }
}

/// MariaDB: whether a new history of the server was accepted within the log, or before its first file.
///
/// # Errors
/// When an index cannot be read.
pub fn has_new_history(log: &RelayLog, server: u32) -> Result<bool, LogError> {
    let newest = log.state().files.last().copied();
    let Some(number) = newest else {
        return Ok(false);
    };
    let head = IndexReader::open(&log.log_dir().index_path(number))?.read_head()?;
    Ok(head.iter().any(|record| {
        matches!(record, Record::NewHistory { server_id } | Record::EarlierHistory { server_id }
            if *server_id == server)
    }))
}
