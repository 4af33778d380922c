//! Deciding which events of a transaction are kept.

use super::open::Open;
use super::{Admission, Assembler};
use crate::binlog::event::{self, CHECKSUM_LEN, EventHeader};
use crate::binlog::format_description::Checksum;
use crate::binlog::query::{self, Query};
use crate::binlog::rows::RowsHead;
use crate::binlog::{EventType, Opener, old_servers};
use crate::filter::trim::Verdict;
use crate::identity::Identity;
use crate::transaction::batch::Half;
use crate::transaction::boundary::{self, Boundary};
use crate::transaction::error::TransactionError;
use crate::transaction::large::LargeEvent;
use crate::transaction::temporary_tables;

impl Assembler {
    /// Begins a transaction with its opener.
    pub(super) fn begin(
        &mut self,
        header: EventHeader,
        event: &[u8],
        checksummed: bool,
    ) -> Result<(), TransactionError> {
        let event_type = header.event_type;
        if self.boundary != Boundary::Outside {
            return Err(TransactionError::NotEnded { event_type });
        }
        let mut open = Open::without_gtid(header);
        open.source_len = event.len() as u64;
        let opener = Opener::parse(event, checksummed)?;
        open.read_opener(&opener);
        self.boundary = Boundary::after_opener(&opener);
        self.start_transaction(open);
        self.append_event(header, event, checksummed)?;
        self.body.end_opener();
        Ok(())
    }

    fn start_transaction(&mut self, open: Open) {
        self.trim.reset();
        if open.digested {
            self.digest.reset();
        }
        self.open = Some(open);
    }

    /// Decides what to do with an event and advances the boundary state. `whole`: `body` is not
    /// just a head.
    pub(super) fn admit(
        &mut self,
        header: &EventHeader,
        body: &[u8],
        whole: bool,
    ) -> Result<Admission, TransactionError> {
        let event_type = header.event_type;
        if self.open.is_none() && event_type == EventType::INCIDENT && self.options.has_gtids {
            return Err(TransactionError::of_incident(body)?);
        }
        self.check_supported(event_type, body)?;
        let without_opener = self.begin_without_opener(header)?;
        let Some(open) = &mut self.open else {
            return match event_type {
                EventType::IGNORABLE => Ok(Admission::Drop),
                _ => Err(TransactionError::OutsideTransaction {
                    event_type,
                    version: self.format.server_version.clone(),
                }),
            };
        };
        open.source_len += u64::from(header.event_size);
        if open.digested {
            let checksummed = self.format.checksum == Checksum::Crc32;
            self.digest.event(header, body, checksummed)?;
        }
        let query = match event_type {
            EventType::QUERY => Some(Query::parse(event_type, body)?),
            _ => None,
        };
        open.note_evidence(header, query.as_ref());
        self.boundary = self
            .boundary
            .after(event_type, query.as_ref(), without_opener);
        if open.lacks_begin && event_type.is_rows() && RowsHead::parse(body)?.ends_statement() {
            self.boundary = Boundary::Outside; // `finish` adds the COMMIT.
        }
        open.grouped |= self.boundary == Boundary::InGroup;
        open.compressed |= event_type == EventType::TRANSACTION_PAYLOAD;
        if !matches!(open.identity, Identity::MariaDb(_)) {
            open.note_xa(event_type, body, query.as_ref())?;
        }
        let verdict = self.trim.judge(header, body, whole, self.body.len())?;
        if let Some(Half::AlterEnded { wanted, .. }) = &mut open.half
            && verdict == Verdict::Drop
        {
            // Whether the START was kept decides, and only the merge knows that.
            *wanted = false;
            return Ok(Admission::Keep);
        }
        if temporary_tables::depends_on_session(header) {
            self.note_temporary_tables(header, body, whole, verdict)?;
        }
        self.obey(verdict)
    }

    /// Records how a kept statement changes temporary tables.
    fn note_temporary_tables(
        &mut self,
        header: &EventHeader,
        body: &[u8],
        whole: bool,
        verdict: Verdict,
    ) -> Result<(), TransactionError> {
        let body = match verdict {
            Verdict::Keep => body,
            Verdict::KeepRewritten => self.trim.rewritten(),
            _ => return Ok(()),
        };
        let mariadb = self.options.filter.is_mariadb();
        let statement = temporary_tables::read(header, body, whole, mariadb)?;
        if let Some(open) = &mut self.open
            && let Some(statement) = statement
        {
            temporary_tables::add(&mut open.temporary_tables, statement);
        }
        Ok(())
    }

    /// Refuses an event of an old server that cannot be in a file of the relay.
    fn check_supported(&self, event_type: EventType, body: &[u8]) -> Result<(), TransactionError> {
        match old_servers::why_unsupported(&self.format, event_type, body)? {
            None => Ok(()),
            Some(reason) => Err(TransactionError::Unsupported {
                event_type,
                version: self.format.server_version.clone(),
                reason,
            }),
        }
    }

    /// Between two transactions: begins one with this event, if it can be the first event of a
    /// transaction without an opener. Returns whether there may be such transactions here.
    fn begin_without_opener(&mut self, header: &EventHeader) -> Result<bool, TransactionError> {
        if self.open.is_some()
            || self.options.has_gtids
            || !boundary::has_groups_without_opener(&self.format)
        {
            return Ok(false);
        }
        let lacks_begin = header.event_type == EventType::TABLE_MAP
            && old_servers::has_rows_without_begin(&self.format);
        if lacks_begin || boundary::begins_without_opener(header.event_type) {
            self.start_transaction(Open {
                lacks_begin,
                ..Open::without_gtid(*header)
            });
            self.body.begin_without_opener();
        }
        if lacks_begin {
            // Newer servers write BEGIN and COMMIT around every statement that changes rows.
            self.append(&query::transaction_keyword(header, "BEGIN"))?;
            self.boundary = Boundary::InGroup;
        }
        Ok(true)
    }

    /// Applies the verdict to what was already kept.
    pub(super) fn obey(&mut self, verdict: Verdict) -> Result<Admission, TransactionError> {
        match verdict {
            Verdict::Keep => return Ok(Admission::Keep),
            Verdict::KeepRewritten => return Ok(Admission::KeepRewritten),
            Verdict::Drop => {}
            Verdict::DropBackTo(offset) => {
                self.body
                    .truncate(offset)
                    .map_err(|cause| self.body_error(cause))?;
            }
            Verdict::DropAndEndStatementAt(offset) => {
                self.body
                    .end_statement_at(offset)
                    .map_err(|cause| self.body_error(cause))?;
            }
        }
        Ok(Admission::Drop)
    }

    /// Judges a large event by its head, and appends the head.
    pub(super) fn judge_large(
        &mut self,
        large: &mut LargeEvent,
        head: &[u8],
    ) -> Result<(), TransactionError> {
        let header = EventHeader::parse(head)?;
        let event_type = header.event_type;
        if event_type.is_gtid() {
            return Err(TransactionError::NotEnded { event_type });
        }
        let size = u64::from(header.event_size);
        let around = match self.format.checksum {
            Checksum::Crc32 => event::HEADER_LEN + CHECKSUM_LEN,
            Checksum::None => event::HEADER_LEN,
        };
        let body_len = (header.event_size as usize).saturating_sub(around);
        let after_header = event::body(head, false);
        // The head may reach into the checksum, which is not judged.
        let (body, checksum) = after_header
            .split_at_checked(body_len)
            .unwrap_or((after_header, &[]));
        let admission = self.admit(&header, body, body.len() == body_len)?;
        large.judged(header.event_type, size, admission != Admission::Drop);
        match admission {
            Admission::Drop => Ok(()),
            Admission::Keep => {
                self.append_part(&self.with_checksum(header).encode())?;
                self.append_part(after_header)
            }
            Admission::KeepRewritten => {
                self.append_rewritten(self.with_checksum(header), body.len())?;
                self.append(checksum)
            }
        }
    }
}
