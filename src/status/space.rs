//! The size of the log, the space that is left, and what endangers the files that are needed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Parts, RelayReport};
use crate::receiver::SourceState;
use crate::relay_log::purge::file_facts;
use crate::relay_log::reader::FIRST_EVENT;
use crate::relay_log::retention::space::free_bytes;
use crate::relay_log::{LogState, RelayLog};
use crate::utc;

/// The disk is nearly full if it will be full within this time.
const NEARLY_FULL_SECONDS: u64 = 3600;
/// A source that is at most this far behind counts as caught up.
const AT_END_MAX: Duration = Duration::from_secs(60);

/// When a log file was begun: an event begins with its time.
fn begun_at(path: &Path) -> Option<SystemTime> {
    let mut timestamp = [0; 4];
    let file = File::open(path).ok()?;
    file.read_exact_at(&mut timestamp, FIRST_EVENT).ok()?;
    let since_epoch = Duration::from_secs(u32::from_le_bytes(timestamp).into());
    UNIX_EPOCH.checked_add(since_epoch)
}

impl Parts {
    /// The fields about space and retention; the others are empty.
    pub(super) fn space(&self, log: Option<&RelayLog>, state: Option<&LogState>) -> RelayReport {
        let (Some(log), Some(state)) = (log, state) else {
            return RelayReport::default();
        };
        let retention = log.retention();
        let facts = file_facts(log).ok();
        let free = free_bytes(&log.log_dir().dir).ok();
        let full_in = free.and_then(|free| retention.space.full_in(Instant::now(), free));
        let mut degraded = retention.warnings();
        if let Some(free) = free {
            let is_low = free < retention.options().max_file_size;
            if is_low || full_in.is_some_and(|seconds| seconds < NEARLY_FULL_SECONDS) {
                let when =
                    full_in.map_or(String::new(), |seconds| format!(", full in {seconds} s"));
                degraded.push(format!(
                    "the disk of {} is nearly full: {free} bytes are free{when}",
                    log.log_dir().dir.display()
                ));
            }
        }
        degraded.extend(self.source_warnings(state));
        let options = retention.options();
        let oldest = state
            .files
            .first()
            .map(|file| log.log_dir().log_path(*file));
        RelayReport {
            log_files: Some(state.files.len() as u64),
            log_begins_at: oldest.and_then(|path| begun_at(&path)).map(utc::seconds),
            expire_after_seconds: options.expire_after.map(|age| age.as_secs()),
            max_total_size: options.max_total_size,
            commit_sync: log.timings().commit_sync.report(),
            publish_latency: log.timings().publish_latency.report(),
            log_bytes: facts.map(|files| files.iter().map(|file| file.len).sum()),
            disk_free_bytes: free,
            disk_full_seconds: full_in,
            degraded,
            ..RelayReport::default()
        }
    }

    /// Warnings that a source may purge binlogs that the relay has not read.
    pub fn source_warnings(&self, state: &LogState) -> Vec<String> {
        let mut found = Vec::new();
        for source in self.sources.now().iter() {
            let position = state
                .sources
                .get(source.path())
                .map(|progress| &progress.position);
            let needed = position.filter(|at| !at.is_unknown()).map(|at| &*at.file);
            let warnings = source.status.retention_warnings(needed);
            let name = &source.config.name;
            found.extend(warnings.iter().map(|text| format!("source {name}: {text}")));
        }
        found
    }

    /// Each source's name, and whether it is followed up to its end.
    pub fn followed(&self, state: &LogState) -> Vec<(String, bool)> {
        let list = self.sources.now();
        let followed = list.iter().map(|source| {
            let position = state.sources.get(source.path());
            let position = position.map(|progress| &progress.position);
            let behind = source
                .status
                .seconds_behind(position, Some(&state.executed));
            let is_at_end = behind.is_some_and(|seconds| seconds <= AT_END_MAX.as_secs());
            let is_streaming = source.status.state() == SourceState::Streaming;
            (source.config.name.clone(), is_streaming && is_at_end)
        });
        followed.collect()
    }
}
