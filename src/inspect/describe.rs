//! Describing events, as text and for the fields of a `dump --json` line.

mod single_event;

use std::collections::HashMap;
use std::sync::Arc;

use super::description::{Description, Table, UNCOMPRESSED_MAX};
use super::file_event::{EventBytes, FileEvent};
use super::soundness;
use super::text::{one_line, push_identifier};
use crate::binlog::EventType;
use crate::binlog::columns::Columns;
use crate::binlog::early_row_events::{self, has_early_rows};
use crate::binlog::fields::EventError;
use crate::binlog::row_images::{RowImages, check_head};
use crate::binlog::rows::{RowsHead, TableMap};
use crate::gtid::{BinlogState, GtidSet};

/// The most table maps that are kept at once; no statement has more tables.
const TABLES_MAX: usize = 4096;

/// Describes the events of one file, in their order.
#[derive(Debug, Default)]
pub struct Describer {
    /// The tables of the current statement, by id.
    tables: HashMap<u64, Arc<Table>>,
}

impl Describer {
    /// For a new file, or after a gap in the file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Describes `event`, whose bytes are `bytes`.
    ///
    /// # Errors
    /// As text, when the body cannot be read.
    pub fn describe(
        &mut self,
        bytes: &EventBytes<'_>,
        event: &FileEvent,
    ) -> Result<Description, String> {
        let body = bytes.body();
        let event_type = event.header.event_type;
        let sound = soundness::check_type(&event.header, bytes.format);
        let sound = match event.whole {
            true => sound.and_then(|()| soundness::check(event_type, bytes)),
            false => sound,
        };
        sound.map_err(|error| error.to_string())?;
        if event_type == EventType::TABLE_MAP {
            let described = self.table_map(bytes);
            if described.is_err() {
                // Rows that follow must not be read with an earlier table of that id.
                self.tables.clear();
            }
            return described.map_err(|error| error.to_string());
        }
        if event_type.is_rows() || has_early_rows(event_type) {
            let described = self.rows(event, bytes);
            return described.map_err(|error| error.to_string());
        }
        if event_type.is_gtid() {
            return single_event::gtid(bytes).map_err(|error| error.to_string());
        }
        match event_type {
            EventType::PREVIOUS_GTIDS => {
                let set = GtidSet::decode(body).map_err(|error| error.to_string())?;
                Ok(Description::text(format!("[{set}]")))
            }
            EventType::GTID_LIST => {
                let (state, _) =
                    BinlogState::decode_gtid_list(body).map_err(|error| error.to_string())?;
                Ok(Description::text(format!("[{state}]")))
            }
            EventType::FORMAT_DESCRIPTION => Ok(single_event::format_description(bytes.format)),
            _ => single_event::other(event_type, body, event.whole)
                .map_err(|error| error.to_string()),
        }
    }

    fn table_map(&mut self, bytes: &EventBytes<'_>) -> Result<Description, EventError> {
        let map = TableMap::parse_with_id(bytes.body(), bytes.table_id_len())?;
        let mut quoted = String::new();
        push_identifier(&mut quoted, map.database);
        quoted.push('.');
        push_identifier(&mut quoted, map.table);
        let table = Table {
            database: map.database.to_vec(),
            name: map.table.to_vec(),
            shown: format!("`{}`.`{}`", one_line(map.database), one_line(map.table)),
            quoted,
            columns: Columns::of_map(&map)?,
        };
        let described = Description {
            database: Some(table.database.clone()),
            table: Some(table.name.clone()),
            text: format!("{} id={}", table.shown, map.table_id),
            ..Description::default()
        };
        if self.tables.len() >= TABLES_MAX {
            self.tables.clear();
        }
        self.tables.insert(map.table_id, Arc::new(table));
        Ok(described)
    }

    fn rows(
        &mut self,
        event: &FileEvent,
        bytes: &EventBytes<'_>,
    ) -> Result<Description, EventError> {
        let body = bytes.body();
        let id_len = bytes.table_id_len();
        let head = RowsHead::parse_with_id(body, id_len)?;
        let table = self.tables.get(&head.table_id);
        let event_type = event.header.event_type;
        let is_early = has_early_rows(event_type);
        let counted = match table {
            _ if is_early => early_row_events::check(body, id_len).map(|()| None),
            Some(table) if event.whole => count_rows(event_type, body, &table.columns),
            _ => check_head(event_type, body).map(|()| None),
        };
        let rows = counted?;
        let name = table.map_or("(no table map)", |table| table.shown.as_str());
        let count = rows.map_or("?".to_owned(), |rows| rows.to_string());
        let mut text = format!("{name} id={} rows={count}", head.table_id);
        if is_early {
            text.push_str(" (row format before MySQL 5.1.18)");
        }
        if head.ends_statement() {
            text.push_str(" stmt_end");
        }
        let described = Description {
            database: table.map(|table| table.database.clone()),
            table: table.map(|table| table.name.clone()),
            rows: Some(rows),
            changed: table.cloned(),
            text,
            ..Description::default()
        };
        if head.ends_statement() {
            self.tables.clear();
        }
        Ok(described)
    }
}

/// The number of rows; `None` when a column's type is unknown, or the rows are too large.
fn count_rows(
    event_type: EventType,
    body: &[u8],
    columns: &Columns,
) -> Result<Option<u64>, EventError> {
    let images = RowImages::parse(event_type, body, columns, UNCOMPRESSED_MAX)?;
    images.map(|images| images.count()).transpose()
}
