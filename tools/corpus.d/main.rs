//! Runs MariaDB's regression suites `rpl` and `binlog`, which write binlogs, and sends each of these through the relay.
//!
//! Run by `tools/corpus`, which fetches the suites. Their own runner runs them with all the servers that they want;
//! meanwhile every binlog file of server 1 is kept ([`collect`]), also what a test purges or resets. Each history of
//! files (everything between two `RESET MASTER`) is then served by a master of its own to three replicas: two follow the
//! master, one the relay, and their contents are compared in the end ([`replay`]).

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod collect;
mod events;
mod history;
mod replay;
mod report;
mod snapshot;

use std::path::Path;
use std::process::ExitCode;

use history::Segment;
use replay::Replayer;
use report::Report;

const USAGE: &str =
    "corpus run SUITES WORK RESULT RUNNER-ARGUMENT… | corpus again|logs WORK RESULT";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", suites, work, result, rest @ ..] => {
            run(Path::new(suites), Path::new(work), Path::new(result), rest).await
        }
        [word @ ("again" | "logs"), work, result] => {
            again(Path::new(work), Path::new(result), *word == "logs").await
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Collects and replays at the same time.
async fn run(suites: &Path, work: &Path, result: &Path, arguments: &[&str]) -> ExitCode {
    let mut report = Report::new(result.to_path_buf());
    let (sender, mut segments) = tokio::sync::mpsc::unbounded_channel();
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    let collector = collect::Collector::new(suites.to_path_buf(), work.to_path_buf(), arguments);
    let collecting = std::thread::spawn(move || collector.run(&sender));
    let mut replayer = Replayer::new(work.join("template"), false);
    while let Some(directory) = segments.recv().await {
        replay(&mut replayer, &directory, &mut report).await;
    }
    let runs = collecting.join().expect("the collector does not panic");
    report.runs(runs);
    report.finish()
}

/// Replays binlogs that were collected before, or only passes them through the relay and compares the logs.
async fn again(work: &Path, result: &Path, logs_only: bool) -> ExitCode {
    let mut report = Report::new(result.to_path_buf());
    let mut replayer = Replayer::new(work.join("template"), logs_only);
    for directory in history::sorted_directories(&work.join("collection")) {
        replay(&mut replayer, &directory, &mut report).await;
    }
    report.runs(collect::runs_in(&work.join("runner.log")));
    report.finish()
}

async fn replay(replayer: &mut Replayer, directory: &Path, report: &mut Report) {
    let segment = Segment::load(directory);
    replayer.begin_segment().await;
    for history in &segment.histories {
        let verdict = replayer.replay(history).await;
        report.add(history, &verdict);
    }
}
