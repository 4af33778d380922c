//! Replicas that were connected once, and are not now.

use std::time::SystemTime;

use crate::relay_log::RelayLog;
use crate::relay_log::retention::known_replicas::KnownReplica;
use crate::sender::{ReplicaReport, ReplicaState};
use crate::utc;

/// Those that are not among the `connected` ones, by server_id.
pub(super) fn missing(log: &RelayLog, connected: &[ReplicaReport]) -> Vec<ReplicaReport> {
    let now = SystemTime::now();
    let is_connected = |known: &KnownReplica| {
        let mut connected = connected.iter();
        connected.any(|one| known.has_identity(one.server_id, one.server_uuid.as_deref()))
    };
    let mut known = log.retention().replicas.list();
    known.retain(|known| !is_connected(known));
    known.sort_by(|one, other| {
        (one.server_id, &one.server_uuid).cmp(&(other.server_id, &other.server_uuid))
    });
    let report = |known: KnownReplica| ReplicaReport {
        server_id: known.server_id,
        state: ReplicaState::Missing.name().to_owned(),
        file: log.log_dir().file_name(known.file),
        position: known.position,
        last_seen: utc::seconds(known.last_seen_at()),
        missing_seconds: Some(known.seconds_away(now)),
        server_uuid: known.server_uuid,
        host: known.host,
        user: known.user,
        ..ReplicaReport::default()
    };
    known.into_iter().map(report).collect()
}
