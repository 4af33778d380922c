//! A replica that follows M1 directly, until it is attached to the relay at a random moment.

use std::path::Path;

use serde_json::Value;

use crate::adoption::stop_applier;
use crate::adoption::{coordinates, execute, gtids, run_attach, start_applier, stop_and_start};
use crate::support::relay::Relay;
use crate::support::replication::{StartAt, attach, replica_status, retry_each_second};
use crate::support::servers::{Kind, Server};
use crate::support::topology::{Mode, run_for};

use super::pair::{newest_file, start_replica};

/// How many attachments there were.
#[derive(Clone, Copy, Default, Debug)]
pub struct Attachments {
    pub attached: u32,
    pub bridges: u32,
    pub refused: u32,
}

impl Attachments {
    pub fn add(&mut self, more: Attachments) {
        self.attached += more.attached;
        self.bridges += more.bridges;
        self.refused += more.refused;
    }
}

pub struct Follower {
    pub server: Server,
    /// Whether it is attached to the relay now.
    pub is_attached: bool,
}

impl Follower {
    /// Follows M1 from its first file, or, with a copy of its data, from its newest.
    pub async fn start(kind: Kind, mode: Mode, m1: &Server, seeded: Option<&Path>) -> Follower {
        let server = start_replica(kind, mode, 12, seeded).await;
        let mut at = mode.start_at("mysql-bin");
        if let (StartAt::FilePosition(file, _), Some(_)) = (&mut at, seeded) {
            *file = newest_file(m1);
        }
        attach(&server, "127.0.0.1", m1.port, &at, retry_each_second(kind)).await;
        Follower {
            server,
            is_attached: false,
        }
    }

    /// Stops it and attaches it to the relay, if that is possible. With `lag`, M1 has not applied for a moment what
    /// M2 has executed.
    pub async fn attach(
        &mut self,
        m1: &Server,
        relay: &Relay,
        mode: Mode,
        lag: bool,
    ) -> Attachments {
        let mut count = Attachments::default();
        let (server, kind) = (&self.server, self.server.kind);
        let before = replica_status(server).await;
        if self.is_attached || before.sql_running != "Yes" {
            return count; // As it follows M1, it has stopped with an error of its own.
        }
        if lag {
            m1.sql(stop_applier(kind)).await;
            run_for(200).await;
        }
        let (stop, start) = stop_and_start(kind);
        server.sql(stop).await;
        let by_gtid = matches!(mode, Mode::MariaDbSlavePos | Mode::MySqlAutoPosition) && !lag;
        let place = match by_gtid {
            true => gtids(server).await,
            false => coordinates(server).await,
        };
        if lag {
            m1.sql(start_applier(kind)).await;
        }
        let output = run_attach(relay, &["m1", &place]);
        if !output.status.success() {
            let refusal = String::from_utf8_lossy(&output.stderr);
            println!("attach m1 {place}: {refusal}");
            count.refused = 1;
            server.sql(start).await;
            return count;
        }
        let found: Value = serde_json::from_slice(&output.stdout).expect("a JSON object");
        execute(server, &found).await;
        self.is_attached = true;
        count.attached = 1;
        count.bridges = u32::from(found["bridge"] == true);
        count
    }
}
