//! That a source's history has changed is recorded in the data directory, in `history-changed.NAME`.
//!
//! Without the record, a source that has lost transactions would look right again as soon as its binlog
//! has grown past them. `binrelay continue` removes the file.
//!
//! So is an INCIDENT event without a GTID: a MySQL source that is followed by GTID sends it only once, because it begins
//! the next dump with the next file.
//!
//! The file has two lines: what was expected, and what was found. Of an incident: `incident`, its number and the position
//! before it, separated by spaces; and the source's message. On a full disk it cannot be written, and without
//! it the next start of the relay would skip a transaction with a reused GTID silently. So before a source is
//! followed, `history-reserve.NAME` is written; renaming it needs no space.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::ReceiverError;
use crate::position::SourcePosition;
use crate::relay_log::SourceProgress;
use crate::relay_log::files::sync_dir;
use crate::transaction::TransactionError;
use crate::{atomic_file, data_file};

/// Permission bits of the file.
const MODE: u32 = 0o640;
/// How the record of an incident begins.
const INCIDENT: &str = "incident ";
/// The text of the reserve.
const RESERVE: &str = "the binlog that was received from it\na change that could not be described here, \
                       because the file could not be written: binrelay has logged it\n";

/// The file of the source `name`.
fn path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(format!("history-changed.{name}"))
}

/// The file that becomes the record if that cannot be written.
fn reserve_path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(format!("history-reserve.{name}"))
}

/// Writes the reserve, unless it exists. Before that nothing may be received from the source.
///
/// # Errors
/// When it cannot be written, for example because the disk is full.
pub(super) fn reserve(data_dir: &Path, name: &str) -> Result<(), ReceiverError> {
    let path = reserve_path(data_dir, name);
    let is_whole = fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE.len() as u64);
    if is_whole {
        return Ok(());
    }
    atomic_file::replace(&path, RESERVE.as_bytes(), MODE).map_err(|error| {
        ReceiverError::setup(
            error.to_string(),
            "free disk space, or correct the permissions of the directory: the source is followed once a \
             change of its history can be recorded",
        )
    })
}

/// Fails if a change of the source's history, or an incident, is recorded.
///
/// # Errors
/// The recorded one; another one if the file cannot be read.
pub fn check(data_dir: &Path, name: &str) -> Result<(), ReceiverError> {
    let path = path(data_dir, name);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let (expected, found) = text.split_once('\n').unwrap_or((&text, ""));
            let (expected, found) = (expected.to_owned(), found.trim_end().to_owned());
            Err(match incident_at(&expected) {
                Some((number, at)) => ReceiverError::Transaction {
                    at,
                    cause: TransactionError::Incident {
                        number,
                        message: found,
                    },
                },
                None => ReceiverError::History { expected, found },
            })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ReceiverError::setup(
            format!("cannot read {}: {error}", path.display()),
            "correct the permissions of the file",
        )),
    }
}

/// The number and the position in the first line of a recorded incident.
fn incident_at(line: &str) -> Option<(u16, SourcePosition)> {
    let (number, at) = line.strip_prefix(INCIDENT)?.split_once(' ')?;
    let (file, offset) = at.rsplit_once(':')?;
    let at = SourcePosition::new(file, offset.parse().ok()?);
    Some((number.parse().ok()?, at))
}

/// Whether a change of the source's history is recorded, or that cannot be determined.
pub fn has_changed_history(data_dir: &Path, name: &str) -> bool {
    check(data_dir, name).is_err()
}

/// Records a changed history, and returns the error. Where the file cannot be written, the reserve takes its
/// place. If that fails, too, it is reported, and the source fails all the same.
pub(super) fn keep(data_dir: &Path, name: &str, error: ReceiverError) -> ReceiverError {
    let ReceiverError::History { expected, found } = error else {
        return error;
    };
    let (expected, found) = (one_line(&expected), one_line(&found));
    write(data_dir, name, &expected, &found);
    ReceiverError::History { expected, found }
}

/// As [`keep`], for an INCIDENT event without a GTID in the stream of a dump.
pub(super) fn keep_incident(data_dir: &Path, name: &str, error: ReceiverError) -> ReceiverError {
    if let ReceiverError::Transaction {
        at,
        cause: TransactionError::Incident { number, message },
    } = &error
    {
        let first = one_line(&format!("{INCIDENT}{number} {at}"));
        write(data_dir, name, &first, &one_line(message));
    }
    error
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn write(data_dir: &Path, name: &str, first: &str, second: &str) {
    let path = path(data_dir, name);
    let written = atomic_file::replace(&path, format!("{first}\n{second}\n").as_bytes(), MODE);
    if let Err(error) = &written {
        tracing::error!(source = name, "{error}");
        let renamed = data_file::rename(&reserve_path(data_dir, name), &path);
        if let Err(error) = &renamed {
            let path = path.display();
            tracing::error!(
                source = name,
                "cannot rename the reserve to {path}: {error}"
            );
        } else if let Err(error) = sync_dir(data_dir) {
            tracing::error!(source = name, "{error}");
        }
    }
}

/// Refuses to continue at `new` where that is before a recorded incident; `old` is where the source was.
///
/// # Errors
/// When it is.
pub(super) fn check_passed(
    incident: &SourcePosition,
    old: &SourceProgress,
    new: &SourceProgress,
) -> Result<(), ReceiverError> {
    let at = &new.position;
    // A position of another server shows nothing.
    if old.server_id != new.server_id || incident.precedes(at) {
        return Ok(());
    }
    Err(ReceiverError::setup(
        format!("{at} is not after the Incident event at {incident}"),
        "give the position after that event as --at FILE:POS",
    ))
}

/// Removes the record.
///
/// # Errors
/// When the file cannot be removed.
pub(super) fn remove(data_dir: &Path, name: &str) -> Result<(), ReceiverError> {
    let path = path(data_dir, name);
    match data_file::remove(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ReceiverError::setup(
            format!("cannot remove {}: {error}", path.display()),
            "correct the permissions of the directory",
        )),
        // Otherwise a crash of the machine could bring it back, after the administrator has decided.
        _ => sync_dir(data_dir)
            .map_err(|error| ReceiverError::setup(error.to_string(), "repair the disk")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::data_file::crash_states::check_all;

    #[test]
    fn change_and_its_removal_survive_a_crash_after_every_operation() {
        let changed = || ReceiverError::History {
            expected: "a transaction".to_owned(),
            found: "another one".to_owned(),
        };
        let count = check_all(
            |dir, promised| {
                reserve(dir, "m1").unwrap();
                promised.store(1, Ordering::SeqCst);
                keep(dir, "m1", changed());
                promised.store(2, Ordering::SeqCst);
                reserve(dir, "m2").unwrap();
                promised.store(3, Ordering::SeqCst);
                remove(dir, "m1").unwrap();
                promised.store(4, Ordering::SeqCst);
            },
            |dir, promised| {
                let found = check(dir, "m1").map_err(|error| error.to_string());
                match (promised, found) {
                    (0 | 1 | 3 | 4, Ok(())) => {}
                    (1..=3, Err(found)) => assert_eq!(found, changed().to_string()),
                    (promised, found) => panic!("after {promised}: {found:?}"),
                }
                reserve(dir, "m1").unwrap();
            },
        );
        assert!(count > 100, "{count} states");
    }

    #[test]
    fn recorded_change_fails_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check(dir.path(), "m1").is_ok());
        let error = ReceiverError::History {
            expected: "a transaction".to_owned(),
            found: "another\none".to_owned(),
        };
        let kept = keep(dir.path(), "m1", error).to_string();
        assert!(kept.contains("expected a transaction, found another one."));
        assert_eq!(check(dir.path(), "m1").unwrap_err().to_string(), kept);
        assert!(check(dir.path(), "m2").is_ok());
        remove(dir.path(), "m1").unwrap();
        remove(dir.path(), "m1").unwrap();
        assert!(check(dir.path(), "m1").is_ok());
    }

    #[test]
    fn recorded_incident_fails_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let error = ReceiverError::Transaction {
            at: SourcePosition::new("my bin:1.000001", 4711),
            cause: TransactionError::Incident {
                number: 1,
                message: "events\nare lost".to_owned(),
            },
        };
        let kept = keep_incident(dir.path(), "m1", error).to_string();
        let recorded = check(dir.path(), "m1").unwrap_err();
        assert!(recorded.incident_at().is_some(), "{recorded:?}");
        assert_eq!(recorded.to_string(), kept.replace('\n', " "));
        remove(dir.path(), "m1").unwrap();
        assert!(check(dir.path(), "m1").is_ok());
        keep_incident(dir.path(), "m1", ReceiverError::LogClosed);
        assert!(check(dir.path(), "m1").is_ok());
        // What another version may have written is a changed history.
        fs::write(dir.path().join("history-changed.m1"), "incident x\ny\n").unwrap();
        let recorded = check(dir.path(), "m1").unwrap_err();
        assert!(
            matches!(recorded, ReceiverError::History { .. }),
            "{recorded:?}"
        );
    }

    #[test]
    fn change_is_recorded_where_the_record_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        reserve(dir.path(), "m1").unwrap();
        // No temporary file can be created, as on a full disk.
        fs::create_dir(dir.path().join("history-changed.m1.new")).unwrap();
        let error = ReceiverError::History {
            expected: "a transaction".to_owned(),
            found: "another one".to_owned(),
        };
        keep(dir.path(), "m1", error);
        let recorded = check(dir.path(), "m1").unwrap_err();
        assert!(matches!(recorded, ReceiverError::History { .. }));
        assert!(recorded.to_string().contains("binrelay has logged it"));
        assert!(check(dir.path(), "m2").is_ok());
        remove(dir.path(), "m1").unwrap();
        assert!(check(dir.path(), "m1").is_ok());
    }

    #[test]
    fn nothing_is_received_without_a_reserve() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("history-reserve.m1.new")).unwrap();
        assert!(reserve(dir.path(), "m1").is_err());
        fs::remove_dir(dir.path().join("history-reserve.m1.new")).unwrap();
        reserve(dir.path(), "m1").unwrap();
        // One of a killed process that is incomplete is replaced.
        fs::write(dir.path().join("history-reserve.m1"), "x").unwrap();
        reserve(dir.path(), "m1").unwrap();
        let text = fs::read_to_string(dir.path().join("history-reserve.m1")).unwrap();
        assert_eq!(text, RESERVE);
    }

    #[test]
    fn other_errors_are_not_recorded() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), "m1", ReceiverError::LogClosed);
        assert!(check(dir.path(), "m1").is_ok());
    }
}
