//! The sources, for SHOW REPLICA STATUS: what the receivers know of them, and how far the log has them.

use std::sync::Arc;

use tokio::sync::watch;

use crate::receiver::SourceState;
use crate::relay_log::{LogState, RelayLog};
use crate::sender::{SourceRow, SourceRowError, SourceRowState, SourceRows};
use crate::status::{Parts, SourceParts};

/// Reads the sources of `parts`.
pub(super) fn source_rows(
    parts: Arc<Parts>,
    log: watch::Receiver<Option<Arc<RelayLog>>>,
) -> SourceRows {
    SourceRows::new(move || {
        let log = log.borrow().clone();
        let state = log.map(|log| log.state().clone());
        let sources = parts.sources.now();
        let rows = sources.iter().map(|source| row(source, state.as_ref()));
        rows.collect()
    })
}

fn row(source: &SourceParts, state: Option<&LogState>) -> SourceRow {
    let report = source.report_in(state);
    let (config, status) = (&source.config, &source.status);
    let facts = status.facts();
    let error = status.last_error();
    SourceRow {
        name: report.name,
        host: report.host,
        port: report.port,
        user: config.user.clone(),
        connect_retry: config.connect_retry,
        heartbeat_period: config.read_timeout / 3,
        state: match status.state() {
            SourceState::Streaming if state.is_some() => SourceRowState::Streaming,
            SourceState::Streaming | SourceState::Connecting => SourceRowState::Connecting,
            SourceState::Stopped | SourceState::Failed => SourceRowState::Stopped,
        },
        position: report.file.zip(report.position).map(|(file, offset)| {
            let file: Arc<str> = file.into();
            crate::relay_log::SourcePosition { file, offset }
        }),
        gtid_received: report.gtid_received,
        by_gtid: facts.as_ref().map(|facts| facts.follows_by_gtid(config)),
        server_id: report.server_id,
        server_uuid: report.server_uuid,
        seconds_behind: report.seconds_behind,
        silent_seconds: report.silent_seconds,
        heartbeats: status.heartbeat_count(),
        semi_sync: config.semi_sync,
        is_semi_sync_active: report.semi_sync,
        acknowledgements: report.semi_sync_acks,
        error: error
            .filter(|error| error.resolved_at.is_none())
            .map(|error| SourceRowError {
                code: error.code,
                message: error.message,
                at: error.at,
            }),
        tls: config.tls.clone(),
        filter: config.filter.current().as_ref().clone(),
    }
}
