//! Attachments and rescues from logs of two masters, after sources were removed and added.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::binlog::format_description::Checksum;
use crate::config::{Config, SyncPolicy};
use crate::flavor::Flavor;
use crate::identity::Executed;
use crate::log_thread::LogThread;
use crate::position::SourcePosition;
use crate::relay_log::{LogDir, LogOptions, RetentionOptions};
use crate::transaction::test_events as make;
use crate::transaction::{Assembler, AssemblerOptions};

const M1: u32 = 81;
const M2: u32 = 82;

/// A relay log of the sources m1 and m2, whose paths have the numbers 0 and 1.
struct TestRelay {
    dir: tempfile::TempDir,
    flavor: Flavor,
    log_thread: LogThread,
    assemblers: Vec<Assembler>,
    positions: [u64; 2],
}

impl TestRelay {
    /// MariaDB's, where each server has a domain of its own, or MySQL's without GTIDs.
    fn new(flavor: Flavor) -> Self {
        let executed = match flavor {
            Flavor::MariaDb => Executed::empty(Flavor::MariaDb),
            Flavor::MySql => Executed::Anonymous,
        };
        Self::after(flavor, executed)
    }

    /// The same, where `executed` are before the log.
    fn after(flavor: Flavor, executed: Executed) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = LogDir {
            dir: dir.path().to_owned(),
            basename: "relay-bin".to_owned(),
        };
        let format = match flavor {
            Flavor::MariaDb => make::mariadb_format(Checksum::Crc32),
            Flavor::MySql => make::mysql56_format(Checksum::Crc32),
        };
        let options = LogOptions {
            log_dir,
            server_id: 900,
            max_size: 1 << 20,
            sync: SyncPolicy::Never,
            source_names: vec!["m1".into(), "m2".into()],
            retention: RetentionOptions::default(),
            reserve: 0,
            stopping: Arc::new(AtomicBool::new(false)),
            hand_over_min: Duration::ZERO,
        };
        let log_thread = LogThread::create(options, &format, executed, Vec::new()).unwrap();
        let assembler = |source: u16, source_server_id| {
            let options = AssemblerOptions {
                source,
                source_server_id,
                source_first_timestamp: 0,
                has_gtids: flavor == Flavor::MariaDb,
                first_run: 0,
                filter: make::keeping(&[]),
                spill_dir: dir.path().to_owned(),
                spill_size: 1 << 20,
            };
            let mut assembler = Assembler::new(options, format.clone());
            assembler.start_file("mysql-bin.000001".into(), 4);
            assembler
        };
        Self {
            assemblers: vec![assembler(0, M1), assembler(1, M2)],
            dir,
            flavor,
            log_thread,
            positions: [4; 2],
        }
    }

    /// The source with this number sends transaction `number` of server `origin`. Returns the position after it.
    fn send(&mut self, source: usize, origin: u32, number: u64) -> SourcePosition {
        let text = format!("insert into t values ({number})");
        let statement = make::query(origin, "test", &text);
        let group = match self.flavor {
            Flavor::MariaDb => vec![
                make::mariadb_gtid(origin, origin, number, 0, None),
                statement,
                make::xid(origin),
            ],
            Flavor::MySql => vec![
                make::query(origin, "test", "BEGIN"),
                statement,
                make::query(origin, "test", "COMMIT"),
            ],
        };
        let assembler = &mut self.assemblers[source];
        for event in &group {
            self.positions[source] += event.len() as u64;
            assembler.event(event, self.positions[source]).unwrap();
        }
        let batch = assembler.take_batch().unwrap();
        for transaction in &batch.transactions {
            self.log_thread.append(&batch, transaction).unwrap();
        }
        self.log_thread.commit().unwrap();
        batch.source_end
    }

    /// Answers requests while these sources are followed, in this order; none of them is reachable.
    fn adoption(&self, followed: &[&str]) -> Adoption {
        let mut text =
            "[relay]\nserver_id = 900\ndata_dir = \"d\"\nlisten = \"127.0.0.1:3306\"\n".to_owned();
        for name in followed {
            text.push_str(&format!(
                "[[source]]\nname = \"{name}\"\nhost = \"127.0.0.1\"\nport = 1\nuser = \"repl\"\npassword = \"\"\n"
            ));
        }
        let config = Config::parse(&text, Path::new("binrelay.toml")).unwrap();
        let number = |name: &str| u16::from(name == "m2");
        let sources = config.sources.into_iter();
        let sources: Vec<_> = sources.map(|one| (number(&one.name), one)).collect();
        let options = AdoptionOptions {
            server_id: 900,
            listen: "127.0.0.1:3306".to_owned(),
            user: watch::channel(None).1,
            sources: Vec::new(),
        };
        let log = watch::channel(Some(self.log_thread.log().clone())).1;
        let mut adoption = Adoption::new(options, Box::new(move || sources.clone()), log);
        adoption.wait = Duration::ZERO;
        adoption
    }

    async fn attach(&self, followed: &[&str], source: &str, at: &SourcePosition) -> Answer {
        let place = ReplicaPlace::Coordinates(vec![Coordinates {
            source: source.to_owned(),
            at: at.to_string(),
        }]);
        let makes_bridge = true;
        let request = AttachRequest {
            place,
            makes_bridge,
        };
        self.adoption(followed).answer(request).await
    }

    async fn missing(&self, followed: &[&str], source: &str, has: Option<&str>) -> MissingAnswer {
        let request = MissingRequest {
            source: source.to_owned(),
            has: has.map(str::to_owned),
            replica_of: Vec::new(),
            replication_stopped: true,
            writes: has.is_some(),
            with_altered: false,
        };
        self.adoption(followed).missing(request).await
    }

    fn has_bridge(&self) -> bool {
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name());
        names
            .into_iter()
            .any(|name| name.to_string_lossy().starts_with("bridge."))
    }
}

/// Server 3 was the master before M1, and before the relay log began: it is in no position, and not lost.
#[tokio::test]
async fn a_retired_server_of_a_domain_is_not_lost() {
    let before = Executed::MariaDb("81-3-77,81-81-90".parse().unwrap());
    let mut relay = TestRelay::after(Flavor::MariaDb, before);
    for number in 91..=95 {
        relay.send(0, M1, number);
    }
    let followed = &["m1", "m2"];
    let attach = async |place| {
        let request = AttachRequest {
            place,
            makes_bridge: true,
        };
        relay.adoption(followed).answer(request).await
    };
    let by_gtid = |at: &str| {
        ReplicaPlace::Coordinates(vec![Coordinates {
            source: "m1".to_owned(),
            at: at.to_owned(),
        }])
    };
    for place in [
        by_gtid("81-81-93"),
        by_gtid("81-81-90"),
        ReplicaPlace::LastGtids(vec!["81-81-93".to_owned()]),
    ] {
        let answer = attach(place).await;
        assert!(matches!(answer, Answer::Attached(_)), "{answer:?}");
    }
    assert_refused(
        attach(by_gtid("81-81-80")).await,
        "no longer in the relay log",
    );
    let last = ReplicaPlace::LastGtids(vec!["81-81-80".to_owned()]);
    assert_refused(attach(last).await, "up to 81-81-90");
    let found = relay.missing(followed, "m2", Some("81-81-93")).await;
    let MissingAnswer::Found(found) = found else {
        panic!("{found:?}");
    };
    assert_eq!((found.total, found.rescue.is_some()), (2, true));
    let lost = relay.missing(followed, "m2", Some("81-81-80")).await;
    let MissingAnswer::Refused(error) = lost else {
        panic!("{lost:?}");
    };
    assert!(error.contains("up to 81-3-77"), "{error}");
}

fn assert_refused(answer: Answer, expected: &str) {
    let Answer::Refused(error) = answer else {
        panic!("{answer:?}");
    };
    assert!(error.contains(expected), "{error}");
}

/// The sources that are followed: at the start, after M1 was removed, and after it was added again.
const FOLLOWED: [&[&str]; 3] = [&["m1", "m2"], &["m2"], &["m2", "m1"]];

#[tokio::test]
async fn positions_are_compared_with_what_was_received_from_their_own_source() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let mut relay = TestRelay::new(flavor);
        let mut end = relay.send(0, M1, 1);
        for number in 2..=4 {
            end = relay.send(0, M1, number);
        }
        let received = relay.send(1, M1, 1);
        for followed in FOLLOWED {
            let answer = relay.attach(followed, "m2", &end).await;
            assert_refused(answer, &format!("received from it, up to {received}"));
            // It lacks what M1 has sent since.
            let Answer::Attached(found) = relay.attach(followed, "m2", &received).await else {
                panic!("{followed:?}");
            };
            assert!(!found.bridge, "{found:?}");
        }
        // M2 may have received more than M1.
        let mut last = relay.send(1, M1, 2);
        for number in 3..=4 {
            last = relay.send(1, M1, number);
        }
        for number in 1..=3 {
            last = relay.send(1, M2, number);
        }
        for followed in FOLLOWED {
            let answer = relay.attach(followed, "m2", &last).await;
            assert!(matches!(answer, Answer::Attached(_)), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_source_that_does_not_log_what_it_replicates_is_refused_in_any_order_of_the_sources() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let mut relay = TestRelay::new(flavor);
        let mut at = SourcePosition::default();
        for number in 1..=3 {
            relay.send(0, M1, number);
            at = relay.send(1, M2, number);
        }
        for followed in [FOLLOWED[0], FOLLOWED[2]] {
            let answer = relay.attach(followed, "m2", &at).await;
            assert_refused(
                answer,
                "of the 3 transactions of server_id 81 (m1) in the relay log",
            );
        }
        assert!(!relay.has_bridge());
    }
}

#[tokio::test]
async fn a_rescue_names_each_source_with_its_own_position() {
    let mut relay = TestRelay::new(Flavor::MariaDb);
    let mut of_m1 = SourcePosition::default();
    for number in 1..=3 {
        of_m1 = relay.send(0, M1, number);
    }
    relay.send(1, M2, 1);
    for followed in [FOLLOWED[0], FOLLOWED[2]] {
        let answer = relay.missing(followed, "m2", Some("82-82-1,81-81-1")).await;
        let MissingAnswer::Found(found) = answer else {
            panic!("{answer:?}");
        };
        let rescue = found.rescue.unwrap();
        assert_eq!(rescue.transactions, 2);
        let [line] = &rescue.before_following[..] else {
            panic!("{rescue:?}");
        };
        let expected = format!(
            "MASTER_LOG_FILE='{}', MASTER_LOG_POS={};",
            of_m1.file, of_m1.offset
        );
        assert!(
            line.starts_with("-- If m1 (server_id 81) returns"),
            "{line}"
        );
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[tokio::test]
async fn without_gtids_a_source_lacks_what_its_own_path_has_not_sent() {
    let mut relay = TestRelay::new(Flavor::MySql);
    for number in 1..=3 {
        relay.send(0, M1, number);
    }
    let received = relay.send(1, M1, 1);
    for followed in FOLLOWED {
        let answer = relay.missing(followed, "m2", None).await;
        let MissingAnswer::Found(found) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(found.total, 2, "{found:?}");
        let expected = format!("as far as it was received, up to {received};");
        assert!(found.based_on.contains(&expected), "{found:?}");
    }
}

/// M1's transactions, which its own path has delivered, are in M2's data.
#[tokio::test]
async fn a_source_that_was_removed_is_not_forgotten() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let mut relay = TestRelay::new(flavor);
        let mut at = SourcePosition::default();
        for number in 1..=3 {
            relay.send(0, M1, number);
            at = relay.send(1, M2, number);
        }
        let answer = relay.attach(&["m2"], "m2", &at).await;
        assert_refused(
            answer,
            "only coordinates of m1 would show it, which is not a source now",
        );
        assert!(!relay.has_bridge());
        if flavor == Flavor::MySql {
            let MissingAnswer::Refused(error) = relay.missing(&["m2"], "m2", None).await else {
                panic!("it does not log what it replicates");
            };
            let expected = "not a source now, and must be added again for that: m1";
            assert!(error.ends_with(expected), "{error}");
        }
    }
}

/// M1 was started with log_slave_updates after M2 had executed some transactions: all of them are in a dump of M1.
#[tokio::test]
async fn transactions_from_before_log_slave_updates_are_not_guessed() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        let mut relay = TestRelay::new(flavor);
        let before = relay.send(0, M1, 1);
        for number in 1..=3 {
            relay.send(1, M2, number);
        }
        let between = relay.send(0, M1, 2);
        for number in 4..=5 {
            relay.send(1, M2, number);
        }
        let _ = relay.send(0, M2, 4);
        let after = relay.send(0, M2, 5);
        let followed = FOLLOWED[0];
        for at in [&before, &between] {
            let answer = relay.attach(followed, "m1", at).await;
            assert_refused(answer, "give the coordinates of m2 as well");
        }
        assert!(!relay.has_bridge());
        let answer = relay.attach(followed, "m1", &after).await;
        match flavor {
            Flavor::MySql => {
                let expected = "later transactions of server_id 82 (m2) than 3 that it lacks";
                assert_refused(answer, expected);
            }
            // Its GTIDs include the lower ones of the same server.
            Flavor::MariaDb => assert!(matches!(answer, Answer::Attached(_)), "{answer:?}"),
        }
    }
}

/// M1's workers do not keep the order, and it logs some later.
#[tokio::test]
async fn transactions_that_a_source_logs_later_are_in_the_bridge() {
    let mut relay = TestRelay::new(Flavor::MySql);
    for number in 1..=4 {
        relay.send(1, M2, number);
    }
    relay.send(0, M2, 1);
    let at = relay.send(0, M2, 3);
    let answer = relay.attach(FOLLOWED[0], "m1", &at).await;
    assert_refused(answer, "than 1 that it lacks");
    relay.send(0, M2, 2);
    let Answer::Attached(found) = relay.attach(FOLLOWED[0], "m1", &at).await else {
        panic!("it is known that it lacks one");
    };
    assert_eq!(found.bridge_transactions, 1);
}
