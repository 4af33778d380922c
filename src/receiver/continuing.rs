//! Recovering a failed source: how it continues by decision of an administrator.
//!
//! | | what is verified | what changes |
//! |---|---|---|
//! | at its position | after a changed history: the newest transaction that was received is in its binlog again; never after an incident | the record of the changed history is removed |
//! | at another position | with GTIDs: that all transactions before it were delivered; without: that it is not before the last one | the source's position; MySQL: GTIDs that the log lacks count as delivered; MariaDB: only if the administrator says so |
//! | with a new history | MySQL: no GTID is used again; MariaDB, and without GTIDs: the first transaction was not received before | as above; MariaDB: GTIDs of the server may occur again |
//!
//! Replicas must never lack a transaction silently. MySQL's are refused by `gtid_purged`. MariaDB's would not be, so
//! what the log lacks is skipped there only on request. Without GTIDs nothing can be verified, and the answer says so.

use tokio::sync::oneshot;

use super::connect::{connect, within};
use super::continue_request::ContinueFrom;
use super::continue_warnings::{MARIADB_NEW_HISTORY, missing_text};
use super::error::ReceiverError;
use super::facts::SourceFacts;
use super::first_contact::{FirstContact, explore};
use super::history_record;
use super::options::{ReceiverContext, ReceiverOptions};
use super::own_gtids;
use super::rereading::Rereading;
use super::restored;
use super::resume;
use super::source_queries::{executed_set, purged_set};
use super::withdrawal::Wanted;
use crate::config::{FilterConfig, SourceStart};
use crate::connection::Connection;
use crate::gtid::{GtidPosition, GtidSet, MariaDbGtid, Uuid};
use crate::identity::{Executed, Identity, IdentityKind};
use crate::log_thread::{Continuation, DeliveredChange, OwnExcused, Queued, SourceCounters};
use crate::position::SourcePosition;
use crate::relay_log::{LogError, LogState, SourceProgress, removed_until, was_recorded};
use crate::utc;

/// Carries out a decision; returns what was decided. `counted` and `wanted` are those of [`super::ContinueRequest`].
///
/// # Errors
/// When the source cannot continue there; nothing has changed then, unless only the record of a changed history
/// cannot be removed.
pub(super) async fn continue_source(
    options: &ReceiverOptions,
    context: &ReceiverContext,
    counters: &SourceCounters,
    from: &ContinueFrom,
    (counted, wanted): (oneshot::Sender<()>, Wanted),
) -> Result<String, ReceiverError> {
    counters.wait_until_committed().await;
    let path = answering(options, context).await?;
    let (progress, executed) = {
        let state = context.log.state();
        let progress = state.sources.get(usize::from(path)).cloned();
        if state.sources.iter().any(|source| source.reading_back) {
            return Err(ReceiverError::setup(
                "the relay log has not begun: a source is still read up to its start",
                "wait until the relay log has begun, and repeat the command",
            ));
        }
        (progress.unwrap_or_default(), state.executed.clone())
    };
    let (dir, name) = (&context.log.log_dir().dir, options.config.name.as_str());
    let changed = history_record::check(dir, name);
    let failed = changed.as_ref().err();
    let decision = Decision {
        options,
        context,
        path,
        old: progress,
        executed,
        incident: failed.and_then(ReceiverError::incident_at).cloned(),
        new_history: from.new_history,
        counts_missing: from.counts_missing,
        skips_missing: from.skips_missing,
    };
    let text = match (&from.at, from.new_history, changed) {
        (None, false, changed) => decision.at_its_position(counters, changed).await?,
        (Some(_), false, Err(error))
            if error.incident_at().is_none() && !decision.answers_another().await? =>
        {
            return Err(error);
        }
        (at, _, _) => {
            let at = at.clone().unwrap_or(SourceStart::Earliest);
            decision.at_another(at, counted, wanted).await?
        }
    };
    history_record::remove(dir, name)?;
    Ok(text)
}

/// The number of the path of the server that answers: another one than the source's first if its address was moved.
async fn answering(
    options: &ReceiverOptions,
    context: &ReceiverContext,
) -> Result<u16, ReceiverError> {
    let prefix = format!("{}@", options.config.name);
    let names = context.paths.names();
    if !names.iter().any(|name| name.starts_with(&prefix)) {
        return Ok(options.number);
    }
    let (_connection, facts) = connect(options).await?;
    let name = format!("{prefix}{}", facts.server_key());
    let path = context.paths.number_of(&name).filter(|path| {
        let state = context.log.state();
        let progress = state.sources.get(usize::from(*path));
        progress.is_some_and(|progress| !progress.position.is_unknown())
    });
    Ok(path.unwrap_or(options.number))
}

/// A decision under way.
struct Decision<'a> {
    options: &'a ReceiverOptions,
    context: &'a ReceiverContext,
    /// The number of the path that continues.
    path: u16,
    /// Where it was.
    old: SourceProgress,
    /// All transactions of the log.
    executed: Executed,
    /// The position before the incident with which it failed, if it did.
    incident: Option<SourcePosition>,
    new_history: bool,
    /// See [`ContinueFrom::counts_missing`].
    counts_missing: bool,
    /// See [`ContinueFrom::skips_missing`].
    skips_missing: bool,
}

impl Decision<'_> {
    /// Whether another server answers than the one whose history was recorded as changed: the source's address was moved.
    async fn answers_another(&self) -> Result<bool, ReceiverError> {
        let (_connection, facts) = connect(self.options).await?;
        Ok(self.old.is_of_another(facts.server_id))
    }

    /// The source continues where it was.
    async fn at_its_position(
        &self,
        counters: &SourceCounters,
        changed: Result<(), ReceiverError>,
    ) -> Result<String, ReceiverError> {
        if let Err(error) = changed {
            let (mut connection, facts) = connect(self.options).await?;
            // At its position, it may send an incident again or not.
            let is_restored = async || {
                let of_path = ReceiverOptions {
                    number: self.path,
                    ..self.options.clone()
                };
                let received = (&self.old, &self.executed);
                restored::is_restored(&of_path, self.context, &facts, received).await
            };
            if error.incident_at().is_some() || !is_restored().await? {
                return Err(error);
            }
            let (options, executed) = (self.options, &self.executed);
            let log = &self.context.log;
            own_gtids::verify_executed(&mut connection, options, log, &facts, executed).await?;
            self.excuse_own().await?;
        }
        // A refusal ends; the same transaction is decided on again.
        counters.accept();
        Ok(match self.old.position.is_unknown() {
            true => "it is connected again".to_owned(),
            false => format!("it continues at {}", self.old.position),
        })
    }

    /// Without GTIDs: what the source's own server lacks of its transactions that others have delivered is accepted.
    async fn excuse_own(&self) -> Result<(), ReceiverError> {
        let (done, excused) = oneshot::channel();
        let path = self.path;
        let queued = Queued::OwnExcused(OwnExcused { path, done });
        let sent = self.context.queue.batches.send(queued).await;
        sent.map_err(|_| ReceiverError::LogClosed)?;
        excused.await.map_err(|_| ReceiverError::LogClosed)
    }

    /// The source continues at `at`.
    async fn at_another(
        &self,
        at: SourceStart,
        counted: oneshot::Sender<()>,
        wanted: Wanted,
    ) -> Result<String, ReceiverError> {
        let mut options = self.options.clone();
        let by_gtid = options.config.auto_position;
        options.config.start = at;
        if matches!(options.config.start, SourceStart::FilePosition(_)) {
            options.config.auto_position = None;
        }
        let (mut connection, facts) = connect(&options).await?;
        resume::check_kind(self.executed.kind(), &facts)?;
        let identities = &self.context.identities;
        identities.note(options.number, &facts, options.server_id)?;
        if self.new_history {
            self.check_gtids(&mut connection, &facts).await?;
        }
        let contact = explore(&mut connection, &options, facts).await?;
        if let Some(incident) = self.incident.as_ref().filter(|_| !self.new_history) {
            history_record::check_passed(incident, &self.old, &contact.progress)?;
        }
        options.config.auto_position = by_gtid;
        let change = self.change(&contact).await?;
        let is_new_history = matches!(change, DeliveredChange::NewHistory(..));
        let unverified = self.unverified_text(&contact);
        let before = contact.before.clone();
        let progress = self.progress(contact);
        let mut text = format!(
            "it continues at {}; everything before it counts as delivered",
            progress.position
        );
        // Other sources may have delivered transactions while the decision was verified: only now it is known which ones
        // are missing.
        let own = progress.server_id;
        let executed = self.record(progress, change, wanted).await?;
        let log = self.context.log.state().clone();
        let missing = missing_text(&before, &LogState { executed, ..log }, own);
        if missing.is_some() && self.executed.kind() == IdentityKind::MySql {
            let _ = counted.send(());
        }
        let new_history = is_new_history.then(|| MARIADB_NEW_HISTORY.to_owned());
        for warning in [missing, new_history, unverified].into_iter().flatten() {
            text.push('\n');
            text.push_str(&warning);
        }
        Ok(text)
    }

    /// Verifies the position; returns how what counts as delivered changes.
    async fn change(&self, contact: &FirstContact) -> Result<DeliveredChange, ReceiverError> {
        let is_missing_accepted = match self.executed.kind() {
            IdentityKind::MySql => self.counts_missing,
            IdentityKind::MariaDb => self.skips_missing && !self.new_history,
            IdentityKind::Anonymous => true,
        };
        if !is_missing_accepted {
            self.check_missing(contact)?;
        }
        Ok(match &contact.before {
            Executed::MySql(before) => DeliveredChange::Counted(before.clone()),
            Executed::MariaDb(before) if self.new_history => {
                self.check_first(contact).await?;
                DeliveredChange::NewHistory(contact.facts.server_id, before.clone())
            }
            Executed::MariaDb(before) => {
                let is_missing =
                    |gtid: &MariaDbGtid| !self.executed.contains(&Identity::MariaDb(*gtid));
                DeliveredChange::Skipped(before.iter().filter(is_missing).collect())
            }
            Executed::Anonymous => {
                self.check_without_gtids(contact).await?;
                DeliveredChange::None
            }
        })
    }

    /// Refuses a position before which are transactions that the log never had.
    fn check_missing(&self, contact: &FirstContact) -> Result<(), ReceiverError> {
        let log = self.context.log.state().clone();
        match resume::missing(&contact.before, &log, contact.facts.server_id) {
            None => Ok(()),
            Some(missing) => Err(ReceiverError::setup(
                format!(
                    "before this position are transactions that the relay log never had: {missing}"
                ),
                "wait until another source has delivered them, or choose an earlier position; if they \
                 are lost, execute their changes on the replicas and run binrelay continue SOURCE --at FILE:POS \
                 --skip-missing, or seed the replicas again",
            )),
        }
    }

    /// Without GTIDs, what is before the last position was delivered, and would be delivered again.
    async fn check_without_gtids(&self, contact: &FirstContact) -> Result<(), ReceiverError> {
        if self.executed != Executed::Anonymous {
            return Ok(());
        }
        if self.new_history {
            return self.check_first(contact).await;
        }
        let at = &contact.progress.position;
        let is_same_server = self.old.server_id == contact.facts.server_id;
        if is_same_server && at.precedes(&self.old.position) {
            return Err(ReceiverError::setup(
                format!(
                    "{at} is before {}, up to which the source was received: transactions between the two \
                     would be delivered twice",
                    self.old.position
                ),
                "choose a later position; if the source's binlog was reset, add --new-history",
            ));
        }
        Ok(())
    }

    /// Refuses a position from which the source's binlog still is the history that was received.
    async fn check_first(&self, contact: &FirstContact) -> Result<(), ReceiverError> {
        // A connection cannot be reused after an aborted dump.
        let (mut connection, facts) = connect(self.options).await?;
        facts.check_server(&contact.facts)?;
        let from = &contact.progress.position;
        let everything = FilterConfig::default();
        let mut reading =
            Rereading::request(&mut connection, self.options, &facts, from, &everything).await?;
        while let Some(batch) = reading.next(&mut connection).await? {
            let mut transactions = batch.transactions.iter();
            let own = transactions.find(|found| found.server_id == facts.server_id);
            let Some(own) = own else {
                continue;
            };
            let digest = own.history_digest();
            let names = self.context.paths.names();
            let source = match self.executed {
                // The server's own path, if the source's address was moved to it.
                Executed::Anonymous => names.get(usize::from(self.path)).cloned(),
                Executed::MySql(_) | Executed::MariaDb(_) => None,
            };
            let pin = self.context.log.pin("binrelay continue".to_owned());
            let (log_dir, files) = {
                let state = self.context.log.state();
                (self.context.log.log_dir().clone(), state.files.clone())
            };
            let server_id = facts.server_id;
            let looking = tokio::task::spawn_blocking(move || {
                let is_old = was_recorded(&log_dir, &files, digest, source.as_deref())?;
                let removed = removed_until::read(&log_dir)?.get(&server_id).copied();
                drop(pin);
                Ok::<_, LogError>((is_old, removed))
            });
            let found = looking.await.map_err(|_| ReceiverError::LogClosed)?;
            let (is_old, removed) = found.map_err(|error| {
                ReceiverError::setup(error.to_string(), "run binrelay verify DATA_DIR")
            })?;
            let seconds = own.commit_time_us / 1_000_000;
            if let Some(removed) =
                removed.filter(|removed| !is_old && seconds <= u64::from(*removed))
            {
                return Err(ReceiverError::setup(
                    format!(
                        "the transaction of the source that ends at {}:{} (committed at {}) may have been received \
                         before: the relay log had transactions of this server up to {}, which were removed with its \
                         oldest files",
                        batch.source_end.file,
                        own.source_offset,
                        utc::microseconds(own.commit_time_us).unwrap_or_default(),
                        utc::unix_seconds(removed)
                    ),
                    "give the position of a later transaction of its changed history as --at FILE:POS, or start \
                     with an empty data_dir and seed the replicas again",
                ));
            }
            if !is_old {
                return Ok(());
            }
            return Err(ReceiverError::setup(
                format!(
                    "the transaction of the source that ends at {}:{} was received before: its changed \
                     history begins later",
                    batch.source_end.file, own.source_offset
                ),
                "give the position after the last transaction that was received, as --at FILE:POS: a \
                 restored server began a new binlog file when it was started, so it is the beginning of \
                 that file (FILE:4), unless the server was restored to a later state",
            ));
        }
        Ok(())
    }

    /// MySQL: refuses a changed history in which GTIDs are used a second time, or will be.
    async fn check_gtids(
        &self,
        connection: &mut Connection,
        facts: &SourceFacts,
    ) -> Result<(), ReceiverError> {
        let Executed::MySql(delivered) = &self.executed else {
            return Ok(());
        };
        let reading = async {
            let executed = executed_set(connection).await?;
            let purged = purged_set(connection).await?;
            Ok((executed, purged))
        };
        let (executed, purged) = within(self.options.config.read_timeout, reading).await?;
        let others = self.context.identities.other_uuids(self.options.number);
        let uuid = facts.server_uuid.as_deref();
        let own = uuid.and_then(|uuid| uuid.parse::<Uuid>().ok());
        let mut repeated = GtidSet::new();
        for (sid, first, last) in delivered.iter_intervals() {
            let is_own = Some(sid.uuid) == own;
            let mut interval = GtidSet::new();
            interval.insert_interval(sid, first, last);
            // It will assign its own GTIDs that it lacks again.
            let mut lacked = interval.clone();
            lacked.subtract(&executed);
            if is_own {
                repeated.union_with(&lacked);
            }
            // Those in its binlog may be other transactions, unless a peer is their origin.
            if is_own || !others.contains(&sid.uuid) {
                interval.subtract(&purged);
                interval.subtract(&lacked);
                repeated.union_with(&interval);
            }
        }
        if repeated.is_empty() {
            return Ok(());
        }
        Err(ReceiverError::setup(
            format!(
                "the source uses GTIDs again that the relay log contains, or will use them: {repeated}. \
                 Replicas that have them skip the new transactions"
            ),
            "give the source the data of another master and a new server_uuid: restore a dump or copy of \
             that master, stop the server, remove its auto.cnf, start it, run RESET BINARY LOGS AND GTIDS \
             (before MySQL 8.4: RESET MASTER) and SET GLOBAL gtid_purged to the dump's GTIDs (of a copy: \
             its former gtid_executed), and run binrelay continue SOURCE --new-history again; or seed the \
             replicas again",
        ))
    }

    /// Without GTIDs: what cannot be verified.
    fn unverified_text(&self, contact: &FirstContact) -> Option<String> {
        let is_anonymous = self.executed.kind() == IdentityKind::Anonymous;
        let (old, at) = (&self.old.position, &contact.progress.position);
        let is_other = self.old.is_of_another(contact.facts.server_id);
        (is_anonymous && (old != at || is_other)).then(|| {
            let before = match old.is_unknown() || is_other {
                true => "before that position".to_owned(),
                false => format!("between {old} and {at}"),
            };
            format!(
                "warning: without GTIDs it cannot be verified that the replicas have the source's \
                 transactions {before}; compare their tables with the source's (CHECKSUM TABLE)"
            )
        })
    }

    /// The progress to record.
    fn progress(&self, contact: FirstContact) -> SourceProgress {
        let is_other = self.old.is_of_another(contact.facts.server_id);
        let first_timestamp = match self.old.position.is_unknown() || is_other {
            true => contact.progress.first_timestamp,
            false => self.old.first_timestamp,
        };
        let gtid_position = match &contact.before {
            Executed::MariaDb(state) => state.position(),
            Executed::MySql(_) | Executed::Anonymous => GtidPosition::new(),
        };
        SourceProgress {
            first_timestamp,
            gtid_position,
            last: None,
            reading_back: false,
            ..contact.progress
        }
    }

    /// Has the decision recorded in the log. Returns what had been delivered before it.
    async fn record(
        &self,
        progress: SourceProgress,
        change: DeliveredChange,
        wanted: Wanted,
    ) -> Result<Executed, ReceiverError> {
        let is_known = !self.old.position.is_unknown();
        let is_other = is_known && self.old.is_of_another(progress.server_id);
        let new_history = self.new_history || is_other;
        let (done, recorded) = oneshot::channel();
        let continuation = Continuation {
            path: self.path,
            source: self.options.number,
            progress,
            new_history,
            change,
            done,
        };
        let queue = &self.context.queue.batches;
        let place = queue.reserve().await;
        let place = place.map_err(|_| ReceiverError::LogClosed)?;
        if !wanted.confirm() {
            return Err(ReceiverError::setup("it was withdrawn", "repeat it"));
        }
        place.send(Queued::Continuation(Box::new(continuation)));
        recorded.await.map_err(|_| ReceiverError::LogClosed)
    }
}
