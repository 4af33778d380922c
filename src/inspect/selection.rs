//! Selecting the events that `dump` shows.

use super::description::Description;
use super::file_event::FileEvent;
use super::gtid_selection::GtidSelection;
use crate::binlog::EventType;

/// The most lines that wait for the event that decides on them.
const WAITING_MAX: usize = 10_000;

/// The decision on an event's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Show,
    Hide,
    /// The same as the next event that belongs to a database.
    Wait,
}

/// Decides on one event after another, and holds the lines that wait.
#[derive(Debug, Default)]
pub(super) struct Selection {
    databases: Vec<String>,
    gtids: Option<GtidSelection>,
    in_selected_transaction: bool,
    waiting: Vec<Vec<u8>>,
}

impl Selection {
    pub(super) fn new(databases: Vec<String>, gtids: Option<GtidSelection>) -> Self {
        Self {
            databases,
            gtids,
            ..Self::default()
        }
    }

    /// Adds the event's `line`; returns the lines to print now.
    pub(super) fn pass(
        &mut self,
        event: &FileEvent,
        description: &Description,
        line: Vec<u8>,
    ) -> Vec<Vec<u8>> {
        if !self.is_in_transaction(event, description) {
            self.waiting.clear();
            return Vec::new();
        }
        match self.fate(event.header.event_type, description) {
            Fate::Wait if self.waiting.len() < WAITING_MAX => {
                self.waiting.push(line);
                Vec::new()
            }
            Fate::Hide => {
                // A statement may have several tables: its text waits for any of them.
                if event.header.event_type != EventType::TABLE_MAP {
                    self.waiting.clear();
                }
                Vec::new()
            }
            Fate::Wait | Fate::Show => {
                let mut lines = std::mem::take(&mut self.waiting);
                lines.push(line);
                lines
            }
        }
    }

    /// The lines that still wait at the end of a file.
    pub(super) fn finish(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.waiting)
    }

    fn is_in_transaction(&mut self, event: &FileEvent, description: &Description) -> bool {
        let Some(gtids) = &self.gtids else {
            return true;
        };
        if let Some(identity) = &description.identity {
            self.in_selected_transaction = gtids.contains(identity);
        } else if event.header.event_type.is_control() {
            return false;
        }
        self.in_selected_transaction
    }

    fn is_selected(&self, database: &[u8]) -> bool {
        let mut selected = self.databases.iter();
        selected.any(|selected| selected.as_bytes() == database)
    }

    fn fate(&self, event_type: EventType, description: &Description) -> Fate {
        if self.databases.is_empty() {
            return Fate::Show;
        }
        match (event_type, &description.database) {
            (
                EventType::INTVAR
                | EventType::RAND
                | EventType::USER_VAR
                | EventType::ROWS_QUERY
                | EventType::ANNOTATE_ROWS
                | EventType::BEGIN_LOAD_QUERY
                | EventType::APPEND_BLOCK,
                _,
            ) => Fate::Wait,
            (_, Some(database))
                if !description.is_transaction_keyword && !self.is_selected(database) =>
            {
                Fate::Hide
            }
            _ => Fate::Show,
        }
    }
}
