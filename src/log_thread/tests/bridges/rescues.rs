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

/// Replicas execute CREATE TABLE of a MySQL before 5.6.6 by the version of its file, also where newer events follow.
#[test]
fn a_file_with_events_of_an_old_version_has_an_old_version() {
    let dir = fast_dir();
    let options = options(dir.path());
    let new = make::mysql56_format(Checksum::Crc32);
    let old = Arc::new(FormatDescription {
        server_version: "5.5.59-log".to_owned(),
        checksum: Checksum::None,
        ..(*new).clone()
    });
    let executed = Executed::Anonymous;
    let created = LogThread::create(options.clone(), &old, executed.clone(), Vec::new());
    let mut log_thread = created.unwrap();
    let mut master = source(0);
    for (number, format) in [(1, &old), (2, &new), (3, &new)] {
        let mut batch = master.deliver(&[insert(80, number)]);
        batch.format = format.clone();
        log_thread.append(&batch, &batch.transactions[0]).unwrap();
        log_thread.commit().unwrap();
    }
    let log = log_thread.log().clone();
    let (part, _) = LogPart::published(&log);
    assert_eq!(part.files, [1, 2]);
    for (first, expected) in [(1, "5.6.5-binrelay"), (2, "5.6.24-log")] {
        let contains = |logged: &Logged| logged.file >= first;
        let (rescue, _) = bridge::write_rescue(&part, OWN, &executed, &contains).unwrap();
        let path = ServedFile::Bridge(rescue).path(part.log_dir);
        let format = FileHead::read(&path).unwrap().format;
        assert_eq!(format.server_version, expected);
        assert_eq!(format.post_header_lengths, new.post_header_lengths);
    }
}
