//! How much one statement may cost. Any account can send statements, and the relay serves all replicas: a
//! statement must not take the stack, the memory or the processor from them.

use super::value::Value;
use crate::protocol::ServerError;

/// The most tokens of a statement.
pub const TOKENS_MAX: usize = 16 << 10;
/// The deepest nesting of an expression.
pub const DEPTH_MAX: usize = 32;
/// The most columns of a result, as on MySQL servers.
pub const COLUMNS_MAX: usize = 4096;
/// The longest pattern of LIKE, in bytes: no name that it is compared with has more than 64 characters.
pub const PATTERN_LENGTH_MAX: usize = 1024;
/// The most look-ups in the relay log's files. Each may read a whole file.
const LOOK_UPS_MAX: usize = 16;
/// What each value costs besides its bytes: its memory, and the time to evaluate it. Without it, NULL would be free.
const VALUE_COST: usize = size_of::<Value>();

/// "Got a packet bigger than 'max_allowed_packet' bytes".
const ER_NET_PACKET_TOO_LARGE: u16 = 1153;
/// "Result string is longer than 'max_allowed_packet' bytes".
const ER_TOO_LONG_STRING: u16 = 1162;
/// "Too many columns".
const ER_TOO_MANY_FIELDS: u16 = 1117;
/// "This version of the server does not yet support …".
const ER_TOO_MANY_LOOK_UPS: u16 = 1235;
/// "The SELECT would examine more than MAX_JOIN_SIZE rows".
const ER_TOO_BIG_SELECT: u16 = 1104;
/// "Thread stack overrun".
const ER_STACK_OVERRUN_NEED_MORE: u16 = 1436;

/// How large statements and their results may be.
#[derive(Debug, Clone, Copy)]
pub struct StatementLimits {
    /// The longest statement, in bytes.
    pub statement_len: usize,
    /// The most bytes of all values of a statement together, and of its result.
    pub result_len: usize,
}

impl Default for StatementLimits {
    /// 1 MiB and 16 MiB.
    fn default() -> Self {
        Self {
            statement_len: 1 << 20,
            result_len: 16 << 20,
        }
    }
}

/// What is left of a statement's budget while its expressions are evaluated.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    bytes: usize,
    look_ups: usize,
}

impl Budget {
    /// The budget of a new statement.
    pub fn new(limits: StatementLimits) -> Self {
        Self {
            bytes_max: limits.result_len,
            bytes: limits.result_len,
            look_ups: LOOK_UPS_MAX,
        }
    }

    /// Accounts for a look-up in the relay log's files.
    ///
    /// # Errors
    /// The statement has too many.
    pub fn look_up(&mut self) -> Result<(), ServerError> {
        self.look_ups = self.look_ups.checked_sub(1).ok_or_else(|| {
            let text = format!("A statement may look up {LOOK_UPS_MAX} positions in the relay log");
            ServerError::new(ER_TOO_MANY_LOOK_UPS, text)
        })?;
        Ok(())
    }

    /// Accounts for a value.
    ///
    /// # Errors
    /// The values of the statement are too long together.
    pub fn spend(&mut self, value: Value) -> Result<Value, ServerError> {
        self.charge(value.byte_len() + VALUE_COST)?;
        Ok(value)
    }

    /// Accounts for this many bytes, of values or of steps over their text.
    ///
    /// # Errors
    /// The values of the statement are too long together.
    pub fn charge(&mut self, bytes: usize) -> Result<(), ServerError> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(ServerError::new(
                ER_TOO_LONG_STRING,
                format!(
                    "The values of this statement are longer than {} bytes (max_result_size)",
                    self.bytes_max
                ),
            )),
        }
    }
}

/// A statement that is too long.
pub fn too_long(limits: StatementLimits) -> ServerError {
    ServerError::new(
        ER_NET_PACKET_TOO_LARGE,
        format!(
            "Got a packet bigger than 'max_allowed_packet' bytes: statements may have \
             {} bytes (max_statement_size) and {TOKENS_MAX} words",
            limits.statement_len
        ),
    )
}

/// An expression that is nested too deeply.
pub fn too_deep() -> ServerError {
    let text = format!("Thread stack overrun: expressions may be nested {DEPTH_MAX} levels deep");
    ServerError::new(ER_STACK_OVERRUN_NEED_MORE, text)
}

/// A result that is too large.
pub fn too_large_result(limits: StatementLimits) -> ServerError {
    let text = format!(
        "The result of this statement is longer than {} bytes (max_result_size)",
        limits.result_len
    );
    ServerError::new(ER_TOO_LONG_STRING, text)
}

/// A result with too many columns.
pub fn too_many_columns() -> ServerError {
    ServerError::new(ER_TOO_MANY_FIELDS, "Too many columns")
}

/// Two tables that have too many rows together.
pub fn too_many_rows(limit: usize) -> ServerError {
    let text = format!("The SELECT would examine more than {limit} rows; select from one table");
    ServerError::new(ER_TOO_BIG_SELECT, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_null_costs() {
        let mut budget = Budget::new(StatementLimits::default());
        let mut steps = 0;
        while budget.spend(Value::Null).is_ok() {
            steps += 1;
        }
        // Bytes of its memory on 64-bit systems: at least those of a text without letters.
        assert!(0 < steps && steps <= (16 << 20) / 24, "{steps}");
    }
}
