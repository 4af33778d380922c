//! Everything at once: a relay between two masters under load, and faults of every kind at random moments, several
//! at the same time. Between the faults there are calm points, at which every replica must equal the masters.
//!
//! A seed decides which faults there are, for how long each lasts, and when the next one begins; the moment in the
//! load is the machine's. A test runs a few of them, `tools/soak everything` hours.

mod changed_history;
mod faults;
mod plan;
mod stand;
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use self::plan::Step;
pub use self::plan::{Plan, Setup};
use self::stand::Stand;
use super::SeedNote;

/// How long it runs.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// One part, in which each kind of fault happens once.
    OnePart,
    /// Parts until this time is over, each with a calm point at its end.
    Time(Duration),
}

/// Prints the steps of the part that fails.
struct PartNote(u32, Vec<Step>);

impl Drop for PartNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in part {} with {:?}", self.0, self.1);
        }
    }
}

/// Runs the faults of a seed, and prints the table of what was injected; the first part that loses, repeats or
/// changes anything ends it with a panic. `program` is the relay's, if it is not the tests'.
pub async fn run(setup: Setup, seed: u64, length: Length, program: Option<&Path>) {
    let _note = SeedNote(seed);
    let started = Instant::now();
    println!("seed {seed}: {setup:?}");
    let mut plan = Plan::new(seed);
    let mut stand = Stand::start(setup, seed, program).await;
    stand.calm(0).await;
    let mut part = 0;
    loop {
        let is_over = match length {
            Length::OnePart => part >= 1,
            Length::Time(time) => started.elapsed() >= time,
        };
        if is_over {
            break;
        }
        part += 1;
        let steps = match length {
            Length::OnePart => plan.short_part(),
            Length::Time(_) => plan.part(part),
        };
        let mut note = PartNote(part, steps.clone());
        stand.part(&steps).await;
        stand.calm(part).await;
        if part % 3 == 0 {
            stand.change_history(part).await;
        }
        stand.trim().await;
        note.1.clear();
        if matches!(length, Length::Time(_)) {
            let minutes = started.elapsed().as_secs() / 60;
            println!("{minutes} min, part {part}: {}", stand.progress());
        }
    }
    println!("seed {seed}, {setup:?}, {:?}:", started.elapsed());
    print!("{}", stand.table());
    stand.finish().await;
}
