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
