//! MariaDB's ids: `domain-server-sequence`, a replica's position and a binlog's state.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;

use super::error::GtidError;
use super::scan::{ByteScanner, TextScanner};

/// The bits of the first field of a GTID_LIST_EVENT that are the number of entries.
const COUNT_MASK: u32 = (1 << 28) - 1;

/// MariaDB pads the body of an empty GTID_LIST_EVENT to 6 bytes, so that a dummy event of the same
/// length can replace it for old replicas.
const EMPTY_LIST_PADDING: usize = 2;

/// One transaction.
///
/// Ordered by domain, server and sequence number: an order for maps, not the commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MariaDbGtid {
    /// The replication domain: an independent stream of transactions.
    pub domain_id: u32,
    /// The server on which it was first committed.
    pub server_id: u32,
    /// Its number, ascending within the domain.
    pub seq_no: u64,
}

impl fmt::Display for MariaDbGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain_id, self.server_id, self.seq_no)
    }
}

impl FromStr for MariaDbGtid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<MariaDbGtid, GtidError> {
        let mut scanner = TextScanner::new(text);
        scanner.skip_space();
        let gtid = scan_gtid(&mut scanner)?;
        scanner.skip_space();
        scanner.end("the end of the GTID")?;
        Ok(gtid)
    }
}

fn scan_gtid(scanner: &mut TextScanner<'_>) -> Result<MariaDbGtid, GtidError> {
    let mut id = |expected| {
        let id = scanner.number(0, u32::MAX.into(), expected)?;
        scanner.expect(b'-', "a hyphen between the parts of a GTID")?;
        // In range: number() has checked it.
        Ok(u32::try_from(id).unwrap_or(u32::MAX))
    };
    let domain_id = id("a domain id from 0 to 4294967295")?;
    let server_id = id("a server id from 0 to 4294967295")?;
    let seq_no = scanner.number(0, u64::MAX, "a sequence number of 64 bits")?;
    Ok(MariaDbGtid {
        domain_id,
        server_id,
        seq_no,
    })
}

/// Calls `add` for each GTID of a comma-separated list; `add` refuses one by returning what it
/// expected.
fn scan_list(
    text: &str,
    mut add: impl FnMut(MariaDbGtid) -> Result<(), &'static str>,
) -> Result<(), GtidError> {
    let mut scanner = TextScanner::new(text);
    scanner.skip_space();
    if scanner.peek().is_none() {
        return Ok(());
    }
    loop {
        scanner.skip_space();
        let at = scanner.at();
        let gtid = scan_gtid(&mut scanner)?;
        add(gtid).map_err(|expected| GtidError::text(expected, at, &gtid.to_string()))?;
        scanner.skip_space();
        if !scanner.eat(b',') {
            return scanner.end("a comma or the end");
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, gtids: impl Iterator<Item = MariaDbGtid>) -> fmt::Result {
    for (i, gtid) in gtids.enumerate() {
        if i > 0 {
            f.write_str(",")?;
        }
        write!(f, "{gtid}")?;
    }
    Ok(())
}

/// A replica's position: one GTID for each domain (`gtid_slave_pos`, `slave_connect_state`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct GtidPosition {
    domains: BTreeMap<u32, MariaDbGtid>,
}

impl GtidPosition {
    /// The position before all transactions.
    pub fn new() -> GtidPosition {
        GtidPosition::default()
    }

    /// The position in a domain.
    pub fn get(&self, domain_id: u32) -> Option<MariaDbGtid> {
        self.domains.get(&domain_id).copied()
    }

    /// Moves to a GTID in its domain, forwards or backwards.
    pub fn set(&mut self, gtid: MariaDbGtid) {
        self.domains.insert(gtid.domain_id, gtid);
    }

    /// Removes a domain; returns its position.
    pub fn remove(&mut self, domain_id: u32) -> Option<MariaDbGtid> {
        self.domains.remove(&domain_id)
    }

    /// The GTIDs by domain.
    pub fn iter(&self) -> impl Iterator<Item = MariaDbGtid> + '_ {
        self.domains.values().copied()
    }

    /// Whether it has no domain.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }
}

/// By domain: `0-1-5,1-2-9`.
impl fmt::Display for GtidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.iter())
    }
}

/// Accepts an empty text, and white space around GTIDs; refuses a domain that appears twice.
impl FromStr for GtidPosition {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<GtidPosition, GtidError> {
        let mut position = GtidPosition::new();
        scan_list(text, |gtid| {
            match position.domains.insert(gtid.domain_id, gtid) {
                None => Ok(()),
                Some(_) => Err("each domain once"),
            }
        })?;
        Ok(position)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Domain {
    /// The server and number of the last transaction. The server is in `servers`, with that number or,
    /// if a transaction was executed again, with a higher one.
    last: (u32, u64),
    /// The highest sequence number of each server.
    servers: BTreeMap<u32, u64>,
}

/// The transactions of a binlog, as in MariaDB's `gtid_binlog_state`: the highest sequence number of
/// each (domain, server) pair, and the last transaction of each domain.
///
/// If a transaction was executed again, it may be the last one although its number is not the highest of
/// its pair. Then the pair is written twice, the last transaction after the highest one; MariaDB itself
/// forgets the highest one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct BinlogState {
    domains: BTreeMap<u32, Domain>,
}

impl BinlogState {
    /// The state of a log without transactions.
    pub fn new() -> BinlogState {
        BinlogState::default()
    }

    /// Whether no transaction was recorded.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Whether a transaction was seen: its number is not above the highest of its domain and
    /// server.
    pub fn contains(&self, gtid: &MariaDbGtid) -> bool {
        self.highest(gtid.domain_id, gtid.server_id)
            .is_some_and(|highest| gtid.seq_no <= highest)
    }

    /// Records a transaction as the last of its domain; returns false, without a change, when it
    /// was seen before. Allocates only for a domain or a server that is new.
    pub fn record(&mut self, gtid: MariaDbGtid) -> bool {
        !self.contains(&gtid) && self.record_again(gtid)
    }

    /// Records a transaction as the last of its domain, even if it was seen before; returns whether it
    /// was not.
    pub fn record_again(&mut self, gtid: MariaDbGtid) -> bool {
        let last = (gtid.server_id, gtid.seq_no);
        let new_domain = || Domain {
            last,
            servers: BTreeMap::new(),
        };
        let domain = self
            .domains
            .entry(gtid.domain_id)
            .or_insert_with(new_domain);
        domain.last = last;
        match domain.servers.entry(gtid.server_id) {
            Entry::Occupied(highest) if gtid.seq_no <= *highest.get() => return false,
            Entry::Occupied(mut highest) => *highest.get_mut() = gtid.seq_no,
            Entry::Vacant(vacant) => {
                vacant.insert(gtid.seq_no);
            }
        }
        true
    }

    /// Counts a transaction that is in no log, and those of its server before it; returns whether it was not seen before.
    /// It is the last of its domain only if its number is the highest one: the servers of a domain number their
    /// transactions ascending.
    pub fn count(&mut self, gtid: MariaDbGtid) -> bool {
        if self.contains(&gtid) {
            return false;
        }
        let last = self.last_in_domain(gtid.domain_id);
        self.record_again(gtid);
        if let Some(last) = last.filter(|last| last.seq_no > gtid.seq_no) {
            self.record_again(last);
        }
        true
    }

    /// Counts all transactions of another log. The last one of a domain is that of the two with the higher number.
    pub fn count_all(&mut self, more: &BinlogState) {
        for (domain_id, other) in &more.domains {
            let Some(domain) = self.domains.get_mut(domain_id) else {
                self.domains.insert(*domain_id, other.clone());
                continue;
            };
            for (server_id, seq_no) in &other.servers {
                let highest = domain.servers.entry(*server_id).or_default();
                *highest = (*highest).max(*seq_no);
            }
            if other.last.1 > domain.last.1 {
                domain.last = other.last;
            }
        }
    }

    /// A new history of a server begins: in each domain its highest sequence number becomes that of `before`,
    /// or none, so that [`BinlogState::record`] accepts higher ones again.
    pub fn begin_again(&mut self, server_id: u32, before: &BinlogState) {
        self.domains.retain(|domain_id, domain| {
            let Some(highest) = domain.servers.get_mut(&server_id) else {
                return true;
            };
            match before.highest(*domain_id, server_id) {
                Some(lower) => *highest = lower.min(*highest),
                None => {
                    domain.servers.remove(&server_id);
                }
            }
            let (last, seq_no) = domain.last;
            domain.last = match domain.servers.get(&last) {
                Some(highest) => (last, seq_no.min(*highest)),
                None => match domain.servers.iter().max_by_key(|(_, seq_no)| **seq_no) {
                    Some((server_id, seq_no)) => (*server_id, *seq_no),
                    None => return false,
                },
            };
            true
        });
    }

    /// The highest sequence number of a server in a domain.
    pub fn highest(&self, domain_id: u32, server_id: u32) -> Option<u64> {
        self.domains
            .get(&domain_id)?
            .servers
            .get(&server_id)
            .copied()
    }

    /// The highest sequence number in a domain.
    pub fn highest_in_domain(&self, domain_id: u32) -> Option<u64> {
        let servers = &self.domains.get(&domain_id)?.servers;
        servers.values().copied().max()
    }

    /// The last transaction of a domain.
    pub fn last_in_domain(&self, domain_id: u32) -> Option<MariaDbGtid> {
        let (server_id, seq_no) = self.domains.get(&domain_id)?.last;
        Some(MariaDbGtid {
            domain_id,
            server_id,
            seq_no,
        })
    }

    /// The last transaction of each domain (`gtid_binlog_pos`).
    pub fn position(&self) -> GtidPosition {
        let last = self
            .domains
            .keys()
            .filter_map(|domain| self.last_in_domain(*domain));
        GtidPosition {
            domains: last.map(|gtid| (gtid.domain_id, gtid)).collect(),
        }
    }

    /// The highest GTID of each pair, in the order of a GTID_LIST_EVENT: by domain, then by
    /// server, with the domain's last transaction at the end.
    pub fn iter(&self) -> impl Iterator<Item = MariaDbGtid> + '_ {
        self.domains.iter().flat_map(|(domain_id, domain)| {
            let gtid = |(server, seq): (&u32, &u64)| MariaDbGtid {
                domain_id: *domain_id,
                server_id: *server,
                seq_no: *seq,
            };
            let others = domain
                .servers
                .iter()
                .filter(|(server, highest)| (**server, **highest) != domain.last);
            // If the last one is not the highest of its pair, that is the entry before it.
            let (of_last, others): (Vec<_>, Vec<_>) =
                others.partition(|(server, _)| **server == domain.last.0);
            let others = others.into_iter().chain(of_last);
            others.map(gtid).chain(self.last_in_domain(*domain_id))
        })
    }

    /// Adds an entry of a stored state; false when its pair is already present, unless that is the
    /// entry before it and has a higher number.
    fn load(&mut self, gtid: MariaDbGtid) -> bool {
        match self.highest(gtid.domain_id, gtid.server_id) {
            None => self.record(gtid),
            Some(highest) => {
                let before = MariaDbGtid {
                    seq_no: highest,
                    ..gtid
                };
                let is_again = gtid.seq_no < highest;
                let follows = self.last_in_domain(gtid.domain_id) == Some(before);
                if is_again && follows {
                    self.record_again(gtid);
                }
                is_again && follows
            }
        }
    }

    /// Appends the body of a GTID_LIST_EVENT, flags zero: the number of entries (4 bytes,
    /// little-endian like all fields), then domain (4), server (4) and sequence number (8) of each;
    /// an empty list is padded to 6 bytes as by MariaDB.
    pub fn encode_gtid_list(&self, out: &mut Vec<u8>) {
        let count = self.iter().count();
        out.extend_from_slice(&(count as u32 & COUNT_MASK).to_le_bytes());
        for gtid in self.iter() {
            out.extend_from_slice(&gtid.domain_id.to_le_bytes());
            out.extend_from_slice(&gtid.server_id.to_le_bytes());
            out.extend_from_slice(&gtid.seq_no.to_le_bytes());
        }
        if count == 0 {
            out.extend_from_slice(&[0; EMPTY_LIST_PADDING]);
        }
    }

    /// Reads the body of a GTID_LIST_EVENT, without its checksum. A domain's last entry is its
    /// last transaction. Also returns the event's flags, unshifted: the top 4 bits of the
    /// first field (`1 << 28`: the position of START SLAVE UNTIL is reached; `1 << 29`: the
    /// GTIDs must be ignored).
    ///
    /// # Errors
    /// When it is truncated or followed by other bytes, or when a (domain, server) pair appears
    /// twice, unless the second time with a lower number directly after the first.
    pub fn decode_gtid_list(body: &[u8]) -> Result<(BinlogState, u32), GtidError> {
        let mut scanner = ByteScanner::new("GTID list", body);
        let header = scanner.u32("the number of entries (4 bytes)")?;
        let mut state = BinlogState::new();
        for _ in 0..header & COUNT_MASK {
            let at = scanner.at();
            let domain_id = scanner.u32("a domain id (4 bytes)")?;
            let server_id = scanner.u32("a server id (4 bytes)")?;
            let seq_no = scanner.u64("a sequence number (8 bytes)")?;
            let gtid = MariaDbGtid {
                domain_id,
                server_id,
                seq_no,
            };
            if !state.load(gtid) {
                let expected = "each pair of domain and server once";
                return Err(scanner.error(expected, at, gtid.to_string()));
            }
        }
        if state.is_empty() && scanner.left() == EMPTY_LIST_PADDING {
            scanner.bytes(EMPTY_LIST_PADDING, "padding")?;
        }
        scanner.end()?;
        Ok((state, header & !COUNT_MASK))
    }
}

/// In the order of [`BinlogState::iter`], as in `gtid_binlog_state`.
impl fmt::Display for BinlogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.iter())
    }
}

/// A domain's last entry is its last transaction; refuses a (domain, server) pair that appears
/// twice.
impl FromStr for BinlogState {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<BinlogState, GtidError> {
        let mut state = BinlogState::new();
        scan_list(text, |gtid| match state.load(gtid) {
            true => Ok(()),
            false => Err("each pair of domain and server once"),
        })?;
        Ok(state)
    }
}
