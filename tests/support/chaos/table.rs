//! What was injected, what was lost, and what an operator saw meanwhile.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::plan::Fault;
use crate::support::raw_client::normalise;

/// Letters of a message in the table.
const MESSAGE_MAX: usize = 150;

/// One row.
#[derive(Default)]
struct Row {
    injected: u32,
    /// Of transactions, at the calm points after it.
    lost: u64,
    twice: u64,
    /// What was seen, with numbers left out, and an example of each.
    seen: BTreeMap<String, (String, u32)>,
}

#[derive(Default)]
pub struct Table {
    rows: BTreeMap<&'static str, Row>,
    /// The rows of the faults since the last calm point.
    current: Vec<&'static str>,
}

impl Table {
    pub fn inject(&mut self, name: &'static str) {
        self.rows.entry(name).or_default().injected += 1;
        self.current.push(name);
    }

    /// What a calm point found counts for all faults since the one before.
    pub fn found(&mut self, lost: u64, twice: u64) {
        self.current.sort_unstable();
        self.current.dedup();
        for name in self.current.drain(..) {
            let row = self.rows.entry(name).or_default();
            row.lost += lost;
            row.twice += twice;
        }
    }

    pub fn saw(&mut self, name: &'static str, message: &str) {
        let message: String = message.chars().take(MESSAGE_MAX).collect();
        let seen = &mut self.rows.entry(name).or_default().seen;
        let entry = seen.entry(normalise(&message)).or_insert((message, 0));
        entry.1 += 1;
    }

    pub fn injected(&self) -> u32 {
        self.rows.values().map(|row| row.injected).sum()
    }

    pub fn text(&self) -> String {
        let mut text = "| fault | injected | lost | twice | what the operator saw |\n".to_owned();
        text.push_str("|---|---|---|---|---|\n");
        for (name, row) in &self.rows {
            let mut seen: Vec<_> = row.seen.values().collect();
            seen.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            let seen: Vec<&str> = seen.iter().take(3).map(|(text, _)| text.as_str()).collect();
            let (injected, lost, twice) = (row.injected, row.lost, row.twice);
            let seen = match seen.is_empty() {
                true => "nothing: it was over before".to_owned(),
                false => seen.join("; "),
            };
            writeln!(text, "| {name} | {injected} | {lost} | {twice} | {seen} |")
                .expect("writing to a string");
        }
        text
    }
}

/// What the status says about a fault.
pub fn sentences(fault: Fault, status: &Value) -> Vec<String> {
    let relay = match fault {
        Fault::KillMaster(number) | Fault::Link(number, _) => {
            return of_source(&status["sources"][number]);
        }
        _ => &status["relay"],
    };
    match fault {
        Fault::FillDisk if relay["state"] == "disk_full" => {
            vec![format!(
                "disk_full: {}",
                text(&relay["last_error"]["message"])
            )]
        }
        Fault::Detach => missing(status),
        _ => Vec::new(),
    }
}

fn of_source(source: &Value) -> Vec<String> {
    if source["state"] == "streaming" {
        return Vec::new();
    }
    let error = &source["last_error"];
    let message = match error["resolved_at"].is_null() {
        true => text(&error["message"]),
        false => "",
    };
    vec![format!("{}: {message}", text(&source["state"]))]
}

fn missing(status: &Value) -> Vec<String> {
    let replicas = status["replicas"].as_array().cloned().unwrap_or_default();
    let states = replicas.iter().map(|replica| text(&replica["state"]));
    let other = states.filter(|state| *state != "streaming");
    other.map(|state| format!("a replica is {state}")).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
