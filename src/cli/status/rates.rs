//! What sources have sent and replicas were sent, second by second, for `binrelay status --watch`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use binrelay::sender::ReplicaReport;
use binrelay::status::{Report, SourceReport};

/// The samples that are kept: three minutes, one a second.
const SAMPLES_MAX: usize = 180;
/// The most characters of a sparkline; each is the average of three samples then.
pub(super) const MARKS_MAX: usize = 60;
/// From none to the most.
const MARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The rates of all sources and replicas, report after report.
#[derive(Debug, Default)]
pub(super) struct Rates {
    samples: BTreeMap<Peer, Samples>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Source(String),
    Replica(u32, Option<String>),
}

impl Peer {
    fn source(source: &SourceReport) -> Self {
        Peer::Source(source.name.clone())
    }

    fn replica(replica: &ReplicaReport) -> Self {
        Peer::Replica(replica.server_id, replica.server_uuid.clone())
    }
}

/// A second, or the totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rate {
    /// Only of sources.
    pub(super) transactions: f64,
    /// Received from a source, or sent to a replica.
    pub(super) bytes: f64,
}

/// The rates of one source or replica.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Transactions and bytes of the newest report.
    totals: Option<(u64, u64)>,
    /// Oldest first.
    rates: VecDeque<Rate>,
    /// How many there were until now.
    noted: usize,
}

impl Rates {
    /// Records a report that follows the one before it after this time. Counters begin again when the relay, or a
    /// replica's connection, does.
    pub(super) fn note(&mut self, report: &Report, after: Duration) {
        let mut now = BTreeMap::new();
        for source in &report.sources {
            let totals = (source.transactions.received, source.bytes_received);
            now.insert(Peer::source(source), totals);
        }
        for replica in &report.replicas {
            now.insert(Peer::replica(replica), (0, replica.bytes_sent));
        }
        self.samples.retain(|peer, _| now.contains_key(peer));
        for (peer, totals) in now {
            self.samples.entry(peer).or_default().note(totals, after);
        }
    }

    /// Of a source.
    pub(super) fn of_source(&self, source: &SourceReport) -> Option<&Samples> {
        self.samples.get(&Peer::source(source))
    }

    /// Of a replica.
    pub(super) fn of_replica(&self, replica: &ReplicaReport) -> Option<&Samples> {
        self.samples.get(&Peer::replica(replica))
    }
}

impl Samples {
    fn note(&mut self, totals: (u64, u64), after: Duration) {
        let Some((transactions, bytes)) = self.totals.replace(totals) else {
            return;
        };
        let seconds = after.as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        if self.rates.len() >= SAMPLES_MAX {
            self.rates.pop_front();
        }
        self.noted += 1;
        self.rates.push_back(Rate {
            transactions: rate(totals.0, transactions),
            bytes: rate(totals.1, bytes),
        });
    }

    /// The newest one.
    pub(super) fn newest(&self) -> Option<Rate> {
        self.rates.back().copied()
    }

    /// Three minutes in so many characters at most, in proportion to the highest rate. Which samples share a character
    /// does not change from one report to the next.
    pub(super) fn sparkline(&self, of: impl Fn(&Rate) -> f64, marks: usize) -> String {
        let marks = marks.clamp(1, MARKS_MAX);
        let each = SAMPLES_MAX.div_ceil(marks);
        let oldest = self.noted - self.rates.len();
        let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for (number, rate) in self.rates.iter().enumerate() {
            let sum = sums.entry((oldest + number) / each).or_default();
            *sum = (sum.0 + of(rate), sum.1 + 1.0);
        }
        let averages: Vec<f64> = sums.values().map(|(sum, count)| sum / count).collect();
        let highest = averages.iter().copied().fold(0.0, f64::max);
        let mark = |average: &f64| {
            let part = if highest > 0.0 {
                average / highest
            } else {
                0.0
            };
            let index = (part * (MARKS.len() - 1) as f64).round() as usize;
            MARKS.get(index).copied().unwrap_or('█')
        };
        // The oldest character may be that of a part whose other samples are gone.
        let surplus = averages.len().saturating_sub(marks);
        averages.iter().skip(surplus).map(mark).collect()
    }
}

#[cfg(test)]
mod tests {
    use binrelay::status::{RelayReport, TransactionCounts};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn report(received: u64, bytes_received: u64, bytes_sent: u64) -> Report {
        let source = SourceReport {
            name: "m1".to_owned(),
            transactions: TransactionCounts {
                received,
                ..TransactionCounts::default()
            },
            bytes_received,
            ..SourceReport::default()
        };
        let replica = ReplicaReport {
            server_id: 11,
            bytes_sent,
            ..ReplicaReport::default()
        };
        Report {
            relay: RelayReport::default(),
            sources: vec![source],
            replicas: vec![replica],
        }
    }

    fn newest(rates: &Rates) -> (Option<Rate>, Option<Rate>) {
        let report = report(0, 0, 0);
        let source = rates.of_source(&report.sources[0]).unwrap().newest();
        (
            source,
            rates.of_replica(&report.replicas[0]).unwrap().newest(),
        )
    }

    fn rate(transactions: f64, bytes: f64) -> Option<Rate> {
        Some(Rate {
            transactions,
            bytes,
        })
    }

    #[test]
    fn rates_are_those_between_two_reports() {
        let mut rates = Rates::default();
        rates.note(&report(10, 0, 100), SECOND);
        assert_eq!(newest(&rates), (None, None));
        rates.note(&report(30, 4096, 500), Duration::from_secs(2));
        assert_eq!(newest(&rates), (rate(10.0, 2048.0), rate(0.0, 200.0)));
        // The relay was restarted.
        rates.note(&report(5, 0, 0), SECOND);
        assert_eq!(newest(&rates), (rate(0.0, 0.0), rate(0.0, 0.0)));
        let gone = Report {
            sources: Vec::new(),
            ..report(0, 0, 0)
        };
        rates.note(&gone, SECOND);
        assert!(rates.of_source(&report(0, 0, 0).sources[0]).is_none());
    }

    fn samples(rates: impl Iterator<Item = f64>) -> Samples {
        let mut samples = Samples::default();
        let mut total = 0.0;
        samples.note((0, 0), SECOND);
        for rate in rates {
            total += rate;
            samples.note((total as u64, 0), SECOND);
        }
        samples
    }

    #[test]
    fn sparkline_is_in_proportion_to_the_highest_rate() {
        let of = |rates: &[f64]| {
            let each = rates.iter().flat_map(|rate| [*rate; 3]);
            samples(each).sparkline(|rate| rate.transactions, MARKS_MAX)
        };
        assert_eq!(of(&[0.0, 50.0, 100.0]), "▁▅█");
        assert_eq!(of(&[0.0, 0.0]), "▁▁");
        assert_eq!(of(&[]), "");
    }

    #[test]
    fn sparkline_has_three_minutes_within_its_width() {
        for count in [0, 1, 59, 179, 180, 181, 400, 1001] {
            // The second half of them is higher.
            let from = count - SAMPLES_MAX.min(count) / 2;
            let high = (0..count).map(|number| if number < from { 0.0 } else { 10.0 });
            let samples = samples(high);
            assert!(samples.rates.len() <= SAMPLES_MAX);
            for marks in [1, 8, 10, 17, 60, 200] {
                let line = samples.sparkline(|rate| rate.transactions, marks);
                assert!(
                    line.chars().count() <= marks.min(MARKS_MAX),
                    "{count} {marks}"
                );
                if count >= SAMPLES_MAX && marks >= 8 {
                    assert!(line.ends_with('█'), "{count} {marks}: {line}");
                    assert!(
                        line.chars().count() + 2 >= marks.min(MARKS_MAX) * 4 / 5,
                        "{line}"
                    );
                }
            }
        }
    }
}
