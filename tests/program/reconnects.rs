//! Thousands of connections that break, of sources and of replicas: every event arrives once, and neither descriptors nor
//! memory accumulate. Sources that are away for long.

use std::time::Duration;

use serde_json::Value;

use crate::old_servers::{CHAINS_57, Chain, options_of, started};
use crate::standin::binlog::Binlog;
use crate::standin::event::{GTID, Group, groups};
use crate::standin::replica::Stop;
use crate::standin::source::{Break, SourceStandin};
use crate::standin::version::Version;
use crate::support::relay::{Relay, run_binrelay};
use crate::support::servers::REPL_PASSWORD;
use crate::support::{Deadline, Profile, profile};

/// Descriptors of connections that happen to be open when they are counted.
const DESCRIPTORS: usize = 12;
/// What the memory may grow by, in KiB: the allocator does not return all.
const MEMORY_KIB: u64 = 8 << 10;

fn breaks() -> usize {
    match profile() {
        Profile::Gate => 150,
        Profile::Long => 3_000,
    }
}

/// A binlog of at least so many events: one transaction, again and again.
fn binlog_of(chain: Chain, count: usize) -> Binlog {
    let recorded = groups(&chain.recorded().events());
    let rows = |group: &&Group| group.len() >= 4;
    let group = recorded.iter().find(rows).expect("a transaction with rows");
    let mut binlog = Binlog::new(Version::V57, 1, group[0].kind == GTID);
    let latest = group.iter().map(|event| event.timestamp).max().unwrap();
    for number in 1..=(count / group.len() + 1) as u64 {
        let mut group = group.clone();
        for event in &mut group {
            event.timestamp = latest + number as u32;
        }
        let opener = &mut group[0].body;
        if binlog.gtids {
            opener[17..25].copy_from_slice(&number.to_le_bytes());
        }
        opener[26..34].copy_from_slice(&(number - 1).to_le_bytes());
        opener[34..42].copy_from_slice(&number.to_le_bytes());
        if number % 100 == 0 {
            binlog.rotate();
        }
        binlog.append_group(&group);
    }
    binlog
}

/// What is open and used, to be compared.
#[derive(Debug)]
struct Usage {
    descriptors: usize,
    memory_kib: u64,
}

impl Usage {
    fn of(relay: &Relay) -> Self {
        Usage {
            descriptors: relay.open_descriptors(),
            memory_kib: relay.rss_kib(),
        }
    }

    fn assert_flat(&self, later: &Usage) {
        assert!(
            later.descriptors <= self.descriptors + DESCRIPTORS,
            "{self:?}, then {later:?}"
        );
        assert!(
            later.memory_kib <= self.memory_kib + MEMORY_KIB,
            "{self:?}, then {later:?}"
        );
    }
}

#[test]
fn source_that_ends_thousands_of_connections_is_followed_by_position() {
    source_ends_connections(CHAINS_57[0]);
}

#[test]
fn source_that_ends_thousands_of_connections_is_followed_by_gtid() {
    source_ends_connections(CHAINS_57[1]);
}

fn source_ends_connections(chain: Chain) {
    let count = breaks();
    let binlog = binlog_of(chain, count);
    let served = binlog.events();
    let source = SourceStandin::start(binlog, REPL_PASSWORD);
    source.break_at_every_event(Break::After);
    let mut options = options_of(&[&source]);
    options.sources[0].extra = vec![
        "connect_retry = \"10ms\"".to_owned(),
        "connect_retry_max = \"10ms\"".to_owned(),
    ];
    let mut relay = Relay::start(options);
    let all = source.breaks_left();
    wait_breaks(&mut relay, &source, all * 2 / 3);
    let before = Usage::of(&relay);
    // The newest event may be skipped by GTID.
    wait_breaks(&mut relay, &source, 1);
    before.assert_flat(&Usage::of(&relay));
    let mut replica = chain.replica(&relay);
    chain.catch_up(&mut replica, &served);
    // Some of them have read the newest transaction again, to compare it.
    let dumps = source.state().dumps;
    assert!(dumps >= all, "{dumps} dumps with {all} breaks");
    relay.terminate();
    relay.verify();
}

/// Waits until at most so many breaks are to come.
fn wait_breaks(relay: &mut Relay, source: &SourceStandin, left: usize) {
    let deadline = Deadline::after_secs(300);
    while source.breaks_left() > left {
        let now = source.breaks_left();
        assert!(!deadline.passed(), "{now} breaks are left");
        relay.assert_running();
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn replica_that_connects_thousands_of_times_gets_every_event_once() {
    let chain = CHAINS_57[0];
    let binlog = binlog_of(chain, breaks());
    let served = binlog.events();
    let source = SourceStandin::start(binlog, REPL_PASSWORD);
    let mut relay = started(options_of(&[&source]));
    let count = chain.comparable(&served).len();
    // All of it is in the log.
    chain.catch_up(&mut chain.replica(&relay), &served);
    let mut replica = chain.replica(&relay);
    let mut usage = None;
    let mut connections = 0;
    while !chain.has(&replica.io, count) {
        let stop = replica.follow(|io| !io.is_just_connected());
        assert_eq!(stop, Stop::Asked, "at {:?}", replica.io.position);
        connections += 1;
        if connections == count / 3 {
            usage = Some(Usage::of(&relay));
        }
    }
    assert!(
        connections >= count,
        "{connections} connections for {count} events"
    );
    let usage = usage.expect("a third of the connections");
    usage.assert_flat(&Usage::of(&relay));
    chain.catch_up(&mut replica, &served);
    relay.terminate();
    relay.verify();
}

/// As hours are with the default of `connect_retry_max`: the delays have long reached their maximum.
#[test]
fn sources_that_were_away_for_long_are_followed_at_the_next_attempt() {
    let attempts = match profile() {
        Profile::Gate => 12,
        Profile::Long => 500,
    };
    let binlogs = [1, 2].map(|server_id| Binlog::new(Version::V57, server_id, true));
    let sources = binlogs.map(|binlog| SourceStandin::start(binlog, REPL_PASSWORD));
    let mut options = options_of(&[&sources[0], &sources[1]]);
    for source in &mut options.sources {
        source.extra = vec![
            "connect_retry = \"10ms\"".to_owned(),
            "connect_retry_max = \"100ms\"".to_owned(),
        ];
    }
    let relay = started(options);
    for source in &sources {
        source.stop(true);
    }
    let is = |status: &Value, state: &str| {
        let sources = status["sources"].as_array().expect("the sources");
        sources.iter().all(|source| source["state"] == state)
    };
    let reconnects = |status: &Value| {
        [0, 1].map(|source| {
            status["sources"][source]["reconnects"]
                .as_u64()
                .expect("a number")
        })
    };
    let first = wait(&relay, |status| {
        is(status, "connecting") && reconnects(status).iter().all(|count| *count > 5)
    });
    let usage = Usage::of(&relay);
    let more = reconnects(&first).map(|count| count + attempts);
    wait(&relay, |status| {
        let counts = reconnects(status).into_iter().zip(more);
        counts.into_iter().all(|(count, more)| count >= more)
    });
    usage.assert_flat(&Usage::of(&relay));
    for source in &sources {
        source.restart();
    }
    let returned = reconnects(&relay.status());
    let streaming = wait(&relay, |status| is(status, "streaming"));
    // One attempt may have been made before the return and have failed after it was counted.
    for (before, after) in returned.into_iter().zip(reconnects(&streaming)) {
        assert!(
            after <= before + 1,
            "{before} attempts, then {after}: {streaming:#}"
        );
    }
}

fn wait(relay: &Relay, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = Deadline::after_secs(120);
    loop {
        let status = relay.status();
        if condition(&status) {
            return status;
        }
        assert!(!deadline.passed(), "not in 120 s: {status:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `start` is for the first start only: weeks later the source has purged it, and neither `run` nor `check` needs it.
#[test]
fn source_that_was_started_is_checked_where_it_resumes() {
    let source = SourceStandin::start(binlog_of(CHAINS_57[0], 20), REPL_PASSWORD);
    let mut relay = started(options_of(&[&source]));
    let text = std::fs::read_to_string(relay.config()).expect("the configuration");
    let with_start = "[[source]]\nstart = \"gone.000001:154\"\n";
    let text = text.replacen("[[source]]\n", with_start, 1);
    std::fs::write(relay.config(), text).expect("it is written");
    let config = relay.config();
    let config = config.to_str().expect("a path");
    let checked = run_binrelay(&["check", "--config", config]);
    let found = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(found.contains("; resumes at "), "{found}");
    assert!(!found.contains("problem: "), "{found}");
    let ignored = "start = \"gone.000001:154\" is ignored";
    assert!(found.contains(ignored), "{found}");
    // The change has no effect, which is said at once, not at the next start.
    let reloaded = run_binrelay(&["reload", "--config", config]);
    let found = String::from_utf8_lossy(&reloaded.stdout).into_owned();
    assert!(found.contains(ignored), "{found}");

    // A statement has precedence over the file, so its `start` is compared.
    relay.terminate();
    let changed = "[[channel]]\nname = \"m1\"\nstart = \"earliest\"\n";
    std::fs::write(relay.data_dir().join("channels.toml"), changed).expect("it is written");
    relay.restart();
    for command in ["check", "reload"] {
        let printed = run_binrelay(&[
            command,
            "--config",
            relay.config().to_str().expect("a path"),
        ]);
        let found = String::from_utf8_lossy(&printed.stdout).into_owned();
        assert!(!found.contains("is ignored"), "{found}");
    }
}
