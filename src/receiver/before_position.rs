//! Which transactions precede a position in a source's binlog, asked of the source itself.

use super::connect::connect;
use super::error::ReceiverError;
use super::first_contact::explore;
use super::options::ReceiverOptions;
use super::resume::check_kind;
use crate::config::{SourceConfig, SourceStart};
use crate::identity::{Executed, IdentityKind};
use crate::position::SourcePosition;

/// Reads the source's binlog file up to `at`, which must be between two transactions, and returns all
/// transactions before it; without GTIDs it only checks the position. `kind` is that of the relay log,
/// `server_id` that of the server that the relay has received; 0 if none.
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
    Ok(explore(&mut connection, &options, facts).await?.before)
}
