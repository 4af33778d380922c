//! How long a source keeps its binlogs, compared with what the relay needs of them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a source says about its binlogs. `None` where it does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceRetention {
    /// After which time it removes them; `None` also where it never does.
    pub expires_after: Option<Duration>,
    /// The variable that says so.
    pub variable: &'static str,
    /// Its oldest binlog file.
    pub oldest: Option<String>,
    /// Whether it logs what it replicates.
    pub logs_updates: Option<bool>,
}

/// What is known of one source.
#[derive(Debug, Default)]
pub(super) struct RetentionStatus {
    inner: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    retention: SourceRetention,
    away_since: Option<Instant>,
    longest_away: Duration,
}

impl RetentionStatus {
    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records whether the source is followed now.
    pub(super) fn note_streaming(&self, is_streaming: bool, now: Instant) {
        self.with(|known| match (is_streaming, known.away_since) {
            (false, None) => known.away_since = Some(now),
            (true, Some(since)) => {
                known.longest_away = known.longest_away.max(now.duration_since(since));
                known.away_since = None;
            }
            _ => {}
        });
    }

    pub(super) fn set(&self, retention: SourceRetention) {
        self.with(|known| known.retention = retention);
    }

    pub(super) fn logs_updates(&self) -> Option<bool> {
        self.with(|known| known.retention.logs_updates)
    }

    /// Warnings that the source may purge binlogs that the relay has not read. `needed` is the file that the relay
    /// reads, `newest` the newest one.
    pub(super) fn warnings(&self, needed: Option<&str>, newest: Option<&str>) -> Vec<String> {
        let (retention, longest) = self.with(|known| (known.retention.clone(), known.longest_away));
        let mut warnings = Vec::new();
        let variable = retention.variable;
        if let Some(expires) = retention.expires_after.filter(|expires| *expires < longest) {
            warnings.push(format!(
                "the source purges its binlogs after {} s ({variable}), but the relay could not follow it for {} s; \
                 increase {variable}",
                expires.as_secs(),
                longest.as_secs()
            ));
        }
        let oldest = retention.oldest.as_deref();
        if let Some(needed) = needed.filter(|needed| oldest == Some(needed))
            && newest.is_some_and(|newest| newest != needed)
        {
            warnings.push(format!(
                "its oldest binlog {needed} is the one that the relay needs next: if it is purged, replication \
                 from this source cannot continue"
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_retention_than_an_absence_is_reported() {
        let status = RetentionStatus::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        status.set(SourceRetention {
            expires_after: Some(Duration::from_secs(3600)),
            variable: "binlog_expire_logs_seconds",
            ..SourceRetention::default()
        });
        for (second, is_streaming) in [
            (0, false),
            (5, true),
            (10, false),
            (20, false),
            (3610, true),
        ] {
            status.note_streaming(is_streaming, at(second));
        }
        assert_eq!(status.warnings(None, None), [""; 0]);
        status.note_streaming(false, at(4000));
        status.note_streaming(true, at(7601));
        let warnings = status.warnings(None, None);
        assert!(
            warnings[0].contains("after 3600 s (binlog_expire_logs_seconds)"),
            "{warnings:?}"
        );
        assert!(warnings[0].contains("3601 s"), "{warnings:?}");
    }

    #[test]
    fn relay_that_reads_the_oldest_of_several_files_is_reported() {
        let status = RetentionStatus::default();
        let count = |needed, newest| status.warnings(needed, newest).len();
        assert_eq!(count(Some("b.3"), Some("b.5")), 0, "unknown");
        status.set(SourceRetention {
            oldest: Some("b.3".to_owned()),
            ..SourceRetention::default()
        });
        assert_eq!(count(Some("b.3"), Some("b.5")), 1);
        assert_eq!(count(Some("b.4"), Some("b.5")), 0);
        assert_eq!(count(Some("b.3"), Some("b.3")), 0);
        assert_eq!(count(None, Some("b.3")), 0);
    }
}
