//! Computing a transaction's fingerprint while its events arrive.
//!
//! | event | part of the content's hash |
//! |---|---|
//! | BEGIN, COMMIT, ROLLBACK, XID | nothing: re-logging changes all of it, even the event that ends it |
//! | SAVEPOINT, ROLLBACK TO, XA … | the text |
//! | other statements | timestamp, default database, thread_id, text |
//! | INTVAR, RAND, USER_VAR | the body; nothing between the blocks of a loaded file, where it is repeated |
//! | BEGIN_LOAD_QUERY, APPEND_BLOCK | the file's bytes, however they are split into blocks |
//! | EXECUTE_LOAD_QUERY | as a statement, but only the text after the file's name |
//! | rows | database and table, kind, columns, images; however they are split into events |
//!
//! Row images, columns and files form the lower half of the hash, everything else the upper half.
//! Not hashed, because re-logging changes them: table ids, flags, row event versions and their extra
//! data, status variables, file ids, the default database of BEGIN.

use std::hash::Hasher as _;

use twox_hash::XxHash64;

use crate::binlog::event::{CHECKSUM_LEN, EventHeader, FLAG_THREAD_SPECIFIC, HEADER_LEN};
use crate::binlog::load_data;
use crate::binlog::query::Query;
use crate::binlog::row_images::RowsData;
use crate::binlog::rows::{RowsHead, TableMap};
use crate::binlog::status_variables::UpdatedDatabases;
use crate::binlog::{EventError, EventType};
use crate::identity::Fingerprint;

/// The most tables of one statement that are distinguished; no server writes more.
const TABLES_MAX: usize = 65_536;

const UPPER_HALF: u64 = !0 << 32;

/// Bytes that are hashed as one sequence, although several events hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// Images of rows: the hash of table and kind, and that of the columns.
    Rows(u64, u64),
    /// A loaded file.
    File,
}

/// The fingerprint of the open transaction, up to the last event.
#[derive(Debug)]
pub(super) struct Digest {
    /// Everything except the bytes of runs.
    shape: XxHash64,
    /// The bytes of runs.
    images: XxHash64,
    timestamp: Option<u32>,
    traits: u32,
    /// Table ids of the current statement, with the hash of the table's name and its database.
    tables: Vec<(u64, u64, u32)>,
    run: Option<Run>,
    run_len: u64,
    /// Whether a file is being loaded.
    loading: bool,
    /// Whether a statement depends on temporary tables, and drops one.
    temporary: bool,
    drops_temporary: bool,
    /// Whether the last event was a COMMIT or ROLLBACK statement.
    ended_by_statement: bool,
    /// Bytes of the current event's body that have not arrived yet, and whether they are hashed.
    left: u64,
    is_hashed: bool,
}

impl Digest {
    pub(super) fn new() -> Self {
        Self {
            shape: XxHash64::with_seed(0),
            images: XxHash64::with_seed(0),
            timestamp: None,
            traits: 0,
            tables: Vec::new(),
            run: None,
            run_len: 0,
            loading: false,
            temporary: false,
            drops_temporary: false,
            ended_by_statement: false,
            left: 0,
            is_hashed: false,
        }
    }

    /// Begins a new transaction.
    pub(super) fn reset(&mut self) {
        let mut tables = std::mem::take(&mut self.tables);
        tables.clear();
        *self = Self {
            tables,
            ..Self::new()
        };
    }

    /// Adds an event. For a large one `body` is the head, and [`Digest::more`] adds the rest.
    ///
    /// # Errors
    /// When it is truncated, or a field holds an invalid value.
    pub(super) fn event(
        &mut self,
        header: &EventHeader,
        body: &[u8],
        checksummed: bool,
    ) -> Result<(), EventError> {
        let around = HEADER_LEN + if checksummed { CHECKSUM_LEN } else { 0 };
        let body_len = u64::from(header.event_size).saturating_sub(around as u64);
        let head_len = usize::try_from(body_len).map_or(body.len(), |len| len.min(body.len()));
        let body = body.get(..head_len).unwrap_or(body);
        self.left = body_len - head_len as u64;
        self.is_hashed = false;
        self.ended_by_statement = false;
        match header.event_type {
            EventType::QUERY => self.statement(header, body, 0),
            EventType::EXECUTE_LOAD_QUERY => {
                self.loading = false;
                self.statement(header, body, load_data::file_name_end(body)?)
            }
            EventType::INTVAR | EventType::RAND | EventType::USER_VAR if !self.loading => {
                self.end_run();
                self.changes_at(header.timestamp);
                self.shape.write_u8(header.event_type.0);
                self.shape.write(&body_len.to_le_bytes());
                self.hash(body);
                Ok(())
            }
            EventType::BEGIN_LOAD_QUERY | EventType::APPEND_BLOCK => {
                self.loading = true;
                self.changes_at(header.timestamp);
                self.continue_run(Run::File);
                self.hash(load_data::block(body)?);
                Ok(())
            }
            EventType::DELETE_FILE => {
                self.loading = false;
                Ok(())
            }
            EventType::TABLE_MAP => {
                let map = TableMap::parse(body)?;
                if self.tables.len() < TABLES_MAX {
                    let table = (map.table_id, hash_of(&map), database_bit(map.database));
                    self.tables.push(table);
                }
                Ok(())
            }
            rows if rows.is_rows() => self.rows(header, body),
            _ => Ok(()),
        }
    }

    /// Adds more of a large event's bytes; its checksum may be among them.
    pub(super) fn more(&mut self, part: &[u8]) {
        let len = usize::try_from(self.left).map_or(part.len(), |left| left.min(part.len()));
        let part = part.get(..len).unwrap_or(part);
        self.left -= part.len() as u64;
        if self.is_hashed {
            self.hash(part);
        }
    }

    /// The complete transaction's fingerprint. `grouped`: it had a BEGIN.
    pub(super) fn finish(&mut self, grouped: bool, header: &EventHeader) -> Fingerprint {
        self.end_run();
        if !grouped {
            self.traits |= Fingerprint::LONE_STATEMENT;
            if self.drops_temporary {
                self.traits |= Fingerprint::DROPS_TEMPORARY;
            }
        }
        if grouped && self.ended_by_statement {
            self.traits |= Fingerprint::ENDED_BY_STATEMENT;
        }
        let without_effect = if grouped {
            self.ended_by_statement
        } else {
            self.temporary
        };
        if without_effect && self.traits & Fingerprint::HAS_ROWS == 0 {
            self.traits |= Fingerprint::MAY_BE_WITHOUT_ROWS;
        }
        Fingerprint {
            commit_timestamp: 0,
            content: self.shape.finish() & UPPER_HALF | self.images.finish() >> 32,
            timestamp: self.timestamp.unwrap_or(header.timestamp),
            traits: self.traits,
        }
    }

    /// The first `skipped` bytes of the text are not hashed.
    fn statement(
        &mut self,
        header: &EventHeader,
        body: &[u8],
        skipped: usize,
    ) -> Result<(), EventError> {
        let query = Query::parse(header.event_type, body)?;
        if query.ends_transaction() || query.statement == b"BEGIN" {
            self.ended_by_statement = query.statement != b"BEGIN";
            return Ok(());
        }
        self.end_run();
        self.shape.write_u8(EventType::QUERY.0);
        if !query.is_transaction_keyword() {
            self.changes_at(header.timestamp);
            self.shape.write(&header.timestamp.to_le_bytes());
            self.shape.write(&query.thread_id.to_le_bytes());
            self.shape.write(query.database);
            self.shape.write_u8(0);
            self.note_statement(header, &query)?;
        }
        let text = query.statement.get(skipped..).ok_or(EventError::Invalid {
            event: "load data event",
            field: "end of the file name",
            offset: HEADER_LEN,
            found: skipped as u64,
            expected: "an offset inside the statement",
        })?;
        self.shape
            .write(&(text.len() as u64 + self.left).to_le_bytes());
        self.hash(text);
        Ok(())
    }

    fn note_statement(
        &mut self,
        header: &EventHeader,
        query: &Query<'_>,
    ) -> Result<(), EventError> {
        let verb = match header.event_type {
            EventType::EXECUTE_LOAD_QUERY => &b"LOAD"[..],
            _ => first_word(query.statement),
        };
        self.traits |= Fingerprint::HAS_STATEMENTS | changes_of(verb);
        if header.flags & FLAG_THREAD_SPECIFIC != 0 {
            self.temporary = true;
            self.drops_temporary = verb.eq_ignore_ascii_case(b"DROP");
        }
        let databases = UpdatedDatabases::parse(query.status_variables)?;
        self.traits |= match &databases {
            UpdatedDatabases::TooMany => Fingerprint::ANY_DATABASE,
            UpdatedDatabases::NotStated => database_bit(query.database),
            UpdatedDatabases::Names(_) => databases
                .names()
                .fold(0, |bits, name| bits | database_bit(name)),
        };
        Ok(())
    }

    fn rows(&mut self, header: &EventHeader, body: &[u8]) -> Result<(), EventError> {
        let head = RowsHead::parse(body)?;
        let data = RowsData::parse(header.event_type, body)?;
        let mut tables = self.tables.iter().rev();
        let table = tables.find(|(id, ..)| *id == head.table_id);
        // Rows without a table map only end a statement.
        let (table, database) = table.map_or((0, 0), |(_, table, database)| (*table, *database));
        let kind = match header.event_type {
            inserts if inserts.inserts_rows() => Fingerprint::INSERTS,
            deletes if deletes.deletes_rows() => Fingerprint::DELETES,
            _ => Fingerprint::UPDATES,
        };
        if head.ends_statement() {
            self.tables.clear();
        }
        if table == 0 {
            return Ok(());
        }
        self.traits |= Fingerprint::HAS_ROWS | kind | database;
        self.changes_at(header.timestamp);
        let mut hasher = XxHash64::with_seed(table);
        hasher.write(&kind.to_le_bytes());
        let of = hasher.finish();
        let columns = match data.is_full {
            true => 0, // The bitmaps' unused bits differ between servers.
            false => {
                self.traits |= Fingerprint::PARTIAL_IMAGES;
                hasher.write(data.columns);
                hasher.finish()
            }
        };
        self.continue_run(Run::Rows(of, columns));
        self.hash(data.images);
        Ok(())
    }

    fn changes_at(&mut self, timestamp: u32) {
        self.timestamp.get_or_insert(timestamp);
    }

    /// The bytes that follow belong to `run`.
    fn continue_run(&mut self, run: Run) {
        if self.run == Some(run) {
            return;
        }
        let before = self.run;
        self.end_run();
        match (before, run) {
            (Some(Run::Rows(before, _)), Run::Rows(of, _)) if before == of => {}
            (_, Run::Rows(of, _)) => self.shape.write(&of.to_le_bytes()),
            (_, Run::File) => self.shape.write_u8(EventType::BEGIN_LOAD_QUERY.0),
        }
        self.run = Some(run);
    }

    fn end_run(&mut self) {
        match self.run.take() {
            None => return,
            Some(Run::File) => {}
            Some(Run::Rows(_, columns)) => self.images.write(&columns.to_le_bytes()),
        }
        self.images.write(&self.run_len.to_le_bytes());
        self.run_len = 0;
    }

    /// Hashes bytes of the current event; the rest of them is hashed as well.
    fn hash(&mut self, bytes: &[u8]) {
        self.is_hashed = true;
        if self.run.is_some() {
            self.images.write(bytes);
            self.run_len += bytes.len() as u64;
        } else {
            self.shape.write(bytes);
        }
    }
}

/// The hash of a table's name, which is never 0.
fn hash_of(map: &TableMap<'_>) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(map.database);
    hasher.write_u8(0);
    hasher.write(map.table);
    hasher.finish().max(1)
}

fn database_bit(name: &[u8]) -> u32 {
    match name {
        [] => 0,
        name => Fingerprint::database(name),
    }
}

/// The statement's first word: letters only.
fn first_word(statement: &[u8]) -> &[u8] {
    let statement = statement.trim_ascii_start();
    let mut words = statement.split(|byte| !byte.is_ascii_alphabetic());
    words.next().unwrap_or(statement)
}

/// The kinds of row changes that a statement may cause.
fn changes_of(verb: &[u8]) -> u32 {
    let is = |word: &[u8]| verb.eq_ignore_ascii_case(word);
    match () {
        () if is(b"INSERT") => Fingerprint::INSERTS | Fingerprint::UPDATES, // ON DUPLICATE KEY.
        () if is(b"UPDATE") => Fingerprint::UPDATES,
        () if is(b"DELETE") => Fingerprint::DELETES,
        () => Fingerprint::ANY_CHANGE,
    }
}

#[cfg(test)]
mod tests;
