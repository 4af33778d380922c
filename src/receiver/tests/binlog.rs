//! A source's binlog, built by hand: files of whole events, and the packets of a dump of them.

use std::sync::Arc;

use crate::binlog::event::{self, CHECKSUM_LEN, EventHeader, MAGIC};
use crate::binlog::format_description::Checksum;
use crate::binlog::{EventType, FormatDescription, rotate};
use crate::flavor::Flavor;
use crate::gtid::{BinlogState, Gtid, GtidPosition, GtidSet, MariaDbGtid};
use crate::identity::Identity;
use crate::position::SourcePosition;
use crate::transaction::test_events as make;

/// A packet of a dump.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) event: Vec<u8>,
    /// The source's position that is durable once this was recorded, if it moves it.
    pub(crate) durable: Option<SourcePosition>,
    /// The position that may be durable instead, if this arrives together with the previous move.
    pub(crate) reached: Option<SourcePosition>,
    /// The transaction that ends with this event.
    pub(crate) ends: Option<Identity>,
}

#[derive(Debug, Clone)]
struct Stored {
    event: Vec<u8>,
    start: u64,
    end: u64,
    group: Option<Identity>,
    ends: Option<Identity>,
}

#[derive(Debug, Clone)]
struct BinlogFile {
    name: String,
    format: Arc<FormatDescription>,
    stored: Vec<Stored>,
    end: u64,
}

/// The request for a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Set(GtidSet),
    Position(GtidPosition),
    File(SourcePosition),
}

/// The binlog of one source.
#[derive(Debug, Clone)]
pub(crate) struct Binlog {
    pub(crate) flavor: Flavor,
    pub(crate) server_id: u32,
    files: Vec<BinlogFile>,
    executed: Vec<Identity>,
    /// Whether its files are those of MySQL 5.6, which may be without GTIDs.
    is_mysql56: bool,
}

pub(crate) fn mysql(server_id: u32, gno: u64) -> Identity {
    Identity::MySql(make::gtid(server_id as u8, "", gno))
}

pub(crate) fn mariadb(server_id: u32, seq_no: u64) -> Identity {
    Identity::MariaDb(MariaDbGtid {
        domain_id: 0,
        server_id,
        seq_no,
    })
}

impl Binlog {
    /// With one file and no transactions.
    pub(crate) fn new(flavor: Flavor, server_id: u32) -> Self {
        Self::in_format(flavor, server_id, false)
    }

    fn in_format(flavor: Flavor, server_id: u32, is_mysql56: bool) -> Self {
        let mut binlog = Self {
            flavor,
            server_id,
            files: Vec::new(),
            executed: Vec::new(),
            is_mysql56,
        };
        binlog.next_file(Checksum::Crc32);
        binlog
    }

    /// Two files with three transactions each, numbers 1 to 6, of this server.
    pub(crate) fn sample(flavor: Flavor, server_id: u32) -> Self {
        let mut binlog = Self::new(flavor, server_id);
        for number in 1..=6 {
            if number == 4 {
                binlog.next_file(Checksum::Crc32);
            }
            binlog.commit(server_id, number);
        }
        binlog
    }

    /// The first file is of an older version, without GTIDs and without Previous_gtids; the second
    /// has a transaction.
    pub(crate) fn upgraded(flavor: Flavor, server_id: u32, old: &[Vec<u8>]) -> Self {
        let mut binlog = Self::new(flavor, server_id);
        let file = binlog.files.last_mut().unwrap();
        file.end = file.stored.pop().unwrap().start;
        for event in old {
            binlog.push(event.clone(), None, None);
        }
        binlog.next_file(Checksum::Crc32);
        binlog.commit(server_id, 1);
        binlog
    }

    pub(crate) fn identity(&self, origin: u32, number: u64) -> Identity {
        match self.flavor {
            Flavor::MySql => mysql(origin, number),
            Flavor::MariaDb => mariadb(origin, number),
        }
    }

    /// All transactions, in order.
    pub(crate) fn executed(&self) -> &[Identity] {
        &self.executed
    }

    /// Ends the newest file, if there is one, and begins the next.
    pub(crate) fn next_file(&mut self, checksum: Checksum) {
        let name = format!("bin.{:06}", self.files.len() + 1);
        if !self.files.is_empty() {
            let closing = rotate::closing(make::TIMESTAMP, self.server_id, 0, &name);
            self.push(closing, None, None);
        }
        self.crash_to_next_file(checksum);
    }

    /// Begins the next file like a source that was killed: nothing ends the one before.
    pub(crate) fn crash_to_next_file(&mut self, checksum: Checksum) {
        let format = match self.flavor {
            Flavor::MySql if self.is_mysql56 => make::mysql56_format(checksum),
            Flavor::MySql => make::mysql_format(checksum),
            Flavor::MariaDb => make::mariadb_format(checksum),
        };
        let name = format!("bin.{:06}", self.files.len() + 1);
        self.files.push(BinlogFile {
            name,
            format: format.clone(),
            stored: Vec::new(),
            end: MAGIC.len() as u64,
        });
        let description = format.encode(make::TIMESTAMP, self.server_id, 0, 0);
        self.push(description, None, None);
        let previous = self.previous();
        self.push(previous, None, None);
    }

    fn previous(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let kind = match self.flavor {
            Flavor::MySql => {
                set_of(&self.executed).encode(&mut body);
                EventType::PREVIOUS_GTIDS
            }
            Flavor::MariaDb => {
                state_of(&self.executed).encode_gtid_list(&mut body);
                EventType::GTID_LIST
            }
        };
        make::event(kind, self.server_id, &body)
    }

    /// Appends a transaction that began on `origin`: a statement and a commit.
    pub(crate) fn commit(&mut self, origin: u32, number: u64) {
        let identity = self.identity(origin, number);
        let events = self.group(origin, number);
        let last = events.len() - 1;
        for (at, event) in events.into_iter().enumerate() {
            self.push(event, Some(identity), (at == last).then_some(identity));
        }
        self.executed.push(identity);
    }

    /// Appends a transaction without a GTID that began on `origin`.
    pub(crate) fn commit_without_gtid(&mut self, origin: u32, statement: &str) {
        self.commit_in("test", origin, statement);
    }

    /// As [`Binlog::commit_without_gtid`], in another database.
    pub(crate) fn commit_in(&mut self, database: &str, origin: u32, statement: &str) {
        for text in ["BEGIN", statement] {
            self.push(make::query(origin, database, text), None, None);
        }
        self.push(make::xid(origin), None, None);
    }

    /// With one file and these transactions without GTIDs: their origins and statements.
    pub(crate) fn without_gtids(server_id: u32, transactions: &[(u32, &str)]) -> Self {
        let mut binlog = Self::in_format(Flavor::MySql, server_id, true);
        for (origin, statement) in transactions {
            binlog.commit_without_gtid(*origin, statement);
        }
        binlog
    }

    /// Removes the oldest files.
    pub(crate) fn purge(&mut self, count: usize) {
        self.files.drain(..count);
    }

    /// The source is killed after the first two events of a transaction.
    pub(crate) fn crash_in_transaction(&mut self, origin: u32, number: u64) {
        let identity = self.identity(origin, number);
        for event in self.group(origin, number).into_iter().take(2) {
            self.push(event, Some(identity), None);
        }
    }

    fn group(&self, origin: u32, number: u64) -> Vec<Vec<u8>> {
        let statement = make::query(origin, "test", &format!("insert {number}"));
        match self.flavor {
            Flavor::MySql => {
                let events = vec![
                    make::query(origin, "test", "BEGIN"),
                    statement,
                    make::xid(origin),
                ];
                let mut rest_len: usize = events.iter().map(Vec::len).sum();
                if !self.is_checksummed() {
                    // The opener counts the transactions of the file.
                    rest_len -= CHECKSUM_LEN * (events.len() + 1);
                }
                let gtid = make::gtid(origin as u8, "", number);
                let clock = make::clock(number as i64 - 1, number as i64);
                let opener = make::mysql_gtid(origin, gtid, clock, rest_len as u64);
                [vec![opener], events].concat()
            }
            Flavor::MariaDb => vec![
                make::mariadb_gtid(origin, 0, number, 0, None),
                statement,
                make::xid(origin),
            ],
        }
    }

    fn is_checksummed(&self) -> bool {
        let file = self.files.last().unwrap();
        file.format.checksum == Checksum::Crc32
    }

    /// Stores an event that has space for a checksum.
    pub(super) fn push(
        &mut self,
        mut event: Vec<u8>,
        group: Option<Identity>,
        ends: Option<Identity>,
    ) {
        let is_format = event[4] == EventType::FORMAT_DESCRIPTION.0;
        if !self.is_checksummed() && !is_format {
            event = make::without_checksum(&event);
        }
        let checksummed = self.is_checksummed() || is_format;
        let file = self.files.last_mut().unwrap();
        let start = file.end;
        file.end += event.len() as u64;
        event::set_log_pos(&mut event, file.end as u32).unwrap();
        if checksummed {
            event::write_checksum(&mut event).unwrap();
        }
        file.stored.push(Stored {
            event,
            start,
            end: file.end,
            group,
            ends,
        });
    }

    /// The end of the newest file.
    pub(crate) fn end(&self) -> SourcePosition {
        let file = self.files.last().unwrap();
        SourcePosition::new(file.name.as_str(), file.end)
    }

    /// The end offset of each event in the first file, and whether a transaction is open there.
    pub(crate) fn boundaries(&self) -> Vec<(u64, bool)> {
        let stored = &self.files[0].stored;
        let open = |stored: &Stored| stored.group.is_some() && stored.ends.is_none();
        stored
            .iter()
            .map(|stored| (stored.end, open(stored)))
            .collect()
    }

    /// The packets of a dump; none if it has no file with the requested name.
    pub(crate) fn dump(&self, asked: &Asked) -> Vec<Packet> {
        let (first, position) = match asked {
            Asked::File(from) if !from.file.is_empty() => {
                let first = self.files.iter().position(|file| *file.name == *from.file);
                let Some(first) = first else {
                    return Vec::new();
                };
                (first, from.offset)
            }
            _ => (0, 4),
        };
        let has = |identity: &Identity| match (asked, identity) {
            (Asked::Set(set), Identity::MySql(gtid)) => set.contains(gtid),
            (Asked::Position(position), Identity::MariaDb(gtid)) => position
                .get(gtid.domain_id)
                .is_some_and(|reached| gtid.seq_no <= reached.seq_no),
            _ => false,
        };
        let mut packets = Vec::new();
        for (at, file) in self.files.iter().enumerate().skip(first) {
            let from = if at == first { position } else { 4 };
            let before = (at > first).then(|| self.files[at - 1].format.clone());
            self.dump_file(file, from, before, &has, &mut packets);
        }
        packets
    }

    fn dump_file(
        &self,
        file: &BinlogFile,
        from: u64,
        before: Option<Arc<FormatDescription>>,
        has: &dyn Fn(&Identity) -> bool,
        packets: &mut Vec<Packet>,
    ) {
        let plain = |event| Packet {
            event,
            durable: None,
            reached: None,
            ends: None,
        };
        let mut named = rotate::artificial(self.server_id, &file.name, from);
        if before
            .as_ref()
            .is_some_and(|format| format.checksum == Checksum::None)
        {
            named = make::without_checksum(&named);
        }
        let mut rotate = plain(named);
        if before.is_some() {
            rotate.durable = Some(SourcePosition::new(file.name.as_str(), from));
        }
        packets.push(rotate);
        let mut described = plain(file.stored[0].event.clone());
        let mut at = file.stored[0].end;
        if from > 4 {
            described.event = file.format.encode(make::TIMESTAMP, self.server_id, 0, 0);
            at = from;
        }
        if before.is_none_or(|before| before != file.format) {
            described.durable = Some(SourcePosition::new(file.name.as_str(), at));
        }
        packets.push(described);
        let mut skipped = None;
        for stored in file.stored.iter().skip(1) {
            if stored.start < from {
                continue;
            }
            if stored.group.as_ref().is_some_and(has) {
                skipped = Some(stored.end);
                continue;
            }
            if let Some(end) = skipped.take()
                && self.flavor == Flavor::MySql
            {
                let is_checksummed = file.format.checksum == Checksum::Crc32;
                packets.push(plain(heartbeat(&file.name, end, is_checksummed)));
            }
            let mut packet = plain(stored.event.clone());
            if stored.group.is_none() {
                packet.reached = Some(SourcePosition::new(file.name.as_str(), stored.end));
            }
            packet.ends = stored.ends;
            if stored.ends.is_some() {
                packet.durable = Some(SourcePosition::new(file.name.as_str(), stored.end));
            }
            if stored.event[4] == EventType::ROTATE.0 {
                let at = self.files.iter().position(|other| other.name == file.name);
                let next = self.files[at.unwrap() + 1].name.clone();
                packet.durable = Some(SourcePosition::new(next, 4));
            }
            packets.push(packet);
        }
    }
}

pub(crate) fn heartbeat(file: &str, position: u64, checksummed: bool) -> Vec<u8> {
    let header = EventHeader {
        timestamp: 0,
        event_type: EventType::HEARTBEAT,
        server_id: 86,
        event_size: 0,
        log_pos: position as u32,
        flags: 0,
    };
    let event = event::build(header, file.as_bytes());
    match checksummed {
        true => event,
        false => make::without_checksum(&event),
    }
}

pub(crate) fn set_of(identities: &[Identity]) -> GtidSet {
    let mut set = GtidSet::new();
    let gtids = identities.iter().filter_map(|identity| match identity {
        Identity::MySql(gtid) => Some(*gtid),
        _ => None,
    });
    gtids.for_each(|gtid: Gtid| {
        set.insert(gtid);
    });
    set
}

pub(crate) fn state_of(identities: &[Identity]) -> BinlogState {
    let mut state = BinlogState::new();
    for identity in identities {
        if let Identity::MariaDb(gtid) = identity {
            state.record(*gtid);
        }
    }
    state
}
