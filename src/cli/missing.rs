//! `binrelay missing`: what the relay log has and a source lacks.

use std::io::{self, Write};

use anyhow::Context;
use binrelay::admin;
use binrelay::adoption::{
    Coordinates, Missing, MissingAnswer, MissingRequest, MissingTransaction, Rescue,
};
use binrelay::config::Config;

use super::attach::check_source;
use super::config_file::ConfigFile;
use super::status::no_answer;
use super::stdout::Stdout;
use super::{Outcome, WrongUsage};

/// List what the relay log has and a source lacks, and write it for that source
///
/// For a master that was lost with its disk: the relay may be the only one that has its last
/// transactions. The running relay asks SOURCE what it has. With --write, it writes the missing
/// transactions to a binlog file, and prints how SOURCE applies them. See binrelay help rescue.
#[derive(Debug, clap::Args)]
pub struct MissingArgs {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write the transactions to a file that SOURCE can apply
    #[arg(long)]
    pub write: bool,
    /// The GTIDs that SOURCE has, instead of asking it: its gtid_executed, or MariaDB's
    /// gtid_binlog_state
    #[arg(long, value_name = "GTIDSET")]
    pub has: Option<String>,
    /// Without GTIDs: SOURCE has applied the binlog of another source up to this position
    #[arg(long, num_args = 2, value_names = ["OTHER", "FILE:POS"], action = clap::ArgAction::Append)]
    pub replica_of: Vec<String>,
    /// SOURCE receives nothing, and has applied everything that it has received
    #[arg(long)]
    pub replication_stopped: bool,
    /// Also write transactions of which the relay's filter has dropped or changed a part
    #[arg(long, requires = "write")]
    pub with_altered: bool,
    /// Name of the source, as in the configuration
    #[arg(value_name = "SOURCE")]
    pub source: String,
}

/// Asks the relay and prints.
pub fn run(args: MissingArgs, config: Config) -> anyhow::Result<Outcome> {
    check_source(&config, &args.source)?;
    let mut replica_of = Vec::new();
    for pair in args.replica_of.chunks(2) {
        let [source, at] = pair else {
            let text = "--replica-of: expected a source and its coordinates";
            return Err(WrongUsage(text.to_owned()).into());
        };
        check_source(&config, source)?;
        replica_of.push(Coordinates {
            source: source.clone(),
            at: at.clone(),
        });
    }
    let request = MissingRequest {
        source: args.source,
        has: args.has,
        replica_of,
        replication_stopped: args.replication_stopped,
        writes: args.write,
        with_altered: args.with_altered,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let socket = &config.admin.socket;
    let asked = runtime.block_on(admin::ask_missing(socket, request));
    let found = match asked.with_context(|| no_answer(socket))? {
        MissingAnswer::Found(found) => found,
        MissingAnswer::Refused(reason) => return Err(anyhow::Error::msg(reason)),
    };
    let mut out = Stdout::lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&found)?)?,
        false => print(&found, args.write, &mut out)?,
    }
    Ok(Outcome::Done)
}

fn print(found: &Missing, writes: bool, out: &mut impl Write) -> io::Result<()> {
    for one in &found.transactions {
        print_transaction(one, out)?;
    }
    let (source, total, bytes) = (&found.source, found.total, found.bytes);
    let by = &found.based_on;
    match total {
        0 => writeln!(
            out,
            "-- {source} lacks no transaction of the relay log, according to {by}"
        )?,
        _ => writeln!(
            out,
            "-- {source} lacks {total} transactions ({bytes} bytes) of the relay log, according to {by}"
        )?,
    }
    for note in &found.notes {
        writeln!(out, "-- {note}")?;
    }
    match &found.rescue {
        Some(rescue) => print_rescue(rescue, source, out),
        None if writes => writeln!(out, "-- Nothing was written"),
        None => Ok(()),
    }
}

fn print_transaction(one: &MissingTransaction, out: &mut impl Write) -> io::Result<()> {
    let altered = match one.altered {
        true => " (a part was filtered)",
        false => "",
    };
    writeln!(
        out,
        "{}:{} {} {}:{} {} server_id={} {} [{}] {}{altered}",
        one.file,
        one.position,
        one.source,
        one.source_file,
        one.source_position,
        one.time.as_deref().unwrap_or("-"),
        one.server_id,
        one.gtid.as_deref().unwrap_or("-"),
        one.databases.join(", "),
        one.summary
    )
}

fn print_rescue(rescue: &Rescue, source: &str, out: &mut impl Write) -> io::Result<()> {
    let (path, count) = (&rescue.path, rescue.transactions);
    writeln!(
        out,
        "-- {path} holds {count} of them. Apply it once; start no other replication on {source} before that."
    )?;
    writeln!(out, "-- On {source}, as a replica of this relay:")?;
    print_lines(&rescue.statements, out)?;
    writeln!(
        out,
        "-- When the replica status shows that its SQL thread has stopped without an error at position {}:",
        rescue.end_position
    )?;
    print_lines(&rescue.after_statements, out)?;
    match &rescue.command {
        Some(command) => {
            writeln!(out, "-- Or instead of that, in a shell:\n-- {command}")?;
            for line in &rescue.after_command {
                let text = line.strip_prefix("-- ").unwrap_or(line);
                writeln!(out, "-- {text}")?;
            }
        }
        None => writeln!(
            out,
            "-- There is no other way without GTIDs: a client's statements would get the server_id of {source}"
        )?,
    }
    print_lines(&rescue.before_following, out)
}

fn print_lines(lines: &[String], out: &mut impl Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}
