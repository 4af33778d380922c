//! `/metrics` of a relay with two sources, a replica that is connected and one that is missing, as Python's
//! `prometheus_client` parses it (`tools/clients`): exactly the families and labels that scripts rely on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::foreign_clients::{driver, lines_of};
use crate::support::http::get;
use crate::support::raw_client::RawClient;
use crate::support::servers::{REPL_PASSWORD, REPL_USER, free_port};
use crate::support::topology::{Mode, Topology, TopologyOptions, run_for};
use crate::support::{self, Deadline, seed};

const CONNECTED: u32 = 11;
const MISSING: u32 = 12;

/// The name without the prefix, the type and the labels of each family that scripts rely on.
const FAMILIES: [(&str, &str, &[&str]); 22] = [
    ("up", "gauge", &[]),
    ("build_info", "info", &["flavor", "version"]),
    ("log_bytes", "gauge", &[]),
    ("log_files", "gauge", &[]),
    ("disk_free_bytes", "gauge", &[]),
    ("transactions_total", "counter", &["outcome", "source"]),
    ("bytes_received_total", "counter", &["source"]),
    ("bytes_sent_total", "counter", &["replica"]),
    ("source_state", "gauge", &["source", "state"]),
    ("source_seconds_behind", "gauge", &["source"]),
    ("source_silent_seconds", "gauge", &["source"]),
    ("source_only_here", "gauge", &["source"]),
    ("source_reconnects_total", "counter", &["source"]),
    ("replica_connected", "gauge", &["replica"]),
    ("replica_seconds_behind", "gauge", &["replica"]),
    ("replica_bytes_behind", "gauge", &["replica"]),
    ("semi_sync_acks_total", "counter", &["source"]),
    ("commit_sync_seconds", "histogram", &[]),
    ("publish_latency_seconds", "histogram", &[]),
    ("connections", "gauge", &[]),
    ("login_failures_total", "counter", &[]),
    ("conflicts_total", "counter", &[]),
];
/// Additions, which are free.
const MORE_FAMILIES: [(&str, &str, &[&str]); 2] =
    [("degraded", "gauge", &[]), ("uptime_seconds", "gauge", &[])];

/// A family as it was parsed.
#[derive(Debug)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
    samples: Vec<Value>,
}

impl Family {
    /// The value of the sample with this suffix and label.
    fn value(&self, suffix: &str, label: &str, value: &str) -> Option<f64> {
        let mut samples = self.samples.iter();
        let found = samples.find(|sample| {
            let name = sample["name"].as_str().unwrap_or_default();
            name.ends_with(suffix) && (label.is_empty() || sample["labels"][label] == value)
        });
        found?["value"].as_f64()
    }
}

/// Parses the text; a fault in it fails the test.
fn parsed(text: &str) -> BTreeMap<String, Family> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("it is written");
    let mut command = driver("prometheus-client");
    command.arg(file.path());
    let families = lines_of(command).into_iter().map(|line| {
        let family: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}\n{text}"));
        let samples = family["samples"].as_array().expect("samples").clone();
        let kind = family["type"].as_str().expect("a type").to_owned();
        // Samples of counters and of information have a suffix, which queries use.
        let name = match kind.as_str() {
            "histogram" => &family["name"],
            _ => &samples[0]["name"],
        };
        let name = name.as_str().expect("a name");
        let name = name
            .strip_prefix("binrelay_")
            .expect("the prefix")
            .to_owned();
        let labels = samples
            .iter()
            .filter_map(|sample| sample["labels"].as_object());
        let labels = labels.flat_map(|labels| labels.keys().cloned());
        let family = Family {
            labels: labels.filter(|label| label != "le").collect(),
            kind,
            samples,
        };
        (name, family)
    });
    families.collect()
}

fn replica(port: u16, server_id: u32) -> RawClient {
    let mut client = RawClient::connect("127.0.0.1", port);
    client.login(REPL_USER, REPL_PASSWORD).expect("a login");
    client.prepare_dump(server_id, None).expect("registered");
    client.dump(server_id, "relay-bin.000001", 4, 0);
    client
}

/// Some values are known only after a while: which transactions each source has, and how far the relay is behind.
async fn wait_for_metrics(http: u16, lines: &[String]) -> String {
    let deadline = Deadline::after_secs(60);
    loop {
        let (status, _, text) = get(http, "/metrics", "");
        assert_eq!(status, 200);
        let missing = lines.iter().find(|line| !text.contains(*line));
        let Some(missing) = missing else {
            return text;
        };
        assert!(!deadline.passed(), "no {missing}:\n{text}");
        run_for(200).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_client_parses_the_documented_families() {
    let _turn = support::turn();
    let http = free_port();
    let mut options = TopologyOptions::new(Mode::MariaDbSlavePos, seed());
    options.replicas = 0;
    options.log_extra = vec![format!("[admin]\nhttp = \"127.0.0.1:{http}\"")];
    let topology = Topology::start(options).await;
    let port = topology.relay.port;
    let _connected = replica(port, CONNECTED);
    let mut missing = replica(port, MISSING);
    missing.next_event();
    drop(missing);
    let mut awaited = vec![format!("replica_connected{{replica=\"{MISSING}\"}} 0\n")];
    for name in ["replica_seconds_behind", "replica_bytes_behind"] {
        awaited.push(format!("{name}{{replica=\"{CONNECTED}\"}} 0\n"));
    }
    for source in ["m1", "m2"] {
        for name in ["source_seconds_behind", "source_only_here"] {
            awaited.push(format!("{name}{{source=\"{source}\"}} 0\n"));
        }
    }
    let families = parsed(&wait_for_metrics(http, &awaited).await);
    let found = families.iter().map(|(name, family)| {
        let labels = family.labels.iter().map(String::as_str).collect();
        (name.as_str(), family.kind.as_str(), labels)
    });
    let found: BTreeSet<(&str, &str, Vec<&str>)> = found.collect();
    let expected = FAMILIES.iter().chain(&MORE_FAMILIES);
    let expected = expected.map(|(name, kind, labels)| (*name, *kind, labels.to_vec()));
    assert_eq!(found, expected.collect());
    let value = |name: &str, suffix, label, value: &str| families[name].value(suffix, label, value);
    assert_eq!(value("up", "", "", ""), Some(1.0));
    let connected = |id: u32| value("replica_connected", "", "replica", &id.to_string());
    assert_eq!(
        [connected(CONNECTED), connected(MISSING)],
        [Some(1.0), Some(0.0)]
    );
    for name in ["commit_sync_seconds", "publish_latency_seconds"] {
        let all = value(name, "_bucket", "le", "+Inf");
        assert!(all > Some(0.0), "{:?}", families[name]);
        assert_eq!(all, value(name, "_count", "", ""), "{name}");
    }
}
