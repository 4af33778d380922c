//! Finds the start of a stream from a dump command and the session's variables.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::refusals::Wording;
use super::until::Until;
use super::variables::SessionVariables;
use crate::flavor::Flavor;
use crate::gtid::{
    BinlogState, GtidError, GtidPosition, GtidSet, MariaDbGtid, ReceivedGtidSet, Uuid,
};
use crate::identity::{Executed, Identity};
use crate::protocol::ServerError;
use crate::protocol::command::{BINLOG_DUMP_NON_BLOCK, BinlogDump, BinlogDumpGtid};
use crate::protocol::error_code::ER_MASTER_FATAL_ERROR_READING_BINLOG;
use crate::relay_log::bridge::{self, ServedFile};
use crate::relay_log::coordinates::{self, PositionError, Skip};
use crate::relay_log::reader::{FIRST_EVENT, LogFile};
use crate::relay_log::{LogError, RelayLog, RelayLogPosition};

/// Dump flag: HEARTBEAT_V2 events may be sent (MySQL), ANNOTATE_ROWS events are wanted (MariaDB).
const FLAG_HEARTBEAT_V2_OR_ANNOTATE: u16 = 0x2;
/// The capability of a MariaDB replica that supports all of MariaDB's events.
const CAPABILITY_GTID: u64 = 4;

/// A client's request, from either dump command.
#[derive(Debug, Clone)]
pub struct DumpRequest {
    /// Its server_id.
    pub server_id: u32,
    /// Dump flags.
    pub flags: u16,
    /// The file; empty for the first one, or the one found by GTID.
    pub file: Vec<u8>,
    /// The offset in it.
    pub position: u64,
    /// COM_BINLOG_DUMP_GTID: the GTID set that the replica has.
    pub set: Option<Result<ReceivedGtidSet, GtidError>>,
}

impl DumpRequest {
    /// Whether the dump ends at the end of the log, instead of waiting for more.
    pub fn ends_at_the_end(&self) -> bool {
        self.flags & BINLOG_DUMP_NON_BLOCK != 0 || self.server_id == 0
    }
}

impl From<BinlogDump<'_>> for DumpRequest {
    fn from(dump: BinlogDump<'_>) -> Self {
        Self {
            server_id: dump.server_id,
            flags: dump.flags,
            file: dump.file.to_vec(),
            position: u64::from(dump.position),
            set: None,
        }
    }
}

impl From<BinlogDumpGtid<'_>> for DumpRequest {
    fn from(dump: BinlogDumpGtid<'_>) -> Self {
        Self {
            server_id: dump.server_id,
            flags: dump.flags,
            file: dump.file.to_vec(),
            position: dump.position,
            // The encoding, of up to 16 MiB, is not needed any longer.
            set: Some(match dump.set {
                [] => Ok(ReceivedGtidSet::default()),
                set => ReceivedGtidSet::decode(set),
            }),
        }
    }
}

/// How the client handles checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumAwareness {
    /// It reported nothing: it would read the checksums as a part of the events.
    Unaware,
    /// It supports them, but expects none before a format description.
    FromFormat,
    /// It expects them in every event.
    FromStart,
}

/// Which of the log's events the client can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSupport {
    /// All.
    All,
    /// Not those that only MariaDB has; they are replaced.
    NoMariaDbEvents,
    /// Neither checksums nor the event types that MySQL 5.5 does not know; see
    /// `without_checksums`.
    NoChecksums,
}

/// Which transactions are skipped because the replica has them.
#[derive(Debug, Clone)]
pub enum SkipRule {
    /// None.
    Nothing,
    /// MySQL: those in the set.
    Set(ReceivedGtidSet),
    /// MariaDB: those of each domain up to a GTID.
    UpTo {
        /// The domains whose GTID was not reached yet.
        domains: BTreeMap<u32, Skip>,
        /// The state of the log before the stream's start, with the GTIDs that were passed since.
        seen: BinlogState,
        /// `slave_gtid_strict_mode`.
        strict: bool,
    },
}

/// The start of a stream, and its options.
#[derive(Debug, Clone)]
pub struct DumpStart {
    /// The file: of the log, or a bridge.
    pub file: ServedFile,
    /// Offset of the first event that is sent after the format description.
    pub position: u64,
    /// Whether an event begins there; if not, the dump ends with an error after the format
    /// description, as on real servers.
    pub at_event_boundary: bool,
    /// Whether the dump is by GTID: the format description then keeps its own position.
    pub by_gtid: bool,
    /// Whether the replica may have temporary tables from transactions of the first file, which the
    /// format description must not make it drop.
    pub keeps_temporary_tables: bool,
    /// Which transactions are skipped.
    pub skip: SkipRule,
    /// MariaDB: where the stream ends, if not with the connection.
    pub until: Option<Until>,
    /// Whether the dump ends with EOF at the end of the log instead of waiting.
    pub non_blocking: bool,
    /// How often an idle stream sends a heartbeat.
    pub heartbeat: Option<Duration>,
    /// Whether heartbeats are HEARTBEAT_V2 events, in files whose format lists this type.
    pub heartbeat_v2: bool,
    /// Whether ANNOTATE_ROWS events are sent.
    pub annotate_rows: bool,
    /// Which events the client can read.
    pub support: EventSupport,
    /// How the client handles checksums.
    pub checksums: ChecksumAwareness,
    /// Whether the client acknowledges events, which then have a header for that.
    pub is_semi_sync: bool,
}

impl DumpStart {
    /// Where it is in the log; of a bridge, where it leads. `None` of one that leads nowhere.
    pub fn begins_at(&self) -> Option<RelayLogPosition> {
        match self.file {
            ServedFile::Log(file) => Some(RelayLogPosition {
                file,
                offset: self.position,
            }),
            ServedFile::Bridge(bridge) => bridge.next,
        }
    }
}

/// Finds the start of a stream. Reads files.
///
/// # Errors
/// The error that a real server would send.
pub fn find_start(
    log: &RelayLog,
    server_uuid: Uuid,
    mut request: DumpRequest,
    variables: &SessionVariables,
) -> Result<DumpStart, ServerError> {
    let wording = Wording::of_version(log.server_version());
    let flavor = Flavor::of_version(log.server_version());
    let flag = request.flags & FLAG_HEARTBEAT_V2_OR_ANNOTATE != 0;
    let capability = capability(variables);
    // Only MariaDB's replicas and tools have one; the flag's meaning is that of the client's flavor.
    let is_mariadb = capability > 0;
    let connect_state = connect_state(flavor, variables);
    let checksums = checksum_awareness(flavor, variables);
    let is_by_gtid = request.set.is_some() || connect_state.is_some();
    let support = match flavor {
        // What requests a dump by GTID knows checksums, and must say so as on real servers.
        _ if checksums == ChecksumAwareness::Unaware && !is_by_gtid => EventSupport::NoChecksums,
        Flavor::MariaDb if capability < CAPABILITY_GTID => EventSupport::NoMariaDbEvents,
        _ => EventSupport::All,
    };
    let mut start = DumpStart {
        file: ServedFile::Log(0),
        position: request.position,
        at_event_boundary: true,
        by_gtid: false,
        keeps_temporary_tables: request.position > FIRST_EVENT,
        skip: SkipRule::Nothing,
        until: None,
        non_blocking: request.ends_at_the_end(),
        heartbeat: heartbeat_period(variables),
        heartbeat_v2: flag
            && !is_mariadb
            && flavor == Flavor::MySql
            && support == EventSupport::All,
        annotate_rows: (flag && is_mariadb) || flavor == Flavor::MySql,
        support,
        checksums,
        is_semi_sync: is_semi_sync(variables),
    };
    match (request.set.take(), connect_state) {
        (Some(set), _) if flavor == Flavor::MySql => {
            let set = set.map_err(|_| wording.malformed_set())?;
            start_by_set(&mut start, log, server_uuid, &request.file, set, wording)?;
        }
        (None, Some(state)) => {
            start_by_position(&mut start, log, &state, variables, wording)?;
            return Ok(start);
        }
        _ => start.file = named_file(log, &request.file, wording)?,
    }
    check_start_position(&mut start, log, wording)?;
    Ok(start)
}

fn capability(variables: &SessionVariables) -> u64 {
    variables
        .user_text("mariadb_slave_capability")
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0)
}

/// MariaDB: the position of a replica that follows by GTID.
fn connect_state(flavor: Flavor, variables: &SessionVariables) -> Option<String> {
    let is_by_gtid = flavor == Flavor::MariaDb && capability(variables) >= CAPABILITY_GTID;
    let state = variables.user_text("slave_connect_state");
    state.filter(|_| is_by_gtid)
}

/// MariaDB: the GTIDs that the log must have for a dump by GTID. None for a replica that may be ahead of the log.
pub fn needed_position(flavor: Flavor, variables: &SessionVariables) -> Option<GtidPosition> {
    let state = connect_state(flavor, variables);
    let state = state.filter(|_| !is_set(variables, "slave_gtid_ignore_duplicates"));
    state.and_then(|state| GtidPosition::from_str(&state).ok())
}

fn is_set(variables: &SessionVariables, name: &str) -> bool {
    variables
        .user_text(name)
        .is_some_and(|value| !matches!(value.as_str(), "0" | "" | "OFF"))
}

fn named_file(log: &RelayLog, name: &[u8], wording: Wording) -> Result<ServedFile, ServerError> {
    if let Some(file) = coordinates::file_by_name(log, name) {
        return Ok(ServedFile::Log(file));
    }
    let found = bridge::named(log.log_dir(), name).map_err(|error| unreadable(&error))?;
    // The log may have lost its end under another `sync` policy than "commit".
    let found = found.filter(|bridge| {
        bridge.next.is_none_or(|next| {
            let end = coordinates::readable_end(log, next.file);
            end.is_ok_and(|end| end.is_some_and(|end| next.offset <= end))
        })
    });
    let found = found.map(ServedFile::Bridge);
    found.ok_or_else(|| wording.unknown_file())
}

fn start_by_set(
    start: &mut DumpStart,
    log: &RelayLog,
    server_uuid: Uuid,
    file: &[u8],
    set: ReceivedGtidSet,
    wording: Wording,
) -> Result<(), ServerError> {
    if log.state().executed == Executed::Anonymous {
        // mysqlbinlog sends an empty set; masters without GTIDs then serve it by file.
        start.file = match set.is_empty() {
            true => named_file(log, file, wording)?,
            false => return Err(wording.gtid_mode_is_off()),
        };
        return Ok(());
    }
    start.by_gtid = true;
    if !file.is_empty() {
        start.file = named_file(log, file, wording)?;
        return skip_set(start, log, set);
    }
    let has_own = {
        let state = log.state();
        let none = GtidSet::new();
        let executed = state.executed.as_mysql().unwrap_or(&none);
        set.is_subset_of(executed, |sid| sid.uuid == server_uuid)
    };
    if !has_own {
        return Err(wording.replica_is_ahead());
    }
    let missing = missing_of_purged(log, &set);
    if !missing.is_empty() {
        return Err(wording.purged(&set, &missing));
    }
    let found = coordinates::start_for_set(log, &set).map_err(|error| unreadable(&error))?;
    let found = found.ok_or_else(|| {
        let missing = missing_of_purged(log, &set);
        wording.purged(&set, &missing)
    })?;
    start.file = ServedFile::Log(found);
    skip_set(start, log, set)
}

/// MySQL: the replica has the transactions in `set`.
fn skip_set(
    start: &mut DumpStart,
    log: &RelayLog,
    set: ReceivedGtidSet,
) -> Result<(), ServerError> {
    if let ServedFile::Log(file) = start.file {
        let first = coordinates::first_identity(log, file).map_err(|error| unreadable(&error))?;
        start.keeps_temporary_tables |= match first {
            Some(Identity::MySql(gtid)) => set.contains(&gtid),
            _ => false,
        };
    }
    start.skip = SkipRule::Set(set);
    Ok(())
}

fn missing_of_purged(log: &RelayLog, set: &ReceivedGtidSet) -> GtidSet {
    let purged = log.state().purged.as_mysql().cloned().unwrap_or_default();
    set.missing_of(&purged)
}

fn start_by_position(
    start: &mut DumpStart,
    log: &RelayLog,
    connect_state: &str,
    variables: &SessionVariables,
    wording: Wording,
) -> Result<(), ServerError> {
    let position = parse_connect_state(connect_state, wording)?;
    let ignore_duplicates = is_set(variables, "slave_gtid_ignore_duplicates");
    let found =
        coordinates::start_for_position(log, &position, ignore_duplicates).map_err(|error| {
            match error {
                PositionError::NotFound(gtid) => wording.gtid_not_found(gtid),
                PositionError::Diverged(gtid) => wording.gtid_diverged(gtid),
                PositionError::Purged(position) => wording.gtid_purged(&position),
                PositionError::Log(error) => unreadable(&error),
            }
        })?;
    start.by_gtid = true;
    start.until = Until::of_session(variables, &found.before, wording)?;
    start.file = ServedFile::Log(found.file);
    start.position = FIRST_EVENT;
    start.keeps_temporary_tables = !found.skip.is_empty();
    start.skip = SkipRule::UpTo {
        domains: found.skip,
        seen: found.before,
        strict: is_set(variables, "slave_gtid_strict_mode"),
    };
    Ok(())
}

fn parse_connect_state(text: &str, wording: Wording) -> Result<GtidPosition, ServerError> {
    if let Ok(position) = GtidPosition::from_str(text) {
        return Ok(position);
    }
    // It is malformed, or names a domain twice: these are different errors.
    let mut seen: BTreeMap<u32, MariaDbGtid> = BTreeMap::new();
    for part in text.split(',') {
        let Ok(gtid) = MariaDbGtid::from_str(part.trim()) else {
            return Err(wording.bad_connect_state());
        };
        if let Some(first) = seen.insert(gtid.domain_id, gtid) {
            return Err(wording.duplicate_domain(first, gtid));
        }
    }
    Err(wording.bad_connect_state())
}

/// Checks the position, and whether an event begins there.
fn check_start_position(
    start: &mut DumpStart,
    log: &RelayLog,
    wording: Wording,
) -> Result<(), ServerError> {
    let name = start.file.name(log.log_dir());
    let position = start.position;
    if position < FIRST_EVENT {
        return Err(wording.position_too_low(&name, position));
    }
    let end = match start.file {
        ServedFile::Log(file) => coordinates::readable_end(log, file),
        ServedFile::Bridge(_) => LogFile::open(&start.file.path(log.log_dir()))
            .and_then(|file| file.file_len())
            .map(Some),
    };
    let end = end.map_err(|error| unreadable(&error))?;
    let end = end.ok_or_else(|| wording.unknown_file())?;
    if position > end {
        return Err(wording.position_too_high(&name, position));
    }
    let at_boundary = match start.file {
        ServedFile::Log(file) => coordinates::is_event_boundary(log, file, position),
        ServedFile::Bridge(found) => bridge::is_event_boundary(log.log_dir(), found, position),
    };
    start.at_event_boundary = at_boundary.map_err(|error| unreadable(&error))?;
    Ok(())
}

/// A file that cannot be read. Retrying would not help, so the error is fatal to the replica.
fn unreadable(error: &LogError) -> ServerError {
    tracing::error!(%error, "dump refused: the log cannot be read");
    ServerError::new(
        ER_MASTER_FATAL_ERROR_READING_BINLOG,
        format!("I/O error reading log event: {error}"),
    )
}

/// Whether the session has requested a semi-synchronous dump.
pub fn is_semi_sync(variables: &SessionVariables) -> bool {
    let value = variables.first_text(&["rpl_semi_sync_replica", "rpl_semi_sync_slave"]);
    value.is_some_and(|value| value.parse().is_ok_and(|value: i64| value != 0))
}

fn heartbeat_period(variables: &SessionVariables) -> Option<Duration> {
    let names = ["source_heartbeat_period", "master_heartbeat_period"];
    let text = variables.first_text(&names)?;
    let nanos: f64 = text.parse().ok()?;
    // Heartbeats more often than every millisecond would only cost time.
    (nanos >= 1.0 && nanos.is_finite())
        .then(|| Duration::from_nanos(nanos as u64).max(Duration::from_millis(1)))
}

fn checksum_awareness(flavor: Flavor, variables: &SessionVariables) -> ChecksumAwareness {
    let names = ["source_binlog_checksum", "master_binlog_checksum"];
    match variables.first_text(&names) {
        None => ChecksumAwareness::Unaware,
        Some(text) if text.eq_ignore_ascii_case("NONE") || text == "0" => {
            ChecksumAwareness::FromFormat
        }
        // MySQL treats an unknown algorithm (some clients send ALL) like NONE.
        Some(text) if flavor == Flavor::MySql && !text.eq_ignore_ascii_case("CRC32") => {
            ChecksumAwareness::FromFormat
        }
        Some(_) => ChecksumAwareness::FromStart,
    }
}
