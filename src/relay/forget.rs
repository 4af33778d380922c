//! `binrelay forget`: replicas that do not come back.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::Decided;
use crate::relay_log::RelayLog;
use crate::sender::{self, Forgotten, Replicas};

/// Forgets the missing replicas with a server_id. The call blocks until that is recorded.
pub(super) fn forgetting(
    log: watch::Receiver<Option<Arc<RelayLog>>>,
    replicas: Arc<Replicas>,
) -> impl Fn(u32) -> Decided + Send + Sync {
    move |server_id| {
        let log = log.borrow().clone();
        let forgotten = log.map(|log| sender::forget(&log, &replicas, server_id));
        decided(server_id, forgotten)
    }
}

/// `None` before there is a log.
fn decided(server_id: u32, forgotten: Option<std::io::Result<Forgotten>>) -> Decided {
    match forgotten {
        Some(Ok(Forgotten::Hosts(hosts))) => {
            let hosts = hosts.join(", ");
            tracing::info!("replica {server_id} ({hosts}) was forgotten by an administrator");
            Decided::Done(format!(
                "replica {server_id} ({hosts}) is forgotten: it is no longer reported as missing, and no log files \
                 are kept for it"
            ))
        }
        Some(Ok(Forgotten::None { is_connected: true })) => Decided::Refused(format!(
            "replica {server_id} is connected, and would be remembered again: stop its replication first"
        )),
        None | Some(Ok(Forgotten::None { .. })) => Decided::Refused(format!(
            "no replica with server_id {server_id} was ever connected, or it is forgotten already; binrelay status \
             lists the replicas"
        )),
        Some(Err(error)) => Decided::Refused(format!(
            "replica {server_id} is forgotten, but will be remembered again after a restart: it cannot be recorded: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(forgotten: Option<std::io::Result<Forgotten>>) -> Result<String, String> {
        match decided(11, forgotten) {
            Decided::Done(text) => Ok(text),
            Decided::Refused(text) => Err(text),
        }
    }

    #[test]
    fn result_says_what_is_not_forgotten() {
        let hosts = Forgotten::Hosts(vec!["db11".to_owned()]);
        let done = text(Some(Ok(hosts))).unwrap();
        assert!(done.starts_with("replica 11 (db11) is forgotten"), "{done}");
        let connected = Forgotten::None { is_connected: true };
        let refused = text(Some(Ok(connected))).unwrap_err();
        assert!(refused.contains("is connected"), "{refused}");
        let unknown = Forgotten::None {
            is_connected: false,
        };
        for nothing in [None, Some(Ok(unknown))] {
            let refused = text(nothing).unwrap_err();
            assert!(refused.contains("was ever connected"), "{refused}");
        }
        let failed = text(Some(Err(std::io::Error::other("disk full"))));
        assert!(failed.unwrap_err().ends_with("disk full"));
    }
}
