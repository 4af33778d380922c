//! Which faults there are, and when: decided by the seed alone.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::support::faulty_link;
use crate::support::servers::Kind;
use crate::support::topology::Mode;

/// The servers, and how they find their positions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    pub kind: Kind,
    pub mode: Mode,
}

/// All of them; a seed chooses one.
const SETUPS: [Setup; 4] = [
    setup(Kind::MySql, Mode::MySqlAutoPosition),
    setup(Kind::MariaDb, Mode::MariaDbFilePosition),
    setup(Kind::MySql56, Mode::MySqlNoGtids),
    setup(Kind::MariaDb, Mode::MariaDbSlavePos),
];

const fn setup(kind: Kind, mode: Mode) -> Setup {
    Setup { kind, mode }
}

impl Setup {
    pub fn of_seed(seed: u64) -> Setup {
        SETUPS[(seed % SETUPS.len() as u64) as usize]
    }

    /// The first one with these servers.
    pub fn of_kind(kind: Kind) -> Option<Setup> {
        SETUPS.into_iter().find(|setup| setup.kind == kind)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// SIGKILL; a restart ends it.
    KillRelay,
    /// SIGKILL of M1 or M2, by index; a restart ends it.
    KillMaster(usize),
    /// The network between the relay and M1 or M2.
    Link(usize, faulty_link::Fault),
    /// No byte is free on the disk of the relay.
    FillDisk,
    /// A replica is stopped; that it starts again, or is attached to the relay, ends it.
    Detach,
}

impl Fault {
    /// Its row in the table.
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillRelay => "relay killed",
            Fault::KillMaster(0) => "m1 killed",
            Fault::KillMaster(_) => "m2 killed",
            Fault::Link(_, faulty_link::Fault::CutAfter(_)) => "connection cut",
            Fault::Link(_, faulty_link::Fault::ResetAfter(_)) => "connection reset",
            Fault::Link(_, faulty_link::Fault::CorruptAfter(_)) => "bit flipped",
            Fault::Link(_, faulty_link::Fault::Slow) => "slow network",
            Fault::Link(_, faulty_link::Fault::OneWay) => "one-way network",
            Fault::Link(..) => "silent network",
            Fault::FillDisk => "disk full",
            Fault::Detach => "replica detached",
        }
    }

    /// Whether both are faults of the same thing, which can have one at a time.
    pub fn excludes(self, other: Fault) -> bool {
        match (self, other) {
            (Fault::Link(one, _), Fault::Link(two, _)) => one == two,
            _ => self == other,
        }
    }
}

/// One fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    pub fault: Fault,
    /// How long it lasts, in milliseconds.
    pub lasts: u64,
    /// The time from its begin to the next fault's, in milliseconds: others may last still.
    pub gap: u64,
}

/// Draws faults from a deck, so that all kinds have their turn.
pub struct Plan {
    random: StdRng,
    deck: Vec<Fault>,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        Plan {
            random: StdRng::seed_from_u64(seed),
            deck: Vec::new(),
        }
    }

    /// The faults of the next part.
    pub fn part(&mut self, number: u32) -> Vec<Step> {
        // The first part has every kind of fault.
        let count = match number {
            1 => 9,
            _ => self.random.random_range(3..8),
        };
        (0..count).map(|_| self.step()).collect()
    }

    /// Each kind of fault once, in a few seconds.
    pub fn short_part(&mut self) -> Vec<Step> {
        let source = self.random.random_range(0..2);
        let after = self.random.random_range(0..5_000);
        let mut faults = [
            Fault::KillRelay,
            Fault::KillMaster(self.random.random_range(0..2)),
            Fault::Link(source, faulty_link::Fault::HalfOpen),
            Fault::Link(1 - source, faulty_link::Fault::CutAfter(after)),
            Fault::FillDisk,
            Fault::Detach,
        ];
        faults.shuffle(&mut self.random);
        let random = &mut self.random;
        let mut step = |fault| Step {
            fault,
            lasts: match fault {
                Fault::FillDisk => random.random_range(1500..2500),
                _ => random.random_range(300..1800),
            },
            gap: random.random_range(100..600),
        };
        faults.into_iter().map(&mut step).collect()
    }

    fn step(&mut self) -> Step {
        if self.deck.is_empty() {
            self.deck = self.shuffled();
        }
        let fault = self.deck.pop().expect("a deck is not empty");
        let random = &mut self.random;
        let lasts = match fault {
            Fault::KillRelay => random.random_range(0..400),
            Fault::KillMaster(_) | Fault::Detach => random.random_range(100..1500),
            // Longer than the time after which the relay takes a silent source for a dead one, or not.
            Fault::Link(..) => random.random_range(500..4000),
            Fault::FillDisk => random.random_range(1500..3500),
        };
        Step {
            fault,
            lasts,
            gap: random.random_range(100..1200),
        }
    }

    fn shuffled(&mut self) -> Vec<Fault> {
        let mut deck = vec![
            Fault::KillRelay,
            Fault::KillRelay,
            Fault::KillMaster(0),
            Fault::KillMaster(1),
            Fault::FillDisk,
            Fault::Detach,
        ];
        for _ in 0..3 {
            let source = self.random.random_range(0..2);
            deck.push(Fault::Link(source, self.link_fault()));
        }
        deck.shuffle(&mut self.random);
        deck
    }

    fn link_fault(&mut self) -> faulty_link::Fault {
        let after = self.random.random_range(0..20_000);
        match self.random.random_range(0..6) {
            0 => faulty_link::Fault::CutAfter(after),
            1 => faulty_link::Fault::ResetAfter(after),
            2 => faulty_link::Fault::CorruptAfter(after),
            3 => faulty_link::Fault::HalfOpen,
            4 => faulty_link::Fault::OneWay,
            _ => faulty_link::Fault::Slow,
        }
    }
}
