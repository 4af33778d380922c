//! Errors of the operating system at every operation: the log stops with a message that names the file, or it
//! waits and continues; what was served is on disk, and after a restart nothing is lost and nothing twice.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rustix::io::Errno;

use super::run::Run;
use super::streams::{Kind, Outcome, Streams};
use super::{Expected, check, is_long, seed};
use crate::data_file::crash_states::{Crash, Disk, Fate, Files, Random};
use crate::data_file::recorder::Fault;

/// Steps of a run.
const STEPS: usize = 14;
/// One of so many steps is something rare.
const RARITY: usize = 8;
/// Operations at which an error occurs: one of so many in the profile `gate`.
const GATE_EVERY: u64 = 24;

/// The errors: their name, and whether a disk that is full is freed.
const FAULTS: [(&str, Fault); 8] = [
    ("EIO once", fault(Errno::IO, 1, false)),
    ("EIO", fault(Errno::IO, u64::MAX, false)),
    ("EIO after half of a write", fault(Errno::IO, 1, true)),
    ("ENOSPC for a while", fault(Errno::NOSPC, 3, false)),
    ("ENOSPC after half of a write", fault(Errno::NOSPC, 2, true)),
    ("EMFILE once", fault(Errno::MFILE, 1, false)),
    ("EMFILE", fault(Errno::MFILE, u64::MAX, false)),
    ("EROFS", fault(Errno::ROFS, u64::MAX, false)),
];

const fn fault(errno: Errno, count: u64, short: bool) -> Fault {
    Fault {
        from: 0,
        count,
        errno,
        short,
    }
}

fn streams(kind: Kind) -> Streams {
    Streams::new(kind, 80, &mut Random(seed()))
}

/// Runs until the end, or the first error.
fn run_through(run: &mut Run) -> Outcome {
    let mut random = Random(seed());
    run.open()?;
    for _ in 0..STEPS {
        run.step(&mut random)?;
    }
    run.close()
}

/// The files of the data directory.
fn files_of(run: &Run) -> Files {
    let dir = &run.options.log_dir.dir;
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| {
            (
                PathBuf::from(entry.file_name()),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

/// What one error led to.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    injected: u64,
    /// Runs that ended with an error.
    stopped: u64,
    /// Runs that waited for the disk, or did not need what failed.
    continued: u64,
}

/// Lets operations of the run fail. `whole` is the same run without an error: what it wrote up to there is the same.
fn inject(whole: &Run, fault: Fault, counts: &mut Counts) {
    let mut run = Run::new(streams(whole.streams.kind), RARITY);
    run.recorder.set_fault(Some(fault));
    let outcome = run_through(&mut run);
    run.recorder.set_fault(None);
    counts.injected += run.recorder.failed();
    match outcome {
        Ok(()) => counts.continued += 1,
        Err(error) => {
            counts.stopped += 1;
            let text = error.to_string();
            let dir = run.options.log_dir.dir.display().to_string();
            assert!(text.contains(&dir), "the message names no file: {text}");
            run.stop();
        }
    }
    let (promised, steps) = (run.recorder.promised(), run.recorder.steps());
    let mut disk = Disk::default();
    steps.iter().for_each(|step| disk.apply(step));
    let expected = Expected {
        streams: &run.streams,
        log: &whole.logs[run.logs.len().min(whole.logs.len() - 1)].1,
        promised,
        removed_before: run
            .purges
            .iter()
            .map(|(_, before)| *before)
            .max()
            .unwrap_or(1),
    };
    // Restarted as it is, and after a failure of the power, too.
    check(&files_of(&run), &expected);
    let lost = Crash::One(usize::MAX, Fate::Lost, Fate::Lost);
    check(&lost.files(&disk), &expected);
}

fn inject_everywhere(kind: Kind) {
    let mut whole = Run::new(streams(kind), RARITY);
    run_through(&mut whole).unwrap();
    let calls = whole.recorder.calls();
    let mut failures = Vec::new();
    for (number, (name, fault)) in (0u64..).zip(FAULTS) {
        let mut counts = Counts::default();
        let every = if is_long() { 1 } else { GATE_EVERY };
        for from in (0..calls)
            .skip((number * 7 % every) as usize)
            .step_by(every as usize)
        {
            let fault = Fault { from, ..fault };
            let injected = catch_unwind(AssertUnwindSafe(|| inject(&whole, fault, &mut counts)));
            if injected.is_err() {
                failures.push(format!("{name} at operation {from}"));
            }
        }
        println!("{kind:?}: {name} at {calls} operations: {counts:?}");
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn mysql_log_survives_an_error_at_every_operation() {
    inject_everywhere(Kind::MySql);
}

#[test]
fn mariadb_log_survives_an_error_at_every_operation() {
    inject_everywhere(Kind::MariaDb);
}

#[test]
fn log_without_gtids_survives_an_error_at_every_operation() {
    inject_everywhere(Kind::Anonymous);
}
