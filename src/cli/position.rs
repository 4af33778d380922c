//! `binrelay position`: translates a source's coordinates into the relay's.

use std::io::Write;

use binrelay::adoption::{AttachRequest, Coordinates, ReplicaPlace};
use binrelay::config::Config;

use super::Outcome;
use super::attach::{ask, check_source};
use super::config_file::ConfigFile;
use super::stdout::Stdout;

/// Translate a source's coordinates into the relay's
///
/// Asks the running relay at which file and position of the relay log a replica continues that has
/// everything in the source's binlog up to FILE:POS, or the transactions of GTIDSET. Exits with 1
/// if there is no such position: `attach` then makes a bridge file.
#[derive(Debug, clap::Args)]
pub struct PositionArgs {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Name of the source, as in the configuration
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// The source's binlog file and position, or a GTID set
    #[arg(value_name = "FILE:POS|GTIDSET")]
    pub coordinates: String,
}

/// Translates and prints.
pub fn run(args: PositionArgs, config: Config) -> anyhow::Result<Outcome> {
    check_source(&config, &args.source)?;
    let coordinates = Coordinates {
        source: args.source,
        at: args.coordinates,
    };
    let request = AttachRequest {
        place: ReplicaPlace::Coordinates(vec![coordinates]),
        makes_bridge: false,
    };
    let found = ask(&config.admin.socket, request)?;
    let (file, position) = (found.file.unwrap_or_default(), found.position.unwrap_or(0));
    let mut out = Stdout::lock();
    if args.json {
        let json = serde_json::json!({ "file": file, "position": position });
        writeln!(out, "{json}")?;
    } else {
        writeln!(out, "{file}:{position}")?;
    }
    Ok(Outcome::Done)
}
