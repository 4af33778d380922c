//! `binrelay position`: translates a source's coordinates into the relay's.

use std::path::PathBuf;

use anyhow::bail;
use binrelay::config::Config;

use super::{Outcome, WrongUsage};

/// Translate a source's coordinates into the relay's (not available in this version)
///
/// A dump of a source records that source's binlog file and position, or a GTID set. A later
/// version will print the relay's file and position at which a replica restored from that dump
/// must start.
#[derive(Debug, clap::Args)]
pub struct PositionArgs {
    /// Configuration file of the relay
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Name of the source, as in the configuration
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The source's binlog file and position, or a GTID set
    #[arg(value_name = "FILE:POS|GTIDSET")]
    pub coordinates: String,
}

/// Translates and prints.
pub fn run(args: PositionArgs, config: Config) -> anyhow::Result<Outcome> {
    if !config
        .sources
        .iter()
        .any(|source| source.name == args.source)
    {
        let known: Vec<&str> = config
            .sources
            .iter()
            .map(|source| source.name.as_str())
            .collect();
        let (source, known) = (args.source, known.join(", "));
        return Err(WrongUsage(format!("expected a source ({known}), found {source:?}")).into());
    }
    bail!("position: not available in this version");
}
