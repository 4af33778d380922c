//! Finding again, after a stop, which copies of transactions without GTID are still to come.
//!
//! The newest index begins with the state of every path's queue, and its steps tell what has
//! changed since. Older indexes are read only where a queue begins in them.

use std::sync::Arc;

use super::LogError;
use super::files::LogDir;
use super::index_file::{IndexFile, PlacedStep};
use super::index_record::{QueueEntry, QueueRecord, RECORD_LEN, Step, StepKind};
use super::ledger::{GONE, IndexLedger};
use crate::merge::pairing::{
    Arrival, Delivered, LedgerPlace, Paired, Pairing, PathState, Repetitions, Unaligned,
};

/// The state of the pairing after the steps of the index of `last.file` up to its byte
/// `index_end`. `first` is where the oldest index begins, `last` where the newest does.
pub(super) fn replay_pairing(
    log_dir: &LogDir,
    source_names: &[Arc<str>],
    first: LedgerPlace,
    last: LedgerPlace,
    index_end: u64,
) -> Result<Pairing, LogError> {
    let path = log_dir.index_path(last.file);
    let mut index = IndexFile::open(&path)?;
    let mut next = index.next_step().ok().flatten();
    // A source that is new in the configuration has seen nothing of what the log holds.
    let mut pairing = Pairing::new(source_names.iter().map(
        |name| match index.source_number(name) {
            Some(_) => last,
            None => first,
        },
    ));
    for state in states(&index.take_queues()) {
        if let Some(state) = renumbered(state, &index, source_names) {
            pairing.restore(state);
        }
    }
    while let Some(placed) = next.filter(|placed| placed.index_end <= index_end) {
        let ledger = IndexLedger {
            log_dir,
            source_names,
            end: LedgerPlace {
                file: last.file,
                record: placed.index_end / RECORD_LEN as u64 - 1,
            },
            staged: &[],
        };
        let source = current_number(index.source_name(&placed.step).as_ref(), source_names);
        take_step(&mut pairing, source, &placed, &ledger).map_err(|found| {
            LogError::Unexpected {
                path: path.clone(),
                offset: placed.index_end - RECORD_LEN as u64,
                found,
                expected: "the record of a copy of a delivered transaction",
            }
        })?;
        next = index.next_step().ok().flatten();
    }
    Ok(pairing)
}

fn take_step(
    pairing: &mut Pairing,
    source: u16,
    placed: &PlacedStep,
    ledger: &IndexLedger<'_>,
) -> Result<(), String> {
    let step: &Step = &placed.step;
    let arrival = Arrival {
        path: source,
        path_server_id: step.source_server_id,
        origin: step.server_id,
        fingerprint: step.fingerprint(),
    };
    let say = |cause: Unaligned| cause.to_string();
    let is_delivered = matches!(step.kind, StepKind::Transaction | StepKind::BeforeStart);
    if is_delivered && source != GONE {
        pairing.read_on(&arrival, ledger).map_err(say)?;
    }
    match step.kind {
        StepKind::Transaction => pairing.deliver(&arrival, ledger.end, step.may_be_repetition),
        StepKind::BeforeStart => pairing.count_before(&arrival, ledger.end),
        StepKind::Moved if step.may_be_repetition => pairing.note_source_start(source),
        StepKind::Duplicate if !step.is_no_copy && source != GONE => {
            match pairing.pair(&arrival, ledger) {
                Ok(Paired::Copy | Paired::Repeated) => {}
                Ok(other) => return Err(format!("one of a transaction that is {other:?}")),
                Err(cause) => return Err(say(cause)),
            }
        }
        StepKind::Duplicate | StepKind::Moved | StepKind::SourceGtid => {}
    }
    Ok(())
}

/// The number that a source has now.
fn current_number(name: &str, source_names: &[Arc<str>]) -> u16 {
    let found = source_names.iter().position(|known| **known == *name);
    found.map_or(GONE, |number| number as u16)
}

/// Puts the records of each queue together.
fn states(records: &[QueueRecord]) -> Vec<PathState> {
    let mut states: Vec<PathState> = Vec::new();
    for record in records {
        match record.entry {
            QueueEntry::Begin { cursor, is_aligned } => states.push(PathState {
                path: record.path,
                origin: record.origin,
                cursor,
                is_aligned,
                skipped: Vec::new(),
                repetitions: Repetitions::default(),
            }),
            QueueEntry::Newest(fingerprint) => {
                if let Some(state) = states.last_mut() {
                    state.repetitions.newest.push_back(fingerprint);
                }
            }
            QueueEntry::Again(fingerprint) => {
                if let Some(state) = states.last_mut() {
                    state.repetitions.again.push_back(fingerprint);
                }
            }
            QueueEntry::Skipped(delivered) => {
                if let Some(state) = states.last_mut() {
                    state.skipped.push(delivered);
                }
            }
        }
    }
    states
}

/// The state with the numbers that the sources have now; `None` when its path is gone.
fn renumbered(state: PathState, index: &IndexFile, source_names: &[Arc<str>]) -> Option<PathState> {
    let current = |old: u16| match index.source_by_number(old) {
        Some(name) => current_number(&name, source_names),
        None => GONE,
    };
    let path = current(state.path);
    let skipped = state.skipped.iter().map(|delivered| Delivered {
        path: current(delivered.path),
        ..*delivered
    });
    let skipped = skipped.collect();
    (path != GONE).then_some(PathState {
        path,
        skipped,
        ..state
    })
}
