//! The temporary tables of sessions that ended with their server, see
//! [`crate::merge::temporary_tables`].

use super::{AppendError, LogThread, PathKind, Refusal};
use crate::binlog::event::{EventHeader, HEADER_LEN};
use crate::binlog::query::Query;
use crate::binlog::{CHECKSUM_LEN, EventType};
use crate::identity::{Identity, IdentityKind};
use crate::merge::Decision;
use crate::merge::temporary_tables::{Cleanup, TableChange, is_cleanup};
use crate::position::SourcePosition;
use crate::relay_log::LogError;
use crate::transaction::{Transaction, TransactionBatch, session_statements};

impl LogThread {
    /// Records a restart of the source's server, which ended its sessions: the first file that it
    /// wrote then has begun.
    pub(super) fn note_ended_sessions(&mut self, batch: &TransactionBatch) -> Result<(), LogError> {
        let created = batch.format.created;
        // It is 0 in a file that follows another, and when a dump begins within a file.
        if created == 0 || !self.source(batch.source)?.begins_server(created) {
            return Ok(());
        }
        // By GTID a dump begins with the description of the file in which it resumes.
        let last = self.log.progress(batch.source)?.last.as_ref();
        if last.is_none_or(|last| last.file == batch.source_end.file) {
            return Ok(());
        }
        let own = batch.source_server_id;
        let changes = self
            .temporary_tables
            .changes_of_restart(batch.source, |origin| origin != own && self.follows(origin));
        if !changes.is_empty() && self.temporary_tables.was_late(own, created) {
            tracing::error!(
                "The server with server_id {own} was restarted. A peer delivered its new transactions before \
                 the restart was seen, so replicas may have executed statements with temporary tables of \
                 ended sessions; compare the replicas' data with the source"
            );
        }
        self.change_temporary_tables(changes);
        Ok(())
    }

    /// Records that the server with server_id `own` on this path has begun a new history: its sessions have ended.
    pub(super) fn end_sessions(&mut self, path: u16, own: u32) {
        let elsewhere = |origin| origin != own && self.follows(origin);
        let changes = self.temporary_tables.changes_of_restart(path, elsewhere);
        self.change_temporary_tables(changes);
    }

    /// Records the end of sessions that a new transaction proves, on whichever path it arrives.
    ///
    /// Only with GTIDs, which show that it is new. A MySQL peer without GTIDs logs itself that the
    /// sessions have ended.
    pub(super) fn note_new_session(&mut self, batch: &TransactionBatch, transaction: &Transaction) {
        let executed = self.merge.executed();
        let origin = transaction.server_id;
        if !self.temporary_tables.has_open_of(origin)
            || executed.kind() == IdentityKind::Anonymous
            || executed.contains(&transaction.identity)
            || self.cleanup(batch, transaction).is_some()
        {
            return;
        }
        let mariadb = executed.kind() == IdentityKind::MariaDb;
        // `Writer::write` refuses a range that is not in the batch.
        let events = batch.bytes.get(transaction.rest.clone());
        let statements = session_statements(events.unwrap_or_default(), mariadb);
        let statements: Vec<_> = statements.collect();
        let tables = &self.temporary_tables;
        let changes = tables.changes_by_new_session(transaction, &statements);
        self.change_temporary_tables(changes);
        let changes = self
            .temporary_tables
            .changes_by_renames(transaction, &statements);
        self.change_temporary_tables(changes);
    }

    /// Whether a new file must begin so that replicas drop the tables of ended sessions.
    pub(super) fn ends_temporary_tables(&self) -> bool {
        self.temporary_tables.has_only_dead()
    }

    /// Refuses a transaction of a session with the number of one that has ended and whose tables
    /// cannot be dropped yet: replicas would use them.
    pub(super) fn check_session(
        &self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Result<(), AppendError> {
        if !self.temporary_tables.has_dead() || self.cleanup(batch, transaction).is_some() {
            return Ok(());
        }
        let origin = transaction.server_id;
        let mut sessions = sessions(batch, transaction);
        match sessions.find(|session| self.temporary_tables.has_dead_of(origin, *session)) {
            None => Ok(()),
            Some(thread_id) => Err(AppendError::Refused(Refusal::EndedSession {
                origin,
                thread_id,
                end: SourcePosition::new(batch.source_end.file.clone(), transaction.source_offset),
            })),
        }
    }

    /// How a transaction is handled that drops the temporary tables of another source's ended
    /// sessions; `None` for any other transaction.
    fn cleanup(
        &self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Option<(Cleanup, Vec<TableChange>)> {
        let origin = transaction.server_id;
        let is_of_peer = origin != batch.source_server_id && is_cleanup(transaction);
        (is_of_peer && self.follows(origin))
            .then(|| self.temporary_tables.clean_up(batch.source, transaction))
    }

    /// Whether the relay itself follows the server with this server_id.
    fn follows(&self, server_id: u32) -> bool {
        let mut followed = self.sources.iter().zip(self.log.server_ids());
        followed.any(|(source, id)| source.kind != PathKind::Removed && id == server_id)
    }

    fn merge_decision(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Result<Decision, AppendError> {
        let progress = self.log.progress(batch.source)?;
        let kind = self.merge.executed().kind();
        let moved = progress.moved_to(batch.source_server_id, kind);
        let path = moved.as_ref().unwrap_or(progress).path();
        let ledger = self.log.ledger();
        Ok(self.merge.decide(batch, transaction, &path, &ledger)?)
    }

    /// Decides about a transaction as the merge does, except for one that drops the temporary tables
    /// of another source's ended sessions. Records how the open tables change.
    pub(super) fn decide(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) -> Result<Decision, AppendError> {
        if transaction.temporary_tables.is_empty() {
            let decision = self.merge_decision(batch, transaction)?;
            self.note_from_peer(batch, transaction, &decision);
            return Ok(decision);
        }
        let cleanup = self.cleanup(batch, transaction);
        if let (Some((_, changes)), Identity::Anonymous(_)) = (&cleanup, &transaction.identity)
            && self.merge.executed().kind() == IdentityKind::Anonymous
        {
            self.change_temporary_tables(changes.clone());
            self.merge.pass_before(batch.source, transaction.server_id);
            return Ok(Decision::Cleanup);
        }
        let mut decision = self.merge_decision(batch, transaction)?;
        self.note_from_peer(batch, transaction, &decision);
        let changes = match (&mut decision, cleanup) {
            (Decision::New(placement), Some((Cleanup::Late, changes))) => {
                placement.empties = true;
                changes
            }
            (Decision::New(_), _) => self.temporary_tables.changes_of(batch.source, transaction),
            _ => self
                .temporary_tables
                .changes_of_copy(batch.source, transaction),
        };
        self.change_temporary_tables(changes);
        Ok(decision)
    }

    fn note_from_peer(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        decision: &Decision,
    ) {
        let is_of_peer = transaction.server_id != batch.source_server_id;
        if is_of_peer && matches!(decision, Decision::New(_)) {
            self.temporary_tables.note_from_peer(transaction);
        }
    }

    fn change_temporary_tables(&mut self, changes: Vec<TableChange>) {
        self.log.record_temporary_tables(&changes);
        for change in changes {
            if !self.temporary_tables.apply(change) {
                tracing::warn!(
                    "too many temporary tables are open on the replicas to be recorded: those of a \
                     master that is killed are not dropped there"
                );
            }
        }
    }
}

/// The sessions of the transaction's statements. Only statements use temporary tables; a
/// transaction that is too large for memory counts by those in its opener only.
fn sessions<'a>(
    batch: &'a TransactionBatch,
    transaction: &'a Transaction,
) -> impl Iterator<Item = u32> + 'a {
    let mut rest = batch
        .bytes
        .get(transaction.rest.clone())
        .unwrap_or_default();
    std::iter::from_fn(move || {
        loop {
            let header = EventHeader::parse(rest).ok()?;
            let size = (header.event_size as usize).max(HEADER_LEN);
            let (event, after) = rest.split_at_checked(size)?;
            rest = after;
            let is_statement = matches!(
                header.event_type,
                EventType::QUERY | EventType::QUERY_COMPRESSED | EventType::EXECUTE_LOAD_QUERY
            );
            let body = event.get(HEADER_LEN..event.len().checked_sub(CHECKSUM_LEN)?)?;
            if is_statement && let Ok(query) = Query::parse(header.event_type, body) {
                return Some(query.thread_id);
            }
        }
    })
}
