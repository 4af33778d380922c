//! Which log files are kept: the limits, and everything that still needs old files.
//!
//! The oldest files are removed once they are older than `expire_after`, or while all files together exceed
//! `max_total_size`. Before that, everything that may still need them is asked ([`Need`]):
//!
//! | who | needs |
//! |---|---|
//! | a connected reader ([`pins`]) | the file that it reads, and those after it |
//! | a replica that was seen within `keep_for_replicas` ([`known_replicas`]) | the file up to which it was sent the log |
//! | a bridge | the file that it leads to |
//! | a source without GTIDs ([`crate::merge::pairing`]) | the oldest transaction of which it may still send a copy |
//! | a source with GTIDs that is away | the file that was written when it was last followed up to its end |
//!
//! `max_total_size` alone removes files that are needed. [`super::purge`] carries it out.

pub mod known_replicas;
pub mod pins;
pub mod policy;
pub mod space;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use self::known_replicas::KnownReplicas;
use self::pins::Pins;
use self::policy::{Need, NeedKind};
use self::space::Space;

/// `[log]`: how long files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionOptions {
    /// Files that were last written before this time ago are removed; `None` = never.
    pub expire_after: Option<Duration>,
    /// The oldest files are removed while all together have more bytes than this.
    pub max_total_size: Option<u64>,
    /// How long a replica that is not connected keeps the files that it needs.
    pub keep_for_replicas: Duration,
    /// `max_size`: with less free space than this, the disk is nearly full.
    pub max_file_size: u64,
}

impl RetentionOptions {
    /// How long a bridge keeps the file that it leads to: it expires as a log file would that was written
    /// with it.
    pub fn keep_for_bridges(&self) -> Duration {
        let expire_after = self.expire_after.unwrap_or_default();
        expire_after.max(self.keep_for_replicas)
    }
}

/// What the log thread is asked to do between two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogRequests {
    /// Begin a new file.
    pub rotate: bool,
    /// Begin a new file after this many bytes from now on.
    pub max_size: Option<u64>,
    /// Without GTIDs: no path may need files before this number any more.
    pub lose_before: Option<u64>,
}

/// A path without GTIDs, and the oldest file that its queues need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathNeed {
    /// The path's name.
    pub name: Arc<str>,
    /// The file in which its oldest queue begins, in the head of the newest index.
    pub file: u64,
    /// The same for the queue of its own server's transactions; the highest number if there is none.
    pub own_file: u64,
    /// Whether the source is configured, and this path is the one that is followed.
    pub is_followed: bool,
}

/// The paths without GTIDs.
#[derive(Debug, Default)]
struct PathNeeds {
    known: Vec<PathNeed>,
    /// A path is beginning with this file.
    beginning: Option<u64>,
}

/// What is known of everything that needs log files, shared by all threads.
#[derive(Debug)]
pub struct Retention {
    options: Mutex<RetentionOptions>,
    /// The replicas that were ever seen.
    pub replicas: KnownReplicas,
    pub(super) pins: Arc<Pins>,
    paths: Mutex<PathNeeds>,
    /// The sources that do not log what they replicate (`log_replica_updates` is off).
    without_updates: Mutex<BTreeSet<String>>,
    /// With GTIDs, by source: the file that was written when it was last at its end.
    sources: Mutex<BTreeMap<String, SourceNeed>>,
    requests: Mutex<LogRequests>,
    is_requested: AtomicBool,
    warnings: Mutex<Vec<String>>,
    /// Why nothing could be removed when that was attempted last.
    failure: Mutex<Option<String>>,
    /// The free space.
    pub space: Space,
    /// Notified when a new log file has begun.
    pub new_file: Notify,
    /// Held while files are removed.
    pub(super) purging: Mutex<()>,
}

/// A source with GTIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SourceNeed {
    file: u64,
    is_away: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Retention {
    /// Nothing is known but the replicas.
    pub fn new(options: RetentionOptions, replicas: KnownReplicas) -> Self {
        Self {
            options: Mutex::new(options),
            replicas,
            pins: Arc::default(),
            paths: Mutex::default(),
            without_updates: Mutex::default(),
            sources: Mutex::default(),
            requests: Mutex::default(),
            is_requested: AtomicBool::new(false),
            warnings: Mutex::default(),
            failure: Mutex::default(),
            space: Space::default(),
            new_file: Notify::new(),
            purging: Mutex::default(),
        }
    }

    /// The limits.
    pub fn options(&self) -> RetentionOptions {
        *lock(&self.options)
    }

    /// Changes the limits. The log thread uses another size with its next group, and the files are compared with the
    /// other limits soon.
    pub fn change_options(&self, options: RetentionOptions) {
        let before = std::mem::replace(&mut *lock(&self.options), options);
        if before.max_file_size != options.max_file_size {
            lock(&self.requests).max_size = Some(options.max_file_size);
            self.is_requested.store(true, Ordering::Release);
        }
        if before != options {
            self.new_file.notify_one();
        }
    }

    /// Without GTIDs: replaces the needs of the paths. The log thread does, with each new file.
    pub fn set_paths(&self, paths: Vec<PathNeed>) {
        *lock(&self.paths) = PathNeeds {
            known: paths,
            beginning: None,
        };
    }

    /// Without GTIDs: a path begins with `file`; [`Retention::set_paths`] follows. The caller holds the lock of the
    /// log's state, so that the file is not being removed.
    pub(super) fn begin_path(&self, file: u64) {
        lock(&self.paths).beginning = Some(file);
    }

    /// Without GTIDs: the oldest file that a path needs, or is beginning with.
    pub(super) fn oldest_of_paths(&self) -> Option<u64> {
        let paths = lock(&self.paths);
        let files = paths.known.iter().map(|path| path.file);
        files.chain(paths.beginning).min()
    }

    /// Without GTIDs: the needs of the paths.
    pub fn paths(&self) -> Vec<PathNeed> {
        lock(&self.paths).known.clone()
    }

    /// Records whether a source logs what it replicates: if not, it sends no copies.
    pub fn note_updates(&self, name: &str, logs_updates: bool) {
        let mut without_updates = lock(&self.without_updates);
        match logs_updates {
            true => without_updates.remove(name),
            false => without_updates.insert(name.to_owned()),
        };
    }

    /// With GTIDs: records whether a source is followed up to its end; `newest` and `oldest` are files of
    /// the log. Of a source that was never at its end since the relay's start, nothing is known.
    pub fn note_source(&self, name: &str, is_at_end: bool, oldest: u64, newest: u64) {
        let mut sources = lock(&self.sources);
        let need = sources.entry(name.to_owned()).or_insert(SourceNeed {
            file: oldest,
            is_away: true,
        });
        need.is_away = !is_at_end;
        if is_at_end {
            need.file = newest;
        }
    }

    /// With GTIDs: forgets what sources need that are no longer followed.
    pub fn retain_sources(&self, is_followed: impl Fn(&str) -> bool) {
        lock(&self.sources).retain(|name, _| is_followed(name));
    }

    /// Asks the log thread to begin a new file.
    pub fn request_rotation(&self) {
        lock(&self.requests).rotate = true;
        self.is_requested.store(true, Ordering::Release);
    }

    /// Without GTIDs: asks the log thread to make the paths do without the files before `number`.
    pub fn request_loss(&self, number: u64) {
        lock(&self.requests).lose_before = Some(number);
        self.is_requested.store(true, Ordering::Release);
    }

    /// The requests since the last call, if there are any.
    pub fn take_requests(&self) -> Option<LogRequests> {
        if !self.is_requested.load(Ordering::Acquire) {
            return None;
        }
        self.is_requested.store(false, Ordering::Release);
        Some(std::mem::take(&mut *lock(&self.requests)))
    }

    /// Everything that needs files of the log, but for bridges and for paths that are not followed.
    /// `oldest` is the oldest file: what needs an older one has lost it.
    pub fn needs(&self, oldest: u64, now: SystemTime) -> Vec<Need> {
        let mut needs = self.pins.needs();
        needs.extend(
            self.replicas
                .needs(now, self.options().keep_for_replicas)
                .into_iter()
                .filter(|need| need.file >= oldest),
        );
        let without_updates = lock(&self.without_updates).clone();
        for path in self.paths().iter().filter(|path| path.is_followed) {
            let source = path.name.split('@').next().unwrap_or(&path.name);
            let file = match without_updates.contains(source) {
                true => path.own_file,
                false => path.file,
            };
            needs.push(Need {
                file: file.max(oldest),
                kind: NeedKind::Pairing,
                who: format!("source {} (transactions that it may still send)", path.name),
            });
        }
        for (name, need) in lock(&self.sources).iter().filter(|(_, need)| need.is_away) {
            needs.push(Need {
                file: need.file.max(oldest),
                kind: NeedKind::Copies,
                who: format!("source {name} (away, or not at its end)"),
            });
        }
        needs
    }

    /// What an administrator should know, for the status.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = lock(&self.warnings).clone();
        warnings.extend(lock(&self.failure).clone());
        warnings
    }

    /// Replaces the reason why nothing could be removed; returns whether it is a new one.
    pub fn set_failure(&self, failure: Option<String>) -> bool {
        let mut current = lock(&self.failure);
        let is_new = failure.is_some() && *current != failure;
        *current = failure;
        is_new
    }

    /// Replaces the warnings; returns those that are new.
    pub fn set_warnings(&self, warnings: Vec<String>) -> Vec<String> {
        let mut current = lock(&self.warnings);
        let is_new = |warning: &&String| !current.contains(warning);
        let new = warnings.iter().filter(is_new).cloned().collect();
        *current = warnings;
        new
    }
}
