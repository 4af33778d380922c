//! The recorded run.

use std::fs;
use std::sync::Mutex;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::super::anonymous::{insert, source};
use super::super::read_back::{events, transactions, without_position};
use super::super::*;
use crate::binlog::EventType;
use crate::binlog::event::{self, EventHeader};
use crate::binlog::query::Query;
use crate::data_file::crash_states::Random;
use crate::data_file::recorder::{Attached, Recorder, Step};
use crate::gtid::Gtid;
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

/// How transactions are identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    MySql,
    MariaDb,
    Anonymous,
}

impl Kind {
    fn flavor(self) -> Flavor {
        match self {
            Kind::MariaDb => Flavor::MariaDb,
            Kind::MySql | Kind::Anonymous => Flavor::MySql,
        }
    }
}

/// The error of an operation, whatever its type.
pub(super) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A transaction: the master on which it began, and its number there.
pub(super) type Key = (usize, u64);

/// What a master logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Transaction(Key),
    NextFile,
}

/// What the two masters log, each with copies of the other's transactions.
pub(super) struct Streams {
    pub(super) kind: Kind,
    pub(super) items: [Vec<Item>; 2],
    /// The position after each item.
    ends: [Vec<SourcePosition>; 2],
}

fn server_id(master: usize) -> u32 {
    80 + master as u32
}

/// The events of a transaction. Without GTIDs, two look alike.
fn events_of(kind: Kind, (master, number): Key) -> Vec<Vec<u8>> {
    let shape = match number % 7 {
        0 => Shape::Spilled,
        1 => Shape::Emptied,
        _ => Shape::Small,
    };
    if kind != Kind::Anonymous {
        let domain = if kind == Kind::MariaDb && master == 1 {
            "d"
        } else {
            ""
        };
        return group(kind.flavor(), server_id(master), number, domain, shape);
    }
    let mut group = insert(server_id(master), number as u32 / 2);
    for bytes in &mut group {
        let timestamp = 1_600_000_000 + number as u32 / 4;
        bytes[..4].copy_from_slice(&timestamp.to_le_bytes());
        event::write_checksum(bytes).unwrap();
    }
    group
}

/// What identifies the transaction in a log.
pub(super) fn name(kind: Kind, key: Key) -> String {
    let (master, number) = key;
    let identity = match kind {
        Kind::Anonymous => {
            let events = events_of(kind, key);
            let events: Vec<_> = events.iter().map(|event| without_position(event)).collect();
            return name_of(&events);
        }
        Kind::MySql => {
            let Gtid { sid, .. } = gtid((server_id(master) % 100) as u8, "", 1);
            Identity::MySql(Gtid { sid, gno: number })
        }
        Kind::MariaDb => Identity::MariaDb(crate::gtid::MariaDbGtid {
            domain_id: master as u32,
            server_id: server_id(master),
            seq_no: number,
        }),
    };
    format!("{identity:?}")
}

/// Without GTIDs: transactions with the same bytes have the same name.
fn name_of(events: &[Vec<u8>]) -> String {
    format!("{:08x}", crc32fast::hash(&events.concat()))
}

impl Streams {
    pub(super) fn new(kind: Kind, count: usize, random: &mut Random) -> Self {
        let mut items = [Vec::new(), Vec::new()];
        let (mut committed, mut applied) = ([0; 2], [0; 2]);
        while items.iter().any(|items| items.len() < count) {
            let master = random.below(2);
            let item = match random.below(20) {
                0 => Item::NextFile,
                1..11 => {
                    committed[master] += 1;
                    Item::Transaction((master, committed[master]))
                }
                _ if applied[master] < committed[1 - master] => {
                    applied[master] += 1;
                    Item::Transaction((1 - master, applied[master]))
                }
                _ => continue,
            };
            items[master].push(item);
        }
        let ends = [0, 1].map(|master| {
            let mut source = feeder(kind, master, &SourcePosition::default());
            let end = |item: &Item| match item {
                Item::NextFile => source.next_file().source_end.clone(),
                Item::Transaction(key) => {
                    source.deliver(&[events_of(kind, *key)]).source_end.clone()
                }
            };
            items[master].iter().map(end).collect()
        });
        Self { kind, items, ends }
    }

    /// The number of items up to a position.
    pub(super) fn index_after(&self, source: usize, position: &SourcePosition) -> usize {
        if position.is_unknown() {
            return 0;
        }
        let found = self.ends[source].iter().position(|end| end == position);
        found.map_or_else(
            || panic!("no transaction of m{source} ends at {position:?}"),
            |at| at + 1,
        )
    }
}

/// The transactions of the items.
pub(super) fn keys(items: &[Item]) -> impl Iterator<Item = Key> {
    items.iter().filter_map(|item| match item {
        Item::Transaction(key) => Some(*key),
        Item::NextFile => None,
    })
}

/// A source that continues at a position.
pub(super) fn feeder(kind: Kind, number: usize, at: &SourcePosition) -> TestSource {
    let mut feeder = match kind {
        Kind::Anonymous => source(number as u16),
        Kind::MySql | Kind::MariaDb => TestSource::new(number as u16, kind.flavor()),
    };
    if !at.is_unknown() {
        feeder.file = at.file.strip_prefix("bin.").unwrap().parse().unwrap();
        feeder.position = at.offset;
        feeder.assembler.start_file(at.file.clone(), at.offset);
    }
    feeder
}

/// Appends the items, without a commit.
pub(super) fn send(
    kind: Kind,
    log_thread: &mut LogThread,
    feeder: &mut TestSource,
    items: &[Item],
) -> Outcome {
    for part in items.chunk_by(|one, other| *one != Item::NextFile && *other != Item::NextFile) {
        if part[0] == Item::NextFile {
            let batch = feeder.next_file();
            log_thread.move_source(&batch)?;
            continue;
        }
        let groups: Vec<_> = keys(part).map(|key| events_of(kind, key)).collect();
        let batch = feeder.deliver(&groups);
        for transaction in &batch.transactions {
            log_thread.append(&batch, transaction)?;
        }
        batch.recycle();
    }
    Ok(())
}

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

/// A run that goes on.
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
        // The probe sees the published end for the last time.
        self.recorder.promised();
        *self.published.lock().unwrap() = None;
        self.log_thread = None;
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
            _ => self.log_thread().commit()?,
        }
        match random.below(self.rarity) {
            0..4 => self.purge(),
            4 => self.note_replica(random),
            5 => self.write_rescue(),
            6 => self.decide(),
            _ => Ok(()),
        }
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
        Ok(self.log_thread().continue_source(continuation, &counters)?)
    }
}
