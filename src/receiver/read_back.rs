//! Reading the transactions before the sources' starts, where there are no GTIDs.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::position::SourcePosition;

/// The starts of sources that are read from before them. All sources wait for each other: a copy
/// of a transaction before one source's start must not be recorded from another source.
#[derive(Debug)]
pub struct ReadBack {
    /// By source: the start, until it is reached.
    starts: Mutex<Vec<Option<SourcePosition>>>,
    left: watch::Sender<usize>,
}

impl ReadBack {
    /// With these starts, by the sources' numbers.
    pub fn new(starts: Vec<Option<SourcePosition>>) -> Self {
        let left = starts.iter().flatten().count();
        Self {
            starts: Mutex::new(starts),
            left: watch::Sender::new(left),
        }
    }

    /// The source's start, unless it was reached.
    pub fn start_of(&self, source: u16) -> Option<SourcePosition> {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.get(usize::from(source)).cloned().flatten()
    }

    /// The source has reached its start, and everything before it is queued for the log.
    pub fn finish(&self, source: u16) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(start) = starts.get_mut(usize::from(source)) {
            *start = None;
        }
        self.left.send_replace(starts.iter().flatten().count());
    }

    /// Waits until all sources have reached their starts.
    pub async fn wait_for_all(&self) {
        let mut left = self.left.subscribe();
        // It cannot be closed while `self` exists.
        let _ = left.wait_for(|left| *left == 0).await;
    }
}
