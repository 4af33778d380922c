//! The report for all HTTP clients: at most one is made in a second, so that a flood of requests, also those that need
//! no token, costs nothing. A report looks at each file of the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::status::Report;

/// How old a report may be.
const FRESH: Duration = Duration::from_secs(1);

/// Makes reports.
pub(super) struct Reports {
    make: Arc<dyn Fn() -> Report + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest report, and when it was begun.
    newest: Option<(Instant, Arc<Report>)>,
    /// The one that is being made. A client that goes away meanwhile leaves it to the next one.
    making: Option<(Instant, JoinHandle<Report>)>,
}

impl Reports {
    /// Makes reports with `make`.
    pub(super) fn new(make: Arc<dyn Fn() -> Report + Send + Sync>) -> Self {
        Self {
            make,
            state: Mutex::default(),
        }
    }

    /// A report that is at most a second old; `None` if making it has failed.
    pub(super) async fn newest(&self) -> Option<Arc<Report>> {
        let mut state = self.state.lock().await;
        if let Some((at, report)) = &state.newest
            && at.elapsed() < FRESH
        {
            return Some(report.clone());
        }
        let (begun, making) = state.making.get_or_insert_with(|| {
            let make = self.make.clone();
            (Instant::now(), spawn_blocking(move || make()))
        });
        let (begun, made) = (*begun, making.await);
        state.making = None;
        let report = Arc::new(made.ok()?);
        state.newest = Some((begun, report.clone()));
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::status::RelayReport;

    #[tokio::test]
    async fn flood_of_requests_makes_one_report() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let make = move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            Report {
                relay: RelayReport::default(),
                sources: Vec::new(),
                replicas: Vec::new(),
            }
        };
        let reports = Arc::new(Reports::new(Arc::new(make)));
        // Clients that go away leave no second one behind.
        for _ in 0..3 {
            let gone = tokio::time::timeout(Duration::from_millis(1), reports.newest());
            assert!(gone.await.is_err());
        }
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let reports = reports.clone();
                tokio::spawn(async move { reports.newest().await.is_some() })
            })
            .collect();
        for client in clients {
            assert!(client.await.unwrap());
        }
        assert_eq!(made.load(Ordering::SeqCst), 1);
        tokio::time::sleep(FRESH).await;
        assert!(reports.newest().await.is_some());
        assert_eq!(made.load(Ordering::SeqCst), 2);
    }
}
