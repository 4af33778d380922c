//! MariaDB: a second execution is delivered exactly once, whichever paths bring it, and however often.

use super::copies::{Pair, small};
use super::*;
use crate::relay_log::SourceProgress;

/// The log of one source, at whose address another server (90) answers on a path of its own.
fn moved() -> Pair {
    let mut pair = alone();
    pair.sources[1].replace_server();
    pair.sources[1].server_id = 90;
    let spool = pair.sources[1].spool.path().to_owned();
    pair.sources[1].assembler = assembler(1, 90, 1 << 40, Flavor::MariaDb, &spool);
    pair.sources[1].assembler.start_file("bin.000001".into(), 4);
    pair.sources[1].position = 4;
    pair
}

fn alone() -> Pair {
    let mut pair = Pair::new(Flavor::MariaDb);
    pair.dir = fast_dir();
    pair.log_thread = create(&one_source(&pair), Flavor::MariaDb);
    pair
}

fn one_source(pair: &Pair) -> LogOptions {
    let mut options = options(pair.dir.path());
    options.source_names.truncate(1);
    options
}

fn move_address(pair: &mut Pair) {
    pair.log_thread.paths().add(NewPath {
        name: "m0@90".into(),
        before: Vec::new(),
    });
    pair.log_thread.add_paths().unwrap();
}

fn restart(pair: &mut Pair, restarts: bool) {
    if restarts {
        pair.log_thread.close().unwrap();
        let options = one_source(pair);
        pair.log_thread = resume(&options);
    }
}

fn expect(pair: &mut Pair, source: usize, server: u32, numbers: [u64; 3], outcome: &str) {
    for number in numbers {
        let found = pair.arrive(source, small(server, number));
        assert_eq!(found.as_deref(), Ok(outcome), "{server}: {number}");
    }
}

#[test]
fn server_at_a_moved_address_executes_again_what_the_former_one_has_sent() {
    for restarts in [false, true] {
        let mut pair = moved();
        expect(&mut pair, 0, 80, [1, 2, 3], "new");
        move_address(&mut pair);
        expect(&mut pair, 1, 80, [1, 2, 3], "copy");
        restart(&mut pair, restarts);
        assert_eq!(pair.arrive(1, small(90, 4)), Ok("new"));
        expect(&mut pair, 1, 80, [1, 2, 3], "again");
        assert_eq!(pair.arrive(1, small(90, 4)), Ok("again"));
    }
}

/// The dump by GTID begins after the newest one of the former server.
#[test]
fn by_gtid_a_server_at_a_moved_address_executes_again_what_precedes_its_dump() {
    for restarts in [false, true] {
        let mut pair = alone();
        expect(&mut pair, 0, 90, [1, 2, 3], "new");
        expect(&mut pair, 0, 80, [4, 5, 6], "new");
        pair.sources[0].replace_server(); // To server_id 90.
        restart(&mut pair, restarts);
        expect(&mut pair, 0, 80, [4, 5, 6], "again");
        restart(&mut pair, restarts);
        expect(&mut pair, 0, 90, [1, 2, 3], "again");
        assert_eq!(pair.arrive(0, small(90, 7)), Ok("new"));
    }
}

/// The newest GTID is of the other server: what that one has replicated may follow it in its binlog.
#[test]
fn by_gtid_what_may_follow_the_position_is_a_copy() {
    let mut pair = alone();
    expect(&mut pair, 0, 80, [1, 2, 3], "new");
    assert_eq!(pair.arrive(0, small(90, 4)), Ok("new"));
    pair.sources[0].replace_server();
    expect(&mut pair, 0, 80, [1, 2, 3], "copy");
    expect(&mut pair, 0, 80, [1, 2, 3], "again");
    assert_eq!(pair.arrive(0, small(90, 4)), Ok("again"));
}

/// The former server has logged both executions, and the only path has delivered both.
#[test]
fn both_executions_that_the_former_server_has_sent_are_not_delivered_a_third_time() {
    for restarts in [false, true] {
        let mut pair = moved();
        expect(&mut pair, 0, 90, [1, 2, 3], "new");
        expect(&mut pair, 0, 90, [1, 2, 3], "again");
        restart(&mut pair, restarts);
        move_address(&mut pair);
        expect(&mut pair, 1, 90, [1, 2, 3], "copy");
        for number in 1..=3 {
            restart(&mut pair, restarts);
            assert_eq!(pair.arrive(1, small(90, number)), Ok("copy"));
        }
        restart(&mut pair, restarts);
        expect(&mut pair, 1, 90, [1, 2, 3], "again");
        restart(&mut pair, restarts);
        expect(&mut pair, 1, 90, [1, 2, 3], "again");
        // The address is moved back, and what the first server has logged of that arrives.
        for _ in 0..2 {
            restart(&mut pair, restarts);
            expect(&mut pair, 0, 90, [1, 2, 3], "copy");
        }
        assert_eq!(pair.arrive(0, small(90, 4)), Ok("new"));
        expect(&mut pair, 0, 90, [1, 2, 3], "again");
        // And forth.
        assert_eq!(pair.arrive(1, small(90, 4)), Ok("copy"));
        restart(&mut pair, restarts);
        expect(&mut pair, 1, 90, [1, 2, 3], "copy");
        expect(&mut pair, 1, 90, [1, 2, 3], "again");
    }
}

/// As `binrelay continue SOURCE --at earliest` does.
#[test]
fn source_that_is_read_from_its_beginning_again_repeats_nothing() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        expect(&mut pair, 0, 80, [1, 2, 3], "new");
        expect(&mut pair, 0, 80, [1, 2, 3], "again");
        assert_eq!(pair.arrive(0, small(80, 4)), Ok("new"));
        expect(&mut pair, 0, 80, [2, 1, 4], "again");
        let log_thread = &mut pair.log_thread;
        let progress = SourceProgress::default();
        log_thread.log.replace_progress(0, progress).unwrap();
        let nothing = std::collections::BTreeMap::new();
        log_thread.merge.begin_path(0, None, None, &nothing);
        log_thread.start_file().unwrap();
        pair.sources[0].position = 4;
        expect(&mut pair, 0, 80, [1, 2, 3], "copy");
        expect(&mut pair, 0, 80, [1, 2, 3], "copy");
        if restarts {
            pair.restart();
        }
        assert_eq!(pair.arrive(0, small(80, 4)), Ok("copy"));
        assert_eq!(pair.arrive(0, small(80, 2)), Ok("copy"));
        if restarts {
            pair.restart();
        }
        assert_eq!(pair.arrive(0, small(80, 1)), Ok("copy"));
        assert_eq!(pair.arrive(0, small(80, 4)), Ok("copy"));
        expect(&mut pair, 0, 80, [1, 2, 3], "again");
    }
}

/// Its server has executed transactions again while only the peer was followed.
#[test]
fn source_that_returns_repeats_nothing_that_the_only_other_one_has_delivered() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        expect(&mut pair, 0, 80, [1, 2, 3], "new");
        expect(&mut pair, 1, 80, [1, 2, 3], "copy");
        pair.log_thread.merge.set_one_path(true);
        expect(&mut pair, 1, 80, [1, 2, 3], "again");
        pair.log_thread.merge.set_one_path(false);
        if restarts {
            pair.restart();
        }
        expect(&mut pair, 0, 80, [1, 2, 3], "copy");
        expect(&mut pair, 0, 80, [1, 2, 3], "again");
        expect(&mut pair, 1, 80, [1, 2, 3], "repeated");
    }
}

/// The peer was faster; its copies of the second execution are dropped.
#[test]
fn second_execution_is_delivered_by_a_path_that_is_far_behind() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        expect(&mut pair, 1, 80, [1, 2, 3], "new");
        expect(&mut pair, 1, 80, [1, 2, 3], "repeated");
        expect(&mut pair, 1, 80, [4, 5, 6], "new");
        if restarts {
            pair.restart();
        }
        expect(&mut pair, 0, 80, [1, 2, 3], "copy");
        expect(&mut pair, 0, 80, [1, 2, 3], "again");
        expect(&mut pair, 0, 80, [4, 5, 6], "copy");
        if restarts {
            pair.restart();
        }
        expect(&mut pair, 0, 80, [1, 2, 3], "again");
    }
}

/// A source that joins later, and whose binlog has both executions from before the log began: it cannot be determined
/// whether the second one is newer than the data of the replicas.
#[test]
fn second_execution_before_the_log_counts_as_a_copy_and_is_reported() {
    let mut pair = Pair::new(Flavor::MariaDb);
    pair.dir = fast_dir();
    let mut before = crate::gtid::BinlogState::new();
    before.record("0-80-3".parse().unwrap());
    let before = Executed::MariaDb(before);
    let options = options(pair.dir.path());
    let format = format(Flavor::MariaDb);
    pair.log_thread = LogThread::create(options, &format, before, Vec::new()).unwrap();
    expect(&mut pair, 0, 80, [1, 2, 3], "copy");
    expect(&mut pair, 0, 80, [1, 2, 3], "unverified");
    assert_eq!(pair.arrive(0, small(80, 4)), Ok("new"));
    expect(&mut pair, 0, 80, [1, 2, 3], "again");
}

/// It was killed while replicating from the former one, which a path has passed since then.
#[test]
fn old_second_execution_on_another_servers_binlog_is_not_delivered() {
    for restarts in [false, true] {
        let mut pair = moved();
        expect(&mut pair, 0, 80, [1, 2, 3], "new");
        expect(&mut pair, 0, 80, [4, 5, 6], "new");
        move_address(&mut pair);
        expect(&mut pair, 1, 80, [1, 2, 3], "copy");
        restart(&mut pair, restarts);
        for number in [2, 3] {
            assert_eq!(pair.arrive(1, small(80, number)), Ok("repeated"));
        }
        expect(&mut pair, 1, 80, [4, 5, 6], "copy");
        // There and back.
        expect(&mut pair, 1, 90, [4, 5, 6], "new");
        expect(&mut pair, 1, 90, [7, 8, 9], "new");
        restart(&mut pair, restarts);
        expect(&mut pair, 0, 90, [4, 5, 6], "copy");
        for number in [5, 6] {
            assert_eq!(pair.arrive(0, small(90, number)), Ok("repeated"));
        }
        expect(&mut pair, 0, 90, [7, 8, 9], "copy");
        // At the end of the log.
        assert_eq!(pair.arrive(0, small(90, 9)), Ok("again"));
    }
}

/// By GTID, the dump of another server at the address begins after what only others have delivered.
#[test]
fn what_precedes_the_dump_of_another_server_was_not_skipped() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        expect(&mut pair, 0, 90, [1, 2, 3], "new");
        assert_eq!(pair.arrive(0, small(80, 10)), Ok("new"));
        assert_eq!(pair.arrive(1, small(90, 4)), Ok("new"));
        assert_eq!(pair.arrive(1, small(90, 5)), Ok("new"));
        pair.sources[0].replace_server(); // To server_id 90.
        if restarts {
            pair.restart();
        }
        assert_eq!(pair.arrive(0, small(90, 11)), Ok("new"));
        // It has sent that one itself.
        assert_eq!(pair.arrive(1, small(90, 12)), Ok("new"));
        if restarts {
            pair.restart();
        }
        assert!(pair.arrive(0, small(90, 13)).is_err());
    }
}

/// Numbers ascend across the servers of a domain, so those of any server show whether the path is behind.
#[test]
fn only_path_of_a_server_that_lacks_the_last_ones_of_another_is_not_behind_forever() {
    for restarts in [false, true] {
        let mut pair = Pair::new(Flavor::MariaDb);
        expect(&mut pair, 1, 81, [1, 2, 3], "new");
        expect(&mut pair, 0, 81, [1, 2, 3], "copy");
        // What the first server never receives; the source is removed then.
        assert_eq!(pair.arrive(1, small(81, 4)), Ok("new"));
        pair.log_thread.merge.set_one_path(true);
        if restarts {
            pair.restart();
            pair.log_thread.merge.set_one_path(true);
        }
        assert_eq!(pair.arrive(0, small(80, 5)), Ok("new"));
        assert_eq!(pair.arrive(0, small(81, 3)), Ok("again"));
    }
}

/// What a server had logged twice before the transactions of others that were delivered since.
#[test]
fn second_execution_of_the_last_ones_of_a_server_before_those_of_others_is_old() {
    for restarts in [false, true] {
        let mut pair = moved();
        expect(&mut pair, 0, 70, [1, 2, 3], "new");
        expect(&mut pair, 0, 80, [4, 5, 6], "new");
        move_address(&mut pair);
        expect(&mut pair, 1, 70, [1, 2, 3], "copy");
        restart(&mut pair, restarts);
        assert_eq!(pair.arrive(1, small(70, 3)), Ok("repeated"));
        expect(&mut pair, 1, 80, [4, 5, 6], "copy");
    }
}
