//! `binrelay attach`: the statements that attach an existing replica to the relay.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use binrelay::admin;
use binrelay::adoption::{Answer, AttachRequest, Attachment, Coordinates, ReplicaPlace};
use binrelay::config::{ChannelChanges, Config, SharedFilter};

use super::config_file::ConfigFile;
use super::last_of::last_of;
use super::status::no_answer;
use super::stdout::Stdout;
use super::{Outcome, WrongUsage};

/// Print the statements that attach an existing replica to the relay
///
/// The replica has everything in the binlogs of the named sources up to FILE:POS, or the
/// transactions of GTIDSET; or everything in its own relay log, RELAYLOG. The running relay finds
/// where it continues. If no position is exact, the relay writes a bridge file with the missing
/// transactions, and the replica starts there.
#[derive(Debug, clap::Args)]
pub struct AttachArgs {
    #[command(flatten)]
    pub config: ConfigFile,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The replica's own relay log: its newest file, or several files, oldest first
    #[arg(long, value_name = "RELAYLOG", num_args = 1.., conflicts_with = "coordinates")]
    pub last_of: Vec<PathBuf>,
    /// Names of sources, each with its file and position; or one with a GTID set
    #[arg(
        value_name = "SOURCE FILE:POS|GTIDSET",
        required_unless_present = "last_of"
    )]
    pub coordinates: Vec<String>,
}

/// Asks the relay and prints the statements.
pub fn run(args: AttachArgs, config: Config) -> anyhow::Result<Outcome> {
    let place = match args.last_of.is_empty() {
        true => {
            let coordinates = coordinates(&args.coordinates)?;
            for one in &coordinates {
                check_source(&config, &one.source)?;
            }
            ReplicaPlace::Coordinates(coordinates)
        }
        false => last_of(&args.last_of)?,
    };
    let request = AttachRequest {
        place,
        makes_bridge: true,
    };
    let found = ask(&config.admin.socket, request)?;
    let mut out = Stdout::lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::to_string(&found)?)?,
        false => print(&found, &mut out)?,
    }
    Ok(Outcome::Done)
}

fn coordinates(arguments: &[String]) -> anyhow::Result<Vec<Coordinates>> {
    let pairs = arguments.chunks(2).map(|pair| match pair {
        [source, at] => Ok(Coordinates {
            source: source.clone(),
            at: at.clone(),
        }),
        rest => {
            let source = rest.concat();
            Err(WrongUsage(format!(
                "expected coordinates such as mysql-bin.000010:154, or a GTID set, after {source:?}"
            ))
            .into())
        }
    });
    pairs.collect()
}

/// Refuses a name that is not a source's.
pub(super) fn check_source(config: &Config, name: &str) -> anyhow::Result<()> {
    // Only the relay's own user may read what was changed at run time; for others, the relay decides.
    let Ok(changes) = ChannelChanges::load(&config.relay.data_dir) else {
        return Ok(());
    };
    let sources = changes.apply(&config.sources, &SharedFilter::new(config.filter.clone()));
    let names: Vec<&str> = sources.iter().map(|one| &*one.config.name).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let known = names.join(", ");
    Err(WrongUsage(format!("expected a source ({known}), found {name:?}")).into())
}

/// Sends the request to the relay.
pub(super) fn ask(socket: &Path, request: AttachRequest) -> anyhow::Result<Attachment> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = runtime.block_on(admin::ask_to_attach(socket, request));
    match asked.with_context(|| no_answer(socket))? {
        Answer::Attached(attachment) => Ok(attachment),
        Answer::Refused(reason) => Err(anyhow::Error::msg(reason)),
    }
}

fn print(found: &Attachment, out: &mut impl Write) -> io::Result<()> {
    if found.bridge {
        let (count, from) = (found.bridge_transactions, found.continues_at.as_deref());
        writeln!(
            out,
            "-- {} holds {count} transactions that the replica lacks; it continues at {}",
            found.file.as_deref().unwrap_or_default(),
            from.unwrap_or_default()
        )?;
    }
    if !found.on_new_replica.is_empty() {
        writeln!(out, "-- Only on a new server without this gtid_executed:")?;
        for statement in &found.on_new_replica {
            writeln!(out, "-- {statement}")?;
        }
    }
    for statement in &found.statements {
        writeln!(out, "{statement}")?;
    }
    if !found.other_words.is_empty() {
        writeln!(out, "-- On MySQL 8.0.23 and later instead:")?;
        for statement in &found.other_words {
            writeln!(out, "-- {statement}")?;
        }
    }
    Ok(())
}
