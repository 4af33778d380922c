//! Injecting faults, and ending them.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::plan::{Fault, Step};
use super::stand::Stand;
use super::table::sentences;
use crate::support::attachment::{coordinates, execute, gtids, run_attach};
use crate::support::faulty_link;
use crate::support::replication::{
    kill_replicating, replica_status, resume_from_peer, start_replica, stop_replica,
};
use crate::support::servers::Server;
use crate::support::topology::{Mode, run_for};

/// Between two looks at the status, in milliseconds.
const WATCH_EVERY: u64 = 200;
/// How often an attachment is tried before the replica continues to follow its master.
const ATTACHMENTS_MAX: u32 = 5;

impl Stand {
    /// Injects the faults under load, and ends them all.
    pub async fn part(&mut self, steps: &[Step]) {
        self.start_load(0);
        self.start_load(1);
        let mut active: Vec<(Fault, Instant)> = Vec::new();
        for step in steps {
            if step.fault == Fault::FillDisk && self.disk.is_none() {
                continue;
            }
            let excluded = |one: &(Fault, Instant)| one.0.excludes(step.fault);
            if let Some(at) = active.iter().position(excluded) {
                let (fault, _) = active.remove(at);
                self.end(fault, &active).await;
            }
            self.begin(step.fault).await;
            let now = Instant::now();
            active.push((step.fault, now + Duration::from_millis(step.lasts)));
            let next = now + Duration::from_millis(step.gap);
            self.watch_until(next, &mut active).await;
        }
        while let Some(last) = active.iter().map(|one| one.1).max() {
            self.watch_until(last + Duration::from_millis(1), &mut active)
                .await;
        }
        if !self.relay.is_started() {
            self.relay.restart();
        }
    }

    /// Ends the faults whose time is over, and notes what the status says.
    async fn watch_until(&mut self, until: Instant, active: &mut Vec<(Fault, Instant)>) {
        loop {
            self.watch(active);
            let now = Instant::now();
            while let Some(at) = active.iter().position(|one| one.1 <= now) {
                let (fault, _) = active.remove(at);
                self.end(fault, active).await;
            }
            if now >= until {
                return;
            }
            run_for(WATCH_EVERY.min((until - now).as_millis() as u64 + 1)).await;
        }
    }

    fn watch(&mut self, active: &[(Fault, Instant)]) {
        if self.relay.is_started() {
            self.relay.assert_running();
        }
        let status = self.relay.try_status();
        for (fault, _) in active {
            match &status {
                Ok(status) => {
                    for sentence in sentences(*fault, status) {
                        self.table.saw(fault.name(), &sentence);
                    }
                }
                Err(error) if *fault == Fault::KillRelay => {
                    self.table.saw(fault.name(), error.trim());
                }
                Err(_) => {}
            }
        }
    }

    async fn begin(&mut self, fault: Fault) {
        self.table.inject(fault.name());
        match fault {
            Fault::KillRelay => {
                if self.relay.is_started() {
                    self.relay.kill9();
                }
            }
            Fault::KillMaster(master) => {
                kill_replicating(&mut self.masters[master]).await;
                if let Some(load) = self.loads[master].take() {
                    self.reports.push(load.ended().await);
                }
            }
            Fault::Link(source, fault) => self.links[source].set(fault),
            Fault::FillDisk => {
                if let Some(disk) = &self.disk {
                    disk.fill();
                }
            }
            Fault::Detach => self.moving.sql(stop_replica(self.setup.kind)).await,
        }
    }

    /// `active` are the faults that last.
    async fn end(&mut self, fault: Fault, active: &[(Fault, Instant)]) {
        match fault {
            Fault::KillRelay => {
                if let Err(reason) = self.relay.try_restart() {
                    self.table.saw(fault.name(), &reason);
                    assert!(
                        active.iter().any(|one| one.0 == Fault::FillDisk),
                        "the relay does not start: {reason}\n{}",
                        self.relay.log()
                    );
                }
            }
            Fault::KillMaster(master) => self.restart_master(master, active).await,
            Fault::Link(source, _) => self.links[source].set(faulty_link::Fault::None),
            Fault::FillDisk => {
                if let Some(disk) = &self.disk {
                    disk.free();
                }
            }
            // What it has may not be in the log before there is space: each attempt would wait 10 seconds for that.
            Fault::Detach if active.iter().any(|one| one.0 == Fault::FillDisk) => {
                self.moving.sql(start_replica(self.setup.kind)).await;
            }
            Fault::Detach => self.attach_moving().await,
        }
    }

    async fn restart_master(&mut self, master: usize, active: &[(Fault, Instant)]) {
        self.masters[master].restart().await;
        let peer = Fault::KillMaster(1 - master);
        // The position in its peer's binlog is determined once both run.
        let peer_runs = active.iter().all(|one| one.0 != peer);
        if self.setup.mode == Mode::MariaDbFilePosition && peer_runs {
            let [m1, m2] = &self.masters;
            for (one, other) in [(m1, m2), (m2, m1)] {
                if is_stopped(one).await {
                    resume_from_peer(one, other).await;
                }
            }
        }
        self.start_load(master);
    }

    /// The moving replica follows the relay from now on, if that is possible.
    pub(super) async fn attach_moving(&mut self) {
        let start = start_replica(self.setup.kind);
        if !self.moving_is_direct {
            return self.moving.sql(start).await;
        }
        let place = match self.setup.mode {
            Mode::MariaDbSlavePos | Mode::MySqlAutoPosition => gtids(&self.moving).await,
            _ => coordinates(&self.moving).await,
        };
        for _ in 0..ATTACHMENTS_MAX {
            if !self.relay.is_started() {
                break;
            }
            let output = run_attach(&self.relay, &["m1", &place]);
            if output.status.success() {
                let found: Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
                execute(&self.moving, &found).await;
                self.moving_is_direct = false;
                return;
            }
            let refusal = String::from_utf8_lossy(&output.stderr);
            println!("attach m1 {place}: {}", refusal.trim());
            self.table.saw(Fault::Detach.name(), refusal.trim());
            run_for(500).await;
        }
        self.moving.sql(start).await;
    }
}

/// Whether a MariaDB that was killed does not replicate yet.
async fn is_stopped(server: &Server) -> bool {
    let status = replica_status(server).await;
    status.io_running == "No"
}
