//! Replicas of one source are attached to the merged log: with what they have, the bridge and the rest of
//! the log they get each transaction once, whatever the paths' orders.

mod rescues;

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::anonymous::{create_anonymous, insert, source};
use super::read_back::events;
use super::*;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::mysql_gtid::MySqlGtidEvent;
use crate::binlog::query::Query;
use crate::binlog::rotate::Rotate;
use crate::binlog::{EventType, Opener};
use crate::gtid::Gtid;
use crate::position::RelayLogPosition;
use crate::relay_log::bridge::{self, ServedFile};
use crate::relay_log::held::{Continuation, Held, LogPart, Logged, RecordSet, continuation};
use crate::relay_log::held_paths::{
    HeldOnPaths, PathError, PathPosition, held_of_mariadb, held_without_gtids,
};
use crate::relay_log::reader::FileHead;

/// How transactions are identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    MySql,
    MariaDb,
    Anonymous,
}

#[derive(Debug, Clone)]
enum Op {
    /// A master commits a transaction of a client.
    Commit(usize),
    /// A master applies the next transaction of its peer, and logs it.
    Apply(usize),
    /// The relay receives the next transaction of a master.
    Receive(usize),
    /// The relay stops and starts again.
    Restart,
}

/// A transaction, by its origin and number.
type Key = (usize, u64);
/// A transaction as it looks in a log file: its server_id, and a number.
type Shown = (u32, u64);

struct Pair {
    kind: Kind,
    /// MariaDB: whether both masters write to one domain.
    shared_domain: bool,
    options: LogOptions,
    log_thread: Option<LogThread>,
    sources: [TestSource; 2],
    committed: [u64; 2],
    applied: [u64; 2],
    /// The binlogs, and how much of each the relay has received.
    binlogs: [Vec<Key>; 2],
    received: [usize; 2],
    /// The position after each transaction that was received.
    ends: [Vec<SourcePosition>; 2],
    _dir: tempfile::TempDir,
}

impl Pair {
    fn new(kind: Kind, shared_domain: bool) -> Self {
        let dir = fast_dir();
        let mut options = options(dir.path());
        options.max_size = 3000;
        let flavor = match kind {
            Kind::MariaDb => Flavor::MariaDb,
            Kind::MySql | Kind::Anonymous => Flavor::MySql,
        };
        let (log_thread, sources) = match kind {
            Kind::Anonymous => (
                create_anonymous(&options, Vec::new()),
                [source(0), source(1)],
            ),
            _ => (
                create(&options, flavor),
                [TestSource::new(0, flavor), TestSource::new(1, flavor)],
            ),
        };
        Self {
            kind,
            shared_domain,
            options,
            log_thread: Some(log_thread),
            sources,
            committed: [0; 2],
            applied: [0; 2],
            binlogs: [Vec::new(), Vec::new()],
            received: [0; 2],
            ends: [Vec::new(), Vec::new()],
            _dir: dir,
        }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Commit(master) => {
                self.committed[master] += 1;
                self.binlogs[master].push((master, self.committed[master]));
            }
            Op::Apply(master) => {
                let peer = 1 - master;
                if self.applied[master] < self.committed[peer] {
                    self.applied[master] += 1;
                    self.binlogs[master].push((peer, self.applied[master]));
                }
            }
            Op::Receive(master) => self.receive(master),
            Op::Restart => {
                self.log_thread = None;
                self.log_thread = Some(resume(&self.options));
            }
        }
    }

    fn receive(&mut self, master: usize) {
        let Some(key) = self.binlogs[master].get(self.received[master]).copied() else {
            return;
        };
        self.received[master] += 1;
        if self.received[master].is_multiple_of(7) {
            let moved = self.sources[master].next_file();
            self.log_thread
                .as_mut()
                .unwrap()
                .move_source(&moved)
                .unwrap();
        }
        let group = self.group(key);
        let source = &mut self.sources[master];
        let batch = source.deliver(&[group]);
        self.ends[master].push(batch.source_end.clone());
        let log_thread = self.log_thread.as_mut().unwrap();
        for transaction in &batch.transactions {
            log_thread.append(&batch, transaction).unwrap();
        }
        log_thread.commit().unwrap();
    }

    fn group(&self, (master, number): Key) -> Vec<Vec<u8>> {
        let server_id = 80 + master as u32;
        let (flavor, tag) = match self.kind {
            // Two transactions look alike.
            Kind::Anonymous => return insert(server_id, number as u32 / 2),
            Kind::MySql => (Flavor::MySql, ""),
            Kind::MariaDb if self.shared_domain || master == 0 => (Flavor::MariaDb, ""),
            Kind::MariaDb => (Flavor::MariaDb, "d"),
        };
        let shape = match number % 5 {
            0 => Shape::Spilled,
            1 => Shape::Emptied,
            _ => Shape::Small,
        };
        group(flavor, server_id, number, tag, shape)
    }

    /// The transaction as it looks in a log file.
    fn shown(&self, (master, number): Key) -> (u32, u64) {
        match self.kind {
            Kind::Anonymous => (80 + master as u32, number / 2),
            Kind::MySql | Kind::MariaDb => (80 + master as u32, number),
        }
    }

    /// What the replica has: the first `count` transactions of master 0.
    fn held(&self, part: &LogPart<'_>, count: usize) -> (Held, RecordSet) {
        let position = PathPosition {
            source: "m0".into(),
            at: self.ends[0][count - 1].clone(),
        };
        let positions = [position];
        let names = &self.options.source_names;
        match self.kind {
            Kind::Anonymous => {
                let found = held_without_gtids(part, names, OWN, &positions).unwrap();
                (found.held, found.sent_later)
            }
            Kind::MariaDb => (
                held_of_mariadb(part, &positions).unwrap().held,
                RecordSet::default(),
            ),
            Kind::MySql => {
                let mut held = Executed::empty(Flavor::MySql);
                for (master, number) in &self.binlogs[0][..count] {
                    let Gtid { sid, .. } = gtid(80 + *master as u8, "", 1);
                    held.record(&Identity::MySql(Gtid { sid, gno: *number }));
                }
                (Held::Gtids(held), RecordSet::default())
            }
        }
    }

    /// Attaches a replica with the first `count` transactions of master 0; returns what it gets from
    /// the bridge and from the log.
    fn attach(&self, count: usize) -> (Vec<Shown>, Vec<Shown>) {
        let log = self.log_thread.as_ref().unwrap().log().clone();
        let part = LogPart {
            log_dir: log.log_dir(),
            files: log.state().files.clone(),
            end: log.published(),
        };
        let (held, sent_later) = self.held(&part, count);
        let found = continuation(&part, &held, &["m0"], &sent_later).unwrap();
        assert!(found.origins.values().all(|origin| origin.unknown == 0));
        let from_bridge = match found.missing {
            0 => Vec::new(),
            missing => {
                let bridged = self.bridged(&part, &held, &found);
                assert_eq!(bridged.len() as u64, missing);
                bridged
            }
        };
        (from_bridge, self.logged(&part, found.from))
    }

    fn bridged(&self, part: &LogPart<'_>, held: &Held, found: &Continuation) -> Vec<Shown> {
        let executed = match held {
            Held::Gtids(gtids) => gtids.clone(),
            Held::Records(_) => Executed::Anonymous,
        };
        let written = bridge::write(part, OWN, held, &executed, found).unwrap();
        let path = ServedFile::Bridge(written).path(part.log_dir);
        let name = bridge::name(written.number);
        let named = bridge::named(part.log_dir, name.as_bytes()).unwrap();
        assert_eq!((named, written.next), (Some(written), Some(found.from)));
        let head = FileHead::read(&path).unwrap();
        if executed != Executed::Anonymous {
            assert_eq!(head.previous, executed);
        }
        let bytes = fs::read(&path).unwrap();
        let events = events(&bytes);
        assert_eq!(type_of(events.last().unwrap()), EventType::ROTATE);
        let openers = events.iter().filter(|event| type_of(event).is_gtid());
        for (sequence, opener) in (1i64..).zip(openers) {
            if self.kind == Kind::MySql {
                let opener = MySqlGtidEvent::parse(opener, true).unwrap();
                let expected = Some(clock(sequence - 1, sequence));
                assert_eq!(opener.clock, expected);
            }
        }
        bridge::remove_useless(part.log_dir, &part.files).unwrap();
        assert!(path.exists(), "it leads to a file of the log");
        let keys = self.keys(&events, 0);
        bridge::remove_useless(part.log_dir, &[]).unwrap();
        assert!(!path.exists());
        keys
    }

    fn logged(&self, part: &LogPart<'_>, from: RelayLogPosition) -> Vec<Shown> {
        let mut found = Vec::new();
        for number in part.files.iter().filter(|number| **number >= from.file) {
            let bytes = fs::read(part.log_dir.log_path(*number)).unwrap();
            let offset = match *number == from.file {
                true => from.offset,
                false => 0,
            };
            found.extend(self.keys(&events(&bytes), offset));
        }
        found
    }

    /// The transactions in the events from `offset` of their file on.
    fn keys(&self, events: &[Vec<u8>], offset: u64) -> Vec<Shown> {
        let mut at = 4;
        let mut keys = Vec::new();
        for event in events {
            let begin = at;
            at += event.len() as u64;
            if begin >= offset {
                keys.extend(self.key(event));
            }
        }
        keys
    }

    fn key(&self, event: &[u8]) -> Option<(u32, u64)> {
        let header = EventHeader::parse(event).unwrap();
        if self.kind != Kind::Anonymous {
            if !header.event_type.is_gtid() {
                return None;
            }
            return match Identity::of_opener(&Opener::parse(event, true).unwrap()) {
                Identity::MySql(gtid) => Some((header.server_id, gtid.gno)),
                Identity::MariaDb(gtid) => Some((gtid.server_id, gtid.seq_no)),
                Identity::Anonymous(_) => None,
            };
        }
        if header.event_type != EventType::QUERY {
            return None;
        }
        let query = Query::parse(header.event_type, event::body(event, true)).unwrap();
        let text = std::str::from_utf8(query.statement).unwrap();
        let number = text.strip_prefix("insert into t values (")?;
        Some((header.server_id, number.strip_suffix(')')?.parse().unwrap()))
    }
}

fn type_of(event: &[u8]) -> EventType {
    EventHeader::parse(event).unwrap().event_type
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..2usize).prop_map(Op::Commit),
        4 => (0..2usize).prop_map(Op::Apply),
        8 => (0..2usize).prop_map(Op::Receive),
        1 => Just(Op::Restart),
    ]
}

fn counts(keys: impl IntoIterator<Item = (u32, u64)>) -> BTreeMap<(u32, u64), u32> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn check(kind: Kind, shared_domain: bool, ops: &[Op], which: usize) {
    let mut pair = Pair::new(kind, shared_domain);
    for op in ops {
        pair.run(op);
    }
    let received = pair.received[0];
    if received == 0 {
        return;
    }
    let count = 1 + which % received;
    let (from_bridge, from_log) = pair.attach(count);
    let has = pair.binlogs[0][..count].iter().map(|key| pair.shown(*key));
    let all = has.chain(from_bridge.iter().copied()).chain(from_log);
    // Each transaction that the relay has received, by whichever path, once.
    let mut expected: Vec<Key> = Vec::new();
    for (binlog, received) in pair.binlogs.iter().zip(pair.received) {
        expected.extend(&binlog[..received]);
    }
    expected.sort_unstable();
    expected.dedup();
    let expected = expected.into_iter().map(|key| pair.shown(key));
    assert_eq!(counts(all), counts(expected), "bridge: {from_bridge:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn replicas_get_each_transaction_once(
        ops in prop::collection::vec(op(), 1..120),
        which in any::<usize>(),
        shared_domain in any::<bool>(),
    ) {
        for kind in [Kind::MySql, Kind::MariaDb, Kind::Anonymous] {
            check(kind, shared_domain, &ops, which);
        }
    }
}

/// What a replica has that has everything of master 0 up to `at`.
fn held_at(pair: &Pair, at: SourcePosition) -> Result<HeldOnPaths, PathError> {
    let log = pair.log_thread.as_ref().unwrap().log().clone();
    let part = LogPart {
        log_dir: log.log_dir(),
        files: log.state().files.clone(),
        end: log.published(),
    };
    let source = "m0".into();
    held_without_gtids(
        &part,
        &pair.options.source_names,
        OWN,
        &[PathPosition { source, at }],
    )
}

/// Both masters are read back from their first files to their starts. A transaction of M1 is before
/// its start, and M0 had not executed it yet when the log began.
#[test]
fn what_the_log_never_had_is_refused() {
    let mut pair = Pair::new(Kind::Anonymous, false);
    let reading_back = |server_id| SourceProgress {
        position: SourcePosition::new("bin.000001", 4),
        server_id,
        reading_back: true,
        ..SourceProgress::default()
    };
    let progress = vec![reading_back(80), reading_back(81)];
    let mut log_thread = create_anonymous(&pair.options, progress);
    let [m0, m1] = &mut pair.sources;
    let mut ends = Vec::new();
    let mut append = |source: &mut TestSource, group: Vec<Vec<u8>>| {
        let batch = source.deliver(&[group]);
        for transaction in &batch.transactions {
            log_thread.append(&batch, transaction).unwrap();
        }
        log_thread.commit().unwrap();
        ends.push(batch.source_end);
    };
    for source in [&mut *m0, &mut *m1] {
        source.assembler.set_before_start(true);
    }
    append(m0, insert(80, 1));
    append(m1, insert(81, 1));
    for source in [&mut *m0, &mut *m1] {
        source.assembler.set_before_start(false);
    }
    append(m0, insert(80, 2));
    append(m0, insert(81, 1));
    append(m0, insert(80, 3));
    pair.log_thread = Some(log_thread);
    let start = SourcePosition::new("bin.000001", 4);
    let early = held_at(&pair, start).unwrap_err();
    assert!(matches!(early, PathError::BeforeStart { .. }), "{early}");
    // Its first transaction is before the start, and the last one before it.
    let held = |at: usize| held_at(&pair, ends[at].clone());
    let lost = held(2).unwrap_err();
    assert!(matches!(lost, PathError::Lost { count: 1, .. }), "{lost}");
    for known in [3, 4] {
        let found = held(known).unwrap();
        assert_eq!(found.at_boundary.values().next(), Some(&true));
    }
    let between = SourcePosition::new(ends[3].file.clone(), ends[3].offset + 1);
    let found = held_at(&pair, between).unwrap();
    assert_eq!(found.at_boundary.values().next(), Some(&false));
}

#[test]
fn a_transaction_that_only_the_relay_has_is_in_the_bridge() {
    for kind in [Kind::MySql, Kind::MariaDb, Kind::Anonymous] {
        let mut pair = Pair::new(kind, false);
        for op in [
            Op::Commit(0),
            Op::Receive(0),
            Op::Commit(1),
            Op::Receive(1),
            Op::Commit(0),
            Op::Receive(0),
        ] {
            pair.run(&op);
        }
        let key = |key| pair.shown(key);
        // At M1's first transaction the log can be taken whole; at its second, M2's is missing.
        let (bridge, log) = pair.attach(1);
        assert_eq!((bridge, log), (Vec::new(), vec![key((1, 1)), key((0, 2))]));
        let (bridge, log) = pair.attach(2);
        assert_eq!((bridge, log), (vec![key((1, 1))], Vec::new()), "{kind:?}");
        pair.run(&Op::Apply(0));
        pair.run(&Op::Receive(0));
        assert_eq!(pair.attach(3), (Vec::new(), Vec::new()));
    }
}
