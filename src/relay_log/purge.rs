//! Removing the oldest log files with their commit indexes.
//!
//! 1. `relay-bin.replicas` and `relay-bin.removed` are brought up to date.
//! 2. The files are removed from the published state, unless a reader has begun to read one.
//! 3. `relay-bin.index` is replaced by a list without them.
//! 4. Each log file is deleted, and then its index.
//!
//! A crash after any step leaves a log that begins with its old first file or with its new one. Files that are
//! older than the list are deleted at the next start, if `relay-bin.removed` says that they were removed, and their
//! index shows that they belong to the log.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::PoisonError;
use std::time::SystemTime;

use super::bridge;
use super::error::LogError;
use super::files::LogDir;
use super::index_reader::IndexReader;
use super::published::RelayLog;
use super::removed_until;
use super::retention::policy::{FileFacts, Limits, Need, NeedKind, Plan, plan};
use crate::data_file;
use crate::gtid::Uuid;

/// The most files of which a warning names those that need them.
const NAMED_MAX: usize = 5;

/// The result of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purged {
    /// Files that were removed.
    pub removed: u64,
    /// Files that were wanted to be removed, and bytes of all removed files.
    pub wanted: u64,
    /// The oldest file that was kept, although it was to be removed, and what needs it.
    pub kept: Vec<Need>,
}

/// The files of the log: their sizes and times. A file that is missing has no bytes.
///
/// # Errors
/// When one cannot be read.
pub fn file_facts(log: &RelayLog) -> Result<Vec<FileFacts>, LogError> {
    let files = log.state().files.clone();
    let facts = files.into_iter().map(|number| {
        let path = log.log_dir().log_path(number);
        let of_log = fs::metadata(&path).map_err(|cause| LogError::io("read", &path, cause))?;
        let modified = of_log.modified();
        let of_index = fs::metadata(log.log_dir().index_path(number));
        Ok(FileFacts {
            number,
            len: of_log.len() + of_index.map_or(0, |index| index.len()),
            modified: modified.map_err(|cause| LogError::io("read", &path, cause))?,
        })
    });
    facts.collect()
}

/// Everything that needs files of the log at `now`.
fn all_needs(log: &RelayLog, now: SystemTime) -> Result<Vec<Need>, LogError> {
    let oldest = log.state().files.first().copied().unwrap_or_default();
    let retention = log.retention();
    let mut needs = retention.needs(oldest, now);
    let keep = retention.options().keep_for_bridges();
    for (number, next, written) in bridge::targets(log.log_dir())? {
        let age = now.duration_since(written).unwrap_or_default();
        if age < keep && next.file >= oldest {
            needs.push(Need {
                file: next.file,
                kind: NeedKind::Bridge,
                who: bridge::name(number),
            });
        }
    }
    Ok(needs)
}

/// Removes what the limits say; call it every few seconds. What is forced is logged before it is done.
///
/// # Errors
/// When a file cannot be read or written. Then it is attempted again with the next call.
pub fn enforce(log: &RelayLog, now: SystemTime) -> Result<Purged, LogError> {
    let options = log.retention().options();
    let files = file_facts(log)?;
    let needs = all_needs(log, now)?;
    let expired_before = options.expire_after.and_then(|age| now.checked_sub(age));
    let limits = Limits {
        expired_before,
        max_total: options.max_total_size,
    };
    let plan = plan(&files, &limits, &needs);
    warn(log, now, (&files, &limits, &needs), &plan);
    purge(log, &plan, &mut |_| {})
}

/// PURGE BINARY LOGS: removes the files before `number`, as far as nothing needs them.
///
/// # Errors
/// As [`enforce`].
pub fn purge_to(log: &RelayLog, number: u64, now: SystemTime) -> Result<Purged, LogError> {
    let files = log.state().files.clone();
    let needs = all_needs(log, now)?;
    let active = files.last().copied().unwrap_or_default();
    let wanted = number.min(active);
    let needed = needs.iter().map(|need| need.file).min();
    let keep_from = wanted.min(needed.unwrap_or(u64::MAX));
    let mut holding: Vec<Need> = needs
        .into_iter()
        .filter(|need| need.file < wanted)
        .collect();
    holding.sort_by_key(|need| (need.file, need.kind));
    let plan = Plan {
        keep_from,
        forced: Vec::new(),
        holding,
    };
    let purged = purge(log, &plan, &mut |_| {})?;
    Ok(Purged {
        wanted: files.iter().filter(|file| **file < wanted).count() as u64,
        ..purged
    })
}

/// PURGE BINARY LOGS BEFORE: the number of the oldest file that was written at `time` or later.
///
/// # Errors
/// When a file cannot be read.
pub fn first_since(log: &RelayLog, time: SystemTime) -> Result<u64, LogError> {
    let files = file_facts(log)?;
    let found = files.iter().find(|file| file.modified >= time);
    let active = files.last().map(|file| file.number);
    Ok(found.map(|file| file.number).or(active).unwrap_or_default())
}

/// A step of a removal, for tests of crashes between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeStep {
    /// `relay-bin.replicas` and `relay-bin.removed` are on disk.
    Recorded,
    /// The list is.
    Listed,
    /// A log file was deleted.
    LogDeleted(u64),
    /// An index was deleted.
    IndexDeleted(u64),
}

/// Carries out `plan`. `observe` is called after each step.
///
/// # Errors
/// As [`enforce`].
pub fn purge(
    log: &RelayLog,
    plan: &Plan,
    observe: &mut dyn FnMut(PurgeStep),
) -> Result<Purged, LogError> {
    let kept = plan.holding.clone();
    let none = |kept| Purged {
        removed: 0,
        wanted: 0,
        kept,
    };
    let retention = log.retention();
    let _one_at_a_time = retention
        .purging
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    // Without GTIDs the paths must first do without the files.
    let lose_before = retention
        .paths()
        .iter()
        .map(|path| path.file)
        .filter(|file| *file < plan.keep_from)
        .min();
    if lose_before.is_some() {
        retention.request_loss(plan.keep_from);
    }
    let keep_from = plan.keep_from.min(lose_before.unwrap_or(u64::MAX));
    let files: Vec<u64> = log.state().files.clone();
    let removable: Vec<u64> = files.into_iter().filter(|file| *file < keep_from).collect();
    if removable.is_empty() {
        return Ok(none(kept));
    }
    let is_forced = !plan.forced.is_empty();
    // The indexes are read once, before anything is written.
    let removed_until = removed_until::with(log.log_dir(), &removable)?;
    let remove = || -> Result<Vec<u64>, LogError> {
        let saved = retention.replicas.save();
        let path = log.log_dir().replicas_path();
        saved.map_err(|cause| LogError::io("write", &path, cause))?;
        removed_until::write(log.log_dir(), &removed_until)?;
        observe(PurgeStep::Recorded);
        log.remove_files(keep_from, is_forced)
    };
    let removed = log.reserve().spend(remove)?;
    observe(PurgeStep::Listed);
    let count = removed.len() as u64;
    for number in removed {
        // Without its index, a log file would not be recognised at the next start.
        let is_deleted = delete(&log.log_dir().log_path(number));
        observe(PurgeStep::LogDeleted(number));
        if is_deleted {
            delete(&log.log_dir().index_path(number));
        }
        observe(PurgeStep::IndexDeleted(number));
    }
    // If it was used, and there is space for it now.
    let _ = log.reserve().refill();
    let files = log.state().files.clone();
    bridge::remove_without_target(log.log_dir(), &files)?;
    if count > 0 {
        let first = files.first().copied().unwrap_or_default();
        tracing::info!(
            "{count} log files were removed; the log begins with {}",
            log.log_dir().file_name(first)
        );
    }
    Ok(Purged {
        removed: count,
        wanted: count,
        kept,
    })
}

/// The file is not in the list any more; what cannot be deleted now is at the next start. Returns whether it is gone.
fn delete(path: &Path) -> bool {
    match data_file::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(
                "cannot delete {}, which is no longer in the list of log files: {error}; it is deleted at \
                 the next start",
                path.display()
            );
            false
        }
        _ => true,
    }
}

/// Deletes files that a removal has left: they are older than the list, `relay-bin.removed` says that they were
/// removed, and their index belongs to the log.
///
/// # Errors
/// When the directory cannot be read, or there are older files that the relay has not removed: the list has lost them.
pub fn delete_leftovers(log_dir: &LogDir, files: &[u64], log_id: Uuid) -> Result<(), LogError> {
    let Some(first) = files.first() else {
        return Ok(());
    };
    let removed_before = removed_until::removed_before(log_dir)?;
    let io = |cause| LogError::io("read", &log_dir.dir, cause);
    for entry in fs::read_dir(&log_dir.dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let number = name.to_str().and_then(|name| {
            let of_index = name.strip_suffix(".idx");
            let number = log_dir.file_number(of_index.unwrap_or(name))?;
            Some((number, of_index.is_some()))
        });
        let Some((number, is_index)) = number.filter(|(number, _)| number < first) else {
            continue;
        };
        if number >= removed_before {
            return Err(LogError::ListedTooLate {
                path: log_dir.dir.join(name),
                list: log_dir.list_path(),
            });
        }
        if is_index {
            delete_leftover(log_dir, number, log_id);
        }
    }
    Ok(())
}

fn delete_leftover(log_dir: &LogDir, number: u64, log_id: Uuid) {
    let path = log_dir.index_path(number);
    let is_ours = IndexReader::open_for_lookup(&path)
        .is_ok_and(|index| index.header().log_id == log_id && index.header().file_number == number);
    if is_ours {
        tracing::info!(
            "{} and its index are deleted: they were removed from the list before the restart",
            log_dir.file_name(number)
        );
        if delete(&log_dir.log_path(number)) {
            delete(&path);
        }
    }
}

/// Warns of what is removed although it is needed, of what will be with the next file, and of replicas that
/// have lost what they need, and were seen recently.
fn warn(
    log: &RelayLog,
    at: SystemTime,
    (files, limits, needs): (&[FileFacts], &Limits, &[Need]),
    now: &Plan,
) {
    let name = |number| log.log_dir().file_name(number);
    let mut warnings = Vec::new();
    let mut say = |needs: &[Need], when: &str| {
        for need in needs.iter().take(NAMED_MAX) {
            warnings.push(format!(
                "{} {when}, because the log reaches max_total_size, although {} needs it: {}",
                name(need.file),
                need.who_without_time(),
                need.kind.cost()
            ));
        }
        if needs.len() > NAMED_MAX {
            warnings.push(format!(
                "{} others need such files",
                needs.len() - NAMED_MAX
            ));
        }
    };
    say(&now.forced, "is removed");
    // The same, once the active file has grown to its largest.
    let largest = files.iter().map(|file| file.len).max().unwrap_or(0);
    let next = Limits {
        max_total: limits.max_total.map(|max| max.saturating_sub(largest)),
        ..*limits
    };
    let next = plan(files, &next, needs);
    let endangered: Vec<Need> = next
        .forced
        .into_iter()
        .filter(|need| !now.forced.contains(need))
        .collect();
    say(&endangered, "will soon be removed");
    let oldest = files.first().map_or(0, |file| file.number);
    for replica in log.retention().replicas.list() {
        if replica.file < oldest
            && replica.was_seen_within(at, log.retention().options().keep_for_replicas)
        {
            warnings.push(format!(
                "replica {} ({}) was sent the log up to {}:{}, and what follows was removed: seed it again",
                replica.server_id,
                replica.host,
                name(replica.file),
                replica.position
            ));
        }
    }
    for warning in log.retention().set_warnings(warnings) {
        tracing::warn!("{warning}");
    }
}
