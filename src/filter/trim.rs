//! Applying a [`Filter`] to the events of one transaction, one by one as they arrive.
//!
//! A verdict may change earlier events: events that only prepare a statement (INTVAR, USER_VAR, LOAD DATA
//! blocks, ROWS_QUERY, table maps) are kept until the statement itself is judged, and the last
//! *kept* rows event of a statement must carry STMT_END_F when the real last one is dropped.

use std::borrow::Cow;

use super::statement::Statement;
use super::unclear::Unclear;
use super::{Filter, rewrite};
use crate::binlog::event::{EventHeader, FLAG_IGNORABLE};
use crate::binlog::query::Query;
use crate::binlog::rows::{RowsHead, TableMap};
use crate::binlog::status_variables::StatusVariables;
use crate::binlog::{EventError, EventType, compressed};

/// The decision on an event, and on events kept before it. Offsets count from the transaction's
/// first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append the event.
    Keep,
    /// Append the event with [`Trim::rewritten`] instead of its body, or instead of the head that was
    /// judged.
    KeepRewritten,
    /// Drop the event.
    Drop,
    /// Drop the event, and remove everything kept from this offset on.
    DropBackTo(u64),
    /// Drop the event, and set STMT_END_F in the rows event kept at this offset.
    DropAndEndStatementAt(u64),
}

/// Why an event cannot be filtered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrimError {
    /// A field cannot be read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Rows for a table without a table map.
    #[error("{event_type} event for table id {table_id}, without a Table_map event before it")]
    UnknownTable {
        /// The rows event's type.
        event_type: EventType,
        /// The table id in the event.
        table_id: u64,
    },
    /// More table maps in one statement than any server writes.
    #[error("a statement with more than {TABLES_MAX} Table_map events")]
    TooManyTables,
    /// An event that may hold changes of any table.
    #[error(
        "{event_type} event, of a type that this version of binrelay does not know, so the rules of this source \
         cannot be evaluated for it; remove the rules for this source, or upgrade binrelay"
    )]
    UnknownType {
        /// Its type.
        event_type: EventType,
    },
    /// A statement whose tables matter, but cannot be determined with certainty.
    #[error(
        "the table rules cannot be evaluated for the statement {statement:?} with default database \
         {database:?}: {reason}; change or remove the table rules (replicate_do_table, …) of this \
         source so that they do not depend on the statement"
    )]
    Undecided {
        /// The first part of its text.
        statement: String,
        /// Its default database.
        database: String,
        /// Why.
        reason: Unclear,
    },
    /// A table whose name may or may not match a rule.
    #[error(
        "the table rules cannot be evaluated for table {table:?}: {reason}; add a rule that names it \
         exactly, before the others"
    )]
    UndecidedTable {
        /// Database and table.
        table: String,
        /// Why.
        reason: Unclear,
    },
}

/// The most tables remembered for one statement: a source that never ends a statement must not use
/// up the memory.
const TABLES_MAX: usize = 65_536;
/// The part of a compressed statement that is read, in bytes.
const EXPANDED_MAX: usize = 64 * 1024;
/// The part of a statement that an error shows, in characters.
const EXCERPT_LEN: usize = 200;
/// The table ids of dummy rows events, which only end a statement.
const DUMMY_TABLE_IDS: [u64; 2] = [0x00ff_ffff, 0xffff_ffff_ffff];

/// The filter's state within one transaction.
#[derive(Debug, Clone, Default)]
pub struct Trim {
    filter: Filter,
    /// Whether `filter` has rules: asked for every event.
    has_rules: bool,
    /// Table ids of the current statement's table maps, and whether the tables pass.
    tables: Vec<(u64, bool)>,
    /// Offset of the current statement's first kept ROWS_QUERY or table map.
    statement_start: Option<u64>,
    last_kept_rows: Option<u64>,
    /// Offset of the first kept event that waits for its statement.
    waiting_start: Option<u64>,
    kept_changes: bool,
    dropped: bool,
    rewrote: bool,
    /// The body of the last judged event, with another database.
    rewritten: Vec<u8>,
}

impl Trim {
    /// Applies `filter`.
    pub fn new(filter: Filter) -> Self {
        Self {
            has_rules: !filter.passes_all(),
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
        self.rewrote = false;
    }

    /// Whether the transaction had changes, and all of them were dropped.
    pub fn dropped_all(&self) -> bool {
        self.dropped && !self.kept_changes
    }

    /// Whether anything of the transaction was dropped or rewritten.
    pub fn has_altered(&self) -> bool {
        self.dropped || self.rewrote
    }

    /// After [`Verdict::KeepRewritten`]: the bytes to append instead of the body that was judged.
    pub fn rewritten(&self) -> &[u8] {
        &self.rewritten
    }

    /// Judges an event with `header` that would be kept at `offset`. `body` is the event without header and
    /// checksum; if it is not `whole`, only the head of a large event.
    ///
    /// # Errors
    /// When the event cannot be read, or the rules cannot be evaluated.
    pub fn judge(
        &mut self,
        header: &EventHeader,
        body: &[u8],
        whole: bool,
        offset: u64,
    ) -> Result<Verdict, TrimError> {
        if !self.has_rules {
            return Ok(Verdict::Keep);
        }
        let event_type = header.event_type;
        match event_type {
            EventType::QUERY | EventType::QUERY_COMPRESSED | EventType::EXECUTE_LOAD_QUERY => {
                self.judge_statement(event_type, body, whole)
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
            EventType::TABLE_MAP => self.judge_table_map(body, offset),
            rows if rows.is_rows() => self.judge_rows(rows, RowsHead::parse(body)?, offset),
            EventType::INCIDENT => {
                self.kept_changes = true;
                Ok(Verdict::Keep)
            }
            known if known.is_known() => Ok(Verdict::Keep),
            // Replicas that do not know it ignore it.
            _ if header.flags & FLAG_IGNORABLE != 0 => Ok(Verdict::Keep),
            event_type => Err(TrimError::UnknownType { event_type }),
        }
    }

    fn judge_statement(
        &mut self,
        event_type: EventType,
        body: &[u8],
        whole: bool,
    ) -> Result<Verdict, TrimError> {
        let query = Query::parse(event_type, body)?;
        let waiting = self.waiting_start.take();
        // Table maps may be left over: a server writes one for each table that a statement locks, but the rows of a table
        // without transactions are not in the same transaction. What follows must not be dropped with them.
        self.statement_start = None;
        if query.is_transaction_keyword() {
            return Ok(Verdict::Keep);
        }
        let rules = &self.filter.rules;
        let renamed = rules.renamed(query.database);
        let variables = match rules.has_table_rules() || renamed.is_some() {
            true => StatusVariables::parse(query.status_variables)?,
            false => StatusVariables::default(),
        };
        let (text, whole) = match event_type {
            EventType::QUERY_COMPRESSED if rules.has_table_rules() => {
                let offset = crate::binlog::HEADER_LEN + body.len() - query.statement.len();
                let (text, all) =
                    compressed::expand_head("Query event", query.statement, offset, EXPANDED_MAX)?;
                (Cow::Owned(text), all && whole)
            }
            _ => (Cow::Borrowed(query.statement), whole),
        };
        let statement = Statement {
            database: renamed.map_or(query.database, str::as_bytes),
            event_database: query.database,
            text: &text,
            whole,
            variables: &variables,
            mariadb: self.filter.mariadb,
            names_in_text: self.filter.names_in_text,
        };
        let passes = statement
            .passes(rules)
            .map_err(|reason| TrimError::Undecided {
                statement: excerpt(&text),
                database: String::from_utf8_lossy(statement.database).into_owned(),
                reason,
            })?;
        if !passes {
            self.dropped = true;
            return Ok(waiting.map_or(Verdict::Drop, Verdict::DropBackTo));
        }
        self.kept_changes = true;
        let Some(database) = renamed else {
            return Ok(Verdict::Keep);
        };
        self.rewrote = true;
        let out = &mut self.rewritten;
        rewrite::query(event_type, body, &query, &variables, database, out)?;
        Ok(Verdict::KeepRewritten)
    }

    fn judge_table_map(&mut self, body: &[u8], offset: u64) -> Result<Verdict, TrimError> {
        let map = TableMap::parse(body)?;
        self.waiting_start = None; // Left over, too: of a LOAD DATA that failed.
        let rules = &self.filter.rules;
        let renamed = rules.renamed(map.database);
        let database = renamed.map_or(map.database, str::as_bytes);
        let passes =
            rules
                .row_passes(database, map.table)
                .map_err(|reason| TrimError::UndecidedTable {
                    table: format!(
                        "{}.{}",
                        String::from_utf8_lossy(database),
                        String::from_utf8_lossy(map.table)
                    ),
                    reason,
                })?;
        if self.tables.len() == TABLES_MAX {
            return Err(TrimError::TooManyTables);
        }
        self.tables.push((map.table_id, passes));
        if !passes {
            return Ok(Verdict::Drop);
        }
        self.statement_start.get_or_insert(offset);
        let Some(database) = renamed else {
            return Ok(Verdict::Keep);
        };
        self.rewrote = true;
        rewrite::table_map(body, &map, database, &mut self.rewritten)?;
        Ok(Verdict::KeepRewritten)
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

fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.get(..4 * EXCERPT_LEN).unwrap_or(text));
    text.chars().take(EXCERPT_LEN).collect()
}

#[cfg(test)]
mod tests;
