//! Attaching replicas that followed something else: `binrelay position` and `binrelay attach`.
//!
//! ```text
//! coordinates, GTIDs or  ──▶ what the replica has ──▶ where it continues ──▶ statements
//! the replica's relay log     (`held`)                 (`decide`; a bridge     (`statements`)
//!                                                       where needed)
//! ```
//! With GTIDs, the source itself is asked which transactions precede a position. Without, or where a
//! MariaDB source does not answer, the commit indexes show it. See [`crate::relay_log::held`].
#![doc = include_str!("adoption/adoption.md")]

mod decide;
mod error;
mod held;
mod last_of;
mod messages;
mod missing;
mod origin_source;
mod statements;
#[cfg(test)]
mod tests;

pub use error::AttachError;
pub use messages::{
    Answer, AttachRequest, Attachment, Coordinates, LoggedFingerprint, OriginEnd, ReplicaPlace,
};

pub use missing::{Missing, MissingAnswer, MissingRequest, MissingTransaction, Rescue};

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use self::decide::{Decider, Decision};
use self::statements::Address;
use crate::config::SourceConfig;
use crate::relay_log::{LogState, RelayLog, SourceProgress};

/// How long transactions are waited for that the relay is about to receive.
const WAIT: Duration = Duration::from_secs(10);
/// The pause between two attempts.
const RETRY: Duration = Duration::from_millis(500);

/// The settings that attaching needs.
#[derive(Debug, Clone)]
pub struct AdoptionOptions {
    /// The relay's own server_id.
    pub server_id: u32,
    /// `[relay] listen`, which names the relay's address.
    pub listen: String,
    /// The account that replicas use; `None` if none is configured.
    pub user: watch::Receiver<Option<String>>,
    /// The sources' numbers and settings.
    pub sources: Vec<(u16, SourceConfig)>,
}

/// Reads the numbers and settings of the sources that are followed now.
pub type ReadSources = Box<dyn Fn() -> Vec<(u16, SourceConfig)> + Send + Sync>;

/// Answers requests to attach replicas.
pub struct Adoption {
    /// Without sources.
    options: AdoptionOptions,
    read_sources: ReadSources,
    log: watch::Receiver<Option<Arc<RelayLog>>>,
    /// One bridge is written at a time: each gets the next number.
    turn: Mutex<()>,
    wait: Duration,
}

impl fmt::Debug for Adoption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adoption").finish_non_exhaustive()
    }
}

impl Adoption {
    /// For the relay log in `log`, which is `None` until the first source has answered, and the sources that
    /// are read.
    pub fn new(
        options: AdoptionOptions,
        read_sources: ReadSources,
        log: watch::Receiver<Option<Arc<RelayLog>>>,
    ) -> Self {
        Self {
            options,
            read_sources,
            log,
            turn: Mutex::new(()),
            wait: WAIT,
        }
    }

    /// Finds where the replica continues, and writes the bridge if one is needed and wanted.
    pub async fn answer(&self, request: AttachRequest) -> Answer {
        match self.attach(&request).await {
            Ok(attachment) => Answer::Attached(attachment),
            Err(error) => Answer::Refused(error.to_string()),
        }
    }

    /// The settings, with the sources that are followed now.
    fn options(&self) -> AdoptionOptions {
        AdoptionOptions {
            sources: (self.read_sources)(),
            ..self.options.clone()
        }
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Attachment, AttachError> {
        let _turn = self.turn.lock().await;
        let options = self.options();
        let log = self.log.borrow().clone().ok_or(AttachError::NoLog)?;
        let place = held::place(&options, &log, &request.place).await?;
        let decider = Arc::new(Decider {
            log: log.clone(),
            server_id: options.server_id,
            followed: followed(&options),
            place,
            makes_bridge: request.makes_bridge,
        });
        let deadline = Instant::now() + self.wait;
        let mut boundaries = BTreeSet::new();
        let decision = loop {
            let (deciding, known) = (decider.clone(), boundaries.clone());
            let decided = tokio::task::spawn_blocking(move || deciding.decide(&known)).await;
            match decided.unwrap_or(Err(AttachError::Internal)) {
                Err(AttachError::Boundary { source_name, at }) => {
                    held::check_boundary(&options, &log, &source_name, &at).await?;
                    boundaries.insert(source_name);
                }
                Err(error) if error.may_pass() && Instant::now() < deadline => sleep(RETRY).await,
                decided => break decided?,
            }
        };
        Ok(self.attachment(&log, decision))
    }

    /// Finds what a source lacks of the log, and writes a rescue if that is wanted.
    pub async fn missing(&self, request: MissingRequest) -> MissingAnswer {
        let _turn = self.turn.lock().await;
        let Some(log) = self.log.borrow().clone() else {
            return MissingAnswer::Refused(AttachError::NoLog.to_string());
        };
        let options = self.options();
        match missing::find(&options, log, request).await {
            Ok(missing) => MissingAnswer::Found(Box::new(missing)),
            Err(error) => MissingAnswer::Refused(error.to_string()),
        }
    }

    fn attachment(&self, log: &RelayLog, decision: Decision) -> Attachment {
        let address = Address::of(&self.options.listen, self.options.user.borrow().as_deref());
        statements::attachment(log, &address, decision)
    }
}

/// The settings of the source with this name.
fn source<'a>(options: &'a AdoptionOptions, name: &str) -> Result<&'a SourceConfig, AttachError> {
    let mut sources = options.sources.iter();
    sources
        .find_map(|(_, source)| (source.name == name).then_some(source))
        .ok_or_else(|| AttachError::UnknownSource {
            name: name.to_owned(),
            known: names(options),
        })
}

/// The names of the sources that are followed.
fn followed(options: &AdoptionOptions) -> Vec<Arc<str>> {
    let sources = options.sources.iter();
    sources
        .map(|(_, source)| source.name.as_str().into())
        .collect()
}

fn names(options: &AdoptionOptions) -> String {
    let names: Vec<&str> = options
        .sources
        .iter()
        .map(|(_, one)| one.name.as_str())
        .collect();
    names.join(", ")
}

/// What was received on the path with this name; `paths` are the names of all paths, by number
/// ([`LogPart::path_names`]).
///
/// [`LogPart::path_names`]: crate::relay_log::held::LogPart::path_names
fn progress<'s>(paths: &[Arc<str>], state: &'s LogState, name: &str) -> Option<&'s SourceProgress> {
    let number = paths.iter().position(|path| **path == *name)?;
    state.sources.get(number)
}

/// The server_id of the source, from what was received from it; 0 if nothing was.
fn server_id(options: &AdoptionOptions, log: &RelayLog, name: &str) -> u32 {
    let mut sources = options.sources.iter();
    let number = sources.find_map(|(number, one)| (one.name == name).then_some(*number));
    let state = log.state();
    let progress = number.and_then(|number| state.sources.get(usize::from(number)));
    progress.map_or(0, |progress| progress.server_id)
}
