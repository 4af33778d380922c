//! What `tools/monitoring` asks for exists: its metrics are those that the relay serves and that the documentation lists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rust_literals::sources;
use crate::{assert_none, read};

/// How the text format extends the name of a metric: with its unit and by its type.
const SUFFIXES: [&str; 8] = [
    "",
    "_seconds",
    "_total",
    "_info",
    "_bucket",
    "_count",
    "_sum",
    "_seconds_bucket",
];

/// The names of the metrics in the code, as they can be in queries, without the prefix.
fn served() -> BTreeSet<String> {
    let in_metrics = |path: &Path| path.to_string_lossy().contains("src/http/metrics");
    let sources = sources();
    let files = sources.iter().filter(|source| in_metrics(&source.path));
    let literals = files.flat_map(|source| &source.literals);
    let is_name =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    literals
        .filter(|(_, text)| is_name(text))
        .flat_map(|(_, name)| SUFFIXES.map(|suffix| format!("{name}{suffix}")))
        .collect()
}

/// The metrics of the relay that a text names, without the prefix.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    text.split("binrelay_")
        .skip(1)
        .map(|rest| rest.split(|c| !is_part(c)).next().unwrap_or(rest))
        .map(str::to_owned)
        .collect()
}

#[test]
fn monitoring_names_metrics_that_are_served() {
    let served = served();
    assert!(served.contains("source_seconds_behind") && served.contains("build_info"));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/monitoring");
    let mut findings = Vec::new();
    let mut files = 0;
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let names = named(&fs::read_to_string(&path).expect("a text"));
        assert!(names.len() >= 5, "{}: {names:?}", path.display());
        let gone = names.iter().filter(|name| !served.contains(*name));
        findings.extend(gone.map(|name| format!("{}: {name}", path.display())));
        files += 1;
    }
    assert_eq!(files, 3);
    assert_none("no such metric in src/http/metrics.rs", &findings);
}

#[test]
fn metrics_of_the_documentation_are_served() {
    let text = read("src/cli/monitoring.md");
    let (_, table) = text
        .split_once("| metric | labels | meaning |\n")
        .expect("a table");
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let names: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert!(names.len() >= 15, "{names:?}");
    let served = served();
    let gone = names.iter().filter(|name| !served.contains(**name));
    let gone: Vec<String> = gone.map(|name| (*name).to_owned()).collect();
    assert_none("operation.md: no such metric in src/http/metrics.rs", &gone);
}

/// The rules' `KEY: …` lines of this depth.
fn lines_with<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(str::trim_start);
    lines.filter(|line| line.starts_with(key)).collect()
}

/// `tools/trade run administration promtool` reads them as Prometheus does; see the test `trade`.
#[test]
fn dashboard_and_rules_are_complete() {
    let dashboard: Value =
        serde_json::from_str(&read("tools/monitoring/grafana-dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{}", panel["id"]);
        let queries = panel["targets"].as_array().map_or(0, Vec::len);
        let is_row = panel["type"] == "row";
        assert_eq!(queries == 0, is_row, "{}", panel["title"]);
    }
    assert!(panels.len() > 15);
    let rules = read("tools/monitoring/prometheus-rules.yml");
    let alerts = lines_with(&rules, "- alert: ").len();
    assert!(alerts >= 10 && !rules.contains('\t'));
    for key in ["expr: ", "severity: ", "summary: ", "description: "] {
        assert_eq!(lines_with(&rules, key).len(), alerts, "{key}");
    }
}
