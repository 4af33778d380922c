//! MariaDB masters that write to the same GTID domain.
//!
//! A domain is one order of transactions: its sequence numbers increase, and a replica's position is
//! the domain's last GTID. Two masters that both accept writes in one domain number their
//! transactions independently. This does not affect the relay, which identifies a transaction by
//! domain, server and number together, but it affects replicas that follow the relay by GTID.

use std::sync::PoisonError;

use super::facts::SourceFacts;
use super::identities::Identities;

impl Identities {
    /// A warning that this source and others write to the same domain, with the remedy; `None` when
    /// they do not, or when this source was already warned about.
    ///
    /// A source with `read_only` accepts no writes of its own: all servers of a cluster with one
    /// writer correctly have the same domain.
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
        "server_id {own} accepts writes in GTID domain {domain}, like server_id {others}: their \
         sequence numbers interleave, so a replica that follows this relay by GTID may refuse them \
         (error 1950 with gtid_strict_mode=ON), or skip or repeat transactions when it moves to \
         another server; set a different gtid_domain_id on each of them (for example its \
         server_id: SET GLOBAL gtid_domain_id={own}), also in its configuration file, or attach \
         the replicas of this relay by file and position (MASTER_USE_GTID=no)"
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
            tls: "none".to_owned(),
            folds_case: false,
            writes_to_domain: domain,
        }
    }

    fn note(identities: &Identities, source: u16, facts: &SourceFacts) -> Option<String> {
        identities.note(source, facts, 900).unwrap();
        identities.shared_domain(source, facts)
    }

    #[test]
    fn two_writers_of_one_domain_are_warned_about_once() {
        let identities = Identities::default();
        let (one, two, three) = (
            writer(86, Some(0)),
            writer(18, Some(0)),
            writer(19, Some(0)),
        );
        assert_eq!(note(&identities, 0, &one), None);
        let text = note(&identities, 1, &two).unwrap();
        assert!(
            text.contains("server_id 18 accepts writes in GTID domain 0, like server_id 86:"),
            "{text}"
        );
        assert!(text.contains("SET GLOBAL gtid_domain_id=18"), "{text}");
        assert!(text.contains("MASTER_USE_GTID=no"), "{text}");
        // Either of them connects again.
        assert_eq!(note(&identities, 1, &two), None);
        identities.forget(0);
        assert_eq!(note(&identities, 0, &one), None);
        // A third one is new.
        let text = note(&identities, 2, &three).unwrap();
        assert!(text.contains("like server_id 18, 86:"), "{text}");
    }

    #[test]
    fn own_domains_and_read_only_servers_are_not_warned_about() {
        let identities = Identities::default();
        assert_eq!(note(&identities, 0, &writer(86, Some(0))), None);
        assert_eq!(note(&identities, 1, &writer(18, Some(1))), None);
        assert_eq!(note(&identities, 2, &writer(19, None)), None);
        assert_eq!(note(&identities, 3, &writer(20, None)), None);
    }
}
