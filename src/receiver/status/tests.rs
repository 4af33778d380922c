use super::*;

fn at(offset: u64) -> SourcePosition {
    SourcePosition::new("bin.000001", offset)
}

fn end_at(offset: u64) -> Option<SourceEnd> {
    Some(SourceEnd {
        position: Some(at(offset)),
        executed: None,
    })
}

/// Streaming, with a newest event of 1970, and silent for long.
fn silent() -> SourceStatus {
    let status = SourceStatus::default();
    status.set_state(SourceState::Streaming);
    status.count_batch(1, Some(1));
    status.set_waiting();
    std::thread::sleep(CAUGHT_UP_AFTER + Duration::from_millis(20));
    status
}

#[test]
fn silent_source_is_caught_up_only_where_its_end_is_reached() {
    let status = silent();
    let behind = |here: u64| status.seconds_behind(Some(&at(here)), None).unwrap();
    assert_eq!(behind(400), 0, "an unknown end: silence is all there is");
    status.set_source_end(end_at(500));
    assert!(behind(400) > 1_000_000, "the dump stalls");
    assert_eq!(behind(500), 0);
    status.set_source_end(None);
    assert_eq!(behind(400), 0);
}

#[test]
fn busy_source_is_caught_up_where_its_end_is_reached() {
    let status = silent();
    status.set_busy();
    assert!(status.seconds_behind(Some(&at(500)), None).unwrap() > 0);
    status.set_source_end(end_at(500));
    assert_eq!(status.seconds_behind(Some(&at(500)), None), Some(0));
}

#[test]
fn heartbeat_after_the_end_was_reported_shows_that_all_was_sent() {
    let status = silent();
    status.note_heartbeat(&SourcePosition::default());
    std::thread::sleep(Duration::from_millis(2));
    status.set_source_end(end_at(500));
    assert!(status.seconds_behind(Some(&at(400)), None).unwrap() > 0);
    std::thread::sleep(Duration::from_millis(2));
    status.set_source_end(end_at(500));
    status.note_heartbeat(&SourcePosition::default());
    assert_eq!(status.seconds_behind(Some(&at(400)), None), Some(0));
    std::thread::sleep(Duration::from_millis(2));
    status.set_source_end(end_at(600));
    assert!(status.seconds_behind(Some(&at(400)), None).unwrap() > 0);
}

#[test]
fn end_without_position_and_gtids_is_unknown() {
    let status = silent();
    status.set_source_end(Some(SourceEnd {
        position: None,
        executed: None,
    }));
    assert_eq!(status.seconds_behind(Some(&at(400)), None), Some(0));
}
