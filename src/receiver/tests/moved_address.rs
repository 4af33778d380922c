//! Another server answers at a source's address, without GTIDs or with MariaDB's by file and position: what its
//! binlog has before the first transaction that the log has, too, is never new.

use tokio::sync::{Notify, oneshot};

use super::binlog::Binlog;
use super::following::FollowMode;
use super::source::{FakeSource, Plan, Then};
use super::*;
use crate::config::{FilterConfig, SharedFilter, SourceConfig, SourceStart};
use crate::receiver::continue_request::ContinueFrom;
use crate::receiver::continuing::continue_source;

const M1: u32 = 86;
const M2: u32 = 18;

/// A relay that has received the binlog of M1, and the address of M1.
struct Moved {
    source: FakeSource,
    relay: Relay,
    close: Arc<Notify>,
    mode: FollowMode,
}

impl Moved {
    async fn from_m1(mode: FollowMode, before: Executed, binlog: Binlog) -> Self {
        let end = binlog.end();
        let source = FakeSource::start(binlog).await;
        source.state().gtid_mode = "OFF";
        let close = Arc::new(Notify::new());
        source.plan(Plan::then(Then::Close(close.clone())));
        let rules = FilterConfig {
            replicate_do_db: vec!["test".to_owned()],
            ..FilterConfig::default()
        };
        let config = SourceConfig {
            filter: SharedFilter::new(rules),
            ..mode.config(&source)
        };
        let relay = Relay::behind(before, vec![config], vec![at_start(M1)]);
        relay
            .until("M1's binlog is received", |relay| relay.progress(0) == end)
            .await;
        Self {
            source,
            relay,
            close,
            mode,
        }
    }

    async fn without_gtids(transactions: &[(u32, &str)]) -> Self {
        let binlog = Binlog::without_gtids(M1, transactions);
        Self::from_m1(FollowMode::MySqlFile, Executed::Anonymous, binlog).await
    }

    fn move_to(&self, binlog: Binlog) {
        self.source.state().binlog = binlog;
        self.close.notify_one();
    }

    fn statements(&self) -> Vec<String> {
        logged_statements(self.relay.dir.path())
    }

    /// Moves the address to a server from which nothing may be received; returns the error.
    async fn refused(&self, binlog: Binlog) -> String {
        let before = self.statements();
        self.move_to(binlog);
        let error = self.relay.until_failed(0).await.message;
        assert!(error.contains("server_id 18"), "{error}");
        assert_eq!(self.statements(), before, "{error}");
        error
    }

    /// Moves the address to a server that is followed; waits until the log has as many statements.
    async fn followed(&self, binlog: Binlog, expected: &[&str]) {
        self.move_to(binlog);
        self.relay
            .until("the other server is followed", |relay| {
                self.statements().len() >= expected.len()
                    && relay.state(0) == SourceState::Streaming
                    && relay.context.paths.names().len() == 2
            })
            .await;
        assert_eq!(self.statements(), expected);
    }

    /// Replaces the server's binlog; waits until the log has as many statements.
    async fn delivers(&self, binlog: Binlog, expected: &[&str]) {
        self.source.state().binlog = binlog;
        self.relay
            .until("all statements", |_| {
                self.statements().len() >= expected.len()
            })
            .await;
        assert_eq!(self.statements(), expected);
    }

    /// `binrelay continue m1 --at`
    async fn continue_at(&self, at: SourceStart) -> String {
        self.try_to_continue_at(at).await.unwrap()
    }

    async fn try_to_continue_at(&self, at: SourceStart) -> Result<String, ReceiverError> {
        let options = receiver_options(0, self.mode.config(&self.source), "/nowhere".as_ref());
        let from = ContinueFrom {
            at: Some(at),
            new_history: false,
            counts_missing: true,
            skips_missing: true,
        };
        let decision = (oneshot::channel().0, Wanted::always());
        let (context, counters) = (&self.relay.context, &self.relay.counters[0]);
        continue_source(&options, context, counters, &from, decision).await
    }
}

/// M2 was given M1's data by loading a dump while `log_bin` was on, and replicates from M1 since.
fn loaded_m2() -> Binlog {
    Binlog::without_gtids(M2, &[(M2, "load 1"), (M2, "load 2"), (M1, "b")])
}

#[tokio::test]
async fn dump_that_was_loaded_into_the_other_server_is_not_delivered() {
    let moved = Moved::without_gtids(&[(M1, "a"), (M1, "b")]).await;
    let error = moved.refused(loaded_m2()).await;
    assert!(error.contains("transactions with server_id 18"), "{error}");
    assert!(error.contains("older than the data"), "{error}");
    assert!(error.contains("--at earliest"), "{error}");
    // The way back: the replicas have what the dump contained, and "b".
    let at = moved.source.state().binlog.end();
    let text = moved.continue_at(SourceStart::FilePosition(at)).await;
    assert!(text.contains("warning: without GTIDs"), "{text}");
    let mut binlog = loaded_m2();
    binlog.commit_without_gtid(M2, "c");
    moved.delivers(binlog, &["a", "b", "c"]).await;
    moved.relay.stop().await;
}

/// M1 has replicated what M2 wrote since: order shows that the load is older.
#[tokio::test]
async fn own_transactions_before_a_common_one_count_as_delivered() {
    let moved = Moved::without_gtids(&[(M1, "a"), (M1, "b"), (M2, "x")]).await;
    let mut binlog = loaded_m2();
    binlog.commit_without_gtid(M2, "x");
    binlog.commit_without_gtid(M2, "y");
    moved.followed(binlog, &["a", "b", "x", "y"]).await;
    moved.relay.stop().await;
}

/// M1 had logged a transaction of M2. M2 has an older one of a third server, of which the relay log has none.
#[tokio::test]
async fn what_the_old_server_had_logged_of_the_other_one_is_a_copy_wherever_that_continues() {
    for continues_at_end in [false, true] {
        let moved = Moved::without_gtids(&[(M1, "a"), (M2, "x")]).await;
        let mut binlog = Binlog::without_gtids(M2, &[(1, "old")]);
        let mut at = binlog.end();
        for (origin, statement) in [(M1, "a"), (M2, "x")] {
            binlog.commit_without_gtid(origin, statement);
        }
        if continues_at_end {
            at = binlog.end();
        }
        binlog.commit_without_gtid(M2, "y");
        let error = moved.refused(binlog.clone()).await;
        assert!(error.contains("with server_id 1 that"), "{error}");
        moved.continue_at(SourceStart::FilePosition(at)).await;
        binlog.commit_without_gtid(M1, "b");
        binlog.commit_without_gtid(M2, "z");
        moved.delivers(binlog, &["a", "x", "y", "b", "z"]).await;
        moved.relay.stop().await;
    }
}

/// M1 has lost transactions in a crash, which was recorded, before the address was moved.
#[tokio::test]
async fn changed_history_of_the_old_server_does_not_keep_the_other_one_from_continuing() {
    let moved = Moved::without_gtids(&[(M1, "a"), (M1, "b")]).await;
    let mut crashed = Binlog::without_gtids(M1, &[(M1, "a")]);
    crashed.next_file(Checksum::Crc32);
    moved.source.state().binlog = crashed;
    moved.close.notify_one();
    let error = moved.relay.until_failed(0).await.message;
    assert!(error.contains("history has changed"), "{error}");
    let at = |binlog: &Binlog| SourceStart::FilePosition(binlog.end());
    // Its own changed history cannot be continued this way.
    let end = at(&moved.source.state().binlog);
    assert!(moved.try_to_continue_at(end).await.is_err());
    let mut binlog = Binlog::without_gtids(M2, &[(M1, "a"), (M1, "b")]);
    moved.source.state().binlog = binlog.clone();
    moved.continue_at(at(&binlog)).await;
    binlog.commit_without_gtid(M2, "c");
    moved.delivers(binlog, &["a", "b", "c"]).await;
    moved.relay.stop().await;
}

/// A standby from which nothing was received yet. What an administrator has it skip is no changed history.
#[tokio::test]
async fn position_of_an_idle_server_that_was_decided_is_where_its_binlog_is_verified_from() {
    let moved = Moved::without_gtids(&[]).await;
    let mut binlog = Binlog::without_gtids(M1, &[(M1, "a")]);
    binlog.next_file(Checksum::Crc32);
    moved.source.state().binlog = binlog.clone();
    let at = SourceStart::FilePosition(binlog.end());
    moved.continue_at(at).await;
    let close = Arc::new(Notify::new());
    moved.source.plan(Plan::then(Then::Close(close.clone())));
    binlog.next_file(Checksum::Crc32);
    let end = binlog.end();
    moved.source.state().binlog = binlog.clone();
    moved.close.notify_one();
    moved
        .relay
        .until("the next file", |relay| relay.progress(0) == end)
        .await;
    binlog.commit_without_gtid(M1, "b");
    moved.source.state().binlog = binlog.clone();
    close.notify_one();
    moved.delivers(binlog, &["b"]).await;
    moved.relay.stop().await;
}

/// It was installed again, with a dump of M1.
#[tokio::test]
async fn server_whose_binlog_was_begun_again_with_a_load_is_refused() {
    let logged = [(M2, "w1"), (M2, "w2"), (M2, "w3")];
    let moved = Moved::without_gtids(&logged).await;
    let binlog = Binlog::without_gtids(M2, &[(M2, "load"), (M2, "w3"), (M2, "w4")]);
    let error = moved.refused(binlog).await;
    assert!(error.contains("it was begun again"), "{error}");
    moved.relay.stop().await;
}

/// M1 was reset before the relay began.
#[tokio::test]
async fn transactions_from_before_a_reset_of_the_old_server_are_not_delivered() {
    let moved = Moved::without_gtids(&[(M1, "a"), (M1, "b")]).await;
    let binlog = [
        (M1, "old 1"),
        (M1, "old 2"),
        (M1, "a"),
        (M1, "b"),
        (M2, "x"),
    ];
    let binlog = Binlog::without_gtids(M2, &binlog);
    moved.followed(binlog, &["a", "b", "x"]).await;
    moved.relay.stop().await;
}

#[tokio::test]
async fn server_that_has_nothing_in_common_with_the_log_is_refused() {
    for binlog in [&[(M2, "x")][..], &[(M1, "c")], &[(M1, "c"), (M2, "x")]] {
        let moved = Moved::without_gtids(&[(M1, "a")]).await;
        let binlog = Binlog::without_gtids(M2, binlog);
        moved.refused(binlog).await;
        moved.relay.stop().await;
    }
    // An administrator who knows that all of it is new decides so.
    let moved = Moved::without_gtids(&[(M1, "a")]).await;
    moved.refused(Binlog::without_gtids(M2, &[(M2, "x")])).await;
    moved.continue_at(SourceStart::Earliest).await;
    moved
        .relay
        .until("all of it", |_| moved.statements().len() == 2)
        .await;
    assert_eq!(moved.statements(), ["a", "x"]);
    moved.relay.stop().await;
}

#[tokio::test]
async fn server_that_has_written_nothing_before_is_followed() {
    let moved = Moved::without_gtids(&[(M1, "a"), (M1, "b")]).await;
    moved
        .followed(Binlog::without_gtids(M2, &[]), &["a", "b"])
        .await;
    moved.relay.stop().await;
    for (binlog, expected) in [
        (&[(M1, "a"), (M1, "b")][..], &["a", "b"][..]),
        (&[(M1, "b"), (M1, "c"), (M2, "x")], &["a", "b", "c", "x"]),
    ] {
        let moved = Moved::without_gtids(&[(M1, "a"), (M1, "b")]).await;
        let binlog = Binlog::without_gtids(M2, binlog);
        moved.followed(binlog, expected).await;
        moved.relay.stop().await;
    }
}

/// Accounts that were created on the other server before it replicated, for example: replicas do not get them anyway.
#[tokio::test]
async fn own_transactions_that_the_rules_drop_do_not_keep_a_server_from_being_followed() {
    let moved = Moved::without_gtids(&[(M1, "a"), (M1, "b")]).await;
    let mut binlog = Binlog::without_gtids(M2, &[]);
    binlog.commit_in("mysql", M2, "accounts");
    binlog.commit_in("mysql", M1, "accounts of a server with the same server_id");
    for (origin, statement) in [(M1, "a"), (M1, "b"), (M2, "x")] {
        binlog.commit_without_gtid(origin, statement);
    }
    moved.followed(binlog, &["a", "b", "x"]).await;
    moved.relay.stop().await;
}

/// Only a log without lost files can be compared from its beginning.
#[tokio::test]
async fn transactions_that_look_alike_at_both_beginnings_are_common() {
    let same = [(M1, "a"), (M1, "a"), (M1, "a")];
    let moved = Moved::without_gtids(&same).await;
    let binlog = Binlog::without_gtids(M2, &[(M1, "a"), (M1, "a"), (M2, "x")]);
    moved.followed(binlog, &["a", "a", "a", "x"]).await;
    moved.relay.stop().await;
}

#[tokio::test]
async fn mariadb_server_whose_binlog_begins_with_a_load_is_refused() {
    let mut m1 = Binlog::new(Flavor::MariaDb, M1);
    for number in 1..=3 {
        m1.commit(M1, number);
    }
    let mut m2 = Binlog::new(Flavor::MariaDb, M2);
    for (origin, number) in [(M2, 1), (M2, 2), (M2, 3), (M1, 3)] {
        m2.commit(origin, number);
    }
    let empty = || Executed::empty(Flavor::MariaDb);
    let moved = Moved::from_m1(FollowMode::MariaDbFile, empty(), m1.clone()).await;
    let error = moved.refused(m2.clone()).await;
    assert!(error.contains("begins with 0-18-1"), "{error}");
    let at = SourceStart::FilePosition(m2.end());
    moved.continue_at(at).await;
    m2.commit(M2, 4);
    moved.source.state().binlog = m2;
    let expected = [m1.executed(), &[binlog::mariadb(M2, 4)]].concat();
    moved.relay.until_executed(&expected).await;
    assert_eq!(moved.relay.stop().await, expected);

    // What follows a common transaction is new.
    let mut m2 = Binlog::new(Flavor::MariaDb, M2);
    for (origin, number) in [(M1, 2), (M1, 3), (M2, 4)] {
        m2.commit(origin, number);
    }
    let moved = Moved::from_m1(FollowMode::MariaDbFile, empty(), m1).await;
    moved.move_to(m2);
    moved.relay.until_executed(&expected).await;
    assert_eq!(moved.relay.stop().await, expected);
}
