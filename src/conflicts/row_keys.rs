//! The keys of changed rows: hashes of database, table and the values of the primary key, or of the whole row where there
//! is none.
//!
//! The columns of the primary key are in the table map where its metadata are full; else the caller asks
//! a source. A table map is remembered byte for byte with the path that delivered it, so that each table is asked for once:
//! after every DDL statement a server assigns a new number to the table, and its table maps differ.

#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use twox_hash::XxHash3_128;

use super::window::Key;
use crate::binlog::EventType;
use crate::binlog::columns::{Column, Columns};
use crate::binlog::fields::EventError;
use crate::binlog::primary_key::primary_key;
use crate::binlog::row_images::{Cell, RawValue, Row, RowImages, RowsKind};
use crate::binlog::rows::{RowsHead, TableMap};

/// The largest rows of a compressed event that are read.
const UNCOMPRESSED_MAX: usize = 16 * 1024 * 1024;
/// How many table maps are remembered.
const TABLES_MAX: usize = 4096;
/// The most memory that they take, in bytes.
const TABLES_BYTES_MAX: usize = 64 * 1024 * 1024;
/// When a table is asked for again whose primary key no source could tell.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A table's key as a source shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShownKey {
    /// How many columns it shows.
    pub columns: usize,
    /// Those of the primary key, numbered from 0; empty if there is none.
    pub key: Vec<usize>,
}

/// A table of the transaction that is read.
#[derive(Debug)]
pub struct KeyedTable {
    /// Its database.
    pub database: Vec<u8>,
    /// Its name.
    pub table: Vec<u8>,
    /// The columns of its primary key, numbered from 0; empty where the whole row is the key.
    pub key: Vec<usize>,
    columns: Columns,
    /// Until when it may be used.
    until: Option<Instant>,
}

impl KeyedTable {
    /// In bytes, about.
    fn memory(&self) -> usize {
        let columns = self.columns.columns.len() * size_of::<Column>();
        let key = self.key.len() * size_of::<usize>();
        size_of::<Self>() + self.database.len() + self.table.len() + columns + key
    }
}

/// A changed row.
#[derive(Debug)]
pub struct ChangedRow<'a> {
    /// Its table.
    pub table: &'a KeyedTable,
    /// How it was changed.
    pub kind: RowsKind,
    /// Its images.
    pub row: &'a Row<'a>,
    /// The key before the change, or of an inserted row.
    pub key: Key,
    /// The key after an update, if it is known and another one.
    pub key_after: Option<Key>,
}

/// Reads the rows of one transaction after the other.
#[derive(Debug, Default)]
pub struct RowReader {
    known: HashMap<Vec<u8>, Rc<KeyedTable>>,
    /// The memory that those take.
    known_bytes: usize,
    /// By table id: those of the transaction.
    mapped: HashMap<u64, Rc<KeyedTable>>,
    bytes: Vec<u8>,
}

impl RowReader {
    /// Begins a transaction.
    pub fn begin(&mut self) {
        self.mapped.clear();
    }

    /// Reads a table map of `path`; `ask` asks a source for the key of a table.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn table_map(
        &mut self,
        path: usize,
        body: &[u8],
        ask: &mut dyn FnMut(&TableMap<'_>) -> Option<ShownKey>,
    ) -> Result<(), EventError> {
        let map = TableMap::parse(body)?;
        self.bytes.clear();
        self.bytes.extend_from_slice(&(path as u64).to_le_bytes());
        self.bytes.extend_from_slice(body);
        let known = self.known.get(&self.bytes);
        let known = known.filter(|table| table.until.is_none_or(|until| Instant::now() < until));
        let table = match known {
            Some(table) => table.clone(),
            None => {
                let table = Rc::new(keyed(&map, ask)?);
                let len = self.bytes.len() + table.memory();
                if self.known.len() >= TABLES_MAX || self.known_bytes + len > TABLES_BYTES_MAX {
                    self.known.clear();
                    self.known_bytes = 0;
                }
                if self
                    .known
                    .insert(self.bytes.clone(), table.clone())
                    .is_none()
                {
                    self.known_bytes += len;
                }
                table
            }
        };
        if self.mapped.len() >= TABLES_MAX {
            self.mapped.clear();
        }
        self.mapped.insert(map.table_id, table);
        Ok(())
    }

    /// Reads a rows event; `visit` gets each row, and returns whether it wants more. Returns false where the rows cannot be
    /// read.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn rows(
        &mut self,
        event_type: EventType,
        body: &[u8],
        visit: &mut dyn FnMut(&ChangedRow<'_>) -> bool,
    ) -> Result<bool, EventError> {
        let table_id = RowsHead::parse(body)?.table_id;
        let Some(table) = self.mapped.get(&table_id) else {
            return Ok(false);
        };
        let parsed = RowImages::parse(event_type, body, &table.columns, UNCOMPRESSED_MAX)?;
        let Some(images) = parsed else {
            return Ok(false);
        };
        for row in images.rows() {
            let row = row?;
            let key = key_of(table, &row.image, &[], &mut self.bytes);
            let has_key = !table.key.is_empty();
            let after = row
                .after
                .as_deref()
                .filter(|after| has_key || after.len() == table.columns.columns.len());
            let key_after = after.map(|after| key_of(table, after, &row.image, &mut self.bytes));
            let changed = ChangedRow {
                table,
                kind: images.kind,
                row: &row,
                key,
                key_after: key_after.filter(|after| *after != key),
            };
            if !visit(&changed) {
                break;
            }
        }
        Ok(true)
    }
}

fn keyed(
    map: &TableMap<'_>,
    ask: &mut dyn FnMut(&TableMap<'_>) -> Option<ShownKey>,
) -> Result<KeyedTable, EventError> {
    let columns = Columns::of_map(map)?;
    let mut until = None;
    let mut key = match primary_key(map) {
        Ok(Some(key)) => key,
        _ => match ask(map) {
            Some(shown) if is_of(&shown, &columns) => shown.key,
            _ => {
                until = Some(Instant::now() + ASK_AGAIN_AFTER);
                Vec::new()
            }
        },
    };
    // A source shows the columns in the order of the table.
    key.sort_unstable();
    Ok(KeyedTable {
        database: map.database.to_vec(),
        table: map.table.to_vec(),
        key,
        columns,
        until,
    })
}

/// Whether a table with these columns can have this key. The log may be older than the table: then it may have other
/// columns today. A source does not show hidden columns, which come last.
fn is_of(shown: &ShownKey, columns: &Columns) -> bool {
    let columns = &columns.columns;
    let is_not_null = |number: &usize| {
        let column = columns.get(*number);
        column.is_some_and(|column| !column.nullable)
    };
    shown.columns <= columns.len() && shown.key.iter().all(is_not_null)
}

/// The key of a row image. Columns that it lacks are those of `before`.
fn key_of(table: &KeyedTable, image: &[Cell<'_>], before: &[Cell<'_>], bytes: &mut Vec<u8>) -> Key {
    bytes.clear();
    put(bytes, &table.database);
    put(bytes, &table.table);
    let found = |number: &usize| find(image, *number).or_else(|| find(before, *number));
    let has_all = table.key.iter().all(|number| found(number).is_some());
    if table.key.is_empty() || !has_all {
        bytes.push(0);
        image.iter().for_each(|cell| put_cell(bytes, cell));
    } else {
        bytes.push(1);
        let cells = table.key.iter().filter_map(found);
        cells.for_each(|cell| put_cell(bytes, cell));
    }
    XxHash3_128::oneshot(bytes)
}

/// The cell of a column. All columns are there in most images.
pub fn find<'a, 'b>(image: &'a [Cell<'b>], number: usize) -> Option<&'a Cell<'b>> {
    match image.get(number) {
        Some(cell) if cell.number == number => Some(cell),
        _ => image.iter().find(|cell| cell.number == number),
    }
}

fn put_cell(bytes: &mut Vec<u8>, cell: &Cell<'_>) {
    bytes.extend_from_slice(&(cell.number as u64).to_le_bytes());
    match cell.value {
        RawValue::Null => bytes.push(0),
        RawValue::Bytes(value) => {
            bytes.push(1);
            put(bytes, value);
        }
        RawValue::JsonDiff(value) => {
            bytes.push(2);
            put(bytes, value);
        }
    }
}

fn put(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value);
}
