//! `binrelay search`: where a transaction is.

use std::io::Write;

use anyhow::anyhow;
use binrelay::config::Config;
use binrelay::gtid::{Gtid, MariaDbGtid};
use binrelay::identity::Identity;
use binrelay::inspect::catalog::{self, CatalogTransaction, SourcePlace, Wanted};
use binrelay::utc;
use jiff::Timestamp;

use super::config_file::ConfigFile;
use super::dump::parse_time;
use super::list::{log_dir, require_log};
use super::stdout::Stdout;
use super::{Outcome, WrongUsage};

/// Find a transaction in the relay log
///
/// Prints where it begins and ends in the relay log, when it committed, and where it ends in the binlogs of the sources.
/// Reads the commit indexes in data_dir, whether the relay runs or not. Exits with 1 if there is no such transaction.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("wanted").required(true)))]
pub struct SearchArgs {
    #[command(flatten)]
    pub config: ConfigFile,
    /// GTID of the transaction
    #[arg(long, value_name = "GTID", group = "wanted")]
    pub gtid: Option<String>,
    /// The first transaction of the log that committed at this time or later
    #[arg(long, value_name = "TIME", value_parser = parse_time, group = "wanted")]
    pub datetime: Option<Timestamp>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Finds and prints the transaction.
pub fn run(args: SearchArgs, config: &Config) -> anyhow::Result<Outcome> {
    let (wanted, what) = match &args.gtid {
        Some(gtid) => (Wanted::Gtid(parse_gtid(gtid)?), gtid.clone()),
        // One of the two is required.
        None => {
            let time = args.datetime.unwrap_or(Timestamp::UNIX_EPOCH);
            let us = u64::try_from(time.as_microsecond()).unwrap_or(0);
            (
                Wanted::CommittedFrom(us),
                format!("committed at {time} or later"),
            )
        }
    };
    let log_dir = log_dir(config);
    require_log(&log_dir)?;
    let Some(found) = catalog::find(&log_dir, &wanted)? else {
        let path = log_dir.list_path();
        return Err(anyhow!(
            "{}: the relay log has no transaction {what}; binrelay list shows what it has",
            path.display()
        ));
    };
    let mut out = Stdout::lock();
    match args.json {
        true => writeln!(out, "{}", json(&found))?,
        false => print(&found, &mut out)?,
    }
    Ok(Outcome::Done)
}

/// `UUID[:TAG]:N` or `DOMAIN-SERVER-SEQUENCE`.
fn parse_gtid(text: &str) -> Result<Identity, WrongUsage> {
    let mysql = text.parse::<Gtid>().map(Identity::MySql);
    let mariadb = || text.parse::<MariaDbGtid>().map(Identity::MariaDb);
    mysql.or_else(|_| mariadb()).map_err(|_| {
        WrongUsage(format!(
            "--gtid: expected one GTID, such as 3e11fa47-71ca-11e1-9e33-c80aa9429562:23 or 0-1-100, found {text:?}"
        ))
    })
}

fn place_json(place: &SourcePlace) -> serde_json::Value {
    serde_json::json!({
        "source": place.source,
        "file": &*place.position.file,
        "end_position": place.position.offset,
    })
}

fn json(found: &CatalogTransaction) -> serde_json::Value {
    let copies: Vec<_> = found.copies.iter().map(place_json).collect();
    serde_json::json!({
        "gtid": found.gtid,
        "file": found.file,
        "position": found.begin,
        "end_position": found.end,
        "committed": utc::microseconds(found.commit_us),
        "server_id": found.server_id,
        "filtered": found.emptied,
        "delivered_by": place_json(&found.delivered_by),
        "copies": copies,
    })
}

fn print(found: &CatalogTransaction, out: &mut impl Write) -> std::io::Result<()> {
    let gtid = found.gtid.as_deref().unwrap_or("without GTID");
    writeln!(out, "transaction   {gtid}")?;
    writeln!(
        out,
        "relay log     {}:{}, up to {}",
        found.file, found.begin, found.end
    )?;
    writeln!(
        out,
        "committed     {} on server_id {}",
        utc::microseconds(found.commit_us).unwrap_or("-".to_owned()),
        found.server_id
    )?;
    if found.emptied {
        writeln!(out, "filtered      the filter removed all of its changes")?;
    }
    let place = |place: &SourcePlace| {
        format!(
            "{}, up to {}:{}",
            place.source, place.position.file, place.position.offset
        )
    };
    writeln!(out, "delivered by  {}", place(&found.delivered_by))?;
    for copy in &found.copies {
        writeln!(out, "copy of       {}", place(copy))?;
    }
    Ok(())
}
