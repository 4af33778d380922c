//! What is before the log once files at its beginning were removed.

use super::error::LogError;
use super::files::LogDir;
use super::reader::FileHead;
use crate::identity::Executed;

/// The transactions before file `first`, once the files before it are removed.
pub(super) fn purged_before(
    log_dir: &LogDir,
    first: u64,
    purged: &Executed,
) -> Result<Executed, LogError> {
    let head = FileHead::read(&log_dir.log_path(first))?;
    Ok(match (purged, head.previous) {
        (Executed::Anonymous, _) => Executed::Anonymous,
        (Executed::MySql(before), Executed::MySql(mut now)) => {
            now.union_with(before);
            Executed::MySql(now)
        }
        (_, now) => now,
    })
}
