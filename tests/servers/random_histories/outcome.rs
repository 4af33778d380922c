//! How a history ends: equal data, or a message that something is wrong.

use super::pair::Pair;
use crate::support::Deadline;
use crate::support::replication::replica_status;
use crate::support::servers::Server;
use crate::support::tables::{checksum_tables, differences};
use crate::support::topology::run_for;

/// The end of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Equal,
    /// With the reason.
    Loud(String),
}

impl Pair {
    /// What the relay or the replica says is wrong.
    pub(super) async fn complaint(&self) -> Option<String> {
        if !self.relay_runs {
            return None;
        }
        let status = self.relay.status();
        let sources = status["sources"].as_array().cloned().unwrap_or_default();
        let failed = sources.iter().find(|source| source["state"] == "failed");
        if let Some(source) = failed {
            return Some(format!("{}: {}", source["name"], source["last_error"]));
        }
        let complaint = complaint_of(&self.replica).await;
        let follower = self.follower.as_ref().filter(|one| one.is_attached);
        let attached = match follower {
            Some(follower) => complaint_of(&follower.server).await,
            None => None,
        };
        assert!(
            attached.is_none() || complaint.is_some(),
            "the attached replica stopped, and no other one did: {attached:?}"
        );
        complaint.map(|complaint| format!("the replica: {complaint}"))
    }

    /// The outcome, if something is wrong: the steps that follow are not taken.
    pub async fn early_outcome(&self) -> Option<Outcome> {
        let complaint = self.complaint().await?;
        self.assert_only_their_rows().await;
        Some(Outcome::Loud(complaint))
    }

    /// The outcome after all steps.
    pub async fn outcome(&self) -> Outcome {
        let reached = self.reach(60).await;
        if let Some(outcome) = self.early_outcome().await {
            return outcome;
        }
        assert!(
            reached,
            "the replica does not have everything, and nothing says why: {:#}",
            self.relay.status()
        );
        let deadline = Deadline::after_secs(30);
        loop {
            let found = self.differences().await;
            if found.is_empty() {
                return Outcome::Equal;
            }
            if let Some(outcome) = self.early_outcome().await {
                return outcome;
            }
            assert!(
                !deadline.passed(),
                "a silent difference: {found:#?}\n{}",
                self.relay.log()
            );
            run_for(500).await;
        }
    }

    /// How the replica differs from the masters: from both if they differ, too.
    async fn differences(&self) -> Vec<String> {
        let mut all = Vec::new();
        for replica in self.replicas() {
            all.extend(self.differences_of(replica).await);
        }
        all
    }

    async fn differences_of(&self, replica: &Server) -> Vec<String> {
        let mut least = Vec::new();
        for database in ["test", "lost"] {
            let mut there = checksum_tables(replica, database).await;
            there.retain(|name, _| !name.starts_with("mark_"));
            let mut found = Vec::new();
            for master in &self.masters {
                let mut wanted = checksum_tables(master, database).await;
                wanted.retain(|name, _| !name.starts_with("mark_"));
                found.push(differences(&wanted, &there));
            }
            if found.iter().all(|lines| !lines.is_empty()) {
                least.extend(found.into_iter().flatten());
            }
        }
        least
    }

    /// While something is wrong rows may be missing, but none may differ.
    async fn assert_only_their_rows(&self) {
        let query = "SELECT CONCAT_WS(',', id, writer, v) FROM test.history";
        let mut known: Vec<String> = Vec::new();
        for master in &self.masters {
            known.extend(master.rows(query).await);
        }
        for replica in self.replicas() {
            if !checksum_tables(replica, "test")
                .await
                .contains_key("history")
            {
                continue; // Everything stopped before its first row.
            }
            let there: Vec<String> = replica.rows(query).await;
            let foreign: Vec<&String> = there.iter().filter(|row| !known.contains(row)).collect();
            assert!(foreign.is_empty(), "rows that no master has: {foreign:?}");
        }
    }
}

/// What a replica says is wrong.
async fn complaint_of(replica: &Server) -> Option<String> {
    let status = replica_status(replica).await;
    let is_stopped = status.sql_running != "Yes" || status.io_running == "No";
    (is_stopped && (status.sql_errno != 0 || status.io_errno != 0))
        .then(|| format!("{} {}", status.sql_error, status.io_error))
}
