//! The temporary tables that sessions of the masters have open, as far as statements in the relay
//! log created them.
#![doc = include_str!("temporary_tables.md")]

use std::collections::BTreeMap;

use crate::transaction::{
    SessionStatement, TemporaryTableChange, TemporaryTableStatement, Transaction,
};

/// The most tables that are recorded.
const TABLES_MAX: usize = 65_536;
/// The name under which a table is recorded whose name is not known.
const UNKNOWN: &[u8] = b"?";

/// Identifies a temporary table on the relay's replicas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemporaryTable {
    /// The server_id of the session's server.
    pub origin: u32,
    /// The session's number there.
    pub thread_id: u32,
    /// `database.table`, in lower case.
    pub name: Box<[u8]>,
}

/// The state of an open temporary table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTable {
    /// When the statement began that created it, in seconds since 1970 by its server's clock.
    pub created_at: u32,
    /// The sources that have sent that statement, a bit for each number.
    pub paths: u64,
    /// Whether its session has ended with its server: it exists on the replicas only.
    pub is_dead: bool,
}

/// How the open tables change: the new state of a table, or `None` when it was dropped.
pub type TableChange = (TemporaryTable, Option<OpenTable>);

/// How a peer's statement is handled that drops the tables of another server's ended sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// It names only tables that were open before, or none: replicas may execute it.
    Harmless,
    /// A new session has created a table of that name, which it must not drop.
    Late,
}

/// The open temporary tables. Bounded by [`TABLES_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemporaryTables {
    tables: BTreeMap<TemporaryTable, OpenTable>,
    /// How many of them are dead.
    dead: usize,
    /// Whether there were more than are recorded.
    is_incomplete: bool,
    /// By server_id, for servers whose sessions have open tables: the timestamp of the newest of its
    /// transactions that a peer was first to send. Not kept across restarts of the relay.
    newest_from_peers: BTreeMap<u32, u32>,
}

impl TemporaryTables {
    /// Each table, to be carried over into the next log file's index.
    pub fn iter(&self) -> impl Iterator<Item = (&TemporaryTable, &OpenTable)> {
        self.tables.iter()
    }

    /// Applies a change. False when there are too many tables to record it.
    pub fn apply(&mut self, (table, state): TableChange) -> bool {
        let is_dead = |state: &OpenTable| usize::from(state.is_dead);
        let Some(state) = state else {
            let removed = self.tables.remove(&table);
            self.dead -= removed.as_ref().map_or(0, is_dead);
            return true;
        };
        if self.tables.len() == TABLES_MAX && !self.tables.contains_key(&table) {
            return !std::mem::replace(&mut self.is_incomplete, true);
        }
        self.dead += is_dead(&state);
        let before = self.tables.insert(table, state);
        self.dead -= before.as_ref().map_or(0, is_dead);
        true
    }

    /// The changes by a transaction that is appended, and arrived from source `path`.
    pub fn changes_of(&self, path: u16, transaction: &Transaction) -> Vec<TableChange> {
        let origin = transaction.server_id;
        let mut changes = Vec::new();
        for statement in &transaction.temporary_tables {
            let of = |name: &[u8]| TemporaryTable {
                origin,
                thread_id: statement.thread_id,
                name: name.into(),
            };
            let created = OpenTable {
                created_at: statement.timestamp,
                paths: bit(path),
                is_dead: false,
            };
            match &statement.change {
                TemporaryTableChange::Created { table, .. } => {
                    changes.push((of(table), Some(created)));
                }
                TemporaryTableChange::Dropped { tables, .. } => {
                    changes.extend(tables.iter().map(|name| (of(name), None)));
                }
                TemporaryTableChange::Renamed(from, to) => {
                    let state = self.tables.get(&of(from)).copied().unwrap_or(created);
                    changes.push((of(from), None));
                    changes.push((of(to), Some(state)));
                }
                TemporaryTableChange::Unclear => changes.push((of(UNKNOWN), Some(created))),
            }
        }
        changes
    }

    /// Records a new transaction that a peer of its origin has sent.
    pub fn note_from_peer(&mut self, transaction: &Transaction) {
        if self.has_open_of(transaction.server_id) {
            let newest = self.newest_from_peers.entry(transaction.server_id);
            let newest = newest.or_default();
            *newest = transaction.timestamp.max(*newest);
        }
    }

    /// Whether a peer was first to send transactions that the server executed after it was started
    /// at `started`, in seconds since 1970 by its clock, while tables from before were open.
    pub fn was_late(&self, origin: u32, started: u32) -> bool {
        let newest = self.newest_from_peers.get(&origin);
        newest.is_some_and(|newest| *newest >= started)
    }

    /// The changes by a copy of a delivered transaction that arrives from source `path`.
    pub fn changes_of_copy(&self, path: u16, transaction: &Transaction) -> Vec<TableChange> {
        let seen = |statement: &TemporaryTableStatement| {
            let name: &[u8] = match &statement.change {
                TemporaryTableChange::Created { table, .. } => table,
                TemporaryTableChange::Renamed(_, to) => to,
                TemporaryTableChange::Unclear => UNKNOWN,
                TemporaryTableChange::Dropped { .. } => return None,
            };
            let table = TemporaryTable {
                origin: transaction.server_id,
                thread_id: statement.thread_id,
                name: name.into(),
            };
            let mut state = *self.tables.get(&table)?;
            if state.created_at != statement.timestamp {
                return None; // It is another one: that one was dropped before.
            }
            state.paths |= bit(path);
            Some((table, Some(state)))
        };
        let statements = transaction.temporary_tables.iter();
        statements.filter_map(seen).collect()
    }

    /// The changes by a restart of the server of source `path`, which ended the sessions of this
    /// server, and, as a replica of it understands it, those of the origins that are not
    /// `elsewhere`: servers that the relay does not follow itself.
    ///
    /// Tables that the source has not sent are not concerned: they were created after the restart.
    pub fn changes_of_restart(
        &self,
        path: u16,
        elsewhere: impl Fn(u32) -> bool,
    ) -> Vec<TableChange> {
        let ended = self.tables.iter().filter(|(table, state)| {
            !state.is_dead && state.paths & bit(path) != 0 && !elsewhere(table.origin)
        });
        ended.map(|(table, state)| dead(table, state)).collect()
    }

    /// The changes that a new transaction proves whose session is not the one that had its tables
    /// open: it creates a table that is open, or changes one without using it as its own. Then
    /// their server was restarted since these were created, and older tables of it are dead, too.
    pub fn changes_by_new_session(
        &self,
        transaction: &Transaction,
        statements: &[SessionStatement],
    ) -> Vec<TableChange> {
        let origin = transaction.server_id;
        let is_open = |thread_id: u32, name: &[u8]| {
            let table = TemporaryTable {
                origin,
                thread_id,
                name: name.into(),
            };
            self.tables.get(&table).is_some_and(|state| !state.is_dead)
        };
        let proves = |statement: &&SessionStatement| match &statement.temporary {
            None => {
                let mut changed = statement.changed.iter();
                changed.any(|name| is_open(statement.thread_id, name))
            }
            Some(TemporaryTableChange::Created {
                table,
                may_exist: false,
            }) => is_open(statement.thread_id, table),
            Some(_) => false,
        };
        // After these, other tables are open than are recorded.
        let drops = |statement: &&SessionStatement| {
            !matches!(
                statement.temporary,
                None | Some(TemporaryTableChange::Created { .. })
            )
        };
        let mut before = statements.iter().take_while(|statement| !drops(statement));
        let Some(statement) = before.find(proves) else {
            return Vec::new();
        };
        let of_session = self.of_session(origin, statement.thread_id);
        let newest = of_session.map(|(_, state)| state.created_at).max();
        let of_server = self.tables.range(first_of(origin, 0)..);
        let of_server = of_server.take_while(|(table, _)| table.origin == origin);
        let ended = of_server.filter(|(table, state)| {
            table.thread_id == statement.thread_id
                || newest.is_some_and(|newest| state.created_at < newest)
        });
        ended.map(|(table, state)| dead(table, state)).collect()
    }

    /// The changes by a new transaction that renames tables without saying that they are temporary ones: the replicas
    /// rename the temporary table of that session, too.
    pub fn changes_by_renames(
        &self,
        transaction: &Transaction,
        statements: &[SessionStatement],
    ) -> Vec<TableChange> {
        let mut changes: Vec<TableChange> = Vec::new();
        for statement in statements {
            for (from, to) in &statement.renamed {
                let of = |name: &[u8]| TemporaryTable {
                    origin: transaction.server_id,
                    thread_id: statement.thread_id,
                    name: name.into(),
                };
                let from = of(from);
                let mut newest = changes.iter().rev();
                let state = match newest.find(|(table, _)| *table == from) {
                    Some((_, state)) => *state,
                    None => self.tables.get(&from).copied(),
                };
                if let Some(state) = state {
                    changes.push((from, None));
                    changes.push((of(to), Some(state)));
                }
            }
        }
        changes
    }

    /// How a statement is handled with which the server of source `path` drops the tables of
    /// another server's ended sessions, and the changes by it.
    pub fn clean_up(&self, path: u16, transaction: &Transaction) -> (Cleanup, Vec<TableChange>) {
        let (mut cleanup, mut changes) = (Cleanup::Harmless, Vec::new());
        for (table, _) in self.changes_of(path, transaction) {
            match self.tables.get(&table) {
                None => {}
                Some(state) if state.paths & bit(path) == 0 => cleanup = Cleanup::Late,
                Some(state) => changes.push(dead(&table, state)),
            }
        }
        (cleanup, changes)
    }

    /// Whether dead tables are open and no others, so that the replicas may drop all.
    pub fn has_only_dead(&self) -> bool {
        self.dead > 0 && self.dead == self.tables.len() && !self.is_incomplete
    }

    /// Forgets all tables: replicas have dropped them.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there are dead tables.
    pub fn has_dead(&self) -> bool {
        self.dead > 0
    }

    fn of_session(
        &self,
        origin: u32,
        thread_id: u32,
    ) -> impl Iterator<Item = (&TemporaryTable, &OpenTable)> {
        let tables = self.tables.range(first_of(origin, thread_id)..);
        tables.take_while(move |(table, _)| (table.origin, table.thread_id) == (origin, thread_id))
    }

    /// Whether a session of this server has tables open.
    pub fn has_open_of(&self, origin: u32) -> bool {
        let mut tables = self.tables.range(first_of(origin, 0)..);
        tables
            .next()
            .is_some_and(|(table, _)| table.origin == origin)
    }

    /// Whether this session has dead tables: one with the same number would use them.
    pub fn has_dead_of(&self, origin: u32, thread_id: u32) -> bool {
        let mut of_session = self.of_session(origin, thread_id);
        of_session.any(|(_, state)| state.is_dead)
    }

    /// The same tables after the sources were numbered again: `number` returns a source's new
    /// number, if it is still configured.
    #[must_use]
    pub fn renumbered(self, number: impl Fn(u16) -> Option<u16>) -> Self {
        let renumbered = |paths: u64| {
            let sent = (0..64u16).filter(|source| paths & bit(*source) != 0);
            sent.filter_map(&number)
                .fold(0, |bits, source| bits | bit(source))
        };
        let tables = self.tables.into_iter();
        Self {
            tables: tables
                .map(|(table, state)| {
                    let paths = renumbered(state.paths);
                    (table, OpenTable { paths, ..state })
                })
                .collect(),
            ..self
        }
    }
}

/// Whether a statement drops the tables of a session that has ended, as a server itself writes it.
pub fn is_cleanup(transaction: &Transaction) -> bool {
    let at_session_end = |statement: &TemporaryTableStatement| {
        matches!(
            statement.change,
            TemporaryTableChange::Dropped {
                at_session_end: true,
                ..
            }
        )
    };
    let statements = &transaction.temporary_tables;
    !statements.is_empty() && statements.iter().all(at_session_end)
}

/// Precedes the tables of this session and of later ones.
fn first_of(origin: u32, thread_id: u32) -> TemporaryTable {
    TemporaryTable {
        origin,
        thread_id,
        name: Box::default(),
    }
}

fn dead(table: &TemporaryTable, state: &OpenTable) -> TableChange {
    let state = OpenTable {
        is_dead: true,
        ..*state
    };
    (table.clone(), Some(state))
}

/// The bit of a source; 0 for one that has none: its sessions never count as ended.
fn bit(source: u16) -> u64 {
    1u64.checked_shl(source.into()).unwrap_or(0)
}
