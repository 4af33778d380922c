//! Queries of system variables that older servers do not have.

use super::error::ReceiverError;
use crate::connection::{Connection, ConnectionError};

/// Whether the error is "Unknown system variable" (1193).
pub(super) fn is_unknown_variable(error: &ConnectionError) -> bool {
    const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
    error
        .server_error()
        .is_some_and(|error| error.code == ER_UNKNOWN_SYSTEM_VARIABLE)
}

/// The row of the first of `statements` whose variables all exist on the source; older servers lack
/// some.
pub(super) async fn first_known(
    connection: &mut Connection,
    statements: &[&str],
) -> Result<Vec<Option<Vec<u8>>>, ReceiverError> {
    let mut unknown = None;
    for statement in statements {
        match connection.query(statement).await {
            Ok(answer) => return Ok(answer.rows.first().cloned().unwrap_or_default()),
            Err(error) if is_unknown_variable(&error) => unknown = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match unknown {
        Some(error) => Err(error.into()),
        None => Ok(Vec::new()),
    }
}
