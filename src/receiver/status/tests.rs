use std::io;

use super::*;
use crate::connection::{ConnectionError, ConnectionErrorCause, Phase};
use crate::protocol::ServerError;

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

fn connection_error(cause: ConnectionErrorCause) -> ReceiverError {
    ReceiverError::Connection(ConnectionError {
        peer: "db1:3306".to_owned(),
        phase: Phase::Connect,
        cause,
    })
}

fn io_error(kind: io::ErrorKind) -> ReceiverError {
    connection_error(ConnectionErrorCause::Io(kind.into()))
}

/// The times of an error that is noted at each of `noted`, in seconds: when it first and last occurred.
fn times(status: &SourceStatus, noted: &[(u64, ReceiverError)]) -> Vec<(u64, u64)> {
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let times = noted.iter().map(|(at, error)| {
        status.note_error_at(error, "m1", UNIX_EPOCH + Duration::from_secs(*at));
        let last = status.last_error().unwrap();
        assert_eq!(last.resolved_at, None);
        (seconds(last.at), seconds(last.newest_at))
    });
    times.collect()
}

#[test]
fn error_that_each_attempt_repeats_keeps_its_first_time() {
    let refused = || io_error(io::ErrorKind::ConnectionRefused);
    let denied = |code| ReceiverError::Source(ServerError::new(code, "denied"));
    let noted = [
        (100, refused()),
        (101, refused()),
        // The text differs, and the connection is lost as before.
        (103, io_error(io::ErrorKind::TimedOut)),
        (107, denied(1045)),
        (120, denied(1045)),
        (130, denied(1227)),
        // No administrator has to act.
        (140, denied(1158)),
        (150, ReceiverError::Silent(Duration::from_secs(30))),
        (160, refused()),
    ];
    let expected = [
        (100, 100),
        (100, 101),
        (100, 103),
        (107, 107),
        (107, 120),
        (130, 130),
        (140, 140),
        (150, 150),
        (160, 160),
    ];
    assert_eq!(times(&SourceStatus::default(), &noted), expected);
}

/// Streams `seconds` after the epoch.
fn stream(status: &SourceStatus, seconds: u64) {
    status.set_state(SourceState::Streaming);
    let resolved_at = UNIX_EPOCH + Duration::from_secs(seconds);
    status.connection().error.end_at(resolved_at);
}

#[test]
fn only_a_good_connection_ends_a_failure() {
    let refusal = || ReceiverError::Refused("it is not the next one".to_owned());
    let refused = || io_error(io::ErrorKind::ConnectionRefused);
    for (error, ends_at_once) in [(refusal as fn() -> _, false), (refused, true)] {
        let status = SourceStatus::default();
        assert_eq!(times(&status, &[(100, error())]), [(100, 100)]);
        stream(&status, 160);
        let first = if ends_at_once { 161 } else { 100 };
        assert_eq!(times(&status, &[(161, error())]), [(first, 161)]);
        stream(&status, 200);
        assert_eq!(times(&status, &[(300, error())]), [(300, 300)]);
    }
}

/// Failures without a code differ by their text, and an order separates what comes before it from what comes after.
#[test]
fn another_failure_and_a_new_order_have_a_new_time() {
    let refusal = |text: &str| ReceiverError::Refused(text.to_owned());
    let status = SourceStatus::default();
    let noted = [
        (100, refusal("it is not the next one")),
        (110, refusal("it is not the next one")),
        (120, refusal("another")),
    ];
    assert_eq!(times(&status, &noted), [(100, 100), (100, 110), (120, 120)]);
    status.set_begun();
    assert_eq!(times(&status, &[(130, refusal("another"))]), [(130, 130)]);
    assert!(status.has_error());
    status.end_error();
    assert!(!status.has_error());
    assert_eq!(status.state(), SourceState::Failed);
}
