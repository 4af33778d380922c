//! The newest error of a source, and since when it occurs.

use std::mem::Discriminant;
use std::time::{Duration, SystemTime};

use super::error::ReceiverError;

/// After a connection that lasted this long, an error is a new one.
pub(super) const GOOD_CONNECTION: Duration = Duration::from_secs(30);

/// The newest error of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// The server's error code; 0 if it is not a server error.
    pub code: u16,
    /// The problem and its remedy.
    pub message: String,
    /// When it first occurred: each attempt to connect may end with the same error.
    pub at: SystemTime,
    /// When it last occurred.
    pub newest_at: SystemTime,
    /// Since when the source streams again.
    pub resolved_at: Option<SystemTime>,
}

/// What an error has in common with itself at another attempt; its text may contain what changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ErrorKind {
    is_failure: bool,
    code: u16,
    variant: Discriminant<ReceiverError>,
}

/// The newest error, if there was one.
#[derive(Debug, Clone, Default)]
pub(super) struct NewestError {
    error: Option<LastError>,
    kind: Option<ErrorKind>,
}

impl NewestError {
    pub(super) fn get(&self) -> Option<&LastError> {
        self.error.as_ref()
    }

    /// An error of `source` has occurred `now`.
    pub(super) fn note(&mut self, error: &ReceiverError, source: &str, now: SystemTime) {
        let (code, message) = (error.code(), error.to_line(source));
        let kind = ErrorKind {
            is_failure: error.is_failure(),
            code,
            variant: std::mem::discriminant(error),
        };
        let at = self.began(kind, &message, now);
        self.error = Some(LastError {
            code,
            message,
            at,
            newest_at: now,
            resolved_at: None,
        });
        self.kind = Some(kind);
    }

    /// When the error that occurs `now` first occurred.
    fn began(&self, kind: ErrorKind, message: &str, now: SystemTime) -> SystemTime {
        // Failures without a server's code differ by their text only.
        let is_known_by_text = kind.is_failure && kind.code == 0;
        let known = self.error.as_ref().filter(|known| {
            self.kind == Some(kind) && (!is_known_by_text || known.message == message)
        });
        let has_ended = |ended: SystemTime| {
            // An attempt streams until it reaches the event that fails: only a good connection ends a failure.
            let lasted = now.duration_since(ended).unwrap_or_default();
            !kind.is_failure || lasted > GOOD_CONNECTION
        };
        match known {
            Some(known) if !known.resolved_at.is_some_and(has_ended) => known.at,
            _ => now,
        }
    }

    /// The error has ended.
    pub(super) fn end(&mut self, now: SystemTime) {
        if let Some(error) = &mut self.error {
            error.resolved_at.get_or_insert(now);
        }
    }

    /// The next error is another one, even if it is the same.
    pub(super) fn separate(&mut self) {
        self.kind = None;
    }

    #[cfg(test)]
    pub(super) fn end_at(&mut self, time: SystemTime) {
        if let Some(error) = &mut self.error {
            error.resolved_at = Some(time);
        }
    }
}
