//! `replicate_rewrite_db`: the kept events are those that a source would have sent with the other
//! database.

use super::large::feed_in_parts;
use super::*;
use crate::filter::RuleLists;
use crate::flavor::Flavor;

fn group(database: &str, checksum: Checksum) -> Vec<Vec<u8>> {
    let insert = |len| format!("insert into t values ('{}')", "v".repeat(len));
    let mut events = vec![
        make::query(86, "", "BEGIN"),
        make::query(86, database, &insert(9)),
        make::query(86, "x", &insert(9)),
        make::query(86, database, &insert(90_000)),
        make::table_map(86, 1, database),
        make::table_map(86, 2, "x"),
        make::rows(86, 1, false, 50),
        make::rows(86, 2, true, 90_000),
        make::xid(86),
    ];
    let without = u64::from(checksum == Checksum::None) * 4;
    let rest_len: u64 = events
        .iter()
        .map(|event| event.len() as u64 - without)
        .sum();
    let opener = make::mysql_gtid(86, gtid(1, "", 5), clock(0, 1), rest_len - without);
    events.insert(0, opener);
    match checksum {
        Checksum::None => events.iter().map(|event| without_checksum(event)).collect(),
        Checksum::Crc32 => events,
    }
}

/// The events without the opener, which says the length that the source had, and without the
/// checksums, which the relay log writes.
fn after_opener(mut source: Source) -> Vec<Vec<u8>> {
    let events = source.taken().remove(0);
    let cut = |event: &Vec<u8>| event[..event.len() - 4].to_vec();
    events[1..].iter().map(cut).collect()
}

#[test]
fn rewritten_events_equal_those_of_a_source_with_that_database() {
    for name in ["a", "live", &"n".repeat(64)] {
        let lists = RuleLists {
            rewrite_db: vec![("test".to_owned(), name.to_owned())],
            ..RuleLists::default()
        };
        let filter = Filter::new(lists, Flavor::MySql, false);
        for checksum in [Checksum::None, Checksum::Crc32] {
            let format = make::mysql_format(checksum);
            let mut plain = Source::new(format.clone(), &[], SPILL_NEVER);
            plain.events(&group(name, checksum)).unwrap();
            let expected = after_opener(plain);
            for (spill_size, parts) in [
                (SPILL_NEVER, None),
                (1000, None),
                (SPILL_NEVER, Some([64 * 1024, 5000])),
                (1000, Some([70_000, 19])),
            ] {
                let mut source = Source::with(format.clone(), filter.clone(), spill_size);
                for event in group("test", checksum) {
                    match parts {
                        Some(parts) if event.len() > 10_000 => {
                            feed_in_parts(&mut source, &event, &parts).unwrap();
                        }
                        _ => source.event(&event).unwrap(),
                    }
                }
                let what = format!("{name}, {checksum:?}, spill at {spill_size}, {parts:?}");
                assert!(after_opener(source) == expected, "{what}");
            }
        }
    }
}
