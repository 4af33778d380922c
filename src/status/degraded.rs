//! What an administrator must look at.

use super::{Report, SourceReport, TIMED_OUT};
use crate::config::AlertConfig;
use crate::one_line::first_sentence;
use crate::receiver::{SEMI_SYNC_PAUSED, SourceState};
use crate::sender::ReplicaReport;

/// A sentence for each thing that is not as it should be.
pub(super) fn reasons(report: &Report, alert: &AlertConfig) -> Vec<String> {
    let mut reasons = Vec::new();
    if report.relay.state != "running" {
        reasons.push(format!("the relay log is in state {}", report.relay.state));
    }
    if report.relay.semi_sync_wait.as_deref() == Some(TIMED_OUT) {
        reasons.push(
            "semi-sync: transactions are acknowledged to the sources without the replicas, which did not \
             acknowledge in time"
                .to_owned(),
        );
    }
    let sources = report.sources.iter();
    reasons.extend(
        sources
            .clone()
            .filter_map(|source| of_source(source, alert)),
    );
    reasons.extend(sources.filter_map(unverified));
    let replicas = report.replicas.iter();
    let uptime = report.relay.uptime_seconds;
    reasons.extend(replicas.filter_map(|replica| of_replica(replica, alert, uptime)));
    if report.sources.is_empty() {
        reasons.push(
            "no source is followed: all were removed by RESET; add one with CHANGE, see binrelay help changes".to_owned(),
        );
    }
    reasons.extend(report.sources.iter().filter_map(of_semi_sync));
    reasons
}

fn of_source(source: &SourceReport, alert: &AlertConfig) -> Option<String> {
    let (name, state) = (&source.name, &source.state);
    let is = |state: SourceState| source.state == state.name();
    let silent = source.silent_seconds;
    let silent = silent.filter(|silent| *silent > alert.source_silent.as_secs());
    let (what, since) = match silent {
        _ if is(SourceState::Failed) => (format!("source {name} has failed"), " since"),
        Some(silent) => (
            format!("source {name} is {state} and has sent nothing for {silent} s"),
            ", since",
        ),
        None if is(SourceState::Streaming) => return None,
        None => (format!("source {name} is {state}"), " since"),
    };
    let error = source.last_error.as_ref();
    let error = error.filter(|error| error.resolved_at.is_none());
    Some(match error {
        Some(error) if is(SourceState::Failed) || is(SourceState::Connecting) => {
            let why = first_sentence(&error.message);
            format!("{what}{since} {}: {why}", error.at)
        }
        _ => what,
    })
}

/// What a source has sent of its own and could not be compared with what others had delivered.
fn unverified(source: &SourceReport) -> Option<String> {
    let name = &source.name;
    let (count, first) = (source.unverified, source.first_unverified.as_ref()?);
    Some(format!(
        "source {name}: {count} of its own transactions, from {first} on, were delivered by other sources, and their \
         records were removed before they could be compared (max_total_size, expire_after, PURGE): if the other sources filter \
         or have skipped some, replicas lack their changes; compare the replicas' data with the source's (for example \
         with pt-table-checksum), then run binrelay continue {name}"
    ))
}

/// A replica could not connect while the relay was stopped, so it is not missing for longer than the relay has run.
fn of_replica(replica: &ReplicaReport, alert: &AlertConfig, uptime: u64) -> Option<String> {
    let ReplicaReport {
        server_id, host, ..
    } = replica;
    if let Some(missing) = replica.missing_seconds {
        let limit = alert.replica_missing_after.as_secs();
        return (missing.min(uptime) > limit).then(|| {
            let ReplicaReport {
                last_seen,
                file,
                position,
                ..
            } = replica;
            format!(
                "replica {server_id} ({host}) has been missing since {last_seen}; it has received the log up to \
                 {file}:{position}: start its replication, or binrelay forget {server_id}"
            )
        });
    }
    let behind = replica.seconds_behind?;
    (behind > alert.replica_lag.as_secs())
        .then(|| format!("replica {server_id} ({host}) is {behind} s behind"))
}

/// `semi_sync` is set, and the source acknowledges commits to its clients without the relay.
fn of_semi_sync(source: &SourceReport) -> Option<String> {
    let problem = source.semi_sync_problem.as_deref()?;
    // Nothing was committed there since (another problem says so otherwise): it asks for the next transaction to be
    // acknowledged, and waits from then on.
    let is_idle = problem == SEMI_SYNC_PAUSED && source.seconds_behind == Some(0);
    (!is_idle).then(|| format!("source {}: {problem}", source.name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::receiver::SEMI_SYNC_LOSING;
    use crate::status::{ErrorReport, RelayReport};

    const ALERT: AlertConfig = AlertConfig {
        replica_missing_after: Duration::from_secs(60),
        replica_lag: Duration::from_secs(300),
        source_silent: Duration::from_secs(120),
    };

    fn report(sources: Vec<SourceReport>, replicas: Vec<ReplicaReport>) -> Report {
        let relay = RelayReport {
            state: "running".to_owned(),
            ..RelayReport::default()
        };
        Report {
            relay,
            sources,
            replicas,
        }
    }

    fn source(state: &str, silent_seconds: u64) -> SourceReport {
        SourceReport {
            name: "m1".to_owned(),
            state: state.to_owned(),
            silent_seconds: Some(silent_seconds),
            ..SourceReport::default()
        }
    }

    fn replica(seconds_behind: Option<u64>) -> ReplicaReport {
        ReplicaReport {
            server_id: 11,
            host: "db11".to_owned(),
            seconds_behind,
            ..ReplicaReport::default()
        }
    }

    #[test]
    fn nothing_to_report_when_all_is_well() {
        let replicas = vec![replica(Some(300)), replica(None)];
        let report = report(vec![source("streaming", 120)], replicas);
        assert_eq!(reasons(&report, &ALERT), Vec::<String>::new());
    }

    #[test]
    fn each_reason_is_a_sentence() {
        let sources = vec![
            source("streaming", 121),
            source("connecting", 500),
            source("connecting", 5),
            source("failed", 500),
            source("stopped", 0),
            SourceReport {
                unverified: 12,
                first_unverified: Some("0-1-99".to_owned()),
                ..source("streaming", 1)
            },
        ];
        let mut report = report(sources, vec![replica(Some(301))]);
        report.relay.state = "disk_full".to_owned();
        report.relay.semi_sync_wait = Some(TIMED_OUT.to_owned());
        let expected = [
            "the relay log is in state disk_full",
            "semi-sync: transactions are acknowledged to the sources without the replicas, which did not \
             acknowledge in time",
            "source m1 is streaming and has sent nothing for 121 s",
            "source m1 is connecting and has sent nothing for 500 s",
            "source m1 is connecting",
            "source m1 has failed",
            "source m1 is stopped",
            "source m1: 12 of its own transactions, from 0-1-99 on, were delivered by other sources, and their records \
             were removed before they could be compared (max_total_size, expire_after, PURGE): if the other sources filter or \
             have skipped some, replicas lack their changes; compare the replicas' data with the source's (for example \
             with pt-table-checksum), then run binrelay continue m1",
            "replica 11 (db11) is 301 s behind",
        ];
        assert_eq!(reasons(&report, &ALERT), expected);
    }

    #[test]
    fn source_that_is_not_followed_is_a_reason_with_its_error() {
        let found = |state: &str, silent_seconds, resolved_at: Option<&str>| {
            let error = ErrorReport {
                code: 0,
                message: "db1:3306: connect: connection refused; start the server".to_owned(),
                at: "2026-11-27T06:05:44Z".to_owned(),
                resolved_at: resolved_at.map(str::to_owned),
            };
            let source = SourceReport {
                last_error: Some(error),
                ..source(state, silent_seconds)
            };
            reasons(&report(vec![source], Vec::new()), &ALERT)
        };
        let why = "since 2026-11-27T06:05:44Z: db1:3306: connect: connection refused";
        for (state, silent, expected) in [
            ("failed", 5, format!("source m1 has failed {why}")),
            ("failed", 500, format!("source m1 has failed {why}")),
            ("connecting", 5, format!("source m1 is connecting {why}")),
            (
                "connecting",
                500,
                format!("source m1 is connecting and has sent nothing for 500 s, {why}"),
            ),
            // Its error is not why.
            ("stopped", 5, "source m1 is stopped".to_owned()),
        ] {
            assert_eq!(found(state, silent, None), [expected]);
        }
        let ended = Some("2026-11-27T06:07:00Z");
        assert_eq!(found("connecting", 5, ended), ["source m1 is connecting"]);
        assert_eq!(found("streaming", 5, ended), Vec::<String>::new());
    }

    #[test]
    fn relay_that_follows_nothing_is_degraded() {
        let found = reasons(&report(Vec::new(), Vec::new()), &ALERT);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("no source is followed"), "{found:?}");
    }

    #[test]
    fn source_that_does_not_wait_for_acknowledgements_is_a_reason() {
        let found = |problem: &str, seconds_behind| {
            let source = SourceReport {
                semi_sync_problem: Some(problem.to_owned()),
                seconds_behind,
                ..source("streaming", 0)
            };
            reasons(&report(vec![source], Vec::new()), &ALERT)
        };
        let off = "semi_sync is true, but semi-sync replication is off";
        for behind in [Some(0), Some(9), None] {
            assert_eq!(found(off, behind), [format!("source m1: {off}")]);
        }
        let paused = [format!("source m1: {SEMI_SYNC_PAUSED}")];
        assert_eq!(found(SEMI_SYNC_PAUSED, Some(9)), paused);
        assert_eq!(found(SEMI_SYNC_PAUSED, None), paused);
        // Nothing was committed since.
        assert_eq!(found(SEMI_SYNC_PAUSED, Some(0)), Vec::<String>::new());
        // The relay keeps up, and yet nothing waits for it.
        let losing = [format!("source m1: {SEMI_SYNC_LOSING}")];
        assert_eq!(found(SEMI_SYNC_LOSING, Some(0)), losing);
    }

    #[test]
    fn missing_replica_is_a_reason_after_its_time() {
        let missing = |missing_seconds| ReplicaReport {
            state: "missing".to_owned(),
            file: "relay-bin.000003".to_owned(),
            position: 1234,
            last_seen: "2026-11-27T06:05:44Z".to_owned(),
            missing_seconds: Some(missing_seconds),
            ..replica(None)
        };
        let found = |missing_seconds, uptime_seconds| {
            let sources = vec![source("streaming", 0)];
            let mut report = report(sources, vec![missing(missing_seconds)]);
            report.relay.uptime_seconds = uptime_seconds;
            reasons(&report, &ALERT)
        };
        assert_eq!(found(60, 1000), Vec::<String>::new());
        // It was away before the relay was started, too.
        assert_eq!(found(9000, 60), Vec::<String>::new());
        let expected = "replica 11 (db11) has been missing since 2026-11-27T06:05:44Z; it has received the log up to \
                        relay-bin.000003:1234: start its replication, or binrelay forget 11";
        assert_eq!(found(61, 1000), [expected]);
        assert_eq!(found(9000, 61), [expected]);
    }
}
