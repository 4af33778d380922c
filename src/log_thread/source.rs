//! The log thread's state for one source.

use std::sync::Arc;

use super::paths::PathKind;
use crate::identity::Identity;
use crate::position::SourcePosition;
use crate::transaction::{Transaction, TransactionBatch};

/// One source, as the log thread sees it.
#[derive(Debug)]
pub(super) struct Source {
    /// Its name in the configuration.
    name: Arc<str>,
    /// Why the log knows it.
    pub(super) kind: PathKind,
    /// When its server was started, by its own clock; 0 when unknown.
    server_started: u32,
    /// The same, when its server's ended sessions were last considered.
    sessions_began: u32,
    /// The connection, a number of [`TransactionBatch::run`], of which it was reported that copies cannot be verified.
    reported_unverified: Option<u64>,
    /// Whether repetitions were already reported since its server's last restart.
    reported_repetitions: bool,
}

impl Source {
    pub(super) fn new(name: Arc<str>, kind: PathKind) -> Self {
        Self {
            name,
            kind,
            server_started: 0,
            sessions_began: 0,
            reported_unverified: None,
            reported_repetitions: false,
        }
    }

    /// The name of the path.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the source's server was restarted before it wrote `batch`.
    pub(super) fn has_restarted(&mut self, batch: &TransactionBatch) -> bool {
        // It is 0 in a file that follows another, and when a dump begins within a file.
        let created = batch.format.created;
        if created == 0 || created == self.server_started {
            return false;
        }
        self.server_started = created;
        self.reported_repetitions = false;
        true
    }

    /// Whether the server, which was started at `created`, was not known to have been.
    pub(super) fn begins_server(&mut self, created: u32) -> bool {
        std::mem::replace(&mut self.sessions_began, created) != created
    }

    /// Reports that the source has logged a transaction a second time: only the first time after a
    /// restart of its server, except for one that may be another one.
    pub(super) fn report_repetition(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        repetition: Repetition,
    ) {
        let was_reported = std::mem::replace(&mut self.reported_repetitions, true);
        if was_reported && repetition != Repetition::Delivered {
            return;
        }
        let end = SourcePosition::new(batch.source_end.file.clone(), transaction.source_offset);
        let origin = transaction.server_id;
        let outcome = match (repetition, transaction.identity) {
            (Repetition::ExecutedAgain, identity) => format!(
                "the source has executed its own transaction {identity} a second time, as after \
                 \"mariadb-binlog | mariadb\"; this one and others that follow are delivered again"
            ),
            (Repetition::Delivered, _) => format!(
                "the source has logged a transaction of server_id {origin} a second time, as a server \
                 does when it was killed while replicating; this one, or an identical-looking one, is \
                 delivered"
            ),
            (Repetition::Dropped, Identity::Anonymous(_)) => format!(
                "the source has logged a transaction of server_id {origin} a second time, as a server \
                 does when it was killed while replicating; this one and others that follow count as \
                 copies"
            ),
            (Repetition::AheadOfServer, identity) => format!(
                "transaction {identity} belongs to the new history of server_id {origin}, of which earlier \
                 ones have not arrived from that server itself: this one and others that follow count as copies until \
                 then, and are delivered when they arrive from that server. If that server is lost for good, run binrelay continue \
                 {} --at FILE:POS with a position before them",
                self.name
            ),
            (Repetition::Dropped, identity) => format!(
                "the source has logged transaction {identity} a second time; this one and others that \
                 follow count as copies. If server_id {origin} has executed them again, they are \
                 delivered when they arrive from that server itself"
            ),
        };
        tracing::warn!(source = &*self.name, "{end}: {outcome}");
    }

    /// Reports, once for each connection, that a copy cannot be compared with what was delivered; or, if the source
    /// `has_sent` it before, that it cannot be determined whether it was executed again since.
    pub(super) fn report_unverified(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        has_sent: bool,
    ) {
        // Each connection has runs of its own.
        let connection = batch.run >> 32;
        if self.reported_unverified.replace(connection) == Some(connection) {
            return;
        }
        let end = SourcePosition::new(batch.source_end.file.clone(), transaction.source_offset);
        if has_sent {
            tracing::warn!(
                source = &*self.name,
                "{end}: the source has logged transaction {} a second time, and it cannot be determined whether the second \
                 execution was delivered already or precedes the relay log; this one and others that follow count as copies: \
                 compare the data",
                transaction.identity
            );
            return;
        }
        tracing::warn!(
            source = &*self.name,
            "{end}: {} was delivered by another source, and its record was removed (max_total_size, expire_after, PURGE), \
             so it cannot be determined whether it was delivered with its changes; this one and others that follow count \
             as copies. If the other source filters or has skipped some, replicas lack their changes: compare the data",
            transaction.identity
        );
    }
}

/// How a transaction is handled that its source has logged a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repetition {
    /// It counts as a copy.
    Dropped,
    /// MariaDB: it belongs to its server's new history, and is delivered once it arrives from that server.
    AheadOfServer,
    /// It is delivered, because it may be another one.
    Delivered,
    /// MariaDB: it is delivered, because its own server has executed it again.
    ExecutedAgain,
}
