//! Registry of connected clients, read by status, SHOW and KILL.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::counters::Counters;
use super::received::Unreceived;
use crate::connection::Traffic;
use crate::flavor::Flavor;
use crate::gtid::Uuid;
use crate::relay_log::ReplicaAcknowledgements;
use crate::utc;

/// A replica that does not accept the end of the log for so many seconds is not streaming.
const STREAMING_SECONDS: u64 = 10;

/// The state of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// It is sent what was published before.
    CatchingUp,
    /// It was sent everything that is published.
    Streaming,
    /// It was connected once, and is not now.
    Missing,
}

impl ReplicaState {
    /// As the status shows it.
    pub fn name(self) -> &'static str {
        match self {
            ReplicaState::CatchingUp => "catching_up",
            ReplicaState::Streaming => "streaming",
            ReplicaState::Missing => "missing",
        }
    }
}

/// One replica, as the status shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Its server_id.
    pub server_id: u32,
    /// Its server_uuid; null on MariaDB.
    pub server_uuid: Option<String>,
    /// Its `report_host`, or the address that it connects from.
    pub host: String,
    /// Its account.
    pub user: String,
    /// `catching_up`, `streaming`, or `missing`: it was connected once, and is not now.
    pub state: String,
    /// The relay log file that is sent to it.
    pub file: String,
    /// Offset in that file after the last event sent. Of a missing one: up to where it has certainly received the log.
    pub position: u64,
    /// The age of the last event sent, in seconds; 0 at the end of the log, null when unknown, and for a tool that reads
    /// the log once: it reads what it was asked for, however old.
    pub seconds_behind: Option<u64>,
    /// Bytes of the relay log that it was not sent yet; null while it reads a bridge.
    #[serde(default)]
    pub bytes_behind: Option<u64>,
    /// Bytes sent over this connection.
    pub bytes_sent: u64,
    /// Seconds since it connected.
    pub connected_seconds: u64,
    /// The protection of its connection: TLS version and cipher, or `none`; null while it is missing.
    #[serde(default)]
    pub tls: Option<String>,
    /// Whether it sends semi-sync acknowledgements.
    pub semi_sync: bool,
    /// Acknowledgements received over this connection.
    #[serde(default)]
    pub semi_sync_acks: u64,
    /// When it was last seen connected, in UTC.
    #[serde(default)]
    pub last_seen: String,
    /// Seconds since then; null while it is connected.
    #[serde(default)]
    pub missing_seconds: Option<u64>,
}

/// Why a connection is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// By KILL.
    Killed,
    /// Another replica with the same identity has connected.
    SameReplica,
}

/// One client that has logged in.
#[derive(Debug)]
pub struct Client {
    /// The connection's id.
    pub id: u32,
    /// The account's name.
    pub user: String,
    /// The peer's address; `None` if it had disconnected before the address was read.
    pub ip: Option<IpAddr>,
    /// The peer's port.
    pub port: u16,
    /// Its bytes.
    pub traffic: Arc<Traffic>,
    /// The version and cipher of TLS, or `none`.
    pub tls: String,
    since: Instant,
    /// When its present state began, in milliseconds after `since`.
    state_since: AtomicU64,
    /// Whether a statement is being executed.
    is_executing: AtomicBool,
    kill: watch::Sender<Option<KillReason>>,
    replica: Mutex<Option<Arc<Replica>>>,
}

impl Client {
    /// Its IP address as text.
    pub fn host(&self) -> String {
        self.ip
            .map_or_else(String::new, |ip| ip.to_canonical().to_string())
    }

    /// Seconds since it logged in.
    pub fn connected_seconds(&self) -> u64 {
        self.since.elapsed().as_secs()
    }

    /// A command begins, or has ended.
    pub fn enter_state(&self) {
        self.state_since.store(self.connected_ms(), Relaxed);
    }

    /// A statement begins, or has ended.
    pub fn set_executing(&self, is_executing: bool) {
        self.is_executing.store(is_executing, Relaxed);
    }

    /// Whether a statement is being executed.
    pub fn is_executing(&self) -> bool {
        self.is_executing.load(Relaxed)
    }

    /// Seconds since then, or since its login.
    pub fn state_seconds(&self) -> u64 {
        let since = self.state_since.load(Relaxed);
        self.connected_ms().saturating_sub(since) / 1000
    }

    fn connected_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Follows whether it was killed.
    pub fn follow_kill(&self) -> watch::Receiver<Option<KillReason>> {
        self.kill.subscribe()
    }

    /// Its replica registration, once received.
    pub fn replica(&self) -> Option<Arc<Replica>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Replica>>> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a replica reported about itself with COM_REGISTER_SLAVE or when its dump started, and the
/// progress of its dump.
#[derive(Debug, Default)]
pub struct Replica {
    /// Its server_id; 0 for clients that only read the log.
    pub server_id: u32,
    /// Its server_uuid, if it reported one.
    pub server_uuid: Option<Uuid>,
    /// Its `report_host`; empty if it reported none.
    pub report_host: String,
    /// Its `report_port`.
    pub report_port: u16,
    /// Whether it has requested a semi-synchronous dump.
    pub is_semi_sync: bool,
    /// Whether its dump was requested with a GTID set (MySQL).
    pub by_gtid_set: bool,
    /// Whether its dump ends at the end of the log: a tool that reads the log once.
    pub reads_once: bool,
    /// The progress of its dump; zeros before it starts.
    pub progress: DumpProgress,
}

/// The progress of a dump. Written by its one task, read by status.
#[derive(Debug, Default)]
pub struct DumpProgress {
    /// Whether a dump is running.
    pub dumping: AtomicBool,
    /// Whether everything published has been sent, or the replica is not far from that.
    pub at_end: AtomicBool,
    /// Whether something published is not sent yet.
    is_sending: AtomicBool,
    /// Since when, in seconds since 1970, after everything was sent; 0 if it never was.
    left_end: AtomicU64,
    /// The log file, and the offset in it up to which everything was sent.
    coordinates: Mutex<(String, u64)>,
    /// The files that may not have been received.
    unreceived: Mutex<Unreceived>,
    /// Bytes sent, protocol headers included.
    pub bytes_sent: AtomicU64,
    /// The timestamp of the last event sent; 0 if none was sent.
    pub timestamp: AtomicU32,
    /// Acknowledgements received (semi-sync).
    pub acknowledgements: AtomicU64,
}

impl DumpProgress {
    /// The log file, and the offset in it up to which everything was sent.
    pub fn coordinates(&self) -> (String, u64) {
        self.lock_coordinates().clone()
    }

    /// Everything in `file` up to `position` was sent.
    pub fn set_coordinates(&self, file: &str, position: u64) {
        let mut coordinates = self.lock_coordinates();
        if coordinates.0 != file {
            file.clone_into(&mut coordinates.0);
        }
        coordinates.1 = position;
    }

    /// Something is about to be sent. The replica may not accept it.
    pub fn begin_sending(&self) {
        if !self.is_sending.swap(true, Relaxed) && self.at_end.load(Relaxed) {
            self.left_end.store(now_seconds(), Relaxed);
        }
    }

    /// Everything published was sent.
    pub fn reach_end(&self) {
        self.at_end.store(true, Relaxed);
        self.is_sending.store(false, Relaxed);
    }

    /// The replica has to catch up from now on.
    pub fn leave_end(&self) {
        self.begin_sending();
        self.at_end.store(false, Relaxed);
    }

    /// 0 when everything was sent; else the age of the last event sent, in seconds; `None` before the first one. After a pause without transactions
    /// that event is old, but the replica has been behind only since it was last at the end.
    fn seconds_behind(&self, now: u64) -> Option<u64> {
        if self.at_end.load(Relaxed) && !self.is_sending.load(Relaxed) {
            return Some(0);
        }
        let timestamp = u64::from(self.timestamp.load(Relaxed));
        let since = timestamp.max(self.left_end.load(Relaxed));
        (timestamp != 0).then(|| now.saturating_sub(since))
    }

    /// A dump begins on a connection, which may be compressed.
    pub fn begin_connection(&self, is_compressed: bool) {
        self.lock_unreceived().is_compressed = is_compressed;
    }

    /// The stream leaves log file `file`, of which `pending` bytes are not sent yet.
    pub fn leave_file(&self, file: u64, pending: u64) {
        let sent = self.bytes_sent.load(Relaxed) + pending;
        self.lock_unreceived().leave(file, sent, Instant::now());
    }

    /// The oldest log file that was sent, and may not have been received.
    pub fn oldest_unreceived(&self) -> Option<u64> {
        let sent = self.bytes_sent.load(Relaxed);
        self.lock_unreceived().oldest(sent, Instant::now())
    }

    fn lock_unreceived(&self) -> MutexGuard<'_, Unreceived> {
        self.unreceived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_coordinates(&self) -> MutexGuard<'_, (String, u64)> {
        self.coordinates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// All clients that have logged in.
#[derive(Debug)]
pub struct Replicas {
    clients: Mutex<BTreeMap<u32, Arc<Client>>>,
    /// The counters of SHOW STATUS.
    pub counters: Counters,
    since: Instant,
    /// What they have acknowledged (semi-sync).
    pub acknowledged: Arc<ReplicaAcknowledgements>,
}

/// Removes a client from the registry when its session ends.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Replicas>,
    /// The client.
    pub client: Arc<Client>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut clients = self.registry.lock();
        clients.remove(&self.client.id);
        self.registry.acknowledged.forget(self.client.id);
        self.registry.counters.note_end(&self.client.traffic);
    }
}

impl Replicas {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty registry.
    pub fn new(acknowledged: Arc<ReplicaAcknowledgements>) -> Self {
        Self {
            clients: Mutex::default(),
            counters: Counters::default(),
            since: Instant::now(),
            acknowledged,
        }
    }

    /// Seconds since the registry was created.
    pub fn uptime_seconds(&self) -> u64 {
        self.since.elapsed().as_secs()
    }

    /// Registers a client that has logged in. `encryption` is the version and cipher of its TLS.
    pub fn register(
        self: &Arc<Self>,
        id: u32,
        user: String,
        peer: Option<std::net::SocketAddr>,
        traffic: Arc<Traffic>,
        encryption: Option<String>,
    ) -> Registration {
        let client = Arc::new(Client {
            id,
            user,
            ip: peer.map(|peer| peer.ip()),
            port: peer.map_or(0, |peer| peer.port()),
            traffic,
            tls: encryption.unwrap_or_else(|| "none".to_owned()),
            since: Instant::now(),
            state_since: AtomicU64::new(0),
            is_executing: AtomicBool::new(false),
            kill: watch::Sender::new(None),
            replica: Mutex::new(None),
        });
        let mut clients = self.lock();
        clients.insert(id, client.clone());
        self.counters.note_clients(clients.len());
        drop(clients);
        Registration {
            registry: self.clone(),
            client,
        }
    }

    /// The clients, by connection id.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    /// Ends a client's session; false if there is no client with that id.
    pub fn kill(&self, id: u32) -> bool {
        match self.lock().get(&id) {
            Some(client) => {
                client.kill.send_replace(Some(KillReason::Killed));
                true
            }
            None => false,
        }
    }

    /// Ends the sessions of all replicas; they connect again by themselves.
    pub fn disconnect_replicas(&self) {
        let clients = self.clients();
        for client in clients.iter().filter(|client| client.replica().is_some()) {
            self.kill(client.id);
        }
    }

    /// Records that a client is this replica.
    pub fn set_replica(&self, client: &Client, replica: Replica) -> Arc<Replica> {
        let replica = Arc::new(replica);
        *client.lock() = Some(replica.clone());
        replica
    }

    /// Ends the older dumps of the same replica: it has reconnected before its old connection was
    /// found dead. MySQL identifies a replica by its server_uuid, or by its server_id if it has
    /// none; MariaDB by its server_id.
    pub fn end_older_dumps(&self, flavor: Flavor, client: &Client, replica: &Replica) {
        if replica.server_id == 0 {
            return;
        }
        for other in self.clients() {
            let Some(known) = other.replica().filter(|_| other.id != client.id) else {
                continue;
            };
            let is_same = match flavor {
                Flavor::MySql => {
                    known.server_uuid == replica.server_uuid
                        && (replica.server_uuid.is_some() || known.server_id == replica.server_id)
                }
                Flavor::MariaDb => known.server_id == replica.server_id,
            };
            if is_same && known.progress.dumping.load(Relaxed) {
                self.acknowledged.replace(other.id);
                other.kill.send_replace(Some(KillReason::SameReplica));
            }
        }
    }

    /// How many replicas have a running semi-synchronous dump.
    pub fn semi_sync_count(&self) -> usize {
        let clients = self.clients();
        let replicas = clients.iter().filter_map(|client| client.replica());
        replicas
            .filter(|replica| replica.is_semi_sync && replica.progress.dumping.load(Relaxed))
            .count()
    }

    /// The replicas with a running dump, by connection id.
    pub fn report(&self) -> Vec<ReplicaReport> {
        let clients = self.clients();
        let replicas = clients.iter().filter_map(|client| {
            let replica = client.replica()?;
            let dumping = replica.progress.dumping.load(Relaxed);
            dumping.then(|| report_of(client, &replica))
        });
        replicas.collect()
    }
}

fn report_of(client: &Client, replica: &Replica) -> ReplicaReport {
    let progress = &replica.progress;
    let seconds_behind = progress.seconds_behind(now_seconds());
    let is_near = seconds_behind.is_some_and(|seconds| seconds < STREAMING_SECONDS);
    let state = match is_near && progress.at_end.load(Relaxed) {
        true => ReplicaState::Streaming,
        false => ReplicaState::CatchingUp,
    };
    let (file, position) = progress.coordinates();
    let reads_once = replica.reads_once || replica.server_id == 0;
    ReplicaReport {
        server_id: replica.server_id,
        server_uuid: replica.server_uuid.map(|uuid| uuid.to_string()),
        host: match replica.report_host.as_str() {
            "" => client.host(),
            host => host.to_owned(),
        },
        user: client.user.clone(),
        state: state.name().to_owned(),
        file,
        position,
        seconds_behind: seconds_behind.filter(|_| !reads_once),
        bytes_behind: None,
        bytes_sent: progress.bytes_sent.load(Relaxed),
        connected_seconds: client.connected_seconds(),
        tls: Some(client.tls.clone()),
        semi_sync: replica.is_semi_sync,
        semi_sync_acks: progress.acknowledgements.load(Relaxed),
        last_seen: utc::seconds(SystemTime::now()),
        missing_seconds: None,
    }
}

/// Waits until a client is killed.
pub(super) async fn killed(kill: &mut watch::Receiver<Option<KillReason>>) {
    let _ = kill.wait_for(Option::is_some).await;
}

/// Seconds since 1970.
pub(super) fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
