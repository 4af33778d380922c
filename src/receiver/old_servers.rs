//! Questions to servers that do not know a system variable.

use super::error::ReceiverError;
use crate::connection::{Connection, ConnectionError};

/// Whether the server does not know a system variable: error 1193.
pub(super) fn is_unknown_variable(error: &ConnectionError) -> bool {
    const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
    error
        .server_error()
        .is_some_and(|error| error.code == ER_UNKNOWN_SYSTEM_VARIABLE)
}

/// The first of `statements` whose variables the source knows; older servers lack some.
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
