//! What the commit indexes have recorded, for those who do not recover the log.

use std::collections::BTreeSet;

use super::error::LogError;
use super::files::LogDir;
use super::index_reader::IndexReader;
use super::index_record::Record;
use crate::identity::history_digest;

/// The names of the sources of which the log in `log_dir` has a position. Nothing is changed, and the log may be
/// in use.
///
/// # Errors
/// When the list of files or the newest index cannot be read.
pub fn started_sources(log_dir: &LogDir) -> Result<Vec<String>, LogError> {
    let Some(newest) = log_dir.read_list()?.last().copied() else {
        return Ok(Vec::new());
    };
    let mut index = IndexReader::open(&log_dir.index_path(newest))?;
    let mut started = BTreeSet::new();
    while let Ok(Some(read)) = index.next_record() {
        let step = read.record.step();
        started.extend(
            step.filter(|step| step.source_file != 0)
                .map(|step| step.source),
        );
    }
    let names = index
        .source_names()
        .filter(|(source, _)| started.contains(source));
    Ok(names
        .map(|(_, name)| String::from_utf8_lossy(name).into_owned())
        .collect())
}

/// Whether a transaction whose [`history_digest`] is `digest` was recorded in one of the log's `files`: one that
/// `source` sent, or, without a source, one that counts as delivered. It reads the indexes from their first
/// record on.
///
/// # Errors
/// When an index cannot be read.
pub fn was_recorded(
    log_dir: &LogDir,
    files: &[u64],
    digest: u64,
    source: Option<&str>,
) -> Result<bool, LogError> {
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
            let identity = index.identity(transaction)?;
            let commit_time_us = transaction.commit_time_us();
            if history_digest(&identity, transaction.server_id, commit_time_us) == digest {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
