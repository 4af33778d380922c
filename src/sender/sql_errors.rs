//! The errors of SQL statements, with the texts of real servers where those have the error.

use crate::flavor::Flavor;
use crate::protocol::ServerError;
use crate::protocol::error_code::*;

/// The most characters of a name that an error repeats.
const NAME_LENGTH_MAX: usize = 64;
/// The most characters of a statement that an error repeats.
const STATEMENT_LENGTH_MAX: usize = 80;

/// The beginning of a name, for an error.
pub fn shortened(name: &str) -> String {
    name.chars().take(NAME_LENGTH_MAX).collect()
}

/// A system variable that does not exist.
pub fn unknown_variable(name: &str) -> ServerError {
    ServerError::new(
        ER_UNKNOWN_SYSTEM_VARIABLE,
        format!("Unknown system variable '{}'", shortened(name)),
    )
}

/// A database that does not exist; the relay has none.
pub fn unknown_database(name: &str) -> ServerError {
    let text = format!("Unknown database '{}'", shortened(name));
    ServerError::new(ER_BAD_DB_ERROR, text)
}

/// A statement that is not supported.
pub fn not_supported(flavor: Flavor, statement: &str) -> ServerError {
    let statement = statement.trim();
    let start: String = statement.chars().take(STATEMENT_LENGTH_MAX).collect();
    ServerError::new(
        ER_NOT_SUPPORTED_YET,
        format!(
            "This is binrelay, a binlog relay for {flavor} replicas: it holds no tables, and \
             answers only the statements that replicas send and SHOW statements about \
             replication; not supported: '{start}'"
        ),
    )
}

/// A connection that does not exist.
pub fn no_such_thread(id: &str) -> ServerError {
    ServerError::new(ER_NO_SUCH_THREAD, format!("Unknown thread id: {id}"))
}

/// A missing privilege.
pub fn missing_privilege(privileges: &str) -> ServerError {
    ServerError::new(
        ER_SPECIFIC_ACCESS_DENIED_ERROR,
        format!(
            "Access denied; you need (at least one of) the {privileges} privilege(s) for this \
             operation"
        ),
    )
}
