//! `binrelay status --watch` in a terminal: the state in place, with rates and their last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use binrelay::status::Report;

/// The samples that are kept of a source: three minutes, one a second.
const SAMPLES_MAX: usize = 180;
/// The samples of one character of a sparkline.
const SAMPLES_PER_MARK: usize = 3;
/// From none to the most.
const MARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Moves to the first line and erases the screen.
const BEGIN: &str = "\x1b[H\x1b[2J";

/// What the sources have sent, report after report.
#[derive(Debug, Default)]
pub(super) struct Rates {
    sources: BTreeMap<String, Source>,
}

#[derive(Debug, Default)]
struct Source {
    /// Transactions and bytes of the newest report.
    totals: Option<(u64, u64)>,
    /// Transactions and bytes a second, oldest first.
    samples: VecDeque<(f64, f64)>,
}

impl Rates {
    /// Records a report that follows the one before it after this time. The counters of a relay that was restarted
    /// begin again.
    pub(super) fn note(&mut self, report: &Report, after: Duration) {
        let seconds = after.as_secs_f64().max(0.001);
        for source in &report.sources {
            let known = self.sources.entry(source.name.clone()).or_default();
            let now = (source.transactions.received, source.bytes_received);
            if let Some((transactions, bytes)) = known.totals.replace(now) {
                let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
                let sample = (rate(now.0, transactions), rate(now.1, bytes));
                if known.samples.len() >= SAMPLES_MAX {
                    known.samples.pop_front();
                }
                known.samples.push_back(sample);
            }
        }
        let is_reported = |name: &str| report.sources.iter().any(|source| source.name == name);
        self.sources.retain(|name, _| is_reported(name));
    }

    /// The screen: the state, and a line for each source.
    pub(super) fn screen(&self, state: &str) -> String {
        let mut text = format!("{BEGIN}{state}\n");
        for (name, source) in &self.sources {
            if let Some((transactions, bytes)) = source.samples.back() {
                text.push_str(&format!(
                    "{name}: {transactions:.0} transactions/s, {}/s  {}\n",
                    size(*bytes),
                    sparkline(&source.samples)
                ));
            }
        }
        text
    }
}

/// The transactions a second, each mark the average of some samples, in proportion to the highest.
fn sparkline(samples: &VecDeque<(f64, f64)>) -> String {
    let rates: Vec<f64> = samples
        .iter()
        .map(|(transactions, _)| *transactions)
        .collect();
    let average = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let averages: Vec<f64> = rates.chunks(SAMPLES_PER_MARK).map(average).collect();
    let highest = averages.iter().copied().fold(0.0, f64::max);
    let mark = |rate: &f64| {
        let part = match highest > 0.0 {
            true => rate / highest,
            false => 0.0,
        };
        let index = (part * (MARKS.len() - 1) as f64).round() as usize;
        MARKS.get(index).copied().unwrap_or('█')
    };
    averages.iter().map(mark).collect()
}

/// A number of bytes.
fn size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

#[cfg(test)]
mod tests {
    use binrelay::status::{RelayReport, SourceReport, TransactionCounts};

    use super::*;

    fn report(received: u64, bytes_received: u64) -> Report {
        let source = SourceReport {
            name: "m1".to_owned(),
            transactions: TransactionCounts {
                received,
                ..TransactionCounts::default()
            },
            bytes_received,
            ..SourceReport::default()
        };
        Report {
            relay: RelayReport::default(),
            sources: vec![source],
            replicas: Vec::new(),
        }
    }

    #[test]
    fn rates_are_those_between_two_reports() {
        let mut rates = Rates::default();
        let second = Duration::from_secs(1);
        rates.note(&report(10, 0), second);
        assert_eq!(rates.screen("state\n"), format!("{BEGIN}state\n\n"));
        rates.note(&report(30, 4096), Duration::from_secs(2));
        let screen = rates.screen("");
        assert!(
            screen.ends_with("m1: 10 transactions/s, 2.0 KiB/s  █\n"),
            "{screen}"
        );
        // The relay was restarted.
        rates.note(&report(5, 0), second);
        assert!(rates.screen("").contains("m1: 0 transactions/s, 0.0 B/s"));
    }

    #[test]
    fn sparkline_is_in_proportion_to_the_highest_rate() {
        let of = |rates: &[f64]| -> String {
            let samples = rates
                .iter()
                .flat_map(|rate| [(*rate, 0.0); SAMPLES_PER_MARK]);
            sparkline(&samples.collect())
        };
        assert_eq!(of(&[0.0, 50.0, 100.0]), "▁▅█");
        assert_eq!(of(&[0.0, 0.0]), "▁▁");
        assert_eq!(of(&[]), "");
    }

    #[test]
    fn three_minutes_are_kept() {
        let mut rates = Rates::default();
        for number in 0..400 {
            rates.note(&report(number, 0), Duration::from_secs(1));
        }
        assert_eq!(rates.sources["m1"].samples.len(), SAMPLES_MAX);
    }
}
