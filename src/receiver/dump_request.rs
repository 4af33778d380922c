//! Requesting a dump: the session settings that a source needs first, and the command itself.

use std::fmt;

use super::connect::within;
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::old_servers::is_unknown_variable;
use super::options::ReceiverOptions;
use crate::connection::{Connection, ConnectionError, Phase};
use crate::flavor::Flavor;
use crate::gtid::{GtidPosition, GtidSet};
use crate::position::SourcePosition;
use crate::protocol::command::{self, BINLOG_DUMP_NON_BLOCK, BinlogDump, BinlogDumpGtid};

/// MariaDB: the dump includes annotate-rows events. (MySQL uses the same bit for something else.)
const SEND_ANNOTATE_ROWS: u16 = 0x02;
/// The offset of the first event in a binlog file.
pub(super) const FIRST_EVENT: u64 = 4;

/// Where a dump starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StartPoint {
    /// MySQL: all transactions but these.
    Set(GtidSet),
    /// MariaDB: after these.
    Position(GtidPosition),
    /// MySQL and MariaDB: at this position.
    File(SourcePosition),
}

impl fmt::Display for StartPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartPoint::Set(set) => write!(f, "after GTID set \"{set}\""),
            StartPoint::Position(position) => write!(f, "after GTID position \"{position}\""),
            StartPoint::File(position) => write!(f, "{position}"),
        }
    }
}

/// Requests the source's binlog from `from` up to its present end. The connection cannot be reused afterwards.
///
/// # Errors
/// When the source cannot be asked, or the position is too large for a request.
pub(super) async fn request_to_end(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: &SourceFacts,
    from: &SourcePosition,
) -> Result<(), ReceiverError> {
    prepare(connection, options, facts).await?;
    let dump = dump_file(options, facts, BINLOG_DUMP_NON_BLOCK, from)?;
    begin(connection, options, &dump).await
}

/// MySQL: requests all transactions of the source's binlog that are not in `set`, up to its present end. As
/// [`request_to_end`] otherwise.
///
/// # Errors
/// When the source cannot be asked.
pub(super) async fn request_all_but(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: &SourceFacts,
    set: &GtidSet,
) -> Result<(), ReceiverError> {
    prepare(connection, options, facts).await?;
    let dump = dump_gtid(options, BINLOG_DUMP_NON_BLOCK, set);
    begin(connection, options, &dump).await
}

/// MariaDB: requests the transactions of the source's binlog after `position`, up to its present end. As
/// [`request_to_end`] otherwise.
///
/// # Errors
/// When the source cannot be asked.
pub(super) async fn request_after(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: &SourceFacts,
    position: &GtidPosition,
) -> Result<(), ReceiverError> {
    prepare(connection, options, facts).await?;
    let start = StartPoint::Position(position.clone());
    let requesting = request(connection, options, facts, BINLOG_DUMP_NON_BLOCK, &start);
    let dump = within(options.config.read_timeout, requesting).await?;
    begin(connection, options, &dump).await
}

async fn begin(
    connection: &mut Connection,
    options: &ReceiverOptions,
    dump: &[u8],
) -> Result<(), ReceiverError> {
    within(options.config.read_timeout, async {
        Ok(connection.write_command(dump).await?)
    })
    .await?;
    connection.set_phase(Phase::Dump);
    Ok(())
}

/// Sends the session settings a source needs before a dump.
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
    within(options.config.read_timeout, async {
        for statement in statements {
            match connection.execute(&statement).await {
                // MySQL before 5.6 has no binlog_checksum: its events have no checksums.
                Err(error) if is_unknown_variable(&error) => {}
                sent => sent?,
            }
        }
        let register = {
            let (host, port) = &options.report;
            command::register_slave(options.server_id, host, *port)
        };
        match connection.exchange(&register).await {
            Ok(_) => Ok(()),
            // The login succeeded, so the password is not the cause.
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
        format!("the source's user \"{user}\" is not allowed to read the binlog ({error})"),
        format!("GRANT REPLICATION SLAVE ON *.* to \"{user}\" on the source"),
    )
}

/// The command that requests the dump from `start` on; MariaDB needs more settings before it.
pub(super) async fn request(
    connection: &mut Connection,
    options: &ReceiverOptions,
    facts: &SourceFacts,
    flags: u16,
    start: &StartPoint,
) -> Result<Vec<u8>, ReceiverError> {
    match start {
        StartPoint::Set(set) => Ok(dump_gtid(options, flags, set)),
        StartPoint::File(from) => dump_file(options, facts, flags, from),
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
            let from = SourcePosition::new("", FIRST_EVENT);
            dump_file(options, facts, flags, &from)
        }
    }
}

/// COM_BINLOG_DUMP_GTID: all transactions that are not in `set`.
pub(super) fn dump_gtid(options: &ReceiverOptions, flags: u16, set: &GtidSet) -> Vec<u8> {
    let mut encoded = Vec::new();
    set.encode(&mut encoded);
    command::binlog_dump_gtid(&BinlogDumpGtid {
        flags: flags | command::BINLOG_THROUGH_GTID,
        server_id: options.server_id,
        file: b"",
        position: FIRST_EVENT,
        set: &encoded,
    })
}

/// COM_BINLOG_DUMP from `from` on; without a file name, from the first file on.
pub(super) fn dump_file(
    options: &ReceiverOptions,
    facts: &SourceFacts,
    flags: u16,
    from: &SourcePosition,
) -> Result<Vec<u8>, ReceiverError> {
    let Ok(position) = u32::try_from(from.offset) else {
        return Err(ReceiverError::setup(
            format!("position {from} is past 4 GiB, which COM_BINLOG_DUMP cannot address"),
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
        file: from.file.as_bytes(),
    }))
}
