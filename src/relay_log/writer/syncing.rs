//! The last steps of a group: it is made durable, then published, while the next one is written.
//!
//! ```text
//! log thread    write 1 ─▶ write 2 ──▶ write 3 ──▶ …
//! relay-sync           └─▶ sync 1, mark 1, publish 1 ─▶ sync 2 and 3, mark 3, publish 3 ─▶ …
//! ```
//!
//! What makes this as safe as one thread that does all of it in turn:
//!
//! 1. A group is handed over after its bytes and records were written, and a sync covers what was written before it
//!    began: the sync of a group covers the whole group. That it may cover a part of the next one, too, proves nothing
//!    about that part, and is not used.
//! 2. [`Publisher::complete`] is the only way to publish what is not on disk yet under `sync = "commit"`. It syncs both
//!    files, then writes the durable mark, then publishes, then counts the batches (which are acknowledged to their
//!    sources then); an error ends it before the next step.
//! 3. One thread at a time is in it: the sync thread, or the log thread while nothing is handed over. So groups are
//!    published in their order, and none before an earlier one.
//! 4. After an error nothing is published any more: the sync thread ends, and the log thread gets the error before it
//!    writes the next group. What was written meanwhile is never served; recovery reads what is really there.
//! 5. A file is changed (rotation) or closed when nothing is handed over.
//!
//! Groups that are handed over while another one is synced are made durable together. Their bytes are bounded
//! ([`UNSYNCED_LEN_MAX`]); beyond that the log thread waits.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::sources::Sources;
use super::tail::{Disk, SyncedFile};
use crate::gtid::Uuid;
use crate::identity::Identity;
use crate::position::RelayLogPosition;
use crate::relay_log::batch_count::BatchCount;
use crate::relay_log::durable_mark::{Durable, DurableMark};
use crate::relay_log::error::LogError;
use crate::relay_log::published::SourceProgress;

/// The most bytes of the log that are written and not synced yet, before the log thread waits.
const UNSYNCED_LEN_MAX: u64 = 16 * 1024 * 1024;
/// Identities for which memory is kept from one group to the next.
const IDENTITIES_KEPT: usize = 16 * 1024;

/// A log file and its index, to be synced.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) number: u64,
    pub(super) log: SyncedFile,
    pub(super) index: SyncedFile,
}

/// What is known to be on disk of the newest file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OnDisk {
    /// Bytes of the log file.
    pub(super) log: u64,
    /// Records of its index, the header included.
    pub(super) records: u64,
}

/// Transactions and records that were written and are not published yet.
#[derive(Debug)]
pub(super) struct Group {
    files: Arc<Files>,
    /// The lengths of the files with it.
    end: OnDisk,
    /// Identities appended since the last publication.
    identities: Vec<Identity>,
    /// Each source's progress with it, by number.
    sources: Vec<SourceProgress>,
    batches: Vec<BatchCount>,
}

impl Group {
    pub(super) fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            end: OnDisk { log: 0, records: 0 },
            identities: Vec::new(),
            sources: Vec::new(),
            batches: Vec::new(),
        }
    }

    /// A transaction was appended.
    pub(super) fn push(&mut self, identity: Identity) {
        self.identities.push(identity);
    }

    /// Everything that was appended is written; `batches` says how much was taken of each source.
    pub(super) fn end(
        &mut self,
        (files, end): (&Arc<Files>, OnDisk),
        sources: &Sources,
        batches: impl Iterator<Item = BatchCount>,
    ) {
        if !Arc::ptr_eq(&self.files, files) {
            self.files = files.clone();
        }
        self.end = end;
        sources.clone_to(&mut self.sources);
        self.batches.clear();
        self.batches.extend(batches);
    }

    /// Takes over what `next` has, which follows.
    fn extend(&mut self, next: &mut Group) {
        self.files = next.files.clone();
        self.end = next.end;
        self.identities.append(&mut next.identities);
        next.identities.shrink_to(IDENTITIES_KEPT);
        std::mem::swap(&mut self.sources, &mut next.sources);
        // A commit of the log's own says nothing about batches.
        if !next.batches.is_empty() {
            std::mem::swap(&mut self.batches, &mut next.batches);
            next.batches.clear();
        }
    }
}

/// Makes groups durable and publishes them.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) disk: Disk,
    pub(super) mark: DurableMark,
    pub(super) log_id: Uuid,
}

impl Publisher {
    /// The steps of a group, in their order. `sync` syncs its files.
    fn complete(
        &self,
        group: &mut Group,
        sync: impl FnOnce(&Files) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let began = Instant::now();
        sync(&group.files)?;
        self.disk.log.timings().commit_sync.record(began.elapsed());
        self.write_mark(group.files.number, group.end)?;
        self.publish(group);
        self.disk.log.note_durable();
        // The memory is used again: a later group without batches of its own must not have these.
        for count in group.batches.drain(..) {
            count.note_durable();
        }
        Ok(())
    }

    /// Writes the durable mark, before the data that it describes is published.
    pub(super) fn write_mark(&self, file: u64, end: OnDisk) -> Result<(), LogError> {
        let durable = self.durable(file, end);
        self.disk.write_with_reserve(|| self.mark.write(&durable))
    }

    /// Writes the durable mark, durably, without waiting for disk space.
    pub(super) fn begin_mark(&self, file: u64, end: OnDisk) -> Result<(), LogError> {
        self.mark.write(&self.durable(file, end))?;
        self.mark.sync()
    }

    fn durable(&self, file: u64, end: OnDisk) -> Durable {
        Durable {
            log_id: self.log_id,
            file,
            log: end.log,
            records: end.records as u32,
        }
    }

    /// Publishes a group that may be served under the `sync` policy.
    pub(super) fn publish(&self, group: &mut Group) {
        let end = RelayLogPosition {
            file: group.files.number,
            offset: group.end.log,
        };
        let (identities, sources) = (&mut group.identities, &mut group.sources);
        self.disk.log.publish(end, |state| {
            for identity in identities.drain(..) {
                state.executed.deliver(&identity);
            }
            // What was published before is overwritten with the next group, in its memory.
            std::mem::swap(&mut state.sources, sources);
            if state.files.last() != Some(&end.file) {
                state.files.push(end.file);
            }
        });
        group.identities.shrink_to(IDENTITIES_KEPT);
        group.batches.iter().for_each(BatchCount::note_committed);
    }
}

/// What the two threads share.
#[derive(Debug)]
struct Shared {
    publisher: Arc<Publisher>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What is handed over, if `is_waiting`.
    next: Group,
    is_waiting: bool,
    /// Whether the sync thread is completing a group.
    is_busy: bool,
    /// Of the file of the newest group.
    on_disk: OnDisk,
    /// How long the newest group took, on either thread.
    took: Duration,
    failure: Option<LogError>,
    /// Whether the sync thread has ended, or is to end once nothing is handed over.
    is_ending: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_while(state, condition);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// The sync thread: completes what is handed over, until it is to end, or a group fails.
    fn run(&self, first: Group) {
        let mut current = first;
        let index = IndexSync::start();
        loop {
            crate::fault::inject("log_sync");
            let mut state = self.wait(self.lock(), |state| !state.is_waiting && !state.is_ending);
            if !state.is_waiting {
                return;
            }
            std::mem::swap(&mut state.next, &mut current);
            (state.is_waiting, state.is_busy) = (false, true);
            drop(state);
            self.changed.notify_all();
            let began = Instant::now();
            let outcome = self
                .publisher
                .complete(&mut current, |files| index.sync_both(files));
            let mut state = self.lock();
            state.is_busy = false;
            state.took = began.elapsed();
            let has_failed = outcome.is_err();
            match outcome {
                Ok(()) => state.on_disk = current.end,
                Err(error) => state.failure = Some(error),
            }
            drop(state);
            self.changed.notify_all();
            if has_failed {
                return;
            }
        }
    }
}

/// Says that the sync thread has ended, even by a panic.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        (state.is_ending, state.is_busy) = (true, false);
        drop(state);
        self.0.changed.notify_all();
    }
}

/// A thread that syncs the index while the sync thread syncs the log file: many disks do both in the time of one.
#[derive(Debug)]
struct IndexSync {
    requests: Option<SyncSender<SyncedFile>>,
    outcomes: Receiver<Result<(), LogError>>,
}

impl IndexSync {
    /// Without the thread, if there can be none, the files are synced in turn.
    fn start() -> Self {
        let (requests, requested) = sync_channel::<SyncedFile>(1);
        let (outcome, outcomes) = sync_channel(1);
        let syncing = move || {
            while let Ok(file) = requested.recv() {
                if outcome.send(file.sync()).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("relay-sync-idx".to_owned());
        let requests = thread.spawn(syncing).is_ok().then_some(requests);
        Self { requests, outcomes }
    }

    /// Both files are on disk after it. Neither needs the other one to be there first: recovery finds up to where both
    /// are good, because an operating system writes them back in any order.
    fn sync_both(&self, files: &Files) -> Result<(), LogError> {
        let requested = self.requests.as_ref();
        let requested =
            requested.is_some_and(|requests| requests.send(files.index.clone()).is_ok());
        let log = files.log.sync();
        let index = match requested.then(|| self.outcomes.recv()) {
            Some(Ok(outcome)) => outcome,
            // Whether that thread has synced it is unknown, so that its end is no success.
            Some(Err(_)) => Err(LogError::Internal {
                path: files.index.path.clone(),
                what: "the thread that syncs it has ended".to_owned(),
            }),
            None => files.index.sync(),
        };
        log.and(index)
    }
}

/// The log thread's side: hands groups over.
#[derive(Debug)]
pub(super) struct Syncing {
    publisher: Arc<Publisher>,
    /// `None` after a failure.
    thread: Option<(Arc<Shared>, JoinHandle<()>)>,
    on_disk: OnDisk,
    /// See [`super::LogOptions::hand_over_min`].
    hand_over_min: Duration,
    has_failed: bool,
}

impl Syncing {
    /// Starts the sync thread. `on_disk` is what is known to be on disk of `files`.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(super) fn start(
        publisher: Publisher,
        (files, on_disk): (&Arc<Files>, OnDisk),
        hand_over_min: Duration,
    ) -> Result<Self, LogError> {
        let publisher = Arc::new(publisher);
        let state = State {
            next: Group::new(files.clone()),
            is_waiting: false,
            is_busy: false,
            on_disk,
            took: Duration::ZERO,
            failure: None,
            is_ending: false,
        };
        let shared = Arc::new(Shared {
            publisher: publisher.clone(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let (own, first) = (shared.clone(), Group::new(files.clone()));
        let run = move || {
            let _ending = Ending(&own);
            own.run(first);
        };
        let thread = thread::Builder::new().name("relay-sync".to_owned());
        let thread = thread
            .spawn(run)
            .map_err(|cause| LogError::io("start the thread that syncs", &files.log.path, cause))?;
        Ok(Self {
            publisher,
            thread: Some((shared, thread)),
            on_disk,
            hand_over_min,
            has_failed: false,
        })
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// What is known to be on disk of the newest file: at most what really is.
    pub(super) fn on_disk(&self) -> OnDisk {
        self.on_disk
    }

    /// The log thread has synced the newest file, while nothing was handed over.
    pub(super) fn set_on_disk(&mut self, on_disk: OnDisk) {
        self.on_disk = on_disk;
        if let Some((shared, _)) = &self.thread {
            shared.lock().on_disk = on_disk;
        }
    }

    /// Completes `group`, which was written, or has it completed. It is empty then.
    ///
    /// # Errors
    /// When this group or one before it failed.
    pub(super) fn complete(&mut self, group: &mut Group) -> Result<(), LogError> {
        self.check()?;
        let Some((shared, _)) = &self.thread else {
            return Ok(()); // It has failed, which the check has found.
        };
        let mut state = shared.lock();
        let is_idle = !state.is_waiting && !state.is_busy;
        if is_idle && state.took < self.hand_over_min {
            drop(state);
            return self.complete_here(group);
        }
        state.next.extend(group);
        state.is_waiting = true;
        drop(state);
        shared.changed.notify_all();
        let unsynced = |state: &State| state.next.end.log.saturating_sub(state.on_disk.log);
        let state = shared.wait(shared.lock(), |state| {
            state.is_waiting && !state.is_ending && unsynced(state) > UNSYNCED_LEN_MAX
        });
        drop(state);
        self.check()
    }

    fn complete_here(&mut self, group: &mut Group) -> Result<(), LogError> {
        let began = Instant::now();
        let completed = self.publisher.complete(group, |files| {
            files.log.sync()?;
            files.index.sync()
        });
        self.has_failed = completed.is_err();
        completed?;
        self.on_disk = group.end;
        if let Some((shared, _)) = &self.thread {
            let mut state = shared.lock();
            (state.on_disk, state.took) = (group.end, began.elapsed());
        }
        Ok(())
    }

    /// Waits until nothing is handed over.
    ///
    /// # Errors
    /// When a group failed.
    pub(super) fn finish(&mut self) -> Result<(), LogError> {
        if let Some((shared, _)) = &self.thread {
            drop(shared.wait(shared.lock(), |state| {
                (state.is_waiting || state.is_busy) && !state.is_ending
            }));
        }
        self.check()
    }

    /// Whether nothing is handed over, as far as is known.
    pub(super) fn is_idle(&self) -> bool {
        self.thread.as_ref().is_none_or(|(shared, _)| {
            let state = shared.lock();
            !state.is_waiting && !state.is_busy
        })
    }

    /// Takes over what the sync thread has found.
    ///
    /// # Errors
    /// When a group failed.
    pub(super) fn check(&mut self) -> Result<(), LogError> {
        let mut failure = None;
        if let Some((shared, _)) = &self.thread {
            let mut state = shared.lock();
            self.on_disk = state.on_disk;
            self.has_failed |= state.is_ending || state.failure.is_some();
            failure = state.failure.take();
        }
        if !self.has_failed {
            return Ok(());
        }
        self.end();
        Err(failure.unwrap_or_else(|| LogError::Internal {
            path: self.publisher.disk.log.log_dir().list_path(),
            what: "nothing is published any more: an earlier sync has failed".to_owned(),
        }))
    }

    /// Ends the sync thread once nothing is handed over. If it has panicked, this thread does, too. A log thread that
    /// panics does not wait, as the disk may hang: only the sync thread completes what was handed over then.
    fn end(&mut self) {
        let Some((shared, thread)) = self.thread.take() else {
            return;
        };
        shared.lock().is_ending = true;
        shared.changed.notify_all();
        let joined = (!thread::panicking()).then(|| thread.join());
        if let Some(Err(panic)) = joined {
            resume_unwind(panic);
        }
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        self.end();
    }
}
