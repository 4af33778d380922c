//! MariaDB: whether a transaction that a path sends a second time was delivered a second time already.
//!
//! A server's own transactions are, in every binlog that has them, a sequence of new numbers, and between two of them
//! those that it has executed again. So each repetition belongs to a *zone*: the highest number before it. A path that
//! sends one in a zone has passed all earlier zones, so only what was delivered again in this zone, or a later one,
//! may be the same. That is read from the commit indexes once for a path and server, and then counted as it is
//! delivered.

use std::collections::{BTreeMap, HashMap};

use super::{Copies, DeliveredGtids, GtidOrigin, Known, PathProgress};
use crate::gtid::MariaDbGtid;
use crate::identity::{Executed, Identity};
use crate::position::SourcePosition;
use crate::transaction::{Transaction, TransactionBatch};

/// The most surveys. The one that was used least recently is replaced.
const SURVEYS_MAX: usize = 64;
/// The most transactions of all surveys: 4 MiB.
const OWED_MAX: usize = 1 << 17;

/// What a path has sent, as the commit indexes have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentRecord {
    /// A file begins: the highest numbers that the paths had sent follow.
    File,
    /// A number that the path had sent. The highest one is among them.
    Highest {
        /// The path.
        path: u16,
        /// The number.
        number: u64,
    },
    /// The path has sent it.
    Transaction {
        /// The path.
        path: u16,
        /// The path's own server.
        server_id: u32,
        /// The transaction's number.
        number: u64,
        /// Its end in the server's binlog.
        end: SourcePosition,
        /// Whether it was delivered again.
        executed_again: bool,
    },
}

/// A transaction that was sent a second time.
#[derive(Debug)]
struct Repetition<'a> {
    path: u16,
    /// The path's own server.
    server_id: u32,
    gtid: MariaDbGtid,
    end: &'a SourcePosition,
}

/// What was delivered again, and a path has not sent again yet.
#[derive(Debug)]
pub(super) struct Survey {
    path: u16,
    server_id: u32,
    origin: GtidOrigin,
    /// The highest number that the path has sent.
    zone: u64,
    /// By zone and number: how often.
    owed: BTreeMap<(u64, u64), u32>,
    /// What is in this zone and later ones was not read.
    read_to: Option<u64>,
    /// Whether the path has sent the number of its zone itself; otherwise it may have begun within the zone.
    has_sent_zone: bool,
}

impl Survey {
    pub(super) fn is_of(&self, path: u16) -> bool {
        self.path == path
    }

    /// Whether it counts the transactions of the identity's server for this path.
    pub(super) fn counts(&self, path: u16, identity: &Identity) -> bool {
        let split = GtidOrigin::split(identity);
        self.path == path && split.is_some_and(|(origin, _)| origin == self.origin)
    }

    pub(super) fn is_of_server(&self, server_id: u32) -> bool {
        self.origin.is_server(server_id)
    }

    fn add(&mut self, zone: u64, number: u64) {
        if zone < self.zone || self.read_to.is_some_and(|to| zone >= to) {
            return;
        }
        *self.owed.entry((zone, number)).or_insert(0) += 1;
        while self.owed.len() > OWED_MAX {
            let last = self.owed.pop_last();
            self.read_to = last.map(|((zone, _), _)| zone);
        }
    }

    /// Removes one; returns whether there was one.
    fn settle(&mut self, number: u64) -> bool {
        let key = (self.zone, number);
        let Some(count) = self.owed.get_mut(&key) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.owed.remove(&key);
        }
        true
    }

    /// The path has sent on, up to number `zone`.
    fn advance(&mut self, zone: u64) {
        if zone > self.zone {
            self.owed = self.owed.split_off(&(zone, 0));
            self.zone = zone;
            self.has_sent_zone = true;
        }
    }

    fn read(
        mut self,
        from: Option<u64>,
        candidate: &Repetition<'_>,
        ledger: &impl DeliveredGtids,
    ) -> Result<Self, String> {
        let mut highest: HashMap<u16, u64> = HashMap::new();
        // By number: the ends of those that the path has sent again in this zone, before the candidate.
        let mut sent: BTreeMap<u64, Vec<SourcePosition>> = BTreeMap::new();
        let mut count = 0;
        let origin = self.origin;
        ledger.read_sent(from, &origin, &mut |record| match record {
            SentRecord::File => highest.clear(),
            SentRecord::Highest { path, number } => {
                // The newest one follows the highest one, if it was executed again.
                let known = highest.entry(path).or_insert(number);
                *known = number.max(*known);
            }
            SentRecord::Transaction {
                path,
                server_id,
                number,
                end,
                executed_again,
            } => {
                let zone = highest.get(&path).copied().unwrap_or(0);
                let is_repeated = number <= zone;
                if executed_again {
                    self.add(zone.max(number), number);
                }
                if path == self.path && server_id == self.server_id {
                    self.has_sent_zone |= number == self.zone && !is_repeated;
                    let is_before = end.precedes(candidate.end);
                    if is_repeated && zone == self.zone && is_before && count < OWED_MAX {
                        let ends = sent.entry(number).or_default();
                        // The path may have been read twice.
                        if !ends.contains(&end) {
                            ends.push(end);
                            count += 1;
                        }
                    }
                }
                if !is_repeated {
                    highest.insert(path, number);
                }
            }
        })?;
        for (number, ends) in sent {
            for _ in ends {
                self.settle(number);
            }
        }
        Ok(self)
    }
}

impl Copies {
    /// Classifies a transaction of `gtid` that its path has sent before.
    pub(super) fn classify_sent(
        &mut self,
        batch: &TransactionBatch,
        transaction: &Transaction,
        gtid: MariaDbGtid,
        path: &PathProgress<'_>,
        executed: &Executed,
        ledger: &impl DeliveredGtids,
    ) -> Result<Known, String> {
        let end = SourcePosition::new(batch.source_end.file.clone(), transaction.source_offset);
        let is_later = path
            .last
            .is_none_or(|(file, offset)| SourcePosition::new(file.clone(), offset).precedes(&end));
        if !is_later {
            return Ok(Known::Resent);
        }
        let is_direct = transaction.server_id == batch.source_server_id;
        // This path reads what another one has passed, with all that the replicas should execute again. Not only numbers
        // of its own server show that: that one may be gone, and its last numbers never reach this path.
        let is_passed = match executed {
            Executed::MariaDb(executed) => {
                let domain_id = gtid.domain_id;
                path.sent.highest_in_domain(domain_id) < executed.highest_in_domain(domain_id)
            }
            _ => false,
        };
        if is_direct || self.has_one_path && !is_passed {
            let repetition = Repetition {
                path: batch.source,
                server_id: batch.source_server_id,
                gtid,
                end: &end,
            };
            return self.classify_again(&repetition, path, ledger);
        }
        // What is counted for the path and this server does not include this one.
        let identity = &transaction.identity;
        self.surveys
            .retain(|survey| !survey.counts(batch.source, identity));
        Ok(Known::Repeated)
    }

    /// Classifies a transaction that its path sends a second time, and no other path is expected to bring: it is
    /// delivered again, unless that was done already.
    fn classify_again(
        &mut self,
        candidate: &Repetition<'_>,
        path: &PathProgress<'_>,
        ledger: &impl DeliveredGtids,
    ) -> Result<Known, String> {
        let seq_no = candidate.gtid.seq_no;
        let zone = path.highest_of(&candidate.gtid).unwrap_or(seq_no);
        let newest = Identity::MariaDb(MariaDbGtid {
            seq_no: zone,
            ..candidate.gtid
        });
        let zone_is_before_log = self.before.contains(&newest);
        // Nothing that this path has sent was delivered within the log: it may be far behind it.
        let is_old = zone_is_before_log
            && match &self.before {
                Executed::MariaDb(before) => path.sent.iter().all(|gtid| before.contains(&gtid)),
                _ => false,
            };
        let Some(survey) = self.survey(candidate, zone, zone_is_before_log, ledger)? else {
            return Ok(Known::ExecutedAgain);
        };
        if survey.settle(seq_no) {
            return Ok(match survey.has_sent_zone {
                true => Known::Copy,
                false => Known::Unverified,
            });
        }
        let is_unread = survey.read_to.is_some_and(|to| zone >= to);
        if is_unread || is_old && survey.has_sent_zone {
            return Ok(Known::Unverified);
        }
        self.again = Some((candidate.path, zone));
        Ok(Known::ExecutedAgain)
    }

    /// Records that the transaction that was classified last was delivered again: other paths may send it, too.
    pub(super) fn note_again(&mut self, origin: &GtidOrigin, number: u64) {
        let Some((path, zone)) = self.again.take() else {
            return;
        };
        let others = self.surveys.iter_mut();
        let others = others.filter(|survey| survey.origin == *origin && survey.path != path);
        others.for_each(|survey| survey.add(zone, number));
        self.limit_surveys();
    }

    /// Drops surveys that were used least recently, while there are too many or they are too large. The last one remains.
    fn limit_surveys(&mut self) {
        let mut len: usize = self.surveys.iter().map(|survey| survey.owed.len()).sum();
        while self.surveys.len() > 1 && (len > OWED_MAX || self.surveys.len() > SURVEYS_MAX) {
            len -= self.surveys.remove(0).owed.len();
        }
    }

    /// The survey of the path and server, which is made if there is none.
    fn survey(
        &mut self,
        candidate: &Repetition<'_>,
        zone: u64,
        zone_is_before_log: bool,
        ledger: &impl DeliveredGtids,
    ) -> Result<Option<&mut Survey>, String> {
        let identity = Identity::MariaDb(candidate.gtid);
        let Some((origin, _)) = GtidOrigin::split(&identity) else {
            return Ok(None);
        };
        let (path, server_id) = (candidate.path, candidate.server_id);
        let is_it = |survey: &Survey| survey.path == path && survey.origin == origin;
        let found = self.surveys.iter().position(is_it);
        let found = found.map(|at| self.surveys.remove(at));
        let valid = found.filter(|survey| {
            survey.server_id == server_id
                && survey.zone <= zone
                && (zone == survey.zone || survey.read_to.is_none_or(|to| zone < to))
        });
        let survey = match valid {
            Some(mut survey) => {
                survey.advance(zone);
                survey
            }
            None => {
                let newest = Identity::MariaDb(MariaDbGtid {
                    seq_no: zone,
                    ..candidate.gtid
                });
                let from = match zone_is_before_log {
                    true => None,
                    false => ledger.locate(&newest)?.map(|record| record.file),
                };
                let new = Survey {
                    path,
                    server_id,
                    origin,
                    zone,
                    owed: BTreeMap::new(),
                    read_to: None,
                    has_sent_zone: false,
                };
                new.read(from, candidate, ledger)?
            }
        };
        self.surveys.push(survey);
        self.limit_surveys();
        Ok(self.surveys.last_mut())
    }
}
