use super::*;

#[test]
fn replica_is_behind_since_it_was_last_at_the_end() {
    let progress = DumpProgress::default();
    let now = now_seconds();
    assert_eq!(progress.seconds_behind(now), None);
    progress.timestamp.store(now as u32 - 3600, Relaxed);
    assert_eq!(
        progress.seconds_behind(now),
        Some(3600),
        "it was never at the end"
    );
    progress.reach_end();
    assert_eq!(progress.seconds_behind(now), Some(0));
    progress.leave_end();
    let behind = progress.seconds_behind(now_seconds());
    assert!(
        behind < Some(60),
        "an hour without transactions is no lag: {behind:?}"
    );
    progress.left_end.store(now - 900, Relaxed);
    progress.timestamp.store(now as u32 - 20, Relaxed);
    assert_eq!(progress.seconds_behind(now), Some(20));
}

#[test]
fn replica_that_does_not_accept_the_newest_event_is_behind() {
    let progress = DumpProgress::default();
    let now = now_seconds();
    progress.timestamp.store(now as u32 - 3600, Relaxed);
    progress.reach_end();
    progress.begin_sending();
    progress.left_end.fetch_sub(120, Relaxed);
    progress.begin_sending();
    let behind = progress.seconds_behind(now);
    assert!(behind >= Some(119) && behind < Some(180), "{behind:?}");
    progress.reach_end();
    assert_eq!(progress.seconds_behind(now), Some(0));
}

/// It reads what it was asked for: a backup of last week's log is not behind.
#[test]
fn tool_that_reads_the_log_once_is_not_behind() {
    for (server_id, reads_once, is_judged) in
        [(11, false, true), (11, true, false), (0, false, false)]
    {
        let replicas = Arc::new(Replicas::new(Arc::default()));
        let registration = replicas.register(1, "repl".to_owned(), None, Arc::default(), None);
        let replica = Replica {
            server_id,
            reads_once,
            ..Replica::default()
        };
        let replica = replicas.set_replica(&registration.client, replica);
        replica.progress.dumping.store(true, Relaxed);
        replica
            .progress
            .timestamp
            .store(now_seconds() as u32 - 3600, Relaxed);
        let report = replicas.report().remove(0);
        assert_eq!(
            report.seconds_behind.is_some(),
            is_judged,
            "{server_id} {reads_once}"
        );
        assert_eq!(report.state, "catching_up");
    }
}
