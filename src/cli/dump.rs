//! `binrelay dump`: lists the events of binlog files.

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
/// Prints one line per event: position, time, server_id, type, end position, and what the event
/// does. Reads the files only and contacts no server. Everything before the first damaged event is
/// printed; then the damage is reported and the exit status is 1.
#[derive(Debug, clap::Args)]
pub struct DumpArgs {
    /// Binary log files, in order
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Start at this offset in the first file
    #[arg(long, value_name = "N")]
    pub start_position: Option<u64>,
    /// Stop before the event at this offset in the last file
    #[arg(long, value_name = "N")]
    pub stop_position: Option<u64>,
    /// Start at the first event with this time or a later one: "2026-01-31 13:00:00" in local time,
    /// or "2026-01-31T12:00:00Z"
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub start_datetime: Option<Timestamp>,
    /// Stop before the first event with this time or a later one
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub stop_datetime: Option<Timestamp>,
    /// Print only events of this database; may be given more than once
    #[arg(long = "database", value_name = "DATABASE")]
    pub databases: Vec<String>,
    /// Print only the transaction with this GTID, or those in this GTID set
    #[arg(long, value_name = "GTID")]
    pub gtid: Option<String>,
    /// Print the values of changed rows, as mysqlbinlog -vv does, and the events in compressed
    /// transactions
    #[arg(long)]
    pub rows: bool,
    /// Verify the checksum of every event (always done)
    #[arg(long)]
    pub verify: bool,
    /// Continue after damage, at the next event that can be found
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
        // stderr may be closed, and there is nowhere left to warn.
        Remark::Warning(text) => drop(writeln!(io::stderr(), "binrelay: warning: {text}")),
    };
    let sound = dump(&args.files, &options, &mut Stdout::lock(), &mut remark)?;
    Ok(match sound {
        true => Outcome::Done,
        false => Outcome::Failed,
    })
}

/// A time with an offset or `Z`, or one in the machine's time zone, as `mysqlbinlog` accepts it.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
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
