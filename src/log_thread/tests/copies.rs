//! Transactions whose GTID was delivered: copies, repetitions, new executions, and other transactions.

use super::*;
use crate::binlog::event;

/// Timestamps of events.
const EARLY: u32 = make::TIMESTAMP - 1000;
const LATE: u32 = make::TIMESTAMP + 1000;

/// The event with another timestamp.
fn at(timestamp: u32, mut event: Vec<u8>) -> Vec<u8> {
    event[..4].copy_from_slice(&timestamp.to_le_bytes());
    event::write_checksum(&mut event).unwrap();
    event
}

/// A transaction of MariaDB whose events have these timestamps: of the GTID event first.
fn mariadb(server_id: u32, seq_no: u64, timestamps: [u32; 3]) -> Vec<Vec<u8>> {
    let events = [
        make::mariadb_gtid(server_id, 0, seq_no, 0, None),
        make::query(server_id, "test", "insert"),
        make::xid(server_id),
    ];
    let placed = timestamps.into_iter().zip(events);
    placed
        .map(|(timestamp, event)| at(timestamp, event))
        .collect()
}

pub(super) fn small(server_id: u32, seq_no: u64) -> Vec<Vec<u8>> {
    mariadb(server_id, seq_no, [make::TIMESTAMP; 3])
}

/// A transaction of MySQL 8.0 that committed on its origin at this time, in microseconds.
fn mysql(server_id: u32, gno: u64, commit_time_us: u64, events: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let gtid = gtid(server_id as u8, "", gno);
    let mut group = make::mysql_group(server_id, gtid, clock(0, 1), events);
    // Immediate commit time: 7 bytes after the logical clock.
    group[0][61..68].copy_from_slice(&commit_time_us.to_le_bytes()[..7]);
    event::write_checksum(&mut group[0]).unwrap();
    group
}

fn insert(server_id: u32) -> Vec<Vec<u8>> {
    vec![make::query(server_id, "test", "insert")]
}

fn empty(server_id: u32) -> Vec<Vec<u8>> {
    ["BEGIN", "COMMIT"]
        .map(|text| make::query(server_id, "", text))
        .to_vec()
}

/// The log, and one source per server of the dual masters (80 and 81).
pub(super) struct Pair {
    pub(super) dir: tempfile::TempDir,
    pub(super) log_thread: LogThread,
    pub(super) sources: [TestSource; 2],
}

impl Pair {
    pub(super) fn new(flavor: Flavor) -> Self {
        let dir = fast_dir();
        let log_thread = create(&options(dir.path()), flavor);
        let sources = [0, 1].map(|number| TestSource::new(number, flavor));
        Self {
            dir,
            log_thread,
            sources,
        }
    }

    pub(super) fn restart(&mut self) {
        self.log_thread.close().unwrap();
        self.log_thread = resume(&options(self.dir.path()));
    }

    /// What becomes of a transaction that arrives from the source.
    pub(super) fn arrive(
        &mut self,
        source: usize,
        group: Vec<Vec<u8>>,
    ) -> Result<&'static str, String> {
        let batch = self.sources[source].deliver(&[group]);
        let [transaction] = &batch.transactions[..] else {
            panic!("one transaction")
        };
        let decision = match self.log_thread.append(&batch, transaction) {
            Err(error) => return Err(error.to_string()),
            Ok(decision) => decision,
        };
        self.log_thread.commit().unwrap();
        Ok(match decision {
            Decision::New(placement) if placement.executed_again => "again",
            Decision::New(_) => "new",
            Decision::Duplicate => "copy",
            Decision::Repeated => "repeated",
            Decision::Resent => "resent",
            Decision::Unverified => "unverified",
            other => panic!("{other:?}"),
        })
    }
}

#[test]
fn mysql_transaction_with_another_commit_time_is_refused() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MySql);
        let time = 1_700_000_000_000_007;
        assert_eq!(pair.arrive(0, mysql(80, 1, time, insert(80))), Ok("new"));
        if restarts {
            pair.restart();
        }
        assert_eq!(pair.arrive(1, mysql(80, 1, time, insert(80))), Ok("copy"));
        let error = pair
            .arrive(1, mysql(80, 1, time + 1, insert(80)))
            .unwrap_err();
        for part in [
            "was assigned twice",
            "from m0, ending at bin.000001:",
            "relay-bin.000001:",
            "committed at 2023-11-14T22:13:20.000007Z",
            "committed at 2023-11-14T22:13:20.000008Z",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

/// A peer that filters everything, or on which an administrator has committed an empty transaction
/// under the GTID, to skip it.
#[test]
fn empty_mysql_transaction_contradicts_nothing() {
    let mut pair = Pair::new(Flavor::MySql);
    let time = 1_700_000_000_000_007;
    assert_eq!(pair.arrive(0, mysql(80, 1, time, insert(80))), Ok("new"));
    let skipped = mysql(80, 1, time + 5_000_000, empty(80));
    assert_eq!(pair.arrive(1, skipped), Ok("copy"));
    // If it arrives first, the changes of the real one would be lost.
    let skipped = mysql(80, 2, time + 5_000_000, empty(80));
    assert_eq!(pair.arrive(1, skipped), Ok("new"));
    let error = pair.arrive(0, mysql(80, 2, time, insert(80))).unwrap_err();
    assert!(error.contains("without its changes"), "{error}");
}

/// A peer that filters a transaction logs its GTID, with the time of the original. Replicas have the GTID then, and never
/// get the changes.
#[test]
fn changes_of_a_mysql_transaction_that_was_delivered_without_them_are_refused() {
    for time in [1_700_000_000_000_007, 1_700_000_000_000_000] {
        for restarts in [false, true] {
            let mut pair = Pair::new(Flavor::MySql);
            for number in 1..=3 {
                let emptied = mysql(80, number, time, empty(80));
                assert_eq!(pair.arrive(1, emptied), Ok("new"));
            }
            if restarts {
                pair.restart();
            }
            // The relay's own filter drops them, too.
            let filtered = vec![make::query(80, "other", "insert")];
            assert_eq!(pair.arrive(0, mysql(80, 1, time, filtered)), Ok("copy"));
            // A peer with other binlog settings does not log that a temporary table is dropped.
            let mut drop = make::query(80, "test", "DROP TEMPORARY TABLE IF EXISTS `t`");
            drop[17] |= event::FLAG_THREAD_SPECIFIC as u8;
            event::write_checksum(&mut drop).unwrap();
            assert_eq!(pair.arrive(0, mysql(80, 2, time, vec![drop])), Ok("copy"));
            let error = pair.arrive(0, mysql(80, 3, time, insert(80))).unwrap_err();
            for part in [
                ":3 was delivered without its changes (from m1, ending at bin.000001:",
                "run binrelay continue SOURCE --at bin.000001:",
            ] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}

/// A peer that logs rows logs nothing of a statement that changes no row, or only temporary tables.
#[test]
fn statements_that_may_have_changed_nothing_are_copies_of_nothing() {
    let query = |text: &str| make::query(80, "test", text);
    let temporary = |text: &str| {
        let mut event = query(text);
        event[17] |= event::FLAG_THREAD_SPECIFIC as u8;
        event::write_checksum(&mut event).unwrap();
        event
    };
    let (begin, commit) = (|| query("BEGIN"), || query("COMMIT"));
    let uncertain = [
        vec![begin(), query("DELETE FROM t WHERE expires < 1"), commit()],
        vec![temporary("CREATE TEMPORARY TABLE t (a INT)")],
        vec![
            begin(),
            temporary("INSERT INTO t VALUES (1)"),
            make::xid(80),
        ],
    ];
    let certain = [
        vec![begin(), query("DELETE FROM t WHERE a < 1"), make::xid(80)],
        vec![query("ALTER TABLE t ADD b INT")],
    ];
    let time = 1_700_000_000_000_007;
    let mut pair = Pair::new(Flavor::MySql);
    for number in 1..=4 {
        assert_eq!(
            pair.arrive(1, mysql(80, number, time, empty(80))),
            Ok("new")
        );
    }
    for (number, events) in (1..).zip(uncertain.clone()) {
        assert_eq!(pair.arrive(0, mysql(80, number, time, events)), Ok("copy"));
    }
    for events in certain.clone() {
        let error = pair.arrive(0, mysql(80, 4, time, events)).unwrap_err();
        assert!(error.contains("without its changes"), "{error}");
    }

    let of_mariadb = |number, mut events: Vec<Vec<u8>>| {
        let standalone = u8::from(events.len() == 1);
        events.retain(|event| *event != begin());
        events.insert(0, make::mariadb_gtid(80, 0, number, standalone, None));
        events
    };
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        assert_eq!(pair.arrive(0, small(80, 1)), Ok("new"));
        assert_eq!(pair.arrive(1, small(80, 9)), Ok("new"));
        if restarts {
            pair.restart();
        }
        for (number, events) in (2..).zip(uncertain.clone()) {
            assert_eq!(pair.arrive(0, of_mariadb(number, events)), Ok("copy"));
        }
        for events in certain.clone() {
            let error = pair.arrive(0, of_mariadb(8, events)).unwrap_err();
            assert!(
                error.contains("although 0-80-9 of the same server was"),
                "{error}"
            );
        }
    }
}

/// MariaDB logs nothing of a transaction that a peer filters or skips.
#[test]
fn mariadb_transaction_that_a_peer_has_omitted_is_refused() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        assert_eq!(pair.arrive(0, small(80, 1)), Ok("new"));
        for number in [1, 5, 6] {
            pair.arrive(1, small(80, number)).unwrap();
        }
        // The relay's own filter drops it, too.
        let filtered = vec![
            make::mariadb_gtid(80, 0, 2, 0, None),
            make::query(80, "other", "insert"),
            make::xid(80),
        ];
        assert_eq!(pair.arrive(0, filtered), Ok("copy"));
        if restarts {
            pair.restart();
        }
        let error = pair.arrive(0, small(80, 3)).unwrap_err();
        assert!(error.contains("0-80-3 was not delivered"), "{error}");
        // A third server, which the relay does not follow: what both have omitted shows nothing.
        assert_eq!(pair.arrive(1, small(90, 2)), Ok("new"));
        let error = pair.arrive(0, small(90, 1)).unwrap_err();
        assert!(error.contains("0-90-1 was not delivered"), "{error}");
        assert_eq!(pair.arrive(0, small(80, 5)), Ok("copy"));
        assert_eq!(pair.arrive(0, small(80, 6)), Ok("copy"));
        assert_eq!(pair.arrive(0, small(80, 6)), Ok("again"));
    }
}

/// Others write to the domain, too.
#[test]
fn numbers_of_other_servers_in_a_shared_domain_are_not_omitted() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        for (server, number) in [(80, 1), (81, 2), (80, 3), (81, 4), (80, 5)] {
            assert_eq!(pair.arrive(1, small(server, number)), Ok("new"));
        }
        if restarts {
            pair.restart();
        }
        for (server, number) in [(80, 1), (81, 2), (80, 3), (81, 4), (80, 5)] {
            assert_eq!(pair.arrive(0, small(server, number)), Ok("copy"));
        }
    }
}

#[test]
fn mariadb_copies_may_have_another_commit_time_within_the_transaction() {
    let mut pair = Pair::new(Flavor::MariaDb);
    let original = mariadb(80, 1, [LATE, EARLY, LATE]);
    assert_eq!(pair.arrive(0, original), Ok("new"));
    for copy in [
        mariadb(80, 1, [EARLY; 3]),
        mariadb(80, 1, [make::TIMESTAMP; 3]),
    ] {
        let mut pair = Pair::new(Flavor::MariaDb);
        let original = mariadb(80, 1, [LATE, EARLY, LATE]);
        assert_eq!(pair.arrive(0, original), Ok("new"));
        assert_eq!(pair.arrive(1, copy), Ok("copy"));
    }
    let error = pair.arrive(1, mariadb(80, 1, [LATE + 1; 3])).unwrap_err();
    assert!(error.contains("0-80-1 was assigned twice"), "{error}");
    let times = "logged from 2023-11-14T21:56:40Z to 2023-11-14T22:30:00Z";
    assert!(error.contains(times), "{error}");
    assert!(pair.arrive(1, mariadb(80, 1, [EARLY - 1; 3])).is_err());
}

#[test]
fn mariadb_transaction_that_its_own_server_executes_again_is_delivered_once() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        for number in 1..=3 {
            assert_eq!(pair.arrive(0, small(80, number)), Ok("new"));
            assert_eq!(pair.arrive(1, small(80, number)), Ok("copy"));
        }
        for number in 1..=2 {
            if restarts {
                pair.restart();
            }
            assert_eq!(pair.arrive(0, small(80, number)), Ok("again"));
            assert_eq!(pair.arrive(1, small(80, number)), Ok("repeated"));
        }
        assert_eq!(pair.arrive(0, small(80, 4)), Ok("new"));
        assert_eq!(pair.arrive(1, small(80, 4)), Ok("copy"));
        // A third time.
        assert_eq!(pair.arrive(0, small(80, 2)), Ok("again"));
    }
}

/// No other path can bring what the only source has executed again, whatever server it is from.
#[test]
fn only_source_that_executes_a_peers_transaction_again_delivers_it() {
    let mut pair = Pair::new(Flavor::MariaDb);
    let mut alone = options(pair.dir.path());
    alone.log_dir.basename = "alone".to_owned();
    alone.source_names.truncate(1);
    pair.log_thread = create(&alone, Flavor::MariaDb);
    assert_eq!(pair.arrive(0, small(90, 1)), Ok("new"));
    assert_eq!(pair.arrive(0, small(90, 1)), Ok("again"));
}

/// A path that is behind the other one is no repetition.
#[test]
fn first_copy_on_the_own_path_is_a_copy() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        for number in 1..=5 {
            assert_eq!(pair.arrive(1, small(80, number)), Ok("new"));
        }
        for number in 1..=5 {
            if restarts {
                pair.restart();
            }
            assert_eq!(pair.arrive(0, small(80, number)), Ok("copy"));
        }
        assert_eq!(pair.arrive(0, small(80, 5)), Ok("again"));
    }
}

/// A source that was resumed before the end of what it had sent.
#[test]
fn transactions_that_are_sent_again_from_the_same_positions_leave_no_record() {
    let mut pair = Pair::new(Flavor::MariaDb);
    for number in 1..=3 {
        assert_eq!(pair.arrive(0, small(80, number)), Ok("new"));
    }
    let progress = pair.log_thread.log().state().sources[0].clone();
    pair.sources[0].position = 4;
    for number in 1..=3 {
        assert_eq!(pair.arrive(0, small(80, number)), Ok("resent"));
    }
    assert_eq!(pair.log_thread.log().state().sources[0], progress);
    assert_eq!(pair.arrive(0, small(80, 4)), Ok("new"));
}

/// Positions of another server at the same address mean nothing.
#[test]
fn another_server_at_the_address_repeats_nothing() {
    let mut pair = Pair::new(Flavor::MariaDb);
    for number in 1..=3 {
        assert_eq!(pair.arrive(1, small(90, number)), Ok("new"));
    }
    assert_eq!(pair.arrive(0, small(80, 4)), Ok("new"));
    pair.sources[0].replace_server(); // To server_id 90.
    for number in 1..=3 {
        assert_eq!(pair.arrive(0, small(90, number)), Ok("copy"));
    }
    assert_eq!(pair.arrive(0, small(90, 3)), Ok("again"));
}

/// After RESET MASTER the numbers begin again, whether the binlog's positions do or not.
#[test]
fn mariadb_transaction_of_another_time_is_refused_on_its_own_path_too() {
    for resets_position in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        for number in 1..=3 {
            assert_eq!(pair.arrive(0, small(80, number)), Ok("new"));
        }
        if resets_position {
            pair.sources[0].position = 4;
        }
        assert!(pair.arrive(0, mariadb(80, 1, [LATE; 3])).is_err());
    }
}

#[test]
fn old_copies_are_compared_with_the_commit_index() {
    let mut pair = Pair::new(Flavor::MySql);
    const COUNT: u64 = 20_000; // More than are in memory.
    let time = |number: u64| 1_700_000_000_000_000 + number * 1_000_003;
    let of = |number| mysql(80, number, time(number), insert(80));
    for first in (1..COUNT).step_by(4000) {
        let groups: Vec<_> = (first..first + 4000).map(of).collect();
        let batch = pair.sources[0].deliver(&groups);
        for transaction in &batch.transactions {
            pair.log_thread.append(&batch, transaction).unwrap();
        }
        pair.log_thread.commit().unwrap();
    }
    for number in (1..1500).chain(19_000..19_100).chain(5..9) {
        assert_eq!(pair.arrive(1, of(number)), Ok("copy"), "{number}");
    }
    let other = mysql(80, 1501, time(1501) + 1, insert(80));
    assert!(pair.arrive(1, other).is_err());
}
