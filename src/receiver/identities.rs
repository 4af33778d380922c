//! Which server answered at each source, to detect two sources that are the same server.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::error::ReceiverError;
use super::facts::SourceFacts;
use crate::gtid::Uuid;

/// Which server answered at each source that is connected now.
#[derive(Debug, Default)]
pub struct Identities {
    pub(super) known: Mutex<Vec<(u16, SourceFacts)>>,
    /// The server_ids for which the shared-domain warning was logged.
    pub(super) warned: Mutex<BTreeSet<u32>>,
    /// The sources that must leave the server that answers at their address to its own source.
    displaced: watch::Sender<BTreeSet<u16>>,
}

impl Identities {
    /// Records the server that answers at `source`.
    ///
    /// # Errors
    /// When it is the relay itself, or has the server_id of another source.
    pub fn note(
        &self,
        source: u16,
        facts: &SourceFacts,
        own_server_id: u32,
    ) -> Result<(), ReceiverError> {
        let server_id = facts.server_id;
        if server_id == own_server_id {
            return Err(ReceiverError::setup(
                format!("the source has server_id {server_id}, which is the relay's own"),
                "change the server_id of one of the two",
            ));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, _)| *other != source);
        let other = known.iter().find(|(_, other)| is_same(other, facts));
        if other.is_some_and(|(_, other)| other.server_id != server_id) {
            return Err(ReceiverError::setup(
                format!(
                    "the source has server_uuid {}, like another source of this relay",
                    facts.server_uuid.as_deref().unwrap_or_default()
                ),
                "remove the source that is the same server, or, if one is a copy of the other, remove \
                 auto.cnf on one of them and restart it",
            ));
        }
        if other.is_some() {
            return Err(ReceiverError::setup(
                format!("the source has server_id {server_id}, like another source of this relay"),
                "give each server a server_id of its own, or remove the source that is the same \
                 server",
            ));
        }
        known.push((source, facts.clone()));
        Ok(())
    }

    /// The server_uuids of the servers that answer at the other sources now.
    pub(super) fn other_uuids(&self, source: u16) -> Vec<Uuid> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let others = known.iter().filter(|(other, _)| *other != source);
        let uuids = others.filter_map(|(_, facts)| facts.server_uuid.as_deref());
        uuids.filter_map(|uuid| uuid.parse().ok()).collect()
    }

    /// The source at whose address this server answers.
    pub(super) fn holder(&self, server: &SourceFacts) -> Option<u16> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = known.iter();
        let found = known.find(|(_, facts)| is_same(facts, server));
        found.map(|(source, _)| *source)
    }

    /// Ends the connection of `source`, whose address was moved to the server of another source.
    pub(super) fn displace(&self, source: u16) {
        self.displaced.send_modify(|displaced| {
            displaced.insert(source);
        });
        self.forget_server(source);
    }

    /// Waits until the source is displaced.
    pub(super) async fn displaced(&self, source: u16) {
        let mut displaced = self.displaced.subscribe();
        let waited = displaced.wait_for(|displaced| displaced.contains(&source));
        let is_displaced = waited.await.is_ok();
        if !is_displaced {
            std::future::pending::<()>().await;
        }
    }

    /// Forgets the server of `source`: its connection is closed, and the address may move.
    pub fn forget(&self, source: u16) {
        self.displaced
            .send_if_modified(|displaced| displaced.remove(&source));
        self.forget_server(source);
    }

    fn forget_server(&self, source: u16) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, _)| *other != source);
    }
}

/// Whether two servers are the same, also if its server_id was changed meanwhile, or seem to be.
fn is_same(one: &SourceFacts, other: &SourceFacts) -> bool {
    let has_same_uuid = one.server_uuid.is_some() && one.server_uuid == other.server_uuid;
    one.server_id == other.server_id || has_same_uuid
}
