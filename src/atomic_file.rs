//! Replacing a small file in one step, so that a crash leaves either the old file or the new one, never a
//! part.

use std::io;
use std::path::{Path, PathBuf};

use crate::data_file::{self, DataFile};

/// Why a file could not be replaced.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {cause}", path.display())]
pub struct AtomicFileError {
    /// The operation that failed: "create", "write", "sync", "rename to", …
    pub operation: &'static str,
    /// The file or directory that it was applied to.
    pub path: PathBuf,
    /// The operating system's error.
    #[source]
    pub cause: io::Error,
}

/// Makes `path` a file that holds `bytes`, durably, whether or not it exists.
///
/// The bytes are written to a temporary file in the same directory (`path` with `.new` appended),
/// which is synced and renamed to `path`; then the directory is synced. The file gets the
/// permission bits `mode`, whatever the process's umask, also where it replaces a file with other ones.
/// Two concurrent calls for the same path are not supported.
///
/// # Errors
/// The operation that failed and its path. No temporary file is left. `path` is unchanged, unless
/// only syncing the directory failed: then it has been replaced, and a crash may undo that.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), AtomicFileError> {
    let Some(name) = path.file_name() else {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
        return Err(failed("replace", path, cause));
    };
    let mut temporary_name = name.to_owned();
    temporary_name.push(".new");
    let temporary = path.with_file_name(temporary_name);
    let replaced = write_new(&temporary, bytes, mode).and_then(|()| {
        data_file::rename(&temporary, path)
            .map_err(|cause| failed("rename a new file to", path, cause))
    });
    if replaced.is_err() {
        // The first error is the one to report; usually the file does not exist.
        let _ = data_file::remove(&temporary);
        return replaced;
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    data_file::sync_dir(directory).map_err(|cause| failed("sync the directory", directory, cause))
}

/// Creates the temporary file. One that a killed process left is removed, not reused: its mode
/// may be another, and another process may have it open.
fn write_new(temporary: &Path, bytes: &[u8], mode: u32) -> Result<(), AtomicFileError> {
    match data_file::remove(temporary) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", temporary, cause));
        }
        _ => {}
    }
    let file = DataFile::create_new(temporary, mode)
        .map_err(|cause| failed("create", temporary, cause))?;
    file.set_mode(mode)
        .map_err(|cause| failed("set the permissions of", temporary, cause))?;
    file.write_all_at(bytes, 0)
        .map_err(|cause| failed("write", temporary, cause))?;
    file.sync_all()
        .map_err(|cause| failed("sync", temporary, cause))
}

fn failed(operation: &'static str, path: &Path, cause: io::Error) -> AtomicFileError {
    AtomicFileError {
        operation,
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::Ordering;

    use crate::data_file::crash_states::check_all;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_existing_file_is_replaced_with_the_new_bytes_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        replace(&path, b"first", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace(&path, b"second", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(dir.path()), ["key.pem"]);
    }

    #[test]
    fn a_crash_leaves_the_old_file_or_the_new_one() {
        let texts: [&[u8]; 2] = [b"first", b"the second, which is longer"];
        let count = check_all(
            |dir, promised| {
                for (number, text) in (1..).zip(texts) {
                    replace(&dir.join("a"), text, 0o600).unwrap();
                    promised.store(number, Ordering::SeqCst);
                }
            },
            |dir, promised| {
                let found = fs::read(dir.join("a")).ok();
                let is_allowed = match found.as_deref() {
                    None => promised == 0,
                    Some(text) if text == texts[0] => promised <= 1,
                    Some(text) => text == texts[1],
                };
                assert!(is_allowed, "after {promised}: {found:?}");
                replace(&dir.join("a"), b"third", 0o600).unwrap();
            },
        );
        assert!(count > 100, "{count} states");
    }

    #[test]
    fn a_temporary_file_of_a_killed_process_is_not_reused() {
        let dir = tempfile::tempdir().unwrap();
        let temporary = dir.path().join("key.pem.new");
        fs::write(&temporary, "half of a much longer text").unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o666)).unwrap();
        let reader = File::open(&temporary).unwrap();
        let path = dir.path().join("key.pem");
        replace(&path, b"whole", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(
            io::read_to_string(reader).unwrap(),
            "half of a much longer text"
        );
        assert_eq!(names(dir.path()), ["key.pem"]);
    }

    #[test]
    fn a_failed_rename_names_the_path_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, b"text", 0o644).unwrap_err();
        assert_eq!(error.path, path);
        let text = error.to_string();
        let expected = format!("cannot rename a new file to {}: ", path.display());
        assert!(text.starts_with(&expected), "{text}");
        assert_eq!(names(dir.path()), ["taken"]);
    }

    #[test]
    fn a_failed_create_names_the_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = replace(&dir.path().join("missing/file"), b"text", 0o644).unwrap_err();
        assert_eq!(error.operation, "create");
        assert!(error.path.ends_with("missing/file.new"), "{error}");
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_path_without_a_file_name_is_refused() {
        let error = replace(Path::new("/"), b"text", 0o644).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot replace /: the path names no file"
        );
    }
}
