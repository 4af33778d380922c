//! The transaction that is being assembled.

use crate::binlog::event::EventHeader;
use crate::binlog::mariadb_gtid::AlterHalf;
use crate::binlog::mysql_gtid::LogicalClock;
use crate::binlog::query::Query;
use crate::binlog::xa_prepare::XaPrepare;
use crate::binlog::{EventType, Opener};
use crate::identity::{CopyEvidence, Fingerprint, Identity};
use crate::transaction::batch::Half;
use crate::transaction::error::TransactionError;
use crate::transaction::temporary_tables::TemporaryTableStatement;

/// The properties of the open transaction, read from its opener and its other events.
#[derive(Debug)]
pub(super) struct Open {
    /// The header of its first event.
    pub(super) header: EventHeader,
    pub(super) identity: Identity,
    /// What is known of it so far.
    pub(super) evidence: CopyEvidence,
    pub(super) clock: Option<LogicalClock>,
    pub(super) commit_id: Option<u64>,
    pub(super) transaction_length: Option<u64>,
    /// MariaDB: whether it is a group of one statement.
    pub(super) standalone: bool,
    /// Whether a BEGIN was seen, or the opener is one.
    pub(super) grouped: bool,
    /// Whether the fingerprint must be computed: nothing else identifies it.
    pub(super) digested: bool,
    /// Whether its events are in a TRANSACTION_PAYLOAD event.
    pub(super) compressed: bool,
    /// MySQL: whether it ends with an XA_PREPARE event.
    pub(super) is_xa: bool,
    /// MySQL 5.1: rows that the source logged without BEGIN and COMMIT, which are added.
    pub(super) lacks_begin: bool,
    pub(super) half: Option<Half>,
    /// See [`crate::transaction::Transaction::temporary_tables`].
    pub(super) temporary_tables: Vec<TemporaryTableStatement>,
    /// Its length at the source, in bytes: dropped events included.
    pub(super) source_len: u64,
}

impl Open {
    /// `header` is that of the transaction's first event.
    pub(super) fn without_gtid(header: EventHeader) -> Self {
        let mut evidence = CopyEvidence {
            commit_time_us: u64::from(header.timestamp) * 1_000_000,
            ..CopyEvidence::default()
        };
        evidence.note_event(header.timestamp);
        Self {
            header,
            identity: Identity::Anonymous(Fingerprint::default()),
            evidence,
            clock: None,
            commit_id: None,
            transaction_length: None,
            standalone: false,
            grouped: false,
            digested: true,
            compressed: false,
            is_xa: false,
            lacks_begin: false,
            half: None,
            temporary_tables: Vec::new(),
            source_len: 0,
        }
    }

    /// Records the fields of its opener.
    pub(super) fn read_opener(&mut self, opener: &Opener) {
        self.identity = Identity::of_opener(opener);
        self.clock = opener.clock();
        self.transaction_length = opener.transaction_length();
        match opener {
            Opener::MySql(opener) => {
                // 0: a replica of a server before 8.0 does not know it.
                if let Some(commit_time_us) =
                    opener.original_commit_time_us.filter(|time| *time != 0)
                {
                    self.evidence.commit_time_us = commit_time_us;
                }
                self.digested = self.identity == Identity::Anonymous(Fingerprint::default());
            }
            Opener::MariaDb(opener) => {
                self.commit_id = opener.commit_id;
                self.digested = false;
                self.standalone = opener.is_standalone();
                self.grouped = !self.standalone;
                self.half = opener.alter.map(|half| match half {
                    AlterHalf::Start => Half::AlterStarted,
                    AlterHalf::End { start_seq_no } => Half::AlterEnded {
                        start_seq_no,
                        wanted: true,
                    },
                });
            }
        }
    }

    /// Records the event's timestamp, and whether it changes something.
    pub(super) fn note_evidence(&mut self, header: &EventHeader, query: Option<&Query<'_>>) {
        self.evidence.note_event(header.timestamp);
        if !self.evidence.has_changes {
            self.evidence.has_changes = match query {
                Some(query) => !query.is_transaction_keyword() || query.ended_xid().is_some(),
                None => !matches!(
                    header.event_type,
                    EventType::XID
                        | EventType::IGNORABLE
                        | EventType::VIEW_CHANGE
                        | EventType::TRANSACTION_CONTEXT
                ),
            };
        }
    }

    /// Records the effect of the event on an XA transaction of a client.
    pub(super) fn note_xa(
        &mut self,
        event_type: EventType,
        body: &[u8],
        query: Option<&Query<'_>>,
    ) -> Result<(), TransactionError> {
        if let Some(xid) = query.and_then(Query::ended_xid) {
            self.half = Some(Half::XaEnded(xid.to_ascii_lowercase()));
        } else if event_type == EventType::XA_PREPARE {
            let prepare = XaPrepare::parse(body)?;
            self.is_xa = true;
            if !prepare.one_phase {
                let xid = prepare.to_string().to_ascii_lowercase();
                self.half = Some(Half::XaPrepared(xid.into_bytes()));
            }
        }
        Ok(())
    }
}
