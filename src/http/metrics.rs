//! `/metrics`: the report in the OpenMetrics text format
//! (<https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>).
//!
//! Names begin with `binrelay_`. What is not known is absent: a value would be a lie, and a gap is visible.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text::encode};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use crate::sender::ReplicaReport;
use crate::status::{Report, SourceReport};

/// The states of a source, in the order in which they are listed.
const SOURCE_STATES: [&str; 4] = ["connecting", "streaming", "stopped", "failed"];

/// The report as text.
pub(super) fn text(report: &Report) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("binrelay");
    registry.register_collector(Box::new(Reported(report.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Reported(Report);

type Labels = Vec<(&'static str, String)>;

impl Collector for Reported {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut families = Families { encoder };
        of_relay(&mut families, &self.0)?;
        of_sources(&mut families, &self.0.sources)?;
        of_replicas(&mut families, &self.0.replicas)
    }
}

/// Writes the metric families one after the other.
struct Families<'e> {
    encoder: DescriptorEncoder<'e>,
}

impl Families<'_> {
    fn gauges(
        &mut self,
        (name, help): (&str, &str),
        values: impl IntoIterator<Item = (Labels, Option<u64>)>,
    ) -> fmt::Result {
        let known = values.into_iter().filter_map(|(labels, value)| {
            // More than any gauge of the relay can be.
            Some((labels, ConstGauge::new(i64::try_from(value?).ok()?)))
        });
        self.family((name, help), ConstGauge::<i64>::TYPE, known)
    }

    /// The one value of a family without labels.
    fn gauge(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<&Unit>,
        value: u64,
    ) -> fmt::Result {
        let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let family = self
            .encoder
            .encode_descriptor(name, help, unit, ConstGauge::<i64>::TYPE)?;
        value.encode(family)
    }

    fn counters(
        &mut self,
        (name, help): (&str, &str),
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        let values = values.into_iter();
        let values = values.map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family((name, help), ConstCounter::<u64>::TYPE, values)
    }

    /// A family without a value is left out.
    fn family<M: EncodeMetric>(
        &mut self,
        (name, help): (&str, &str),
        kind: MetricType,
        values: impl Iterator<Item = (Labels, M)>,
    ) -> fmt::Result {
        let mut values = values.peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            value.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn of_relay(families: &mut Families<'_>, report: &Report) -> fmt::Result {
    let relay = &report.relay;
    let help = "1 while the relay log is running";
    families.gauge(("up", help), None, u64::from(relay.state == "running"))?;
    let flavor = relay.flavor.clone().unwrap_or_default();
    let build = vec![("version", relay.version.clone()), ("flavor", flavor)];
    let help = "The version of binrelay, and which kind of server it is to its replicas";
    families
        .encoder
        .encode_descriptor("build", help, None, MetricType::Info)?
        .encode_info(&build)?;
    let help = "How many things an administrator must look at";
    families.gauge(("degraded", help), None, relay.degraded.len() as u64)?;
    if let Some(conflicts) = relay.conflicts {
        let help = "Keys that two sources have changed at the same time";
        let family = families.encoder.encode_descriptor(
            "conflicts",
            help,
            None,
            ConstCounter::<u64>::TYPE,
        )?;
        ConstCounter::new(conflicts).encode(family)?;
    }
    let help = "Time since the start";
    families.gauge(("uptime", help), Some(&Unit::Seconds), relay.uptime_seconds)
}

fn source_label(source: &SourceReport) -> Labels {
    vec![("source", source.name.clone())]
}

fn of_sources(families: &mut Families<'_>, sources: &[SourceReport]) -> fmt::Result {
    let states = sources.iter().flat_map(|source| {
        SOURCE_STATES.iter().map(|state| {
            let mut labels = source_label(source);
            labels.push(("state", (*state).to_owned()));
            (labels, Some(u64::from(source.state == *state)))
        })
    });
    let help = "1 for the state that the source is in";
    families.gauges(("source_state", help), states)?;
    let outcomes = sources.iter().flat_map(|source| {
        let counts = &source.transactions;
        let outcomes = [
            ("kept", counts.kept),
            ("duplicate", counts.duplicate),
            ("filtered", counts.filtered),
            ("repeated", counts.repeated),
        ];
        outcomes.into_iter().map(|(outcome, count)| {
            let mut labels = source_label(source);
            labels.push(("outcome", outcome.to_owned()));
            (labels, count)
        })
    });
    let help = "Transactions received; those that were filtered or repeated also count as kept or duplicate";
    families.counters(("transactions", help), outcomes)?;
    let by_source = |value: fn(&SourceReport) -> u64| {
        sources
            .iter()
            .map(move |source| (source_label(source), value(source)))
    };
    let help = "Bytes of events received from the source";
    let bytes = by_source(|source| source.bytes_received);
    families.counters(("bytes_received", help), bytes)?;
    let help = "Connections to the source that were lost or not established";
    let reconnects = by_source(|source| source.reconnects);
    families.counters(("source_reconnects", help), reconnects)?;
    let help = "Semi-sync acknowledgements sent to the source";
    let acknowledgements = by_source(|source| source.semi_sync_acks);
    families.counters(("semi_sync_acks", help), acknowledgements)?;
    type Value = fn(&SourceReport) -> Option<u64>;
    let gauges: [(&str, &str, Value); 3] = [
        (
            "source_seconds_behind",
            "How far the relay is behind the source",
            |source| source.seconds_behind,
        ),
        (
            "source_silent_seconds",
            "Time since the newest packet of the source, heartbeats included",
            |source| source.silent_seconds,
        ),
        (
            "source_only_here",
            "Transactions in the relay log that no other source has",
            |source| source.only_here,
        ),
    ];
    for (name, help, value) in gauges {
        let values = sources
            .iter()
            .map(|source| (source_label(source), value(source)));
        families.gauges((name, help), values)?;
    }
    Ok(())
}

fn of_replicas(families: &mut Families<'_>, replicas: &[ReplicaReport]) -> fmt::Result {
    let replicas = one_by_server_id(replicas);
    let label = |id: u32| vec![("replica", id.to_string())];
    let is_connected = |replica: &ReplicaReport| replica.missing_seconds.is_none();
    let connected = replicas
        .iter()
        .map(|(id, replica)| (label(*id), Some(u64::from(is_connected(replica)))));
    let help = "1 while the replica is connected, 0 if it was once and is not now";
    families.gauges(("replica_connected", help), connected)?;
    let behind = replicas
        .iter()
        .map(|(id, replica)| (label(*id), replica.seconds_behind));
    let help = "The age of the last event sent to the replica; 0 at the end of the log";
    families.gauges(("replica_seconds_behind", help), behind)?;
    let sent = replicas
        .iter()
        .filter(|(_, replica)| is_connected(replica))
        .map(|(id, replica)| (label(*id), replica.bytes_sent));
    let help = "Bytes sent to the replica over its connection";
    families.counters(("bytes_sent", help), sent)
}

/// The replicas by server_id: labels must be unique, and clients that only read the log have none. Of two with the
/// same one, that which is connected, and further behind.
fn one_by_server_id(replicas: &[ReplicaReport]) -> BTreeMap<u32, &ReplicaReport> {
    let mut by_id: BTreeMap<u32, &ReplicaReport> = BTreeMap::new();
    for replica in replicas.iter().filter(|replica| replica.server_id != 0) {
        let kept = by_id.entry(replica.server_id).or_insert(replica);
        let rank = |one: &ReplicaReport| (one.missing_seconds.is_none(), one.seconds_behind);
        if rank(replica) > rank(kept) {
            *kept = replica;
        }
    }
    by_id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::{RelayReport, TransactionCounts};

    fn report() -> Report {
        let relay = RelayReport {
            version: "1.2.3".to_owned(),
            flavor: Some("mariadb".to_owned()),
            state: "running".to_owned(),
            uptime_seconds: 60,
            ..RelayReport::default()
        };
        let source = SourceReport {
            name: "m1".to_owned(),
            state: "streaming".to_owned(),
            seconds_behind: Some(3),
            silent_seconds: Some(0),
            only_here: None,
            transactions: TransactionCounts {
                kept: 5,
                ..TransactionCounts::default()
            },
            ..SourceReport::default()
        };
        Report {
            relay,
            sources: vec![source],
            replicas: Vec::new(),
        }
    }

    fn replica(server_id: u32, seconds_behind: Option<u64>) -> ReplicaReport {
        ReplicaReport {
            server_id,
            seconds_behind,
            ..ReplicaReport::default()
        }
    }

    #[test]
    fn report_is_written_in_the_openmetrics_format() {
        let text = text(&report()).unwrap();
        for line in [
            "# TYPE binrelay_up gauge",
            "binrelay_up 1",
            "# TYPE binrelay_build info",
            "binrelay_build_info{version=\"1.2.3\",flavor=\"mariadb\"} 1",
            "# UNIT binrelay_uptime_seconds seconds",
            "binrelay_uptime_seconds 60",
            "binrelay_source_state{source=\"m1\",state=\"streaming\"} 1",
            "binrelay_source_state{source=\"m1\",state=\"failed\"} 0",
            "# TYPE binrelay_transactions counter",
            "binrelay_transactions_total{source=\"m1\",outcome=\"kept\"} 5",
            "binrelay_source_seconds_behind{source=\"m1\"} 3",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(
            !text.contains("only_here"),
            "unknown values are absent:\n{text}"
        );
        assert!(
            !text.contains("replica_"),
            "no family without a value:\n{text}"
        );
    }

    /// The other direction, for what is not in this report, is tested in `tests/documentation/monitoring.rs`.
    #[test]
    fn every_metric_is_documented() {
        let mut report = report();
        report.relay.conflicts = Some(1);
        for source in &mut report.sources {
            source.only_here = Some(1);
        }
        report.replicas = vec![replica(11, Some(0))];
        let text = text(&report).unwrap();
        let samples = text
            .lines()
            .filter_map(|line| line.strip_prefix("binrelay_"));
        let served: BTreeSet<&str> = samples
            .map(|sample| sample.split(['{', ' ']).next().unwrap())
            .collect();
        let operation = include_str!("../cli/monitoring.md");
        let (_, table) = operation
            .split_once("| metric | labels | meaning |\n")
            .unwrap();
        let rows = table.lines().take_while(|line| line.starts_with('|'));
        let documented: BTreeSet<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
        assert_eq!(served, documented);
    }

    #[test]
    fn replicas_with_the_same_server_id_are_one_series() {
        let mut report = report();
        let missing = |server_id| ReplicaReport {
            missing_seconds: Some(9),
            ..replica(server_id, None)
        };
        report.replicas = vec![
            replica(11, Some(2)),
            replica(11, Some(7)),
            replica(0, None),
            missing(11),
            missing(12),
        ];
        let text = text(&report).unwrap();
        let behind: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("binrelay_replica_seconds_behind{"))
            .collect();
        assert_eq!(
            behind,
            ["binrelay_replica_seconds_behind{replica=\"11\"} 7"]
        );
        for (id, connected) in [(11, 1), (12, 0)] {
            let line = format!("binrelay_replica_connected{{replica=\"{id}\"}} {connected}\n");
            assert!(text.contains(&line), "{text}");
        }
        assert!(!text.contains("bytes_sent_total{replica=\"12\"}"), "{text}");
    }
}
