//! The figures, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

use crate::at_size::Figure;
use crate::latency::Latencies;
use crate::serving::Served;
use crate::source::Measured;
use crate::support::servers::Kind;

/// What was measured in one case: seconds, a number for each round.
pub struct Figures {
    /// `intake`, `serving`, `wire`, `conflicts`, `twice` or `no detect`.
    pub case: &'static str,
    /// The program that the relay is compared with.
    pub reference_name: &'static str,
    pub reference: Vec<f64>,
    /// Processor time of the reference, if it is a relay, too.
    pub reference_cpu: Vec<f64>,
    /// The relay that is measured and, if there is one, the other build.
    pub relays: Vec<Vec<f64>>,
    /// Processor time of each relay, in seconds, a number for each round.
    pub cpu_seconds: Vec<Vec<f64>>,
    /// The most memory that each relay has held.
    pub peak_kib: Vec<u64>,
}

/// What the machine needs for the bytes alone, in seconds, a number for each round.
#[derive(Default)]
pub struct Floor {
    /// From a socket into a file, with a sync after each group.
    pub inline: Vec<f64>,
    /// The same without syncs.
    pub unsynced: Vec<f64>,
    /// From a file to a socket.
    pub serving: Vec<f64>,
}

pub const RELAYS: [&str; 2] = ["binrelay", "the other build"];

impl Figures {
    pub fn new(case: &'static str, reference_name: &'static str, relays: usize) -> Figures {
        Figures {
            case,
            reference_name,
            reference: Vec::new(),
            reference_cpu: Vec::new(),
            relays: vec![Vec::new(); relays],
            cpu_seconds: vec![Vec::new(); relays],
            peak_kib: vec![0; relays],
        }
    }

    /// Adds a round of the reference, which is a relay.
    pub fn add_reference(&mut self, seconds: f64, cpu: f64) {
        self.reference.push(seconds);
        self.reference_cpu.push(cpu);
    }

    /// Adds a round of the relay `index`.
    pub fn add_relay(&mut self, index: usize, seconds: f64, cpu: f64, peak_kib: u64) {
        self.relays[index].push(seconds);
        self.cpu_seconds[index].push(cpu);
        self.peak_kib[index] = self.peak_kib[index].max(peak_kib);
    }

    /// Names and seconds, the reference first.
    fn competitors(&self) -> Vec<(&'static str, &[f64])> {
        let reference = (self.reference_name, self.reference.as_slice());
        let relays = RELAYS
            .into_iter()
            .zip(self.relays.iter().map(Vec::as_slice));
        [reference].into_iter().chain(relays).collect()
    }

    /// How fast the relay is, beside the reference: 1 is as fast.
    fn speed_to_reference(&self) -> f64 {
        median(&self.reference) / median(&self.relays[0])
    }

    /// How fast the relay is, beside the other build.
    fn speed_to_other(&self) -> Option<f64> {
        Some(median(self.relays.get(1)?) / median(&self.relays[0]))
    }
}

/// The last round.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |(name, seconds): (&str, &[f64])| {
            let seconds = seconds.last().copied().unwrap_or_default();
            format!("{name} {seconds:.3} s")
        };
        let all: Vec<String> = self.competitors().into_iter().map(last).collect();
        write!(f, "{}: {}", self.case, all.join(", "))
    }
}

/// The middle one; of an even number the lower of the two in the middle.
pub fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

/// Collects the cases; prints a table to stdout or, as JSON, all of it at the end.
pub struct Report {
    is_json: bool,
    ratios: Vec<String>,
    latencies: Vec<String>,
    cases: Vec<Value>,
}

impl Report {
    pub fn new(is_json: bool) -> Report {
        Report {
            is_json,
            ratios: Vec::new(),
            latencies: Vec::new(),
            cases: Vec::new(),
        }
    }

    /// Progress.
    pub fn note(&mut self, text: &str) {
        eprintln!("{text}");
    }

    pub fn add<const N: usize>(
        &mut self,
        measured: &Measured,
        is_tls: bool,
        figures: [Figures; N],
    ) {
        let (kind, data_set) = (measured.kind, measured.data_set);
        let (bytes, transactions) = (measured.bytes as f64, data_set.transactions() as f64);
        if !self.is_json {
            let files = measured.files;
            let tls = if is_tls { "on" } else { "off" };
            println!(
                "\n{kind}, {data_set}: {:.0} MB of binlog in {files} files, TLS {tls}",
                bytes / 1e6
            );
        }
        for figures in figures {
            let case = figures.case;
            for (name, seconds) in figures.competitors() {
                let seconds = median(seconds);
                let (mb, per_second) = (bytes / 1e6 / seconds, transactions / seconds);
                if !self.is_json {
                    println!(
                        "  {case:<9} {name:<22} {seconds:>8.3} s {mb:>9.1} MB/s {per_second:>9.0} trx/s"
                    );
                }
            }
            let peak_mb: Vec<u64> = figures.peak_kib.iter().map(|kib| kib / 1024).collect();
            if !self.is_json && case != "serving" {
                for (name, peak) in RELAYS.iter().zip(&peak_mb) {
                    println!("  memory    {name:<22} {peak:>8} MB at most");
                }
            }
            if !self.is_json {
                let reference = (&figures.reference_name, &figures.reference_cpu);
                let relays = RELAYS.iter().zip(&figures.cpu_seconds);
                let all = [reference].into_iter().chain(relays);
                for (name, cpu) in all.filter(|(_, cpu)| !cpu.is_empty()) {
                    println!(
                        "  {case:<9} {name:<22} {:>8.3} s of processor time",
                        median(cpu)
                    );
                }
            }
            let to_other = match figures.speed_to_other() {
                Some(ratio) => format!(", {ratio:.2} of the other build"),
                None => String::new(),
            };
            self.ratios.push(format!(
                "{:<14} {data_set:<32} {case:<9} {:.2} of the speed of {}{to_other}",
                kind.name(),
                figures.speed_to_reference(),
                figures.reference_name,
            ));
            self.cases.push(json!({
                "server": kind.name(),
                "data_set": data_set.to_string(),
                "transactions": data_set.transactions(),
                "bytes": measured.bytes,
                "tls": is_tls,
                "case": case,
                "reference": figures.reference_name,
                "reference_seconds": figures.reference,
                "seconds": figures.relays[0],
                "other_seconds": figures.relays.get(1),
                "reference_cpu_seconds": figures.reference_cpu,
                "cpu_seconds": figures.cpu_seconds.first(),
                "other_cpu_seconds": figures.cpu_seconds.get(1),
                "peak_mb": peak_mb,
                "speed_to_reference": figures.speed_to_reference(),
                "speed_to_other": figures.speed_to_other(),
            }));
        }
    }

    /// Beside the case `wire`.
    pub fn add_floor(&mut self, measured: &Measured, floor: &Floor) {
        let rows = [
            ("socket to file, sync inline", "inline", &floor.inline),
            ("socket to file, no sync", "unsynced", &floor.unsynced),
            ("file to socket", "serving", &floor.serving),
        ];
        for (name, case, seconds) in rows {
            let mb = measured.bytes as f64 / 1e6;
            if !self.is_json {
                let seconds = median(seconds);
                println!(
                    "  floor     {name:<28} {seconds:>8.3} s {:>9.1} MB/s",
                    mb / seconds
                );
            }
            self.cases.push(json!({
                "server": measured.kind.name(),
                "data_set": measured.data_set.to_string(),
                "bytes": measured.bytes,
                "case": format!("floor, {case}"),
                "seconds": seconds,
            }));
        }
    }

    /// How long a commit takes.
    pub fn add_latencies(&mut self, kind: Kind, figures: &Latencies) {
        let clients = figures.clients;
        let [alone, replica, syncing, relay] = [
            &figures.alone,
            &figures.replica,
            &figures.syncing_replica,
            &figures.relay,
        ]
        .map(|seconds| median(seconds));
        // What the replica adds; nothing can be said where it adds nothing.
        let added = |reference: f64| (relay - alone).max(0.0) / (reference - alone).max(1e-9);
        self.latencies.push(format!(
            "{:<14} {clients:>2} clients  {:>8.3} ms: {:.2} of the time with a server ({:.3} ms), {:.2} of that with \
             a server that has sync_relay_log=1 ({:.3} ms); without a replica {:.3} ms, so it adds {:.2} and {:.2} of what these add",
            kind.name(),
            relay * 1e3,
            relay / replica,
            replica * 1e3,
            relay / syncing,
            syncing * 1e3,
            alone * 1e3,
            added(replica),
            added(syncing),
        ));
        self.cases.push(json!({
            "server": kind.name(),
            "case": "commit",
            "clients": clients,
            "alone_seconds": figures.alone,
            "reference_seconds": figures.replica,
            "syncing_reference_seconds": figures.syncing_replica,
            "seconds": figures.relay,
            "time_to_reference": relay / replica,
            "time_to_syncing_reference": relay / syncing,
        }));
    }

    /// What was measured with a large log.
    pub fn add_at_size(
        &mut self,
        (kind, relay): (Kind, &str),
        gib: u64,
        transactions: u64,
        figures: &[Figure],
    ) {
        if !self.is_json {
            println!(
                "\n{relay}, {kind}, {gib} GiB of log, {transactions} transactions: the first time, and then"
            );
        }
        for figure in figures {
            let worst = figure.later.iter().copied().fold(0.0, f64::max);
            if !self.is_json {
                println!(
                    "  {:<48} {:>10.2} {:>10.2} {} (at most {worst:.2})",
                    figure.what,
                    figure.first,
                    figure.median(),
                    figure.unit
                );
            }
            self.cases.push(json!({
                "server": kind.name(),
                "case": "at size",
                "relay": relay,
                "gib": gib,
                "transactions": transactions,
                "what": figure.what,
                "unit": figure.unit,
                "first": figure.first,
                "later": figure.later,
            }));
        }
    }

    /// How fast replicas are served.
    pub fn add_served(&mut self, kind: Kind, all: &[Served]) {
        for served in all {
            let replicas = served.replicas;
            let gb = served.bytes as f64 * f64::from(replicas) / 1e9;
            let (floor, relay) = (median(&served.floor), median(&served.relay));
            let cpu = median(&served.cpu_seconds);
            self.ratios.push(format!(
                "{:<14} {replicas:>3} replicas from files: {:.2} of the speed of the floor ({:.0} and {:.0} MB/s), {:.2} s of \
                 processor time a GB, {} KiB a replica",
                kind.name(),
                floor / relay,
                gb * 1e3 / relay,
                gb * 1e3 / floor,
                cpu / gb,
                served.added_kib / u64::from(replicas)
            ));
            self.cases.push(json!({
                "server": kind.name(),
                "case": "serve",
                "replicas": replicas,
                "bytes": served.bytes,
                "reference_seconds": served.floor,
                "seconds": served.relay,
                "cpu_seconds": served.cpu_seconds,
                "added_kib": served.added_kib,
            }));
        }
    }

    pub fn finish(self) {
        if self.is_json {
            println!("{:#}", json!({ "cases": self.cases }));
            return;
        }
        if !self.ratios.is_empty() {
            println!("\nSpeed of binrelay (1.00: as fast)");
        }
        for ratio in self.ratios {
            println!("  {ratio}");
        }
        if !self.latencies.is_empty() {
            println!("\nCommits with binrelay as the only semi-synchronous replica");
        }
        for latency in self.latencies {
            println!("  {latency}");
        }
    }
}
