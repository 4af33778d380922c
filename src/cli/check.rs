//! `binrelay check`: whether a configuration works.

use std::io::Write;

use binrelay::config::{ChannelChanges, Config, FlavorChoice};
use binrelay::receiver::{
    self, Identities, ReceiverOptions, auto_increment_collision, changed_starts, check_source,
};
use binrelay::relay_log::started_sources;
use binrelay::tls::install_crypto_provider;

use super::Outcome;
use super::config_file::ConfigFile;
use super::list::log_dir;
use super::stdout::Stdout;

/// Check a configuration and every source it names
///
/// Reads the configuration as run would, connects to each source, and reports what would not work
/// and how to fix it, missing privileges included. It changes nothing. Exits with 3 when the relay
/// would run, but with warnings or without some of its sources; a configuration file that others can
/// read is only reported.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Prints the warnings about a valid configuration, then checks its sources.
pub fn run(_args: CheckArgs, mut config: Config) -> anyhow::Result<Outcome> {
    let changes = ChannelChanges::load(&config.relay.data_dir)?;
    let differences = changes.sentences(&config.sources, &config.relay.data_dir);
    let wanted = changes.apply(&config.sources, &config.filter).into_iter();
    config.sources = wanted.map(|source| source.config).collect();
    let mut out = Stdout::lock();
    let file = config.path.display();
    writeln!(
        out,
        "{file}: the configuration is valid; sources: {}",
        config.sources.len()
    )?;
    for difference in &differences {
        writeln!(out, "{difference}")?;
    }
    for warning in &config.warnings {
        writeln!(out, "{file}: warning: {warning}")?;
    }
    if config.exposes_passwords() {
        writeln!(
            out,
            "{file}: warning: it contains passwords and is world-readable; run chmod 640 on it"
        )?;
    }
    out.flush()?;
    let log_dir = log_dir(&config);
    // A log that cannot be read is reported by run and verify.
    let started = started_sources(&log_dir).unwrap_or_default();
    let changed = changed_starts(&log_dir.dir, &config.sources, &started);
    for (source, warning) in &changed {
        writeln!(out, "source {source}: warning: {warning}")?;
    }
    out.flush()?;
    match check_sources(&config)? {
        Outcome::Done if !config.warnings.is_empty() || !changed.is_empty() => {
            Ok(Outcome::Degraded)
        }
        outcome => Ok(outcome),
    }
}

/// Connects to each source and prints the result.
fn check_sources(config: &Config) -> anyhow::Result<Outcome> {
    install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let identities = Identities::default();
    let flavor = match config.relay.flavor {
        FlavorChoice::Fixed(flavor) => Some(flavor),
        FlavorChoice::Auto => None,
    };
    receiver::read_offered_tls(&config.relay.data_dir, &config.sources);
    let mut kind = None;
    let (mut good, mut bad, mut warnings) = (0, 0, 0);
    let mut out = Stdout::lock();
    let mut masters = Vec::new();
    for (number, source) in (0u16..).zip(&config.sources) {
        let options = ReceiverOptions::of_check(number, source, config.relay.server_id);
        match runtime.block_on(check_source(&options, &identities, flavor, kind)) {
            Ok(found) => {
                good += 1;
                kind.get_or_insert(found.kind);
                let settings = found.auto_increment;
                masters.extend(settings.map(|settings| (source.name.clone(), settings)));
                writeln!(out, "source {}: {}", source.name, found.summary)?;
                for warning in &found.warnings {
                    warnings += 1;
                    writeln!(out, "source {}: warning: {warning}", source.name)?;
                }
            }
            Err(error) => {
                bad += 1;
                writeln!(
                    out,
                    "source {}: {}",
                    source.name,
                    error.to_line(&source.name)
                )?;
            }
        }
        out.flush()?;
    }
    if let Some(warning) = auto_increment_collision(&masters) {
        warnings += 1;
        writeln!(out, "warning: {warning}")?;
    }
    out.flush()?;
    Ok(match (good, bad) {
        (_, 0) if warnings == 0 => Outcome::Done,
        (0, 1..) => Outcome::Failed,
        _ => Outcome::Degraded,
    })
}
