//! MariaDB masters that write to the same GTID domain.
//!
//! A domain is one order of transactions: in it sequence numbers rise, and a replica's position is
//! the domain's last GTID. Two masters that both take writes in one domain number their
//! transactions independently. Here that does no harm, since a transaction is known by domain,
//! server and number together; to those who follow the relay by GTID it does.

use std::sync::PoisonError;

use super::{Identities, SourceFacts};

impl Identities {
    /// What will go wrong because this source and others write to one domain, and how to mend it;
    /// `None` when they do not, or when it was said of this source already.
    ///
    /// A source with `read_only` takes no writes of its own: all servers of a cluster with one
    /// writer rightly have the same domain.
    pub(super) fn shared_domain(&self, source: u16, facts: &SourceFacts) -> Option<String> {
        let domain = facts.writes_to_domain?;
        let others: Vec<u32> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known
                .iter()
                .filter(|(number, other)| {
                    *number != source && other.writes_to_domain == Some(domain)
                })
                .map(|(_, other)| other.server_id)
                .collect()
        };
        if others.is_empty() {
            return None;
        }
        let own = facts.server_id;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = warned.insert(own);
        warned.extend(&others);
        is_new.then(|| shared_domain_text(domain, own, &others))
    }
}

fn shared_domain_text(domain: u32, own: u32, others: &[u32]) -> String {
    let others: Vec<String> = others.iter().map(u32::to_string).collect();
    let others = others.join(", ");
    format!(
        "server_id {own} takes writes in GTID domain {domain}, as server_id {others} does: the \
         sequence numbers of both interleave, so a replica that follows this relay by GTID may \
         refuse them (error 1950 with gtid_strict_mode=ON), or skip or repeat transactions when \
         it moves to another server; SET GLOBAL gtid_domain_id to another number on each of them \
         (such as its server_id: SET GLOBAL gtid_domain_id={own}) and in its configuration file, \
         or attach the replicas of this relay by file and position (MASTER_USE_GTID=no)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flavor::Flavor;

    fn writer(server_id: u32, domain: Option<u32>) -> SourceFacts {
        SourceFacts {
            flavor: Flavor::MariaDb,
            version: "10.11.6-MariaDB".to_owned(),
            server_id,
            server_uuid: None,
            has_gtids: true,
            folds_case: false,
            writes_to_domain: domain,
        }
    }

    fn note(identities: &Identities, source: u16, facts: &SourceFacts) -> Option<String> {
        identities.note(source, facts, 900).unwrap();
        identities.shared_domain(source, facts)
    }

    #[test]
    fn two_writers_of_one_domain_are_named_once() {
        let identities = Identities::default();
        let (one, two, three) = (
            writer(86, Some(0)),
            writer(18, Some(0)),
            writer(19, Some(0)),
        );
        assert_eq!(note(&identities, 0, &one), None);
        let text = note(&identities, 1, &two).unwrap();
        assert!(
            text.contains("server_id 18 takes writes in GTID domain 0, as server_id 86 does"),
            "{text}"
        );
        assert!(text.contains("SET GLOBAL gtid_domain_id=18"), "{text}");
        assert!(text.contains("MASTER_USE_GTID=no"), "{text}");
        // Either of them comes again.
        assert_eq!(note(&identities, 1, &two), None);
        identities.forget(0);
        assert_eq!(note(&identities, 0, &one), None);
        // A third one is news.
        let text = note(&identities, 2, &three).unwrap();
        assert!(text.contains("as server_id 18, 86 does"), "{text}");
    }

    #[test]
    fn own_domains_and_servers_that_take_no_writes_are_well() {
        let identities = Identities::default();
        assert_eq!(note(&identities, 0, &writer(86, Some(0))), None);
        assert_eq!(note(&identities, 1, &writer(18, Some(1))), None);
        assert_eq!(note(&identities, 2, &writer(19, None)), None);
        assert_eq!(note(&identities, 3, &writer(20, None)), None);
    }
}
