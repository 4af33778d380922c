//! Restores the pairing of transactions without GTIDs after a stop.
//!
//! The newest index begins with the state of every path's queues, and its steps contain the changes
//! since. Older indexes are read only if a queue begins in them.

use std::path::Path;
use std::sync::Arc;

use super::error::LogError;
use super::files::LogDir;
use super::index_reader::{IndexReader, NumberedRecord};
use super::index_record::{PathKey, RECORD_LEN, Record, Recorded, RecordedIdentity, Step};
use super::ledger::{ConfiguredNumbers, IndexLedger, NOT_CONFIGURED};
use super::removed_until;
use crate::merge::pairing::{
    Arrival, Delivered, Paired, Pairing, PathState, Repetitions, Unaligned,
};
use crate::position::RecordNumber;

/// Called with each step, the reader that read it, and the record that it was paired with if it is a
/// copy.
pub(super) type Observe<'a> =
    dyn FnMut(&IndexReader<'_>, &NumberedRecord, Option<RecordNumber>) -> Result<(), LogError> + 'a;

/// The state of the pairing after the steps of the index of `last.file` up to its byte
/// `index_end`. `first` is where the oldest index begins, `last` where the newest does.
pub(super) fn replay_pairing(
    log_dir: &LogDir,
    source_names: &[Arc<str>],
    first: RecordNumber,
    last: RecordNumber,
    index_end: u64,
    observe: &mut Observe<'_>,
) -> Result<Pairing, LogError> {
    let path = log_dir.index_path(last.file);
    let mut index = IndexReader::open(&path)?;
    let head = index.read_head()?;
    // A source that is new in the configuration has sent none of the log's transactions.
    let mut pairing = Pairing::new(source_names.iter().map(
        |name| match index.source_number(name) {
            Some(_) => last,
            None => first,
        },
    ));
    let numbers = ConfiguredNumbers::of(&index, source_names);
    for state in states(&head, &path)? {
        if let Some(state) = renumbered(state, &numbers) {
            pairing.restore(state);
        }
    }
    let numbered = (0u16..).zip(source_names);
    let new = numbered.filter(|(_, name)| index.source_number(name).is_none());
    let new: Vec<u16> = new.map(|(number, _)| number).collect();
    if !new.is_empty() {
        let removed_until = removed_until::read(log_dir)?;
        new.iter()
            .for_each(|number| pairing.begin_queues(*number, &removed_until));
    }
    pairing.start_file(last, server_ids(&head, &numbers, source_names.len()));
    index.seek(1)?;
    while index.next_number() * (RECORD_LEN as u64) < index_end {
        let Some(read) = index.next_record()? else {
            break;
        };
        let NumberedRecord { record, number } = read;
        let Some(step) = record.step() else {
            continue;
        };
        let ledger = IndexLedger {
            log_dir,
            source_names,
            end: RecordNumber {
                file: last.file,
                record: number,
            },
            staged: &[],
        };
        let source = numbers.get(step.source);
        let paired = replay_step(&mut pairing, source, &record, &ledger).map_err(|found| {
            LogError::Unexpected {
                path: path.clone(),
                offset: number * RECORD_LEN as u64,
                found,
                expected: "the record of a copy of a delivered transaction",
            }
        })?;
        observe(&index, &read, paired)?;
    }
    Ok(pairing)
}

fn replay_step(
    pairing: &mut Pairing,
    source: u16,
    record: &Record,
    ledger: &IndexLedger<'_>,
) -> Result<Option<RecordNumber>, String> {
    let say = |cause: Unaligned| cause.to_string();
    match record {
        Record::Transaction {
            step,
            transaction,
            may_be_repetition,
            ..
        } => {
            let arrival = arrival(source, step, transaction)?;
            if source != NOT_CONFIGURED {
                pairing.advance(&arrival, ledger).map_err(say)?;
            }
            pairing.deliver(&arrival, ledger.end, *may_be_repetition);
        }
        Record::BeforeStart { step, transaction } => {
            let arrival = arrival(source, step, transaction)?;
            if source != NOT_CONFIGURED {
                pairing.advance(&arrival, ledger).map_err(say)?;
            }
            pairing.count_before(&arrival, ledger.end);
        }
        Record::Ignored { transaction, .. } if source != NOT_CONFIGURED => {
            pairing.pass_before(source, transaction.server_id);
        }
        Record::SourceMoved { step, history, .. } => {
            pairing.begin_origin(step.source_server_id, history.first_timestamp);
        }
        Record::SourceRestarted { step, history } => {
            pairing.begin_origin(step.source_server_id, history.first_timestamp);
            pairing.note_restart(source);
        }
        Record::Copy { step, transaction } if source != NOT_CONFIGURED => {
            let arrival = arrival(source, step, transaction)?;
            match pairing.pair(&arrival, ledger) {
                Ok(Paired::Copy) => return Ok(pairing.paired_with(source, arrival.origin)),
                Ok(Paired::Repeated) => {}
                Ok(other) => return Err(format!("a copy of a transaction that is {other:?}")),
                Err(cause) => return Err(say(cause)),
            }
        }
        _ => {}
    }
    Ok(None)
}

fn arrival(source: u16, step: &Step, transaction: &Recorded) -> Result<Arrival, String> {
    let RecordedIdentity::Anonymous(fingerprint) = transaction.identity else {
        return Err("a transaction with a GTID".to_owned());
    };
    Ok(Arrival {
        path: source,
        path_server_id: step.source_server_id,
        origin: transaction.server_id,
        fingerprint,
    })
}

/// The server_ids of the sources' own servers when the index began.
fn server_ids(head: &[Record], numbers: &ConfiguredNumbers, count: usize) -> Vec<u32> {
    let mut server_ids = vec![0; count];
    for record in head {
        if let Record::SourceMoved { step, .. } = record
            && let Some(known) = server_ids.get_mut(usize::from(numbers.get(step.source)))
        {
            *known = step.source_server_id;
        }
    }
    server_ids
}

/// Collects the records of each queue; the queue record is the first.
fn states(head: &[Record], path: &Path) -> Result<Vec<PathState>, LogError> {
    let mut states: Vec<PathState> = Vec::new();
    for record in head {
        match record {
            Record::PathQueue {
                key,
                cursor,
                before,
                is_aligned,
                formats_differ,
                begins_again,
                own_until,
                lost_until,
            } => states.push(PathState {
                path: key.path,
                origin: key.origin,
                cursor: *cursor,
                before: *before,
                is_aligned: *is_aligned,
                formats_differ: *formats_differ,
                begins_again: *begins_again,
                own_until: *own_until,
                lost_until: *lost_until,
                skipped: Vec::new(),
                repetitions: Repetitions::default(),
            }),
            Record::PathSkipped { key, delivered } => {
                begun(&mut states, key, path)?.skipped.push(*delivered);
            }
            Record::PathNewest { key, fingerprint } => {
                let repetitions = &mut begun(&mut states, key, path)?.repetitions;
                repetitions.newest.push_back(*fingerprint);
            }
            Record::PathAgain { key, fingerprint } => {
                let repetitions = &mut begun(&mut states, key, path)?.repetitions;
                repetitions.again.push_back(*fingerprint);
            }
            _ => {}
        }
    }
    Ok(states)
}

/// The queue of the last queue record, which must be that of `key`.
fn begun<'a>(
    states: &'a mut [PathState],
    key: &PathKey,
    path: &Path,
) -> Result<&'a mut PathState, LogError> {
    let newest = states.last_mut();
    newest
        .filter(|state| (state.path, state.origin) == (key.path, key.origin))
        .ok_or_else(|| LogError::Unexpected {
            path: path.to_owned(),
            offset: 0,
            found: format!(
                "the head describes path {} of server_id {} without its queue",
                key.path, key.origin
            ),
            expected: "the path queue record of that path before its other records",
        })
}

/// The state with the current numbers of the sources; `None` when its path is no longer configured.
fn renumbered(state: PathState, numbers: &ConfiguredNumbers) -> Option<PathState> {
    let path = numbers.get(state.path);
    let skipped = state.skipped.iter().map(|delivered| Delivered {
        path: numbers.get(delivered.path),
        ..*delivered
    });
    let skipped = skipped.collect();
    (path != NOT_CONFIGURED).then_some(PathState {
        path,
        skipped,
        ..state
    })
}
