//! A source's binlog: files as its server would have written them.

use binrelay::gtid::{Gtid, GtidSet, Sid, Tag, Uuid};

use super::event::{
    self, Event, FORMAT_DESCRIPTION, GTID, Group, HEADER_LEN, IN_USE, ROTATE, STOP,
};
use super::version::Version;

const MAGIC: &[u8] = b"\xfebin";

/// The place of an event in a binlog: the file's index, and the offset at which it ends.
pub type EventEnd = (usize, u64);

/// One file; all its events are whole.
#[derive(Clone, Debug)]
pub struct BinlogFile {
    pub name: String,
    bytes: Vec<u8>,
    /// The offsets at which events begin, and the file's end.
    bounds: Vec<usize>,
}

impl BinlogFile {
    fn empty(name: &str) -> BinlogFile {
        BinlogFile {
            name: name.to_owned(),
            bytes: MAGIC.to_vec(),
            bounds: vec![MAGIC.len()],
        }
    }

    /// A file that a server wrote.
    pub fn read(name: &str, bytes: &[u8]) -> BinlogFile {
        let mut file = BinlogFile::empty(name);
        assert!(bytes.starts_with(MAGIC), "{name}: not a binlog");
        let mut at = MAGIC.len();
        while at < bytes.len() {
            let size = event::number(bytes, at + 9, 4) as usize;
            assert!(
                size >= HEADER_LEN && at + size <= bytes.len(),
                "{name}: cut at {at}"
            );
            at += size;
            file.bounds.push(at);
        }
        file.bytes = bytes.to_vec();
        file
    }

    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The event at this offset, as it is in the file; None at its end, or where no event begins.
    pub fn event_at(&self, offset: u64) -> Option<&[u8]> {
        let index = self.bounds.binary_search(&(offset as usize)).ok()?;
        let end = *self.bounds.get(index + 1)?;
        Some(&self.bytes[offset as usize..end])
    }

    pub fn is_boundary(&self, offset: u64) -> bool {
        self.bounds.binary_search(&(offset as usize)).is_ok()
    }

    pub fn events(&self, version: Version) -> Vec<Event> {
        let pairs = self.bounds.windows(2);
        pairs
            .map(|pair| {
                let mut bytes = self.bytes[pair[0]..pair[1]].to_vec();
                if bytes[4] == FORMAT_DESCRIPTION {
                    bytes[17] &= !(IN_USE as u8);
                }
                let read = Event::read(&bytes, version.checksums(bytes[4]));
                let (event, log_pos) =
                    read.unwrap_or_else(|error| panic!("{}: {error}", self.name));
                assert_eq!(log_pos as usize, pair[1], "{}: log_pos", self.name);
                event
            })
            .collect()
    }

    fn push(&mut self, event: &Event, version: Version) {
        let checksummed = version.checksums(event.kind);
        let end = self.bytes.len() + event.len(checksummed);
        self.bytes.extend(event.write(end as u32, checksummed));
        self.bounds.push(end);
    }

    /// The flag of the newest file, which its checksum does not cover.
    fn set_in_use(&mut self, in_use: bool) {
        let flags = &mut self.bytes[MAGIC.len() + 17];
        *flags = (*flags & !(IN_USE as u8)) | u8::from(in_use);
    }
}

/// All files of a server, and the server's own settings.
#[derive(Clone, Debug)]
pub struct Binlog {
    pub version: Version,
    pub server_id: u32,
    /// 5.5 has none.
    pub uuid: Option<Uuid>,
    /// `gtid_mode=ON`.
    pub gtids: bool,
    basename: String,
    pub files: Vec<BinlogFile>,
    /// Its clock, in seconds since 1970: moved by what happens, so that runs do not differ.
    clock: u32,
}

impl Binlog {
    /// The binlog of a server that was started just now.
    pub fn new(version: Version, server_id: u32, gtids: bool) -> Binlog {
        let mut binlog = Binlog::of_files(version, server_id, gtids, Vec::new());
        binlog.begin_file(true);
        binlog
    }

    /// With files that a server wrote; the next one continues their numbers.
    pub fn of_files(
        version: Version,
        server_id: u32,
        gtids: bool,
        files: Vec<BinlogFile>,
    ) -> Binlog {
        let uuid = (version != Version::V55).then(|| {
            let mut bytes = [0x57; 16];
            bytes[12..].copy_from_slice(&server_id.to_be_bytes());
            Uuid(bytes)
        });
        let mut binlog = Binlog {
            version,
            server_id,
            uuid,
            gtids,
            basename: "m-bin".to_owned(),
            files,
            clock: 1_795_700_000,
        };
        let latest = binlog.events().iter().map(|event| event.timestamp).max();
        binlog.clock = binlog.clock.max(latest.unwrap_or(0));
        if let Some(newest) = binlog.files.last_mut() {
            newest.set_in_use(true);
        }
        binlog
    }

    pub fn newest(&self) -> &BinlogFile {
        self.files.last().expect("a file")
    }

    /// The file's index, by name; the first one if the name is empty.
    pub fn find(&self, name: &str) -> Option<usize> {
        if name.is_empty() {
            return Some(0);
        }
        self.files.iter().position(|file| file.name == name)
    }

    /// Every event of every file, in order.
    pub fn events(&self) -> Vec<Event> {
        let files = self.files.iter();
        files.flat_map(|file| file.events(self.version)).collect()
    }

    /// Where every event ends.
    pub fn ends(&self) -> Vec<EventEnd> {
        let files = self.files.iter().enumerate();
        files
            .flat_map(|(index, file)| file.bounds[1..].iter().map(move |end| (index, *end as u64)))
            .collect()
    }

    /// GTIDs of all transactions.
    pub fn executed(&self) -> GtidSet {
        self.executed_before(self.files.len())
    }

    /// GTIDs of the transactions in the first `count` files.
    pub fn executed_before(&self, count: usize) -> GtidSet {
        let mut set = GtidSet::new();
        for file in &self.files[..count] {
            for event in file.events(self.version) {
                if let Some(gtid) = gtid_of(&event) {
                    set.insert(gtid);
                }
            }
        }
        set
    }

    pub fn append(&mut self, event: &Event) {
        self.clock = self.clock.max(event.timestamp);
        let newest = self.files.last_mut().expect("a file");
        newest.push(event, self.version);
    }

    pub fn append_group(&mut self, group: &Group) {
        group.iter().for_each(|event| self.append(event));
    }

    /// FLUSH LOGS.
    pub fn rotate(&mut self) {
        let mut body = 4_u64.to_le_bytes().to_vec();
        body.extend(self.next_name().bytes());
        self.append_control(ROTATE, body);
        self.begin_file(false);
    }

    /// A clean shutdown; the next start begins a file.
    pub fn stop(&mut self) {
        self.append_control(STOP, Vec::new());
        self.files.last_mut().expect("a file").set_in_use(false);
    }

    /// The first file after a start, whether the server was stopped or killed before.
    pub fn start(&mut self) {
        self.begin_file(true);
    }

    fn append_control(&mut self, kind: u8, body: Vec<u8>) {
        self.append(&Event {
            timestamp: self.clock,
            kind,
            server_id: self.server_id,
            flags: 0,
            body,
        });
    }

    fn next_name(&self) -> String {
        let newest = self.files.last();
        let number = newest.map_or(0, |file| {
            let (_, digits) = file.name.rsplit_once('.').expect("a number");
            digits.parse::<u32>().expect("a number")
        });
        format!("{}.{:06}", self.basename, number + 1)
    }

    fn begin_file(&mut self, is_first: bool) {
        self.clock += 1;
        let created = if is_first { self.clock } else { 0 };
        let mut set = Vec::new();
        self.executed().encode(&mut set);
        let mut file = BinlogFile::empty(&self.next_name());
        let format = self
            .version
            .format_description(self.clock, self.server_id, created);
        assert_eq!(format.kind, FORMAT_DESCRIPTION);
        file.push(&format, self.version);
        let previous = self
            .version
            .previous_gtids(self.clock, self.server_id, &set);
        if let Some(previous) = previous {
            file.push(&previous, self.version);
        }
        if let Some(before) = self.files.last_mut()
            && before.is_closed()
        {
            before.set_in_use(false);
        }
        file.set_in_use(true);
        self.files.push(file);
    }
}

impl BinlogFile {
    /// Whether its last event is the one that a server writes when it closes a file.
    fn is_closed(&self) -> bool {
        let begin = self.bounds[self.bounds.len() - 2];
        matches!(self.bytes[begin + 4], ROTATE | STOP)
    }
}

/// The GTID of an event that has one.
pub fn gtid_of(event: &Event) -> Option<Gtid> {
    if event.kind != GTID {
        return None;
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&event.body[1..17]);
    let sid = Sid {
        uuid: Uuid(uuid),
        tag: Tag::NONE,
    };
    let gno = event::number(&event.body, 17, 8);
    Some(Gtid { sid, gno })
}
