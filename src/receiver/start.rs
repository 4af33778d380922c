//! Where a dump starts, and how it is asked for.
//!
//! | | first start | later |
//! |---|---|---|
//! | MySQL, GTIDs | `start`: the source's purged set, its executed set, or the one given | all that the relay log holds |
//! | MySQL, file | `start`: the first file, the end, or the place given | the place behind the newest durable transaction |
//! | MariaDB, GTIDs | `start`: the one given, or that of the first file or of the end | the newest GTID of each domain by this source |
//! | MariaDB, file | as MySQL | as MySQL |
//!
//! A first start also tells what lies *before* it: that counts as delivered, so that a copy that
//! comes by another path is not new.

use std::fmt;
use std::time::Duration;

use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::scan::{Until, scan};
use super::{Identities, ReceiverOptions, in_time};
use crate::binlog::FormatDescription;
use crate::config::SourceStart;
use crate::connection::{Connection, ConnectionError};
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidPosition, GtidSet};
use crate::identity::{Executed, IdentityKind};
use crate::position::SourcePosition;
use crate::protocol::command::{self, BINLOG_DUMP_NON_BLOCK, BinlogDump, BinlogDumpGtid};
use crate::relay_log::SourceProgress;

/// MariaDB: the dump sends annotate-rows events too. (The same bit means another thing to MySQL.)
const SEND_ANNOTATE_ROWS: u16 = 0x02;

/// A source that sends nothing for this long at the first contact is given up, whatever its
/// `read_timeout` is.
const FIRST_CONTACT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a dump is to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StartPoint {
    /// MySQL: all but these.
    Set(GtidSet),
    /// MariaDB: behind these.
    Position(GtidPosition),
    /// MySQL and MariaDB: after this position.
    File(SourcePosition),
}

impl fmt::Display for StartPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartPoint::Set(set) => write!(f, "behind GTID set \"{set}\""),
            StartPoint::Position(position) => write!(f, "behind GTID position \"{position}\""),
            StartPoint::File(position) => write!(f, "{position}"),
        }
    }
}

/// What the first contact with a source tells.
#[derive(Debug, Clone)]
pub struct FirstContact {
    /// Who answered.
    pub facts: SourceFacts,
    /// What the source's events look like.
    pub format: FormatDescription,
    /// All transactions before the start.
    pub before: Executed,
    /// The start; without GTIDs the place from which on the source is read.
    pub progress: SourceProgress,
    /// Without GTIDs: the start, if it lies behind that place. What lies between the two counts as
    /// delivered, and is read to recognise copies of it.
    pub read_back_to: Option<SourcePosition>,
}

/// Connects to a source that the relay log knows nothing of yet, and finds where to start.
///
/// # Errors
/// When it cannot be reached, or cannot be followed as it is set up, or its start cannot be found.
pub async fn first_contact(
    options: &ReceiverOptions,
    identities: &Identities,
) -> Result<FirstContact, ReceiverError> {
    let mut options = options.clone();
    let config = &mut options.config;
    // The other sources may be waiting for this one.
    config.read_timeout = config.read_timeout.min(FIRST_CONTACT_TIMEOUT);
    let (mut connection, facts) = super::connect(&options).await?;
    identities.note(options.number, &facts, options.server_id)?;
    let contact = explore(&mut connection, &options, facts).await?;
    if contact.facts.identity_kind() == IdentityKind::Anonymous {
        return read_back(&options, contact).await;
    }
    Ok(contact)
}

/// Without GTIDs: has the source read from its first file on. What lies before `contact`'s start is
/// not taken in, but copies of it that other sources send must be recognised.
async fn read_back(
    options: &ReceiverOptions,
    mut contact: FirstContact,
) -> Result<FirstContact, ReceiverError> {
    let mut earliest = options.clone();
    earliest.config.start = SourceStart::Earliest;
    // A dump that was broken off leaves its connection useless.
    let (mut connection, facts) = super::connect(&earliest).await?;
    let first = explore(&mut connection, &earliest, facts).await?;
    let start = std::mem::replace(&mut contact.progress, first.progress).position;
    if start != contact.progress.position {
        contact.read_back_to = Some(start);
        contact.progress.reading_back = true;
    }
    Ok(contact)
}

/// Whether a binlog file is the first that its server ever wrote (since a reset).
fn is_first_file(name: &str) -> bool {
    let number = name.rsplit('.').next().unwrap_or_default();
    number.parse() == Ok(1)
}

/// Whether the source is followed by GTID.
pub(super) fn uses_gtids(options: &ReceiverOptions, facts: &SourceFacts) -> bool {
    facts.follows_by_gtid(&options.config)
}

/// Says what will work, but not as it is meant: once of a GTID domain that several sources write to,
/// at each connection of rules that never match.
pub(super) fn warn(options: &ReceiverOptions, identities: &Identities, facts: &SourceFacts) {
    if let Some(warning) = identities.shared_domain(options.number, facts) {
        tracing::warn!(source = %options.config.name, "{warning}");
    }
    if let Some(warning) = facts.useless_rules(&options.config.filter) {
        tracing::warn!(source = %options.config.name, "{warning}");
    }
}

/// Finds the configured start.
pub(super) async fn explore(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: SourceFacts,
) -> Result<FirstContact, ReceiverError> {
    prepare(connection, options, &facts).await?;
    let (by_gtid, kind) = (uses_gtids(options, &facts), facts.identity_kind());
    let config = &options.config;
    let mut end = None;
    let asking = async {
        let (scan_file, stop) = match &config.start {
            SourceStart::FilePosition { file, position } => (file.clone(), Some(*position)),
            SourceStart::Latest if !by_gtid => {
                let (file, position) = source_end(connection, &facts).await?;
                end = Some(position);
                (file, end)
            }
            _ => (String::new(), None),
        };
        let before = known_before(connection, &config.start, &facts, by_gtid).await?;
        Ok((scan_file, stop, before))
    };
    let (scan_file, stop, before) = in_time(config.read_timeout, asking).await?;
    let dump = match &before {
        Some(Executed::MySql(set)) => dump_gtid(options, BINLOG_DUMP_NON_BLOCK, set),
        _ => dump_file(options, &facts, BINLOG_DUMP_NON_BLOCK, &scan_file, 4)?,
    };
    in_time(config.read_timeout, async {
        Ok(connection.write_command(&dump).await?)
    })
    .await?;
    let until = Until {
        place: stop,
        is_given: end.is_none(),
    };
    let scanned = scan(connection, config.read_timeout, kind, until).await?;
    let Some(format) = scanned.place.format else {
        return Err(ReceiverError::setup(
            "the source sent no format description event",
            "look at its error log",
        ));
    };
    let before = before.unwrap_or(scanned.before);
    let gtid_position = match &before {
        Executed::MariaDb(state) => state.position(),
        Executed::MySql(_) | Executed::Anonymous => GtidPosition::new(),
    };
    let (file, began) = (scanned.place.file, scanned.place.file_timestamp);
    let has_lost = kind == IdentityKind::Anonymous && !is_first_file(&file);
    let progress = SourceProgress {
        position: SourcePosition::new(file, stop.unwrap_or(4)),
        server_id: facts.server_id,
        gtid_position,
        first_timestamp: if has_lost { began } else { 0 },
        reading_back: false,
    };
    Ok(FirstContact {
        facts,
        format: format.as_ref().clone(),
        before,
        progress,
        read_back_to: None,
    })
}

/// What lies before the start, where that can be told without reading the source's binlog.
async fn known_before(
    connection: &mut Connection,
    start: &SourceStart,
    facts: &SourceFacts,
    by_gtid: bool,
) -> Result<Option<Executed>, ReceiverError> {
    Ok(match (start, facts.flavor) {
        (SourceStart::Gtid(_), _) if facts.identity_kind() == IdentityKind::Anonymous => {
            return Err(ReceiverError::setup(
                "start is a GTID set, and the source has no GTIDs (gtid_mode is not ON)",
                "give a file and position, \"earliest\" or \"latest\"",
            ));
        }
        (SourceStart::Gtid(text), flavor) => Some(parse_start(text, flavor)?),
        (start, Flavor::MySql) if by_gtid => {
            let latest = *start == SourceStart::Latest;
            Some(Executed::MySql(ask_set(connection, latest).await?))
        }
        (SourceStart::Latest, Flavor::MariaDb) if by_gtid => {
            Some(Executed::MariaDb(ask_state(connection).await?))
        }
        _ => None,
    })
}

fn parse_start(text: &str, flavor: Flavor) -> Result<Executed, ReceiverError> {
    let what = "the configured start";
    match flavor {
        Flavor::MySql => text.parse().map(Executed::MySql),
        Flavor::MariaDb => text.parse::<GtidPosition>().map(|position| {
            let mut state = BinlogState::new();
            for gtid in position.iter() {
                state.record(gtid);
            }
            Executed::MariaDb(state)
        }),
    }
    .map_err(|cause| ReceiverError::Gtid { what, cause })
}

async fn ask_set(connection: &mut Connection, latest: bool) -> Result<GtidSet, ReceiverError> {
    let (sql, what) = match latest {
        true => (
            "SELECT @@GLOBAL.gtid_executed",
            "the source's gtid_executed",
        ),
        false => ("SELECT @@GLOBAL.gtid_purged", "the source's gtid_purged"),
    };
    let answer = connection.query(sql).await?;
    let text = answer.single().unwrap_or_default();
    text.parse()
        .map_err(|cause| ReceiverError::Gtid { what, cause })
}

async fn ask_state(connection: &mut Connection) -> Result<BinlogState, ReceiverError> {
    let answer = connection
        .query("SELECT @@GLOBAL.gtid_binlog_state")
        .await?;
    let text = answer.single().unwrap_or_default();
    let what = "the source's gtid_binlog_state";
    text.parse()
        .map_err(|cause| ReceiverError::Gtid { what, cause })
}

/// The source's newest file and its end.
async fn source_end(
    connection: &mut Connection,
    facts: &SourceFacts,
) -> Result<(String, u64), ReceiverError> {
    let newer = "SHOW BINARY LOG STATUS";
    let older = "SHOW MASTER STATUS";
    let is_old = facts.flavor == Flavor::MariaDb
        || crate::binlog::format_description::version_numbers(&facts.version) < (8, 2, 0);
    let answer = match connection.query(if is_old { older } else { newer }).await {
        Ok(answer) => answer,
        Err(error) if error.is_access_denied() || error.server_error().is_some() => {
            return Err(ReceiverError::setup(
                format!("start = \"latest\" needs to ask where the source's binlog ends: {error}"),
                "GRANT REPLICATION CLIENT (MariaDB 10.5+: BINLOG MONITOR) ON *.* to this \
                 source's user, or give a position as start",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let file = answer.value(0, "File").unwrap_or_default().into_owned();
    let position = answer
        .value(0, "Position")
        .and_then(|text| text.parse().ok());
    match position {
        Some(position) if !file.is_empty() => Ok((file, position)),
        _ => Err(ReceiverError::setup(
            "the source does not say where its binlog ends",
            "see that log_bin is on, or give a position as start",
        )),
    }
}

/// Says to the source what it must know before a dump.
pub(super) async fn prepare(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: &SourceFacts,
) -> Result<(), ReceiverError> {
    let heartbeat_ns = (options.config.read_timeout / 3).as_nanos();
    let uuid = options.server_uuid;
    let statements = match facts.flavor {
        Flavor::MySql => vec![
            format!(
                "SET @master_heartbeat_period = {heartbeat_ns}, \
                 @source_heartbeat_period = {heartbeat_ns}"
            ),
            "SET @master_binlog_checksum = @@global.binlog_checksum, \
             @source_binlog_checksum = @@global.binlog_checksum"
                .to_owned(),
            format!("SET @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'"),
        ],
        Flavor::MariaDb => vec![
            format!("SET @master_heartbeat_period = {heartbeat_ns}"),
            "SET @master_binlog_checksum = @@global.binlog_checksum".to_owned(),
            "SET @mariadb_slave_capability = 4".to_owned(),
        ],
    };
    in_time(options.config.read_timeout, async {
        for statement in statements {
            connection.execute(&statement).await?;
        }
        let register = command::register_slave(options.server_id, "", 0);
        match connection.exchange(&register).await {
            Ok(_) => Ok(()),
            // The login is past: what is denied is not the password.
            Err(error) if error.is_access_denied() => {
                Err(lacks_privilege(&options.config.user, &error))
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
}

fn lacks_privilege(user: &str, error: &ConnectionError) -> ReceiverError {
    ReceiverError::setup(
        format!("the source's user {user:?} may not read the binlog ({error})"),
        format!("GRANT REPLICATION SLAVE ON *.* to {user:?} on the source"),
    )
}

/// The command that asks for the dump from `start` on; MariaDB needs more to be said before.
pub(super) async fn request(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: &SourceFacts,
    start: &StartPoint,
) -> Result<Vec<u8>, ReceiverError> {
    match start {
        StartPoint::Set(set) => Ok(dump_gtid(options, 0, set)),
        StartPoint::File(from) => dump_file(options, facts, 0, &from.file, from.offset),
        StartPoint::Position(position) => {
            connection
                .execute(&format!("SET @slave_connect_state = '{position}'"))
                .await?;
            connection
                .execute("SET @slave_gtid_strict_mode = 0")
                .await?;
            connection
                .execute("SET @slave_gtid_ignore_duplicates = 0")
                .await?;
            dump_file(options, facts, 0, "", 4)
        }
    }
}

fn dump_gtid(options: &ReceiverOptions, flags: u16, set: &GtidSet) -> Vec<u8> {
    let mut encoded = Vec::new();
    set.encode(&mut encoded);
    command::binlog_dump_gtid(&BinlogDumpGtid {
        flags: flags | command::BINLOG_THROUGH_GTID,
        server_id: options.server_id,
        file: b"",
        position: 4,
        set: &encoded,
    })
}

fn dump_file(
    options: &ReceiverOptions,
    facts: &SourceFacts,
    flags: u16,
    file: &str,
    position: u64,
) -> Result<Vec<u8>, ReceiverError> {
    let Ok(position) = u32::try_from(position) else {
        return Err(ReceiverError::setup(
            format!(
                "position {file}:{position} is behind 4 GiB, which the protocol cannot ask for"
            ),
            "FLUSH BINARY LOGS on the source and start at the next file, or use GTIDs",
        ));
    };
    let annotate = if facts.flavor == Flavor::MariaDb {
        SEND_ANNOTATE_ROWS
    } else {
        0
    };
    Ok(command::binlog_dump(&BinlogDump {
        position,
        flags: flags | annotate,
        server_id: options.server_id,
        file: file.as_bytes(),
    }))
}
