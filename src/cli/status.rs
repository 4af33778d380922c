//! `binrelay status`: the state of a running relay.

#[cfg(test)]
mod example;
mod nagios;
mod rates;
mod tables;
mod terminal;
mod watch;
mod width;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use binrelay::status::Report;
use binrelay::{admin, utc};
use tokio::runtime::Runtime;

use super::Outcome;
use super::config_file::RunningRelay;
use super::stdout::Stdout;
pub use nagios::PluginState;
use rates::Rates;

/// Pause between two reports of `--watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Show the state of a running relay, its sources and its replicas
///
/// Queries the relay over its Unix socket. Exits with 3 when the relay answers but something is
/// degraded, such as a source that is not streaming.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub relay: RunningRelay,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Print the state again every second until interrupted; in a terminal in place, with rates
    #[arg(long)]
    pub watch: bool,
    /// Print one line and exit as a monitoring plug-in: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    pub nagios: bool,
}

/// Asks the relay and prints its report.
pub fn run(args: StatusArgs) -> anyhow::Result<Outcome> {
    if args.nagios {
        return check(&args);
    }
    let relay = Asked::new(args.relay.socket()?)?;
    if args.watch && !args.json && terminal::size().is_some() {
        return watch_in_place(&relay);
    }
    loop {
        let report = relay.report()?;
        let mut out = Stdout::lock();
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            let width = terminal::size().map(|size| size.columns);
            write!(out, "{}", tables::render(&report, width))?;
        }
        out.flush()?;
        drop(out);
        if !args.watch {
            return Ok(if report.is_degraded() {
                Outcome::Degraded
            } else {
                Outcome::Done
            });
        }
        std::thread::sleep(WATCH_PAUSE);
    }
}

/// A relay that is asked over its socket.
struct Asked {
    socket: PathBuf,
    runtime: Runtime,
}

impl Asked {
    fn new(socket: PathBuf) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self { socket, runtime })
    }

    fn report(&self) -> anyhow::Result<Report> {
        self.runtime
            .block_on(admin::ask(&self.socket))
            .with_context(|| no_answer(&self.socket))
    }
}

/// Shows the state in the terminal until it is interrupted. A relay that has answered once may be restarted meanwhile.
fn watch_in_place(relay: &Asked) -> anyhow::Result<Outcome> {
    let (mut rates, mut last) = (Rates::default(), Instant::now());
    let mut report = relay.report();
    let mut is_first = true;
    loop {
        let now = utc::seconds(SystemTime::now());
        let Some(size) = terminal::size() else {
            return Ok(Outcome::Done);
        };
        let lines = match &report {
            Ok(report) => {
                rates.note(report, last.elapsed());
                last = Instant::now();
                watch::screen(report, &rates, size, &now)
            }
            Err(_) if is_first => return report.map(|_| Outcome::Done),
            Err(error) => {
                let text = format!("{now}: {error:#}; trying again");
                width::wrapped(&text, size.columns, tables::INDENT)
            }
        };
        terminal::draw(&mut Stdout::lock(), &lines, is_first)?;
        is_first = false;
        std::thread::sleep(WATCH_PAUSE);
        report = relay.report();
    }
}

/// Prints one line as a monitoring plug-in; nothing goes to stderr.
fn check(args: &StatusArgs) -> anyhow::Result<Outcome> {
    let (state, line) = match args.relay.socket() {
        Err(error) => nagios::of_configuration(&super::chain(&error.into())),
        Ok(socket) => {
            let relay = Asked::new(socket)?;
            match relay.runtime.block_on(admin::ask(&relay.socket)) {
                Ok(report) => nagios::of_report(&report),
                Err(error) => nagios::of_error(&error, &relay.socket.display().to_string()),
            }
        }
    };
    writeln!(Stdout::lock(), "{line}")?;
    Ok(Outcome::Plugin(state))
}

/// The message when the relay at `socket` did not answer.
pub(super) fn no_answer(socket: &Path) -> String {
    // What failed may be the request; only opening the socket shows whether this user may.
    no_answer_after(socket, UnixStream::connect(socket).err())
}

fn no_answer_after(socket: &Path, error: Option<io::Error>) -> String {
    let socket = socket.display();
    match error {
        Some(error) if error.kind() == io::ErrorKind::PermissionDenied => format!(
            "cannot open the socket {socket}: {error}; run this command as root or as the user that runs binrelay"
        ),
        Some(_) => format!("no relay answers at {socket} (is binrelay running?)"),
        // It is there.
        None => format!(
            "the relay at {socket} accepts connections, but did not answer in time; the request may still be carried \
             out: see its log"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_that_this_user_may_not_open_is_not_a_relay_that_does_not_run() {
        let socket = Path::new("/var/lib/binrelay/binrelay.sock");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let text = no_answer_after(socket, Some(denied));
        assert!(text.contains("as root or as the user"), "{text}");
        assert!(!text.contains("is binrelay running"), "{text}");
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let text = no_answer_after(socket, Some(refused));
        assert!(text.starts_with("no relay answers at /var"), "{text}");
        // It is connected to: whatever failed, a relay runs, and may do what it was asked to do.
        let text = no_answer_after(socket, None);
        assert!(text.contains("may still be carried out"), "{text}");
        assert!(!text.contains("no relay answers"), "{text}");
    }
}
