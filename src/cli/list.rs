//! `binrelay list`: the files of the relay log.

use std::io::Write;

use binrelay::config::Config;
use binrelay::inspect::catalog::{self, CatalogFile};
use binrelay::relay_log::LogDir;
use binrelay::utc;
use comfy_table::{ContentArrangement, Table};

use super::Outcome;
use super::config_file::ConfigFile;
use super::stdout::Stdout;

/// List the files of the relay log
///
/// Prints each file with its size, the number of its transactions, the earliest and the latest commit time, and its
/// GTIDs. Reads the commit indexes in data_dir, whether the relay runs or not.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Print one JSON object for each file
    #[arg(long)]
    pub json: bool,
}

/// Prints the files.
pub fn run(args: ListArgs, config: &Config) -> anyhow::Result<Outcome> {
    let files = catalog::list(&log_dir(config))?;
    let mut out = Stdout::lock();
    if args.json {
        for file in &files {
            writeln!(out, "{}", json(file))?;
        }
    } else {
        writeln!(out, "{}", table(&files))?;
    }
    Ok(Outcome::Done)
}

/// The relay log of this configuration.
pub(super) fn log_dir(config: &Config) -> LogDir {
    LogDir {
        dir: config.relay.data_dir.clone(),
        basename: config.log.basename.clone(),
    }
}

fn json(file: &CatalogFile) -> serde_json::Value {
    serde_json::json!({
        "file": file.file,
        "bytes": file.bytes,
        "transactions": file.transactions,
        "first": file.first_commit_us.and_then(utc::microseconds),
        "last": file.last_commit_us.and_then(utc::microseconds),
        "gtids": file.gtids,
    })
}

fn table(files: &[CatalogFile]) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["file", "bytes", "transactions", "first", "last", "GTIDs"]);
    for file in files {
        let time = |us: Option<u64>| us.and_then(utc::microseconds).unwrap_or("-".to_owned());
        let gtids = match file.gtids.as_str() {
            "" => "-",
            gtids => gtids,
        };
        table.add_row([
            file.file.clone(),
            file.bytes.to_string(),
            file.transactions.to_string(),
            time(file.first_commit_us),
            time(file.last_commit_us),
            gtids.to_owned(),
        ]);
    }
    table
}
