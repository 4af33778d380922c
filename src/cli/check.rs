//! `binrelay check`: whether a configuration works.

use std::fmt::Display;
use std::io::{self, Write};

use binrelay::config::{ChannelChanges, ChannelsError, Config, FlavorChoice, SharedFilter};
use binrelay::identity::IdentityKind;
use binrelay::receiver::{
    self, CheckedSource, Identities, ReceiverOptions, auto_increment_collision, changed_starts,
    check_source, different_rules, filtering_sources, lost_commit_times, not_logging_updates,
};
use binrelay::relay::{inspect_log, preflight};
use binrelay::relay_log::recover::Inspected;
use binrelay::tls::install_crypto_provider;

use super::config_file::ConfigFile;
use super::stdout::Stdout;
use super::{Outcome, chain};

/// Check a configuration, this machine, and every source
///
/// Reads the configuration as run would, tests the data directory, the free space and the addresses
/// to listen on, connects to each source, and reports what would not work and how to fix it, missing
/// privileges included. It changes nothing. Exits with 3 when the relay would run, but with warnings
/// or without some of its sources; notes do not affect the exit status.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigFile,
}

/// What was printed.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    /// `run` would end with an error.
    problems: usize,
    warnings: usize,
    /// Sources that can be followed, and others.
    good: usize,
    bad: usize,
}

/// Prints what was found; `about` is the subject of the lines.
fn print(
    out: &mut impl Write,
    about: &str,
    word: &str,
    found: impl IntoIterator<Item = impl Display>,
) -> io::Result<usize> {
    let mut count = 0;
    for text in found {
        count += 1;
        writeln!(out, "{about}{word}: {text}")?;
    }
    out.flush()?;
    Ok(count)
}

/// What is known of the sources before they are asked.
#[derive(Debug, Default)]
struct Known {
    /// The names of those that a statement has stopped.
    stopped: Vec<String>,
    /// The relay log, if there is one that can be read.
    log: Option<Inspected>,
    /// Nothing in data_dir can be read, which was said.
    is_hidden: bool,
}

/// Makes the sources those that `run` would follow; returns how they differ from the configuration.
fn apply_changes(config: &mut Config, known: &mut Known) -> Result<Vec<String>, ChannelsError> {
    let changes = ChannelChanges::load(&config.relay.data_dir)?;
    let differences = changes.sentences(&config.sources, &config.relay.data_dir);
    let wanted = changes.apply(&config.sources, &SharedFilter::new(config.filter.clone()));
    let stopped = wanted.iter().filter(|source| source.is_stopped);
    known.stopped = stopped.map(|source| source.config.name.clone()).collect();
    config.sources = wanted.into_iter().map(|source| source.config).collect();
    Ok(differences)
}

/// Prints the warnings about a valid configuration, then checks this machine and the sources.
pub fn run(_args: CheckArgs, mut config: Config) -> anyhow::Result<Outcome> {
    install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = Stdout::lock();
    let mut counts = Counts::default();
    let file = format!("{}: ", config.path.display());
    let mut known = Known::default();
    let changed = apply_changes(&mut config, &mut known);
    writeln!(
        out,
        "{file}the configuration is valid; sources: {}",
        config.sources.len()
    )?;
    counts.warnings += print(&mut out, &file, "warning", &config.warnings)?;
    if config.exposes_passwords() {
        let text = "it contains passwords and is world-readable; run chmod 640 on it";
        print(&mut out, &file, "note", [text])?;
    }
    let machine = runtime.block_on(preflight(&config));
    known.is_hidden = machine.hides_data_dir;
    match changed {
        Ok(differences) => {
            print(&mut out, "", "note", differences)?;
        }
        Err(_) if known.is_hidden => {}
        Err(error) => counts.problems += print(&mut out, "", "problem", [error])?,
    }
    counts.problems += print(&mut out, "", "problem", machine.problems)?;
    counts.warnings += print(&mut out, "", "warning", machine.warnings)?;
    print(&mut out, "", "note", machine.notes)?;

    match inspect_log(&config) {
        Ok(log) => known.log = log,
        Err(_) if known.is_hidden => {}
        Err(error) => counts.problems += print(&mut out, "", "problem", [chain(&error.into())])?,
    }
    let started = config.sources.iter().map(|source| source.name.clone());
    let log = known.log.as_ref();
    let started: Vec<String> = started
        .filter(|name| log.is_some_and(|log| log.started(name).is_some()))
        .collect();
    for (source, warning) in changed_starts(&config.relay.data_dir, &config.sources, &started) {
        let about = format!("source {source}: ");
        counts.warnings += print(&mut out, &about, "warning", [warning])?;
    }
    check_sources(&config, &known, &runtime, &mut out, &mut counts)?;
    Ok(match counts {
        Counts { problems: 1.., .. }
        | Counts {
            good: 0, bad: 1.., ..
        } => Outcome::Failed,
        Counts {
            warnings: 0,
            bad: 0,
            ..
        } => Outcome::Done,
        _ => Outcome::Degraded,
    })
}

/// Connects to each source and prints the result.
fn check_sources(
    config: &Config,
    known: &Known,
    runtime: &tokio::runtime::Runtime,
    out: &mut impl Write,
    counts: &mut Counts,
) -> anyhow::Result<()> {
    let identities = Identities::default();
    let flavor = match config.relay.flavor {
        FlavorChoice::Fixed(flavor) => Some(flavor),
        FlavorChoice::Auto => None,
    };
    receiver::read_offered_tls(&config.relay.data_dir, &config.sources);
    let log = known.log.as_ref();
    let mut kind = log.map(|log| log.executed.kind());
    let mut masters = Vec::new();
    let (mut logging, mut ruled) = (Vec::new(), Vec::new());
    let mut without_gtids = Vec::new();
    for (number, source) in (0u16..).zip(&config.sources) {
        let options = ReceiverOptions::of_check(number, source, config.relay.server_id);
        let about = format!("source {}: ", source.name);
        if known.stopped.contains(&source.name) {
            print(
                out,
                &about,
                "note",
                ["not checked: it is not followed until START"],
            )?;
            continue;
        }
        let recorded = match known.is_hidden {
            true => Ok(()),
            false => receiver::check_recorded_history(&config.relay.data_dir, &source.name),
        };
        let checked = recorded.and_then(|()| {
            runtime.block_on(check_source(&options, &identities, flavor, kind, log))
        });
        match checked {
            Ok(found) => {
                counts.good += 1;
                let CheckedSource { summary, .. } = &found;
                writeln!(out, "{about}{summary}")?;
                counts.warnings += print(out, &about, "warning", found.warnings)?;
                print(out, &about, "note", found.notes)?;
                kind.get_or_insert(found.kind);
                let settings = found.auto_increment;
                masters.extend(settings.map(|settings| (source.name.clone(), settings)));
                logging.push((source.name.clone(), found.logs_updates));
                ruled.push(found.rules);
                if found.kind == IdentityKind::Anonymous {
                    without_gtids.push((source.name.clone(), found.version, found.logs_updates));
                }
            }
            Err(error) => {
                counts.bad += 1;
                print(out, &about, "problem", [error.to_line(&source.name)])?;
            }
        }
    }
    counts.warnings += print(out, "", "warning", auto_increment_collision(&masters))?;
    counts.warnings += print(out, "", "warning", different_rules(&ruled))?;
    counts.warnings += print(out, "", "warning", filtering_sources(&ruled))?;
    counts.warnings += print(out, "", "warning", lost_commit_times(&without_gtids))?;
    print(out, "", "note", not_logging_updates(&logging))?;
    Ok(())
}
