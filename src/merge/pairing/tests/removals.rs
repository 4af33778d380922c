//! What paths do without after files were removed.

use super::*;

/// However a path begins after a removal, what may be a copy of a removed transaction is refused.
#[test]
fn paths_that_begin_after_a_removal_refuse_what_may_be_removed() {
    let mut log = Log::new(2);
    for number in 5..8 {
        log.receive(0, 0, rows(number, number as u32)).unwrap();
    }
    let first = RecordNumber { file: 1, record: 2 };
    log.pairing.lose_before(first, &log.ledger).unwrap();
    log.pairing.begin_again(1, Some(2), None, &BTreeMap::new());
    assert_eq!(log.receive(1, 0, rows(5, 5)), Err(Unaligned::Removed));
    let removed_until = BTreeMap::from([(1, 6)]);
    let added = log.pairing.add_path(first, &removed_until);
    for path in [1, added] {
        assert_eq!(log.receive(path, 0, rows(6, 6)), Err(Unaligned::Removed));
        assert_eq!(log.receive(path, 0, rows(7, 7)), Ok(Paired::Copy));
    }
    assert_eq!(log.receive(added, 0, rows(8, 8)), Ok(Paired::New));
    // A copy in another format may be of a later second.
    log.pairing.note_formats(1);
    let added = log.pairing.add_path(first, &removed_until);
    assert_eq!(log.receive(added, 0, rows(9, 9)), Err(Unaligned::Removed));
}

#[test]
fn removal_that_cannot_read_the_ledger_changes_nothing() {
    struct Damaged;
    impl Ledger for Damaged {
        fn read(
            &self,
            _: RecordNumber,
            _: u32,
            _: &mut dyn FnMut(Delivered) -> bool,
        ) -> Result<Option<RecordNumber>, String> {
            Err("damaged".to_owned())
        }
    }
    let mut log = Log::new(3);
    for number in 5..8 {
        log.receive(0, 0, rows(number, number as u32)).unwrap();
    }
    // One queue is in memory, and the other is not.
    log.receive(2, 0, rows(5, 5)).unwrap();
    let end = log.next_record();
    let states = |log: &Log| {
        let mut states: Vec<_> = log.pairing.states(end).collect();
        states.sort_by_key(|state| (state.path, state.origin));
        states
    };
    let before = states(&log);
    let lost = log.pairing.lose_before(end, &Damaged);
    assert_eq!(lost, Err(Unaligned::Ledger("damaged".to_owned())));
    assert_eq!(states(&log), before);
}
