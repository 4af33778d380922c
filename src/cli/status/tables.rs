//! The state of a relay as text and tables.

use binrelay::connection::host_and_port;
use binrelay::one_line::{escaped, first_sentence};
use binrelay::sender::ReplicaReport;
use binrelay::status::{ErrorReport, Report, SourceReport};
use comfy_table::{ContentArrangement, Table};

use super::width::{Column, Spacing, fit, wrapped};

/// A frame in ASCII, and a line below the header. Each character is that of one component, in the
/// order of `comfy_table::TableComponent`.
const FRAME: &str = "||--+==+     --++++";
/// Of a table in this frame.
const FRAMED: Spacing = Spacing { gap: 3, frame: 4 };
/// The width of the labels of the lines above the tables.
pub(super) const LABEL: usize = 10;
/// Of a line that continues another one below a table.
pub(super) const INDENT: usize = 4;

/// The report. In a terminal of this width, columns that have no room are lines below their table, and sentences are
/// broken between words. A set of GTIDs is always one line, which can be copied.
pub(super) fn render(report: &Report, width: Option<usize>) -> String {
    let mut lines = vec![title(report)];
    for (label, text) in head(report) {
        let line = format!("{label:LABEL$}{text}");
        match label {
            "executed" | "purged" => lines.push(line),
            _ => lines.extend(sentence(&line, width, LABEL)),
        }
    }
    lines.push(String::new());
    let (table, hidden) = framed(sources(&report.sources), width);
    lines.push(table);
    for (row, source) in report.sources.iter().enumerate() {
        for text in below_sources(source, cells(&hidden, row)) {
            let line = format!("{}: {text}", source.name);
            lines.extend(sentence(&line, width, INDENT));
        }
    }
    lines.push(String::new());
    let (table, hidden) = framed(replicas(&report.replicas), width);
    lines.push(table);
    for (row, replica) in report.replicas.iter().enumerate() {
        let missing = replica.missing_seconds;
        let missing = missing.map(|_| format!("missing since {}", replica.last_seen));
        for text in cells(&hidden, row).into_iter().chain(missing) {
            let line = format!("{}: {text}", replica.server_id);
            lines.extend(sentence(&line, width, INDENT));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The first line.
pub(super) fn title(report: &Report) -> String {
    let relay = &report.relay;
    format!(
        "binrelay {}  server_id {}  {}  {}  up {} s",
        relay.version,
        relay.server_id,
        relay
            .flavor
            .as_deref()
            .unwrap_or("(no source has answered yet)"),
        relay.state,
        relay.uptime_seconds
    )
}

/// What is above the tables: labels and texts.
pub(super) fn head(report: &Report) -> Vec<(&'static str, String)> {
    let relay = &report.relay;
    let mut lines = vec![
        ("log end", coordinates(&relay.file, relay.position)),
        ("executed", or_dash(&relay.gtid_executed)),
        ("purged", or_dash(&relay.gtid_purged)),
    ];
    if let Some(conflicts @ 1..) = relay.conflicts {
        lines.push(("conflicts", format!("{conflicts} (binrelay conflicts)")));
    }
    if let Some(error) = &relay.last_error {
        lines.push(("error", escaped(&error.message).into_owned()));
    }
    for reason in &relay.degraded {
        lines.push(("degraded", escaped(reason).into_owned()));
    }
    lines
}

/// The columns that have no room, and what no column has.
fn below_sources(source: &SourceReport, hidden: Option<String>) -> Vec<String> {
    let tls = source.tls.as_ref().map(|tls| format!("TLS: {tls}"));
    let error = source.last_error.as_ref().map(error_line);
    // Why it does not wait for acknowledgements that are configured.
    let problem = source.semi_sync_problem.as_ref();
    let problem = problem.map(|problem| escaped(problem).into_owned());
    [hidden, tls, error, problem]
        .into_iter()
        .flatten()
        .collect()
}

fn sentence(line: &str, width: Option<usize>, indent: usize) -> Vec<String> {
    match width {
        Some(width) => wrapped(line, width, indent),
        None => vec![line.to_owned()],
    }
}

/// The table in its frame, and the columns that have no room.
fn framed(columns: Vec<Column>, width: Option<usize>) -> (String, Vec<Column>) {
    let (shown, hidden) = match width {
        Some(width) => fit(columns, width, FRAMED),
        None => (columns, Vec::new()),
    };
    let mut table = Table::new();
    table.load_preset(FRAME);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(shown.iter().map(|column| column.header));
    let rows = shown.first().map_or(0, |column| column.cells.len());
    for row in 0..rows {
        let cell = |column: &Column| column.cells.get(row).cloned().unwrap_or_default();
        table.add_row(shown.iter().map(cell));
    }
    (table.to_string(), hidden)
}

/// A row of columns on one line; none without columns.
fn cells(columns: &[Column], row: usize) -> Option<String> {
    let cell = |column: &Column| {
        let cell = column.cells.get(row).map_or("", String::as_str);
        format!("{} {cell}", column.header)
    };
    let cells: Vec<String> = columns.iter().map(cell).collect();
    (!cells.is_empty()).then(|| cells.join(", "))
}

fn sources(sources: &[SourceReport]) -> Vec<Column> {
    let column = |header, rank, cell: fn(&SourceReport) -> String| {
        Column::text(header, rank, sources.iter().map(cell).collect())
    };
    vec![
        column("source", 0, |source| source.name.clone()),
        column("address", 4, source_address),
        column("state", 0, |source| source.state.clone()),
        column("server_id", 5, |source| or_unknown(source.server_id)),
        column("durable up to", 0, durable_up_to),
        column("behind", 0, |source| seconds(source.seconds_behind)),
        column("kept", 1, |source| source.transactions.kept.to_string()),
        column("duplicate", 2, |source| {
            source.transactions.duplicate.to_string()
        }),
        column("filtered", 6, |source| {
            source.transactions.filtered.to_string()
        }),
        column("repeated", 7, |source| {
            source.transactions.repeated.to_string()
        }),
        column("only here", 3, |source| or_unknown(source.only_here)),
    ]
}

fn replicas(replicas: &[ReplicaReport]) -> Vec<Column> {
    let column = |header, rank, cell: fn(&ReplicaReport) -> String| {
        Column::text(header, rank, replicas.iter().map(cell).collect())
    };
    vec![
        column("replica", 0, |replica| replica.server_id.to_string()),
        column("host", 1, |replica| escaped(&replica.host).into_owned()),
        column("user", 3, |replica| escaped(&replica.user).into_owned()),
        column("state", 0, |replica| replica.state.clone()),
        column("sent up to", 0, sent_up_to),
        column("behind", 0, |replica| seconds(replica.seconds_behind)),
        column("bytes", 2, |replica| match replica.missing_seconds {
            None => replica.bytes_sent.to_string(),
            Some(_) => "-".to_owned(),
        }),
        column("TLS", 4, |replica| {
            replica.tls.clone().unwrap_or("-".to_owned())
        }),
    ]
}

/// Where a source is.
pub(super) fn source_address(source: &SourceReport) -> String {
    host_and_port(&source.host, source.port)
}

/// A source's own coordinates.
pub(super) fn durable_up_to(source: &SourceReport) -> String {
    coordinates(&source.file, source.position)
}

/// The coordinates up to which a replica was sent the log.
pub(super) fn sent_up_to(replica: &ReplicaReport) -> String {
    coordinates(&Some(replica.file.clone()), Some(replica.position))
}

fn coordinates(file: &Option<String>, position: Option<u64>) -> String {
    match (file, position) {
        (Some(file), Some(position)) => format!("{file}:{position}"),
        _ => "-".to_owned(),
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

/// The number, if it is known.
pub(super) fn or_unknown(number: Option<impl ToString>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

/// So many seconds, if that is known.
pub(super) fn seconds(seconds: Option<u64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{seconds} s"))
}

/// A source's last error; of one that has ended only the first sentence, as nothing has to be done any more.
pub(super) fn error_line(error: &ErrorReport) -> String {
    let message = match &error.resolved_at {
        Some(_) => first_sentence(&error.message),
        None => &error.message,
    };
    let message = escaped(message);
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
    use unicode_width::UnicodeWidthStr;

    use super::super::example::report;
    use super::*;

    #[test]
    fn tables_fit_a_terminal_and_nothing_is_lost() {
        let report = report();
        let whole = render(&report, None);
        for width in [60, 80, 100, 132, 200] {
            let text = render(&report, Some(width));
            for line in text.lines().filter(|line| !line.starts_with("executed")) {
                assert!(line.width() <= width, "{width}: {line}\n{text}");
            }
            let words = |text: &str| -> Vec<String> {
                let is_content = |word: &&str| word.chars().any(char::is_alphanumeric);
                let words = text.split([' ', '\n']).filter(is_content);
                words
                    .map(|word| word.trim_end_matches(',').to_owned())
                    .collect()
            };
            let shown = words(&text);
            let expected = words(&whole);
            for word in expected {
                assert!(shown.contains(&word), "{width}: {word}\n{text}");
            }
        }
        assert_eq!(render(&report, Some(200)), whole, "there is room for all");
    }

    #[test]
    fn columns_without_room_are_below_the_table() {
        let text = render(&report(), Some(80));
        for expected in [
            "| source   state        durable up to            behind   kept   duplicate |\n",
            "| m1       connecting   mysql-bin.000001:25842   -        33     49        |\n",
            "\nm1: address 127.0.0.1:14123, server_id 86, filtered 3, repeated 0, only here 0\n",
            "| replica   host   user   state       sent up to               behind   bytes |\n",
            "\n101: TLS none\n",
            "\nm1: 127.0.0.1:14123: dump: the peer closed the connection (2026-11-27T06:05:44Z)\n",
        ] {
            assert!(text.contains(expected), "{expected}{text}");
        }
    }

    #[test]
    fn error_that_has_ended_is_shown_without_its_advice() {
        let mut error = ErrorReport {
            code: 0,
            message: "history has changed: expected 1.2, found 3. Its binlog was reset; decide"
                .to_owned(),
            at: "2026-11-27T06:05:44Z".to_owned(),
            resolved_at: None,
        };
        let now = error_line(&error);
        assert!(
            now.starts_with(
                "history has changed: expected 1.2, found 3. Its binlog was reset; decide ("
            ),
            "{now}"
        );
        error.resolved_at = Some("2026-11-27T06:07:00Z".to_owned());
        assert_eq!(
            error_line(&error),
            "history has changed: expected 1.2, found 3 (2026-11-27T06:05:44Z, streaming again since 2026-11-27T06:07:00Z)"
        );
        error.message = "connection refused; start the server".to_owned();
        assert!(error_line(&error).starts_with("connection refused (2026"));
    }
}
