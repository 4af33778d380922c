//! What stands at the head and at the end of a log file.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::LogOptions;
use super::tail::Tail;
use crate::binlog::event::{self, EventHeader, MAGIC};
use crate::binlog::format_description::Checksum;
use crate::binlog::{EventType, FormatDescription, rotate};
use crate::gtid::GtidSet;
use crate::identity::{Executed, IdentityKind};
use crate::merge::Merge;
use crate::merge::pairing::{LedgerPlace, Pairing};
use crate::relay_log::files::sync_dir;
use crate::relay_log::index_record::{self, QueueEntry, QueueRecord, Step, StepKind};
use crate::relay_log::names::Names;
use crate::relay_log::{LogError, RelayLogPosition, SourceProgress, half_record};

/// The format description of the relay's own files, after one of a source's.
pub(super) fn own_format(source: &FormatDescription) -> FormatDescription {
    FormatDescription {
        // Anything else than 0 makes replicas drop their temporary tables.
        created: 0,
        checksum: Checksum::Crc32,
        ..source.clone()
    }
}

/// `ours` with what `theirs`, which must be compatible, knows more; `None` when that is nothing.
pub(super) fn widened(
    ours: &FormatDescription,
    theirs: &FormatDescription,
) -> Option<FormatDescription> {
    let post_header_lengths = ours.joined_post_header_lengths(theirs);
    if post_header_lengths == ours.post_header_lengths {
        return None;
    }
    let newer = match theirs.post_header_lengths.len() > ours.post_header_lengths.len() {
        true => theirs,
        false => ours,
    };
    Some(FormatDescription {
        post_header_lengths,
        ..own_format(newer)
    })
}

pub(super) fn now() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32)
}

/// Creates a log file and its index, with all that stands before the first transaction, durably.
pub(super) fn begin_file(
    options: &LogOptions,
    number: u64,
    format: &FormatDescription,
    before: &Merge,
    progress: &[SourceProgress],
    names: &mut Names,
) -> Result<(Tail, Tail), LogError> {
    let halves = before.halves();
    let (before, pairing) = (before.executed(), before.pairing());
    names.restart();
    let mut tail = Tail::create(options.log_dir.log_path(number))?;
    let mut index = Tail::create(options.log_dir.index_path(number))?;
    tail.staged.extend_from_slice(&MAGIC);
    stage_control(&mut tail, format.encode(now(), options.server_id, 0, 0))?;
    stage_control(&mut tail, previous_transactions(options.server_id, before))?;
    let end = tail.end() as u32;
    index
        .staged
        .extend_from_slice(&index_record::encode_header(before.kind()));
    if before.kind() == IdentityKind::Anonymous {
        names.define_sources(&mut index.staged);
        stage_queues(pairing, number, &mut index.staged);
    }
    for change in halves.changes() {
        half_record::encode(&change, &mut index.staged);
    }
    for (source, progress) in (0u16..).zip(progress) {
        checkpoint(source, progress, end, names, &mut index.staged);
    }
    for tail in [&mut tail, &mut index] {
        tail.file
            .write_all_at(&tail.staged, 0)
            .map_err(|cause| LogError::io("write", &tail.path, cause))?;
        tail.written = tail.staged.len() as u64;
        tail.staged.clear();
        tail.sync()?;
    }
    sync_dir(&options.log_dir.dir)?;
    Ok((tail, index))
}

/// Carries the queues of all paths over into a new file's index.
fn stage_queues(pairing: &Pairing, number: u64, out: &mut Vec<u8>) {
    let end = LedgerPlace {
        file: number,
        record: 0,
    };
    for state in pairing.states(end) {
        let begin = QueueEntry::Begin {
            cursor: state.cursor,
            is_aligned: state.is_aligned,
        };
        let skipped = state.skipped.into_iter().map(QueueEntry::Skipped);
        let newest = state.repetitions.newest.into_iter().map(QueueEntry::Newest);
        let again = state.repetitions.again.into_iter().map(QueueEntry::Again);
        let entries = std::iter::once(begin).chain(skipped);
        for entry in entries.chain(newest).chain(again) {
            let record = QueueRecord {
                path: state.path,
                origin: state.origin,
                entry,
            };
            out.extend_from_slice(&record.encode());
        }
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
    // A source that has a start, but has sent nothing yet, has no file.
    if *progress == SourceProgress::default() {
        return;
    }
    let source_file = names.source_file(source, &progress.position.file, out);
    let step = Step {
        kind: StepKind::Moved,
        source,
        log_end,
        source_file,
        source_position: progress.position.offset,
        source_server_id: progress.server_id,
        timestamp: progress.first_timestamp,
        is_no_copy: progress.reading_back,
        durable_to: log_end,
        ..Step::default()
    };
    for gtid in progress.gtid_position.iter() {
        let step = Step {
            kind: StepKind::SourceGtid,
            origin: gtid.domain_id,
            server_id: gtid.server_id,
            number: gtid.seq_no,
            ..step
        };
        out.extend_from_slice(&step.encode());
    }
    out.extend_from_slice(&step.encode());
}

/// Stages an event of the relay's own at its place.
pub(super) fn stage_control(tail: &mut Tail, mut event: Vec<u8>) -> Result<(), LogError> {
    let end = tail.end() + event.len() as u64;
    event::set_log_pos(&mut event, end as u32)
        .and_then(|()| event::write_checksum(&mut event))
        .map_err(|cause| LogError::Event {
            path: tail.path.clone(),
            offset: tail.end(),
            cause,
        })?;
    tail.staged.extend_from_slice(&event);
    Ok(())
}

/// PREVIOUS_GTIDS or GTID_LIST.
fn previous_transactions(server_id: u32, executed: &Executed) -> Vec<u8> {
    let mut body = Vec::new();
    let (event_type, flags) = match executed {
        Executed::MySql(set) => {
            set.encode(&mut body);
            (EventType::PREVIOUS_GTIDS, event::FLAG_IGNORABLE)
        }
        Executed::Anonymous => {
            GtidSet::new().encode(&mut body);
            (EventType::PREVIOUS_GTIDS, event::FLAG_IGNORABLE)
        }
        Executed::MariaDb(state) => {
            state.encode_gtid_list(&mut body);
            (EventType::GTID_LIST, 0)
        }
    };
    let timestamp = now();
    event::build(
        EventHeader {
            timestamp,
            event_type,
            server_id,
            event_size: 0,
            log_pos: 0,
            flags,
        },
        &body,
    )
}

/// Ends a recovered file with a ROTATE. If the relay is killed before the next file is in the
/// list, recovery cuts it off again.
pub(super) fn close_file(options: &LogOptions, end: RelayLogPosition) -> Result<(), LogError> {
    let path = options.log_dir.log_path(end.file);
    let next = options.log_dir.file_name(end.file + 1);
    let mut closing = rotate::closing(now(), options.server_id, 0, &next);
    let file_end = end.offset + closing.len() as u64;
    event::set_log_pos(&mut closing, file_end as u32)
        .and_then(|()| event::write_checksum(&mut closing))
        .map_err(|cause| LogError::Event {
            path: path.clone(),
            offset: end.offset,
            cause,
        })?;
    let write = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.write_all_at(&closing, end.offset)?;
        file.sync_data()
    };
    write().map_err(|cause| LogError::io("write", &path, cause))
}
