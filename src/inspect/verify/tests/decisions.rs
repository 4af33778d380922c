//! Logs in which an administrator has changed what counts as delivered.

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::gtid::BinlogState;
use crate::log_thread::{Continuation, DeliveredChange, Queued, SourceCounters};
use crate::relay_log::SourceProgress;

/// Verifies a log with the fixture's transactions, in which `change` is made.
fn verified_after(kind: &str, change: DeliveredChange) -> VerifyReport {
    let dir = tempfile::tempdir().unwrap();
    let log_thread = written(kind, dir.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sender, queue) = mpsc::channel(1);
    let continuation = Continuation {
        path: 0,
        source: 0,
        progress: SourceProgress::default(),
        new_history: false,
        change,
        done: oneshot::channel().0,
    };
    let queued = Queued::Continuation(Box::new(continuation));
    sender.try_send(queued).unwrap();
    drop(sender);
    let counters = [Arc::new(SourceCounters::default())];
    log_thread.run(queue, &counters, runtime.handle());
    verify(dir.path()).unwrap()
}

#[test]
fn changes_of_what_counts_as_delivered_are_sound() {
    let counted = "11111111-2222-3333-4444-555555555555:1-5".parse();
    let skipped = vec!["0-1-999999".parse().unwrap(), "7-99-3".parse().unwrap()];
    let cases = [
        ("mysql-9.7", DeliveredChange::Counted(counted.unwrap())),
        ("mariadb-10.11", DeliveredChange::Skipped(skipped)),
        (
            "mariadb-10.11",
            DeliveredChange::NewHistory(86, BinlogState::new()),
        ),
    ];
    for (kind, change) in cases {
        let report = verified_after(kind, change);
        assert!(report.is_sound(), "{kind}: {report:?}");
    }
}
