//! Sources whose rules differ although one logs what it replicates from the other. The rules of the source that delivers
//! a transaction first apply to it, so what replicas receive would depend on which connection is faster.

use std::sync::Arc;

use crate::config::{FilterConfig, SourceConfig};

/// A source, and of whom it has transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuledSource {
    /// Its name.
    pub name: String,
    /// Its server's server_id.
    pub server_id: u32,
    /// The server_ids of the servers that it replicates from, if it logs that; `None` if they are not known.
    pub logs_of: Option<Vec<u32>>,
    /// Its rules.
    pub rules: Arc<FilterConfig>,
}

const REMEDY: &str = "the rules of the source that delivers a transaction first apply to it, so the replicas' data depend \
     on which connection is faster; use the same rules for both";

/// A warning for each two sources with different rules of which one may have transactions of the other.
pub fn different_rules(sources: &[RuledSource]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (number, one) in sources.iter().enumerate() {
        let others = sources.iter().skip(number + 1);
        for other in others.filter(|other| other.rules != one.rules) {
            let logs = |of: &RuledSource, from: &RuledSource| match &of.logs_of {
                Some(servers) => servers.contains(&from.server_id),
                None => true,
            };
            if logs(one, other) || logs(other, one) {
                let (one, other) = (&one.name, &other.name);
                warnings.push(format!(
                    "sources {one} and {other} have different rules and replicate from each other, or one of them from \
                     the other: {REMEDY}"
                ));
            }
        }
    }
    warnings
}

/// Logs a warning if rules differ. What the sources replicate is not known yet.
pub(super) fn announce_different_rules(sources: &[SourceConfig]) {
    let Some((first, others)) = sources.split_first() else {
        return;
    };
    let rules = first.filter.current();
    if let Some(other) = others.iter().find(|other| other.filter.current() != rules) {
        tracing::warn!(
            "sources {} and {} have different rules: if one of them logs what it replicates from the other \
             (log_slave_updates), {REMEDY}",
            first.name,
            other.name
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(
        name: &str,
        server_id: u32,
        ignored: &[&str],
        logs_of: Option<&[u32]>,
    ) -> RuledSource {
        RuledSource {
            name: name.to_owned(),
            server_id,
            logs_of: logs_of.map(<[u32]>::to_vec),
            rules: Arc::new(FilterConfig {
                replicate_ignore_db: ignored.iter().map(|db| (*db).to_owned()).collect(),
                ..FilterConfig::default()
            }),
        }
    }

    #[test]
    fn different_rules_are_named_where_transactions_arrive_twice() {
        let none: Option<&[u32]> = Some(&[]);
        let m1 = source("m1", 86, &["x"], none);
        for (m2, is_named) in [
            (source("m2", 18, &[], Some(&[86])), true),
            (source("m2", 18, &["y"], Some(&[7, 86])), true),
            (source("m2", 18, &[], None), true),
            (source("m2", 18, &[], none), false),
            (source("m2", 18, &[], Some(&[7])), false),
            (source("m2", 18, &["x"], Some(&[86])), false),
        ] {
            for sources in [[m1.clone(), m2.clone()], [m2, m1.clone()]] {
                let warnings = different_rules(&sources);
                assert_eq!(warnings.len(), usize::from(is_named), "{warnings:?}");
                let (one, other) = (&sources[0].name, &sources[1].name);
                let names = format!("sources {one} and {other} have");
                assert!(warnings.iter().all(|text| text.starts_with(&names)));
            }
        }
    }
}
