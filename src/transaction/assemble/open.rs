//! What is known of the transaction that is being gathered.

use crate::binlog::EventType;
use crate::binlog::event::EventHeader;
use crate::binlog::mysql_gtid::LogicalClock;
use crate::binlog::query::Query;
use crate::binlog::xa_prepare::XaPrepare;
use crate::identity::{Fingerprint, Identity};
use crate::transaction::{Half, TransactionError};

/// The facts of the open transaction, read from its opener.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) header: EventHeader,
    pub(super) identity: Identity,
    /// See [`crate::transaction::Transaction::commit_time_us`].
    pub(super) commit_time_us: u64,
    pub(super) clock: Option<LogicalClock>,
    pub(super) commit_id: Option<u64>,
    pub(super) transaction_length: Option<u64>,
    pub(super) standalone: bool,
    /// Whether a BEGIN was seen, or the opener is one.
    pub(super) grouped: bool,
    /// Whether the fingerprint is to be computed: nothing else tells what it is.
    pub(super) digested: bool,
    /// Whether its events came in a TRANSACTION_PAYLOAD event.
    pub(super) compressed: bool,
    /// MySQL: whether it ends with an XA_PREPARE event.
    pub(super) is_xa: bool,
    pub(super) half: Option<Half>,
    /// Bytes as the source has them, dropped ones included.
    pub(super) source_len: u64,
}

impl Open {
    /// `header` is that of the transaction's first event.
    pub(super) fn without_gtid(header: EventHeader) -> Self {
        Self {
            header,
            identity: Identity::Anonymous(Fingerprint::default()),
            commit_time_us: u64::from(header.timestamp) * 1_000_000,
            clock: None,
            commit_id: None,
            transaction_length: None,
            standalone: false,
            grouped: false,
            digested: true,
            compressed: false,
            is_xa: false,
            half: None,
            source_len: 0,
        }
    }

    /// Notes what the event does to an XA transaction of a client.
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
