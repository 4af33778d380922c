//! `binrelay status --watch` in a terminal: the state in place, with rates and their last minutes.

use binrelay::one_line::escaped;
use binrelay::sender::ReplicaReport;
use binrelay::status::Report;

use super::rates::{MARKS_MAX, Rate, Rates, Samples};
use super::tables::{
    INDENT, LABEL, durable_up_to, error_line, head, or_unknown, seconds, sent_up_to,
    source_address, title,
};
use super::terminal::Size;
use super::width::{Column, Spacing, cut, first, fit, table_lines, table_width, wrapped};

/// Between the columns.
const SPACING: Spacing = Spacing { gap: 2, frame: 0 };
/// The column of the sparklines, the last one.
const HISTORY: &str = "last 3 min";
/// Names that are longer are cut.
const NAME_MAX: usize = 24;

/// The lines of the screen, which fit it, except for its last line.
pub(super) fn screen(report: &Report, rates: &Rates, size: Size, now: &str) -> Vec<String> {
    let most = size.rows.saturating_sub(1);
    let mut lines = top(report, size, now);
    lines.push(String::new());
    lines.extend(first(sources(report, rates, size), most / 2, "sources"));
    lines.extend(first(
        errors(report, size),
        most / 6,
        "lines: binrelay status",
    ));
    lines.push(String::new());
    let room = most.saturating_sub(lines.len());
    lines.extend(replicas(report, rates, size, room));
    lines.truncate(most);
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

/// What is above the tables. Of the GTIDs only the beginning of the executed ones.
fn top(report: &Report, size: Size, now: &str) -> Vec<String> {
    let title = title(report);
    let with_time = format!("{title}  {now}");
    let mut lines = match with_time.chars().count() <= size.columns {
        true => vec![with_time],
        false => vec![cut(&title, size.columns)],
    };
    let mut sentences = Vec::new();
    for (label, text) in head(report) {
        let line = format!("{label:LABEL$}{text}");
        match label {
            "purged" => {}
            "executed" | "log end" => lines.push(cut(&line, size.columns)),
            _ => sentences.extend(wrapped(&line, size.columns, LABEL)),
        }
    }
    lines.extend(first(sentences, size.rows / 4, "lines: binrelay status"));
    lines
}

fn sources(report: &Report, rates: &Rates, size: Size) -> Vec<String> {
    let all = &report.sources;
    let samples = all.iter().map(|source| rates.of_source(source)).collect();
    let numbers = |cell: fn(&binrelay::status::SourceReport) -> String| -> Vec<String> {
        all.iter().map(cell).collect()
    };
    let transactions = |rate: Rate| format!("{:.0}", rate.transactions);
    let columns = vec![
        Column::text("source", 0, numbers(|source| cut(&source.name, NAME_MAX))),
        Column::text("address", 4, numbers(source_address)),
        Column::text("state", 0, numbers(|source| source.state.clone())),
        Column::text("durable up to", 1, numbers(durable_up_to)),
        Column::number(
            "behind",
            0,
            numbers(|source| seconds(source.seconds_behind)),
        ),
        Column::number(
            "kept",
            5,
            numbers(|source| source.transactions.kept.to_string()),
        ),
        Column::number(
            "duplicate",
            6,
            numbers(|source| source.transactions.duplicate.to_string()),
        ),
        Column::number(
            "filtered",
            8,
            numbers(|source| source.transactions.filtered.to_string()),
        ),
        Column::number(
            "only here",
            7,
            numbers(|source| or_unknown(source.only_here)),
        ),
        Column::number("trx/s", 0, newest(&samples, transactions)),
        Column::number("bytes/s", 3, newest(&samples, |rate| amount(rate.bytes))),
    ];
    with_history(columns, 2, &samples, |rate| rate.transactions, size)
}

/// The errors that have not ended.
fn errors(report: &Report, size: Size) -> Vec<String> {
    let mut lines = Vec::new();
    for source in &report.sources {
        let error = source.last_error.as_ref();
        if let Some(error) = error.filter(|error| error.resolved_at.is_none()) {
            let line = format!("{}: {}", source.name, error_line(error));
            lines.extend(wrapped(&line, size.columns, INDENT));
        }
    }
    lines
}

/// Those that need attention are first if there is no room for all.
fn replicas(report: &Report, rates: &Rates, size: Size, room: usize) -> Vec<String> {
    let mut all: Vec<&ReplicaReport> = report.replicas.iter().collect();
    if all.len() + 1 > room {
        // None is more than any number here: what is unknown may be bad.
        let urgency = |replica: &&ReplicaReport| {
            let behind = replica.seconds_behind.unwrap_or(u64::MAX);
            let is_missing = replica.missing_seconds.is_some();
            (std::cmp::Reverse((is_missing, behind)), replica.server_id)
        };
        all.sort_by_key(urgency);
    }
    let samples = all
        .iter()
        .map(|replica| rates.of_replica(replica))
        .collect();
    let cells = |cell: fn(&ReplicaReport) -> String| -> Vec<String> {
        all.iter().map(|replica| cell(replica)).collect()
    };
    let host = |replica: &ReplicaReport| cut(&escaped(&replica.host), NAME_MAX);
    let user = |replica: &ReplicaReport| cut(&escaped(&replica.user), NAME_MAX);
    let unsent = |replica: &ReplicaReport| {
        let bytes = replica.bytes_behind;
        or_unknown(bytes.map(|bytes| amount(bytes as f64)))
    };
    let tls = |replica: &ReplicaReport| replica.tls.clone().unwrap_or("-".to_owned());
    let columns = vec![
        Column::text("replica", 0, cells(|replica| replica.server_id.to_string())),
        Column::text("host", 2, cells(host)),
        Column::text("user", 6, cells(user)),
        Column::text("state", 0, cells(|replica| replica.state.clone())),
        Column::text("sent up to", 1, cells(sent_up_to)),
        Column::number(
            "behind",
            0,
            cells(|replica| seconds(replica.seconds_behind)),
        ),
        Column::number("unsent", 5, cells(unsent)),
        Column::text("TLS", 7, cells(tls)),
        Column::number("bytes/s", 3, newest(&samples, |rate| amount(rate.bytes))),
    ];
    let lines = with_history(columns, 4, &samples, |rate| rate.bytes, size);
    first(lines, room, "replicas")
}

/// The newest rates.
fn newest(samples: &Vec<Option<&Samples>>, cell: fn(Rate) -> String) -> Vec<String> {
    let cell = |samples: &Option<&Samples>| {
        let rate = samples.and_then(Samples::newest);
        rate.map_or("-".to_owned(), cell)
    };
    samples.iter().map(cell).collect()
}

/// The table with sparklines, which take the rest of the line.
fn with_history(
    mut columns: Vec<Column>,
    rank: u8,
    samples: &[Option<&Samples>],
    of: fn(&Rate) -> f64,
    size: Size,
) -> Vec<String> {
    columns.push(Column::text(HISTORY, rank, Vec::new()));
    let (mut shown, _) = fit(columns, size.columns, SPACING);
    let spare = size.columns.saturating_sub(table_width(&shown, SPACING));
    if let Some(last) = shown.last_mut().filter(|last| last.header == HISTORY) {
        let marks = (HISTORY.len() + spare).min(MARKS_MAX);
        let line = |samples: &Option<&Samples>| {
            samples.map_or_else(String::new, |samples| samples.sparkline(of, marks))
        };
        last.cells = samples.iter().map(line).collect();
    }
    table_lines(&shown, SPACING)
}

/// A number of bytes.
fn amount(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1000.0 {
            return match unit {
                "B" => format!("{value:.0} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use unicode_width::UnicodeWidthStr;

    use super::super::example::{replica, report};
    use super::*;

    const NOW: &str = "2026-11-27T06:05:45Z";
    const TERMINAL: Size = Size {
        columns: 80,
        rows: 24,
    };

    /// After some seconds in which m2 sent more and more, as did the relay to its replicas.
    fn rates(report: &Report) -> Rates {
        let mut rates = Rates::default();
        let mut at = report.clone();
        for second in 0..20 {
            at.sources[1].transactions.received += 100 * second;
            at.sources[1].bytes_received += 150_000 * second;
            for replica in &mut at.replicas {
                replica.bytes_sent += 150_000 * second;
            }
            rates.note(&at, Duration::from_secs(1));
        }
        rates
    }

    fn shown(report: &Report, columns: usize, rows: usize) -> Vec<String> {
        let size = Size { columns, rows };
        let lines = screen(report, &rates(report), size, NOW);
        assert!(
            lines.len() < rows,
            "{columns} x {rows}:\n{}",
            lines.join("\n")
        );
        for line in &lines {
            assert!(line.width() <= columns, "{columns} x {rows}: {line}");
        }
        lines
    }

    #[test]
    fn screen_of_80_columns() {
        let expected = [
            "binrelay 0.1.0  server_id 900  mysql  running  up 1 s  2026-11-27T06:05:45Z",
            "log end   relay-bin.000001:25814",
            "executed  3e11fa47-71ca-11e1-9e33-c80aa9429510:1-83,3e11fa47-71ca-11e1-9e33-c80…",
            "degraded  source m1 is connecting since 2026-11-27T06:05:44Z: 127.0.0.1:14123:",
            "          dump: the peer closed the connection",
            "",
            "source  state       durable up to           behind  trx/s  bytes/s  last 3 min",
            "m1      connecting  mysql-bin.000001:25842       -      0      0 B  ▁▁",
            "m2      streaming   mysql-bin.000001:25614     0 s   1900  2.7 MiB  ▄█",
            "m1: 127.0.0.1:14123: dump: the peer closed the connection (2026-11-27T06:05:44Z)",
            "",
            "replica  host  state      sent up to              behind  bytes/s  last 3 min",
            "101      s1    streaming  relay-bin.000001:25814     0 s  2.7 MiB  ▄█",
            "102      s2    streaming  relay-bin.000001:25814     0 s  2.7 MiB  ▄█",
        ];
        assert_eq!(shown(&report(), 80, 24), expected);
    }

    #[test]
    fn wider_terminal_has_more_columns_and_finer_sparklines() {
        let lines = shown(&report(), 132, 50);
        let text = lines.join("\n");
        for expected in ["address", "kept", "duplicate", "unsent", "user"] {
            assert!(text.contains(expected), "{expected}:\n{text}");
        }
        let narrow = shown(&report(), 80, 24).join("\n");
        let marks = |text: &str| text.chars().filter(|c| "▁▂▃▄▅▆▇█".contains(*c)).count();
        assert!(marks(&text) > marks(&narrow), "{text}");
    }

    #[test]
    fn every_size_is_kept() {
        let mut report = report();
        report.relay.degraded = vec!["source m1 has sent nothing for 121 s ".repeat(4); 30];
        report.sources[0].name = "a-name-of-a-source-that-is-longer-than-any".to_owned();
        report.replicas = (0..100)
            .map(|id| replica(id, "host.of.a.replica.example"))
            .collect();
        for columns in [1, 10, 40, 80, 81, 131, 132, 250] {
            for rows in [1, 2, 5, 24, 50, 200] {
                shown(&report, columns, rows);
            }
        }
    }

    #[test]
    fn replicas_that_need_attention_are_first_where_not_all_have_room() {
        let mut report = report();
        report.replicas = (1..=100).map(|id| replica(id, "host")).collect();
        report.replicas[70].seconds_behind = Some(90);
        report.replicas[80].missing_seconds = Some(10);
        report.replicas[80].state = "missing".to_owned();
        let lines = shown(&report, TERMINAL.columns, TERMINAL.rows);
        let first = lines
            .iter()
            .position(|line| line.starts_with("replica"))
            .unwrap();
        let ids: Vec<&str> = lines[first + 1..]
            .iter()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(ids[..3], ["81", "71", "1"]);
        let last = lines.last().unwrap();
        let shown = ids.len() - 1;
        assert_eq!(*last, format!("… and {} more replicas", 100 - shown));
        // With room for all, they stay in their order.
        let lines = self::shown(&report, 80, 150);
        assert!(lines.iter().any(|line| line.starts_with("100 ")));
    }
}
