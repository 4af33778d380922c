//! The relay between stand-ins for MySQL 5.5 and 5.7: what a source served reaches a replica once, in
//! order and unchanged, whatever breaks on the way.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::recorded;
use crate::standin::binlog::{Binlog, BinlogFile};
use crate::standin::event::{Event, Group, groups};
use crate::standin::io_thread::IoThread;
use crate::standin::reading_55::as_read;
use crate::standin::recordings::recorded_binlog;
use crate::standin::replica::{ReplicaStandin, Stop};
use crate::standin::rewrite::rewrite;
use crate::standin::source::{Break, SourceStandin};
use crate::standin::version::Version;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::servers::REPL_PASSWORD;
use crate::support::{Deadline, SeedNote, seeds};

pub const REPLICA_ID: u32 = 77;

/// A source, and a replica that follows it through the relay.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    source: Version,
    gtids: bool,
    replica: Version,
}

/// MySQL 5.7 by position, and by GTID.
pub const CHAINS_57: [Chain; 2] = [CHAINS[2], CHAINS[3]];

const CHAINS: [Chain; 5] = [
    Chain {
        source: Version::V55,
        gtids: false,
        replica: Version::V55,
    },
    Chain {
        source: Version::V55,
        gtids: false,
        replica: Version::V57,
    },
    Chain {
        source: Version::V57,
        gtids: false,
        replica: Version::V57,
    },
    Chain {
        source: Version::V57,
        gtids: true,
        replica: Version::V57,
    },
    Chain {
        source: Version::V56,
        gtids: false,
        replica: Version::V55,
    },
];

impl Chain {
    pub fn recorded(self) -> Binlog {
        let (kind, name) = match (self.source, self.gtids) {
            (Version::V56, _) => {
                // The recording with a 5.5 replica has types of columns that 5.5 does not know.
                let file = recorded::file("mysql-5.6", "dual-masters-1.binlog");
                let file = BinlogFile::read("m-bin.000001", &file);
                let mut binlog = Binlog::of_files(self.source, 1, false, vec![file]);
                // It ends with the server's shutdown.
                binlog.start();
                return binlog;
            }
            (Version::V55, _) => ("mysql-5.5", "replica-file"),
            (Version::V57, false) => ("mysql-5.7", "replica-file"),
            (Version::V57, true) => ("mysql-5.7", "replica-gtid"),
        };
        recorded_binlog(kind, name, self.source, self.gtids)
    }

    pub fn replica(self, relay: &Relay) -> ReplicaStandin {
        let address = ("127.0.0.1", relay.port);
        match self.gtids {
            true => ReplicaStandin::by_gtid(REPLICA_ID, address, REPL_PASSWORD),
            false => ReplicaStandin::new(self.replica, REPLICA_ID, address, REPL_PASSWORD),
        }
    }

    /// What the source served and the replica got, in a form that must be equal: the relay sets
    /// clocks of its own, and may add an opener where a 5.5 source has none.
    pub fn comparable(self, events: &[Event]) -> Vec<Event> {
        let kept = events.iter().filter(|event| {
            !event.is_control() && (self.source == Version::V57 || !event.is_opener())
        });
        kept.map(|event| {
            let mut event = event.clone();
            if event.is_opener() {
                event.body.truncate(25);
            }
            event
        })
        .collect()
    }

    /// What the replica must have of what the source served.
    fn expected(self, served: &[Event]) -> Vec<Event> {
        let mut expected = self.comparable(served);
        if self.replica == Version::V55 {
            for event in &mut expected {
                *event = as_read(event, self.source.lengths()).expect("5.5 reads it");
            }
        }
        expected
    }

    pub fn has(self, io: &IoThread, count: usize) -> bool {
        io.is_between_transactions() && self.comparable(&io.events).len() >= count
    }

    /// Follows until the replica has all that the source served, and compares.
    pub fn catch_up(self, replica: &mut ReplicaStandin, served: &[Event]) {
        let expected = self.expected(served);
        if !self.has(&replica.io, expected.len()) {
            let stop = replica.follow(|io| self.has(io, expected.len()));
            let found = self.comparable(&replica.io.events).len();
            let count = expected.len();
            let position = &replica.io.position;
            assert_eq!(
                stop,
                Stop::Asked,
                "{self:?}: {found} of {count} events, at {position:?}"
            );
        }
        self.compare(replica, &expected);
    }

    fn compare(self, replica: &ReplicaStandin, expected: &[Event]) {
        let found = self.comparable(&replica.io.events);
        for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found, expected, "{self:?}: event {number}");
        }
        assert_eq!(found.len(), expected.len(), "{self:?}");
    }
}

pub fn relay_of(sources: &[&SourceStandin]) -> Relay {
    started(options_of(sources))
}

pub fn options_of(sources: &[&SourceStandin]) -> RelayOptions {
    let sources = sources.iter().enumerate().map(|(number, source)| {
        let mut options = SourceOptions::at(&format!("m{}", number + 1), source.port);
        options.extra = vec![
            "connect_retry = \"10ms\"".to_owned(),
            "connect_retry_max = \"30ms\"".to_owned(),
        ];
        options
    });
    let mut options = RelayOptions::new(sources.collect());
    options.replicate_do_db.clear();
    options
}

/// A relay that knows what its sources are: before, it accepts no replicas.
pub fn started(options: RelayOptions) -> Relay {
    let relay = Relay::start(options);
    let deadline = Deadline::after_secs(30);
    loop {
        let status = relay.status();
        let sources = status["sources"].as_array().cloned().unwrap_or_default();
        if sources.iter().all(|source| source["state"] == "streaming") {
            return relay;
        }
        assert!(!deadline.passed(), "not in 30 s: {status:#}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

pub fn assert_understood(source: &SourceStandin) {
    let state = source.state();
    assert!(
        state.unknown_statements.is_empty(),
        "{:?}",
        state.unknown_statements
    );
    assert!(state.refused.is_empty(), "{:?}", state.refused);
}

/// All chains at the same time: they mostly wait.
fn each_chain(test: impl Fn(Chain) + Sync) {
    std::thread::scope(|scope| {
        for chain in CHAINS {
            let test = &test;
            scope.spawn(move || test(chain));
        }
    });
}

#[test]
fn all_events_arrive_and_heartbeats_name_the_position() {
    each_chain(|chain| {
        let binlog = chain.recorded();
        let served = binlog.events();
        let source = SourceStandin::start(binlog, REPL_PASSWORD);
        let mut relay = relay_of(&[&source]);
        let mut replica = chain.replica(&relay);
        replica.heartbeat_ns = 20_000_000;
        chain.catch_up(&mut replica, &served);
        let before = replica.io.heartbeats;
        let stop = replica.follow(|io| io.heartbeats > before + 2);
        assert_eq!(stop, Stop::Asked, "{chain:?}: heartbeats");
        chain.compare(&replica, &chain.expected(&served));
        relay.terminate();
        relay.verify();
        assert_understood(&source);
    });
}

/// At every event twice: where the receiving thread continues, and where a replica continues whose
/// relay log was lost.
#[test]
fn a_replica_continues_at_every_event() {
    each_chain(|chain| {
        let binlog = chain.recorded();
        let served = binlog.events();
        let source = SourceStandin::start(binlog, REPL_PASSWORD);
        let relay = relay_of(&[&source]);
        let mut replica = chain.replica(&relay);
        let count = chain.comparable(&served).len();
        let mut most = 0;
        while !chain.has(&replica.io, count) {
            let stop = replica.follow(|io| match chain.gtids {
                // By GTID a part of a transaction is lost with the connection.
                true => {
                    let is_new = io.events.len() > most;
                    most = most.max(io.events.len());
                    is_new
                }
                false => !io.is_just_connected(),
            });
            assert_eq!(stop, Stop::Asked, "{chain:?}, at {:?}", replica.io.position);
        }
        chain.catch_up(&mut replica, &served);
        if chain.gtids {
            return;
        }
        for (count, applied) in replica.io.boundaries.clone() {
            let rest = &replica.io.events[count..];
            let mut again = chain.replica(&relay);
            again.change_position(applied.clone());
            if !rest.is_empty() {
                again.follow_to(rest.len());
            }
            assert!(again.io.events == rest, "{chain:?}: from {applied:?}");
        }
    });
}

#[test]
fn a_source_whose_connection_breaks_after_every_event_is_followed() {
    each_chain(|chain| follow_breaking(chain, Break::After));
}

#[test]
fn a_source_whose_connection_breaks_within_every_event_is_followed() {
    each_chain(|chain| follow_breaking(chain, Break::Within));
}

fn follow_breaking(chain: Chain, at: Break) {
    let binlog = chain.recorded();
    let served = binlog.events();
    let source = SourceStandin::start(binlog, REPL_PASSWORD);
    source.break_at_every_event(at);
    let mut relay = Relay::start(options_of(&[&source]));
    let mut replica = chain.replica(&relay);
    chain.catch_up(&mut replica, &served);
    // The file's end, too, comes after the last transaction; by GTID it may be skipped.
    let deadline = Deadline::after_secs(20);
    while source.breaks_left() > usize::from(chain.gtids) {
        let left = source.breaks_left();
        assert!(
            !deadline.passed(),
            "{chain:?}, {at:?}: {left} breaks are left"
        );
        relay.assert_running();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_understood(&source);
}

#[test]
fn restarts_of_source_and_relay_lose_and_repeat_nothing() {
    for seed in seeds(2, 40) {
        let _note = SeedNote(seed);
        each_chain(|chain| restarts(chain, seed));
    }
}

/// The recorded transactions, one by one, and between them all that may happen.
fn restarts(chain: Chain, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let to_come: Vec<Group> = groups(&chain.recorded().events());
    let binlog = Binlog::new(chain.source, 1, chain.gtids);
    let source = SourceStandin::start(binlog, REPL_PASSWORD);
    let mut relay = relay_of(&[&source]);
    let mut replica = chain.replica(&relay);
    for group in &to_come {
        source.change(|binlog| binlog.append_group(group));
        match random.random_range(0..12) {
            0 => source.change(Binlog::rotate),
            1 | 2 => {
                source.stop(random.random());
                source.restart();
                // What the recorded sessions had open ends with their server.
                replica.io.accepts_created = true;
            }
            3 => {
                relay.kill9();
                relay.restart();
            }
            4 => {
                relay.terminate();
                relay.restart();
            }
            5 | 6 => {
                let served = source.state().binlog.events();
                chain.catch_up(&mut replica, &served);
            }
            7 => source.break_at_newest_events(10, Break::After),
            _ => {}
        }
    }
    let served = source.state().binlog.events();
    chain.catch_up(&mut replica, &served);
    relay.terminate();
    relay.verify();
    assert_understood(&source);
}

/// Files of servers that can be had, in the form of the old ones: everything that is in the other
/// recordings, such as LOAD DATA, XA and row images.
#[test]
fn rewritten_files_arrive() {
    for (kind, chain) in [
        ("mysql-5.6", CHAINS[0]),
        ("mysql-5.6", CHAINS[1]),
        ("mysql-9.7", CHAINS[3]),
    ] {
        let file = recorded::binlog(kind);
        let mut binlog = Binlog::new(chain.source, 86, chain.gtids);
        let groups = rewrite(&file, chain.source);
        assert!(groups.len() > 10, "{kind}: {} transactions", groups.len());
        groups.iter().for_each(|group| binlog.append_group(group));
        let served = binlog.events();
        let source = SourceStandin::start(binlog, REPL_PASSWORD);
        let mut relay = relay_of(&[&source]);
        let mut replica = chain.replica(&relay);
        chain.catch_up(&mut replica, &served);
        relay.terminate();
        relay.verify();
    }
}

/// 5.7 logs with checksums and row events that 5.5 does not know; a 5.7 source refuses such a replica.
#[test]
fn a_replica_of_5_5_is_refused_what_only_5_7_knows() {
    let chain = CHAINS[2];
    let source = SourceStandin::start(chain.recorded(), REPL_PASSWORD);
    let relay = relay_of(&[&source]);
    let mut direct = ReplicaStandin::new(
        Version::V55,
        REPLICA_ID,
        ("127.0.0.1", source.port),
        REPL_PASSWORD,
    );
    direct.change_position(("m-bin.000001".to_owned(), 4));
    let mut behind = ReplicaStandin::new(
        Version::V55,
        REPLICA_ID,
        ("127.0.0.1", relay.port),
        REPL_PASSWORD,
    );
    // It is refused once there is something that it cannot read.
    chain.catch_up(&mut chain.replica(&relay), &chain.recorded().events());
    for replica in [&mut direct, &mut behind] {
        match replica.follow(|_| false) {
            Stop::Error(error) => assert_eq!(error.code, 1236, "{error:?}"),
            other => panic!("{other:?} at {:?}", replica.io.position),
        }
    }
}
