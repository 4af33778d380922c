//! The merged log as a whole: after any stop, each appended transaction is there once, in order.

mod anonymous;
mod bridges;
mod copies;
mod crash;
mod damaged_index;
mod decisions;
mod disk;
mod every_crash;
mod executed_again;
mod followed_sources;
mod forced_removal;
mod formats;
mod large_events;
mod limits;
mod mark;
mod model;
mod overlap;
mod read_back;
mod retention;
mod retention_model;
mod temporary_tables;
mod unverified;
mod xa;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::binlog::FormatDescription;
use crate::binlog::format_description::Checksum;
use crate::config::SyncPolicy;
use crate::flavor::Flavor;
use crate::identity::{Executed, Identity};
use crate::merge::Decision;
use crate::position::SourcePosition;
use crate::relay_log::recover::{Recovered, recover};
use crate::relay_log::{LogDir, LogOptions, SourceProgress, reader};

use crate::transaction::test_events::{self as make, clock, gtid};
use crate::transaction::{Assembler, AssemblerOptions, TransactionBatch};

/// The relay's own server_id.
const OWN: u32 = 900;
const SOURCES: usize = 3;
const SPILL_SIZE: usize = 2000;

fn format(flavor: Flavor) -> Arc<FormatDescription> {
    match flavor {
        Flavor::MySql => make::mysql_format(Checksum::Crc32),
        Flavor::MariaDb => make::mariadb_format(Checksum::Crc32),
    }
}

/// A directory in memory where there is one: these tests sync thousands of times.
fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn options(dir: &Path) -> LogOptions {
    LogOptions {
        log_dir: LogDir {
            dir: dir.to_owned(),
            basename: "relay-bin".to_owned(),
        },
        server_id: OWN,
        max_size: 1 << 30,
        sync: SyncPolicy::Commit,
        source_names: (0..SOURCES).map(|n| format!("m{n}").into()).collect(),
        retention: crate::relay_log::RetentionOptions::default(),
        reserve: 0,
        hand_over_min: Duration::ZERO,
        stopping: Arc::new(AtomicBool::new(false)),
    }
}

fn create(options: &LogOptions, flavor: Flavor) -> LogThread {
    let format = format(flavor);
    LogThread::create(
        options.clone(),
        &format,
        Executed::empty(flavor),
        Vec::new(),
    )
    .unwrap()
}

fn recovered(options: &LogOptions) -> Recovered {
    recover(&options.log_dir, &options.source_names)
        .unwrap()
        .unwrap()
}

fn resume(options: &LogOptions) -> LogThread {
    LogThread::resume(options.clone(), recovered(options)).unwrap()
}

/// One source: its events go through an assembler, as in the relay.
struct TestSource {
    number: u16,
    server_id: u32,
    flavor: Flavor,
    assembler: Assembler,
    file: u32,
    position: u64,
    runs: u64,
    spool: tempfile::TempDir,
}

impl TestSource {
    fn new(number: u16, flavor: Flavor) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let server_id = 80 + u32::from(number);
        let assembler = assembler(number, server_id, 0, flavor, spool.path());
        let mut source = Self {
            number,
            server_id,
            flavor,
            assembler,
            file: 0,
            position: 0,
            runs: 0,
            spool,
        };
        let _ = source.next_file();
        source
    }

    /// The source begins a new file; returns the batch that reports it.
    fn next_file(&mut self) -> TransactionBatch {
        self.file += 1;
        self.position = 4;
        let name = format!("bin.{:06}", self.file);
        self.assembler.start_file(name.into(), 4);
        self.assembler
            .take_batch()
            .unwrap_or_else(|| self.deliver(&[]))
    }

    /// Another server answers at the source's address, in a file of its own.
    fn replace_server(&mut self) {
        self.server_id += 10;
        self.runs += 1 << 32;
        self.file += 100;
        self.position = 4;
        let (number, id) = (self.number, self.server_id);
        self.assembler = assembler(number, id, self.runs, self.flavor, self.spool.path());
        let name = format!("bin.{:06}", self.file);
        self.assembler.start_file(name.into(), 4);
    }

    fn feed(&mut self, group: &[Vec<u8>]) {
        for event in group {
            self.position += event.len() as u64;
            self.assembler.event(event, self.position).unwrap();
        }
    }

    fn deliver(&mut self, groups: &[Vec<Vec<u8>>]) -> TransactionBatch {
        for group in groups {
            self.feed(group);
        }
        self.assembler.take_batch().unwrap()
    }
}

fn assembler(
    source: u16,
    source_server_id: u32,
    first_run: u64,
    flavor: Flavor,
    spool: &Path,
) -> Assembler {
    let options = AssemblerOptions {
        source,
        source_server_id,
        source_first_timestamp: 0,
        has_gtids: true,
        first_run,
        filter: make::keeping(&["test"]),
        spill_dir: spool.to_owned(),
        spill_size: SPILL_SIZE,
    };
    Assembler::new(options, format(flavor))
}

/// The content of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Small,
    Emptied,
    /// More than `SPILL_SIZE`: it is in a spill file.
    Spilled,
}

/// The events of a transaction that began on `server_id`. For MariaDB the tag's length is the
/// domain.
fn group(flavor: Flavor, server_id: u32, number: u64, tag: &str, shape: Shape) -> Vec<Vec<u8>> {
    let statement = |database, len: usize| {
        let text = format!("insert {number} {}", "x".repeat(len));
        make::query(server_id, database, &text)
    };
    let mut events = match (shape, flavor) {
        (Shape::Emptied, _) => vec![statement("other", 1)],
        (Shape::Small, Flavor::MySql) => vec![statement("test", 10)],
        (Shape::Small, Flavor::MariaDb) => vec![statement("test", 10), make::xid(server_id)],
        (Shape::Spilled, _) => vec![
            make::table_map(server_id, 1, "test"),
            make::rows(server_id, 1, false, 1500),
            make::rows(server_id, 1, true, 1500),
            make::xid(server_id),
        ],
    };
    match flavor {
        Flavor::MySql => {
            if shape == Shape::Spilled {
                events.insert(0, make::query(server_id, "", "BEGIN"));
            }
            let gtid = gtid((server_id % 100) as u8, tag, number);
            let clock = clock(number as i64 - 1, number as i64);
            make::mysql_group(server_id, gtid, clock, events)
        }
        Flavor::MariaDb => {
            let standalone = u8::from(shape == Shape::Emptied);
            // Groups of three commit together.
            let commit_id = (!number.is_multiple_of(4)).then_some(1000 + number / 3);
            let domain = tag.len() as u32;
            let opener = make::mariadb_gtid(server_id, domain, number, standalone, commit_id);
            events.insert(0, opener);
            events
        }
    }
}
