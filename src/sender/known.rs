//! What is recorded about replicas, so that the log files that they need are kept.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::replicas::{Client, Replica, Replicas};
use crate::position::RelayLogPosition;
use crate::relay_log::RelayLog;
use crate::relay_log::reader::FIRST_EVENT;
use crate::relay_log::retention::known_replicas::seen;

/// A reader, as an administrator recognises it.
pub fn described(client: &Client, replica: &Replica) -> String {
    match replica.server_id {
        0 => format!("connection {} ({}), a reader", client.id, client.host()),
        server_id => format!("replica {server_id} ({}), connected", host(client, replica)),
    }
}

fn host(client: &Client, replica: &Replica) -> String {
    match replica.report_host.as_str() {
        "" => client.host(),
        host => host.to_owned(),
    }
}

/// Records that the replica was sent the log up to `end`. A reader without a server_id, or that does not wait for more
/// at the end, does not come back.
pub fn remember(log: &RelayLog, client: &Client, replica: &Replica, end: RelayLogPosition) {
    if replica.server_id != 0 && !replica.reads_once {
        let uuid = replica.server_uuid.map(|uuid| uuid.to_string());
        let names = (host(client, replica), client.user.clone());
        let known = seen(replica.server_id, uuid, names, end);
        log.retention().replicas.note(known);
    }
}

/// Writes what is recorded, if it has changed. A failure is reported, and it is attempted again.
pub async fn save(log: &Arc<RelayLog>) {
    let log = log.clone();
    let saving = tokio::task::spawn_blocking(move || log.retention().replicas.save());
    if let Ok(Err(error)) = saving.await {
        tracing::warn!("what the replicas were sent cannot be recorded: {error}");
    }
}

/// Up to where the replica has certainly received the log; `None` while it reads a bridge.
pub fn received_up_to(log: &RelayLog, replica: &Replica) -> Option<RelayLogPosition> {
    let (file, offset) = replica.progress.coordinates();
    let sent = log.log_dir().file_number(&file)?;
    Some(match replica.progress.oldest_unreceived() {
        Some(file) => RelayLogPosition {
            file,
            offset: FIRST_EVENT,
        },
        None => RelayLogPosition { file: sent, offset },
    })
}

/// The result of forgetting the replicas with one server_id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// The hosts of those that were forgotten.
    Hosts(Vec<String>),
    /// None was missing; whether one is connected, which would be remembered again.
    None {
        /// Whether one is connected.
        is_connected: bool,
    },
}

/// Forgets the replicas with this server_id that are not connected, so that no files are kept for them.
///
/// # Errors
/// When what is left cannot be recorded: then they are known again after a restart.
pub fn forget(log: &RelayLog, replicas: &Replicas, server_id: u32) -> std::io::Result<Forgotten> {
    let connected = replicas.report();
    let connected = connected
        .into_iter()
        .filter(|one| one.server_id == server_id);
    let connected: Vec<Option<String>> = connected.map(|one| one.server_uuid).collect();
    let known = &log.retention().replicas;
    let forgotten = known.forget(server_id, &connected);
    if forgotten.is_empty() {
        let is_connected = !connected.is_empty();
        return Ok(Forgotten::None { is_connected });
    }
    known.save()?;
    let hosts = forgotten.into_iter().map(|one| one.host).collect();
    Ok(Forgotten::Hosts(hosts))
}

/// Records this about all connected replicas.
pub fn remember_all(log: &RelayLog, replicas: &Replicas) {
    for client in replicas.clients() {
        let Some(replica) = client.replica() else {
            continue;
        };
        if replica.progress.dumping.load(Relaxed)
            && let Some(end) = received_up_to(log, &replica)
        {
            remember(log, &client, &replica, end);
        }
    }
}
