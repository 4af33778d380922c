//! The replicas that were ever connected, in a file of their own: which files they still need.
//!
//! `relay-bin.replicas` has one JSON object per line, and is replaced as a whole. A replica is known by its
//! server_id and its server_uuid, if it has one. What it was sent is recorded, not what it has executed. After a
//! crash the file may be older: then a replica seems to need more.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::policy::{Need, NeedKind};
use crate::atomic_file;
use crate::position::RelayLogPosition;

/// It contains names of hosts and accounts.
const MODE: u32 = 0o640;
/// The most replicas. The one that was not seen for the longest time is forgotten for a new one.
const REPLICAS_MAX: usize = 4096;
/// How old the times in the file may be while nothing else changes, in seconds.
const SAVE_SECONDS: u64 = 60;

/// A replica that was connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownReplica {
    /// Its server_id.
    pub server_id: u32,
    /// Its server_uuid; null on MariaDB.
    pub server_uuid: Option<String>,
    /// Its `report_host`, or the address that it connected from.
    pub host: String,
    /// Its account.
    pub user: String,
    /// The number of the log file up to which it was sent the log.
    pub file: u64,
    /// The offset in it.
    pub position: u64,
    /// When it was last connected, in seconds since 1970.
    pub last_seen: u64,
}

impl KnownReplica {
    /// Whether it was connected within `time` before `now`; also if the clock was set back since.
    pub fn was_seen_within(&self, now: SystemTime, time: Duration) -> bool {
        self.seconds_away(now) < time.as_secs()
    }

    /// Seconds since it was last connected; 0 if the clock was set back since.
    pub fn seconds_away(&self, now: SystemTime) -> u64 {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_secs().saturating_sub(self.last_seen)
    }

    /// When it was last connected.
    pub fn last_seen_at(&self) -> SystemTime {
        let since = Duration::from_secs(self.last_seen);
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    }

    /// Whether it is the replica with this server_id and server_uuid.
    pub fn has_identity(&self, server_id: u32, server_uuid: Option<&str>) -> bool {
        self.server_id == server_id && self.server_uuid.as_deref() == server_uuid
    }

    fn is_same(&self, other: &KnownReplica) -> bool {
        self.has_identity(other.server_id, other.server_uuid.as_deref())
    }
}

/// All replicas that were connected and not forgotten.
#[derive(Debug)]
pub struct KnownReplicas {
    path: PathBuf,
    /// When the relay was started: before that, no replica could connect.
    opened: SystemTime,
    table: Mutex<Table>,
    /// Held while the file is written. Tasks wait for the table, which therefore is not locked then.
    saving: Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    replicas: Vec<KnownReplica>,
    /// As they are in the file.
    saved: Vec<KnownReplica>,
}

/// Whether the file must be written before `last_seen` is [`SAVE_SECONDS`] old.
fn differs(one: &KnownReplica, saved: &KnownReplica) -> bool {
    let late = one.last_seen.saturating_sub(saved.last_seen) >= SAVE_SECONDS;
    one.file != saved.file || one.host != saved.host || one.user != saved.user || late
}

impl Table {
    fn is_dirty(&self) -> bool {
        self.replicas.len() != self.saved.len()
            || self
                .replicas
                .iter()
                .zip(&self.saved)
                .any(|(one, saved)| !one.is_same(saved) || differs(one, saved))
    }
}

impl KnownReplicas {
    /// Reads the file. Lines that cannot be read are reported and dropped.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut replicas = Vec::new();
        for line in String::from_utf8_lossy(&text).lines().take(REPLICAS_MAX) {
            match serde_json::from_str::<KnownReplica>(line) {
                Ok(replica) => replicas.push(replica),
                Err(error) => tracing::warn!(
                    "{}: a replica is forgotten, because its line cannot be read: {error}",
                    path.display()
                ),
            }
        }
        let saved = replicas.clone();
        let table = Mutex::new(Table { replicas, saved });
        Ok(Self {
            path,
            opened: SystemTime::now(),
            table,
            saving: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub fn list(&self) -> Vec<KnownReplica> {
        self.lock().replicas.clone()
    }

    /// Records up to where a replica was sent the log.
    pub fn note(&self, replica: KnownReplica) {
        let mut table = self.lock();
        let known = table
            .replicas
            .iter_mut()
            .find(|known| known.is_same(&replica));
        if let Some(known) = known {
            *known = replica;
            return;
        }
        if table.replicas.len() >= REPLICAS_MAX {
            let by_age = table.replicas.iter().enumerate();
            let oldest = by_age.min_by_key(|(_, known)| known.last_seen);
            if let Some(at) = oldest.map(|(at, _)| at) {
                table.replicas.remove(at);
            }
        }
        table.replicas.push(replica);
    }

    /// Forgets the replicas with this server_id that are not `connected`, and returns them: they keep no files any
    /// more. `connected` has the server_uuid of each connected one. [`KnownReplicas::save`] must follow.
    pub fn forget(&self, server_id: u32, connected: &[Option<String>]) -> Vec<KnownReplica> {
        let mut table = self.lock();
        let is_forgotten = |known: &mut KnownReplica| {
            known.server_id == server_id && !connected.contains(&known.server_uuid)
        };
        table.replicas.extract_if(.., is_forgotten).collect()
    }

    /// Writes the file, if it differs by more than the time at which replicas were last seen. It blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self) -> io::Result<()> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let replicas = {
            let table = self.lock();
            if !table.is_dirty() {
                return Ok(());
            }
            table.replicas.clone()
        };
        let mut text = Vec::new();
        for replica in &replicas {
            serde_json::to_writer(&mut text, replica)?;
            text.push(b'\n');
        }
        let replaced = atomic_file::replace(&self.path, &text, MODE);
        replaced.map_err(|error| io::Error::new(error.cause.kind(), error.to_string()))?;
        self.lock().saved = replicas;
        Ok(())
    }

    /// What those need that were seen within `keep`. Until the relay has run for so long, those are all: they could
    /// not connect while it was stopped.
    pub(super) fn needs(&self, now: SystemTime, keep: Duration) -> Vec<Need> {
        let table = self.lock();
        let running = now.duration_since(self.opened).unwrap_or_default();
        let is_kept =
            |replica: &&KnownReplica| running < keep || replica.was_seen_within(now, keep);
        let needs = table.replicas.iter().filter(is_kept).map(|replica| Need {
            file: replica.file,
            kind: NeedKind::Replica,
            who: format!(
                "replica {} ({}), last seen {} s ago",
                replica.server_id,
                replica.host,
                replica.seconds_away(now)
            ),
        });
        needs.collect()
    }
}

/// The record of a replica now, at `end`.
pub fn seen(
    server_id: u32,
    server_uuid: Option<String>,
    (host, user): (String, String),
    end: RelayLogPosition,
) -> KnownReplica {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    KnownReplica {
        server_id,
        server_uuid,
        host,
        user,
        file: end.file,
        position: end.offset,
        last_seen: since.unwrap_or_default().as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(server_id: u32, uuid: &str, file: u64) -> KnownReplica {
        KnownReplica {
            server_id,
            server_uuid: (!uuid.is_empty()).then(|| uuid.to_owned()),
            host: "a\n\"b".to_owned(),
            user: "repl".to_owned(),
            file,
            position: 4,
            last_seen: 1_000,
        }
    }

    #[test]
    fn replicas_survive_a_restart_and_are_known_by_both_ids() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay-bin.replicas");
        let known = KnownReplicas::open(path.clone()).unwrap();
        for one in [
            replica(1, "", 3),
            replica(2, "u", 4),
            replica(2, "v", 5),
            replica(2, "u", 6),
        ] {
            known.note(one);
        }
        known.save().unwrap();
        let again = KnownReplicas::open(path.clone()).unwrap();
        assert_eq!(again.list(), known.list());
        assert_eq!(again.list().len(), 3);
        let connected = [Some("u".to_owned())];
        assert_eq!(again.forget(2, &connected), [replica(2, "v", 5)]);
        assert_eq!(again.forget(2, &[]), [replica(2, "u", 6)]);
        assert_eq!(again.forget(2, &[]), []);
        again.save().unwrap();
        assert_eq!(
            KnownReplicas::open(path).unwrap().list(),
            [replica(1, "", 3)]
        );
    }

    #[test]
    fn needs_end_after_the_time_for_which_they_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut known = KnownReplicas::open(dir.path().join("x")).unwrap();
        known.opened = at(0);
        known.note(replica(1, "", 3));
        let files = |seconds| -> Vec<u64> {
            let needs = known.needs(at(seconds), Duration::from_secs(100));
            needs.iter().map(|need| need.file).collect()
        };
        assert_eq!(files(1_099), [3]);
        assert_eq!(files(1_100), [0u64; 0]);
        // A clock that was set back keeps more.
        assert_eq!(files(1), [3]);
    }

    /// After a long downtime, replicas must be able to connect before what they need is removed.
    #[test]
    fn needs_are_kept_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut known = KnownReplicas::open(dir.path().join("x")).unwrap();
        known.opened = at(50_000);
        known.note(replica(1, "", 3));
        let count = |seconds| known.needs(at(seconds), Duration::from_secs(100)).len();
        assert_eq!([count(50_000), count(50_099), count(50_100)], [1, 1, 0]);
    }

    #[test]
    fn damaged_lines_are_dropped_and_others_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay-bin.replicas");
        let line = serde_json::to_string(&replica(7, "", 9)).unwrap();
        std::fs::write(&path, format!("{{\"server_id\":1}}\n{line}\n\u{0}\n")).unwrap();
        assert_eq!(
            KnownReplicas::open(path).unwrap().list(),
            [replica(7, "", 9)]
        );
    }

    /// A slow disk must not stop the tasks that serve replicas.
    #[test]
    fn table_can_be_used_while_the_file_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownReplicas::open(dir.path().join("relay-bin.replicas")).unwrap();
        known.note(replica(1, "", 3));
        let writing = known.saving.lock().unwrap();
        std::thread::scope(|scope| {
            let saving = scope.spawn(|| known.save());
            known.note(replica(2, "", 3));
            assert_eq!(known.list().len(), 2);
            drop(writing);
            saving.join().unwrap().unwrap();
        });
        known.save().unwrap();
        assert!(!known.lock().is_dirty());
    }

    /// Positions within one file and times alone are not worth a sync.
    #[test]
    fn file_is_written_when_a_need_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relay-bin.replicas");
        let known = KnownReplicas::open(path.clone()).unwrap();
        let mut one = replica(1, "", 3);
        let mut writes = |change: &dyn Fn(&mut KnownReplica)| {
            change(&mut one);
            known.note(one.clone());
            let _ = std::fs::remove_file(&path);
            known.save().unwrap();
            path.exists()
        };
        assert!(writes(&|_| {}));
        assert!(!writes(&|one| one.position = 99));
        assert!(!writes(&|one| one.last_seen += 59));
        assert!(writes(&|one| one.last_seen += 1));
        assert!(writes(&|one| one.file += 1));
    }
}
