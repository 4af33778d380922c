//! First contact: where a source of which nothing is known starts, and whether it may join.

use super::binlog::{Asked, Binlog, set_of, state_of};
use super::following::FollowMode;
use super::source::{FakeSource, Plan, Then, config};
use super::*;
use crate::config::SourceStart;
use crate::gtid::GtidSet;
use crate::identity::IdentityKind;
use crate::protocol::ServerError;
use crate::receiver::connect::connect;
use crate::receiver::dump_request::prepare;
use crate::receiver::first_contact::first_contact;
use crate::receiver::transactions_before;

/// A relay whose log begins after `before`, and whose only source has not connected yet.
fn joined_by(source: &FakeSource, before: Executed) -> Relay {
    Relay::behind(before, vec![source.config("m1")], Vec::new())
}

#[tokio::test]
async fn source_joins_when_nothing_is_missing() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let executed = binlog.executed().to_vec();
    let source = FakeSource::start(binlog).await;
    source.state().purged = set_of(&executed[..2]);
    let before = Executed::MySql(set_of(&executed[..3]));
    let relay = joined_by(&source, before);
    relay.until_executed(&executed).await;
    assert_eq!(relay.stop().await, executed[3..]);
}

#[tokio::test]
async fn source_that_has_purged_missing_transactions_does_not_join() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let executed = binlog.executed().to_vec();
    let source = FakeSource::start(binlog).await;
    source.state().purged = set_of(&executed[..3]);
    let before = Executed::MySql(set_of(&executed[..1]));
    let relay = joined_by(&source, before);
    let error = relay.until_failed(0).await;
    assert!(error.message.contains(":2-3"), "{error:?}");
    assert_eq!(source.state().asked, []);
    // Another source delivers it: then it may join.
    source.state().purged = set_of(&executed[..1]);
    relay.until_executed(&executed).await;
    assert_eq!(relay.stop().await, executed[1..]);
}

#[tokio::test]
async fn mariadb_source_joins_when_nothing_is_missing() {
    let mut binlog = Binlog::sample(Flavor::MariaDb, 86);
    let first = binlog.executed()[..1].to_vec();
    let source = FakeSource::start(binlog.clone()).await;
    let relay = joined_by(&source, Executed::MariaDb(state_of(&first)));
    relay.until_executed(binlog.executed()).await;
    assert_eq!(relay.stop().await, binlog.executed()[1..]);

    binlog.commit(86, 7);
    let source = FakeSource::start(binlog).await;
    let latest = SourceConfig {
        start: SourceStart::Latest,
        ..source.config("m1")
    };
    let relay = Relay::behind(
        Executed::MariaDb(state_of(&first)),
        vec![latest],
        Vec::new(),
    );
    let error = relay.until_failed(0).await;
    assert!(error.message.contains("up to 0-86-7"), "{error:?}");
    assert_eq!(relay.stop().await, []);
}

/// What the source sends need not have all domains of its start.
#[tokio::test]
async fn start_by_gtid_of_a_source_that_joins_is_asked_for_again() {
    let binlog = Binlog::sample(Flavor::MariaDb, 86);
    let source = FakeSource::start(binlog.clone()).await;
    let config = SourceConfig {
        start: SourceStart::Gtid("0-86-3,7-87-5".to_owned()),
        ..source.config("m1")
    };
    let before = Executed::MariaDb("0-86-3,7-87-5".parse().unwrap());
    // The first dump ends after everything.
    source.plan(Plan::then(Then::Eof));
    let relay = Relay::behind(before, vec![config], Vec::new());
    relay
        .until("the second dump", |_| source.state().asked.len() >= 2)
        .await;
    assert_eq!(relay.stop().await, binlog.executed()[3..]);
    let asked = |text: &str| Asked::Position(text.parse().unwrap());
    let expected = [asked("0-86-3,7-87-5"), asked("0-86-6,7-87-5")];
    assert_eq!(source.state().asked, expected);
}

/// As after `RESET MASTER` and `binrelay continue m1 --new-history`: the start is one of the old history.
#[tokio::test]
async fn start_by_gtid_is_not_asked_for_in_a_new_history() {
    let binlog = Binlog::sample(Flavor::MariaDb, 86);
    let source = FakeSource::start(binlog.clone()).await;
    let config = SourceConfig {
        start: SourceStart::Gtid("0-86-3".to_owned()),
        ..source.config("m1")
    };
    let relay = Relay::start(Flavor::MariaDb, vec![config], vec![at_start(86)]);
    relay.until_executed(binlog.executed()).await;
    assert_eq!(relay.stop().await, binlog.executed());
    assert_eq!(source.state().asked, [Asked::Position(Default::default())]);
}

async fn contact(
    start: SourceStart,
    binlog: Binlog,
    mode: FollowMode,
) -> Result<FirstContact, String> {
    let source = FakeSource::start(binlog).await;
    let config = SourceConfig {
        start,
        ..mode.config(&source)
    };
    let options = receiver_options(0, config, "/nowhere".as_ref());
    let contact = first_contact(&options, &Identities::default()).await;
    contact.map_err(|error| error.to_line("m1"))
}

fn start_at(position: u64) -> SourceStart {
    SourceStart::FilePosition(SourcePosition::new("bin.000001", position))
}

#[tokio::test]
async fn start_must_be_a_transaction_boundary() {
    for mode in [FollowMode::MySqlFile, FollowMode::MariaDbFile] {
        let binlog = Binlog::sample(mode.flavor(), 86);
        for (position, in_transaction) in binlog.boundaries() {
            let found = contact(start_at(position), binlog.clone(), mode).await;
            if in_transaction {
                let error = found.unwrap_err();
                assert!(
                    error.contains("inside a transaction"),
                    "{position}: {error}"
                );
                continue;
            }
            assert_eq!(found.unwrap().progress.position.offset, position);
            let error = contact(start_at(position - 1), binlog.clone(), mode)
                .await
                .unwrap_err();
            assert!(
                error.contains("not an event boundary"),
                "{position}: {error}"
            );
        }
    }
}

/// `gtid_purged` was set, as after a restore from a dump: the binlog lists nothing of that.
#[tokio::test]
async fn transactions_that_no_binlog_lists_are_before_any_position() {
    let binlog = Binlog::sample(Flavor::MySql, 86);
    let source = FakeSource::start(binlog.clone()).await;
    let restored: GtidSet = "12345678-1234-1234-1234-123456789012:1-9".parse().unwrap();
    source.state().purged = restored.clone();
    let (at, _) = binlog.boundaries()[5];
    let (config, at) = (source.config("m1"), SourcePosition::new("bin.000001", at));
    let before = transactions_before(&config, IdentityKind::MySql, 86, &at).await;
    let mut expected = set_of(&binlog.executed()[..1]);
    expected.union_with(&restored);
    assert_eq!(before.unwrap(), Executed::MySql(expected));
}

/// The peer of a master that was reset has its old and its new transactions in one file: the higher number says nothing about what
/// is still to come.
#[tokio::test]
async fn start_where_numbers_went_back_is_refused() {
    let mut binlog = Binlog::new(Flavor::MariaDb, 87);
    for number in [3, 4, 1, 2, 3, 4, 5] {
        binlog.commit(86, number);
    }
    binlog.commit(87, 1);
    let boundaries = binlog.boundaries();
    let ends = boundaries[2..].iter().filter(|(_, is_open)| !is_open);
    let expected = [
        (3, true),
        (4, true),
        (1, false),
        (2, false),
        (3, false),
        (4, true),
        (5, true),
        (5, true),
    ];
    for ((end, _), (newest, is_certain)) in ends.zip(expected) {
        match contact(start_at(*end), binlog.clone(), FollowMode::MariaDbFile).await {
            Ok(contact) => {
                let before = contact.before.as_mariadb().unwrap();
                assert_eq!((before.highest(0, 86), is_certain), (Some(newest), true));
            }
            Err(error) => {
                let text =
                    format!("after transaction 0-86-{newest}, which this file has after 0-86-4");
                assert!(error.contains(&text) && !is_certain, "{error}");
                assert!(error.contains("FLUSH BINARY LOGS"), "{error}");
            }
        }
    }
    // As the message advises: the server's own list has the newest numbers.
    binlog.next_file(Checksum::Crc32);
    let start = SourceStart::FilePosition(SourcePosition::new("bin.000002", 4));
    let found = contact(start, binlog, FollowMode::MariaDbFile)
        .await
        .unwrap();
    assert_eq!(found.before.as_mariadb().unwrap().highest(0, 86), Some(5));
}

/// Position 4 is a file's beginning. There, and after the format description, the list of the earlier
/// transactions is still to come.
#[tokio::test]
async fn start_in_the_head_of_a_file_is_after_the_transactions_of_earlier_files() {
    for mode in [FollowMode::MySqlFile, FollowMode::MariaDbFile] {
        let binlog = Binlog::sample(mode.flavor(), 86);
        let (format_end, _) = binlog.boundaries()[0];
        for (file, count) in [("bin.000001", 0), ("bin.000002", 3)] {
            for offset in [4, format_end] {
                let start = SourcePosition::new(file, offset);
                let config = SourceStart::FilePosition(start.clone());
                let found = contact(config, binlog.clone(), mode).await.unwrap();
                assert_eq!(found.progress.position, start);
                let earlier = &binlog.executed()[..count];
                let expected = match mode.flavor() {
                    Flavor::MySql => Executed::MySql(set_of(earlier)),
                    Flavor::MariaDb => Executed::MariaDb(state_of(earlier)),
                };
                assert_eq!(found.before, expected, "{start}");
            }
        }
    }
}

/// As "earliest": an old file without transactions lists none of them.
#[tokio::test]
async fn start_at_an_old_file_without_transactions_is_the_next_file() {
    let mode = FollowMode::MariaDbFile;
    let binlog = Binlog::upgraded(mode.flavor(), 86, &[]);
    let found = contact(start_at(4), binlog, mode).await.unwrap();
    assert_eq!(
        found.progress.position,
        SourcePosition::new("bin.000002", 4)
    );
    let old = make::query(86, "test", "create table t (a int)");
    let binlog = Binlog::upgraded(mode.flavor(), 86, &[old]);
    let error = contact(start_at(4), binlog, mode).await.unwrap_err();
    assert!(error.contains("bin.000001 contains"), "{error}");
}

#[tokio::test]
async fn start_after_the_end_of_its_file_is_not_searched_in_the_next() {
    let mut binlog = Binlog::new(Flavor::MySql, 86);
    binlog.next_file(Checksum::Crc32);
    let mut position = 0;
    while position == 0 {
        let number = binlog.executed().len() as u64 + 1;
        binlog.commit(86, number);
        // The second file has an event boundary here, the first ends before it.
        position = if number == 3 { binlog.end().offset } else { 0 };
    }
    let error = contact(start_at(position), binlog, FollowMode::MySqlFile)
        .await
        .unwrap_err();
    assert!(error.contains("bin.000001"), "{error}");
}

/// A server that was upgraded from a version without GTIDs still has its old files.
#[tokio::test]
async fn transactions_without_gtids_are_not_skipped_at_the_start() {
    let mode = FollowMode::MariaDbFile;
    let old = make::query(86, "test", "create table t (a int)");
    let binlog = Binlog::upgraded(mode.flavor(), 86, &[old]);
    let error = contact(SourceStart::Earliest, binlog, mode)
        .await
        .unwrap_err();
    assert!(error.contains("bin.000001 contains"), "{error}");

    let binlog = Binlog::upgraded(mode.flavor(), 86, &[]);
    let found = contact(SourceStart::Earliest, binlog, mode).await.unwrap();
    assert_eq!(&*found.progress.position.file, "bin.000002");
}

#[tokio::test]
async fn latest_starts_at_the_end() {
    for mode in [FollowMode::MySqlFile, FollowMode::MariaDbFile] {
        let binlog = Binlog::sample(mode.flavor(), 86);
        let found = contact(SourceStart::Latest, binlog.clone(), mode)
            .await
            .unwrap();
        assert_eq!(found.progress.position, binlog.end());
        let expected = match mode.flavor() {
            Flavor::MySql => Executed::MySql(set_of(binlog.executed())),
            Flavor::MariaDb => Executed::MariaDb(state_of(binlog.executed())),
        };
        assert_eq!(found.before, expected);
    }
}

#[tokio::test]
async fn source_that_does_not_answer_a_question_is_given_up() {
    let silent = [
        (Flavor::MySql, "gtid_purged", SourceStart::Earliest),
        (Flavor::MySql, "gtid_executed", SourceStart::Latest),
        (Flavor::MariaDb, "SHOW MASTER STATUS", SourceStart::Latest),
    ];
    for (flavor, question, start) in silent {
        let source = FakeSource::start(Binlog::sample(flavor, 86)).await;
        source.state().silent_to = Some(question);
        let config = SourceConfig {
            start,
            read_timeout: Duration::from_millis(100),
            ..source.config("m1")
        };
        let relay = Relay::start(flavor, vec![config], Vec::new());
        relay
            .until("it has tried again", |_| source.state().logins >= 4)
            .await;
        let error = relay.statuses[0].last_error().unwrap();
        assert!(error.message.contains("sent nothing"), "{error:?}");
        relay.stop().await;
    }
}

#[tokio::test]
async fn relay_stops_while_it_connects() {
    // Accepts connections, and sends nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let relay = Relay::start(Flavor::MySql, vec![config("m1", port)], Vec::new());
    let _connection = listener.accept().await.unwrap();
    assert_eq!(relay.stop().await, []);
}

#[tokio::test]
async fn relay_stops_while_the_queue_is_full() {
    let source = FakeSource::start(Binlog::sample(Flavor::MySql, 86)).await;
    let relay = Relay::start(Flavor::MySql, vec![source.config("m1")], vec![at_start(86)]);
    let memory = relay.context.queue.memory.clone();
    let _all = memory.try_acquire_many_owned(1024).unwrap();
    relay
        .until("a batch waits", |relay| {
            relay.statuses[0].received.load(Ordering::Relaxed) > 0
        })
        .await;
    assert_eq!(relay.stop().await, []);
}

#[tokio::test]
async fn source_as_old_as_mysql_5_5_is_asked_without_the_variables_it_lacks() {
    let source = FakeSource::start(Binlog::sample(Flavor::MySql, 86)).await;
    source.state().unknown_variables = &["server_uuid", "gtid_mode", "binlog_checksum"];
    let options = receiver_options(0, source.config("m1"), "/nowhere".as_ref());
    let (mut connection, facts) = connect(&options).await.unwrap();
    assert_eq!((facts.server_id, facts.server_uuid.clone()), (86, None));
    assert_eq!(facts.identity_kind(), IdentityKind::Anonymous);
    prepare(&mut connection, &options, &facts).await.unwrap();

    // MySQL 5.6.4 has a UUID.
    source.state().unknown_variables = &["gtid_mode"];
    let (_, facts) = connect(&options).await.unwrap();
    assert!(facts.server_uuid.is_some());
    assert_eq!(facts.identity_kind(), IdentityKind::Anonymous);

    source.state().unknown_variables = &["server_id"];
    let error = connect(&options).await.unwrap_err();
    assert_eq!(error.code(), 1193, "{error}");
}

#[tokio::test]
async fn mariadb_without_gtids_is_failed() {
    let source = FakeSource::start(Binlog::sample(Flavor::MariaDb, 86)).await;
    source.state().unknown_variables = &["gtid_domain_id"];
    let options = receiver_options(0, source.config("m1"), "/nowhere".as_ref());
    let error = connect(&options).await.unwrap_err();
    assert!(error.is_failure(), "{error}");
    let expected = "the source is version 10.11.14-MariaDB, which has no GTIDs; upgrade";
    assert!(error.to_string().starts_with(expected), "{error}");
}

/// A direct replica stops with auto-position in any mode but ON, and the relay log cannot hold both.
#[tokio::test]
async fn source_between_two_gtid_modes_is_refused() {
    let source = FakeSource::start(Binlog::sample(Flavor::MySql, 86)).await;
    let options = receiver_options(0, source.config("m1"), "/nowhere".as_ref());
    let facts_in = async |mode| {
        source.state().gtid_mode = mode;
        connect(&options).await.map(|(_, facts)| facts.has_gtids)
    };
    assert!(facts_in("ON").await.unwrap());
    assert!(!facts_in("OFF").await.unwrap());
    for (mode, action) in [
        (
            "ON_PERMISSIVE",
            "SET GLOBAL gtid_mode = ON (or OFF_PERMISSIVE",
        ),
        (
            "OFF_PERMISSIVE",
            "SET GLOBAL gtid_mode = OFF (or ON_PERMISSIVE",
        ),
    ] {
        let error = facts_in(mode).await.unwrap_err();
        assert!(error.is_failure(), "{error}");
        let line = error.to_line("m1");
        assert!(line.contains(&format!("gtid_mode = {mode},")), "{line}");
        assert!(line.contains(action), "{line}");
    }
}

/// What becomes of a source that joins a log without GTIDs, which has the transactions "a" and "b" of a server of
/// another source from its first file on; the error, or the statements in the log.
async fn joined_without_gtids(binlog: Binlog) -> Result<Vec<String>, String> {
    let first = Binlog::without_gtids(86, &[(86, "a"), (86, "b")]);
    let end = first.end();
    let (first, source) = (
        FakeSource::start(first).await,
        FakeSource::start(binlog).await,
    );
    for one in [&first, &source] {
        one.state().gtid_mode = "OFF";
    }
    source.state().refuse_login = Some(ServerError::new(1040, "Too many"));
    let configs = vec![first.config("m1"), source.config("m2")];
    let relay = Relay::behind(Executed::Anonymous, configs, vec![at_start(86)]);
    relay
        .until("the log has the first source's", |relay| {
            relay.progress(0) == end
        })
        .await;
    source.state().refuse_login = None;
    relay
        .until("it joined or failed", |relay| {
            relay.state(1) == SourceState::Failed
                || relay.state(1) == SourceState::Streaming
                    && relay.progress(1) == source.state().binlog.end()
        })
        .await;
    let error = relay.statuses[1].last_error();
    let result = match relay.state(1) == SourceState::Failed {
        true => Err(error.unwrap().message),
        false => Ok(logged_statements(relay.dir.path())),
    };
    relay.stop().await;
    result
}

#[tokio::test]
async fn source_that_joins_without_gtids_has_all_its_files() {
    let mut binlog = Binlog::without_gtids(18, &[(18, "lost")]);
    binlog.next_file(Checksum::Crc32);
    binlog.next_file(Checksum::Crc32);
    binlog.commit_without_gtid(18, "x");
    let joined = joined_without_gtids(binlog.clone()).await.unwrap();
    assert_eq!(joined, ["a", "b", "lost", "x"]);
    binlog.purge(2);
    let error = joined_without_gtids(binlog).await.unwrap_err();
    assert!(
        error.contains("joins a relay log that began without it"),
        "{error}"
    );
}

/// A dump that was loaded before the source replicated from the other, or new, because the other does not log it: order
/// does not show which.
#[tokio::test]
async fn own_transactions_before_a_common_one_keep_a_source_from_joining() {
    for binlog in [
        &[(18, "load"), (86, "b")][..],
        &[(18, "load"), (86, "a"), (86, "b"), (18, "x")],
    ] {
        let binlog = Binlog::without_gtids(18, binlog);
        let error = joined_without_gtids(binlog).await.unwrap_err();
        assert!(
            error.contains("joins a relay log that began without it"),
            "{error}"
        );
    }
    let binlog = Binlog::without_gtids(18, &[(86, "a"), (18, "x"), (86, "b"), (18, "y")]);
    let joined = joined_without_gtids(binlog).await.unwrap();
    assert_eq!(joined, ["a", "b", "x", "y"]);
}
