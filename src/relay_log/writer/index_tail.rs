//! Writing commit index records.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::gtid::{GtidSet, MariaDbGtid};
use crate::identity::{Executed, Identity};
use crate::merge::Decision;
use crate::merge::halves::{HalfChange, OpenHalves};
use crate::merge::pairing::PathState;
use crate::merge::temporary_tables::{TableChange, TemporaryTables};
use crate::relay_log::error::LogError;
use crate::relay_log::index_record::{
    IndexHeader, LastRecorded, PathKey, RECORD_LEN, Record, Recorded, RecordedIdentity, Step,
    TextPart,
};
use crate::relay_log::names::Names;
use crate::relay_log::published::SourceProgress;
use crate::relay_log::temporary_table;
use crate::transaction::Transaction;

use super::syncing::OnDisk;
use super::tail::Tail;

/// The state that a new file's index carries over from the previous file.
#[derive(Debug)]
pub struct CarriedOver<'a> {
    /// All transactions before the file.
    pub executed: &'a Executed,
    /// The two-part operations that are open.
    pub halves: &'a OpenHalves,
    /// Without GTIDs: the state of each path's queues.
    pub paths: Vec<PathState>,
    /// The temporary tables that are open on the replicas.
    pub temporary_tables: &'a TemporaryTables,
    /// Whether the new file's format description makes replicas drop their temporary tables.
    pub ends_temporary_tables: bool,
    /// MySQL: GTIDs that count as delivered by decision of an administrator, and are in no file.
    pub counted: &'a GtidSet,
    /// MariaDB: the server of which a new history begins with the file.
    pub new_history: Option<u32>,
    /// MariaDB: transactions that count as delivered from this file on by decision of an administrator, with those of
    /// their servers before them.
    pub skipped: &'a [MariaDbGtid],
    /// MariaDB: the servers of which a new history began with an earlier file of the log.
    pub earlier_histories: &'a BTreeSet<u32>,
}

/// The end of a commit index, where records are added.
#[derive(Debug)]
pub(super) struct IndexTail {
    pub(super) tail: Tail,
    /// Records of the head, the header included.
    pub(super) head_records: u64,
    names: Names,
}

impl IndexTail {
    /// The index of a new file with its head, not yet written.
    ///
    /// `header` lacks only the number of records in the head.
    pub(super) fn begin(
        mut tail: Tail,
        mut header: IndexHeader,
        mut names: Names,
        carried: &CarriedOver<'_>,
        sources: &[SourceProgress],
    ) -> Self {
        let log_end = header.log_head_len;
        let mut head = Vec::new();
        if *carried.executed == Executed::Anonymous {
            names.define_sources(&mut head);
            for state in &carried.paths {
                stage_path(state, &mut head);
            }
        }
        for (sid, first, last) in carried.counted.iter_intervals() {
            let origin = names.origin(sid, &mut head);
            let counted = Record::CountedGtids {
                origin,
                first,
                last,
            };
            stage(&counted, &mut head);
        }
        if let Some(server_id) = carried.new_history {
            stage(&Record::NewHistory { server_id }, &mut head);
        }
        for gtid in carried.skipped {
            stage(&Record::SkippedGtid(*gtid), &mut head);
        }
        for server_id in carried.earlier_histories {
            let server_id = *server_id;
            stage(&Record::EarlierHistory { server_id }, &mut head);
        }
        for change in carried.halves.changes() {
            stage_half(&change, &mut head);
        }
        for (table, state) in carried.temporary_tables.iter() {
            temporary_table::stage(table, Some(state), &mut head);
        }
        for (source, progress) in (0u16..).zip(sources) {
            checkpoint(source, progress, log_end, &mut names, &mut head);
        }
        header.head_records = (head.len() / RECORD_LEN) as u32 + 1;
        tail.staged.extend_from_slice(&header.encode());
        tail.staged.append(&mut head);
        Self {
            tail,
            head_records: header.head_records.into(),
            names,
        }
    }

    /// Records in the file and staged, the header included: the number of the next one.
    pub(super) fn records(&self) -> u64 {
        self.tail.end() / RECORD_LEN as u64
    }

    /// Records in the file.
    pub(super) fn written_records(&self) -> u64 {
        self.tail.written / RECORD_LEN as u64
    }

    /// Adds a source with the next number. The next index must begin before its first step.
    pub(super) fn add_source(&mut self, name: Arc<str>) {
        self.names.add_source(name);
    }

    /// The names, to begin the next index with.
    pub(super) fn next_names(&self) -> Names {
        self.names.restarted()
    }

    /// Stages a change of the open two-part operations.
    pub(super) fn stage_half(&mut self, change: &HalfChange) {
        stage_half(change, &mut self.tail.staged);
    }

    /// Stages changes of the open temporary tables.
    pub(super) fn stage_temporary_tables(&mut self, changes: &[TableChange]) {
        for (table, state) in changes {
            temporary_table::stage(table, state.as_ref(), &mut self.tail.staged);
        }
    }

    /// Stages a record about the position of `source`, built by `make`. Returns its number.
    ///
    /// # Errors
    /// When more counts as on disk than there is: nothing is staged then.
    pub(super) fn stage_step(
        &mut self,
        source: u16,
        progress: &SourceProgress,
        (log_end, on_disk): (u64, OnDisk),
        make: impl FnOnce(Step, &mut Names, &mut Vec<u8>) -> Record,
    ) -> Result<u64, LogError> {
        let OnDisk { log, records } = on_disk;
        if log > log_end || records > self.written_records() {
            return Err(LogError::Internal {
                path: self.tail.path.clone(),
                what: format!(
                    "{log} bytes and {records} records count as on disk, but only {log_end} bytes and \
                     {} records were written",
                    self.written_records()
                ),
            });
        }
        let out = &mut self.tail.staged;
        let step = Step {
            source,
            log_end: log_end as u32,
            source_file: self.names.source_file(source, &progress.position.file, out),
            source_offset: progress.position.offset,
            source_server_id: progress.server_id,
            durable_to: log as u32,
            durable_records: records as u32,
        };
        let record = make(step, &mut self.names, out);
        let number = (self.tail.written + out.len() as u64) / RECORD_LEN as u64;
        out.extend_from_slice(&record.encode());
        Ok(number)
    }
}

/// The record of a transaction that was decided on. If the index does not define its origin yet,
/// the definition is appended to `out`.
pub(super) fn record_of(
    decision: &Decision,
    transaction: &Transaction,
    step: Step,
    names: &mut Names,
    out: &mut Vec<u8>,
) -> Record {
    let recorded = recorded(transaction, names, out);
    match decision {
        Decision::New(placement) => Record::Transaction {
            step,
            transaction: recorded,
            emptied: transaction.emptied || placement.empties,
            altered: transaction.altered || placement.empties,
            may_be_repetition: placement.may_be_repetition,
            executed_again: placement.executed_again,
        },
        Decision::BeforeStart => Record::BeforeStart {
            step,
            transaction: recorded,
        },
        // One that is sent again from the same position is not written.
        Decision::Duplicate | Decision::Unverified | Decision::Repeated | Decision::Resent => {
            Record::Copy {
                step,
                transaction: recorded,
            }
        }
        Decision::BeforeOrigin | Decision::Own | Decision::Cleanup => Record::Ignored {
            step,
            transaction: recorded,
            is_cleanup: *decision == Decision::Cleanup,
        },
    }
}

/// The transaction as a record has it.
fn recorded(transaction: &Transaction, names: &mut Names, out: &mut Vec<u8>) -> Recorded {
    let evidence = transaction.evidence();
    let identity = match transaction.identity {
        Identity::MySql(gtid) => RecordedIdentity::MySql {
            origin: names.origin(gtid.sid, out),
            gno: gtid.gno,
            evidence,
        },
        Identity::MariaDb(gtid) => RecordedIdentity::MariaDb {
            domain_id: gtid.domain_id,
            seq_no: gtid.seq_no,
            evidence,
        },
        Identity::Anonymous(fingerprint) => RecordedIdentity::Anonymous(fingerprint),
    };
    Recorded {
        identity,
        server_id: transaction.server_id,
    }
}

fn stage(record: &Record, out: &mut Vec<u8>) {
    out.extend_from_slice(&record.encode());
}

fn stage_half(change: &HalfChange, out: &mut Vec<u8>) {
    match change {
        HalfChange::EmptiedXa(xid) => {
            TextPart::parts(xid).for_each(|text| stage(&Record::EmptiedXa(text), out));
        }
        HalfChange::EndedXa(xid) => {
            TextPart::parts(xid).for_each(|text| stage(&Record::EndedXa(text), out));
        }
        HalfChange::StartedAlter { start, kept: true } => stage(&Record::KeptAlter(*start), out),
        HalfChange::StartedAlter { start, kept: false } => {
            stage(&Record::EmptiedAlter(*start), out);
        }
        HalfChange::EndedAlter(start) => stage(&Record::EndedAlter(*start), out),
    }
}

fn stage_path(state: &PathState, out: &mut Vec<u8>) {
    let key = PathKey {
        path: state.path,
        origin: state.origin,
    };
    let queue = Record::PathQueue {
        key,
        cursor: state.cursor,
        before: state.before,
        is_aligned: state.is_aligned,
        formats_differ: state.formats_differ,
        begins_again: state.begins_again,
        own_until: state.own_until,
        lost_until: state.lost_until,
    };
    stage(&queue, out);
    for delivered in &state.skipped {
        let delivered = *delivered;
        stage(&Record::PathSkipped { key, delivered }, out);
    }
    for fingerprint in &state.repetitions.newest {
        let fingerprint = *fingerprint;
        stage(&Record::PathNewest { key, fingerprint }, out);
    }
    for fingerprint in &state.repetitions.again {
        let fingerprint = *fingerprint;
        stage(&Record::PathAgain { key, fingerprint }, out);
    }
}

/// Carries a source's progress over into a new file's index.
fn checkpoint(
    source: u16,
    progress: &SourceProgress,
    log_end: u32,
    names: &mut Names,
    out: &mut Vec<u8>,
) {
    // A source with a start that has sent nothing yet has no file, but has progress.
    if *progress == SourceProgress::default() {
        return;
    }
    // Its file precedes that of the position, or is the same.
    let last = progress.last.as_ref().and_then(|last| {
        Some(LastRecorded {
            source_file: names.source_file(source, &last.file, out),
            begin: last.begin,
            len: u32::try_from(last.end.checked_sub(last.begin)?).ok()?,
            digest: last.digest.value(),
        })
    });
    let step = Step {
        source,
        log_end,
        source_file: names.source_file(source, &progress.position.file, out),
        source_offset: progress.position.offset,
        source_server_id: progress.server_id,
        durable_to: log_end,
        durable_records: 0,
    };
    let newest = progress.gtid_position.iter().map(|gtid| (gtid, false));
    for (gtid, is_highest) in newest.chain(progress.sent.iter().map(|gtid| (gtid, true))) {
        let gtid: MariaDbGtid = gtid;
        let record = Record::SourceGtid {
            step,
            gtid,
            is_highest,
        };
        stage(&record, out);
    }
    let moved = Record::SourceMoved {
        step,
        history: progress.history(),
        last,
    };
    stage(&moved, out);
}
