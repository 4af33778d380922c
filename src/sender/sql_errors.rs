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

/// A column that does not exist.
pub fn unknown_column(name: &str) -> ServerError {
    let text = format!("Unknown column '{}' in 'field list'", shortened(name));
    ServerError::new(ER_BAD_FIELD_ERROR, text)
}

/// A column that two tables have.
pub fn ambiguous_column(name: &str) -> ServerError {
    let text = format!("Column '{}' in 'field list' is ambiguous", shortened(name));
    ServerError::new(ER_NON_UNIQ_ERROR, text)
}

/// A function that does not exist.
pub fn no_such_function(name: &str) -> ServerError {
    let text = format!("FUNCTION {} does not exist", shortened(name));
    ServerError::new(ER_SP_DOES_NOT_EXIST, text)
}

/// A text that is not a GTID set or position.
pub fn malformed_gtid_set(text: &str) -> ServerError {
    let text = format!("Malformed GTID set specification '{}'.", shortened(text));
    ServerError::new(ER_MALFORMED_GTID_SET_SPECIFICATION, text)
}

/// A table that does not exist; `schema` is empty where the statement names none.
pub fn no_such_table(schema: &str, table: &str) -> ServerError {
    let (schema, table) = (shortened(schema), shortened(table));
    if schema.is_empty() {
        return ServerError::new(ER_NO_DB_ERROR, "No database selected");
    }
    if schema.eq_ignore_ascii_case("information_schema") {
        let text = format!("Unknown table '{table}' in information_schema");
        return ServerError::new(ER_UNKNOWN_TABLE, text);
    }
    let text = format!("Table '{schema}.{table}' doesn't exist");
    ServerError::new(ER_NO_SUCH_TABLE, text)
}

/// A statement that servers of this flavor do not know either.
pub fn syntax_error(flavor: Flavor, near: &str) -> ServerError {
    let near: String = near.chars().take(STATEMENT_LENGTH_MAX).collect();
    ServerError::new(
        ER_PARSE_ERROR,
        format!(
            "You have an error in your SQL syntax; check the manual that corresponds to your \
             {flavor} server version for the right syntax to use near '{near}' at line 1"
        ),
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
             answers only the statements that replicas send and those that HELP lists; \
             not supported: '{start}'"
        ),
    )
}

/// A connection that does not exist.
pub fn no_such_thread(id: &str) -> ServerError {
    ServerError::new(ER_NO_SUCH_THREAD, format!("Unknown thread id: {id}"))
}

/// The error before any source was reached. Replicas retry after it.
pub fn no_log_yet() -> ServerError {
    ServerError::new(
        ER_CON_COUNT_ERROR,
        "binrelay has not reached any of its sources yet, so it has no relay log; try again later",
    )
}

/// A missing privilege that no account of the relay can have.
pub fn missing_privilege(privileges: &str) -> ServerError {
    ServerError::new(
        ER_SPECIFIC_ACCESS_DENIED_ERROR,
        format!(
            "Access denied; you need (at least one of) the {privileges} privilege(s) for this \
             operation"
        ),
    )
}

/// A missing privilege, by the names that servers have for it. `name` is the one to set in the relay's configuration.
pub fn missing_user_privilege(privileges: &str, name: &str) -> ServerError {
    let mut error = missing_privilege(privileges);
    let place = format!("; on binrelay, privileges = [\"{name}\"] of the [[user]]");
    error.message.push_str(&place);
    error
}
