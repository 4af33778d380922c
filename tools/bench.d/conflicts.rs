//! What the detection of conflicts costs: the relay receives the binlogs of two masters that have written at the same time,
//! with it and without it. The masters do not replicate from each other, so the keys of all rows are compared: no load
//! of a pair costs more.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Options;
use crate::measure::KeyPair;
use crate::report::{Figures, Report};
use crate::source::{DataSet, Measured, Source};
use crate::support::Deadline;
use crate::support::relay::{Relay, RelayOptions, SourceOptions};
use crate::support::servers::Kind;

/// No run takes longer, in seconds.
const RUN_SECS_MAX: u64 = 600;

/// Loads two masters and measures.
pub async fn measure(kind: Kind, options: &Options, report: &mut Report) {
    let data_set = DataSet::Transactions(options.transactions / 2);
    report.note(&format!(
        "{kind}: loading {data_set} on each of two masters"
    ));
    let masters = [
        Source::load_master(kind, data_set, 1).await,
        Source::load_master(kind, data_set, 2).await,
    ];
    let keys = KeyPair::generate(&options.relay, &masters[0]);
    let mut figures = Figures::new("conflicts", "the relay without", 1);
    for round in 0..options.rounds {
        // Every other round in the other order, so that none is always measured first.
        for detects in [round % 2 == 0, round % 2 == 1] {
            let (seconds, cpu, peak_kib) = time(&options.relay, &masters, &keys, detects).await;
            if detects {
                figures.relays[0].push(seconds);
                figures.cpu_seconds[0].push(cpu);
                figures.peak_kib[0] = figures.peak_kib[0].max(peak_kib);
            } else {
                figures.reference.push(seconds);
                report.note(&format!("without detection: {cpu:.3} s of processor time"));
            }
        }
        report.note(&format!("round {}: {figures}", round + 1));
    }
    let [first, second] = masters.each_ref().map(Source::measured);
    let both = Measured {
        data_set: DataSet::Transactions(options.transactions / 2 * 2),
        bytes: first.bytes + second.bytes,
        files: first.files + second.files,
        ..first
    };
    report.add(&both, false, [figures]);
}

/// Seconds until a fresh relay has everything, its processor time and peak memory.
async fn time(
    program: &Path,
    masters: &[Source; 2],
    keys: &KeyPair,
    detects: bool,
) -> (f64, f64, u64) {
    let sources = masters.iter().zip(["m1", "m2"]).map(|(master, name)| {
        let mut source = SourceOptions::of(name, &master.server);
        source
            .extra
            .push("tls = { mode = \"disabled\" }".to_owned());
        source
    });
    let mut options = RelayOptions::new(sources.collect());
    options.program = program.to_path_buf();
    options.replicate_do_db.clear();
    options.data_files = keys.files();
    options.relay_extra = vec![format!("detect_conflicts = {detects}")];
    let deadline = Deadline::after_secs(RUN_SECS_MAX);
    let began = Instant::now();
    let mut relay = Relay::start(options);
    loop {
        let status = relay.status();
        let is_at_end = |(number, master): (usize, &Source)| {
            let source = &status["sources"][number];
            let (file, position) = master.end();
            source["file"] == file.as_str() && source["position"] == *position
        };
        if masters.iter().enumerate().all(is_at_end) {
            break;
        }
        relay.assert_running();
        assert!(
            !deadline.passed(),
            "not everything in {RUN_SECS_MAX} s: {status:#}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    // The detection may still have to read the end.
    let mut cpu = relay.cpu_seconds();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = relay.cpu_seconds();
        if now - cpu < 0.1 {
            break;
        }
        cpu = now;
    }
    if detects {
        assert_eq!(relay.status()["relay"]["conflicts"], 0, "rows of their own");
    }
    let peak_kib = relay.rss_peak_kib();
    relay.terminate();
    (seconds, cpu, peak_kib)
}
