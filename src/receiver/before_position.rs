//! Which transactions precede a position in a source's binlog, asked of the source itself.

use super::connect::{connect, within};
use super::error::ReceiverError;
use super::first_contact::explore;
use super::options::ReceiverOptions;
use super::resume::check_kind;
use super::source_queries::purged_set;
use crate::config::{SourceConfig, SourceStart};
use crate::gtid::GtidSet;
use crate::identity::{Executed, IdentityKind};
use crate::position::SourcePosition;

/// Reads the source's binlog file up to `at`, which must be between two transactions, and returns all
/// transactions before it; without GTIDs it only checks the position. `kind` is that of the relay log,
/// `server_id` that of the server that the relay has received; 0 if none.
///
/// On MySQL those in `gtid_purged` are among them: where it was set, as on a server that was restored from a dump or a
/// copy, no binlog lists them, and a replica that follows the server from that position does not receive them.
///
/// # Errors
/// When the source cannot be reached, is another server or of another kind, no longer has the file, or
/// the position is not between two transactions.
pub async fn transactions_before(
    config: &SourceConfig,
    kind: IdentityKind,
    server_id: u32,
    at: &SourcePosition,
) -> Result<Executed, ReceiverError> {
    let mut config = config.clone();
    config.start = SourceStart::FilePosition(at.clone());
    config.auto_position = Some(false);
    // A source ends the dump of a replica when another with the same server_id connects: the relay's
    // own must continue.
    let options = ReceiverOptions::of_stranger(&config);
    let (mut connection, facts) = connect(&options).await?;
    check_kind(kind, &facts)?;
    if server_id != 0 && facts.server_id != server_id {
        return Err(ReceiverError::setup(
            format!(
                "another server answers there, with server_id {} instead of {server_id}",
                facts.server_id
            ),
            "use a GTID set, or coordinates of the server that answers",
        ));
    }
    let purged = match kind {
        IdentityKind::MySql => within(config.read_timeout, purged_set(&mut connection)).await?,
        IdentityKind::MariaDb | IdentityKind::Anonymous => GtidSet::new(),
    };
    let mut before = explore(&mut connection, &options, facts).await?.before;
    if let Executed::MySql(before) = &mut before {
        before.union_with(&purged);
    }
    Ok(before)
}
