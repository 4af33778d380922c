//! The log files: the events of a recorded binlog, again and again, and holes.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use binrelay::binlog::event::{self, EventHeader, MAGIC};
use binrelay::binlog::{EventType, FormatDescription};

use crate::support::servers::Kind;

/// What one write call writes.
const BUFFER_LEN: usize = 1 << 20;
/// Bytes of zeros whose checksum is computed at once.
pub const ZEROS_LEN: u64 = 1 << 20;

/// The events that are written again and again.
pub struct Templates {
    pub format: FormatDescription,
    /// A statement with its opener.
    pub small: Vec<Vec<u8>>,
    /// Up to the row event, of which only the beginning is kept.
    pub large: Vec<Vec<u8>>,
    pub commit: Vec<u8>,
}

/// Bytes of a row event before its rows, with its header.
pub const ROWS_HEAD_LEN: usize = 29;

impl Templates {
    pub fn read(kind: Kind) -> Templates {
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("proto-fixtures")
            .join(kind.name())
            .join("basic.binlog");
        let bytes = std::fs::read(&recorded)
            .unwrap_or_else(|error| panic!("{}: {error}", recorded.display()));
        let mut events = Vec::new();
        let mut rest = &bytes[MAGIC.len()..];
        while !rest.is_empty() {
            let header = EventHeader::parse(rest).expect("a recorded event");
            let (event, after) = rest.split_at(header.event_size as usize);
            events.push((header.event_type, event.to_vec()));
            rest = after;
        }
        let format = FormatDescription::parse(&events[0].1).expect("a format description");
        let openers: Vec<usize> = (0..events.len())
            .filter(|at| events[*at].0.is_gtid())
            .collect();
        let group = |opener: usize| {
            let end = openers.iter().copied().find(|other| *other > opener);
            &events[opener..end.unwrap_or(events.len())]
        };
        let plain =
            |group: &[(EventType, Vec<u8>)]| group.iter().map(|one| one.1.clone()).collect();
        let small = openers.iter().map(|opener| group(*opener));
        let small = small
            .clone()
            .find(|group| group.len() == 2 && group[1].0 == EventType::QUERY)
            .expect("a statement");
        let is_table_map = |one: &(EventType, Vec<u8>)| one.0 == EventType::TABLE_MAP;
        let large = openers.iter().map(|opener| group(*opener));
        let large = large
            .clone()
            .find(|group| group.iter().any(is_table_map) && group.len() > 3)
            .expect("a transaction with rows");
        let map = large.iter().position(is_table_map).expect("a table map");
        let commit = large.iter().find(|one| one.0 == EventType::XID);
        Templates {
            format: FormatDescription {
                created: 0,
                ..format
            },
            small: plain(small),
            large: plain(&large[..map + 2]),
            commit: commit.expect("a commit").1.clone(),
        }
    }
}

/// A log file that is being written.
pub struct LogFile {
    file: BufWriter<File>,
    pub end: u64,
    pub scratch: Vec<u8>,
}

impl LogFile {
    pub fn create(path: &Path) -> LogFile {
        LogFile {
            file: BufWriter::with_capacity(BUFFER_LEN, File::create(path).expect("a file")),
            end: 0,
            scratch: Vec::new(),
        }
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).expect("a write");
        self.end += bytes.len() as u64;
    }

    pub fn event(&mut self, event: &mut [u8]) {
        let end = self.end + event.len() as u64;
        event::set_log_pos(event, end as u32).expect("an event");
        event::write_checksum(event).expect("an event");
        self.put(event);
        // The head is read again for the index.
        if self.end < 4096 {
            self.file.flush().expect("a write");
        }
    }

    pub fn event_of_scratch(&mut self) {
        let mut event = std::mem::take(&mut self.scratch);
        let end = self.end + event.len() as u64;
        event::set_log_pos(&mut event, end as u32).expect("an event");
        event::write_checksum(&mut event).expect("an event");
        self.put(&event);
        self.scratch = event;
    }

    /// An event that begins with `head` and continues with `len` zeros, which are not written.
    pub fn event_with_hole(&mut self, head: &[u8], len: u64, zeros: &crc32fast::Hasher) {
        let mut head = head.to_vec();
        let size = head.len() as u64 + len + event::CHECKSUM_LEN as u64;
        event::set_event_size(&mut head, size as u32).expect("a header");
        event::set_log_pos(&mut head, (self.end + size) as u32).expect("a header");
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&head);
        for _ in 0..len / ZEROS_LEN {
            checksum.combine(zeros);
        }
        self.put(&head);
        self.end += len;
        self.file.seek(SeekFrom::Start(self.end)).expect("a seek");
        self.put(&checksum.finalize().to_le_bytes());
    }

    pub fn finish(mut self) {
        self.file.flush().expect("a write");
    }
}
