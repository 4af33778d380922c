//! The log thread's state for one source.

use std::sync::Arc;

use crate::identity::Identity;
use crate::position::SourcePosition;
use crate::relay_log::SourceProgress;
use crate::transaction::{Transaction, TransactionBatch};

/// One source, as the log thread sees it.
#[derive(Debug)]
pub(super) struct Source {
    /// Its name in the configuration.
    name: Arc<str>,
    /// When its server was started, by its own clock; 0 when unknown.
    server_started: u32,
    /// The same, when its server's ended sessions were last considered.
    sessions_began: u32,
    /// Whether the warning that its own binlog repeats GTIDs was already logged.
    warned_of_old_gtids: bool,
    /// Whether repetitions were already reported since its server's last restart.
    reported_repetitions: bool,
}

impl Source {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            server_started: 0,
            sessions_began: 0,
            warned_of_old_gtids: false,
            reported_repetitions: false,
        }
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
    /// restart of its server. A transaction that is delivered (`is_delivered`), because it may be
    /// another one, is reported each time.
    pub(super) fn report_repetition(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        is_delivered: bool,
    ) {
        let was_reported = std::mem::replace(&mut self.reported_repetitions, true);
        let outcome = match is_delivered {
            true => "this one, or an identical-looking one, is delivered",
            false if was_reported => return,
            false => "this one and others that follow count as copies",
        };
        tracing::warn!(
            source = &*self.name,
            "{}: the source has logged a transaction of server_id {} a second time, as a server \
             does when it was killed while replicating; {outcome}",
            end_of(batch, transaction),
            transaction.server_id,
        );
    }

    /// Warns, once, that the GTIDs of one server go back in the source's own binlog: a transaction
    /// that counts as a copy may be another one with a reused GTID, for example after
    /// `mariadb-binlog | mariadb` into the same server. Masters that apply each other's copies look
    /// the same, so it is not an error.
    pub(super) fn warn_of_old_gtid(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        progress: &SourceProgress,
    ) {
        if !matches!(transaction.identity, Identity::MariaDb(_)) || self.warned_of_old_gtids {
            return;
        }
        let Some(gtid) = progress.goes_back_to(transaction.identity) else {
            return;
        };
        self.warned_of_old_gtids = true;
        tracing::warn!(
            source = &*self.name,
            "{}: GTID {gtid} appears in the source's own binlog after a higher one of the same \
             server; it counts as a copy and is not delivered. If the source's own binlog was \
             applied to it again, or its gtid_seq_no was decreased, the relay's replicas lack \
             these changes",
            end_of(batch, transaction),
        );
    }
}

fn end_of(batch: &TransactionBatch, transaction: &Transaction) -> SourcePosition {
    SourcePosition::new(batch.source_end.file.clone(), transaction.source_offset)
}
