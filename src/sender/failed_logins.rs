//! Reporting failed logins: one line for each address and interval, however many there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After a failed login of an address was reported, others of it are counted for this long.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most addresses that are remembered.
const ADDRESSES_MAX: usize = 1024;

/// The addresses of which a failed login was reported lately.
#[derive(Debug, Default)]
pub struct FailedLogins(Mutex<HashMap<IpAddr, Recent>>);

#[derive(Debug)]
struct Recent {
    reported: Instant,
    /// Failed logins since then.
    others: u64,
}

impl FailedLogins {
    /// Records a failed login at `now`. Returns the number of those that were not reported before it, or
    /// `None` if it need not be reported either.
    pub fn record(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |recent: &Recent| now.duration_since(recent.reported) >= INTERVAL;
        if let Some(known) = recent.get_mut(&address) {
            if !is_over(known) {
                known.others += 1;
                return None;
            }
            known.reported = now;
            return Some(std::mem::take(&mut known.others));
        }
        if recent.len() >= ADDRESSES_MAX {
            recent.retain(|_, recent| !is_over(recent));
        }
        // A flood of more addresses is not reported for each of them.
        if recent.len() >= ADDRESSES_MAX {
            return None;
        }
        let first = Recent {
            reported: now,
            others: 0,
        };
        recent.insert(address, first);
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_reported_with_their_number() {
        let failed = FailedLogins::default();
        let (first, second) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let start = Instant::now();
        assert_eq!(failed.record(first, start), Some(0));
        for _ in 0..500 {
            assert_eq!(failed.record(first, start + INTERVAL / 2), None);
        }
        assert_eq!(failed.record(second, start), Some(0));
        assert_eq!(failed.record(first, start + INTERVAL), Some(500));
        assert_eq!(failed.record(first, start + INTERVAL * 2), Some(0));
    }

    #[test]
    fn many_addresses_take_bounded_memory() {
        let failed = FailedLogins::default();
        let start = Instant::now();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let reported = (0..5000).filter(|number| failed.record(address(*number), start).is_some());
        assert_eq!(reported.count(), ADDRESSES_MAX);
        assert_eq!(failed.record(address(9000), start + INTERVAL), Some(0));
        assert_eq!(failed.0.lock().unwrap().len(), 1);
    }
}
