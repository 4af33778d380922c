//! Logs go to stderr, as text or as JSON.

use std::env::{self, VarError};
use std::io::{self, Write};

use binrelay::one_line::escaped;
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

/// Writes each message as one line, whatever it contains: names, versions and errors come from clients and
/// sources. Without colors, which could not be distinguished from their escape sequences.
struct Lines<Out>(Out);

impl<Out: Write> Write for Lines<Out> {
    /// `message` is a whole one, with its newline.
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(message);
        let line = escaped(text.strip_suffix('\n').unwrap_or(&text));
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
        .with_writer(|| Lines(io::stderr()))
        .log_internal_errors(false)
        .with_ansi(false);
    let started = match args.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_one_line_whatever_it_contains() {
        let mut lines = Lines(Vec::new());
        lines
            .write_all(b"user \"a\n2026 ERROR forged\x1b[2J\"\n")
            .unwrap();
        lines.write_all("größer\n".as_bytes()).unwrap();
        let text = String::from_utf8(lines.0).unwrap();
        assert_eq!(text, "user \"a\\n2026 ERROR forged\\u{1b}[2J\"\ngrößer\n");
    }
}
