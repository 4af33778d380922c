//! Histories composed at random: crashes, resets, restores, purges, recoveries, changes of the server_id, and
//! starts in the middle, moves of a virtual IP, and replicas of a master that are attached, under writes on both
//! masters. After the steps of a seed either the replicas equal the
//! masters, or the relay has said that something is wrong: a source is `failed`, or the replica has
//! stopped with an error. A silent difference fails the test, which prints the steps.
//!
//! `BINRELAY_SEED=17 cargo test --locked --test servers random_histories` repeats the steps of a seed; `BINRELAY_SEEDS=200`
//! runs that many.

mod follower;
mod outcome;
mod pair;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::follower::Attachments;
use self::outcome::Outcome;
use self::pair::Pair;
use crate::support::servers::Kind;
use crate::support::topology::Mode;
use crate::support::{self, SeedNote, seeds};

/// One of the masters, by its index.
pub type Master = usize;

/// One step of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// So many transactions.
    Write(Master, u32),
    /// SIGKILL and a restart, while both masters are written to.
    KillMaster(Master),
    KillRelay,
    /// The relay misses the steps until it is started again.
    StopRelay,
    StartRelay,
    /// The files before the current one are purged, once everyone has them.
    Purge(Master),
    /// The same, while the relay may lack them.
    PurgeTooEarly(Master),
    /// A lost table is recovered from the master's own binlog, into the running master.
    Recover(Master),
    /// SET GLOBAL server_id.
    ChangeServerId(Master),
    /// A copy of the data directory, which may be restored later.
    Copy(Master),
    Restore(Master),
    /// RESET MASTER.
    Reset(Master),
    /// The source m1's address is moved to the other master.
    MoveAddress,
    /// A replica that follows M1 is attached to the relay.
    Attach {
        lag: bool,
    },
}

/// The addresses of the relay's sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// The masters' own.
    Fixed,
    /// The source m1 has one that is moved between the masters, m2 that of M2.
    Virtual,
    /// There is only that source.
    OnlyVirtual,
}

/// How a history begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beginning {
    /// The relay follows both masters from their first files.
    Earliest,
    /// The masters have data, and have purged binlogs; the replica is a copy of M1, and the relay
    /// begins at the current positions.
    Middle,
}

/// The steps of a seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    pub kind: Kind,
    pub mode: Mode,
    pub beginning: Beginning,
    pub address: Address,
    pub steps: Vec<Step>,
}

const SETUPS: [(Kind, Mode); 5] = [
    (Kind::MariaDb, Mode::MariaDbFilePosition),
    (Kind::MySql, Mode::MySqlAutoPosition),
    (Kind::MySql56, Mode::MySqlNoGtids),
    (Kind::MariaDb, Mode::MariaDbSlavePos),
    (Kind::MySql, Mode::MySqlNoGtids),
];

impl Plan {
    fn of_seed(seed: u64) -> Plan {
        let mut random = StdRng::seed_from_u64(seed);
        let (kind, mode) = SETUPS[(seed % SETUPS.len() as u64) as usize];
        let beginning = match random.random_ratio(1, 4) {
            true => Beginning::Middle,
            false => Beginning::Earliest,
        };
        let address = match random.random_range(0..8) {
            0 => Address::OnlyVirtual,
            1 | 2 => Address::Virtual,
            _ => Address::Fixed,
        };
        let mut plan = Plan {
            kind,
            mode,
            beginning,
            address,
            steps: Vec::new(),
        };
        for _ in 0..random.random_range(3..7) {
            plan.add(&mut random);
            if plan.is_decided() {
                break;
            }
        }
        if plan.relay_is_stopped() {
            plan.steps.push(Step::StartRelay);
        }
        for master in [0, 1] {
            let rows = random.random_range(1..40);
            plan.steps.push(Step::Write(master, rows));
        }
        plan
    }

    fn add(&mut self, random: &mut StdRng) {
        let master = random.random_range(0..2);
        let write = Step::Write(master, random.random_range(1..15));
        let steps = &mut self.steps;
        let is_stopped = relay_is_stopped(steps);
        // To resume a killed MariaDB by position, the harness needs its peer's whole binlog.
        let needs_all = self.mode == Mode::MariaDbFilePosition;
        let is_purged = self.beginning == Beginning::Middle
            || steps.iter().any(|step| matches!(step, Step::Purge(_)));
        let mut so_far = steps.iter();
        let is_changed = so_far.any(|step| matches!(step, Step::ChangeServerId(_)));
        let may_kill = !(is_changed || needs_all && is_purged);
        steps.push(write);
        let is_away = steps.iter().filter(|step| **step == Step::MoveAddress);
        let is_away = is_away.count() % 2 == 1;
        let may_change = self.address != Address::OnlyVirtual;
        let step = random.random_range(0..28);
        if matches!(step, 16..19) && may_change && is_away {
            // At M2 the relay would not see that M1 has another history.
            steps.push(Step::MoveAddress);
        }
        match step {
            0..5 if may_kill => steps.push(Step::KillMaster(master)),
            5..8 if !is_stopped => steps.push(Step::KillRelay),
            8..10 if is_stopped => steps.push(Step::StartRelay),
            8..10 => steps.push(Step::StopRelay),
            10..12 if !is_stopped => steps.push(Step::Purge(master)),
            12 if is_stopped => steps.push(Step::PurgeTooEarly(master)),
            13..15 if self.kind.is_mariadb() => steps.push(Step::Recover(master)),
            15 if !is_stopped => steps.push(Step::ChangeServerId(master)),
            16..18 if may_change => {
                steps.extend([Step::Copy(master), write, Step::Restore(master)])
            }
            18 if may_change => steps.push(Step::Reset(master)),
            20..24 if self.address != Address::Fixed => steps.push(Step::MoveAddress),
            20..28 if !is_stopped => steps.push(Step::Attach {
                lag: random.random_bool(0.5),
            }),
            _ => {}
        }
    }

    /// Whether a replica is attached.
    pub fn has_attachment(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(step, Step::Attach { .. }))
    }

    /// Whether the masters no longer have one history after it.
    fn is_decided(&self) -> bool {
        let last = self.steps.last();
        matches!(last, Some(Step::Restore(_) | Step::Reset(_)))
    }

    fn relay_is_stopped(&self) -> bool {
        relay_is_stopped(&self.steps)
    }
}

fn relay_is_stopped(steps: &[Step]) -> bool {
    let last = steps
        .iter()
        .rfind(|step| matches!(step, Step::StopRelay | Step::StartRelay));
    last == Some(&Step::StopRelay)
}

/// Prints the steps when the test fails.
struct PlanNote(Plan, usize);

impl Drop for PlanNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after {} steps of {:?}", self.1, self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_position() {
    end_equal_or_loud(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_with_gtids() {
    end_equal_or_loud(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_56() {
    end_equal_or_loud(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_by_gtid() {
    end_equal_or_loud(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_97_without_gtids() {
    end_equal_or_loud(4).await;
}

/// The seeds of one set-up.
async fn end_equal_or_loud(setup: u64) {
    let (mut outcomes, mut attachments) = (Vec::new(), Attachments::default());
    let all = seeds(10, 200).into_iter();
    for seed in all.filter(|seed| seed % SETUPS.len() as u64 == setup) {
        let _turn = support::turn();
        let _note = SeedNote(seed);
        let mut note = PlanNote(Plan::of_seed(seed), 0);
        println!("seed {seed}: {:?}", note.0);
        let (outcome, attached) = run(&mut note).await;
        println!("seed {seed}: {outcome:?}, {attached:?}");
        outcomes.push(outcome);
        attachments.add(attached);
    }
    let equal = outcomes
        .iter()
        .filter(|one| **one == Outcome::Equal)
        .count();
    println!(
        "{equal} of {} ended equal, the others loud; {attachments:?}",
        outcomes.len()
    );
}

async fn run(note: &mut PlanNote) -> (Outcome, Attachments) {
    let plan = note.0.clone();
    let mut pair = Pair::start(&plan).await;
    for step in plan.steps {
        pair.step(step).await;
        note.1 += 1;
        if let Some(outcome) = pair.early_outcome().await {
            return (outcome, pair.attachments);
        }
    }
    let outcome = pair.outcome().await;
    (outcome, pair.attachments)
}

#[test]
fn a_seed_always_has_the_same_steps() {
    assert_eq!(Plan::of_seed(7), Plan::of_seed(7));
    let decided = (1..=200).filter(|seed| {
        let plan = Plan::of_seed(*seed);
        let ends = |step: &Step| matches!(step, Step::Restore(_) | Step::Reset(_));
        plan.steps.iter().any(ends)
    });
    assert!((40..160).contains(&decided.count()));
}
