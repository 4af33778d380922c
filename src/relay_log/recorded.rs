//! What the commit indexes have recorded, for those who do not recover the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::LogError;
use super::files::LogDir;
use super::index_reader::IndexReader;
use super::index_record::{Record, RecordedIdentity};
use super::published::RelayLog;
use crate::gtid::{GtidSet, Sid};
use crate::identity::HistoryDigest;

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

/// MySQL with GTIDs: those of `own`, transactions of one server, that the source of that server has not sent
/// itself. Those before the newest one that it has sent count as sent: a server sends its own in the order of their
/// numbers, and what it did not send was compared when it was resumed. The log's files must be pinned.
///
/// # Errors
/// When an index cannot be read.
pub fn not_sent_by(log: &RelayLog, source: &str, own: GtidSet) -> Result<GtidSet, LogError> {
    let files = log.state().files.clone();
    let mut wanted: BTreeSet<Sid> = own.sids().collect();
    let mut newest = BTreeMap::new();
    for number in files.into_iter().rev() {
        let found = newest_sent(log.log_dir(), number, source)?;
        for (sid, gno) in found {
            if wanted.remove(&sid) {
                newest.insert(sid, gno);
            }
        }
        if wanted.is_empty() {
            break;
        }
    }
    let mut unsent = GtidSet::new();
    for (sid, first, last) in own.iter_intervals() {
        let after = newest.get(&sid).map_or(first, |sent| first.max(sent + 1));
        if after <= last {
            unsent.insert_interval(sid, after, last);
        }
    }
    Ok(unsent)
}

/// The highest number of each UUID and tag that the source has sent, in one index.
fn newest_sent(log_dir: &LogDir, number: u64, source: &str) -> Result<HashMap<Sid, u64>, LogError> {
    let mut index = IndexReader::open(&log_dir.index_path(number))?;
    index.skip_head()?; // It defines all sources.
    let Some(source) = index.source_number(source) else {
        return Ok(HashMap::new());
    };
    let mut newest: HashMap<u32, u64> = HashMap::new();
    loop {
        let read = match index.next_record() {
            Ok(Some(read)) => read,
            // A record that is still being written.
            Ok(None) | Err(LogError::Index { .. }) => break,
            Err(error) => return Err(error),
        };
        let step = read.record.step();
        if step.is_some_and(|step| step.source == source)
            && let Some(transaction) = read.record.transaction()
            && let RecordedIdentity::MySql { origin, gno, .. } = transaction.identity
        {
            let highest = newest.entry(origin).or_default();
            *highest = gno.max(*highest);
        }
    }
    let by_sid = newest.into_iter();
    Ok(by_sid
        .filter_map(|(origin, gno)| Some((index.origin(origin)?, gno)))
        .collect())
}
