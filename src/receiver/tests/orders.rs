//! Sources that are stopped, started, moved, added and removed while the log is open.

use tokio::sync::oneshot;

use super::binlog::Binlog;
use super::following::FollowMode;
use super::source::FakeSource;
use super::*;
use crate::log_thread::{FollowChange, NewPath, Queued};

const LIMIT: Duration = Duration::from_secs(30);

impl Relay {
    async fn order(&self, source: usize, config: SourceConfig, activity: Activity) {
        let order = self.orders[source].send(config, activity);
        let status = &self.statuses[source];
        assert!(self.orders[source].wait(status, order, LIMIT).await);
    }

    /// Adds a source as `relay::channels` does; `None` if it is removed.
    async fn follow(&self, source: u16, name: &str, counters: Option<Arc<SourceCounters>>) {
        let (done, carried_out) = oneshot::channel();
        let change = FollowChange {
            source,
            name: name.into(),
            counters,
            done,
        };
        let queued = Queued::Follow(Box::new(change));
        self.context.queue.batches.send(queued).await.unwrap();
        carried_out.await.unwrap();
    }

    /// Follows one more source.
    async fn add(&mut self, config: SourceConfig) -> usize {
        let name: Arc<str> = config.name.as_str().into();
        let known = self.context.paths.number_of(&name);
        let number = known.unwrap_or_else(|| {
            self.context.paths.add(NewPath {
                name: name.clone(),
                before: Vec::new(),
            })
        });
        let (counters, status) = (Arc::<SourceCounters>::default(), Arc::default());
        self.follow(number, &name, Some(counters.clone())).await;
        let order = OrderSender::new(config.clone(), Activity::Follow);
        self.receivers.spawn(run(
            receiver_options(number, config, &self.dir.path().join("spool")),
            self.context.clone(),
            (counters.clone(), Arc::clone(&status)),
            mpsc::channel(1).1,
            order.subscribe(),
            self.stop.subscribe(),
        ));
        self.orders.push(order);
        self.counters.push(counters);
        self.statuses.push(status);
        self.orders.len() - 1
    }
}

#[tokio::test]
async fn source_is_stopped_and_continues_at_another_address() {
    for mode in [
        FollowMode::MySqlFile,
        FollowMode::MySqlSet,
        FollowMode::MariaDbFile,
    ] {
        let mut binlog = Binlog::sample(mode.flavor(), 86);
        let source = FakeSource::start(binlog.clone()).await;
        let config = mode.config(&source);
        let relay = Relay::start(mode.flavor(), vec![config.clone()], vec![at_start(86)]);
        relay.until_executed(binlog.executed()).await;
        relay.order(0, config.clone(), Activity::Stop).await;
        assert_eq!(relay.state(0), SourceState::Stopped);
        let dumps = source.state().asked.len();
        // The same server at another address, with more in its binlog.
        binlog.commit(86, 50);
        let moved = FakeSource::start(binlog.clone()).await;
        assert!(relay.kept(0) < binlog.executed().len() as u64);
        relay.order(0, mode.config(&moved), Activity::Follow).await;
        relay.until_executed(binlog.executed()).await;
        assert_eq!(
            source.state().asked.len(),
            dumps,
            "{mode:?}: the old address"
        );
        relay.order(0, config, Activity::Remove).await;
        assert_eq!(relay.stop().await, binlog.executed(), "{mode:?}");
    }
}

#[tokio::test]
async fn source_is_added_removed_and_added_again() {
    let flavor = Flavor::MySql;
    let binlog = Binlog::sample(flavor, 86);
    let first = FakeSource::start(binlog.clone()).await;
    let config = SourceConfig {
        name: "m1".to_owned(),
        ..FollowMode::MySqlSet.config(&first)
    };
    let mut relay = Relay::start(flavor, vec![config], vec![at_start(86)]);
    relay.until_executed(binlog.executed()).await;
    let mut other = Binlog::new(flavor, 33);
    other.commit(33, 1);
    let second = FakeSource::start(other.clone()).await;
    let config = SourceConfig {
        name: "m2".to_owned(),
        ..FollowMode::MySqlSet.config(&second)
    };
    let at = relay.add(config.clone()).await;
    relay.until_executed(other.executed()).await;
    relay.order(at, config, Activity::Remove).await;
    relay.follow(1, "m2", None).await;
    other.commit(33, 2);
    let again = FakeSource::start(other.clone()).await;
    let config = SourceConfig {
        name: "m2".to_owned(),
        ..FollowMode::MySqlSet.config(&again)
    };
    relay.add(config).await;
    relay.until_executed(other.executed()).await;
    let all = [binlog.executed(), other.executed()].concat();
    assert_eq!(relay.stop().await, all);
}
