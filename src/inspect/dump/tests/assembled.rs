//! Files in which log_pos is not where an event is: assembled from parts of others, or extracted.

use super::*;

/// The events of a recorded file, and one line of the listing for each.
fn recorded(number: usize) -> (Vec<Vec<u8>>, Vec<&'static str>) {
    let (_, bytes, expected) = FIXTURES[number];
    (make::split(&bytes[4..]), expected.lines().collect())
}

fn file(parts: &[&[Vec<u8>]]) -> Vec<u8> {
    let events: Vec<u8> = parts.iter().flat_map(|part| part.concat()).collect();
    [&MAGIC_BYTES[..], &events].concat()
}

/// The types of the listed events.
fn types(lines: &[impl AsRef<str>]) -> Vec<String> {
    let name = |line: &str| field(line, "type").as_str().unwrap().to_owned();
    lines.iter().map(|line| name(line.as_ref())).collect()
}

fn force() -> DumpOptions {
    DumpOptions {
        force: true,
        ..json()
    }
}

/// As `mysqlbinlog --raw --start-position` writes a file: the format description has log_pos 0.
#[test]
fn file_fetched_from_a_position_on_is_listed() {
    for number in 0..FIXTURES.len() {
        let (events, lines) = recorded(number);
        let mut format = events[0].clone();
        event::set_log_pos(&mut format, 0).unwrap();
        event::write_checksum(&mut format).unwrap();
        let bytes = file(&[&[format], &events[8..]]);
        let found = dump_bytes(&bytes, &json());
        let format_only: Vec<u64> = Vec::new();
        assert_eq!(found.damages, format_only, "{number}");
        assert_eq!(types(&found.lines[1..]), types(&lines[8..]), "{number}");
    }
}

/// A server's own relay log: its format description has the flag LOG_EVENT_RELAY_LOG_F.
#[test]
fn relay_log_of_a_server_is_listed() {
    for checksums in [true, false] {
        let (name, bytes, _) = FIXTURES[1];
        let bytes = match checksums {
            true => bytes.to_vec(),
            false => without_checksums(bytes),
        };
        let events = make::split(&bytes[4..]);
        let mut format = events[0].clone();
        event::set_flags(&mut format, 0x40).unwrap();
        event::write_checksum(&mut format).unwrap();
        let bytes = file(&[&[format], &events[20..], &events[5..10]]);
        let found = dump_bytes(&bytes, &json());
        assert_eq!(
            (found.lines.len(), found.damages),
            (events.len() - 14, vec![]),
            "{name}"
        );
        // After damage the next event is found, though no log_pos is its end.
        let mut damaged = bytes.clone();
        let at = 4 + events[0].len() + events[20].len();
        damaged[at + 9..at + 13].copy_from_slice(&[0xff; 4]);
        let found = dump_bytes(&damaged, &force());
        assert_eq!(
            (found.lines.len(), found.damages),
            (events.len() - 15, vec![at as u64])
        );
    }
}

/// All events are shown; the first log_pos that is wrong is a warning.
#[test]
fn file_assembled_from_parts_is_listed_with_a_warning() {
    for (number, (name, bytes, _)) in FIXTURES.iter().enumerate() {
        for checksums in [true, false] {
            let (_, lines) = recorded(number);
            let bytes = match checksums {
                true => bytes.to_vec(),
                false => without_checksums(bytes),
            };
            let events = make::split(&bytes[4..]);
            let parts = [&events[..1], &events[12..20], &events[5..9], &events[30..]];
            let expected = [&lines[..1], &lines[12..20], &lines[5..9], &lines[30..]].concat();
            for options in [json(), force()] {
                let found = dump_bytes(&file(&parts), &options);
                assert_eq!(types(&found.lines), types(&expected), "{name} {checksums}");
                assert_eq!((found.damages, found.warnings), (vec![], 1), "{name}");
                let state = if checksums { "ok" } else { "none" };
                for line in &found.lines[1..] {
                    assert_eq!(field(line, "checksum"), state, "{name}: {line}");
                }
            }
        }
    }
}

/// Damage in an assembled file loses that event only.
#[test]
fn event_after_damage_in_an_assembled_file_is_found() {
    for (name, bytes, _) in FIXTURES {
        for checksums in [true, false] {
            let bytes = match checksums {
                true => bytes.to_vec(),
                false => without_checksums(bytes),
            };
            let events = make::split(&bytes[4..]);
            let part = &events[30..];
            let mut all = file(&[&events[..1], part]);
            let at = 4 + events[0].len() + part[0].len() + part[1].len();
            all[at + 9..at + 13].copy_from_slice(&[0xff; 4]);
            let forced = dump_bytes(&all, &force());
            assert_eq!(forced.lines.len(), 1 + part.len() - 1, "{name} {checksums}");
            assert_eq!(forced.damages, [at as u64], "{name} {checksums}");
        }
    }
}

/// Without checksums, an event whose log_pos is wrong and that no event follows is damage.
#[test]
fn wrong_size_without_checksums_is_found() {
    let bytes = without_checksums(FIXTURES[1].1);
    let events = make::split(&bytes[4..]);
    let at = 4 + events[..3].iter().map(Vec::len).sum::<usize>();
    let mut damaged = bytes.clone();
    damaged[at + 9] += 1;
    assert_eq!(dump_bytes(&damaged, &json()).damages, [at as u64]);
    let forced = dump_bytes(&damaged, &force());
    assert_eq!(
        (forced.lines.len(), forced.damages),
        (events.len() - 1, vec![at as u64])
    );
}

/// A binlog file that is the value of a column is not part of the log.
#[test]
fn events_inside_a_damaged_event_are_not_shown() {
    let (_, inner, _) = FIXTURES[0];
    let mut body = vec![0; 14];
    body.extend_from_slice(b"INSERT INTO t VALUES ('");
    body.extend_from_slice(inner);
    let outer = make::event(EventType::QUERY, 86, &body);
    let end = make::query(86, "", "COMMIT");
    let mut bytes = mysql_file(&[make::query(86, "", "BEGIN"), outer, end]);
    assert_eq!(types(&dump_bytes(&bytes, &json()).lines).len(), 4);
    let begin = make::query(86, "", "BEGIN").len();
    let outer_at = make::split(&FIXTURES[0].1[4..])[0].len() + 4 + begin;
    bytes[outer_at + 9..outer_at + 13].copy_from_slice(&[0xff; 4]);
    let forced = dump_bytes(&bytes, &force());
    assert_eq!(types(&forced.lines), ["Format_desc", "Query", "Query"]);
    assert_eq!(forced.damages, [outer_at as u64]);
}
