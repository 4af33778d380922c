//! What a source is asked, on its dump connection, to find where a first dump starts.

use super::error::ReceiverError;
use super::facts::SourceFacts;
use crate::binlog::format_description::version_numbers;
use crate::config::SourceStart;
use crate::connection::Connection;
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidPosition, GtidSet};
use crate::identity::{Executed, IdentityKind};
use crate::position::SourcePosition;

/// The transactions before the start, where they are known without reading the source's binlog.
pub(super) async fn known_before(
    connection: &mut Connection,
    start: &SourceStart,
    facts: &SourceFacts,
    by_gtid: bool,
) -> Result<Option<Executed>, ReceiverError> {
    Ok(match (start, facts.flavor) {
        (SourceStart::Gtid(_), _) if facts.identity_kind() == IdentityKind::Anonymous => {
            return Err(ReceiverError::setup(
                "start is a GTID set, but the source has no GTIDs (gtid_mode is not ON)",
                "use a file and position, \"earliest\" or \"latest\"",
            ));
        }
        (SourceStart::Gtid(text), flavor) => Some(parse_start(text, flavor)?),
        (start, Flavor::MySql) if by_gtid => Some(Executed::MySql(match start {
            SourceStart::Latest => executed_set(connection).await?,
            _ => purged_set(connection).await?,
        })),
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

/// MySQL: all transactions of the source.
pub(super) async fn executed_set(connection: &mut Connection) -> Result<GtidSet, ReceiverError> {
    let sql = "SELECT @@GLOBAL.gtid_executed";
    ask_set(connection, sql, "the source's gtid_executed").await
}

/// MySQL: the transactions that no binlog of the source has.
pub(super) async fn purged_set(connection: &mut Connection) -> Result<GtidSet, ReceiverError> {
    let sql = "SELECT @@GLOBAL.gtid_purged";
    ask_set(connection, sql, "the source's gtid_purged").await
}

async fn ask_set(
    connection: &mut Connection,
    sql: &str,
    what: &'static str,
) -> Result<GtidSet, ReceiverError> {
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

/// The statement that shows the end of the binlog on a server of this flavor and version.
pub(super) fn source_end_statement(flavor: Flavor, version: &str) -> &'static str {
    match flavor {
        Flavor::MySql if version_numbers(version) >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
        Flavor::MySql | Flavor::MariaDb => "SHOW MASTER STATUS",
    }
}

/// The end of the source's newest file.
pub(super) async fn source_end(
    connection: &mut Connection,
    facts: &SourceFacts,
) -> Result<SourcePosition, ReceiverError> {
    let statement = source_end_statement(facts.flavor, &facts.version);
    let answer = match connection.query(statement).await {
        Ok(answer) => answer,
        Err(error) if error.server_error().is_some() => {
            return Err(ReceiverError::setup(
                format!("start = \"latest\" requires the end of the source's binlog: {error}"),
                "GRANT REPLICATION CLIENT (MariaDB 10.5+: BINLOG MONITOR) ON *.* to this \
                 source's user on the source, or configure a position as start",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let file = answer.value(0, "File").unwrap_or_default().into_owned();
    let offset = answer
        .value(0, "Position")
        .and_then(|text| text.parse().ok());
    match offset {
        Some(offset) if !file.is_empty() => Ok(SourcePosition::new(file, offset)),
        _ => Err(ReceiverError::setup(
            "the source does not report the end of its binlog",
            "check that log_bin is on, or configure a position as start",
        )),
    }
}
