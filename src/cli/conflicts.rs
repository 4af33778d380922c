//! `binrelay conflicts`: the keys that two masters changed at the same time.

use std::io::Write;

use anyhow::Context;
use binrelay::admin;
use binrelay::conflicts::{Conflict, ConflictReport, ConflictingWrite, list};
use binrelay::one_line::escaped;

use super::Outcome;
use super::config_file::RunningRelay;
use super::status::no_answer;
use super::stdout::Stdout;

/// List the conflicts of the sources: keys that two masters changed at the same time
///
/// Queries the relay over its Unix socket. A conflict is a key (the primary key, or the whole row where there
/// is none) that transactions of two masters changed, where neither master had the other's transaction yet.
/// The newest 1,000 since the start of the relay are listed, the oldest first.
#[derive(Debug, clap::Args)]
pub struct ConflictsArgs {
    #[command(flatten)]
    pub relay: RunningRelay,
    /// Print one JSON object for each conflict
    #[arg(long)]
    pub json: bool,
}

/// Asks the relay and prints its answer.
pub fn run(args: ConflictsArgs) -> anyhow::Result<Outcome> {
    let socket = args.relay.socket()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime
        .block_on(admin::ask_conflicts(&socket))
        .with_context(|| no_answer(&socket))?;
    if !report.detected {
        anyhow::bail!(
            "the relay does not detect conflicts: it has one source, or [relay] detect_conflicts is false"
        );
    }
    let mut out = Stdout::lock();
    for conflict in &report.conflicts {
        match args.json {
            true => writeln!(out, "{}", serde_json::to_string(conflict)?)?,
            false => write!(out, "{}", described(conflict))?,
        }
    }
    if !args.json {
        write!(out, "{}", summary(&report))?;
    }
    Ok(Outcome::Done)
}

fn summary(report: &ConflictReport) -> String {
    let listed = report.conflicts.len() as u64;
    let mut text = format!("conflicts since {}: {}", report.since, report.count);
    if listed < report.count {
        text.push_str(&format!(", of which {listed} are listed"));
    }
    text.push('\n');
    let not = &report.not_compared;
    let counts = [
        (
            not.transactions,
            "transactions, because there were too many that another source had not sent",
        ),
        (
            not.events,
            "rows events, or parts of transactions, that are too large or cannot be read",
        ),
        (
            not.uncertain,
            "possible conflicts, because a source does not log what it replicates or could not be asked",
        ),
        (
            not.files,
            "times the rest of the log, because it could not be read",
        ),
    ];
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!("not compared: {count} {what}\n"));
    }
    text
}

fn described(conflict: &Conflict) -> String {
    let key = match &conflict.key {
        Some(key) => format!("key {}", list(key)),
        None => "no primary key".to_owned(),
    };
    let table = format!("{}.{}", conflict.database, conflict.table);
    let mut text = format!("{}  {}, {}\n", conflict.at, escaped(&table), escaped(&key));
    for write in &conflict.writes {
        text.push_str(&format!("    {}\n", escaped(&written(write))));
    }
    text
}

fn written(write: &ConflictingWrite) -> String {
    let images = [&write.before, &write.after].map(|image| {
        let values = image.as_deref().map(list);
        values.map(|values| format!("({values})"))
    });
    let images: Vec<String> = images.into_iter().flatten().collect();
    format!(
        "{} {}: {} {}; {}:{} of the relay log",
        write.time.as_deref().unwrap_or("at an unknown time"),
        write.coordinates(),
        write.action,
        images.join(" -> "),
        write.relay_file,
        write.relay_position
    )
}
