//! Options of the writer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::config::SyncPolicy;
use crate::relay_log::error::LogError;
use crate::relay_log::files::LogDir;
use crate::relay_log::retention::known_replicas::KnownReplicas;
use crate::relay_log::retention::{Retention, RetentionOptions};

/// The usual [`LogOptions::hand_over_min`]. Debug builds, in which the tests with real servers keep their files in memory,
/// always hand groups over.
pub const HAND_OVER_MIN: Duration = match cfg!(debug_assertions) {
    true => Duration::ZERO,
    false => Duration::from_micros(100),
};

/// Options of the writer.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Where the files are.
    pub log_dir: LogDir,
    /// The relay's own server_id, for its control events.
    pub server_id: u32,
    /// A new file begins after this many bytes.
    pub max_size: u64,
    /// When the log is synced.
    pub sync: SyncPolicy,
    /// The configured sources' names, by number.
    pub source_names: Vec<Arc<str>>,
    /// How long files are kept.
    pub retention: RetentionOptions,
    /// Bytes of the disk that are reserved for the index and the list of files; 0 for none.
    pub reserve: u64,
    /// A group whose predecessor was completed in less time is completed by the log thread itself: waking another thread
    /// would take longer. See [`HAND_OVER_MIN`].
    pub hand_over_min: Duration,
    /// Set to give up a write that waits for disk space.
    pub stopping: Arc<AtomicBool>,
}

impl LogOptions {
    /// The replicas that were known before, and the limits.
    pub(super) fn open_retention(&self) -> Result<Retention, LogError> {
        let path = self.log_dir.replicas_path();
        let replicas = KnownReplicas::open(path.clone());
        let replicas = replicas.map_err(|cause| LogError::io("read", &path, cause))?;
        Ok(Retention::new(self.retention, replicas))
    }
}
