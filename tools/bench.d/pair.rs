//! The relay receives the binlogs of two masters: what it costs that everything comes twice, and what the detection of
//! conflicts costs.

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
/// Processor time of a relay that has nothing to do for [`IDLE`], at most, in seconds.
const IDLE_CPU_MAX: f64 = 0.03;
const IDLE: Duration = Duration::from_millis(500);

/// What the detection of conflicts costs: with it, in another build, too, and without it. The masters have written at the same time and do not
/// replicate from each other, so the keys of all rows are compared: no load of a pair costs more.
pub async fn measure_conflicts(kind: Kind, options: &Options, report: &mut Report) {
    let share = options.transactions / 2;
    let data_set = DataSet::Transactions(share);
    report.note(&format!(
        "{kind}: loading {data_set} on each of two masters"
    ));
    let masters = [
        Source::load_master(kind, data_set, 1).await,
        Source::load_master(kind, data_set, 2).await,
    ];
    let keys = KeyPair::generate(&options.relay, &masters[0]);
    let sources = masters.each_ref();
    let programs = options.programs();
    let mut figures = Figures::new("conflicts", "the relay without", programs.len());
    for round in 0..options.rounds {
        // Every other round in the other order, so that none is always measured first.
        let mut order: Vec<usize> = (0..=programs.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let detecting = programs.get(index);
            let extra = format!("detect_conflicts = {}", detecting.is_some());
            let program = detecting.unwrap_or(&options.relay);
            let run = receive(program, &sources, &keys, Some(extra)).await;
            match detecting {
                Some(_) => {
                    assert_eq!(run.conflicts, Some(0), "rows of their own");
                    figures.add_relay(index, run.seconds, run.cpu, run.peak_kib);
                }
                None => figures.add_reference(run.seconds, run.cpu),
            }
        }
        report.note(&format!("round {}: {figures}", round + 1));
    }
    report.add(&both(&masters, share * 2), false, [figures]);
}

/// What it costs that everything comes twice, from two masters that replicate from each other, beside one of the two alone:
/// as it is by default, and without the detection of conflicts. Another build is measured as it is by default.
pub async fn measure_twice(kind: Kind, options: &Options, report: &mut Report) {
    let share = options.transactions / 2;
    report.note(&format!(
        "{kind}: loading {share} single-row transactions on each of two masters that replicate from each other"
    ));
    let masters = Source::load_pair(kind, share).await;
    let keys = KeyPair::generate(&options.relay, &masters[0]);
    let (pair, one) = (masters.each_ref(), [&masters[0]]);
    let programs = options.programs();
    let mut default = Figures::new("twice", "one source", programs.len());
    let mut undetected = Figures::new("no detect", "one source", 1);
    for round in 0..options.rounds {
        let run = receive(&options.relay, &one, &keys, None).await;
        default.add_reference(run.seconds, run.cpu);
        undetected.add_reference(run.seconds, run.cpu);
        // Every other round in the other order, so that none is always measured first.
        let mut order: Vec<usize> = (0..=programs.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let other = programs.get(index);
            let extra = other
                .is_none()
                .then(|| "detect_conflicts = false".to_owned());
            let program = other.unwrap_or(&options.relay);
            let run = receive(program, &pair, &keys, extra).await;
            let (figures, index) = match other {
                Some(_) => (&mut default, index),
                None => (&mut undetected, 0),
            };
            assert_eq!(run.conflicts.unwrap_or(0), 0, "rows of their own");
            figures.add_relay(index, run.seconds, run.cpu, run.peak_kib);
        }
        report.note(&format!("round {}: {default}; {undetected}", round + 1));
    }
    report.add(&both(&masters, share * 2), false, [default, undetected]);
}

/// Both binlogs, with so many different transactions.
fn both([first, second]: &[Source; 2], transactions: u64) -> Measured {
    Measured {
        kind: first.server.kind,
        data_set: DataSet::Transactions(transactions),
        bytes: first.bytes() + second.bytes(),
        files: first.files.len() + second.files.len(),
    }
}

struct Run {
    /// Until everything was durable.
    seconds: f64,
    /// Processor time, until there was nothing more to do.
    cpu: f64,
    peak_kib: u64,
    conflicts: Option<u64>,
}

/// A fresh relay receives everything.
async fn receive(
    program: &Path,
    masters: &[&Source],
    keys: &KeyPair,
    relay_extra: Option<String>,
) -> Run {
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
    options.relay_extra.extend(relay_extra);
    let deadline = Deadline::after_secs(RUN_SECS_MAX);
    let began = Instant::now();
    let mut relay = Relay::start(options);
    loop {
        let status = relay.status();
        let is_at_end = |(number, master): (usize, &&Source)| {
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
        tokio::time::sleep(IDLE).await;
        let now = relay.cpu_seconds();
        if now - cpu < IDLE_CPU_MAX {
            break;
        }
        cpu = now;
    }
    let conflicts = relay.status()["relay"]["conflicts"].as_u64();
    let peak_kib = relay.rss_peak_kib();
    relay.terminate();
    Run {
        seconds,
        cpu,
        peak_kib,
        conflicts,
    }
}
