//! `binrelay list`: the files of the relay log.

use std::io::Write;

use anyhow::anyhow;
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
    let log_dir = log_dir(config);
    require_log(&log_dir)?;
    let files = catalog::list(&log_dir)?;
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

/// Refuses a directory in which no relay log has begun.
pub(super) fn require_log(log_dir: &LogDir) -> anyhow::Result<()> {
    if !log_dir.read_list()?.is_empty() {
        return Ok(());
    }
    let list = log_dir.list_path();
    let name = list.file_name().unwrap_or(list.as_os_str()).display();
    let state = match list.exists() {
        true => "is empty",
        false => "does not exist",
    };
    Err(anyhow!(
        "{}: no relay log ({name} {state}); start binrelay, or correct [relay] data_dir",
        log_dir.dir.display()
    ))
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
    table.set_header([
        "file",
        "bytes",
        "transactions",
        "first commit (UTC)",
        "last commit (UTC)",
        "GTIDs",
    ]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_without_a_relay_log_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let log_dir = LogDir {
            dir: dir.path().to_owned(),
            basename: "relay-bin".to_owned(),
        };
        for (list, state) in [(None, "does not exist"), (Some(""), "is empty")] {
            if let Some(text) = list {
                std::fs::write(log_dir.list_path(), text).unwrap();
            }
            let error = require_log(&log_dir).unwrap_err().to_string();
            let expected = format!(
                "{}: no relay log (relay-bin.index {state}); start binrelay, or correct [relay] data_dir",
                dir.path().display()
            );
            assert_eq!(error, expected);
        }
        std::fs::write(log_dir.list_path(), "./relay-bin.000001\n").unwrap();
        assert!(require_log(&log_dir).is_ok());
    }
}
