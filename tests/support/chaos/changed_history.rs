//! A master gets another history at a calm point: the relay must say so, and the run continues after the way back.

use super::stand::Stand;
use crate::support::Deadline;
use crate::support::history_changes::{
    continue_m2, execute, rebuild_from_peer, refusal, reset, wait_failed, wait_m2,
};
use crate::support::replication::{has_mark, stop_replica, write_mark};
use crate::support::topology::{Mode, run_for};

/// Its row in the table.
const NAME: &str = "history changed";
/// Transactions that the master logs before the relay is asked.
const NEW: usize = 12;

impl Stand {
    /// M1 is reset, and comes back in the way that the message names.
    pub async fn change_history(&mut self, part: u32) {
        if self.setup.mode == Mode::MariaDbSlavePos {
            return; // Its way back seeds the master again.
        }
        if self.moving_is_direct {
            self.moving.sql(stop_replica(self.setup.kind)).await;
            self.attach_moving().await;
            let status = self.relay.status();
            assert!(!self.moving_is_direct, "not attached: {status:#}");
        }
        self.table.inject(NAME);
        let message = match self.setup.mode {
            Mode::MySqlAutoPosition => self.reset_with_gtids().await,
            _ => self.reset_without_gtids().await,
        };
        self.table.saw(NAME, &message);
        self.is_attachable = self.setup.mode == Mode::MySqlAutoPosition;
        self.relay.wait_streaming().await;
        self.calm(part).await;
    }

    async fn reset_without_gtids(&mut self) -> String {
        let [m1, m2] = &self.masters;
        reset(m1, m2).await;
        let mut mark = 0;
        for _ in 0..NEW {
            mark = write_mark(&[m1]).await;
        }
        let deadline = Deadline::after_secs(60);
        while !has_mark(m2, m1, mark).await {
            assert!(!deadline.passed(), "M2 does not follow M1's new history");
            run_for(100).await;
        }
        let message = wait_failed(&self.relay, "history has changed").await;
        assert!(
            message.contains("binrelay continue m1 --new-history"),
            "{message}"
        );
        execute(&self.relay, "binrelay continue m1 --new-history");
        continue_m2(&self.relay).await;
        message
    }

    /// Replicas would skip its transactions: M1 gets the data of its peer and a new identity.
    async fn reset_with_gtids(&mut self) -> String {
        let [m1, m2] = &mut self.masters;
        m1.sql("RESET BINARY LOGS AND GTIDS").await;
        m1.sql("CREATE TABLE test.lost (id INT PRIMARY KEY)").await;
        let message = wait_failed(&self.relay, "history has changed").await;
        assert!(
            message.contains("binrelay continue m1 --new-history"),
            "{message}"
        );
        let refused = refusal(&self.relay, "binrelay continue m1 --new-history");
        assert!(refused.contains("auto.cnf"), "{refused}");
        rebuild_from_peer(m1, m2).await;
        wait_m2(&self.relay).await;
        execute(&self.relay, "binrelay continue m1 --new-history");
        message
    }
}
