//! Asking a source what it has.

use std::time::Duration;

use tokio::time::sleep;

use crate::config::SourceConfig;
use crate::receiver::SourceEnd;
use crate::receiver::control::{
    ControlConnection, ControlError, ReplicaConnection, Replication, ServerSettings,
};

/// Between two looks at an applier that waits.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The answers of a source.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) settings: ServerSettings,
    pub(super) end: SourceEnd,
    pub(super) replication: Replication,
    /// The connections by which it may still apply transactions that it has received, as far as is known.
    pub(super) active: Vec<ReplicaConnection>,
}

/// Asks the source. Its replication is looked at twice if `looks_twice`.
pub(super) async fn ask(config: &SourceConfig, looks_twice: bool) -> Result<Asked, ControlError> {
    let mut connection = ControlConnection::open(config).await?;
    let settings = connection.settings().await?;
    // First the replication, then what it has led to.
    let mut replication = connection.replication(&settings).await?;
    let mut active = active_ones(&replication, None);
    if looks_twice && active.is_empty() && replication.connections.is_some() {
        sleep(LOOK_AGAIN).await;
        let again = connection.replication(&settings).await?;
        active = active_ones(&again, Some(&replication));
        replication = again;
    }
    let end = connection.source_end(&settings).await?;
    connection.close().await;
    Ok(Asked {
        settings,
        end,
        replication,
        active,
    })
}

/// A connection is not active if it receives nothing, and has applied everything, or waits for the rest of
/// a transaction. With several appliers, waiting does not show that they have ended.
fn active_ones(now: &Replication, before: Option<&Replication>) -> Vec<ReplicaConnection> {
    let connections = now.connections.iter().flatten().enumerate();
    let active = connections.filter(|(number, connection)| {
        let earlier = before.and_then(|before| before.connections.as_ref()?.get(*number));
        let is_unchanged = earlier.is_none_or(|earlier| {
            (&earlier.received, &earlier.applied) == (&connection.received, &connection.applied)
        });
        let has_all = connection.received == connection.applied;
        let waits = connection.is_waiting && !now.is_parallel;
        connection.is_receiving || !is_unchanged || !(has_all || waits)
    });
    active.map(|(_, connection)| connection.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::SourcePosition;

    fn replication(connection: ReplicaConnection, is_parallel: bool) -> Replication {
        Replication {
            logs_updates: true,
            is_parallel,
            slave_pos: None,
            connections: Some(vec![connection]),
        }
    }

    #[test]
    fn a_connection_is_inactive_once_everything_whole_is_applied() {
        let at = |offset| SourcePosition::new("mysql-bin.000001", offset);
        let stopped = ReplicaConnection {
            from: "m1:3306".to_owned(),
            server_id: 86,
            is_receiving: false,
            is_waiting: true,
            received: at(500),
            applied: at(500),
            rules: Vec::new(),
        };
        let is_active = |connection: &ReplicaConnection, is_parallel| {
            !active_ones(&replication(connection.clone(), is_parallel), None).is_empty()
        };
        assert!(!is_active(&stopped, true));
        let receiving = ReplicaConnection {
            is_receiving: true,
            ..stopped.clone()
        };
        assert!(is_active(&receiving, false));
        // Half a transaction was received, or several appliers are at work.
        let behind = ReplicaConnection {
            applied: at(400),
            ..stopped.clone()
        };
        assert!(!is_active(&behind, false));
        assert!(is_active(&behind, true));
        let applying = ReplicaConnection {
            is_waiting: false,
            ..behind.clone()
        };
        assert!(is_active(&applying, false));
        let before = replication(behind, false);
        let active = active_ones(&replication(stopped, false), Some(&before));
        assert_eq!(active.len(), 1, "it has just applied something");
    }
}
