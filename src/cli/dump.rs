//! `binrelay dump`: what stands in binlog files.

use std::io::{self, Write};
use std::path::PathBuf;

use binrelay::inspect::dump::{DumpOptions, Remark, dump};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::stdout::Stdout;
use super::{Outcome, WrongUsage, print_error};

/// Print the events of binary log files, from MySQL, MariaDB or binrelay
///
/// Prints one line an event: position, time, server id, type, end position, and what it does.
/// Works on files alone; no server is asked. Before the first damaged event everything is printed,
/// then the damage is named and the exit status is 1.
#[derive(Debug, clap::Args)]
pub struct DumpArgs {
    /// Binary log files, in their order
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Begin at this offset of the first file
    #[arg(long, value_name = "N")]
    pub start_position: Option<u64>,
    /// End before the event at this offset of the last file
    #[arg(long, value_name = "N")]
    pub stop_position: Option<u64>,
    /// Begin at the first event of this time or later: "2026-01-31 13:00:00" in local time, or
    /// "2026-01-31T12:00:00Z"
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub start_datetime: Option<Timestamp>,
    /// End before the first event of this time or later
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub stop_datetime: Option<Timestamp>,
    /// Only events of this database; may be given several times
    #[arg(long = "database", value_name = "DATABASE")]
    pub databases: Vec<String>,
    /// Only the transaction with this GTID, or those in this GTID set
    #[arg(long, value_name = "GTID")]
    pub gtid: Option<String>,
    /// Print the values of changed rows, as mysqlbinlog -vv does, and look into compressed transactions
    #[arg(long)]
    pub rows: bool,
    /// Verify the checksum of every event; this is always done
    #[arg(long)]
    pub verify: bool,
    /// Go on after damage, at the next event that can be found
    #[arg(long)]
    pub force: bool,
}

/// Prints the files.
pub fn run(args: DumpArgs) -> anyhow::Result<Outcome> {
    if let (Some(start), Some(stop), [_]) = (
        args.start_position,
        args.stop_position,
        args.files.as_slice(),
    ) && start > stop
    {
        let message =
            format!("--start-position {start}: expected no more than --stop-position {stop}");
        return Err(WrongUsage(message).into());
    }
    let gtids = args.gtid.as_deref().map(str::parse).transpose();
    let gtids = gtids.map_err(|error| WrongUsage(format!("--gtid: {error}")))?;
    let options = DumpOptions {
        json: args.json,
        start_position: args.start_position,
        stop_position: args.stop_position,
        start_time: args.start_datetime.map(Timestamp::as_second),
        stop_time: args.stop_datetime.map(Timestamp::as_second),
        databases: args.databases,
        gtids,
        rows: args.rows,
        force: args.force,
    };
    let mut remark = |remark: Remark| match remark {
        Remark::Damage(error) => print_error(&error.to_string()),
        // stderr may be closed, and then there is nobody to warn.
        Remark::Warning(text) => drop(writeln!(io::stderr(), "binrelay: warning: {text}")),
    };
    let sound = dump(&args.files, &options, &mut Stdout::lock(), &mut remark)?;
    Ok(match sound {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}

/// A time with an offset or `Z`, or else one in the machine's time zone, as `mysqlbinlog` takes it.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let expected = "expected YYYY-MM-DD HH:MM:SS (local time) or YYYY-MM-DDTHH:MM:SSZ";
    let local: DateTime = text.parse().map_err(|_| expected.to_owned())?;
    let zoned = local
        .to_zoned(TimeZone::system())
        .map_err(|error| error.to_string())?;
    Ok(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = parse_time("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(at.as_second(), 1_769_860_800);
        assert_eq!(parse_time("2026-01-31T13:00:00+01:00").unwrap(), at);
        let local: DateTime = "2026-01-31T12:00:00".parse().unwrap();
        let expected = local.to_zoned(TimeZone::system()).unwrap().timestamp();
        assert_eq!(parse_time("2026-01-31 12:00:00").unwrap(), expected);
        for bad in ["", "yesterday", "2026-13-01 00:00:00", "12:00:00"] {
            assert!(
                parse_time(bad).unwrap_err().starts_with("expected YYYY"),
                "{bad}"
            );
        }
    }
}
