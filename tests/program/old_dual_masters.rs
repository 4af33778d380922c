//! The relay behind two stand-ins that are masters of each other: each transaction arrives twice, from
//! the master that ran it and from the one that logged it again, and a replica gets it once.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::old_servers::{REPLICA_ID, assert_understood, relay_of, started};
use crate::recorded;
use crate::standin::binlog::Binlog;
use crate::standin::event::{
    Event, Group, QUERY, ROWS_QUERY, TABLE_MAP, USER_VAR, WRITE_ROWS_V1, XID, groups,
};
use crate::standin::reading_55::as_read;
use crate::standin::replica::{ReplicaStandin, Stop};
use crate::standin::rewrite::rewrite;
use crate::standin::source::{Break, SourceStandin};
use crate::standin::version::Version;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::servers::REPL_PASSWORD;
use crate::support::{SeedNote, seeds};

/// What both masters of a recorded pair logged, in the form of `version`.
fn recorded_pair(version: Version) -> [Vec<Group>; 2] {
    let kind = match version {
        Version::V55 | Version::V56 => "mysql-5.6",
        Version::V57 => "mysql-9.7",
    };
    ["dual-masters-1", "dual-masters-2"].map(|name| {
        let file = recorded::file(kind, &format!("{name}.binlog"));
        rewrite(&file, version)
    })
}

/// What re-logging keeps of an event, as text.
fn signature(event: &Event) -> Option<String> {
    let text = match event.kind {
        XID => "end".to_owned(),
        QUERY => match event.statement().expect("a statement") {
            (_, text) if text == "BEGIN" => "begin".to_owned(),
            (_, text) if text == "COMMIT" => "end".to_owned(),
            (database, text) => format!("{database}: {text}"),
        },
        // After the table's id, which each server chooses.
        TABLE_MAP | WRITE_ROWS_V1..=32 if event.kind != 26 && event.kind != ROWS_QUERY => {
            format!("{} {}", event.kind, event.body[8..].escape_ascii())
        }
        _ if event.is_opener() => return None,
        USER_VAR => {
            // Flags that are 0 may be absent.
            let read = as_read(event, Version::V55.lengths()).expect("a variable");
            format!("{USER_VAR} {}", read.body.escape_ascii())
        }
        kind => format!("{kind} {}", event.body.escape_ascii()),
    };
    Some(text)
}

fn signatures(group: &Group) -> Vec<String> {
    group.iter().filter_map(signature).collect()
}

/// The master that ran the transaction.
fn origin(group: &Group) -> u32 {
    group.last().expect("an event").server_id
}

fn signatures_of(groups: &[Group], server_id: u32) -> Vec<Vec<String>> {
    let own = groups.iter().filter(|group| origin(group) == server_id);
    own.map(signatures).collect()
}

/// What must be equal of a transaction that a source of `version` logged: the relay sets clocks of
/// its own, and may add an opener where a 5.5 source has none.
fn comparable(version: Version, group: &Group) -> Group {
    let kept = group
        .iter()
        .filter(|event| version == Version::V57 || !event.is_opener());
    kept.map(|event| {
        let mut event = event.clone();
        if event.is_opener() {
            event.body.truncate(25);
        }
        match version {
            Version::V55 => as_read(&event, version.lengths()).expect("5.5 reads it"),
            _ => event,
        }
    })
    .collect()
}

/// Feeds two sources as the two masters logged: what one logs again only after the other has it.
struct Pair {
    sources: [SourceStandin; 2],
    to_come: [Vec<Group>; 2],
    next: [usize; 2],
}

impl Pair {
    fn new(version: Version) -> Pair {
        let sources =
            [1, 2].map(|id| SourceStandin::start(Binlog::new(version, id, false), REPL_PASSWORD));
        Pair {
            sources,
            to_come: recorded_pair(version),
            next: [0, 0],
        }
    }

    /// Whether the master's next transaction is its own, or logged already by the other.
    fn is_due(&self, master: usize) -> bool {
        let Some(group) = self.to_come[master].get(self.next[master]) else {
            return false;
        };
        let other = 1 - master;
        if origin(group) == master as u32 + 1 {
            return true;
        }
        let logged_again = self.to_come[master][..self.next[master]].iter();
        let logged_again = logged_again
            .filter(|group| origin(group) == other as u32 + 1)
            .count();
        let logged = self.to_come[other][..self.next[other]].iter();
        logged
            .filter(|group| origin(group) == other as u32 + 1)
            .count()
            > logged_again
    }

    fn step(&mut self, random: &mut StdRng) -> bool {
        let due: Vec<usize> = [0, 1]
            .into_iter()
            .filter(|master| self.is_due(*master))
            .collect();
        if due.is_empty() {
            assert!((0..2).all(|master| self.next[master] == self.to_come[master].len()));
            return false;
        }
        let master = due[random.random_range(0..due.len())];
        let group = &self.to_come[master][self.next[master]];
        self.sources[master].change(|binlog| binlog.append_group(group));
        self.next[master] += 1;
        true
    }

    /// Each transaction once, in each origin's order, as one of the two masters logged it.
    fn check(&self, replica: &ReplicaStandin) {
        let found = groups(&replica.io.events);
        for id in [1, 2] {
            let expected = signatures_of(&self.to_come[id as usize - 1], id);
            let found = signatures_of(&found, id);
            for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found, expected, "transaction {number} of master {id}");
            }
            assert_eq!(found.len(), expected.len(), "transactions of master {id}");
        }
        let version = self.sources[0].state().binlog.version;
        let logged = self.to_come.iter().flatten();
        let copies: Vec<Group> = logged.map(|group| comparable(version, group)).collect();
        for group in found {
            assert!(
                copies.contains(&comparable(version, &group)),
                "neither master logged {group:?}"
            );
        }
    }

    fn count(&self) -> usize {
        let own =
            (0..2).map(|master| signatures_of(&self.to_come[master], master as u32 + 1).len());
        own.sum()
    }
}

fn replica_of(version: Version, relay: &Relay) -> ReplicaStandin {
    ReplicaStandin::new(
        version,
        REPLICA_ID,
        ("127.0.0.1", relay.port),
        REPL_PASSWORD,
    )
}

fn catch_up(replica: &mut ReplicaStandin, count: usize) {
    if replica.io.boundaries.len() < count || !replica.io.is_between_transactions() {
        let stop =
            replica.follow(|io| io.boundaries.len() >= count && io.is_between_transactions());
        let found = replica.io.boundaries.len();
        assert_eq!(stop, Stop::Asked, "{found} of {count} transactions");
    }
}

/// The recordings are what the tests below take them for.
#[test]
fn both_masters_logged_everything() {
    for version in [Version::V55, Version::V57] {
        let [first, second] = recorded_pair(version);
        for id in [1, 2] {
            let (one, two) = (signatures_of(&first, id), signatures_of(&second, id));
            assert_eq!(one, two, "{version:?}: what server {id} ran");
            assert!(
                one.len() > 15,
                "{version:?}: {} transactions of server {id}",
                one.len()
            );
        }
    }
}

#[test]
fn each_transaction_of_two_masters_arrives_once() {
    let pairs = [
        (Version::V55, Version::V55),
        (Version::V55, Version::V57),
        (Version::V57, Version::V57),
    ];
    for seed in seeds(2, 60) {
        let _note = SeedNote(seed);
        std::thread::scope(|scope| {
            for (source, replica) in pairs {
                scope.spawn(move || run(source, replica, seed));
            }
        });
    }
}

fn run(source: Version, replica: Version, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut pair = Pair::new(source);
    let mut relay = relay_of(&[&pair.sources[0], &pair.sources[1]]);
    let mut replica = replica_of(replica, &relay);
    while pair.step(&mut random) {
        let master = random.random_range(0..2);
        match random.random_range(0..14) {
            0 => pair.sources[master].change(Binlog::rotate),
            1 => {
                pair.sources[master].stop(random.random());
                pair.sources[master].restart();
            }
            2 => {
                relay.kill9();
                relay.restart();
            }
            3 => pair.sources[master].break_at_newest_events(10, Break::After),
            4 => {
                let here = replica.io.boundaries.len();
                let stop =
                    replica.follow(|io| io.boundaries.len() > here || !io.is_just_connected());
                assert_eq!(stop, Stop::Asked);
            }
            _ => {}
        }
    }
    catch_up(&mut replica, pair.count());
    pair.check(&replica);
    for name in ["m1", "m2"] {
        let status = relay.source_status(name);
        assert_ne!(status["state"], "failed", "{name}: {status}");
    }
    relay.terminate();
    relay.verify();
    pair.sources.iter().for_each(assert_understood);
}

/// The events of a transaction that pass `replicate_do_db = ["test"]`; none if nothing passes but its
/// begin and end.
fn filtered(group: &Group) -> Group {
    let mut kept = Group::new();
    let mut waiting = Group::new();
    let mut passes_table = false;
    let mut has_changes = false;
    for event in group {
        match event.kind {
            QUERY => {
                let (database, text) = event.statement().expect("a statement");
                let is_boundary = matches!(text.as_str(), "BEGIN" | "COMMIT");
                if is_boundary || database == "test" {
                    kept.append(&mut waiting);
                    kept.push(event.clone());
                    has_changes |= !is_boundary;
                }
                waiting.clear();
            }
            TABLE_MAP => {
                passes_table = event
                    .table()
                    .is_some_and(|(database, _)| database == "test");
                kept.extend(passes_table.then(|| event.clone()));
            }
            WRITE_ROWS_V1..=32 if event.kind != 26 => {
                kept.extend(passes_table.then(|| event.clone()));
                has_changes |= passes_table;
            }
            5 | 13 | 14 => waiting.push(event.clone()),
            _ => kept.push(event.clone()),
        }
    }
    if has_changes { kept } else { Group::new() }
}

#[test]
fn a_filter_drops_what_is_of_other_databases() {
    for version in [Version::V55, Version::V57] {
        let [own, _] = recorded_pair(version);
        let mut binlog = Binlog::new(version, 1, false);
        own.iter().for_each(|group| binlog.append_group(group));
        let source = SourceStandin::start(binlog, REPL_PASSWORD);
        let options = RelayOptions::new(vec![SourceOptions::at("m1", source.port)]);
        assert_eq!(options.replicate_do_db, ["test"]);
        let relay = started(options);
        let expected: Vec<Group> = own
            .iter()
            .map(filtered)
            .filter(|group| !group.is_empty())
            .collect();
        assert!(
            expected.len() > 10 && expected.len() < own.len(),
            "{}",
            expected.len()
        );
        let mut replica = replica_of(version, &relay);
        let wanted = |io: &crate::standin::io_thread::IoThread| {
            let groups = groups(&io.events);
            let kept = groups
                .iter()
                .map(filtered)
                .filter(|group| !group.is_empty());
            io.is_between_transactions() && kept.count() >= expected.len()
        };
        assert_eq!(replica.follow(wanted), Stop::Asked);
        let found = groups(&replica.io.events);
        // What is left of a transaction of other databases has a begin and an end only.
        let found = found.iter().filter(|group| !filtered(group).is_empty());
        for (found, expected) in found.zip(&expected) {
            assert_eq!(comparable(version, found), comparable(version, expected));
        }
        assert!(
            replica
                .io
                .events
                .iter()
                .all(|event| { event.table().is_none_or(|(database, _)| database == "test") })
        );
        assert_understood(&source);
    }
}
