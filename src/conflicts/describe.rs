//! Reads transactions of the log: their keys, and the rows that are in conflict.

use std::time::SystemTime;

use super::index_follower::IndexFollower;
use super::log_events::{LogEvents, Taken};
use super::messages::{Conflict, ConflictingWrite};
use super::row_keys::{ChangedRow, KeyedTable, RowReader, ShownKey, find};
use super::sources::Sources;
use super::text::truncated;
use super::window::{Key, Pair, Written};
use crate::binlog::EventType;
use crate::binlog::row_images::{Cell, RowsKind};
use crate::binlog::rows::TableMap;
use crate::identity::Identity;
use crate::inspect::image_json;
use crate::position::RelayLogPosition;
use crate::relay_log::LogDir;
use crate::utc;
use serde_json::Value;

/// The most keys of one transaction that are read.
const KEYS_MAX: usize = 100_000;

/// The keys of a transaction.
#[derive(Debug, Default)]
pub struct KeyRead {
    /// Without repetitions.
    pub keys: Vec<Key>,
    /// How many events were not read.
    pub unreadable: u64,
}

/// Reads transactions.
#[derive(Debug)]
pub struct Describer {
    log_dir: LogDir,
    events: LogEvents,
    rows: RowReader,
}

/// A row that has a key.
struct Found {
    database: String,
    table: String,
    key: Option<Vec<Value>>,
    action: &'static str,
    before: Option<Vec<Value>>,
    after: Option<Vec<Value>>,
}

impl Describer {
    /// For the log in `log_dir`, which is published up to `end`.
    pub fn new(log_dir: LogDir, end: RelayLogPosition) -> Self {
        Self {
            events: LogEvents::new(log_dir.clone(), end),
            log_dir,
            rows: RowReader::default(),
        }
    }

    /// The log is published up to `end`.
    pub fn set_end(&mut self, end: RelayLogPosition) {
        self.events.set_end(end);
    }

    /// The keys of a transaction; none if it was removed with its file.
    pub fn keys(&mut self, written: &Written, sources: &mut Sources) -> KeyRead {
        let mut keys = Vec::new();
        let mut unreadable = self.visit(written, sources, &mut |changed| {
            keys.push(changed.key);
            keys.extend(changed.key_after);
            keys.len() < KEYS_MAX
        });
        unreadable += u64::from(keys.len() >= KEYS_MAX);
        keys.sort_unstable();
        keys.dedup();
        KeyRead { keys, unreadable }
    }

    /// The conflict that was found `at`, for the administrator; `None` if a transaction was removed with its file.
    pub fn conflict(
        &mut self,
        pair: &Pair,
        at: SystemTime,
        follower: &IndexFollower,
        sources: &mut Sources,
    ) -> Option<Conflict> {
        let [first, second] = &pair.writes;
        let found = self.row(first, pair.key, sources)?;
        let other = self.row(second, pair.key, sources)?;
        let [first_path, second_path] = pair.paths.map(|path| follower.name(path));
        Some(Conflict {
            at: utc::seconds(at),
            database: found.database.clone(),
            table: found.table.clone(),
            key: found.key.clone(),
            writes: [
                self.write(first, first_path, found),
                self.write(second, second_path, other),
            ],
        })
    }

    fn write(&self, written: &Written, source: &str, found: Found) -> ConflictingWrite {
        ConflictingWrite {
            source: source.to_owned(),
            server_id: written.server_id,
            gtid: match &written.identity {
                Identity::Anonymous(_) => None,
                identity => Some(identity.to_string()),
            },
            file: written.position.file.to_string(),
            position: written.position.offset,
            relay_file: self.log_dir.file_name(written.file),
            relay_position: u64::from(written.begin),
            time: match written.commit_time_us {
                0 => None,
                us => utc::microseconds(us),
            },
            action: found.action.to_owned(),
            before: found.before,
            after: found.after,
        }
    }

    fn row(&mut self, written: &Written, key: Key, sources: &mut Sources) -> Option<Found> {
        let mut found = None;
        self.visit(written, sources, &mut |changed| {
            let is_it = changed.key == key || changed.key_after == Some(key);
            if is_it {
                found = Some(Found::of(changed, changed.key_after == Some(key)));
            }
            !is_it
        });
        found
    }

    /// Gives `visit` each changed row, until it returns false. Returns how many events were not read.
    fn visit(
        &mut self,
        written: &Written,
        sources: &mut Sources,
        visit: &mut dyn FnMut(&ChangedRow<'_>) -> bool,
    ) -> u64 {
        if written.emptied {
            return 0;
        }
        let rows = &mut self.rows;
        rows.begin();
        let mut ask =
            |map: &TableMap<'_>| -> Option<ShownKey> { sources.ask_key(written.server_id, map) };
        let read = self.events.visit(written, &mut |event_type, body| {
            if event_type == EventType::TABLE_MAP {
                return match rows.table_map(written.delivered_by, body, &mut ask) {
                    Ok(()) => Taken::Read,
                    Err(_) => Taken::Unreadable,
                };
            }
            let mut is_enough = false;
            let read = rows.rows(event_type, body, &mut |changed| {
                is_enough = !visit(changed);
                !is_enough
            });
            match read {
                _ if is_enough => Taken::Enough,
                Ok(true) => Taken::Read,
                Ok(false) | Err(_) => Taken::Unreadable,
            }
        });
        read.unwrap_or(1)
    }
}

impl Found {
    fn of(changed: &ChangedRow<'_>, is_after: bool) -> Self {
        let KeyedTable {
            database,
            table,
            key,
            ..
        } = changed.table;
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let before = &changed.row.image;
        let after = changed.row.after.as_deref();
        let of_key = |number: &usize| {
            let after = after.filter(|_| is_after).unwrap_or_default();
            find(after, *number)
                .or_else(|| find(before, *number))
                .copied()
        };
        let key: Vec<Cell<'_>> = key.iter().filter_map(of_key).collect();
        let (action, before, after) = match changed.kind {
            RowsKind::Insert => ("insert", None, Some(shown(before))),
            RowsKind::Delete => ("delete", Some(shown(before)), None),
            RowsKind::Update => ("update", Some(shown(before)), after.map(shown)),
        };
        Self {
            database: text(database),
            table: text(table),
            key: (!key.is_empty()).then(|| shown(&key)),
            action,
            before,
            after,
        }
    }
}

fn shown(cells: &[Cell<'_>]) -> Vec<Value> {
    image_json(cells).into_iter().map(truncated).collect()
}
