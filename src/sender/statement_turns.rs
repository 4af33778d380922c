//! Long statements of accounts without privileges are answered one at a time. A connection costs its owner nothing, and an
//! address may have many: together their statements would take the processors from the replicas.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::login::Privileges;

/// A statement up to this length, in bytes, is answered at once: those of monitoring and of drivers are shorter.
const SHORT_LENGTH_MAX: usize = 2 << 10;

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
    /// Waits until a statement of `len` bytes may be answered, in the order of arrival.
    pub async fn wait(&self, privileges: Privileges, len: usize) -> StatementTurn {
        if privileges.replication || privileges.admin || len <= SHORT_LENGTH_MAX {
            return None;
        }
        // It is never closed.
        self.0.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn long_statements_without_privileges_wait_for_each_other() {
        let turns = StatementTurns::default();
        let none = Privileges::default();
        let waits = async |privileges, len| {
            let turn = timeout(Duration::ZERO, turns.wait(privileges, len));
            turn.await.is_err()
        };
        let first = turns.wait(none, 3000).await;
        assert!(first.is_some());
        assert!(waits(none, 3000).await);
        assert!(!waits(none, 2048).await);
        let (replication, admin) = (true, true);
        assert!(
            !waits(
                Privileges {
                    replication,
                    ..none
                },
                3000
            )
            .await
        );
        assert!(!waits(Privileges { admin, ..none }, 3000).await);
        drop(first);
        assert!(!waits(none, 3000).await);
    }
}
