//! Whether a source's dump still agrees with its binlog.
//!
//! A source whose binlog is reset need not end the dump: MySQL 5.6 continues to wait at the end of the
//! removed file, and sends heartbeats. So the end of the binlog, which the control connection reports, is
//! compared with the dump. After a contradiction the source is connected again, which verifies its history.

use super::error::ReceiverError;
use super::options::ReceiverContext;
use super::source_end::END_INTERVAL;
use super::status::{Heartbeats, SourceStatus};
use crate::position::SourcePosition;

/// A dump that has sent as many heartbeats since an end was reported has nothing more to send: the first
/// may have been under way.
const HEARTBEATS: u64 = 2;

/// Waits until the source's binlog contradicts its dump, and returns the contradiction as an error.
pub(super) async fn contradiction(
    number: u16,
    context: &ReceiverContext,
    status: &SourceStatus,
) -> ReceiverError {
    // The end that the dump has to reach, and the heartbeats before it was reported.
    let mut awaited: Option<(SourcePosition, u64)> = None;
    loop {
        let received = {
            let path = status.path().unwrap_or(number);
            let state = context.log.state();
            let progress = state.sources.get(usize::from(path));
            progress.map(|progress| (progress.position.clone(), progress.server_id))
        };
        let reports = status.end_reports();
        // The second report from now on answers a question that was asked after the position was received.
        while status.end_reports() < reports + 2 {
            tokio::time::sleep(END_INTERVAL).await;
        }
        let end = status.source_end().and_then(|end| end.position);
        let (Some((received, server_id)), Some(end)) = (received, end) else {
            continue;
        };
        // Another server may answer at the address now; its coordinates cannot be compared.
        if status
            .facts()
            .is_none_or(|facts| facts.server_id != server_id)
        {
            continue;
        }
        if end.precedes(&received) {
            return ReceiverError::Stream {
                at: received,
                found: format!("{end} as the end of its binlog"),
                expected: "an end that is not before a position that was received",
            };
        }
        let Heartbeats { count, position } = status.heartbeats();
        match &awaited {
            Some((expected, before)) if count >= before + HEARTBEATS => {
                if position.precedes(expected) {
                    return ReceiverError::Stream {
                        at: position,
                        found: format!("heartbeats, and {expected} as the end of its binlog"),
                        expected: "the events up to that end",
                    };
                }
                awaited = None;
            }
            Some(_) => {}
            None => awaited = Some((end, count)),
        }
    }
}
