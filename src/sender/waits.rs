//! Functions that wait until the relay log has something: MASTER_POS_WAIT and its relatives.
//!
//! A statement is evaluated on a thread for blocking calls, which must not wait. A function that would
//! have to wait leaves a [`Wait`] in [`Waits`] instead. The session waits, and evaluates the
//! statement again with the result.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::source_rows::{SourceRow, SourceRows};
use super::value::Value;
use crate::gtid::{GtidPosition, GtidSet};
use crate::identity::Executed;
use crate::position::SourcePosition;
use crate::protocol::ServerError;
use crate::protocol::error_code::ER_NOT_SUPPORTED_YET;
use crate::relay_log::RelayLog;

/// The most waits of one statement.
const WAITS_MAX: usize = 16;
/// How often a condition is evaluated.
const INTERVAL: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Everything of this source before this position of its binlog.
    SourcePosition(String, SourcePosition),
    /// These GTIDs (MySQL).
    GtidSet(GtidSet),
    /// A GTID position (MariaDB).
    GtidPosition(GtidPosition),
}

/// One wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for.
    pub condition: Condition,
    /// For how long; `None` without a limit.
    pub timeout: Option<Duration>,
    /// The value after a timeout.
    pub timed_out: Value,
}

/// The waits of one statement.
#[derive(Debug, Default)]
pub struct Waits {
    results: Vec<Value>,
    used: Cell<usize>,
    pending: RefCell<Option<Wait>>,
}

impl Waits {
    /// The result of the statement's next wait; NULL if that has yet to be waited for.
    ///
    /// # Errors
    /// The statement has too many of them.
    pub fn result(&self, wait: impl FnOnce() -> Wait) -> Result<Value, ServerError> {
        let number = self.used.replace(self.used.get() + 1);
        if number >= WAITS_MAX {
            let text = format!("binrelay supports {WAITS_MAX} functions that wait in a statement");
            return Err(ServerError::new(ER_NOT_SUPPORTED_YET, text));
        }
        if let Some(result) = self.results.get(number) {
            return Ok(result.clone());
        }
        self.pending.borrow_mut().get_or_insert_with(wait);
        Ok(Value::Null)
    }

    /// The wait that the statement cannot be answered without.
    pub fn pending(&self) -> Option<Wait> {
        self.pending.borrow().clone()
    }

    /// The waits of the same statement, with one more result.
    pub fn with(self, result: Value) -> Self {
        let mut results = self.results;
        results.push(result);
        Self {
            results,
            ..Self::default()
        }
    }
}

impl Wait {
    /// Waits, and returns the function's value: 0 when the condition was met at once, NULL when it never
    /// will be.
    pub async fn run(&self, log: Option<&RelayLog>, sources: &SourceRows) -> Value {
        // A time limit beyond what the clock can express is none.
        let limit = |timeout| Instant::now().checked_add(timeout);
        let end = self.timeout.and_then(limit);
        loop {
            match self.condition.is_met(log, sources) {
                Some(true) => return Value::Number("0".to_owned()),
                Some(false) => {}
                None => return Value::Null,
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return self.timed_out.clone();
            }
            let left = end.map_or(INTERVAL, |end| {
                end.saturating_duration_since(Instant::now())
            });
            sleep(left.min(INTERVAL)).await;
        }
    }
}

impl Condition {
    /// `None` when nothing will change: the source is stopped or failed, or does not exist.
    fn is_met(&self, log: Option<&RelayLog>, sources: &SourceRows) -> Option<bool> {
        match self {
            Condition::SourcePosition(name, wanted) => {
                let rows = sources.read();
                let row = rows
                    .iter()
                    .find(|row| row.name.eq_ignore_ascii_case(name))?;
                let is_there = has_reached(row, wanted);
                (is_there || row.state.is_followed()).then_some(is_there)
            }
            Condition::GtidSet(wanted) => match &log?.state().executed {
                Executed::MySql(executed) => Some(wanted.is_subset_of(executed)),
                _ => None,
            },
            Condition::GtidPosition(wanted) => match &log?.state().executed {
                Executed::MariaDb(executed) => Some({
                    let position = executed.position();
                    wanted.iter().all(|gtid| {
                        let here = position.get(gtid.domain_id);
                        here.is_some_and(|here| here.seq_no >= gtid.seq_no)
                    })
                }),
                _ => None,
            },
        }
    }
}

fn has_reached(row: &SourceRow, wanted: &SourcePosition) -> bool {
    let reached = row.position.as_ref();
    reached.is_some_and(|here| here == wanted || wanted.precedes(here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_time_limit_is_accepted() {
        let wait = Wait {
            condition: Condition::GtidSet(GtidSet::new()),
            timeout: Some(Duration::MAX),
            timed_out: Value::Null,
        };
        let sources = SourceRows::new(Vec::new);
        assert_eq!(wait.run(None, &sources).await, Value::Null);
    }
}
