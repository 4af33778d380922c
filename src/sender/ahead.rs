//! MariaDB replicas that follow by GTID and have transactions that the sources have not sent to this relay yet: a replica that
//! has followed another relay until now, or a master. Real masters refuse it (error 1236), upon which it stops until an
//! administrator starts it. Here what it has arrives soon, so it is made to wait.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::source_rows::{SourceRow, SourceRowState, SourceRows};
use crate::gtid::GtidPosition;
use crate::relay_log::RelayLog;

/// The longest wait. A source whose connection is broken without a sign of it is noticed before, with the default
/// `read_timeout`.
const WAIT_MAX: Duration = Duration::from_secs(40);
/// How long no source must be expected to send anything before the replica is refused: it may have connected, as
/// after the move of a virtual IP address, while a source resumes.
const SETTLED: Duration = Duration::from_secs(5);
/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the log has the transactions up to `position`, or no source can be expected to send them.
pub async fn wait(log: &RelayLog, sources: &SourceRows, position: &GtidPosition) {
    wait_until_settled(log, sources, position, SETTLED).await;
}

/// As [`wait`], with another time than [`SETTLED`].
async fn wait_until_settled(
    log: &RelayLog,
    sources: &SourceRows,
    position: &GtidPosition,
    settled: Duration,
) {
    let since = Instant::now();
    let mut expected = since;
    while is_ahead(log, position) && since.elapsed() < WAIT_MAX {
        let rows = sources.read();
        let are_stopped = !rows.iter().any(|row| row.state.is_followed());
        if may_arrive(&rows, since.elapsed()) {
            expected = Instant::now();
        } else if are_stopped || expected.elapsed() >= settled {
            return;
        }
        sleep(INTERVAL).await;
    }
}

/// Whether the log has an earlier transaction of a domain, but not that of `position`. Where it has a later one, the
/// replica has diverged.
fn is_ahead(log: &RelayLog, position: &GtidPosition) -> bool {
    let state = log.state();
    let Some(executed) = state.executed.as_mariadb() else {
        return false;
    };
    position.iter().any(|gtid| {
        let last = executed.last_in_domain(gtid.domain_id);
        !executed.contains(&gtid) && last.is_some_and(|last| last.seq_no < gtid.seq_no)
    })
}

/// Whether a source may still send what its binlog had when the replica connected, `waited` ago: it is not connected, or
/// is behind, or nothing was heard of it since.
fn may_arrive(sources: &[SourceRow], waited: Duration) -> bool {
    sources.iter().any(|source| match source.state {
        SourceRowState::Stopped | SourceRowState::Failed => false,
        SourceRowState::Connecting => true,
        SourceRowState::Streaming => {
            let heard = source.silent_seconds;
            source.seconds_behind != Some(0)
                || heard.is_none_or(|silent| silent >= waited.as_secs())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flavor::Flavor;
    use crate::sender::tests::fixture::TestLog;

    #[tokio::test]
    async fn replica_waits_for_what_it_has() {
        let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
        log.mariadb("0-1-1", None);
        let relay_log = log.log();
        let connecting = || SourceRows::new(|| vec![SourceRow::default()]);
        let position: GtidPosition = "0-1-3,7-1-5".parse().unwrap();
        let waiting = tokio::spawn({
            let (log, position) = (relay_log.clone(), position.clone());
            async move { wait(&log, &connecting(), &position).await }
        });
        log.mariadb("0-1-2", None);
        sleep(3 * INTERVAL).await;
        assert!(!waiting.is_finished());
        log.mariadb("0-1-3", None);
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, waiting).await.unwrap().unwrap();
        // The log has continued without it, and: no source will send it.
        let diverged: GtidPosition = "0-2-2".parse().unwrap();
        let none = SourceRows::new(Vec::new);
        let later: GtidPosition = "0-1-4".parse().unwrap();
        for (sources, position) in [(connecting(), diverged), (none, later)] {
            let waiting = wait(&relay_log, &sources, &position);
            tokio::time::timeout(limit, waiting).await.unwrap();
        }
    }

    /// A source that has just resumed seems to be up to date until it sends what it has.
    #[tokio::test]
    async fn replica_is_refused_only_when_the_sources_have_been_up_to_date_for_some_time() {
        let mut log = TestLog::empty(Flavor::MariaDb, 1 << 20);
        log.mariadb("0-1-1", None);
        let up_to_date = SourceRow {
            state: SourceRowState::Streaming,
            seconds_behind: Some(0),
            silent_seconds: Some(0),
            ..SourceRow::default()
        };
        let sources = SourceRows::new(move || vec![up_to_date.clone()]);
        let position: GtidPosition = "0-1-2".parse().unwrap();
        let (since, settled) = (Instant::now(), Duration::from_millis(1200));
        wait_until_settled(&log.log(), &sources, &position, settled).await;
        // Nothing is known of the first second, after which it would be refused.
        assert!(since.elapsed() >= settled);
    }

    #[test]
    fn sources_are_waited_for_until_they_were_heard_of() {
        let source = |state, seconds_behind, silent_seconds| SourceRow {
            state,
            seconds_behind,
            silent_seconds,
            ..SourceRow::default()
        };
        let streaming = |behind, silent| source(SourceRowState::Streaming, behind, silent);
        let up_to_date = streaming(Some(0), Some(1));
        let waited = Duration::from_millis(2500);
        for (expected, sources) in [
            (false, vec![]),
            (false, vec![up_to_date.clone()]),
            (
                false,
                vec![
                    up_to_date.clone(),
                    source(SourceRowState::Stopped, None, Some(9)),
                    source(SourceRowState::Failed, None, Some(9)),
                ],
            ),
            (
                true,
                vec![
                    up_to_date.clone(),
                    source(SourceRowState::Connecting, None, None),
                ],
            ),
            (true, vec![streaming(Some(1), Some(0))]),
            (true, vec![streaming(None, Some(0))]),
            (true, vec![streaming(Some(0), Some(2))]),
            (true, vec![streaming(Some(0), None)]),
        ] {
            assert_eq!(may_arrive(&sources, waited), expected, "{sources:?}");
        }
        // It is not known in the first second whether something was heard.
        assert!(may_arrive(
            &[streaming(Some(0), Some(0))],
            Duration::from_millis(900)
        ));
    }
}
