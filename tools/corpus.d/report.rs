//! The table of the test files: used, left out and why, failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::collect::Runs;
use crate::history::History;
use crate::replay::Verdict;

#[derive(Default)]
struct OfTest {
    equal: usize,
    left_out: BTreeSet<String>,
    refused: BTreeSet<String>,
    failed: Vec<String>,
}

pub struct Report {
    path: PathBuf,
    tests: BTreeMap<String, OfTest>,
    runs: Runs,
    histories: usize,
    transactions: u64,
    refusals: Vec<String>,
    failures: Vec<String>,
    lines: Vec<String>,
}

impl Report {
    pub fn new(path: PathBuf) -> Report {
        Report {
            path,
            tests: BTreeMap::new(),
            runs: Runs::new(),
            histories: 0,
            transactions: 0,
            refusals: Vec::new(),
            failures: Vec::new(),
            lines: Vec::new(),
        }
    }

    pub fn add(&mut self, history: &History, verdict: &Verdict) {
        let names: Vec<&str> = history.tests.iter().map(String::as_str).collect();
        let names = names.join(" ");
        let line = match verdict {
            Verdict::Equal {
                transactions,
                notes,
            } => {
                self.histories += 1;
                self.transactions += transactions;
                format!(
                    "equal    {} {names}: {transactions} transactions; {}",
                    history.name(),
                    notes.join("; ")
                )
            }
            Verdict::LeftOut(reason) => format!("left out {} {names}: {reason}", history.name()),
            Verdict::Refused(reason) => format!("refused  {} {names}: {reason}", history.name()),
            Verdict::Failed(failure) => format!("FAILED   {} {names}: {failure}", history.name()),
        };
        println!("{line}");
        for test in &history.tests {
            let test = self.tests.entry(test.clone()).or_default();
            match verdict {
                Verdict::Equal { .. } => test.equal += 1,
                Verdict::LeftOut(reason) => {
                    test.left_out.insert(reason.clone());
                }
                Verdict::Refused(reason) => {
                    test.refused.insert(reason.clone());
                }
                Verdict::Failed(_) => test.failed.push(history.name()),
            }
        }
        match verdict {
            Verdict::Failed(_) => self.failures.push(line.clone()),
            Verdict::Refused(_) => self.refusals.push(line.clone()),
            Verdict::Equal { .. } | Verdict::LeftOut(_) => {}
        }
        self.lines.push(line);
        self.write();
    }

    pub fn runs(&mut self, runs: Runs) {
        self.runs = runs;
    }

    /// Writes the table; 1 when something failed or nothing was tried.
    pub fn finish(self) -> ExitCode {
        let summary = self.write();
        println!("{summary}The whole table: {}", self.path.display());
        match self.failures.is_empty() && self.histories > 0 {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    /// Writes the table so that an interrupted run leaves it; returns the totals.
    fn write(&self) -> String {
        let mut used = Vec::new();
        let mut left_out: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let names: BTreeSet<&String> = self.runs.keys().chain(self.tests.keys()).collect();
        for name in names {
            let runs = self
                .runs
                .get(name)
                .map_or_else(String::new, |runs| runs.join(", "));
            match self.tests.get(name) {
                Some(test)
                    if test.equal > 0 || !test.failed.is_empty() || !test.refused.is_empty() =>
                {
                    let word = match (test.failed.is_empty(), test.refused.is_empty()) {
                        (false, _) => "FAILED ",
                        (true, false) => "refused",
                        (true, true) => "used   ",
                    };
                    used.push(format!(
                        "{word} {name}: {} histories equal; {runs}",
                        test.equal
                    ));
                }
                test => {
                    let reason = self.reason(name, test);
                    left_out.entry(reason).or_default().push(name.clone());
                }
            }
        }
        let mut totals = format!(
            "{} test files used, {} histories with {} transactions; {} test files left out; \
             {} histories refused by the relay, {} failures\n",
            used.len(),
            self.histories,
            self.transactions,
            left_out.values().map(Vec::len).sum::<usize>(),
            self.refusals.len(),
            self.failures.len()
        );
        for (reason, names) in &left_out {
            writeln!(totals, "  left out: {:4} {reason}", names.len())
                .expect("writing to a string");
        }
        let mut text = totals.clone();
        for (title, lines) in [
            ("Failures", &self.failures),
            ("Refused", &self.refusals),
            ("Used", &used),
        ] {
            writeln!(text, "\n{title}\n{}", lines.join("\n")).expect("writing to a string");
        }
        for (reason, names) in &left_out {
            writeln!(text, "\nLeft out: {reason}\n{}", names.join("\n"))
                .expect("writing to a string");
        }
        writeln!(text, "\nHistories\n{}", self.lines.join("\n")).expect("writing to a string");
        std::fs::write(&self.path, text).expect("the table is written");
        totals
    }

    /// Why a test file was not used.
    fn reason(&self, name: &str, test: Option<&OfTest>) -> String {
        let runs = self.runs.get(name).map_or(&[][..], Vec::as_slice);
        let skipped = runs.iter().filter_map(|run| {
            let (_, outcome) = run.split_once(": ")?;
            let reason = outcome
                .strip_prefix("skipped")
                .or_else(|| outcome.strip_prefix("disabled"));
            reason.map(str::trim)
        });
        let skipped: BTreeSet<&str> = skipped.collect();
        let ran = runs
            .iter()
            .any(|run| run.contains("pass") || run.contains("fail"));
        if !ran && !skipped.is_empty() {
            let reasons: Vec<&str> = skipped.into_iter().collect();
            return format!("the runner: {}", reasons.join(", "));
        }
        if let Some(test) = test.filter(|test| !test.left_out.is_empty()) {
            let reasons: Vec<&str> = test.left_out.iter().map(String::as_str).collect();
            return reasons.join(", ");
        }
        "it wrote no transactions into the master's binlog".to_owned()
    }
}
