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
            SourceState::Stopped => SourceRowState::Stopped,
            SourceState::Failed => SourceRowState::Failed,
        },
        // MySQL: the log does not record which source has delivered what. Without a position this one has delivered nothing.
        gtid_received: match report.position {
            Some(_) => report.gtid_received,
            None => String::new(),
        },
        position: report.file.zip(report.position).map(|(file, offset)| {
            let file: Arc<str> = file.into();
            crate::relay_log::SourcePosition { file, offset }
        }),
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
                at: error.newest_at,
            }),
        tls: config.tls.clone(),
        filter: config.filter.current().as_ref().clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::identity::Executed;
    use crate::position::SourcePosition;
    use crate::receiver::ReceiverError;
    use crate::relay_log::SourceProgress;

    fn source() -> SourceParts {
        let text = "[relay]\nserver_id = 1\ndata_dir = \"d\"\nlisten = \"127.0.0.1:3306\"\n\
                    [[source]]\nname = \"m1\"\nhost = \"m1\"\nuser = \"repl\"\npassword = \"\"\n";
        let mut config = Config::parse(text, Path::new("binrelay.toml")).unwrap();
        SourceParts {
            number: 0,
            config: config.sources.remove(0),
            changed: Vec::new(),
            status: Arc::default(),
            counters: Arc::default(),
            deciding: tokio::sync::mpsc::channel(1).0,
        }
    }

    fn state(position: SourcePosition) -> LogState {
        let executed = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-83".parse().unwrap();
        LogState {
            executed: Executed::MySql(executed),
            purged: Executed::MySql(crate::gtid::GtidSet::new()),
            files: vec![1],
            sources: vec![SourceProgress {
                position,
                ..SourceProgress::default()
            }],
        }
    }

    #[test]
    fn source_without_a_position_has_delivered_nothing() {
        let source = source();
        let never = row(&source, Some(&state(SourcePosition::default())));
        assert_eq!((never.position, never.gtid_received.as_str()), (None, ""));
        let state = state(SourcePosition::new("bin.000001", 4));
        let received = row(&source, Some(&state)).gtid_received;
        assert_eq!(received, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-83");
    }

    #[test]
    fn source_that_has_failed_is_distinguished_from_a_stopped_one() {
        let source = source();
        assert_eq!(row(&source, None).state, SourceRowState::Connecting);
        let error = ReceiverError::Refused("it is not the next one".to_owned());
        source.status.note_error(&error, "m1");
        let failed = row(&source, None);
        assert_eq!(failed.state, SourceRowState::Failed);
        assert_eq!(failed.error.unwrap().message, "it is not the next one");
        source.status.set_stopped_by_order();
        assert_eq!(row(&source, None).state, SourceRowState::Stopped);
    }
}
