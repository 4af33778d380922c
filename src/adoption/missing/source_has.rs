//! Which transactions of the log a source has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::asked::Asked;
use super::error::MissingError;
use crate::adoption::error::AttachError;
use crate::adoption::origin_source::Sources;
use crate::adoption::progress;
use crate::gtid::domain_history::up_to;
use crate::gtid::{BinlogState, GtidSet, MariaDbGtid};
use crate::identity::{Executed, Identity, IdentityKind};
use crate::position::SourcePosition;
use crate::receiver::GtidMode;
use crate::relay_log::held::{Held, LogPart, Logged};
use crate::relay_log::held_paths::{PathPosition, check_paths, held_without_gtids};
use crate::relay_log::{LogError, LogState, SourceProgress};

/// What an administrator has said about the source.
#[derive(Debug)]
pub(super) struct ByHand {
    pub(super) has: Option<Executed>,
    pub(super) replica_of: Vec<PathPosition>,
}

/// Everything by which is decided what the source has, besides the log.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) source: Arc<str>,
    /// The names of the sources that are followed.
    pub(super) followed: Vec<Arc<str>>,
    pub(super) relay_server_id: u32,
    /// The source's answers, or why there are none.
    pub(super) asked: Result<Asked, String>,
    pub(super) by_hand: ByHand,
}

/// What the source has.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) held: Held,
    /// Its GTIDs.
    pub(super) executed: Executed,
    /// Its server_id, as far as known.
    pub(super) server_id: Option<u32>,
    /// What it is based on.
    pub(super) based_on: String,
    /// Transactions that it lacks and the log does not have.
    pub(super) lost: Option<String>,
}

impl Known {
    /// Whether the source has the transaction. Without GTIDs, what it executed first is in its binlog even if
    /// another path delivered it.
    pub(super) fn has(&self, logged: &Logged) -> bool {
        let is_own = matches!(self.held, Held::Records(_)) && self.is_own(logged);
        is_own || self.held.has(logged)
    }

    /// Whether the source was the first to execute it.
    pub(super) fn is_own(&self, logged: &Logged) -> bool {
        self.server_id == Some(logged.server_id)
    }
}

impl Question {
    pub(super) fn answer(
        &self,
        part: &LogPart<'_>,
        state: &LogState,
    ) -> Result<Known, MissingError> {
        if part.has_new_history()? {
            return Err(AttachError::NewHistory.into());
        }
        match state.executed.kind() {
            IdentityKind::Anonymous => self.without_gtids(part, state),
            IdentityKind::MySql => self.mysql(state),
            IdentityKind::MariaDb => self.mariadb(part, state),
        }
    }

    fn source_name(&self) -> String {
        self.source.to_string()
    }

    fn unreachable(&self, cause: &str, variable: &'static str) -> MissingError {
        MissingError::Unreachable {
            source_name: self.source_name(),
            cause: cause.to_owned(),
            variable,
        }
    }

    fn mysql(&self, state: &LogState) -> Result<Known, MissingError> {
        let (set, server_id, based_on) = match (&self.by_hand.has, &self.asked) {
            (Some(Executed::MySql(set)), _) => (
                set.clone(),
                None,
                "the GTIDs that were given with --has".to_owned(),
            ),
            (_, Err(cause)) => return Err(self.unreachable(cause, "gtid_executed")),
            (_, Ok(asked)) => {
                let has_gtids = asked.settings.gtid_mode == Some(GtidMode::On);
                let set = match &asked.end.executed {
                    Some(Executed::MySql(set)) => set.clone(),
                    None if has_gtids => GtidSet::new(),
                    _ => {
                        return Err(MissingError::OtherKind {
                            source_name: self.source_name(),
                        });
                    }
                };
                let server_id = asked.settings.server_id;
                let based_on = format!("gtid_executed of {} (server_id {server_id})", self.source);
                (set, Some(server_id), based_on)
            }
        };
        let mut lost = state.purged.as_mysql().cloned().unwrap_or_default();
        lost.subtract(&set);
        let executed = Executed::MySql(set);
        Ok(Known {
            held: Held::Gtids(executed.clone()),
            executed,
            server_id,
            based_on,
            lost: (!lost.is_empty()).then(|| lost.to_string()),
        })
    }

    fn mariadb(&self, part: &LogPart<'_>, state: &LogState) -> Result<Known, MissingError> {
        let (gtids, server_id, logs_updates, based_on) = match (&self.by_hand.has, &self.asked) {
            (Some(Executed::MariaDb(given)), _) => (
                given.clone(),
                progress(&part.path_names()?, state, &self.source)
                    .map(|progress| progress.server_id),
                true,
                "the GTIDs that were given with --has".to_owned(),
            ),
            (_, Err(cause)) => return Err(self.unreachable(cause, "gtid_binlog_state")),
            (_, Ok(asked)) => {
                let Some(Executed::MariaDb(mut gtids)) = asked.end.executed.clone() else {
                    return Err(MissingError::OtherKind {
                        source_name: self.source_name(),
                    });
                };
                for gtid in asked
                    .replication
                    .slave_pos
                    .iter()
                    .flat_map(|pos| pos.iter())
                {
                    gtids.record(gtid);
                }
                let server_id = asked.settings.server_id;
                let names = part.path_names()?;
                let sent = progress(&names, state, &self.source);
                self.check_sent(sent.filter(|sent| sent.server_id == server_id), &gtids)?;
                let based_on = format!(
                    "gtid_binlog_state and gtid_slave_pos of {} (server_id {server_id})",
                    self.source
                );
                (
                    gtids,
                    Some(server_id),
                    asked.replication.logs_updates,
                    based_on,
                )
            }
        };
        let own = server_id.filter(|server_id| *server_id != 0);
        self.check_servers(part, &gtids, own, logs_updates)?;
        let history = state.domain_history();
        let lost = history.map(|history| history.lost(&gtids, own));
        let executed = Executed::MariaDb(gtids);
        Ok(Known {
            held: Held::Gtids(executed.clone()),
            executed,
            server_id: own,
            based_on,
            lost: lost.and_then(|lost| up_to(&lost)),
        })
    }

    /// MariaDB: a source that has not lost its own transactions shows a lower GTID of another server than it has sent only
    /// if it follows that server's binlog after a reset. A source that was restored from an older copy has lost some of
    /// its own, too.
    fn check_sent(
        &self,
        progress: Option<&SourceProgress>,
        gtids: &BinlogState,
    ) -> Result<(), MissingError> {
        let Some(progress) = progress else {
            return Ok(());
        };
        let went_back = |sent: &MariaDbGtid| {
            let shown = gtids.highest(sent.domain_id, sent.server_id);
            shown.filter(|shown| *shown < sent.seq_no)
        };
        let is_own = |sent: &MariaDbGtid| sent.server_id == progress.server_id;
        let mut sent = progress.sent.iter();
        if sent.any(|sent| is_own(&sent) && went_back(&sent).is_some()) {
            return Ok(());
        }
        let found = progress
            .sent
            .iter()
            .find_map(|sent| Some((sent, went_back(&sent)?)));
        match found {
            Some((sent, shown)) => Err(MissingError::WentBack {
                source_name: self.source_name(),
                domain_id: sent.domain_id,
                server_id: sent.server_id,
                sent: sent.seq_no,
                shown,
            }),
            None => Ok(()),
        }
    }

    /// MariaDB: in a domain to which several servers write, `gtid_slave_pos` shows one server's GTID only, and
    /// a server that is not in `gtids` may still be one whose transactions the source has.
    fn check_servers(
        &self,
        part: &LogPart<'_>,
        gtids: &BinlogState,
        own: Option<u32>,
        logs_updates: bool,
    ) -> Result<(), MissingError> {
        let mut domains: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for gtid in gtids.iter() {
            domains
                .entry(gtid.domain_id)
                .or_default()
                .insert(gtid.server_id);
        }
        let mut again = 0;
        part.visit::<LogError>(&mut |visited| {
            let Some(logged) = visited.logged else {
                return Ok(());
            };
            if let Identity::MariaDb(gtid) = logged.identity {
                again += u64::from(logged.executed_again && own != Some(gtid.server_id));
                let servers = domains.entry(gtid.domain_id).or_default();
                servers.insert(gtid.server_id);
            }
            Ok(())
        })?;
        if again > 0 {
            return Err(AttachError::RepeatedGtids(again).into());
        }
        for (domain_id, servers) in &domains {
            let mut others = servers.iter().filter(|server| own != Some(**server));
            let count = others.clone().count();
            let is_shared = servers.len() > 1;
            let is_unknown = |server: &&u32| {
                let shows_none = gtids.highest(*domain_id, **server).is_none();
                is_shared && (shows_none || (count > 1 && !logs_updates))
            };
            if let Some(server_id) = others.find(is_unknown) {
                return Err(MissingError::UnknownServer {
                    source_name: self.source_name(),
                    domain_id: *domain_id,
                    server_id: *server_id,
                });
            }
        }
        Ok(())
    }

    fn without_gtids(&self, part: &LogPart<'_>, state: &LogState) -> Result<Known, MissingError> {
        let paths = part.path_names()?;
        let own = progress(&paths, state, &self.source);
        let own = own.filter(|own| !own.position.is_unknown());
        let own = own.ok_or_else(|| MissingError::NothingReceived(self.source_name()))?;
        let received = &own.position;
        let mut based_on = match &self.asked {
            Ok(asked) => {
                self.check_end(asked, own)?;
                format!(
                    "the binlog of {}, which was received to its end",
                    self.source
                )
            }
            Err(cause) => format!(
                "the binlog of {} as far as it was received, up to {received}; it does not answer ({cause}), and \
                 may have more",
                self.source
            ),
        };
        let mut positions = vec![PathPosition {
            source: self.source.clone(),
            at: received.clone(),
        }];
        positions.extend(self.by_hand.replica_of.iter().cloned());
        check_paths(part, &positions)?;
        let found = held_without_gtids(part, &paths, self.relay_server_id, &positions)?;
        for PathPosition { source, at } in &self.by_hand.replica_of {
            let other = progress(&paths, state, source);
            // After everything that was received there is no known boundary, but nothing of the log either.
            let is_beyond = other.is_some_and(|other| other.position.precedes(at));
            if !is_beyond && found.at_boundary.get(source) != Some(&true) {
                return Err(MissingError::Boundary {
                    source_name: source.to_string(),
                    at: at.clone(),
                });
            }
            based_on.push_str(&format!(", and the binlog of {source}, applied up to {at}"));
        }
        self.check_updates(part, state, own.server_id)?;
        Ok(Known {
            held: found.held,
            executed: Executed::Anonymous,
            server_id: Some(own.server_id),
            based_on,
            lost: None,
        })
    }

    /// The source's binlog must have been received to its end.
    fn check_end(&self, asked: &Asked, progress: &SourceProgress) -> Result<(), MissingError> {
        let source_name = self.source_name();
        let found = asked.settings.server_id;
        if found != progress.server_id {
            return Err(MissingError::OtherServer {
                source_name,
                expected: progress.server_id,
                found,
            });
        }
        let received = progress.position.clone();
        match asked.end.position.clone() {
            None => Err(MissingError::EndHidden { source_name }),
            Some(end) if end == received || end.precedes(&received) => Ok(()),
            Some(end) => Err(MissingError::NotReceived {
                source_name,
                received,
                end,
            }),
        }
    }

    /// Whether the binlog of the source shows what it has of the other sources. Those whose position is given
    /// need not be there.
    fn check_updates(
        &self,
        part: &LogPart<'_>,
        state: &LogState,
        own: u32,
    ) -> Result<(), MissingError> {
        let mut others = self.others(part, state, own)?;
        let masters = self.masters();
        match &self.asked {
            Ok(asked) if asked.replication.logs_updates => return Ok(()),
            // It has a connection to each of these, or it is not known to which ones.
            Ok(_) if !self.by_hand.replica_of.is_empty() => {
                others.retain(|other| masters.contains(&other.server_id));
            }
            Ok(_) => {}
            Err(_) => others.retain(|other| !other.is_on_path),
        }
        let is_given = |other: &Other| {
            let mut given = self.by_hand.replica_of.iter();
            given.any(|position| position.source == other.name)
        };
        others.retain(|other| !is_given(other));
        if others.is_empty() {
            return Ok(());
        }
        let mut names: Vec<&str> = others.iter().map(|other| &*other.name).collect();
        names.dedup();
        let is_removed = |name: &&str| !self.followed.iter().any(|one| **one == **name);
        let removed: Vec<&str> = names.iter().copied().filter(is_removed).collect();
        Err(MissingError::NoUpdates {
            source_name: self.source_name(),
            others: names.join(", "),
            offer: self.offer(),
            removed: match removed.is_empty() {
                true => String::new(),
                false => format!(
                    "; not a source now, and must be added again for that: {}",
                    removed.join(", ")
                ),
            },
        })
    }

    /// The other servers that have executed transactions of the log, also those that are no longer followed.
    fn others(
        &self,
        part: &LogPart<'_>,
        state: &LogState,
        own: u32,
    ) -> Result<Vec<Other>, MissingError> {
        let (mut origins, mut on_path) = (BTreeMap::new(), BTreeSet::new());
        part.visit::<LogError>(&mut |visited| {
            if let Some(logged) = &visited.logged
                && !origins.contains_key(&logged.server_id)
            {
                let delivered_by = visited.index.name_of(visited.step)?;
                origins.insert(logged.server_id, delivered_by);
            }
            if let Some(transaction) = visited.record.transaction()
                && !on_path.contains(&transaction.server_id)
                && visited.index.name_of(visited.step)? == self.source
            {
                on_path.insert(transaction.server_id);
            }
            Ok(())
        })?;
        let paths = part.path_names()?;
        let given = [&*self.source];
        let sources = Sources {
            paths: &paths,
            followed: &self.followed,
            given: &given,
        };
        let others = origins.iter().filter(|(server_id, _)| **server_id != own);
        let others = others.map(|(server_id, delivered_by)| Other {
            name: sources.of_origin(state, *server_id, delivered_by).name,
            server_id: *server_id,
            is_on_path: on_path.contains(server_id),
        });
        // Of what only its own path has delivered, no other source shows anything.
        Ok(others.filter(|other| other.name != self.source).collect())
    }

    /// The servers that the source replicates from, as far as it shows them.
    fn masters(&self) -> BTreeSet<u32> {
        let asked = self.asked.as_ref().ok();
        let connections = asked.and_then(|asked| asked.replication.connections.as_ref());
        let connections = connections.into_iter().flatten();
        connections.map(|connection| connection.server_id).collect()
    }

    /// The coordinates that the source's own status shows, as an argument.
    fn offer(&self) -> String {
        let asked = self.asked.as_ref().ok();
        let connections = asked.and_then(|asked| asked.replication.connections.as_ref());
        let shown = |at: &SourcePosition| !at.is_unknown();
        let applied: Vec<String> = connections
            .into_iter()
            .flatten()
            .filter(|connection| shown(&connection.applied))
            .map(|connection| format!("{} of {}", connection.applied, connection.from))
            .collect();
        match applied.is_empty() {
            true => " SOURCE FILE:POS: Relay_Source_Log_File and Exec_Source_Log_Pos \
                     (Relay_Master_Log_File and Exec_Master_Log_Pos) of its SHOW REPLICA STATUS"
                .to_owned(),
            false => format!(
                " SOURCE FILE:POS; its replica status shows {}",
                applied.join(", ")
            ),
        }
    }

    /// The error for a source whose binlog lacks transactions before others of the same server.
    pub(super) fn gap(&self, server_id: u32, count: u64) -> MissingError {
        MissingError::Gap {
            source_name: self.source_name(),
            server_id,
            count,
            offer: self.offer(),
        }
    }
}

/// Another source.
#[derive(Debug)]
struct Other {
    name: Arc<str>,
    server_id: u32,
    /// Whether the source's binlog has transactions of it.
    is_on_path: bool,
}
