//! Whether a source's binlog is still the one that was received.
//!
//! A position, or a GTID, belongs to one history. After `RESET MASTER`, or when the source was restored
//! from a copy, its binlog may contain other transactions at the same positions and under the same
//! GTIDs. To resume there would lose transactions silently. So before each dump:
//!
//! - The newest transaction that was received from the source is requested again by file and position,
//!   and compared ([`LastReceived`]). Where its file was purged, or its position cannot be requested,
//!   this proof is not available.
//! - The source must have executed all transactions of its own that the relay log contains, whichever
//!   path delivered them. A source that has lost some of them will assign their GTIDs again.
//!
//! Neither holds for another server that answers at the address: with GTIDs only its own history counts.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connect::{connect, within};
use super::dump_position::{Change, DumpPosition};
use super::dump_request::{dump_file, prepare};
use super::error::ReceiverError;
use super::event_boundary::begins_event;
use super::facts::SourceFacts;
use super::listening::Listening;
use super::options::ReceiverOptions;
use super::packets::{DumpPart, next_part};
use crate::binlog::EventType;
use crate::binlog::event::EventHeader;
use crate::config::FilterConfig;
use crate::connection::{Connection, Phase};
use crate::gtid::{BinlogState, GtidSet, Uuid};
use crate::identity::Executed;
use crate::position::SourcePosition;
use crate::protocol::ServerError;
use crate::protocol::command::BINLOG_DUMP_NON_BLOCK;
use crate::relay_log::{LastReceived, SourceProgress};
use crate::transaction::{Assembler, AssemblerOptions, TransactionError};

/// A semi-synchronous source sends a transaction before it counts as executed there. It is given this
/// long to commit.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is asked.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// What the source's binlog has in the place of the newest transaction that was received from it.
enum Verdict {
    /// The same transaction.
    Same,
    /// Something else; the text describes it.
    Other(String),
    /// Nothing: the source ended the dump at this position, before the end of the transaction.
    Ended(SourcePosition),
    /// The file is gone; the source's error.
    NoFile(ServerError),
}

/// Verifies that the source's binlog contains the newest transaction that was received from it.
/// `progress` is the point at which it is resumed.
///
/// # Errors
/// [`ReceiverError::History`] when it does not; others when the source cannot be asked.
pub(super) async fn verify_last(
    options: &ReceiverOptions,
    facts: &SourceFacts,
    progress: &SourceProgress,
) -> Result<(), ReceiverError> {
    let Some(last) = &progress.last else {
        return Ok(());
    };
    let is_other_server = progress.server_id != facts.server_id;
    if is_other_server || last.begin > u64::from(u32::MAX) {
        return Ok(());
    }
    let begin = SourcePosition::new(last.file.clone(), last.begin);
    let verdict = match read_last(options, last, &begin).await {
        // A source that is shutting down ends a dump in the same way, but accepts no new connection.
        Ok(Verdict::Ended(_)) => read_last(options, last, &begin).await?,
        Err(error @ (ReceiverError::Transaction { .. } | ReceiverError::Stream { .. })) => {
            match begins_event(options, &begin).await? {
                true => return Err(error),
                false => Verdict::Other(format!("no event that begins at {begin}")),
            }
        }
        verdict => verdict?,
    };
    let found = match verdict {
        Verdict::Same => return Ok(()),
        Verdict::Other(found) => found,
        Verdict::Ended(at) => format!("the end of its binlog at {at}"),
        Verdict::NoFile(error) => {
            if last.file == progress.position.file && !facts.follows_by_gtid(&options.config) {
                return Err(ReceiverError::Source(error));
            }
            tracing::info!(
                source = %options.config.name,
                "the source no longer has its file {}, so it is not verified that its binlog is the one \
                 that was received",
                last.file
            );
            return Ok(());
        }
    };
    let (file, end) = (&last.file, last.end);
    Err(ReceiverError::History {
        expected: format!("the transaction that was received from it and ends at {file}:{end}"),
        found,
        record: None,
    })
}

/// Requests the newest transaction that was received.
async fn read_last(
    options: &ReceiverOptions,
    last: &LastReceived,
    begin: &SourcePosition,
) -> Result<Verdict, ReceiverError> {
    // A connection cannot be reused after an aborted dump.
    let (mut connection, facts) = connect(options).await?;
    prepare(&mut connection, options, &facts).await?;
    let dump = dump_file(options, &facts, BINLOG_DUMP_NON_BLOCK, begin)?;
    within(options.config.read_timeout, async {
        Ok(connection.write_command(&dump).await?)
    })
    .await?;
    connection.set_phase(Phase::Dump);
    let mut reading = Reading {
        options,
        facts: &facts,
        last,
        position: DumpPosition::new(),
        assembler: None,
        skips_large: false,
    };
    match reading.run(&mut connection).await {
        Err(ReceiverError::Source(error)) if is_unknown_file(&error.message) => {
            Ok(Verdict::NoFile(error))
        }
        Err(ReceiverError::Source(error)) if is_unknown_position(&error.message) => {
            Ok(Verdict::Other(format!("the error \"{}\"", error.message)))
        }
        Err(
            error @ ReceiverError::Transaction {
                cause: TransactionError::OutsideTransaction { .. },
                ..
            },
        ) => Ok(Verdict::Other(format!("\"{error}\""))),
        outcome => outcome,
    }
}

/// Whether the message of error 1236 says that the file does not exist.
fn is_unknown_file(message: &str) -> bool {
    message.contains("Could not find first log file name")
}

/// Whether the message of error 1236 says that no event begins at the position. All servers raise
/// `max_allowed_packet` to its maximum for a dump, so an event that exceeds it is none.
fn is_unknown_position(message: &str) -> bool {
    const MESSAGES: [&str; 5] = [
        "position > file size",
        "impossible position",
        "bogus data in log event",
        "truncated in the middle of event",
        "log event entry exceeded max_allowed_packet",
    ];
    MESSAGES.iter().any(|text| message.contains(text))
}

/// Reads the source's binlog up to the end of the newest transaction that was received.
struct Reading<'a> {
    options: &'a ReceiverOptions,
    facts: &'a SourceFacts,
    last: &'a LastReceived,
    position: DumpPosition,
    /// `None` before the first format description.
    assembler: Option<Assembler>,
    /// Whether the event that arrives in parts is a control event.
    skips_large: bool,
}

impl Reading<'_> {
    async fn run(&mut self, connection: &mut Connection) -> Result<Verdict, ReceiverError> {
        let mut listening = Listening::new(self.options.config.read_timeout);
        loop {
            while let Some(part) = next_part(connection, &self.position)? {
                if matches!(part, DumpPart::EndOfDump) {
                    return Ok(Verdict::Ended(self.position.at.clone()));
                }
                self.part(part)?;
                if let Some(verdict) = self.verdict() {
                    return Ok(verdict);
                }
            }
            listening.heard(connection);
            listening.fill(connection).await?;
        }
    }

    /// Handles an event, or a part of one.
    fn part(&mut self, part: DumpPart<'_>) -> Result<(), ReceiverError> {
        let at = self.position.at.clone();
        let assembled = match (part, &mut self.assembler) {
            (DumpPart::Event(header, event), _) if header.event_type.is_control() => {
                return self.control(&header, event);
            }
            // A list of GTIDs.
            (DumpPart::Begin(header, _), _) if header.event_type.is_control() => {
                self.position.at.offset = self.position.after(&header);
                self.skips_large = true;
                return Ok(());
            }
            (DumpPart::Continue(_), _) if self.skips_large => return Ok(()),
            (DumpPart::End(_), _) if self.skips_large => {
                self.skips_large = false;
                return Ok(());
            }
            (DumpPart::EndOfDump, _) | (_, None) => return Ok(()),
            (DumpPart::Event(header, event), Some(assembler)) => {
                let after = self.position.after(&header);
                self.position.at.offset = after;
                assembler.event(event, after)
            }
            (DumpPart::Begin(header, head), Some(assembler)) => {
                self.position.at.offset = self.position.after(&header);
                assembler.large_part(head)
            }
            (DumpPart::Continue(bytes), Some(assembler)) => assembler.large_part(bytes),
            (DumpPart::End(bytes), Some(assembler)) => assembler
                .large_part(bytes)
                .and_then(|()| assembler.end_large(self.position.at.offset)),
        };
        assembled.map_err(|cause| ReceiverError::Transaction { at, cause })
    }

    /// Applies a control event.
    fn control(&mut self, header: &EventHeader, event: &[u8]) -> Result<(), ReceiverError> {
        if header.event_type == EventType::HEARTBEAT {
            return Ok(());
        }
        let change = self.position.control(header, event)?;
        let Some(format) = self.position.format.clone() else {
            return Ok(());
        };
        let assembler = self.assembler.get_or_insert_with(|| {
            let options = AssemblerOptions {
                source: self.options.number,
                source_server_id: self.facts.server_id,
                source_first_timestamp: 0,
                has_gtids: self.facts.has_gtids,
                first_run: 0,
                filter: self.facts.filter(&FilterConfig::default()),
                spill_dir: self.options.spill_dir.clone(),
                spill_size: self.options.spill_size,
            };
            Assembler::new(options, format.clone())
        });
        if matches!(change, Change::File | Change::Format) {
            let at = &self.position.at;
            assembler.set_format(format);
            assembler.start_file(at.file.clone(), at.offset);
        }
        Ok(())
    }

    /// Compares the newest transaction; `None` before the one that was received.
    fn verdict(&mut self) -> Option<Verdict> {
        let batch = self.assembler.as_mut()?.take_batch()?;
        let transaction = batch.transactions.last()?;
        let (file, end) = (&batch.source_end.file, transaction.source_offset);
        let is_same_file = *file == self.last.file;
        if is_same_file && end < self.last.end {
            return None;
        }
        let is_same_end = is_same_file && end == self.last.end;
        if is_same_end && transaction.history_digest() == self.last.digest {
            return Some(Verdict::Same);
        }
        Some(Verdict::Other(format!(
            "another transaction ({}, committed at {} seconds since 1970, ending at {file}:{end})",
            transaction.identity,
            transaction.commit_time_us / 1_000_000
        )))
    }
}

/// Verifies that the source has executed all transactions of its own that are in `executed`, the
/// transactions of the relay log.
///
/// # Errors
/// [`ReceiverError::History`] when it has not; others when the source cannot be asked.
pub(super) async fn verify_executed(
    connection: &mut Connection,
    facts: &SourceFacts,
    executed: &Executed,
) -> Result<(), ReceiverError> {
    let lost = match executed {
        Executed::Anonymous => None,
        Executed::MariaDb(state) => lost_mariadb(connection, facts, state).await?,
        Executed::MySql(set) => lost_mysql(connection, facts, set).await?,
    };
    match lost {
        None => Ok(()),
        // They may be in its binlog, and wait for a replica's acknowledgement.
        Some(lost) if is_semi_sync(connection).await? => Err(ReceiverError::setup(
            format!(
                "the source has not committed its own transactions {lost}, which the relay log contains"
            ),
            "if it waits for the acknowledgement of a semi-synchronous replica, attach one; if not, \
             it was restored from an older copy or lost its newest transactions in a crash: compare \
             its data with the replicas",
        )),
        Some(lost) => Err(ReceiverError::History {
            expected: format!("its own transactions {lost}, which the relay log contains"),
            found: "a binlog without them".to_owned(),
            record: None,
        }),
    }
}

/// Whether semi-synchronous replication is active on the source.
async fn is_semi_sync(connection: &mut Connection) -> Result<bool, ReceiverError> {
    let answer = connection
        .query("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync%status'")
        .await?;
    Ok((0..answer.rows.len()).any(|row| {
        let name = answer.value(row, "Variable_name").unwrap_or_default();
        let is_source = name.contains("master") || name.contains("source");
        is_source && answer.value(row, "Value").as_deref() == Some("ON")
    }))
}

/// The source's own transactions that it has lost, as a GTID set.
async fn lost_mysql(
    connection: &mut Connection,
    facts: &SourceFacts,
    set: &GtidSet,
) -> Result<Option<String>, ReceiverError> {
    let uuid = facts.server_uuid.as_deref();
    let Some(uuid) = uuid.and_then(|uuid| uuid.parse::<Uuid>().ok()) else {
        return Ok(None);
    };
    let mut own = GtidSet::new();
    for (sid, first, last) in set.iter_intervals() {
        if sid.uuid == uuid {
            own.insert_interval(sid, first, last);
        }
    }
    if own.is_empty() {
        return Ok(None);
    }
    let deadline = Instant::now() + COMMIT_TIMEOUT;
    loop {
        let answer = connection.query("SELECT @@GLOBAL.gtid_executed").await?;
        let text = answer.single().unwrap_or_default();
        let executed: GtidSet = text.parse().map_err(|cause| ReceiverError::Gtid {
            what: "the source's gtid_executed",
            cause,
        })?;
        own.subtract(&executed);
        if own.is_empty() {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Ok(Some(own.to_string()));
        }
        sleep(COMMIT_INTERVAL).await;
    }
}

/// The source's own transactions that it has lost: the newest GTID of each domain.
async fn lost_mariadb(
    connection: &mut Connection,
    facts: &SourceFacts,
    state: &BinlogState,
) -> Result<Option<String>, ReceiverError> {
    let mut own = state
        .iter()
        .filter(|gtid| gtid.server_id == facts.server_id);
    let Some(first) = own.next() else {
        return Ok(None);
    };
    let answer = connection
        .query("SELECT @@GLOBAL.gtid_binlog_state")
        .await?;
    let text = answer.single().unwrap_or_default();
    let executed: BinlogState = text.parse().map_err(|cause| ReceiverError::Gtid {
        what: "the source's gtid_binlog_state",
        cause,
    })?;
    let lost = std::iter::once(first)
        .chain(own)
        .filter(|gtid| !executed.contains(gtid));
    let lost: Vec<String> = lost.map(|gtid| format!("up to {gtid}")).collect();
    Ok((!lost.is_empty()).then(|| lost.join(", ")))
}
