//! That a source's history has changed is recorded in the data directory, in `history-changed.NAME`.
//!
//! Without the record, a source that has lost transactions would look right again as soon as its binlog
//! has grown past them. `binrelay continue` removes the file.
//!
//! The file has two lines: what was expected, and what was found.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::ReceiverError;
use crate::atomic_file;

/// Permission bits of the file.
const MODE: u32 = 0o640;

/// The file of the source `name`.
fn path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(format!("history-changed.{name}"))
}

/// Fails if a change of the source's history is recorded.
///
/// # Errors
/// [`ReceiverError::History`] if it is; another one if the file cannot be read.
pub(super) fn check(data_dir: &Path, name: &str) -> Result<(), ReceiverError> {
    let path = path(data_dir, name);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let (expected, found) = text.split_once('\n').unwrap_or((&text, ""));
            Err(ReceiverError::History {
                expected: expected.to_owned(),
                found: found.trim_end().to_owned(),
            })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ReceiverError::setup(
            format!("cannot read {}: {error}", path.display()),
            "correct the permissions of the file",
        )),
    }
}

/// Whether a change of the source's history is recorded, or that cannot be determined.
pub fn has_changed_history(data_dir: &Path, name: &str) -> bool {
    check(data_dir, name).is_err()
}

/// Records a changed history, and returns the error. A file that cannot be written is reported, and the source
/// fails all the same.
pub(super) fn keep(data_dir: &Path, name: &str, error: ReceiverError) -> ReceiverError {
    let ReceiverError::History { expected, found } = error else {
        return error;
    };
    let path = path(data_dir, name);
    let line = |text: &str| text.replace(char::is_control, " ");
    let (expected, found) = (line(&expected), line(&found));
    let written = atomic_file::replace(&path, format!("{expected}\n{found}\n").as_bytes(), MODE);
    if let Err(error) = &written {
        tracing::error!(source = name, "{error}");
    }
    ReceiverError::History { expected, found }
}

/// Removes the record.
///
/// # Errors
/// When the file cannot be removed.
pub(super) fn remove(data_dir: &Path, name: &str) -> Result<(), ReceiverError> {
    let path = path(data_dir, name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(ReceiverError::setup(
            format!("cannot remove {}: {error}", path.display()),
            "correct the permissions of the directory",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn other_errors_are_not_recorded() {
        let dir = tempfile::tempdir().unwrap();
        keep(dir.path(), "m1", ReceiverError::LogClosed);
        assert!(check(dir.path(), "m1").is_ok());
    }
}
