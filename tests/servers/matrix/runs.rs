//! The runs of the matrix, and their possible outcomes.

use std::fmt;

use crate::support::servers::Kind;
use crate::support::topology::{Mode, TopologyOptions};

use Kind::{MariaDb, MariaDb105, MariaDb118, MySql, MySql55, MySql56, MySql57};
use Mode::{
    MariaDbFilePosition, MariaDbSlavePos, MySqlAutoPosition, MySqlFilePosition, MySqlNoGtids,
};

/// One source setup in one mode, with all kinds of replicas at the same time.
#[derive(Clone, PartialEq, Eq)]
pub struct Run {
    pub source: Kind,
    pub dual: bool,
    pub mode: Mode,
    /// Whether the source is one that MySQL 5.5 can follow, see `ServerOptions::readable_by_55`.
    pub readable_by_55: bool,
    pub replicas: Vec<Kind>,
    /// Whether each replica of the relay has a counterpart that follows a master itself.
    pub direct: bool,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setup = if self.dual { "dual" } else { "single" };
        write!(f, "{} {setup} {}", self.source, self.mode)?;
        match self.readable_by_55 {
            true => write!(f, " without checksums"),
            false => Ok(()),
        }
    }
}

impl Run {
    /// What its masters are started with.
    pub fn topology(&self) -> TopologyOptions {
        TopologyOptions {
            master_kind: self.source,
            readable_by_55: self.readable_by_55,
            // MySQL logs rows for one source, and both rows and statements for two.
            ..TopologyOptions::new(self.mode, if self.dual { 2 } else { 1 })
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    /// A replica attached to the master itself fails; attached to the relay it works.
    OnlyThroughRelay {
        direct: String,
    },
    /// A replica attached to the master itself fails too.
    NotSupported {
        direct: String,
        relayed: String,
    },
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Ok => write!(f, "ok"),
            Outcome::OnlyThroughRelay { direct } => {
                write!(f, "ok, although the servers themselves do not: {direct}")
            }
            Outcome::NotSupported { direct, relayed } => write!(
                f,
                "not supported by the servers themselves: {direct} (behind the relay: {relayed})"
            ),
            Outcome::Failed(why) => write!(f, "FAILED: {why}"),
        }
    }
}

/// Each kind as source and as replica.
pub fn reduced() -> Vec<Run> {
    let run = |source, dual, mode, replicas: &[Kind]| Run {
        source,
        dual,
        mode,
        readable_by_55: false,
        replicas: replicas.to_vec(),
        direct: false,
    };
    vec![
        run(MySql55, true, MySqlNoGtids, &[MySql55, MySql56]),
        run(MySql56, true, MySqlAutoPosition, &[MySql56, MySql]),
        run(MySql57, true, MySqlAutoPosition, &[MySql57, MySql]),
        run(MySql57, false, MySqlNoGtids, &[MySql57]),
        run(MySql, false, MySqlFilePosition, &[MySql]),
        run(MariaDb105, true, MariaDbSlavePos, &[MariaDb105, MariaDb]),
        run(MariaDb, false, MariaDbFilePosition, &[MariaDb118]),
        run(MariaDb118, true, MariaDbFilePosition, &[MariaDb118]),
    ]
}

/// Each kind of source with all that may follow it.
pub fn full() -> Vec<Run> {
    let mut runs = Vec::new();
    for source in [
        MySql55, MySql56, MySql57, MySql, MariaDb105, MariaDb, MariaDb118,
    ] {
        let modes: &[Mode] = match source {
            MySql55 => &[MySqlNoGtids],
            _ if source.is_mysql() => &[MySqlAutoPosition, MySqlFilePosition, MySqlNoGtids],
            _ => &[MariaDbFilePosition, MariaDbSlavePos],
        };
        for mode in modes.iter().copied() {
            for dual in [false, true] {
                let mut replicas = Kind::ALL.to_vec();
                replicas.retain(|replica| is_tried(source, *replica, mode));
                runs.push(Run {
                    source,
                    dual,
                    mode,
                    readable_by_55: false,
                    replicas,
                    direct: true,
                });
            }
        }
    }
    runs.extend([false, true].map(|dual| Run {
        source: MySql56,
        dual,
        mode: MySqlNoGtids,
        readable_by_55: true,
        replicas: vec![MySql55],
        direct: true,
    }));
    runs
}

/// Not older than the source, and of its flavor. MySQL 5.5 and 5.6 are old enough for MariaDB to
/// follow them; by MySQL's auto-position it cannot ask.
fn is_tried(source: Kind, replica: Kind, mode: Mode) -> bool {
    let crosses = source.is_before_57() && mode != MySqlAutoPosition;
    match source.is_mysql() == replica.is_mysql() {
        true => replica >= source,
        false => crosses,
    }
}

/// Removes the runs and replicas of the kinds for which there is no server, and returns how many
/// pairs of a run and a replica these were.
pub fn remove_missing(runs: &mut Vec<Run>) -> usize {
    let pairs = |runs: &[Run]| runs.iter().map(|run| run.replicas.len()).sum::<usize>();
    let all = pairs(runs);
    for run in runs.iter_mut() {
        let has_source = run.source.missing_variable().is_none();
        run.replicas
            .retain(|kind| has_source && kind.missing_variable().is_none());
    }
    runs.retain(|run| !run.replicas.is_empty());
    all - pairs(runs)
}
