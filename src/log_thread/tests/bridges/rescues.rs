//! Rescues, and the numbers of bridges.

use super::*;

/// A rescue has exactly the selected transactions, and its ROTATE leads to its own end.
#[test]
fn a_rescue_leads_nowhere_and_is_kept() {
    for kind in [Kind::MySql, Kind::MariaDb, Kind::Anonymous] {
        let mut pair = Pair::new(kind, true);
        for _ in 0..6 {
            pair.run(&Op::Commit(0));
            pair.run(&Op::Receive(0));
        }
        let log = pair.log_thread.as_ref().unwrap().log().clone();
        let (part, _) = LogPart::published(&log);
        let (held, _) = pair.held(&part, 3);
        let contains = |logged: &Logged| !held.has(logged) && !logged.emptied;
        let executed = log.state().executed.clone();
        let (rescue, end) = bridge::write_rescue(&part, OWN, &executed, &contains).unwrap();
        let name = bridge::name(rescue.number);
        let named = bridge::named(part.log_dir, name.as_bytes()).unwrap();
        assert_eq!((named, rescue.next), (Some(rescue), None));
        let path = ServedFile::Bridge(rescue).path(part.log_dir);
        let events = events(&fs::read(&path).unwrap());
        // Of those with GTIDs, every fifth one, from the first on, is emptied.
        let is_kept = |number: &u64| kind == Kind::Anonymous || number % 5 != 1;
        let expected = (4..=6)
            .filter(is_kept)
            .map(|number| pair.shown((0, number)));
        assert_eq!(pair.keys(&events, 0), expected.collect::<Vec<_>>());
        let rotate = events.last().unwrap();
        let (len, whole) = (rotate.len() as u64, fs::metadata(&path).unwrap().len());
        assert_eq!(end, whole - len);
        let leads_to = Rotate::parse(event::body(rotate, true)).unwrap();
        assert_eq!((leads_to.file, leads_to.position), (name.as_bytes(), whole));
        let at_end = bridge::is_event_boundary(part.log_dir, rescue, whole);
        assert!(at_end.unwrap(), "{kind:?}");
        bridge::remove_useless(part.log_dir, &[]).unwrap();
        assert!(path.exists());
    }
}

#[test]
fn no_number_is_used_twice() {
    let mut pair = Pair::new(Kind::MySql, false);
    for op in [Op::Commit(1), Op::Receive(1), Op::Commit(0), Op::Receive(0)] {
        pair.run(&op);
    }
    let log = pair.log_thread.as_ref().unwrap().log().clone();
    let log_dir = log.log_dir();
    for number in [1, 2] {
        pair.attach(1);
        // Bridges are removed with the files that they lead to, or by hand.
        let unused = bridge::named(log_dir, bridge::name(number).as_bytes());
        assert_eq!(unused.unwrap(), None);
        let newest = fs::read_to_string(log_dir.dir.join("bridge.newest")).unwrap();
        assert_eq!(newest, format!("{number}\n"));
    }
}
