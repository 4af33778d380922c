//! The first and last events of a log file.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::finish::finish;
use super::index_tail::{CarriedOver, IndexTail};
use super::options::LogOptions;
use super::tail::Tail;
use crate::binlog::event::{self, EventHeader, MAGIC};
use crate::binlog::{EventType, FormatDescription, rotate};
use crate::data_file::DataFile;
use crate::gtid::{GtidSet, Uuid};
use crate::identity::Executed;
use crate::position::RelayLogPosition;
use crate::relay_log::error::LogError;
use crate::relay_log::files::sync_dir;
use crate::relay_log::index_record::IndexHeader;
use crate::relay_log::names::Names;
use crate::relay_log::published::SourceProgress;

pub(super) fn now() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32)
}

/// The content of a new log file's head, and of its index's.
pub(super) struct NewFile<'a> {
    pub(super) log_id: Uuid,
    pub(super) number: u64,
    pub(super) format: &'a FormatDescription,
    pub(super) carried: &'a CarriedOver<'a>,
    pub(super) sources: &'a [SourceProgress],
}

/// Creates a log file and its index, each with its head, durably.
pub(super) fn begin_file(
    options: &LogOptions,
    file: &NewFile<'_>,
    names: Names,
) -> Result<(Tail, IndexTail), LogError> {
    let number = file.number;
    let mut log = Tail::create(options.log_dir.log_path(number))?;
    log.staged.extend_from_slice(&MAGIC);
    let format = FormatDescription {
        // Any value other than 0 makes replicas drop their temporary tables.
        created: match file.carried.ends_temporary_tables {
            true => now(),
            false => 0,
        },
        ..file.format.clone()
    };
    stage_control(&mut log, format.encode(now(), options.server_id, 0, 0))?;
    let executed = file.carried.executed;
    stage_control(&mut log, previous_transactions(options.server_id, executed))?;
    let header = IndexHeader {
        kind: executed.kind(),
        log_id: file.log_id,
        file_number: number,
        log_head_len: log.end() as u32,
        log_head_crc: crc32fast::hash(&log.staged),
        head_records: 0,
    };
    let index = Tail::create(options.log_dir.index_path(number))?;
    let mut index = IndexTail::begin(index, header, names, file.carried, file.sources);
    for tail in [&mut log, &mut index.tail] {
        tail.write_all()?;
        tail.sync()?;
    }
    sync_dir(&options.log_dir.dir)?;
    Ok((log, index))
}

/// Stages a control event of the relay's own at the end of the log.
pub(super) fn stage_control(tail: &mut Tail, mut event: Vec<u8>) -> Result<(), LogError> {
    let offset = tail.end();
    let end = offset + event.len() as u64;
    finish(&mut event, end).map_err(|cause| LogError::Event {
        path: tail.path.clone(),
        offset,
        cause,
    })?;
    tail.staged.extend_from_slice(&event);
    Ok(())
}

/// PREVIOUS_GTIDS or GTID_LIST.
pub(super) fn previous_transactions(server_id: u32, executed: &Executed) -> Vec<u8> {
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
/// list, recovery truncates the ROTATE again.
pub(super) fn close_file(options: &LogOptions, end: RelayLogPosition) -> Result<(), LogError> {
    let path = options.log_dir.log_path(end.file);
    let next = options.log_dir.file_name(end.file + 1);
    let mut closing = rotate::closing(now(), options.server_id, 0, &next);
    let file_end = end.offset + closing.len() as u64;
    finish(&mut closing, file_end).map_err(|cause| LogError::Event {
        path: path.clone(),
        offset: end.offset,
        cause,
    })?;
    let write = || -> io::Result<()> {
        let file = DataFile::open(&path)?;
        file.write_all_at(&closing, end.offset)?;
        file.sync_data()
    };
    write().map_err(|cause| LogError::io("write", &path, cause))
}
