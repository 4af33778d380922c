//! Whether a source has offered TLS before: mode preferred then insists on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::atomic_file;

/// Permission bits of the file, which holds no secret.
const FILE_MODE: u32 = 0o640;

/// The memory of one source, shared by all of its connections.
///
/// `data_dir/tls-offered.NAME` keeps it over restarts. It contains the address, `HOST:PORT`, to which
/// it applies.
#[derive(Debug, Clone, Default)]
pub struct OfferedTls(Arc<Memory>);

#[derive(Debug, Default)]
struct Memory {
    is_set: AtomicBool,
    /// Where it is kept, and the address; nowhere for a check.
    file: OnceLock<(PathBuf, String)>,
}

impl OfferedTls {
    /// Reads the memory of the source `name`, which is at `address`.
    pub fn read(&self, data_dir: &Path, name: &str, address: &str) {
        let text = fs::read_to_string(path(data_dir, name)).unwrap_or_default();
        if text.trim_end() == address {
            self.0.is_set.store(true, Ordering::Relaxed);
        }
    }

    /// As [`OfferedTls::read`], and keeps it there from now on.
    pub fn keep_in(&self, data_dir: &Path, name: &str, address: &str) {
        self.read(data_dir, name, address);
        let file = (path(data_dir, name), address.to_owned());
        // Only the first call counts; there is only one.
        let _ = self.0.file.set(file);
    }

    /// Whether the source has offered TLS before.
    pub fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::Relaxed)
    }

    /// The source has offered TLS, and the login over it succeeded.
    pub fn set(&self) {
        if self.0.is_set.swap(true, Ordering::Relaxed) {
            return;
        }
        let Some((path, address)) = self.0.file.get() else {
            return;
        };
        let text = format!("{address}\n");
        if let Err(error) = atomic_file::replace(path, text.as_bytes(), FILE_MODE) {
            tracing::warn!(
                "{error}; after a restart it will not be known that {address} has offered TLS"
            );
        }
    }
}

fn path(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(format!("tls-offered.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_for_the_address() {
        let dir = tempfile::tempdir().unwrap();
        let first = OfferedTls::default();
        first.keep_in(dir.path(), "m1", "db1:3306");
        assert!(!first.is_set());
        first.clone().set();
        assert!(first.is_set());
        let remembered = |name: &str, address: &str| {
            let again = OfferedTls::default();
            again.read(dir.path(), name, address);
            again.is_set()
        };
        assert!(remembered("m1", "db1:3306"));
        assert!(!remembered("m1", "db2:3306"), "another address");
        assert!(!remembered("m2", "db1:3306"), "another source");
    }
}
