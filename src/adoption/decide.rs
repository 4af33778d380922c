//! Where a replica continues, from what it has. Reads files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::AttachError;
use super::held::Place;
use super::last_of::held_up_to;
use super::origin_source::Sources;
use super::progress;
use crate::gtid::domain_history::up_to;
use crate::gtid::{BinlogState, GtidSet};
use crate::identity::{Executed, Identity, IdentityKind};
use crate::position::RelayLogPosition;
use crate::relay_log::bridge::{self, Bridge, ServedFile};
use crate::relay_log::coordinates::start_for_position;
use crate::relay_log::held::{Continuation, Held, LogPart, RecordSet, continuation};
use crate::relay_log::held_paths::{
    HeldOnPaths, PathPosition, check_paths, held_of_mariadb, held_without_gtids,
};
use crate::relay_log::reader::{FIRST_EVENT, FileHead};
use crate::relay_log::{LogState, RelayLog};

/// A request, with all that is needed to decide on it.
#[derive(Debug)]
pub(super) struct Decider {
    pub(super) log: Arc<RelayLog>,
    /// The relay's own server_id.
    pub(super) server_id: u32,
    /// The names of the sources that are followed.
    pub(super) followed: Vec<Arc<str>>,
    pub(super) place: Place,
    pub(super) makes_bridge: bool,
}

/// Where the replica continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// By GTID, after these.
    ByGtid(Executed),
    /// At a file and position.
    At {
        file: ServedFile,
        position: u64,
        missing: u64,
        from: RelayLogPosition,
    },
}

impl Decider {
    /// `boundaries` are the sources that have confirmed their positions.
    pub(super) fn decide(&self, boundaries: &BTreeSet<Arc<str>>) -> Result<Decision, AttachError> {
        let _pin = self.log.pin("binrelay attach or position".to_owned());
        let (part, state) = LogPart::published(&self.log);
        let none = RecordSet::default();
        let no_positions = (&[][..], &none, &[][..]);
        match &self.place {
            Place::Gtids(gtids) if self.makes_bridge => {
                self.check_gtids(&part, &state, gtids)?;
                Ok(Decision::ByGtid(gtids.clone()))
            }
            Place::Gtids(gtids) => {
                check_domains(&part, gtids)?;
                self.continue_after(&part, &state, Held::Gtids(gtids.clone()), no_positions)
            }
            Place::Positions { positions, gtids } => {
                let paths = part.path_names()?;
                let Some(gtids) = gtids else {
                    let of_log = (&part, &*paths);
                    let found = self.held_on_paths(of_log, &state, positions, boundaries)?;
                    let ends_sessions = found.ends_sessions;
                    let decision = self.continue_after(
                        &part,
                        &state,
                        found.held,
                        (positions, &found.sent_later, &paths),
                    )?;
                    check_sessions(&part, &decision, ends_sessions)?;
                    return Ok(decision);
                };
                self.continue_after(
                    &part,
                    &state,
                    Held::Gtids(gtids.clone()),
                    (positions, &none, &paths),
                )
            }
            Place::LastGtids(gtids) => {
                check_servers(&part, gtids)?;
                let held = Held::Gtids(Executed::MariaDb(gtids.clone()));
                self.continue_after(&part, &state, held, no_positions)
            }
            Place::LastTransactions(ends) => {
                let held = Held::Records(held_up_to(&part, ends)?);
                self.continue_after(&part, &state, held, no_positions)
            }
        }
    }

    fn held_on_paths(
        &self,
        (part, paths): (&LogPart<'_>, &[Arc<str>]),
        state: &LogState,
        positions: &[PathPosition],
        boundaries: &BTreeSet<Arc<str>>,
    ) -> Result<HeldOnPaths, AttachError> {
        for position in positions {
            check_received(paths, state, position)?;
        }
        check_paths(part, positions)?;
        let found = match state.executed.kind() {
            IdentityKind::Anonymous => held_without_gtids(part, paths, self.server_id, positions)?,
            IdentityKind::MariaDb | IdentityKind::MySql => held_of_mariadb(part, positions)?,
        };
        for position in positions {
            let source = &position.source;
            let is_known = found.at_boundary.get(source).copied().unwrap_or(false);
            if !is_known && !boundaries.contains(source) {
                return Err(AttachError::Boundary {
                    source_name: source.clone(),
                    at: position.at.clone(),
                });
            }
        }
        Ok(found)
    }

    /// By GTID: whether the log has what the replica needs next.
    fn check_gtids(
        &self,
        part: &LogPart<'_>,
        state: &LogState,
        gtids: &Executed,
    ) -> Result<(), AttachError> {
        if part.has_new_history()? {
            return Err(AttachError::NewHistory);
        }
        check_domains(part, gtids)?;
        match gtids {
            // As for a replica that connects: a position stands for all transactions before it.
            Executed::MariaDb(gtids) => {
                start_for_position(&self.log, &gtids.position(), false)?;
                Ok(())
            }
            _ => check_lost(state, gtids),
        }
    }

    fn continue_after(
        &self,
        part: &LogPart<'_>,
        state: &LogState,
        held: Held,
        (positions, sent_later, paths): (&[PathPosition], &RecordSet, &[Arc<str>]),
    ) -> Result<Decision, AttachError> {
        if let Held::Gtids(gtids) = &held {
            if part.has_new_history()? {
                return Err(AttachError::NewHistory);
            }
            check_lost(state, gtids)?;
            check_delivered(state, gtids)?;
        }
        let given: Vec<&str> = positions.iter().map(|position| &*position.source).collect();
        let found = continuation(part, &held, &given, sent_later)?;
        if found.again > 0 {
            return Err(AttachError::RepeatedGtids(found.again));
        }
        self.check_origins(state, &found, (&given, paths))?;
        if found.missing == 0 {
            return Ok(Decision::At {
                file: ServedFile::Log(found.from.file),
                position: found.from.offset,
                missing: 0,
                from: found.from,
            });
        }
        let missing = found.missing;
        if !self.makes_bridge {
            let file = part.log_dir.file_name(found.from.file);
            let from = format!("{file}:{}", found.from.offset);
            return Err(AttachError::NotExact { missing, from });
        }
        let bridge = self.write_bridge(part, &held, &found)?;
        Ok(Decision::At {
            file: ServedFile::Bridge(bridge),
            position: FIRST_EVENT,
            missing,
            from: found.from,
        })
    }

    /// The binlog of a source that does not log what it replicates, or not always, does not show what it has of other
    /// servers, whether these are still followed or not.
    fn check_origins(
        &self,
        state: &LogState,
        found: &Continuation,
        (given, paths): (&[&str], &[Arc<str>]),
    ) -> Result<(), AttachError> {
        let Some(first) = given.first() else {
            return Ok(());
        };
        let sources = Sources {
            paths,
            followed: &self.followed,
            given,
        };
        for (server_id, origin) in &found.origins {
            let mut named = given.iter().filter_map(|name| progress(paths, state, name));
            let is_own = named.any(|progress| progress.server_id == *server_id);
            let has_copies = origin.held > 0 || found.on_paths.contains(server_id);
            let source_name = (*first).to_owned();
            let deciding = sources.of_origin(state, *server_id, &origin.delivered_by);
            if origin.unknown > 0 {
                return Err(AttachError::Gap {
                    source_name,
                    server_id: *server_id,
                    count: origin.unknown,
                    deciding,
                });
            }
            if !is_own && !has_copies {
                return Err(AttachError::NoCopies {
                    source_name,
                    server_id: *server_id,
                    count: origin.count,
                    deciding,
                });
            }
        }
        Ok(())
    }

    fn write_bridge(
        &self,
        part: &LogPart<'_>,
        held: &Held,
        found: &Continuation,
    ) -> Result<Bridge, AttachError> {
        if part.log_dir.basename == bridge::BASENAME {
            return Err(AttachError::Basename(part.log_dir.basename.clone()));
        }
        let executed = match held {
            Held::Gtids(gtids) => gtids.clone(),
            Held::Records(_) => Executed::Anonymous,
        };
        let bridge = bridge::write(part, self.server_id, held, &executed, found)?;
        tracing::info!(
            "{} is written: {} transactions ({} bytes) that a replica lacks before {}:{}",
            bridge::name(bridge.number),
            found.missing,
            found.missing_len,
            part.log_dir.file_name(found.from.file),
            found.from.offset
        );
        Ok(bridge)
    }
}

fn check_received(
    paths: &[Arc<str>],
    state: &LogState,
    position: &PathPosition,
) -> Result<(), AttachError> {
    let received = progress(paths, state, &position.source);
    let received = received.map(|progress| progress.position.clone());
    let received = received.unwrap_or_default();
    let (source_name, at) = (position.source.clone(), position.at.clone());
    if received.is_unknown() || received.precedes(&at) {
        return Err(AttachError::Beyond {
            source_name,
            at,
            received,
        });
    }
    if at == received || at.precedes(&received) {
        return Ok(());
    }
    Err(AttachError::OtherBinlog {
        source_name,
        at,
        received,
    })
}

/// A replica whose former source would still have dropped temporary tables of a killed master must read the
/// beginning of the file with which the relay log ends them.
fn check_sessions(
    part: &LogPart<'_>,
    decision: &Decision,
    ends_sessions: Option<Arc<str>>,
) -> Result<(), AttachError> {
    let (Some(source_name), Decision::At { from, .. }) = (ends_sessions, decision) else {
        return Ok(());
    };
    for number in part.files.iter().filter(|number| **number <= from.file) {
        let head = FileHead::read(&part.log_dir.log_path(*number))?;
        let is_read = *number == from.file && from.offset == FIRST_EVENT;
        if head.format.created != 0 && !is_read {
            return Err(AttachError::EndedSessions(source_name));
        }
    }
    Ok(())
}

/// Everything before the log must be held.
fn check_lost(state: &LogState, gtids: &Executed) -> Result<(), AttachError> {
    let missing = match (state.domain_history(), gtids) {
        (Some(history), Executed::MariaDb(held)) => up_to(&history.lost(held, None)),
        _ => difference(&state.purged, gtids),
    };
    missing.map_or(Ok(()), |missing| Err(AttachError::Lost { missing }))
}

/// Everything that is held must have been delivered: it would be appended later, and applied twice.
fn check_delivered(state: &LogState, gtids: &Executed) -> Result<(), AttachError> {
    let missing = difference(gtids, &state.executed);
    missing.map_or(Ok(()), |missing| Err(AttachError::NotReceived { missing }))
}

/// What `all` has and `some` lacks, as text.
fn difference(all: &Executed, some: &Executed) -> Option<String> {
    match (all, some) {
        (Executed::MySql(all), Executed::MySql(some)) => {
            let mut rest: GtidSet = all.clone();
            rest.subtract(some);
            (!rest.is_empty()).then(|| rest.to_string())
        }
        (Executed::MariaDb(all), Executed::MariaDb(some)) => {
            let lacking = all.iter().filter(|gtid| !some.contains(gtid));
            up_to(&lacking.collect::<Vec<_>>())
        }
        _ => None,
    }
}

/// MariaDB: a position has one GTID of each domain, so it says nothing about other servers that
/// write to the same domain.
fn check_domains(part: &LogPart<'_>, gtids: &Executed) -> Result<(), AttachError> {
    let Executed::MariaDb(gtids) = gtids else {
        return Ok(());
    };
    let position = gtids.position();
    let mut servers: BTreeMap<u32, u32> = BTreeMap::new();
    servers.extend(position.iter().map(|gtid| (gtid.domain_id, gtid.server_id)));
    part.visit(&mut |visited| {
        let Some(Identity::MariaDb(gtid)) = visited.logged.map(|logged| logged.identity) else {
            return Ok(());
        };
        let first = *servers.entry(gtid.domain_id).or_insert(gtid.server_id);
        match first == gtid.server_id {
            true => Ok(()),
            false => Err(AttachError::SharedDomain {
                domain_id: gtid.domain_id,
                first,
                second: gtid.server_id,
            }),
        }
    })
}

/// MariaDB: the replica's relay log must show the last transaction of each server of the log.
fn check_servers(part: &LogPart<'_>, gtids: &BinlogState) -> Result<(), AttachError> {
    part.visit(&mut |visited| {
        let Some(Identity::MariaDb(gtid)) = visited.logged.map(|logged| logged.identity) else {
            return Ok(());
        };
        match gtids.highest(gtid.domain_id, gtid.server_id) {
            Some(_) => Ok(()),
            None => Err(AttachError::OriginUnknown(gtid.server_id)),
        }
    })
}
