//! `--start-datetime` and `--stop-datetime`, as in mysqlbinlog.

use super::*;

/// A format description and events with these times.
fn file_with_times(format: u32, times: &[u32]) -> Vec<u8> {
    let mut bytes = mysql_file(&[]);
    let timed = |event: &mut [u8], time: u32| {
        event[..4].copy_from_slice(&time.to_le_bytes());
        event::write_checksum(event).unwrap();
    };
    timed(&mut bytes[4..], format);
    for time in times {
        let mut event = make::xid(86);
        let end = (bytes.len() + event.len()) as u32;
        event::set_log_pos(&mut event, end).unwrap();
        timed(&mut event, *time);
        bytes.extend(event);
    }
    bytes
}

fn listed(format: u32, times: &[u32], start: Option<i64>, stop: Option<i64>) -> Vec<u64> {
    let options = DumpOptions {
        start_time: start,
        stop_time: stop,
        ..json()
    };
    let lines = dump_bytes(&file_with_times(format, times), &options).lines;
    let time = |line: &String| field(line, "timestamp").as_u64().unwrap();
    lines.iter().map(time).collect()
}

#[test]
fn stop_time_ends_the_listing_at_any_event() {
    let times = [20, 30, 25, 40];
    assert_eq!(listed(10, &times, None, Some(5)), [0; 0]);
    assert_eq!(listed(10, &times, None, Some(10)), [0; 0]);
    assert_eq!(listed(10, &times, None, Some(11)), [10]);
    assert_eq!(listed(10, &times, None, Some(26)), [10, 20]);
    assert_eq!(listed(10, &times, None, Some(41)), [10, 20, 30, 25, 40]);
    // Control events count as well.
    let (_, bytes, expected) = FIXTURES[1];
    let first = field(expected.lines().next().unwrap(), "timestamp");
    for stop in [0, first.as_i64().unwrap()] {
        let options = DumpOptions {
            stop_time: Some(stop),
            ..json()
        };
        assert_eq!(dump_bytes(bytes, &options).lines, Vec::<String>::new());
    }
}

#[test]
fn start_time_is_reached_by_the_first_event_but_not_by_a_format_description() {
    let times = [20, 30, 25, 40];
    assert_eq!(listed(10, &times, Some(30), None), [30, 25, 40]);
    assert_eq!(listed(10, &times, Some(30), Some(40)), [30, 25]);
    assert_eq!(listed(10, &times, Some(41), None), [0; 0]);
    // Written again by a tool, or by a server whose clock was wrong.
    assert_eq!(listed(50, &times, Some(30), None), [50, 30, 25, 40]);
    assert_eq!(listed(50, &times, Some(45), None), [50]);
}

#[test]
fn stop_time_ends_all_files_and_start_time_holds_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let files = [dir.path().join("a"), dir.path().join("b")];
    fs::write(&files[0], file_with_times(10, &[20, 30])).unwrap();
    fs::write(&files[1], file_with_times(31, &[15, 40])).unwrap();
    let listed = |start, stop| {
        let options = DumpOptions {
            start_time: start,
            stop_time: stop,
            ..json()
        };
        let lines = dump_files(&files, &options).lines;
        let time = |line: &String| field(line, "timestamp").as_u64().unwrap();
        lines.iter().map(time).collect::<Vec<_>>()
    };
    assert_eq!(listed(Some(25), None), [30, 31, 15, 40]);
    assert_eq!(listed(None, Some(30)), [10, 20]);
    assert_eq!(listed(None, Some(31)), [10, 20, 30]);
    assert_eq!(listed(Some(20), Some(40)), [20, 30, 31, 15]);
}
