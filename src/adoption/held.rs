//! From the arguments to what the replica has, as far as the sources must be asked for that.

use std::sync::Arc;

use super::error::AttachError;
use super::messages::{Coordinates, OriginEnd, ReplicaPlace};
use super::{AdoptionOptions, server_id, source};
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, GtidPosition, GtidSet, MariaDbGtid};
use crate::identity::{Executed, IdentityKind};
use crate::position::SourcePosition;
use crate::receiver::{ReceiverError, transactions_before};
use crate::relay_log::RelayLog;
use crate::relay_log::held_paths::PathPosition;

/// What shows which transactions the replica has.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// By GTID: the replica names these itself.
    Gtids(Executed),
    /// Everything before the positions: these GTIDs, if the sources have said so; otherwise what the
    /// records of the paths show.
    Positions {
        positions: Vec<PathPosition>,
        gtids: Option<Executed>,
    },
    /// MariaDB: the highest GTIDs of each domain and server.
    LastGtids(BinlogState),
    /// Without GTIDs: the last transactions of each origin.
    LastTransactions(Vec<OriginEnd>),
}

/// An argument of a source.
enum At {
    Gtids(Executed),
    Position(SourcePosition),
}

/// Parses the arguments and asks the sources.
pub(super) async fn place(
    options: &AdoptionOptions,
    log: &RelayLog,
    place: &ReplicaPlace,
) -> Result<Place, AttachError> {
    let kind = log.state().executed.kind();
    match place {
        ReplicaPlace::Coordinates(all) => coordinates(options, log, kind, all).await,
        ReplicaPlace::LastGtids(gtids) if kind == IdentityKind::MariaDb => {
            let mut state = BinlogState::new();
            for text in gtids {
                let gtid: Result<MariaDbGtid, _> = text.parse();
                state.record(gtid.map_err(|_| unreadable(kind, text))?);
            }
            Ok(Place::LastGtids(state))
        }
        ReplicaPlace::LastTransactions(ends) if kind == IdentityKind::Anonymous => {
            Ok(Place::LastTransactions(ends.clone()))
        }
        _ => Err(AttachError::UseGtids),
    }
}

async fn coordinates(
    options: &AdoptionOptions,
    log: &RelayLog,
    kind: IdentityKind,
    all: &[Coordinates],
) -> Result<Place, AttachError> {
    let mut positions = Vec::new();
    for Coordinates { source: name, at } in all {
        source(options, name)?;
        match parse(kind, at)? {
            At::Gtids(gtids) if all.len() == 1 => return Ok(Place::Gtids(gtids)),
            At::Gtids(_) => return Err(AttachError::MixedForms),
            At::Position(at) => positions.push(PathPosition {
                source: Arc::from(name.as_str()),
                at,
            }),
        }
    }
    let gtids = match kind {
        IdentityKind::Anonymous => None,
        _ => ask(options, log, kind, &positions).await?,
    };
    Ok(Place::Positions { positions, gtids })
}

fn unreadable(kind: IdentityKind, found: &str) -> AttachError {
    AttachError::Coordinates {
        expected: match kind {
            IdentityKind::Anonymous => "coordinates such as mysql-bin.000010:154",
            IdentityKind::MySql => "coordinates such as mysql-bin.000010:154, or a GTID set",
            IdentityKind::MariaDb => {
                "coordinates such as mysql-bin.000010:154, or a GTID position such as 0-1-5,1-2-7"
            }
        },
        found: found.to_owned(),
    }
}

fn parse(kind: IdentityKind, text: &str) -> Result<At, AttachError> {
    let gtids = match kind {
        IdentityKind::MySql => {
            let set = text.parse::<GtidSet>().ok();
            set.filter(|set| !set.is_empty()).map(Executed::MySql)
        }
        IdentityKind::MariaDb => {
            let position = text.parse::<GtidPosition>().ok();
            let position = position.filter(|position| !position.is_empty());
            position.map(|position| Executed::MariaDb(state_of(&position)))
        }
        IdentityKind::Anonymous => None,
    };
    if let Some(gtids) = gtids {
        return Ok(At::Gtids(gtids));
    }
    let parsed = file_and_position(text);
    parsed
        .map(At::Position)
        .ok_or_else(|| unreadable(kind, text))
}

/// Parses `FILE:POS`.
pub(super) fn file_and_position(text: &str) -> Option<SourcePosition> {
    let (file, offset) = text.rsplit_once(':')?;
    let offset: u64 = offset.parse().ok()?;
    (!file.is_empty() && offset >= 4).then(|| SourcePosition::new(file, offset))
}

fn state_of(position: &GtidPosition) -> BinlogState {
    let mut state = BinlogState::new();
    for gtid in position.iter() {
        state.record(gtid);
    }
    state
}

/// Asks the sources which transactions are before the positions. `None` if a MariaDB source does not
/// answer: then the records show it.
async fn ask(
    options: &AdoptionOptions,
    log: &RelayLog,
    kind: IdentityKind,
    positions: &[PathPosition],
) -> Result<Option<Executed>, AttachError> {
    let mut gtids = Executed::empty(kind.flavor());
    for PathPosition { source: name, at } in positions {
        let config = source(options, name)?;
        let server_id = server_id(options, log, name);
        match transactions_before(config, kind, server_id, at).await {
            Ok(before) => gtids.count_all(&before),
            // It has answered, and the position is not one of its binlog.
            Err(error @ ReceiverError::Setup { .. }) => return Err(refused(name, at, &error)),
            Err(_) if kind.flavor() == Flavor::MariaDb => return Ok(None),
            Err(error) => {
                return Err(AttachError::Unreachable {
                    source_name: name.to_string(),
                    at: at.clone(),
                    cause: one_line(&error),
                });
            }
        }
    }
    Ok(Some(gtids))
}

fn refused(name: &str, at: &SourcePosition, error: &ReceiverError) -> AttachError {
    AttachError::Source {
        source_name: name.to_owned(),
        at: at.clone(),
        cause: one_line(error),
    }
}

/// Without the advice for receivers. It contains text that the source sent.
fn one_line(error: &ReceiverError) -> String {
    error.to_string().replace(char::is_control, " ")
}

/// Asks a source whether a position that the relay has not recorded is between two transactions.
pub(super) async fn check_boundary(
    options: &AdoptionOptions,
    log: &RelayLog,
    name: &str,
    at: &SourcePosition,
) -> Result<(), AttachError> {
    let kind = log.state().executed.kind();
    let config = source(options, name)?;
    let server_id = server_id(options, log, name);
    let asked = transactions_before(config, kind, server_id, at).await;
    asked.map(|_| ()).map_err(|error| refused(name, at, &error))
}
