//! The data directory: one process at a time, the relay's own UUID, a clean spool.
//!
//! ```text
//! data_dir/
//!   auto.cnf     the relay's server_uuid, as mysqld keeps it
//!   channels.toml   what statements changed about the sources
//!   history-changed.NAME   why a source is failed until an administrator decides (`binrelay continue`)
//!   history-reserve.NAME   becomes that file if it cannot be written, because the disk is full
//!   LOCK         held by the running process
//!   spool/       large transactions being assembled; emptied at start
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::atomic_file::{self, AtomicFileError};
use crate::data_file::{self, DataFile};
use crate::gtid::Uuid;

/// How the names of spool files begin; see `transaction/spill.rs`.
const SPILL_PREFIX: &str = "transaction-";
/// Permission bits of auto.cnf, which holds no secret.
const AUTO_CNF_MODE: u32 = 0o640;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system refused an operation.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// auto.cnf could not be written.
    #[error(transparent)]
    Write(#[from] AtomicFileError),
    /// Another process uses it.
    #[error(
        "data_dir {} is in use by another binrelay process (it holds {}/LOCK); stop it, or use \
         another data_dir for this one",
        path.display(),
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The spool is not a directory of its own.
    #[error(
        "{} is a symbolic link, but its files are removed at each start: replace it by a directory; to keep \
         it on another file system, mount that there",
        path.display()
    )]
    SpoolLink {
        /// The link.
        path: PathBuf,
    },
    /// auto.cnf does not contain a UUID.
    #[error(
        "{}: expected a line server-uuid=XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX, found {found:?}; \
         restore the file, or remove it to get a new UUID",
        path.display()
    )]
    AutoCnf {
        /// The file.
        path: PathBuf,
        /// The file's content instead, shortened.
        found: String,
    },
}

/// A data directory that this process holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    server_uuid: Uuid,
    /// Held for as long as the process lives.
    _lock: DataFile,
}

impl DataDir {
    /// Locks the directory, which is created if it is missing. `configured` is a UUID to use instead
    /// of the one in auto.cnf.
    ///
    /// # Errors
    /// When another process uses it, or it cannot be created, read or written.
    pub fn open(path: &Path, configured: Option<Uuid>) -> Result<Self, DataDirError> {
        create_dir(path)?;
        let lock = lock(path)?;
        let server_uuid = match configured {
            Some(uuid) => uuid,
            None => auto_cnf(path)?,
        };
        empty_spool(&path.join("spool"))?;
        // What was created is still there after a crash of the machine.
        data_file::sync_dir(path).map_err(|cause| io_error("sync the directory", path, cause))?;
        Ok(Self {
            path: path.to_owned(),
            server_uuid,
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The relay's own server_uuid.
    pub fn server_uuid(&self) -> Uuid {
        self.server_uuid
    }
}

/// Whether a process holds the directory, which need not exist. The lock is tried for a moment, and shared, so that two
/// that ask do not disturb each other.
///
/// # Errors
/// When its lock file cannot be opened.
pub fn is_in_use(path: &Path) -> Result<bool, DataDirError> {
    let file = path.join("LOCK");
    let lock = match data_file::open_to_read(&file) {
        Ok(lock) => lock,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(false);
        }
        Err(cause) => return Err(io_error("open", &file, cause)),
    };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(cause) => Err(io_error("lock", &file, cause.into())),
    }
}

fn io_error(action: &'static str, path: &Path, cause: io::Error) -> DataDirError {
    DataDirError::Io {
        action,
        path: path.to_owned(),
        cause,
    }
}

fn create_dir(path: &Path) -> Result<(), DataDirError> {
    // Binlogs contain user data; they must not be world-readable.
    data_file::create_dir(path, 0o750).map_err(|cause| io_error("create", path, cause))
}

/// Creates the directory, or removes what a former process left there: the files that it named itself.
fn empty_spool(spool: &Path) -> Result<(), DataDirError> {
    match fs::symlink_metadata(spool) {
        Ok(found) if found.is_symlink() => {
            return Err(DataDirError::SpoolLink {
                path: spool.to_owned(),
            });
        }
        _ => create_dir(spool)?,
    }
    let entries = fs::read_dir(spool).map_err(|cause| io_error("read", spool, cause))?;
    for entry in entries {
        let entry = entry.map_err(|cause| io_error("read", spool, cause))?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(SPILL_PREFIX) {
            let file = entry.path();
            data_file::remove(&file).map_err(|cause| io_error("remove", &file, cause))?;
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<DataFile, DataDirError> {
    let file = path.join("LOCK");
    let lock =
        DataFile::open_or_create(&file, 0o640).map_err(|cause| io_error("open", &file, cause))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse {
            path: path.to_owned(),
        }),
        Err(cause) => Err(io_error("lock", &file, cause.into())),
    }
}

/// Reads the UUID, or generates and stores one.
fn auto_cnf(dir: &Path) -> Result<Uuid, DataDirError> {
    let path = dir.join("auto.cnf");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let line = text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                matches!(key.trim(), "server-uuid" | "server_uuid").then(|| value.trim())
            });
            line.and_then(|value| value.parse().ok())
                .ok_or_else(|| DataDirError::AutoCnf {
                    found: line.unwrap_or(&text).chars().take(80).collect(),
                    path,
                })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let uuid = Uuid::random();
            // In one step: a partial file would be refused on every start.
            let text = format!("[auto]\nserver-uuid={uuid}\n");
            atomic_file::replace(&path, text.as_bytes(), AUTO_CNF_MODE)?;
            Ok(uuid)
        }
        Err(cause) => Err(io_error("read", &path, cause)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::data_file::crash_states::check_all;

    #[test]
    fn directory_is_for_one_process_at_a_time_and_keeps_its_uuid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::open(&path, None).unwrap();
        let error = DataDir::open(&path, None).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        assert!(is_in_use(&path).unwrap());
        let uuid = first.server_uuid();
        drop(first);
        assert!(!is_in_use(&path).unwrap() && !is_in_use(dir.path()).unwrap());
        fs::write(path.join("spool/transaction-000001"), "left over").unwrap();
        let second = DataDir::open(&path, None).unwrap();
        assert_eq!(second.server_uuid(), uuid);
        assert_eq!(fs::read_dir(path.join("spool")).unwrap().count(), 0);
    }

    #[test]
    fn spool_removes_only_its_own_files_and_is_not_a_link() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = other.path().join("transaction-000001");
        fs::write(&kept, "kept").unwrap();
        let spool = dir.path().join("spool");
        std::os::unix::fs::symlink(other.path(), &spool).unwrap();
        let error = DataDir::open(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("is a symbolic link"), "{error}");
        assert!(kept.exists());

        fs::remove_file(&spool).unwrap();
        fs::create_dir(&spool).unwrap();
        fs::write(spool.join("notes"), "not the relay's").unwrap();
        DataDir::open(dir.path(), None).unwrap();
        assert!(spool.join("notes").exists());
    }

    #[test]
    fn lock_is_not_a_link() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = other.path().join("target");
        std::os::unix::fs::symlink(&target, dir.path().join("LOCK")).unwrap();
        let error = DataDir::open(dir.path(), None).unwrap_err();
        assert!(
            matches!(error, DataDirError::Io { action: "open", .. }),
            "{error}"
        );
        assert!(!target.exists());
    }

    #[test]
    fn uuid_is_the_same_after_every_crash() {
        let uuid = std::cell::Cell::new(None);
        let count = check_all(
            |dir, promised| {
                uuid.set(Some(DataDir::open(dir, None).unwrap().server_uuid()));
                promised.store(1, Ordering::SeqCst);
                fs::write(dir.join("spool/transaction-000001"), "left over").unwrap();
                DataDir::open(dir, None).unwrap();
            },
            |dir, promised| {
                let found = [(), ()].map(|()| DataDir::open(dir, None).unwrap().server_uuid());
                assert_eq!(found[0], found[1]);
                assert!(promised == 0 || uuid.get() == Some(found[0]));
            },
        );
        assert!(count > 100, "{count} states");
    }

    #[test]
    fn partial_auto_cnf_of_a_killed_start_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("auto.cnf.new"), "[auto]\nserv").unwrap();
        let uuid = DataDir::open(dir.path(), None).unwrap().server_uuid();
        assert!(!dir.path().join("auto.cnf.new").exists());
        assert_eq!(DataDir::open(dir.path(), None).unwrap().server_uuid(), uuid);
    }

    #[test]
    fn invalid_auto_cnf_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("auto.cnf"), "[auto]\nserver-uuid=xyz\n").unwrap();
        let error = DataDir::open(dir.path(), None).unwrap_err();
        assert!(error.to_string().contains("\"xyz\""), "{error}");
    }
}
