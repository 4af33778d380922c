//! Logs go to stderr, as text or as JSON.

use std::env::{self, VarError};
use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::WrongUsage;

/// The environment variable that sets the level if `--log-level` is not given.
const VARIABLE: &str = "BINRELAY_LOG";

#[derive(Debug, Args)]
pub struct LoggingArgs {
    /// Format of the log on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
    /// Minimum severity of logged messages [default: info for run, warn for other commands]
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Plain lines
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// Sets up logging for the process.
pub(super) fn start(args: &LoggingArgs, default_level: &str) -> anyhow::Result<()> {
    let filter = match (args.log_level, env::var(VARIABLE)) {
        (Some(level), _) => EnvFilter::new(level.name()),
        (None, Ok(directives)) if !directives.trim().is_empty() => EnvFilter::try_new(&directives)
            .map_err(|error| {
                WrongUsage(format!(
                    "{VARIABLE}: expected a level (error, warn, info, debug, trace) or \
                     MODULE=LEVEL pairs, found {directives:?}: {error}"
                ))
            })?,
        (None, Err(VarError::NotUnicode(_))) => {
            return Err(WrongUsage(format!("{VARIABLE}: expected UTF-8 text")).into());
        }
        (None, _) => EnvFilter::new(default_level),
    };
    // By default a line that cannot be written is reported with `eprintln!`, which panics when
    // stderr itself is closed.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    let started = match args.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
