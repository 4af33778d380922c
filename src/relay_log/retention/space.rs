//! Free space of the file system, and when it will be used up.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The period over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(3600);
/// A shorter period gives no useful rate.
const WINDOW_MIN: Duration = Duration::from_secs(600);
/// The shortest time between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// Bytes of the file system of `dir` that are available to this process.
///
/// # Errors
/// When `statvfs` fails.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes of the file system of `dir` that this process can write, with those that are reserved for root if it is root;
/// `None` if the file system does not tell.
pub fn writable_bytes(dir: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(dir).ok()?;
    let blocks = match rustix::process::geteuid().is_root() {
        true => found.f_bfree,
        false => found.f_bavail,
    };
    (found.f_blocks > 0).then(|| blocks.saturating_mul(found.f_frsize))
}

/// The free space at some moments of the last hour.
#[derive(Debug, Default)]
pub struct Space {
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

impl Space {
    /// Records the free space.
    pub fn note(&self, now: Instant, free: u64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = samples.back().map(|(at, _)| *at);
        if newest.is_some_and(|at| now.duration_since(at) < SAMPLE_INTERVAL) {
            return;
        }
        samples.push_back((now, free));
        while samples
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > WINDOW)
        {
            samples.pop_front();
        }
    }

    /// Seconds until `free` bytes are used up at the rate of the last hour; `None` if free space is not shrinking,
    /// or the rate is unknown.
    pub fn full_in(&self, now: Instant, free: u64) -> Option<u64> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, before) = *samples.front()?;
        let elapsed = now.duration_since(at);
        let used = before.checked_sub(free).filter(|used| *used > 0)?;
        let left = u128::from(free) * u128::from(elapsed.as_secs()) / u128::from(used);
        let left = u64::try_from(left).unwrap_or(u64::MAX);
        (elapsed >= WINDOW_MIN).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_until_the_disk_is_full_follows_the_rate_of_the_last_hour() {
        let space = Space::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(space.full_in(at(0), 100), None);
        // 1 byte a second, after an hour without use.
        for second in 0..=7200u64 {
            space.note(at(second), 100_000 - second.saturating_sub(3600));
        }
        assert_eq!(space.full_in(at(7200), 96_400), Some(96_400));
        assert_eq!(space.full_in(at(7200), 200_000), None, "space was freed");
        let short = Space::default();
        short.note(at(0), 100);
        assert_eq!(short.full_in(at(599), 50), None);
        assert_eq!(short.full_in(at(600), 50), Some(600));
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
    }
}
