//! Large events of transactions in memory are written without staging them.

use super::read_back::{transactions, without_position};
use super::*;

/// Sizes around the one from which events are large, in and between small ones.
#[test]
fn large_events_are_written_as_they_are() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let dir = fast_dir();
        let options = options(dir.path());
        let mut log_thread = create(&options, flavor);
        let mut source = TestSource::new(0, flavor);
        source.assembler = Assembler::new(
            AssemblerOptions {
                source: 0,
                source_server_id: 80,
                source_first_timestamp: 0,
                has_gtids: true,
                first_run: 1 << 32,
                filter: make::keeping(&["test"]),
                spill_dir: dir.path().to_owned(),
                spill_size: 8 << 20,
            },
            format(flavor),
        );
        source.assembler.start_file("bin.000002".into(), 4);
        let mut sent = Vec::new();
        let lens: [&[usize]; 5] = [
            &[65_400, 65_500, 65_536, 65_600],
            &[10, 200_000, 20, 70_000, 30],
            &[3_000_000, 3_000_000],
            &[66_000, 10],
            &[10, 10],
        ];
        for (number, lens) in (1..).zip(lens) {
            let mut events = vec![make::table_map(80, 1, "test")];
            let last = lens.len() - 1;
            let rows = lens.iter().enumerate();
            events.extend(rows.map(|(at, len)| make::rows(80, 1, at == last, *len)));
            events.push(make::xid(80));
            sent.push(match flavor {
                Flavor::MySql => {
                    events.insert(0, make::query(80, "", "BEGIN"));
                    let clock = clock(number as i64 - 1, number as i64);
                    make::mysql_group(80, gtid(80, "", number), clock, events)
                }
                Flavor::MariaDb => {
                    events.insert(0, make::mariadb_gtid(80, 0, number, 0, None));
                    events
                }
            });
        }
        let batch = source.deliver(&sent);
        assert!(batch.transactions.iter().all(|one| one.spill.is_none()));
        for transaction in &batch.transactions {
            log_thread.append(&batch, transaction).unwrap();
        }
        log_thread.close().unwrap();
        let found = transactions(&options.log_dir);
        let expected: Vec<Vec<_>> = sent
            .iter()
            .map(|events| {
                events[1..]
                    .iter()
                    .map(|event| without_position(event))
                    .collect()
            })
            .collect();
        let found: Vec<_> = found.into_iter().map(|found| found.rest).collect();
        assert!(found == expected, "{flavor:?}");
    }
}
