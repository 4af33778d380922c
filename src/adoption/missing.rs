//! What a source lacks of the log: `binrelay missing`.
//!
//! ```text
//! GTIDs, or the path's     ──▶ what the source has ──▶ the rest of the log ──▶ a rescue, and how the
//! records (`asked`)            (`source_has`)           (`listing`)            source applies it (`rescue`)
//! ```
//! A source that may still apply what it has received gets nothing written where GTIDs do not keep it from
//! applying a transaction twice.
#![doc = include_str!("rescue.md")]

mod asked;
mod error;
mod listing;
mod messages;
mod rescue;
mod source_has;

pub use messages::{Missing, MissingAnswer, MissingRequest, MissingTransaction, Rescue};

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use self::asked::Asked;
pub(super) use self::error::MissingError;
use self::listing::Listing;
use self::source_has::{ByHand, Known, Question};
use super::error::AttachError;
use super::held::file_and_position;
use super::statements::Address;
use super::{AdoptionOptions, RETRY, WAIT, source};
use crate::config::FilterConfig;
use crate::flavor::Flavor;
use crate::identity::{Executed, IdentityKind};
use crate::position::RelayLogPosition;
use crate::relay_log::held::LogPart;
use crate::relay_log::held_paths::PathPosition;
use crate::relay_log::{LogState, RelayLog};

/// Finds what the source lacks.
pub(super) async fn find(
    options: &AdoptionOptions,
    log: Arc<RelayLog>,
    request: MissingRequest,
) -> Result<Missing, MissingError> {
    let config = source(options, &request.source)?;
    let kind = log.state().executed.kind();
    let by_hand = by_hand(options, kind, &request)?;
    // Its files are read later.
    let _pin = log.pin("binrelay missing".to_owned());
    // The log at a moment before the source is asked: what the source writes later is not missing there.
    let before = (kind != IdentityKind::Anonymous).then(|| {
        let (part, state) = LogPart::published(&log);
        (part.end, state)
    });
    // GTIDs keep a MySQL server from applying a transaction twice.
    let is_exclusive =
        request.writes && kind != IdentityKind::MySql && !request.replication_stopped;
    let asked = match by_hand.has {
        Some(_) => Err("--has was given".to_owned()),
        None => {
            let asked = asked::ask(config, is_exclusive).await;
            asked.map_err(|error| error.to_string().replace(char::is_control, " "))
        }
    };
    let finder = Arc::new(Finder {
        question: Question {
            source: request.source.as_str().into(),
            followed: super::followed(options),
            relay_server_id: options.server_id,
            asked,
            by_hand,
        },
        has_filter: options
            .sources
            .iter()
            .any(|(_, one)| *one.filter.current() != FilterConfig::default()),
        address: Address::of(&options.listen, options.user.borrow().as_deref()),
        host: config.host.clone(),
        port: config.port,
        log,
        before,
        request,
    });
    if is_exclusive {
        finder.check_idle()?;
    }
    let deadline = Instant::now() + WAIT;
    loop {
        let finding = finder.clone();
        let found = tokio::task::spawn_blocking(move || finding.find()).await;
        match found.unwrap_or(Err(AttachError::Internal.into())) {
            Err(error) if error.may_pass() && Instant::now() < deadline => sleep(RETRY).await,
            found => return found,
        }
    }
}

/// Parses what was given by hand.
fn by_hand(
    options: &AdoptionOptions,
    kind: IdentityKind,
    request: &MissingRequest,
) -> Result<ByHand, MissingError> {
    let has = match (kind, request.has.as_deref()) {
        (_, None) => None,
        (IdentityKind::Anonymous, Some(_)) => return Err(MissingError::HasWithoutGtids),
        (IdentityKind::MySql, Some(text)) => Some(
            text.parse()
                .map(Executed::MySql)
                .map_err(|_| has_unreadable("a GTID set, as in gtid_executed", text))?,
        ),
        (IdentityKind::MariaDb, Some(text)) => {
            Some(text.parse().map(Executed::MariaDb).map_err(|_| {
                has_unreadable("GTIDs such as 0-1-5,1-2-7, as in gtid_binlog_state", text)
            })?)
        }
    };
    if kind != IdentityKind::Anonymous && !request.replica_of.is_empty() {
        return Err(MissingError::ReplicaOfWithGtids);
    }
    let mut replica_of = Vec::new();
    for one in &request.replica_of {
        source(options, &one.source)?;
        if one.source == request.source {
            return Err(MissingError::ReplicaOfItself(one.source.clone()));
        }
        let at = file_and_position(&one.at).ok_or_else(|| AttachError::Coordinates {
            expected: "coordinates such as mysql-bin.000010:154",
            found: one.at.clone(),
        })?;
        let source = one.source.as_str().into();
        replica_of.push(PathPosition { source, at });
    }
    Ok(ByHand { has, replica_of })
}

fn has_unreadable(expected: &'static str, found: &str) -> MissingError {
    MissingError::Has {
        expected,
        found: found.to_owned(),
    }
}

/// A request, with the answers of the source.
#[derive(Debug)]
struct Finder {
    log: Arc<RelayLog>,
    /// With GTIDs, the published end and the state before the source was asked. Without, the source's binlog
    /// must have been received to the end that it has reported.
    before: Option<(RelayLogPosition, LogState)>,
    question: Question,
    has_filter: bool,
    address: Address,
    /// The address of the source.
    host: String,
    port: u16,
    request: MissingRequest,
}

impl Finder {
    /// The source must not apply anything else meanwhile.
    fn check_idle(&self) -> Result<(), MissingError> {
        let source_name = self.request.source.clone();
        let asked = match &self.question.asked {
            Ok(asked) => asked,
            Err(cause) => {
                let cause = cause.clone();
                return Err(match self.question.by_hand.has {
                    Some(_) => MissingError::ReplicationHidden { source_name, cause },
                    None => MissingError::Down { source_name, cause },
                });
            }
        };
        if asked.replication.connections.is_none() {
            let cause = match asked.settings.flavor {
                Flavor::MySql => "REPLICATION CLIENT is not granted to this source's user",
                Flavor::MariaDb => "SLAVE MONITOR is not granted to this source's user",
            };
            let cause = cause.to_owned();
            return Err(MissingError::ReplicationHidden { source_name, cause });
        }
        let Some(first) = asked.active.first() else {
            return Ok(());
        };
        Err(MissingError::Replicates {
            source_name,
            from: first.from.clone(),
            parallel: match asked.replication.is_parallel && !first.is_receiving {
                true => {
                    "; a multithreaded replica that has received only part of a transaction waits for the \
                     rest forever: make sure in SHOW PROCESSLIST that its applier threads are idle, and \
                     repeat the command with --replication-stopped"
                }
                false => "",
            },
        })
    }

    fn find(&self) -> Result<Missing, MissingError> {
        let (part, state) = match &self.before {
            None => LogPart::published(&self.log),
            Some((end, state)) => {
                let part = LogPart {
                    log_dir: self.log.log_dir(),
                    files: state.files.clone(),
                    end: *end,
                };
                (part, state.clone())
            }
        };
        let known = self.question.answer(&part, &state)?;
        let listing = Listing::read(&part, &known, self.request.with_altered)?;
        if let Some((server_id, count)) = listing.gap(&known) {
            return Err(self.question.gap(server_id, count));
        }
        let mut missing = self.answer(&known, &listing);
        if self.request.writes {
            self.write(&part, &state, &known, &listing, &mut missing)?;
        }
        missing.transactions = listing.transactions;
        Ok(missing)
    }

    fn answer(&self, known: &Known, listing: &Listing) -> Missing {
        let asked = self.question.asked.as_ref().ok();
        Missing {
            source: self.request.source.clone(),
            server_id: asked.map(|asked: &Asked| asked.settings.server_id),
            based_on: known.based_on.clone(),
            total: listing.total,
            bytes: listing.bytes,
            altered: listing.altered,
            filtered: listing.filtered,
            has_filter: self.has_filter,
            transactions: Vec::new(),
            notes: self.notes(known, listing),
            rescue: None,
        }
    }

    fn notes(&self, known: &Known, listing: &Listing) -> Vec<String> {
        let name = &self.request.source;
        let mut notes = Vec::new();
        if self.has_filter || listing.filtered > 0 {
            notes.push(format!(
                "the relay has filters: what they have dropped is not in its log, so {name} may lack more than \
                 this list, which has only what has passed them"
            ));
        }
        if listing.filtered > 0 {
            notes.push(format!(
                "{} more transactions that {name} lacks were dropped whole by the filter: the relay does not have \
                 them, and they are never written for {name}",
                listing.filtered
            ));
        }
        if listing.altered > 0 {
            notes.push(format!(
                "the filter has dropped or changed a part of {} of the transactions; they are written only with \
                 --with-altered, after which {name} never gets the rest",
                listing.altered
            ));
        }
        if listing.own_lost > 0 && self.question.asked.is_ok() {
            notes.push(format!(
                "{name} has lost {} of its own transactions: the relay log has them from other sources, and they are \
                 not in what was received of the binlog of {name}, up to its end; it cannot be given \
                 them: a replica ignores its own server_id. Rebuild it from a server that has them",
                listing.own_lost
            ));
        }
        if let Some(lost) = &known.lost {
            notes.push(format!(
                "{name} also lacks transactions that are from before the relay log, or no longer in it: {lost}"
            ));
        }
        if listing.not_listed() > 0 {
            let count = listing.not_listed();
            notes.push(format!(
                "{count} more transactions are not listed; with --write, binrelay dump shows them"
            ));
        }
        notes
    }

    fn write(
        &self,
        part: &LogPart<'_>,
        state: &LogState,
        known: &Known,
        listing: &Listing,
        missing: &mut Missing,
    ) -> Result<(), MissingError> {
        if let Some(lost) = &known.lost {
            let missing = lost.clone();
            return Err(AttachError::Lost { missing }.into());
        }
        let asked = self.question.asked.as_ref().ok();
        let writing = rescue::Writing {
            request: &self.request,
            relay_server_id: self.question.relay_server_id,
            address: &self.address,
            host: &self.host,
            port: self.port,
            version: asked.map_or(self.log.server_version(), |asked| &*asked.settings.version),
            slave_pos: asked.and_then(|asked| asked.replication.slave_pos.as_ref()),
            is_filtered: self.has_filter || listing.filtered + listing.altered > 0,
            followed: &self.question.followed,
            part,
            state,
            known,
        };
        missing.rescue = writing.write(listing)?;
        if let Some(own) = listing.own.filter(|count| *count > 0) {
            missing.notes.push(format!(
                "{own} of the transactions have the server_id of {} itself, which ignores them as a replica: \
                 apply them with the command",
                self.request.source
            ));
        }
        Ok(())
    }
}
