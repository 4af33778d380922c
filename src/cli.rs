//! The command line: arguments in, one exit status out, and every error as one line.
#![doc = include_str!("cli/operation.md")]
#![doc = include_str!("cli/changes.md")]
#![doc = include_str!("cli/monitoring.md")]
#![doc = include_str!("cli/messages.md")]

mod argument_error;
mod attach;
mod check;
mod config_file;
mod conflicts;
mod continue_source;
mod dump;
mod forget;
mod generate;
mod help;
mod last_of;
mod list;
mod logging;
mod missing;
mod position;
mod reload;
mod run;
mod search;
mod status;
mod stdout;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use binrelay::config::ConfigError;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

/// Binary log relay for MySQL and MariaDB
///
/// It follows several sources at once, merges their transactions into one binary log without
/// duplicates, and serves that log to replicas.
#[derive(Debug, Parser)]
#[command(
    name = "binrelay",
    version,
    arg_required_else_help = false,
    disable_help_subcommand = true,
    after_help = after_help()
)]
struct Arguments {
    #[command(flatten)]
    logging: logging::LoggingArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Status(status::StatusArgs),
    Continue(continue_source::ContinueArgs),
    Forget(forget::ForgetArgs),
    Reload(reload::ReloadArgs),
    Dump(dump::DumpArgs),
    Verify(verify::VerifyArgs),
    List(list::ListArgs),
    Search(search::SearchArgs),
    Position(position::PositionArgs),
    Attach(attach::AttachArgs),
    Missing(missing::MissingArgs),
    Conflicts(conflicts::ConflictsArgs),
    Generate(generate::GenerateArgs),
    Help(help::HelpArgs),
}

fn after_help() -> String {
    format!(
        "{}\n\nExit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 (status and check \
         only) the relay or a source answers, but something is wrong.\nThe environment variable \
         BINRELAY_LOG sets the log level if --log-level is not given; it may set levels by module, \
         as in \"info,binrelay::receiver=debug\".",
        help::topic_list()
    )
}

/// How a command ended. Errors are reported by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The command is done, and no problem was found.
    Done,
    /// The command failed, or found a problem.
    Failed,
    /// The arguments or the configuration are wrong.
    WrongUsage,
    /// The relay or a source answers, but something is wrong (`status` and `check`).
    Degraded,
}

impl Outcome {
    fn exit_status(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::WrongUsage => 2,
            Outcome::Degraded => 3,
        }
    }
}

/// Arguments that are valid one by one, but not together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let outcome = match Arguments::try_parse() {
        Ok(arguments) => execute(arguments).unwrap_or_else(|error| report(&error)),
        Err(error) => report_arguments(&error),
    };
    ExitCode::from(outcome.exit_status())
}

fn execute(arguments: Arguments) -> anyhow::Result<Outcome> {
    let default_level = match arguments.command {
        Command::Run(_) => "info",
        _ => "warn",
    };
    logging::start(&arguments.logging, default_level)?;
    match arguments.command {
        Command::Run(args) => {
            let config = args.config.load()?;
            run::run(args, config)
        }
        Command::Check(args) => {
            let config = args.config.load()?;
            check::run(args, config)
        }
        Command::Status(args) => status::run(args),
        Command::Continue(args) => continue_source::run(args),
        Command::Forget(args) => forget::run(args),
        Command::Reload(args) => reload::run(args),
        Command::Dump(args) => dump::run(args),
        Command::Verify(args) => verify::run(args),
        Command::List(args) => {
            let config = args.config.load_without_secrets()?;
            list::run(args, &config)
        }
        Command::Search(args) => {
            let config = args.config.load_without_secrets()?;
            search::run(args, &config)
        }
        Command::Position(args) => {
            let config = args.config.load_without_secrets()?;
            position::run(args, config)
        }
        Command::Attach(args) => {
            let config = args.config.load_without_secrets()?;
            attach::run(args, config)
        }
        Command::Missing(args) => {
            let config = args.config.load_without_secrets()?;
            missing::run(args, config)
        }
        Command::Conflicts(args) => conflicts::run(args),
        Command::Generate(args) => generate::run(&args, Arguments::command()),
        Command::Help(args) => help::run(args, Arguments::command()),
    }
}

/// Help and version go to stdout; errors in the arguments go to stderr, as one line.
fn report_arguments(error: &clap::Error) -> Outcome {
    let text = error.render().to_string();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return match stdout::Stdout::lock().write_all(text.as_bytes()) {
            Ok(()) => Outcome::Done,
            Err(error) => report(&error.into()),
        };
    }
    print_error(&argument_error::message(error));
    Outcome::WrongUsage
}

/// Prints an error to stderr and returns the corresponding outcome.
fn report(error: &anyhow::Error) -> Outcome {
    if stdout::is_closed(error) {
        // The reader closed the pipe: `binrelay dump FILE | head` is not a failure.
        return Outcome::Done;
    }
    if let Some(ConfigError::Invalid(problems)) = error.downcast_ref() {
        for problem in problems {
            print_error(&problem.to_string());
        }
        return Outcome::WrongUsage;
    }
    print_error(&chain(error));
    if error.is::<ConfigError>() || error.is::<WrongUsage>() {
        Outcome::WrongUsage
    } else {
        Outcome::Failed
    }
}

/// An error and its causes. A cause that an earlier message already contains is left out.
fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

fn print_error(message: &str) {
    let line: Vec<&str> = message.lines().map(str::trim).collect();
    // stderr may be closed as well, and there is nowhere left to report to.
    let _ = writeln!(io::stderr(), "binrelay: error: {}", line.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn causes_are_joined_once() {
        let cause = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = anyhow::Error::new(cause)
            .context("cannot open a")
            .context("cannot start");
        assert_eq!(chain(&error), "cannot start: cannot open a: no such file");
        let cause = io::Error::other("no such file");
        let error = anyhow::Error::new(cause).context("cannot open a: no such file");
        assert_eq!(chain(&error), "cannot open a: no such file");
    }

    #[test]
    fn exit_statuses_are_the_documented_ones() {
        let outcomes = [
            Outcome::Done,
            Outcome::Failed,
            Outcome::WrongUsage,
            Outcome::Degraded,
        ];
        assert_eq!(outcomes.map(Outcome::exit_status), [0, 1, 2, 3]);
    }

    #[test]
    fn closed_stdout_is_success_and_another_broken_pipe_is_not() {
        let error = stdout::closed();
        assert_eq!(
            report(&anyhow::Error::new(error).context("dump")),
            Outcome::Done
        );
        let other = io::Error::new(io::ErrorKind::BrokenPipe, "a socket");
        assert!(!stdout::is_closed(&anyhow::Error::new(other)));
    }
}
