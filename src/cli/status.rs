//! `binrelay status`: the state of a running relay.

mod nagios;
mod watch;

use std::io::{self, IsTerminal, Write, stdout};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use binrelay::admin;
use binrelay::connection::host_and_port;
use binrelay::one_line::escaped;
use binrelay::status::{ErrorReport, Report};
use comfy_table::{ContentArrangement, Table};

use super::Outcome;
use super::config_file::RunningRelay;
use super::stdout::Stdout;
pub use nagios::PluginState;
use watch::Rates;

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
    let socket = args.relay.socket()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let in_place = args.watch && !args.json && stdout().is_terminal();
    let (mut rates, mut last) = (Rates::default(), Instant::now());
    loop {
        let report = runtime
            .block_on(admin::ask(&socket))
            .with_context(|| no_answer(&socket))?;
        rates.note(&report, last.elapsed());
        last = Instant::now();
        let mut out = Stdout::lock();
        if in_place {
            write!(out, "{}", rates.screen(&render(&report)))?;
        } else if args.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            write!(out, "{}", render(&report))?;
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

/// Prints one line as a monitoring plug-in; nothing goes to stderr.
fn check(args: &StatusArgs) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (state, line) = match args.relay.socket() {
        Err(error) => nagios::of_configuration(&error.to_string()),
        Ok(socket) => match runtime.block_on(admin::ask(&socket)) {
            Ok(report) => nagios::of_report(&report),
            Err(error) => nagios::of_error(&error, &socket.display().to_string()),
        },
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
        _ => format!("no relay answers at {socket} (is binrelay running?)"),
    }
}

/// The report as tables.
fn render(report: &Report) -> String {
    let relay = &report.relay;
    let mut text = format!(
        "binrelay {}  server_id {}  {}  {}  up {} s\n",
        relay.version,
        relay.server_id,
        relay
            .flavor
            .as_deref()
            .unwrap_or("(no source has answered yet)"),
        relay.state,
        relay.uptime_seconds
    );
    text.push_str(&format!(
        "log end   {}\n",
        coordinates(&relay.file, relay.position)
    ));
    text.push_str(&format!("executed  {}\n", or_dash(&relay.gtid_executed)));
    text.push_str(&format!("purged    {}\n", or_dash(&relay.gtid_purged)));
    if let Some(conflicts @ 1..) = relay.conflicts {
        text.push_str(&format!("conflicts {conflicts} (binrelay conflicts)\n"));
    }
    if let Some(error) = &relay.last_error {
        text.push_str(&format!("error     {}\n", escaped(&error.message)));
    }
    for reason in &relay.degraded {
        text.push_str(&format!("degraded  {}\n", escaped(reason)));
    }
    text.push_str(&format!("\n{}\n", sources(report)));
    for source in &report.sources {
        if let Some(tls) = &source.tls {
            text.push_str(&format!("{}: TLS: {tls}\n", source.name));
        }
        if let Some(error) = &source.last_error {
            text.push_str(&format!("{}: {}\n", source.name, error_line(error)));
        }
    }
    text.push_str(&semi_sync_lines(report));
    text.push_str(&format!("\n{}\n", replicas(report)));
    for replica in report
        .replicas
        .iter()
        .filter(|one| one.missing_seconds.is_some())
    {
        text.push_str(&format!(
            "{}: missing since {}\n",
            replica.server_id, replica.last_seen
        ));
    }
    text
}

/// Why sources do not wait for acknowledgements that are configured.
fn semi_sync_lines(report: &Report) -> String {
    let mut text = String::new();
    for source in &report.sources {
        if let Some(problem) = &source.semi_sync_problem {
            text.push_str(&format!("{}: {}\n", source.name, escaped(problem)));
        }
    }
    text
}

/// A frame in ASCII, and a line below the header. Each character is that of one component, in the
/// order of `comfy_table::TableComponent`.
const FRAME: &str = "||--+==+     --++++";

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(FRAME);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

fn sources(report: &Report) -> Table {
    let mut table = table(&[
        "source",
        "address",
        "state",
        "server_id",
        "durable up to",
        "behind",
        "kept",
        "duplicate",
        "filtered",
        "repeated",
        "only here",
    ]);
    for source in &report.sources {
        table.add_row([
            source.name.clone(),
            host_and_port(&source.host, source.port),
            source.state.clone(),
            source.server_id.map_or("-".to_owned(), |id| id.to_string()),
            coordinates(&source.file, source.position),
            seconds(source.seconds_behind),
            source.transactions.kept.to_string(),
            source.transactions.duplicate.to_string(),
            source.transactions.filtered.to_string(),
            source.transactions.repeated.to_string(),
            source
                .only_here
                .map_or("-".to_owned(), |count| count.to_string()),
        ]);
    }
    table
}

fn replicas(report: &Report) -> Table {
    let mut table = table(&[
        "replica",
        "host",
        "user",
        "state",
        "sent up to",
        "behind",
        "bytes",
        "TLS",
    ]);
    for replica in &report.replicas {
        table.add_row([
            replica.server_id.to_string(),
            escaped(&replica.host).into_owned(),
            escaped(&replica.user).into_owned(),
            replica.state.clone(),
            coordinates(&Some(replica.file.clone()), Some(replica.position)),
            seconds(replica.seconds_behind),
            match replica.missing_seconds {
                None => replica.bytes_sent.to_string(),
                Some(_) => "-".to_owned(),
            },
            replica.tls.clone().unwrap_or("-".to_owned()),
        ]);
    }
    table
}

fn coordinates(file: &Option<String>, position: Option<u64>) -> String {
    match (file, position) {
        (Some(file), Some(position)) => format!("{file}:{position}"),
        _ => "-".to_owned(),
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn seconds(seconds: Option<u64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{seconds} s"))
}

fn error_line(error: &ErrorReport) -> String {
    let message = escaped(&error.message);
    let code = match error.code {
        0 => String::new(),
        code => format!("error {code}, "),
    };
    let ended = match &error.resolved_at {
        Some(at) => format!(", streaming again since {at}"),
        None => String::new(),
    };
    format!("{message} ({code}{}{ended})", error.at)
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
        for error in [Some(refused), None] {
            let text = no_answer_after(socket, error);
            assert!(text.starts_with("no relay answers at /var"), "{text}");
        }
    }
}
