//! MariaDB 12.3 and later can keep the binlog in a storage engine instead of files (`binlog_storage_engine`).
//!
//! Such a binlog is one stream that can only be read by GTID: its events have no offsets, no rotate event names the
//! next file, and a dump from a file and position is refused (error 4246). The relay records, verifies and resumes
//! a source by file and position.

use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::old_servers::first_known;
use crate::binlog::format_description::version_numbers;
use crate::connection::Connection;
use crate::flavor::Flavor;

/// The first version that has the variable.
const FIRST: (u32, u32, u32) = (12, 3, 0);

/// Refuses a source with such a binlog.
pub(super) async fn refuse_engine_binlog(
    connection: &mut Connection,
    facts: &SourceFacts,
) -> Result<(), ReceiverError> {
    if facts.flavor != Flavor::MariaDb || version_numbers(&facts.version) < FIRST {
        return Ok(());
    }
    let statements = ["SELECT @@GLOBAL.binlog_storage_engine", "SELECT NULL"];
    let row = first_known(connection, &statements).await?;
    let engine = row.into_iter().next().flatten().unwrap_or_default();
    if engine.is_empty() {
        return Ok(());
    }
    let engine = String::from_utf8_lossy(&engine);
    Err(ReceiverError::setup(
        format!(
            "the source keeps its binlog in a storage engine (binlog_storage_engine={engine}): it has no file positions, \
             by which the relay reads and resumes a binlog"
        ),
        "remove binlog_storage_engine from its configuration file and restart it, so that it writes its binlog into files",
    ))
}
