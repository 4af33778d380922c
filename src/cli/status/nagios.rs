//! `binrelay status --nagios`: one line and an exit status as monitoring plug-ins have them.

use std::io;

use binrelay::one_line::escaped;
use binrelay::status::Report;

/// The states of a plug-in, with their exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginState {
    /// 0.
    Ok,
    /// 1: something is degraded.
    Warning,
    /// 2: no relay answers, its log is not running, or a source has failed.
    Critical,
    /// 3: it could not be found out.
    Unknown,
}

impl PluginState {
    /// The exit status.
    pub fn exit_status(self) -> u8 {
        match self {
            PluginState::Ok => 0,
            PluginState::Warning => 1,
            PluginState::Critical => 2,
            PluginState::Unknown => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            PluginState::Ok => "OK",
            PluginState::Warning => "WARNING",
            PluginState::Critical => "CRITICAL",
            PluginState::Unknown => "UNKNOWN",
        }
    }
}

/// The state of a relay that answers, and the line.
pub(super) fn of_report(report: &Report) -> (PluginState, String) {
    let degraded = &report.relay.degraded;
    let has_failed = report.relay.state != "running"
        || report.sources.iter().any(|source| source.state == "failed");
    let state = match degraded.is_empty() {
        _ if has_failed => PluginState::Critical,
        false => PluginState::Warning,
        true => PluginState::Ok,
    };
    let text = match degraded.is_empty() {
        true => summary(report),
        // A vertical bar would begin the performance data.
        false => escaped(&degraded.join("; ")).replace('|', "/"),
    };
    (
        state,
        format!("BINRELAY {} - {text} | {}", state.name(), data(report)),
    )
}

/// The state if the relay does not answer.
pub(super) fn of_error(error: &io::Error, socket: &str) -> (PluginState, String) {
    let state = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => {
            PluginState::Critical
        }
        _ => PluginState::Unknown,
    };
    let error = error.to_string().replace('|', "/");
    (
        state,
        format!(
            "BINRELAY {} - no relay answers at {socket}: {error}",
            state.name()
        ),
    )
}

/// The state if the relay is not known.
pub(super) fn of_configuration(error: &str) -> (PluginState, String) {
    let state = PluginState::Unknown;
    let error = escaped(error).replace('|', "/");
    (state, format!("BINRELAY {} - {error}", state.name()))
}

fn summary(report: &Report) -> String {
    let (sources, replicas) = (report.sources.len(), report.replicas.len());
    format!("sources streaming: {sources} of {sources}; replicas: {replicas}")
}

/// The performance data: `label=value`, with the unit.
fn data(report: &Report) -> String {
    let mut data = Vec::new();
    for source in &report.sources {
        if let Some(behind) = source.seconds_behind {
            data.push(format!("{}_behind={behind}s", source.name));
        }
        let received = source.transactions.received;
        data.push(format!("{}_transactions={received}c", source.name));
    }
    let behind = report.replicas.iter().filter_map(|one| one.seconds_behind);
    if let Some(behind) = behind.max() {
        data.push(format!("replicas_behind={behind}s"));
    }
    data.push(format!("replicas={}", report.replicas.len()));
    if let Some(bytes) = report.relay.log_bytes {
        data.push(format!("log={bytes}B"));
    }
    if let Some(bytes) = report.relay.disk_free_bytes {
        data.push(format!("disk_free={bytes}B"));
    }
    data.join(" ")
}

#[cfg(test)]
mod tests {
    use binrelay::status::{RelayReport, SourceReport};

    use super::*;

    fn report(state: &str, source: &str, degraded: &[&str]) -> Report {
        Report {
            relay: RelayReport {
                state: state.to_owned(),
                degraded: degraded.iter().map(|text| (*text).to_owned()).collect(),
                log_bytes: Some(7),
                ..RelayReport::default()
            },
            sources: vec![SourceReport {
                name: "m1".to_owned(),
                state: source.to_owned(),
                seconds_behind: Some(2),
                ..SourceReport::default()
            }],
            replicas: Vec::new(),
        }
    }

    #[test]
    fn state_and_line_are_those_of_a_plug_in() {
        let data = "m1_behind=2s m1_transactions=0c replicas=0 log=7B";
        for (found, state, text) in [
            (
                report("running", "streaming", &[]),
                PluginState::Ok,
                "BINRELAY OK - sources streaming: 1 of 1; replicas: 0",
            ),
            (
                report(
                    "running",
                    "connecting",
                    &["source m1 is connecting", "a|b\nc"],
                ),
                PluginState::Warning,
                "BINRELAY WARNING - source m1 is connecting; a/b\\nc",
            ),
            (
                report("running", "failed", &["source m1 has failed"]),
                PluginState::Critical,
                "BINRELAY CRITICAL - source m1 has failed",
            ),
            (
                report(
                    "disk_full",
                    "streaming",
                    &["the relay log is in state disk_full"],
                ),
                PluginState::Critical,
                "BINRELAY CRITICAL - the relay log is in state disk_full",
            ),
            (
                report(
                    "starting",
                    "connecting",
                    &["the relay log is in state starting"],
                ),
                PluginState::Critical,
                "BINRELAY CRITICAL - the relay log is in state starting",
            ),
        ] {
            assert_eq!(of_report(&found), (state, format!("{text} | {data}")));
        }
    }

    #[test]
    fn relay_that_does_not_answer_is_critical() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let (state, line) = of_error(&refused, "/run/sock");
        assert_eq!(state, PluginState::Critical);
        assert!(
            line.starts_with("BINRELAY CRITICAL - no relay answers at /run/sock: "),
            "{line}"
        );
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(of_error(&denied, "/run/sock").0, PluginState::Unknown);
        assert_eq!(of_configuration("a\nb").1, "BINRELAY UNKNOWN - a\\nb");
        let states = [
            PluginState::Ok,
            PluginState::Warning,
            PluginState::Critical,
            PluginState::Unknown,
        ];
        assert_eq!(states.map(PluginState::exit_status), [0, 1, 2, 3]);
    }
}
