//! The recorded run.

use std::fs;
use std::sync::Mutex;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::super::read_back::{events, transactions, without_position};
use super::super::*;
use super::streams::{Kind, Outcome, Streams, feeder, name_of, send};
use crate::binlog::EventType;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::query::Query;
use crate::data_file::crash_states::Random;
use crate::data_file::recorder::{Attached, Recorder, Step};
use crate::log_thread::followed_sources::CounterTable;
use crate::position::RelayLogPosition;
use crate::relay_log::held::LogPart;
use crate::relay_log::retention::known_replicas::seen;
use crate::relay_log::{bridge, purge};

/// Operations on files of a recorded run, at least.
const OPERATIONS_MIN: usize = 2_000;
/// Transactions and changes of files that each master logs.
const ITEMS: usize = 900;
/// Log files that are kept.
const FILES_KEPT: usize = 4;

/// A transaction in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) file: u64,
    pub(super) end: u64,
    pub(super) name: String,
    rest: Vec<Vec<u8>>,
}

/// A position in the log as a number.
pub(super) fn number(file: u64, offset: u64) -> u64 {
    file << 32 | offset
}

/// All transactions in the files of the log.
pub(super) fn entries(kind: Kind, options: &LogOptions) -> Vec<Entry> {
    if kind == Kind::Anonymous {
        let files = options.log_dir.read_list().unwrap().into_iter();
        return files
            .flat_map(|number| entries_without_gtids(options, number))
            .collect();
    }
    let found = transactions(&options.log_dir).into_iter();
    let entries = found.map(|found| Entry {
        file: found.file,
        end: found.end,
        name: format!("{:?}", found.identity),
        rest: found.rest,
    });
    entries.collect()
}

fn entries_without_gtids(options: &LogOptions, file: u64) -> Vec<Entry> {
    let bytes = fs::read(options.log_dir.log_path(file)).unwrap();
    let (mut found, mut open, mut end) = (Vec::new(), Vec::new(), 4);
    for event in events(&bytes) {
        end += event.len() as u64;
        let header = EventHeader::parse(&event).unwrap();
        if header.event_type != EventType::QUERY {
            continue;
        }
        open.push(without_position(&event));
        let query = Query::parse(header.event_type, event::body(&event, true)).unwrap();
        if query.statement == b"COMMIT" {
            let name = name_of(&open);
            let rest = std::mem::take(&mut open);
            found.push(Entry {
                file,
                end,
                name,
                rest,
            });
        }
    }
    assert!(
        open.is_empty(),
        "a transaction without an end in file {file}"
    );
    found
}

pub(super) fn options_in(dir: &Path) -> LogOptions {
    LogOptions {
        max_size: 2_500,
        reserve: 5_000,
        ..options(dir)
    }
}

/// Opens or creates the log as the relay does; returns each source's position.
pub(super) fn start(kind: Kind, options: &LogOptions) -> Outcome<(LogThread, [SourcePosition; 2])> {
    let log_dir = &options.log_dir;
    let Some(found) = recover(log_dir, &options.source_names)? else {
        let (format, executed) = match kind {
            Kind::Anonymous => (make::mysql56_format(Checksum::Crc32), Executed::Anonymous),
            Kind::MySql | Kind::MariaDb => (format(kind.flavor()), Executed::empty(kind.flavor())),
        };
        let log_thread = LogThread::create(options.clone(), &format, executed, Vec::new())?;
        return Ok((log_thread, Default::default()));
    };
    purge::delete_leftovers(log_dir, &found.files, found.log_id)?;
    bridge::remove_useless(log_dir, &found.files)?;
    let positions = ["m0", "m1"].map(|name| {
        let progress = found.sources.get(name);
        progress
            .map(|progress| progress.position.clone())
            .unwrap_or_default()
    });
    Ok((LogThread::resume(options.clone(), found)?, positions))
}

/// What was done, and what the log was.
pub(super) struct Recorded {
    pub(super) streams: Streams,
    pub(super) steps: Vec<Step>,
    pub(super) operations: usize,
    /// The number of the newest log file.
    pub(super) files: u64,
    /// The log before each restart and at the end, with the number of steps up to then.
    logs: Vec<(usize, Vec<Entry>)>,
    /// Removals: the number of steps before each, and the first file that was to be kept.
    pub(super) purges: Vec<(usize, u64)>,
}

impl Recorded {
    /// The log of which a part may be there after so many steps.
    pub(super) fn log_at(&self, steps: usize) -> &[Entry] {
        let found = self.logs.iter().find(|(until, _)| steps <= *until);
        &found.expect("the last one is that of the end").1
    }
}

/// A run that is being recorded.
pub(super) struct Run {
    pub(super) streams: Streams,
    pub(super) options: LogOptions,
    pub(super) recorder: Arc<Recorder>,
    _attached: Attached,
    /// The log whose published end is what was promised.
    published: Arc<Mutex<Option<Arc<RelayLog>>>>,
    /// One of so many steps is something rare.
    rarity: usize,
    log_thread: Option<LogThread>,
    feeders: [TestSource; 2],
    next: [usize; 2],
    log: Vec<Entry>,
    /// The log at each end so far, with the number of steps up to then.
    pub(super) logs: Vec<(usize, Vec<Entry>)>,
    pub(super) purges: Vec<(usize, u64)>,
    _dir: tempfile::TempDir,
}

/// Runs until there were enough operations.
pub(super) fn record(kind: Kind, random: &mut Random) -> Recorded {
    let mut run = Run::new(Streams::new(kind, ITEMS, random), 40);
    run.open().unwrap();
    while run.recorder.operations() < OPERATIONS_MIN {
        run.step(random).unwrap();
    }
    run.close().unwrap();
    Recorded {
        operations: run.recorder.operations(),
        steps: run.recorder.steps(),
        files: run.options.log_dir.read_list().unwrap().pop().unwrap(),
        streams: run.streams,
        logs: run.logs,
        purges: run.purges,
    }
}

impl Run {
    pub(super) fn new(streams: Streams, rarity: usize) -> Self {
        let dir = fast_dir();
        let (recorder, attached) = Recorder::attach(dir.path());
        let published = Arc::new(Mutex::new(None::<Arc<RelayLog>>));
        let (probed, newest) = (published.clone(), Mutex::new(0));
        recorder.set_probe(move || {
            let end = probed.lock().unwrap().as_ref().map(|log| log.published());
            let mut newest = newest.lock().unwrap();
            *newest = end.map_or(*newest, |end| number(end.file, end.offset));
            *newest
        });
        let none = SourcePosition::default();
        Self {
            feeders: [
                feeder(streams.kind, 0, &none),
                feeder(streams.kind, 1, &none),
            ],
            streams,
            next: [0; 2],
            options: options_in(dir.path()),
            recorder,
            _attached: attached,
            published,
            rarity,
            log_thread: None,
            log: Vec::new(),
            logs: Vec::new(),
            purges: vec![(0, 1)],
            _dir: dir,
        }
    }

    pub(super) fn open(&mut self) -> Outcome {
        let (log_thread, positions) = start(self.streams.kind, &self.options)?;
        *self.published.lock().unwrap() = Some(log_thread.log().clone());
        self.log_thread = Some(log_thread);
        for (source, position) in positions.iter().enumerate() {
            self.feeders[source] = feeder(self.streams.kind, source, position);
            self.next[source] = self.streams.index_after(source, position);
        }
        self.collect();
        Ok(())
    }

    /// Ends the log thread.
    pub(super) fn stop(&mut self) {
        self.log_thread = None;
        // The probe sees the published end for the last time.
        self.recorder.promised();
        *self.published.lock().unwrap() = None;
    }

    fn end(&mut self) {
        self.stop();
        self.collect();
        self.logs.push((self.recorder.len(), self.log.clone()));
    }

    pub(super) fn close(&mut self) -> Outcome {
        self.log_thread().close()?;
        self.end();
        Ok(())
    }

    /// Notes what is in the files now.
    fn collect(&mut self) {
        let first = self.options.log_dir.read_list().unwrap().first().copied();
        let Some(first) = first else {
            return;
        };
        self.log.retain(|entry| entry.file < first);
        self.log.extend(entries(self.streams.kind, &self.options));
    }

    fn log_thread(&mut self) -> &mut LogThread {
        self.log_thread.as_mut().unwrap()
    }

    pub(super) fn step(&mut self, random: &mut Random) -> Outcome {
        for _ in 0..=random.below(3) {
            self.receive(random.below(2), 1 + random.below(3))?;
        }
        match random.below(self.rarity + self.rarity / 2) {
            0 => {
                // Without a commit of what was received last.
                self.end();
                return self.open();
            }
            1 => {
                self.close()?;
                return self.open();
            }
            2 => self.log_thread().commit()?,
            // The next ones are written while the group is synced.
            _ => self.begin_commit()?,
        }
        match random.below(self.rarity) {
            0..4 => self.purge(),
            4 => self.note_replica(random),
            5 => self.write_rescue(),
            6 => self.decide(),
            _ => Ok(()),
        }
    }

    fn begin_commit(&mut self) -> Outcome {
        Ok(self.log_thread().begin_commit(&CounterTable::default())?)
    }

    fn receive(&mut self, source: usize, count: usize) -> Outcome {
        let from = self.next[source];
        let end = (from + count).min(self.streams.items[source].len());
        self.next[source] = end;
        let items = &self.streams.items[source][from..end];
        let log_thread = self.log_thread.as_mut().unwrap();
        send(
            self.streams.kind,
            log_thread,
            &mut self.feeders[source],
            items,
        )
    }

    fn purge(&mut self) -> Outcome {
        self.collect();
        let log = self.log_thread().log().clone();
        let files = log.state().files.clone();
        let Some(at) = files.len().checked_sub(FILES_KEPT) else {
            return Ok(());
        };
        self.purges.push((self.recorder.len(), files[at]));
        // If it fails, it is attempted again later, and the log continues.
        let _ = purge::purge_to(&log, files[at], SystemTime::now());
        Ok(self.log_thread().serve_requests()?)
    }

    fn note_replica(&mut self, random: &mut Random) -> Outcome {
        let log = self.log_thread().log().clone();
        let file = log.published().file;
        let id = 11 + random.below(3) as u32;
        let end = RelayLogPosition { file, offset: 4 };
        let replicas = &log.retention().replicas;
        replicas.note(seen(id, None, ("h".to_owned(), "u".to_owned()), end));
        let _ = replicas.save();
        // It needs no file.
        replicas.forget(id, &[]);
        Ok(())
    }

    fn write_rescue(&mut self) -> Outcome {
        let log = self.log_thread().log().clone();
        let (part, state) = LogPart::published(&log);
        let _ = bridge::write_rescue(&part, OWN, &state.executed, &|logged| !logged.emptied);
        Ok(())
    }

    /// An administrator continues a source where it is.
    fn decide(&mut self) -> Outcome {
        if self.streams.kind != Kind::MySql {
            return Ok(());
        }
        let counters: Vec<Arc<SourceCounters>> = (0..SOURCES).map(|_| Arc::default()).collect();
        let progress = self.log_thread().log().state().sources[0].clone();
        let continuation = Continuation {
            path: 0,
            source: 0,
            progress,
            new_history: false,
            change: DeliveredChange::None,
            done: oneshot::channel().0,
        };
        let counters = CounterTable::new(&counters);
        Ok(self.log_thread().continue_source(continuation, &counters)?)
    }
}
