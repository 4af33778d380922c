//! Statements of accounts without privileges that may cost much are answered one at a time. A connection costs its owner nothing, and an
//! address may have many: together their statements would take the processors from the replicas.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::login::Privileges;

/// A statement up to this length, in bytes, is answered at once: those of monitoring and of drivers are shorter.
const SHORT_LENGTH_MAX: usize = 2 << 10;
/// A function that reads files of the relay log, in upper case.
const LOOK_UP: &str = "BINLOG_GTID_POS";

/// The tables of `information_schema` that may have rows, in upper case.
const TABLES_WITH_ROWS: [&str; 6] = [
    "GLOBAL_STATUS",
    "GLOBAL_VARIABLES",
    "PROCESSLIST",
    "SCHEMATA",
    "SESSION_STATUS",
    "SESSION_VARIABLES",
];

/// The turns of all sessions.
#[derive(Debug, Clone)]
pub struct StatementTurns(Arc<Semaphore>);

/// The turn of a statement, until it is dropped.
pub type StatementTurn = Option<OwnedSemaphorePermit>;

impl Default for StatementTurns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl StatementTurns {
    /// Waits until a statement may be answered, in the order of arrival.
    pub async fn wait(&self, privileges: Privileges, text: &str) -> StatementTurn {
        if privileges.replication || privileges.admin || !may_cost_much(text) {
            return None;
        }
        // It is never closed.
        self.0.clone().acquire_owned().await.ok()
    }
}

fn may_cost_much(text: &str) -> bool {
    if text.len() > SHORT_LENGTH_MAX {
        return true;
    }
    let upper = text.to_ascii_uppercase();
    // Two tables have many rows together.
    let tables = TABLES_WITH_ROWS
        .iter()
        .map(|name| upper.matches(name).count());
    upper.contains(LOOK_UP) || tables.sum::<usize>() > 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn costly_statements_without_privileges_wait_for_each_other() {
        let turns = StatementTurns::default();
        let none = Privileges::default();
        let long = "x".repeat(2049);
        let waits = async |privileges, text: &str| {
            let turn = timeout(Duration::ZERO, turns.wait(privileges, text));
            turn.await.is_err()
        };
        let first = turns.wait(none, &long).await;
        assert!(first.is_some());
        assert!(waits(none, &long).await);
        assert!(waits(none, "SELECT `Binlog_GTID_pos`('relay-bin.000001', 4)").await);
        let join = |second: &str| format!("SELECT 1 FROM ProcessList a, `{second}` b");
        assert!(waits(none, &join("processlist")).await);
        assert!(waits(none, &join("global_status")).await);
        assert!(!waits(none, &join("plugins")).await);
        assert!(!waits(none, &long[1..]).await);
        let (replication, admin) = (true, true);
        let privileged = Privileges {
            replication,
            ..none
        };
        assert!(!waits(privileged, &long).await);
        assert!(!waits(Privileges { admin, ..none }, &long).await);
        drop(first);
        assert!(!waits(none, &long).await);
    }
}
