//! Why a binlog file cannot be read.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The operating system reported an error.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// The file is encrypted.
    #[error(
        "{}, offset {offset}: the file is encrypted ({by}), and only its server can read it; \
         fetch it decrypted with mysqlbinlog or mariadb-binlog --read-from-remote-server --raw",
        path.display()
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// Where the encryption begins.
        offset: u64,
        /// The feature that encrypted it.
        by: &'static str,
    },
    /// The file is damaged.
    #[error("{}, offset {offset}: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged event begins.
        offset: u64,
        /// The finding, and the expected state.
        cause: String,
    },
}

impl InspectError {
    pub(super) fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        InspectError::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    pub(super) fn damaged(path: &Path, offset: u64, cause: impl ToString) -> Self {
        InspectError::Damaged {
            path: path.to_owned(),
            offset,
            cause: cause.to_string(),
        }
    }
}
