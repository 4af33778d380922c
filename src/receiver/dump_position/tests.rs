use super::*;
use crate::binlog::rotate;

fn header(log_pos: u32, event_size: u32) -> EventHeader {
    let event_type = EventType::XID;
    EventHeader {
        timestamp: 1,
        event_type,
        server_id: 1,
        event_size,
        log_pos,
        flags: 0,
    }
}

fn at(offset: u64) -> DumpPosition {
    DumpPosition {
        at: SourcePosition::new("bin.000001", offset),
        ..DumpPosition::new()
    }
}

#[test]
fn positions_continue_past_4_gib() {
    assert_eq!(at(100).after(&header(150, 50)), 150);
    assert_eq!(at(100).after(&header(0, 50)), 100);
    assert_eq!(at(100).after(&header(400, 50)), 400, "events were skipped");
    let near = u64::from(u32::MAX) - 10;
    assert_eq!(at(near).after(&header(39, 50)), near + 50);
    assert_eq!(at(near + 50).after(&header(139, 100)), near + 150);
    let skipped = at(near - 1000).after(&header(39, 50));
    assert_eq!(
        skipped,
        near + 50,
        "events were skipped on both sides of 4 GiB"
    );
    assert_eq!(
        at(1000).after(&header(500, 50)),
        1050,
        "an offset never goes back"
    );
    assert_eq!(
        at((1 << 32) + 1000).after(&header(500, 50)),
        (1 << 32) + 1050
    );
}

#[test]
fn artificial_rotate_names_the_file() {
    let mut position = DumpPosition::new();
    let event = rotate::artificial(86, "bin.000007", 4);
    let header = EventHeader::parse(&event).unwrap();
    assert_eq!(position.control(&header, &event).unwrap(), Change::File);
    assert_eq!(position.at, SourcePosition::new("bin.000007", 4));
    assert_eq!(position.control(&header, &event).unwrap(), Change::Nothing);
    let bare = &event[..event.len() - 4];
    let mut fresh = DumpPosition::new();
    assert_eq!(fresh.control(&header, bare).unwrap(), Change::File);
    assert_eq!(&*fresh.at.file, "bin.000007", "a rotate without checksum");
}

/// Observed with MariaDB 10.11: within a file the description's position is cleared, and its
/// checksum left unchanged.
#[test]
fn stale_checksum_of_a_description_is_accepted_from_sources_without_checksums() {
    for (checksum, created, is_accepted) in [
        (Checksum::None, 0, true),
        (Checksum::None, 5, false),
        (Checksum::Crc32, 0, false),
    ] {
        let format = FormatDescription {
            server_version: "10.11.14-MariaDB".to_owned(),
            created,
            post_header_lengths: vec![0; 171],
            checksum,
        };
        let mut event = format.encode(1, 86, 256, 0);
        event::write_checksum(&mut event).unwrap();
        event::set_log_pos(&mut event, 0).unwrap();
        let header = EventHeader::parse(&event).unwrap();
        assert_eq!(
            at(500).control(&header, &event).is_ok(),
            is_accepted,
            "{format:?}"
        );
    }
}

/// A newer source sends the format description of an old file as it is in the file.
#[test]
fn description_of_a_server_without_checksums_has_none() {
    for created in [0, 5] {
        let mut event = mysql_55(27, created);
        let header = EventHeader::parse(&event).unwrap();
        let mut position = at(4);
        let change = position.control(&header, &event).unwrap();
        assert_eq!(change, Change::Format);
        assert!(!position.is_checksummed());
        assert_eq!(position.at.offset, 107);
        assert_eq!(position.format.unwrap().post_header_lengths.len(), 27);
        event[76 + 1] = 12; // The fixed part of Query events.
        let error = at(4).control(&header, &event).unwrap_err().to_string();
        let expected = "the source's file bin.000001 was written by version 5.5.59-log, a \
                        development version whose Query events are not those of a release";
        assert!(error.starts_with(expected), "{error}");
    }
}

/// As MySQL 5.5.59 writes it.
fn mysql_55(types: u8, created: u32) -> Vec<u8> {
    let mut lengths = vec![
        56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 84, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0,
    ];
    lengths.truncate(types.into());
    let format = FormatDescription {
        server_version: "5.5.59-log".to_owned(),
        created,
        post_header_lengths: lengths,
        checksum: Checksum::None,
    };
    let mut event = format.encode(1, 86, 107, 0);
    event.truncate(event.len() - 5);
    let len = event.len() as u32;
    event::set_event_size(&mut event, len).unwrap();
    event
}

#[test]
fn file_before_5_0_is_refused_with_its_name_and_version() {
    let mut body = vec![3, 0];
    body.extend_from_slice(b"4.1.24-log");
    body.resize(56, 0);
    let header = EventHeader {
        event_type: EventType::START_V3,
        ..header(79, 0)
    };
    let mut event = event::build(header, &body);
    event.truncate(event.len() - 4);
    let error = at(4).check_file_format(&header, &event).unwrap_err();
    assert!(error.is_failure());
    let expected = "the source's file bin.000001 was written by version 4.1.24-log, before \
                    MySQL 5.0, in a binlog format that is no longer supported; purge";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn heartbeats_are_checked() {
    let mut position = at(500);
    let beat = |file: &str, log_pos| {
        let header = EventHeader {
            event_type: EventType::HEARTBEAT,
            ..header(log_pos, 0)
        };
        let mut event = event::build(header, file.as_bytes());
        event.truncate(event.len() - 4); // This stream has no checksums.
        (EventHeader::parse(&event).unwrap(), event)
    };
    let (header, event) = beat("bin.000001", 700);
    assert_eq!(position.control(&header, &event).unwrap(), Change::Position);
    assert_eq!(position.at.offset, 700);
    let (header, event) = beat("bin.000001", 600);
    assert!(position.control(&header, &event).is_err());
    let (header, event) = beat("bin.000002", 800);
    assert!(position.control(&header, &event).is_err());
    position.at.offset = u64::from(u32::MAX) - 10;
    let (header, event) = beat("bin.000001", 89);
    assert_eq!(position.control(&header, &event).unwrap(), Change::Position);
    assert_eq!(position.at.offset, (1 << 32) + 89, "past 4 GiB");
    let (header, event) = beat("bin.000001", 80);
    assert!(position.control(&header, &event).is_err());
}

#[test]
fn damaged_event_begins_where_its_header_says_after_events_that_were_not_sent() {
    let expected = |offset| SourcePosition::new("bin.000001", offset);
    // Sent one after the other: the header may be damaged, too.
    let mut position = at(0);
    position.pass(1000);
    assert_eq!(position.begin_of(&header(1050, 50), 50), expected(1000));
    assert_eq!(position.begin_of(&header(9000, 50), 50), expected(1000));
    // By GTID the first event that is sent may be anywhere in the file.
    assert_eq!(at(126).begin_of(&header(9000, 50), 50), expected(8950));
    assert_eq!(at(126).begin_of(&header(9000, 7), 50), expected(8950));
    assert_eq!(at(126).begin_of(&header(0, 50), 50), expected(126));
    assert_eq!(at(126).begin_of(&header(130, 50), 50), expected(126));
}

/// One bit of the description's checksum algorithm: the checksums of all events would become a part of them.
#[test]
fn description_that_lost_the_checksums_is_found_at_the_next_event() {
    let format = FormatDescription {
        server_version: "9.7.4".to_owned(),
        created: 0,
        post_header_lengths: vec![0; 42],
        checksum: Checksum::Crc32,
    };
    let sent = format.encode(1, 86, 256, 0);
    let xid = event::build(header(400, 0), &[7; 8]);
    let xid_header = EventHeader::parse(&xid).unwrap();
    for (changes, is_found) in [(false, false), (true, true)] {
        let mut event = sent.clone();
        let algorithm = event.len() - 5;
        event[algorithm] ^= u8::from(changes);
        let mut position = at(4);
        let description = EventHeader::parse(&event).unwrap();
        position.control(&description, &event).unwrap();
        assert_eq!(position.is_checksummed(), !changes);
        let checked = position.check_file_format(&xid_header, &xid);
        assert_eq!(checked.is_err(), is_found, "{checked:?}");
    }
}
