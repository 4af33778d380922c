//! Applying a [`Filter`] to the events of one transaction, one after the other as they arrive.
//!
//! A verdict may reach back: events that only prepare a statement (INTVAR, USER_VAR, LOAD DATA
//! blocks, ROWS_QUERY, table maps) are kept until the statement's own fate is known, and the last
//! *kept* rows event of a statement must carry STMT_END_F when the real last one is dropped.

use super::Filter;
use crate::binlog::query::Query;
use crate::binlog::rows::{RowsHead, TableMap};
use crate::binlog::{EventError, EventType};

/// What is to be done with an event, and with what was kept before it. Offsets count from the
/// transaction's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append the event.
    Keep,
    /// Leave the event out.
    Drop,
    /// Leave the event out, and take back all that was kept from this offset on.
    DropBackTo(u64),
    /// Leave the event out, and set STMT_END_F in the rows event kept at this offset.
    DropAndEndStatementAt(u64),
}

/// Why an event cannot be filtered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrimError {
    /// A field cannot be read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Rows for a table that no table map announced.
    #[error("{event_type} event for table id {table_id}, which no Table_map event announced")]
    UnknownTable {
        /// The rows event's type.
        event_type: EventType,
        /// The table id it names.
        table_id: u64,
    },
    /// More table maps in one statement than any server writes.
    #[error("a statement with more than {TABLES_MAX} Table_map events")]
    TooManyTables,
}

/// How many tables of one statement are remembered: a source that never ends a statement must not
/// take all memory.
const TABLES_MAX: usize = 65_536;
/// The table ids of rows events that only end a statement ("dummy" events).
const DUMMY_TABLE_IDS: [u64; 2] = [0x00ff_ffff, 0xffff_ffff_ffff];

/// The filter's state within one transaction.
#[derive(Debug, Clone, Default)]
pub struct Trim {
    filter: Filter,
    /// Tables announced in the current statement, and whether they pass.
    tables: Vec<(u64, bool)>,
    /// Where the current statement's first kept ROWS_QUERY or table map stands.
    statement_start: Option<u64>,
    last_kept_rows: Option<u64>,
    /// Where the first kept event that waits for its statement stands.
    waiting_start: Option<u64>,
    kept_changes: bool,
    dropped: bool,
}

impl Trim {
    /// Applies `filter`.
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            ..Self::default()
        }
    }

    /// Begins a new transaction.
    pub fn reset(&mut self) {
        self.tables.clear();
        self.statement_start = None;
        self.last_kept_rows = None;
        self.waiting_start = None;
        self.kept_changes = false;
        self.dropped = false;
    }

    /// Whether every change of the transaction so far was dropped, and there was one.
    pub fn dropped_all(&self) -> bool {
        self.dropped && !self.kept_changes
    }

    /// Judges an event that would be kept at `offset`. `body` is the event without header and
    /// checksum; of a large one, the head.
    ///
    /// # Errors
    /// When the event cannot be read, or not judged.
    pub fn judge(
        &mut self,
        event_type: EventType,
        body: &[u8],
        offset: u64,
    ) -> Result<Verdict, TrimError> {
        if self.filter.passes_all() {
            return Ok(Verdict::Keep);
        }
        match event_type {
            EventType::QUERY | EventType::QUERY_COMPRESSED | EventType::EXECUTE_LOAD_QUERY => {
                let query = Query::parse(event_type, body)?;
                Ok(self.judge_statement(&query))
            }
            EventType::INTVAR
            | EventType::RAND
            | EventType::USER_VAR
            | EventType::BEGIN_LOAD_QUERY
            | EventType::APPEND_BLOCK
            | EventType::DELETE_FILE => {
                self.waiting_start.get_or_insert(offset);
                Ok(Verdict::Keep)
            }
            EventType::ROWS_QUERY | EventType::ANNOTATE_ROWS => {
                self.statement_start.get_or_insert(offset);
                Ok(Verdict::Keep)
            }
            EventType::TABLE_MAP => {
                let map = TableMap::parse(body)?;
                let passes = self.filter.passes(map.database);
                if self.tables.len() == TABLES_MAX {
                    return Err(TrimError::TooManyTables);
                }
                self.tables.push((map.table_id, passes));
                if passes {
                    self.statement_start.get_or_insert(offset);
                }
                Ok(if passes { Verdict::Keep } else { Verdict::Drop })
            }
            rows if rows.is_rows() => self.judge_rows(rows, RowsHead::parse(body)?, offset),
            EventType::INCIDENT => {
                self.kept_changes = true;
                Ok(Verdict::Keep)
            }
            _ => Ok(Verdict::Keep),
        }
    }

    fn judge_statement(&mut self, query: &Query<'_>) -> Verdict {
        let waiting = self.waiting_start.take();
        if query.is_transaction_keyword() {
            return Verdict::Keep;
        }
        if self.filter.passes(query.database) {
            self.kept_changes = true;
            return Verdict::Keep;
        }
        self.dropped = true;
        waiting.map_or(Verdict::Drop, Verdict::DropBackTo)
    }

    fn judge_rows(
        &mut self,
        event_type: EventType,
        rows: RowsHead,
        offset: u64,
    ) -> Result<Verdict, TrimError> {
        let table = self
            .tables
            .iter()
            .rev()
            .find(|(id, _)| *id == rows.table_id);
        let passes = match table {
            Some((_, passes)) => *passes,
            None if DUMMY_TABLE_IDS.contains(&rows.table_id) => self.last_kept_rows.is_some(),
            None => {
                return Err(TrimError::UnknownTable {
                    event_type,
                    table_id: rows.table_id,
                });
            }
        };
        if passes {
            self.kept_changes = true;
            self.last_kept_rows = Some(offset);
        } else {
            self.dropped = true;
        }
        if !rows.ends_statement() {
            return Ok(if passes { Verdict::Keep } else { Verdict::Drop });
        }
        self.tables.clear();
        let start = self.statement_start.take();
        let last = self.last_kept_rows.take();
        Ok(match (passes, last, start) {
            (true, ..) => Verdict::Keep,
            (false, Some(last), _) => Verdict::DropAndEndStatementAt(last),
            (false, None, Some(start)) => Verdict::DropBackTo(start),
            (false, None, None) => Verdict::Drop,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trim() -> Trim {
        Trim::new(Filter::new(&["test".to_owned()], &[], false))
    }

    fn query(database: &str, statement: &str) -> Vec<u8> {
        let mut body = vec![0; 13];
        body[8] = database.len() as u8;
        body.extend_from_slice(database.as_bytes());
        body.push(0);
        body.extend_from_slice(statement.as_bytes());
        body
    }

    fn map(id: u8, database: &str) -> Vec<u8> {
        let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0, database.len() as u8];
        body.extend_from_slice(database.as_bytes());
        body.extend_from_slice(b"\0\x01t\0");
        body
    }

    fn rows(id: u8, end: bool) -> Vec<u8> {
        vec![id, 0, 0, 0, 0, 0, u8::from(end), 0, 2, 0]
    }

    #[test]
    fn the_last_kept_rows_event_ends_the_statement() {
        let mut trim = trim();
        let mut judge = |kind, body: Vec<u8>, at| trim.judge(kind, &body, at).unwrap();
        assert_eq!(
            judge(EventType::QUERY, query("other", "BEGIN"), 10),
            Verdict::Keep
        );
        assert_eq!(
            judge(EventType::TABLE_MAP, map(1, "test"), 20),
            Verdict::Keep
        );
        assert_eq!(
            judge(EventType::TABLE_MAP, map(2, "other"), 30),
            Verdict::Drop
        );
        assert_eq!(
            judge(EventType::WRITE_ROWS, rows(1, false), 30),
            Verdict::Keep
        );
        assert_eq!(
            judge(EventType::WRITE_ROWS, rows(2, false), 40),
            Verdict::Drop
        );
        assert_eq!(
            judge(EventType::WRITE_ROWS, rows(2, true), 40),
            Verdict::DropAndEndStatementAt(30)
        );
        assert!(!trim.dropped_all());
    }

    #[test]
    fn a_statement_of_which_nothing_is_kept_takes_its_preparation_along() {
        let mut trim = trim();
        let mut judge = |kind, body: Vec<u8>, at| trim.judge(kind, &body, at).unwrap();
        assert_eq!(judge(EventType::ROWS_QUERY, vec![], 20), Verdict::Keep);
        assert_eq!(
            judge(EventType::TABLE_MAP, map(1, "test"), 30),
            Verdict::Keep
        );
        assert_eq!(
            judge(EventType::TABLE_MAP, map(2, "other"), 40),
            Verdict::Drop
        );
        assert_eq!(
            judge(EventType::WRITE_ROWS, rows(2, true), 40),
            Verdict::DropBackTo(20)
        );
        assert_eq!(judge(EventType::INTVAR, vec![], 20), Verdict::Keep);
        assert_eq!(judge(EventType::USER_VAR, vec![], 30), Verdict::Keep);
        assert_eq!(
            judge(
                EventType::QUERY,
                query("other", "insert into test.t values (1)"),
                40
            ),
            Verdict::DropBackTo(20)
        );
        assert!(trim.dropped_all());
    }

    #[test]
    fn waiting_events_do_not_outlive_their_statement() {
        let mut trim = trim();
        let mut judge = |kind, body: Vec<u8>, at| trim.judge(kind, &body, at).unwrap();
        assert_eq!(judge(EventType::INTVAR, vec![], 20), Verdict::Keep);
        assert_eq!(
            judge(EventType::QUERY, query("test", "insert 1"), 30),
            Verdict::Keep
        );
        assert_eq!(
            judge(EventType::QUERY, query("other", "insert 2"), 40),
            Verdict::Drop
        );
        assert!(!trim.dropped_all());
    }

    #[test]
    fn rows_without_table_map_are_an_error() {
        let error = trim()
            .judge(EventType::UPDATE_ROWS, &rows(7, true), 4)
            .unwrap_err();
        assert!(error.to_string().contains("table id 7"), "{error}");
    }

    #[test]
    fn a_statement_without_end_is_an_error() {
        let mut trim = trim();
        let map = map(1, "other");
        for _ in 0..TABLES_MAX {
            assert_eq!(trim.judge(EventType::TABLE_MAP, &map, 4), Ok(Verdict::Drop));
        }
        let error = trim.judge(EventType::TABLE_MAP, &map, 4);
        assert_eq!(error, Err(TrimError::TooManyTables));
    }

    #[test]
    fn cut_bodies_are_errors_or_verdicts_never_panics() {
        for (kind, body) in [
            (EventType::QUERY, query("other", "insert")),
            (EventType::TABLE_MAP, map(1, "test")),
            (EventType::WRITE_ROWS, rows(1, true)),
        ] {
            for cut in 0..body.len() {
                let _ = trim().judge(kind, &body[..cut], 0);
            }
        }
    }
}
