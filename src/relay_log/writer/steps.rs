//! What goes into the commit index.

use std::sync::Arc;

use super::Writer;
use crate::identity::Identity;
use crate::identity::IdentityKind;
use crate::merge::Decision;
use crate::merge::pairing::LedgerPlace;
use crate::relay_log::index_record::{RECORD_LEN, Step, StepKind};
use crate::transaction::{Transaction, TransactionBatch};

impl Writer {
    /// Where the next record of the index will stand.
    pub(super) fn index_place(&self) -> LedgerPlace {
        LedgerPlace {
            file: self.number,
            record: self.index.end() / RECORD_LEN as u64,
        }
    }

    pub(super) fn record_step(
        &mut self,
        decision: Decision,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) {
        let emptied = matches!(decision, Decision::New(place) if place.emptied);
        let (kind, is_no_copy) = match decision {
            Decision::New(_) => (StepKind::Transaction, false),
            Decision::BeforeStart => (StepKind::BeforeStart, false),
            Decision::Duplicate | Decision::Repeated => (StepKind::Duplicate, false),
            Decision::BeforeOrigin | Decision::Own => (StepKind::Duplicate, true),
        };
        let names = &mut self.names;
        let out = &mut self.index.staged;
        let source_file = names.source_file(batch.source, &batch.source_end.file, out);
        let (mut timestamp, mut content) = (transaction.timestamp, 0);
        let (origin, number) = match transaction.identity {
            Identity::MySql(gtid) => (names.origin(gtid.sid, out), gtid.gno),
            Identity::MariaDb(gtid) => (gtid.domain_id, gtid.seq_no),
            Identity::Anonymous(fingerprint) => {
                (timestamp, content) = (fingerprint.timestamp, fingerprint.content);
                (fingerprint.traits, fingerprint.commit_timestamp)
            }
        };
        let place = self.index_place();
        self.merge.note_place(batch, transaction, decision, place);
        let may_be_repetition = kind == StepKind::Transaction && self.merge.may_be_repetition();
        if may_be_repetition || decision == Decision::Repeated {
            self.tell_of_repetition(batch, transaction, may_be_repetition);
        }
        let step = Step {
            kind,
            emptied: transaction.emptied || emptied,
            is_no_copy,
            may_be_repetition,
            source: batch.source,
            log_end: self.tail.end() as u32,
            source_file,
            origin,
            source_position: transaction.source_offset,
            number,
            server_id: transaction.server_id,
            timestamp,
            content,
            durable_to: self.durable as u32,
            source_server_id: batch.source_server_id,
            durable_records: self.durable_records as u32,
        };
        self.index.staged.extend_from_slice(&step.encode());
        self.note_progress(
            batch,
            transaction.source_offset,
            Some(&transaction.identity),
        );
    }

    /// Takes in that the server of the source was started again, if what stands in `batch` is in
    /// the file that it has begun then.
    pub(super) fn note_source_start(&mut self, batch: &TransactionBatch) {
        // It is 0 in files that follow others, and where a dump begins within a file.
        let created = batch.format.created;
        let source = usize::from(batch.source);
        let known = self.source_starts.get_mut(source);
        let is_another =
            known.is_some_and(|known| created != 0 && std::mem::replace(known, created) != created);
        let progress = self.progress.get(source);
        let has_sent = progress.is_some_and(|progress| !progress.position.is_unknown());
        if is_another && has_sent && self.merge.executed().kind() == IdentityKind::Anonymous {
            if let Some(told) = self.told_of_repetitions.get_mut(source) {
                *told = false;
            }
            self.merge.note_source_start(batch.source);
            self.record_progress(batch.source, true);
        }
    }

    /// Says that a source's binlog has a copy twice: once for all that follow a start of its server.
    /// What may be another one is told each time.
    fn tell_of_repetition(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        is_delivered: bool,
    ) {
        let source = usize::from(batch.source);
        let told = self.told_of_repetitions.get_mut(source);
        let was_told = told.is_some_and(|told| std::mem::replace(told, true));
        let outcome = match is_delivered {
            true => "this one, or another that looks alike, is delivered",
            false if was_told => return,
            false => "this one and others that follow count as copies",
        };
        let name = self.options.source_names.get(source);
        tracing::warn!(
            source = name.map(|name| &**name),
            "{}:{}: the source has logged a transaction of server_id {} a second time, as a server \
             does that was killed while it replicated; {outcome}",
            batch.source_end.file,
            transaction.source_offset,
            transaction.server_id,
        );
    }

    /// Warns, once, of a source in whose own binlog the GTIDs of one server go back: what is taken
    /// for a copy here may be another transaction that was given an old GTID, as by `mariadb-binlog
    /// | mariadb` into the same server. Masters that apply each other's copies look the same, so it
    /// is no error.
    pub(super) fn warn_of_repetition(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
    ) {
        let source = usize::from(batch.source);
        let progress = self.progress.get(source);
        if let Some(gtid) =
            progress.and_then(|progress| progress.goes_back_to(transaction.identity))
            && let Some(warned) = self.warned_of_repetition.get_mut(source)
            && !std::mem::replace(warned, true)
        {
            let name = self.options.source_names.get(source);
            tracing::warn!(
                source = name.map(|name| &**name),
                "{}:{}: GTID {gtid} stands in the source's own binlog behind a higher one of the same \
                 server; it counts as a copy and is not delivered. If the source was fed its own \
                 binlog again, or had gtid_seq_no set back, replicas of the relay lack what came \
                 by this",
                batch.source_end.file,
                transaction.source_offset,
            );
        }
    }

    pub(super) fn note_progress(
        &mut self,
        batch: &TransactionBatch,
        position: u64,
        identity: Option<&Identity>,
    ) {
        let Some(progress) = self.progress.get_mut(usize::from(batch.source)) else {
            return;
        };
        if !Arc::ptr_eq(&progress.position.file, &batch.source_end.file) {
            progress.position.file = batch.source_end.file.clone();
        }
        progress.position.offset = position;
        progress.server_id = batch.source_server_id;
        if batch.source_first_timestamp != 0 && progress.first_timestamp == 0 {
            progress.first_timestamp = batch.source_first_timestamp;
            self.merge
                .begin_origin(batch.source_server_id, batch.source_first_timestamp);
            self.record_progress(batch.source, false);
            return;
        }
        if let Some(Identity::MariaDb(gtid)) = identity {
            progress.gtid_position.set(*gtid);
        }
    }

    /// Records where a source stands, and whether its server was started again.
    pub(super) fn record_progress(&mut self, source: u16, is_started: bool) {
        let Some(progress) = self.progress.get(usize::from(source)) else {
            return;
        };
        let out = &mut self.index.staged;
        let step = Step {
            kind: StepKind::Moved,
            source,
            log_end: self.tail.end() as u32,
            source_file: self.names.source_file(source, &progress.position.file, out),
            source_position: progress.position.offset,
            source_server_id: progress.server_id,
            timestamp: progress.first_timestamp,
            is_no_copy: progress.reading_back,
            may_be_repetition: is_started,
            durable_to: self.durable as u32,
            durable_records: self.durable_records as u32,
            ..Step::default()
        };
        out.extend_from_slice(&step.encode());
    }
}
