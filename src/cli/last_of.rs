//! The last transactions in a replica's relay log.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use binrelay::adoption::{OriginEnd, ReplicaPlace};
use binrelay::binlog::EventType;
use binrelay::filter::{Filter, RuleLists};
use binrelay::flavor::Flavor;
use binrelay::gtid::BinlogState;
use binrelay::identity::{Fingerprint, Identity};
use binrelay::inspect::{EVENT_KEPT_MAX, EventReader};
use binrelay::transaction::{Assembler, AssemblerOptions};

/// The most transactions of an origin that are compared with the log.
const LAST_MAX: usize = 1000;

/// What the files show.
#[derive(Default)]
struct Found {
    gtids: BinlogState,
    origins: BTreeMap<u32, VecDeque<Fingerprint>>,
    has_mysql_gtids: bool,
}

/// Reads the files, oldest first.
pub(super) fn last_of(paths: &[PathBuf]) -> anyhow::Result<ReplicaPlace> {
    let mut found = Found::default();
    for path in paths {
        read(path, &mut found).with_context(|| path.display().to_string())?;
    }
    if found.has_mysql_gtids {
        bail!("with GTIDs, use the replica's gtid_executed instead of its relay log");
    }
    if !found.gtids.is_empty() {
        let gtids = found.gtids.iter().map(|gtid| gtid.to_string());
        return Ok(ReplicaPlace::LastGtids(gtids.collect()));
    }
    if found.origins.is_empty() {
        bail!("the relay log has no whole transaction; name older files as well, oldest first");
    }
    let ends = found
        .origins
        .into_iter()
        .map(|(server_id, last)| OriginEnd {
            server_id,
            last: last.into_iter().map(Into::into).collect(),
        });
    Ok(ReplicaPlace::LastTransactions(ends.collect()))
}

fn read(path: &Path, found: &mut Found) -> anyhow::Result<()> {
    let spool = std::env::temp_dir();
    let mut events = EventReader::open(path, EVENT_KEPT_MAX)?;
    let mut assembler: Option<Assembler> = None;
    while let Some(event) = events.next_event()? {
        let event_type = event.header.event_type;
        if event_type == EventType::FORMAT_DESCRIPTION {
            if let Some(format) = events.format().cloned() {
                let format = Arc::new(format);
                match &mut assembler {
                    Some(assembler) => assembler.set_format(format),
                    None => assembler = Some(Assembler::new(options(&spool), format)),
                }
            }
            continue;
        }
        if event_type == EventType::GTID_LIST
            && let Ok((list, _)) = BinlogState::decode_gtid_list(events.bytes().body())
        {
            for gtid in list.iter() {
                found.gtids.record(gtid);
            }
        }
        let Some(assembler) = &mut assembler else {
            continue;
        };
        if event_type.is_control() {
            continue;
        }
        if !event.whole {
            bail!(
                "an event at offset {} is larger than 64 MiB",
                event.position
            );
        }
        assembler.event(events.event(), events.offset())?;
        if let Some(batch) = assembler.take_batch() {
            for transaction in &batch.transactions {
                found.note(transaction.server_id, &transaction.identity);
            }
            batch.recycle();
        }
    }
    Ok(())
}

impl Found {
    fn note(&mut self, server_id: u32, identity: &Identity) {
        match identity {
            Identity::MySql(_) => self.has_mysql_gtids = true,
            Identity::MariaDb(gtid) => {
                self.gtids.record(*gtid);
            }
            Identity::Anonymous(fingerprint) => {
                let last = self.origins.entry(server_id).or_default();
                if last.len() == LAST_MAX {
                    last.pop_front();
                }
                last.push_back(*fingerprint);
            }
        }
    }
}

fn options(spool: &Path) -> AssemblerOptions {
    AssemblerOptions {
        source: 0,
        source_server_id: 0,
        source_first_timestamp: 0,
        has_gtids: false,
        first_run: 0,
        filter: Filter::new(RuleLists::default(), Flavor::MySql, false),
        spill_dir: spool.to_owned(),
        spill_size: usize::MAX,
    }
}
