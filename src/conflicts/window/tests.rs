//! The window compared with a model that knows the binlogs of all masters.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::gtid::{Gtid, Sid, Tag, Uuid};
use crate::identity::Fingerprint;

/// Masters, and the relay that reads their binlogs.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A client writes one or two keys on a master.
    Write(usize, Key, Key),
    /// A master applies the next transaction in the binlog of another, and logs it.
    Replicate(usize, usize),
    /// The same, but it logs nothing.
    Skip(usize, usize),
    /// The relay reads the next transaction of a master's binlog.
    Read(usize),
}

#[derive(Debug, Clone)]
struct Executed {
    origin: usize,
    keys: Vec<Key>,
}

/// The masters.
struct Model {
    executed: Vec<Executed>,
    binlogs: Vec<Vec<usize>>,
    /// By master and peer: how far it has applied the peer's binlog.
    applied: Vec<Vec<usize>>,
    has: Vec<HashSet<usize>>,
    read: Vec<usize>,
    delivered: HashSet<usize>,
    has_gtids: bool,
    window: Window,
    /// Older, newer, key.
    reported: Vec<(usize, usize, Key)>,
    /// The order of arrivals on their own paths.
    own: Vec<usize>,
    asked: HashMap<usize, u32>,
    asked_in_order: Vec<usize>,
}

impl Model {
    fn new(masters: usize, has_gtids: bool, limits: Limits) -> Self {
        let mut window = Window::new(limits);
        for path in 0..masters {
            window.set_server(path, path as u32 + 1);
        }
        Self {
            executed: Vec::new(),
            binlogs: vec![Vec::new(); masters],
            applied: vec![vec![0; masters]; masters],
            has: vec![HashSet::new(); masters],
            read: vec![0; masters],
            delivered: HashSet::new(),
            has_gtids,
            window,
            reported: Vec::new(),
            own: Vec::new(),
            asked: HashMap::new(),
            asked_in_order: Vec::new(),
        }
    }

    fn identity(&self, id: usize) -> Identity {
        let executed = &self.executed[id];
        match self.has_gtids {
            true => Identity::MySql(Gtid {
                sid: Sid {
                    uuid: Uuid([executed.origin as u8; 16]),
                    tag: Tag::NONE,
                },
                gno: id as u64 + 1,
            }),
            // Transactions that write the same keys look alike.
            false => Identity::Anonymous(Fingerprint {
                content: executed.keys.iter().sum::<Key>() as u64,
                ..Fingerprint::default()
            }),
        }
    }

    fn step(&mut self, step: Step) {
        let masters = self.binlogs.len();
        match step {
            Step::Write(master, one, two) => {
                let id = self.executed.len();
                let mut keys = vec![one, two];
                keys.dedup();
                let origin = master % masters;
                self.executed.push(Executed { origin, keys });
                self.binlogs[origin].push(id);
                self.has[origin].insert(id);
            }
            Step::Replicate(master, peer) => self.replicate(master % masters, peer % masters, true),
            Step::Skip(master, peer) => self.replicate(master % masters, peer % masters, false),
            Step::Read(master) => self.read(master % masters),
        }
    }

    fn replicate(&mut self, master: usize, peer: usize, logs: bool) {
        let next = self.applied[master][peer];
        let Some(id) = self.binlogs[peer].get(next).copied() else {
            return;
        };
        self.applied[master][peer] += 1;
        if master != peer && self.has[master].insert(id) && logs {
            self.binlogs[master].push(id);
        }
    }

    fn read(&mut self, path: usize) {
        let Some(id) = self.binlogs[path].get(self.read[path]).copied() else {
            return;
        };
        self.read[path] += 1;
        let server_id = self.executed[id].origin as u32 + 1;
        let identity = self.identity(id);
        let written = Written {
            identity,
            server_id,
            file: 1,
            begin: id as u32,
            end: id as u32,
            delivered_by: path,
            emptied: false,
            commit_time_us: 0,
            position: SourcePosition::default(),
        };
        let arrival = Arrival {
            path,
            position: SourcePosition::default(),
            delivered: self.delivered.insert(id).then_some(written),
            identity,
            server_id,
        };
        if self.executed[id].origin == path {
            self.own.push(id);
        }
        let (executed, asked) = (&self.executed, &mut self.asked);
        let in_order = &mut self.asked_in_order;
        let pairs = self.window.arrive(arrival, &mut |written| {
            let id = written.begin as usize;
            *asked.entry(id).or_default() += 1;
            in_order.push(id);
            executed[id].keys.clone()
        });
        for pair in pairs {
            let [one, two] = pair.writes.map(|write| write.begin as usize);
            self.reported.push((one, two, pair.key));
        }
    }

    fn read_all(&mut self) {
        for path in 0..self.binlogs.len() {
            for _ in 0..self.binlogs[path].len() {
                self.read(path);
            }
        }
    }

    fn precedes(&self, master: usize, one: usize, two: usize) -> bool {
        let at = |id| self.binlogs[master].iter().position(|known| *known == id);
        match (at(one), at(two)) {
            (Some(one), Some(two)) => one < two,
            (Some(_), None) => true,
            _ => false,
        }
    }

    /// Whether neither master had the other's transaction.
    fn are_concurrent(&self, one: usize, two: usize) -> bool {
        let origins = [one, two].map(|id| self.executed[id].origin);
        origins[0] != origins[1]
            && !self.precedes(origins[1], one, two)
            && !self.precedes(origins[0], two, one)
    }

    /// Each reported pair is in conflict, and is reported once.
    fn check_no_false_report(&self) {
        let unique: HashSet<_> = self.reported.iter().collect();
        assert_eq!(unique.len(), self.reported.len(), "reported twice");
        for (one, two, key) in &self.reported {
            let have_key = [one, two].map(|id| self.executed[*id].keys.contains(key));
            assert!(have_key[0] && have_key[1], "{one} {two}");
            assert!(
                self.are_concurrent(*one, *two),
                "{one} {two}: not concurrent"
            );
        }
        let twice: Vec<_> = self.asked.iter().filter(|asked| *asked.1 > 1).collect();
        assert!(twice.is_empty(), "read twice: {twice:?}");
    }

    /// For each transaction, key and other master the newest transaction in conflict that had arrived before is reported.
    fn check_complete(&self) {
        let reported: HashSet<_> = self.reported.iter().copied().collect();
        let mut expected = HashSet::new();
        for (at, newer) in self.own.iter().enumerate() {
            for key in &self.executed[*newer].keys {
                for master in 0..self.binlogs.len() {
                    let older = self.own[..at].iter().rev().copied().find(|older| {
                        let executed = &self.executed[*older];
                        executed.origin == master
                            && executed.keys.contains(key)
                            && self.are_concurrent(*older, *newer)
                    });
                    expected.extend(older.map(|older| (older, *newer, *key)));
                }
            }
        }
        assert_eq!(reported, expected);
    }
}

const UNLIMITED: Limits = Limits {
    transactions: 100_000,
    keys: 100_000,
};

fn steps(skips: bool) -> impl Strategy<Value = Vec<Step>> {
    let one = (0..10u8, 0..3usize, 0..3usize, 0..5u128, 0..5u128);
    let step = move |(kind, master, peer, one, two)| match kind {
        0..3 => Step::Write(master, one, two),
        3..6 => Step::Replicate(master, peer),
        6 if skips => Step::Skip(master, peer),
        _ => Step::Read(master),
    };
    prop::collection::vec(one.prop_map(step), 0..120)
}

proptest! {
    #[test]
    fn exactly_the_conflicts_are_reported(steps in steps(false), masters in 2..4usize) {
        let mut model = Model::new(masters, true, UNLIMITED);
        steps.into_iter().for_each(|step| model.step(step));
        model.check_no_false_report();
        model.read_all();
        model.check_no_false_report();
        model.check_complete();
    }

    #[test]
    fn without_gtids_too(steps in steps(false)) {
        let mut model = Model::new(2, false, UNLIMITED);
        steps.into_iter().for_each(|step| model.step(step));
        model.read_all();
        model.check_no_false_report();
        model.check_complete();
    }

    #[test]
    fn nothing_false_where_peers_log_nothing_or_the_window_is_small_or_begins_late(
        steps in steps(true),
        masters in 2..4usize,
        transactions in 1..20usize,
        clear_at in 0..200usize,
    ) {
        let mut model = Model::new(masters, true, Limits { transactions, keys: 12 });
        for (number, step) in steps.into_iter().enumerate() {
            if number == clear_at {
                model.window.clear();
                for path in 0..masters {
                    model.window.set_server(path, path as u32 + 1);
                }
            }
            model.step(step);
            let window = &model.window;
            assert!(window.entries.len() <= transactions && window.keys.len() <= 12);
        }
        model.read_all();
        model.check_no_false_report();
    }
}

fn write(master: usize, key: Key) -> Step {
    Step::Write(master, key, key)
}

#[test]
fn writes_one_after_the_other_are_not_in_conflict() {
    let mut model = Model::new(2, true, UNLIMITED);
    for round in 0..1000 {
        let (here, there) = (round % 2, (round + 1) % 2);
        model.step(write(here, 7));
        while model.applied[there][here] < model.binlogs[here].len() {
            model.step(Step::Replicate(there, here));
        }
        model.step(Step::Read(round % 3));
    }
    model.read_all();
    assert_eq!(model.reported, []);
    assert!(model.window.entries.is_empty(), "all were passed");
    assert!(model.window.keys.is_empty() && model.window.by_identity.is_empty());
    let paths = model.window.paths.iter();
    let left = paths.map(|path| path.open.len() + path.unread.len() + path.pending.len());
    let left: usize = left.sum();
    assert_eq!(left, 0);
}

#[test]
fn conflict_is_certain_before_the_copies_arrive() {
    let mut model = Model::new(2, true, UNLIMITED);
    for step in [write(0, 1), write(1, 1), Step::Read(0), Step::Read(1)] {
        model.step(step);
    }
    assert_eq!(model.reported, [(0, 1, 1)]);
}

#[test]
fn master_that_passed_a_transaction_without_logging_it_has_seen_it() {
    let mut model = Model::new(2, true, UNLIMITED);
    let history = [
        write(0, 1),
        Step::Skip(1, 0),
        write(0, 2),
        Step::Replicate(1, 0),
        write(1, 1),
    ];
    history.into_iter().for_each(|step| model.step(step));
    model.read_all();
    assert_eq!(model.reported, []);
}

#[test]
fn keys_are_only_read_where_two_masters_write_at_the_same_time() {
    let mut model = Model::new(2, true, UNLIMITED);
    for _ in 0..10 {
        model.step(write(0, 1));
        model.step(Step::Read(0));
    }
    assert!(model.asked.is_empty());
    model.step(write(1, 2));
    model.step(Step::Read(1));
    // In the order of the log: backwards, each of them would take a block of its own.
    assert_eq!(model.asked_in_order, (0..11).collect::<Vec<_>>());
}

#[test]
fn arrivals_are_kept_for_any_number_of_paths() {
    let mut arrivals = Arrivals::default();
    let at = |path: usize| 10 + path as u64;
    (0..9)
        .step_by(2)
        .for_each(|path| arrivals.set(path, at(path)));
    for path in 0..12 {
        let expected = if path < 9 && path % 2 == 0 {
            at(path)
        } else {
            0
        };
        assert_eq!(arrivals.on(path), expected, "{path}");
    }
}

#[test]
fn entries_that_look_alike_are_kept_in_order() {
    let mut entries = Entries::One(3);
    entries.push(5);
    entries.push(8);
    entries.push(9);
    assert!(!entries.remove(8) && !entries.remove(3));
    assert_eq!(entries.iter().collect::<Vec<_>>(), [5, 9]);
    assert!(!entries.remove(5) && entries.remove(9));
    assert!(Entries::One(1).remove(1));
}

#[test]
fn former_history_with_the_same_gtids_is_forgotten() {
    let mut model = Model::new(2, true, UNLIMITED);
    model.step(write(0, 1));
    model.step(Step::Read(0));
    model.delivered.clear();
    model.read[0] = 0;
    model.step(Step::Read(0));
    assert_eq!(model.window.entries.len(), 1);
}

/// Without GTIDs, M2 logs other row images than M1: what M2's path has delivered first does not arrive on M1's.
#[test]
fn unknown_copies_do_not_end_the_detection() {
    let mut model = Model::new(2, false, UNLIMITED);
    for step in [write(0, 1), Step::Replicate(1, 0), Step::Read(1)] {
        model.step(step);
    }
    let copy = |content| Arrival {
        path: 0,
        position: SourcePosition::default(),
        delivered: None,
        identity: Identity::Anonymous(Fingerprint {
            content,
            ..Fingerprint::default()
        }),
        server_id: 1,
    };
    model.read[0] = 1;
    model.window.arrive(copy(99), &mut |_| Vec::new());
    for step in [write(0, 2), write(1, 2)] {
        model.step(step);
    }
    model.read_all();
    assert_eq!(model.reported, [(1, 2, 2)]);
}

/// Without GTIDs, M2 logs something else than M1 for a transaction of M1 that was in conflict: it is delivered as
/// another one of M1, and never arrives on M1's path.
#[test]
fn changed_copies_do_not_end_the_detection() {
    let mut model = Model::new(2, false, UNLIMITED);
    model.step(write(0, 1));
    model.step(Step::Read(0));
    let identity = Identity::Anonymous(Fingerprint {
        content: 99,
        ..Fingerprint::default()
    });
    let written = Written {
        identity,
        server_id: 1,
        file: 1,
        begin: 0,
        end: 0,
        delivered_by: 1,
        emptied: false,
        commit_time_us: 0,
        position: SourcePosition::default(),
    };
    let changed = Arrival {
        path: 1,
        position: SourcePosition::default(),
        delivered: Some(written),
        identity,
        server_id: 1,
    };
    model.window.arrive(changed, &mut |_| Vec::new());
    model.applied[1][0] = 1;
    let next = [
        write(0, 2),
        Step::Replicate(1, 0),
        Step::Read(0),
        Step::Read(1),
    ];
    next.into_iter().for_each(|step| model.step(step));
    for step in [write(0, 3), write(1, 3)] {
        model.step(step);
    }
    model.read_all();
    assert_eq!(model.reported, [(2, 3, 3)]);
}
