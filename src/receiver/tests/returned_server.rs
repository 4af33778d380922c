//! By GTID: a server answers at a source's address again, after another one has answered there. Its newest transactions
//! show whether its history is the one that was received.

use tokio::sync::Notify;

use super::binlog::Binlog;
use super::following::FollowMode;
use super::histories::later;
use super::source::{FakeSource, Plan, Then};
use super::*;
use crate::receiver::continue_request::ContinueFrom;
use crate::receiver::continuing::continue_source;

const M1: u32 = 86;
const M2: u32 = 18;
const BY_GTID: [FollowMode; 2] = [FollowMode::MySqlSet, FollowMode::MariaDbPosition];

/// A relay that has received M1's transactions 1 to 5, and M2's transaction 6 after the address was moved there.
struct Returned {
    source: FakeSource,
    relay: Relay,
    close: Arc<Notify>,
    mode: FollowMode,
}

fn close_when(source: &FakeSource) -> Arc<Notify> {
    let close = Arc::new(Notify::new());
    source.plan(Plan::then(Then::Close(close.clone())));
    close
}

/// A server's binlog with these transactions.
fn of_server(mode: FollowMode, server_id: u32, transactions: &[(u32, u64)]) -> Binlog {
    let mut binlog = Binlog::new(mode.flavor(), server_id);
    for (origin, number) in transactions {
        binlog.commit(*origin, *number);
    }
    binlog
}

/// The server answers at the address from now on; its transactions have its server_uuid.
fn answers(source: &FakeSource, binlog: Binlog) {
    let mut state = source.state();
    let sid = make::gtid(binlog.server_id as u8, "", 1).sid;
    state.uuid = Some(sid.uuid.to_string());
    state.binlog = binlog;
}

fn first_five() -> Vec<(u32, u64)> {
    (1..=5).map(|number| (M1, number)).collect()
}

/// A relay that has received M1's transactions 1 to 5, and what closes its connection.
async fn after_m1(mode: FollowMode) -> (FakeSource, Relay, Arc<Notify>) {
    let m1 = of_server(mode, M1, &first_five());
    let source = FakeSource::start(m1.clone()).await;
    answers(&source, m1);
    let close = close_when(&source);
    let relay = Relay::start(
        mode.flavor(),
        vec![mode.config(&source)],
        vec![at_start(M1)],
    );
    let received = source.state().binlog.executed().to_vec();
    relay.until_executed(&received).await;
    (source, relay, close)
}

impl Returned {
    async fn after_m2(mode: FollowMode) -> Self {
        let (source, relay, close) = after_m1(mode).await;
        let mut m2 = of_server(mode, M2, &first_five());
        m2.commit(M2, 6);
        let received = m2.executed().to_vec();
        answers(&source, m2);
        let close_m2 = close_when(&source);
        close.notify_one();
        relay.until_executed(&received).await;
        Self {
            source,
            relay,
            close: close_m2,
            mode,
        }
    }

    fn returns(&self, transactions: &[(u32, u64)]) {
        answers(&self.source, of_server(self.mode, M1, transactions));
        self.close.notify_one();
    }

    /// `binrelay continue m1`
    async fn continue_at_its_position(&self) -> Result<String, ReceiverError> {
        let options = receiver_options(0, self.mode.config(&self.source), "/nowhere".as_ref());
        let from = ContinueFrom {
            at: None,
            new_history: false,
            counts_missing: false,
            skips_missing: false,
        };
        let decision = (tokio::sync::oneshot::channel().0, Wanted::always());
        let (context, counters) = (&self.relay.context, &self.relay.counters[0]);
        continue_source(&options, context, counters, &from, decision).await
    }
}

#[tokio::test]
async fn unchanged_server_is_followed_again() {
    for mode in BY_GTID {
        for purged in [0, 1] {
            let returned = Returned::after_m2(mode).await;
            let mut m1 = of_server(mode, M1, &first_five());
            (0..purged).for_each(|_| m1.next_file(Checksum::Crc32));
            for (origin, number) in [(M2, 6), (M1, 7)] {
                m1.commit(origin, number);
            }
            let expected = m1.executed().to_vec();
            m1.purge(purged);
            if purged > 0 {
                let text = "Could not find GTID state requested by slave in any binlog files";
                let plan = Plan::edit(|packets| packets.truncate(2), Then::Error(1236, text));
                let mut state = returned.source.state();
                match mode {
                    FollowMode::MySqlSet => state.purged = binlog::set_of(&expected[..5]),
                    _ => state.scan_plans.push_back(plan),
                }
            }
            answers(&returned.source, m1);
            returned.close.notify_one();
            returned.relay.until_executed(&expected).await;
            assert_eq!(returned.relay.stop().await, expected, "{mode:?}");
        }
    }
}

/// MySQL assigns the GTIDs again that it has lost. All that the relay has received from it it seems to have.
#[tokio::test]
async fn server_that_was_reset_meanwhile_has_a_changed_history() {
    for count in [5, 9] {
        let returned = Returned::after_m2(FollowMode::MySqlSet).await;
        let plan = Plan::edit(later, Then::Eof);
        returned.source.state().scan_plans.push_back(plan);
        let again: Vec<_> = (1..=count).map(|number| (M1, number)).collect();
        returned.returns(&again);
        let error = returned.relay.until_failed(0).await.message;
        assert!(error.contains("history has changed"), "{error}");
        assert!(error.contains("another transaction"), "{error}");
        // It is, until its binlog is restored, or the address is moved back.
        let plan = Plan::edit(later, Then::Eof);
        returned.source.state().scan_plans.push_back(plan);
        assert!(returned.continue_at_its_position().await.is_err());
        let mut m2 = of_server(FollowMode::MySqlSet, M2, &first_five());
        [6, 7].into_iter().for_each(|number| m2.commit(M2, number));
        let expected = m2.executed().to_vec();
        answers(&returned.source, m2);
        returned.continue_at_its_position().await.unwrap();
        returned.relay.until_executed(&expected).await;
        assert_eq!(returned.relay.stop().await, expected);
    }
}

/// MariaDB continues after the numbers that it has lost.
#[tokio::test]
async fn mariadb_that_has_lost_its_newest_transactions_meanwhile_has_a_changed_history() {
    let returned = Returned::after_m2(FollowMode::MariaDbPosition).await;
    returned.returns(&[(M1, 1), (M1, 2), (M1, 3), (M2, 6), (M1, 7)]);
    let error = returned.relay.until_failed(0).await.message;
    assert!(error.contains("its own transactions 0-86-5"), "{error}");
    assert!(error.contains("a binlog without them"), "{error}");
    assert!(returned.continue_at_its_position().await.is_err());
    // Its binlog is restored.
    let mut all = first_five();
    all.extend([(M2, 6), (M1, 7)]);
    let m1 = of_server(FollowMode::MariaDbPosition, M1, &all);
    let expected = m1.executed().to_vec();
    answers(&returned.source, m1);
    returned.continue_at_its_position().await.unwrap();
    returned.relay.until_executed(&expected).await;
    assert_eq!(returned.relay.stop().await, expected);
}

/// The address is moved to a server that sends nothing, where what M1 has sent has other coordinates: at the next
/// connection the newest transaction from M1 is not looked for at M1's.
#[tokio::test]
async fn idle_server_is_followed_at_its_second_connection() {
    for mode in BY_GTID {
        let (source, relay, mut close) = after_m1(mode).await;
        let mut m2 = of_server(mode, M2, &first_five()[..2]);
        m2.next_file(Checksum::Crc32);
        (3..=5).for_each(|number| m2.commit(M1, number));
        answers(&source, m2.clone());
        for connection in 1..=3 {
            let again = close_when(&source);
            std::mem::replace(&mut close, again).notify_one();
            relay
                .until(&format!("{mode:?}: connection {connection}"), |relay| {
                    let progress = &relay.context.log.state().sources[0];
                    relay.statuses[0].reconnects.load(Ordering::Relaxed) >= connection
                        && relay.state(0) == SourceState::Streaming
                        && progress.server_id == M2
                })
                .await;
        }
        m2.commit(M2, 6);
        let expected = m2.executed().to_vec();
        answers(&source, m2);
        close_when(&source);
        close.notify_one();
        relay.until_executed(&expected).await;
        assert_eq!(relay.stop().await, expected, "{mode:?}");
    }
}
