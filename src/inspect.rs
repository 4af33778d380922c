//! Reading binlog files offline: `binrelay dump` and `binrelay verify`.
//!
//! [`EventReader`] reads any binlog file of MySQL or MariaDB, or of the relay, event by event. It
//! holds at most [`EVENT_KEPT_MAX`] bytes of an event, however large, and nothing is allocated by
//! a length that the file states. [`dump`] turns events into lines; [`verify`] compares a relay's
//! log with itself and with its commit index.
//!
//! # What counts as damage
//! A file that does not begin as a binlog does; an event that is smaller than its header or goes
//! on behind the end of the file; a wrong checksum; a body that cannot be read; a position in a
//! header that is not the event's end. The last is no damage in events without a position (0),
//! and in a server's own relay log, where positions are the source's.
//!
//! Rows that cannot be counted are damage only where no checksum vouches for them.

mod describe;
pub mod dump;
mod gtid_selection;
mod line;
mod reader;
mod resync;
mod row_json;
mod row_text;
mod selection;
mod text;
pub mod verify;

use std::io;
use std::path::{Path, PathBuf};

pub use describe::{Describer, Description, Table};
pub use gtid_selection::GtidSelection;
pub use reader::{ChecksumState, EVENT_KEPT_MAX, EventBytes, EventReader, PlacedEvent};

/// Why a file cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The operating system refused.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Its answer.
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
        /// What says so.
        by: &'static str,
    },
    /// The file is damaged.
    #[error("{}, offset {offset}: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged event begins.
        offset: u64,
        /// What was found, and what was expected.
        cause: String,
    },
}

impl InspectError {
    fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        InspectError::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    fn damaged(path: &Path, offset: u64, cause: impl ToString) -> Self {
        InspectError::Damaged {
            path: path.to_owned(),
            offset,
            cause: cause.to_string(),
        }
    }
}
