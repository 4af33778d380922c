//! Carrying out the changes that statements and `reload` ask for.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{Channel, Channels, Limits, Running, is_late, log_is};
use crate::config::{ChangedSettings, ChannelChanges, SharedFilter, SourceConfig, SourceStart};
use crate::identity::Executed;
use crate::position::SourcePosition;
use crate::receiver::{self, Activity, ContinueFrom, ContinueRequest};
use crate::relay_log::Condition;
use crate::sender::{ChangedSources, SourceChange, SourceChangeError};

/// Why a source does not continue at a position.
enum NotContinued {
    /// It never will, by this decision.
    Refused(SourceChangeError),
    /// It will: the decision is being recorded.
    Late(SourceChangeError),
}

impl Channels {
    /// Carries out a statement's change.
    pub(super) async fn apply(
        &mut self,
        change: SourceChange,
    ) -> Result<ChangedSources, SourceChangeError> {
        self.check_log()?;
        match change {
            SourceChange::Start(names) => self.set_stopped(&names, false).await,
            SourceChange::Stop(names) => self.set_stopped(&names, true).await,
            SourceChange::Forget(names) => self.forget(&names),
            SourceChange::Remove(names) => self.remove_all(&names).await,
            SourceChange::Change {
                name,
                settings,
                position,
            } => self.change(&name, *settings, position).await,
        }
    }

    /// Applies the sources of a configuration file that was read again.
    pub(super) async fn configure(
        &mut self,
        sources: Vec<SourceConfig>,
        filter: SharedFilter,
    ) -> Result<ChangedSources, SourceChangeError> {
        self.check_log()?;
        let followed = self.channels.iter().map(|channel| &channel.parts.config);
        let mut following =
            followed.filter(|one| one.filter.is_shared_with(&self.configured.filter));
        match following.any(|one| sources.iter().any(|source| source.name == one.name)) {
            // It has a section of its own now. It must not see new rules of [filter] before it follows its own.
            true => self.configured.filter = filter,
            false => self.configured.filter.replace(filter.current()),
        }
        self.configured.sources = sources;
        let outcome = self.reconcile().await;
        let followed = self.channels.iter();
        let followed: Vec<_> = followed
            .map(|channel| channel.parts.config.clone())
            .collect();
        receiver::remember_filters(&self.data_dir, &followed);
        outcome?;
        // What has changed in the file is known to whoever has read it.
        Ok(ChangedSources {
            warnings: self.sentences(),
            ..ChangedSources::default()
        })
    }

    /// What was changed at run time and has precedence over the configuration.
    fn sentences(&self) -> Vec<String> {
        let configured = &self.configured;
        configured
            .changes
            .sentences(&configured.sources, &self.data_dir)
    }

    /// Without GTIDs: refuses to remove a source that is still read up to its start. What was read of it counts as
    /// delivered already, and the rest would not.
    pub(super) fn check_removable(&self, name: &str) -> Result<(), SourceChangeError> {
        let (Some(channel), Some(running)) = (self.find(name), self.running.as_ref()) else {
            return Ok(());
        };
        check_read_back(channel, running)
    }

    fn check_log(&self) -> Result<(), SourceChangeError> {
        let condition = self
            .running
            .as_ref()
            .map(|running| running.context.log.condition());
        match condition {
            Some(condition @ Condition::Failed(_)) => Err(log_is(&condition)),
            _ => Ok(()),
        }
    }

    /// The sources with these names.
    fn known(&self, names: &[String]) -> Result<Vec<&Channel>, SourceChangeError> {
        let find = |name: &String| {
            self.find(name)
                .ok_or_else(|| SourceChangeError::Unknown(name.clone()))
        };
        names.iter().map(find).collect()
    }

    /// Those, if none of them is running.
    fn stopped(&self, names: &[String]) -> Result<Vec<String>, SourceChangeError> {
        let known = self.known(names)?;
        match known.iter().find(|channel| channel.is_running()) {
            Some(running) => Err(SourceChangeError::Running(running.name())),
            None => Ok(known.iter().map(|channel| channel.name()).collect()),
        }
    }

    /// Makes changes durable, then carries them out.
    async fn commit(&mut self, changes: ChannelChanges) -> Result<(), SourceChangeError> {
        let saved = changes.save(&self.data_dir);
        saved.map_err(|error| SourceChangeError::Refused(error.to_string()))?;
        self.configured.changes = changes;
        self.reconcile().await
    }

    /// Waits until a source's receiver has carried out an order.
    pub(super) async fn wait(&self, name: &str, order: u64) -> Result<(), SourceChangeError> {
        let Some(channel) = self.find(name) else {
            return Ok(());
        };
        match channel
            .orders
            .wait(&channel.parts.status, order, self.limits.step)
            .await
        {
            true => Ok(()),
            false => Err(is_late(name, self.limits.step)),
        }
    }

    async fn set_stopped(
        &mut self,
        names: &[String],
        is_stopped: bool,
    ) -> Result<ChangedSources, SourceChangeError> {
        let known = self.known(names)?;
        let (mut changed, mut unchanged, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for channel in known {
            let is_followed = channel.orders.activity() == Activity::Follow;
            match (is_followed, channel.is_running()) {
                // It has failed: START tries again at once.
                (true, false) if !is_stopped => again.push(channel.name()),
                _ if is_followed != is_stopped => unchanged.push(channel.name()),
                _ => changed.push(channel.name()),
            }
        }
        let mut changes = self.configured.changes.clone();
        for name in &changed {
            changes.change(name, |channel| channel.is_stopped = is_stopped);
        }
        if !changed.is_empty() {
            self.commit(changes).await?;
        }
        for name in &again {
            if let Some(channel) = self.find(name) {
                let config = channel.parts.config.clone();
                channel.orders.send(config, Activity::Follow);
            }
        }
        changed.extend(again);
        for name in &changed {
            match is_stopped {
                true => tracing::info!(source = name, "stopped by an administrator"),
                false => tracing::info!(source = name, "started by an administrator"),
            }
        }
        Ok(ChangedSources {
            changed,
            unchanged,
            warnings: Vec::new(),
        })
    }

    fn forget(&self, names: &[String]) -> Result<ChangedSources, SourceChangeError> {
        let changed = self.stopped(names)?;
        for channel in self.known(names)? {
            channel.parts.status.clear_error();
        }
        let warnings = changed.iter().map(|name| {
            format!(
                "source {name} keeps its position, which belongs to the relay log; to continue at another one, use \
                 CHANGE with a file and a position"
            )
        });
        Ok(ChangedSources {
            warnings: warnings.collect(),
            changed,
            unchanged: Vec::new(),
        })
    }

    async fn remove_all(&mut self, names: &[String]) -> Result<ChangedSources, SourceChangeError> {
        let names = self.stopped(names)?;
        for name in &names {
            self.check_removable(name)?;
        }
        let mut changes = self.configured.changes.clone();
        for name in &names {
            changes.forget(name);
            let mut configured = self.configured.sources.iter();
            if configured.any(|source| source.name == *name) {
                changes.change(name, |channel| channel.is_removed = true);
            }
        }
        self.commit(changes).await?;
        for name in &names {
            tracing::warn!(source = name, "removed by an administrator");
        }
        Ok(ChangedSources {
            changed: names,
            ..ChangedSources::default()
        })
    }

    async fn change(
        &mut self,
        name: &str,
        mut settings: ChangedSettings,
        position: Option<SourcePosition>,
    ) -> Result<ChangedSources, SourceChangeError> {
        let known = self.find(name).map(Channel::name);
        if known.is_some() {
            self.stopped(&[name.to_owned()])?;
        }
        let name = known.clone().unwrap_or_else(|| name.to_owned());
        // The name may be that of a source that was removed, in other case.
        let mut configured = self.configured.sources.iter();
        let configured = configured.find(|source| source.name.eq_ignore_ascii_case(&name));
        let name = configured.map_or(name, |source| source.name.clone());
        let is_added = configured.is_none();
        let has_path = known.is_some() || self.has_begun(&name);
        let continues = position.is_some() && self.continues_at(has_path);
        if let Some(position) = position.as_ref().filter(|_| !has_path || !continues) {
            settings.start = Some(SourceStart::FilePosition(position.clone()));
        }
        let before = self.configured.changes.clone();
        let mut changes = before.clone();
        changes.change(&name, |channel| {
            channel.is_added = is_added;
            channel.is_removed = false;
            channel.is_stopped = true;
            channel.settings.update(settings);
        });
        self.commit(changes).await?;
        let mut warnings = Vec::new();
        if let Some(position) = position.filter(|_| continues) {
            match self.continue_at(&name, position).await {
                Ok(lines) => warnings = lines,
                Err(NotContinued::Late(error)) => return Err(error),
                Err(NotContinued::Refused(error)) => {
                    self.commit(before).await?;
                    return Err(error);
                }
            }
        }
        tracing::warn!(source = name, "changed by an administrator");
        Ok(ChangedSources {
            changed: vec![name],
            unchanged: Vec::new(),
            warnings,
        })
    }

    /// Whether the log has a position of a source with this name, which may have been removed.
    fn has_begun(&self, name: &str) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let path = running.context.paths.number_of(name).map(usize::from);
        let state = running.context.log.state();
        let progress = path.and_then(|path| state.sources.get(path));
        progress.is_some_and(|progress| !progress.position.is_unknown())
    }

    /// Whether a position is a decision that the source continues there: of a source that the log has, and, without
    /// GTIDs, of one that it does not have yet. Otherwise it is the start of a source.
    fn continues_at(&self, has_path: bool) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        has_path || running.context.log.state().executed == Executed::Anonymous
    }

    /// The source continues at another position, as by `binrelay continue`; returns the warnings.
    async fn continue_at(
        &self,
        name: &str,
        position: SourcePosition,
    ) -> Result<Vec<String>, NotContinued> {
        let refused = |error| Err(NotContinued::Refused(error));
        let Some(channel) = self.find(name) else {
            return refused(SourceChangeError::Unknown(name.to_owned()));
        };
        let condition = self
            .running
            .as_ref()
            .map(|running| running.context.log.condition());
        if let Some(condition @ Condition::DiskFull(_)) = condition {
            return refused(log_is(&condition));
        }
        let (answer, answered) = oneshot::channel();
        let (wanted, mut withdrawal) = receiver::withdrawable();
        let request = ContinueRequest {
            from: ContinueFrom {
                at: Some(SourceStart::FilePosition(position.clone())),
                new_history: false,
                counts_missing: false,
                skips_missing: false,
            },
            // Nothing is counted.
            counted: oneshot::channel().0,
            wanted,
            answer,
        };
        let requests = channel.parts.deciding.clone();
        let mut deciding = Box::pin(async move {
            let sent = requests.send(request).await;
            sent.map_err(|_| "the receiver has ended: restart the relay".to_owned())?;
            let answered = answered.await;
            answered.map_err(|_| "the relay is stopping".to_owned())?
        });
        let Limits {
            step,
            position: limit,
        } = self.limits;
        let decided = match tokio::time::timeout(limit, &mut deciding).await {
            // From here on it cannot happen any more.
            Err(_) if withdrawal.withdraw() => Err(not_found_in_time(name, &position, limit)),
            Err(_) => match tokio::time::timeout(step, &mut deciding).await {
                Err(_) => {
                    // The receiver waits for the record as long as someone waits for the receiver.
                    tokio::spawn(deciding);
                    return Err(NotContinued::Late(not_recorded_yet(name, &position)));
                }
                Ok(decided) => decided,
            },
            Ok(decided) => decided,
        };
        match decided {
            Ok(text) => Ok(text.lines().skip(1).map(str::to_owned).collect()),
            Err(text) => refused(SourceChangeError::Refused(text)),
        }
    }
}

fn not_found_in_time(name: &str, position: &SourcePosition, limit: Duration) -> String {
    format!(
        "the position was not found within {} s, and nothing was changed: set the other options without LOG_FILE and \
         LOG_POS, and run binrelay continue {name} --at {position}, which has no time limit",
        limit.as_secs()
    )
}

fn not_recorded_yet(name: &str, position: &SourcePosition) -> SourceChangeError {
    SourceChangeError::Refused(format!(
        "source {name} has its other options, and will continue at the position {position} once the relay log has \
         recorded that: binrelay status shows why the relay log is busy"
    ))
}

impl Channel {
    fn name(&self) -> String {
        self.parts.config.name.clone()
    }
}

/// As [`Channels::check_removable`].
pub(super) fn check_read_back(
    channel: &Channel,
    running: &Running,
) -> Result<(), SourceChangeError> {
    let state = running.context.log.state();
    let progress = state.sources.get(usize::from(channel.parts.number));
    if !progress.is_some_and(|progress| progress.reading_back) {
        return Ok(());
    }
    Err(SourceChangeError::Refused(format!(
        "source {} is still read up to its start, and what was read counts as delivered; remove it once the relay log has \
         begun, or stop binrelay, remove it from the configuration and start binrelay: the log is created again",
        channel.name()
    )))
}
