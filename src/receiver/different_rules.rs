//! Sources whose rules differ although one logs what it replicates from the other, and servers that do that with rules
//! of their own. The rules of the source that delivers
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
    /// The rules with which its server replicates from others, if it logs that: of each server_id, the names and values
    /// of the columns of SHOW REPLICA STATUS.
    pub rules_of: Vec<(u32, Vec<(String, String)>)>,
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

/// A warning for each source that replicates from another one with rules that the relay does not have. What it filters
/// arrives without changes, or not at all, if its path is the faster one.
pub fn filtering_sources(sources: &[RuledSource]) -> Vec<String> {
    let mut warnings = Vec::new();
    for source in sources {
        for (server_id, rules) in &source.rules_of {
            let mut others = sources.iter();
            let Some(other) = others.find(|other| other.server_id == *server_id) else {
                continue;
            };
            let rules = rules.iter();
            let rules = rules.filter(|(column, value)| {
                !has_rule(&source.rules, column, value)
                    && !drops_the_same(&source.rules, column, value)
            });
            let rules: Vec<String> = rules
                .map(|(column, value)| format!("{column}={value}"))
                .collect();
            if !rules.is_empty() {
                let (name, other, rules) = (&source.name, &other.name, rules.join(", "));
                warnings.push(format!(
                    "the server of source {name} replicates from that of {other} with rules of its own ({rules}): if \
                     {name} delivers a transaction first from which these drop all changes, {other} fails; if they \
                     drop only a part, replicas lack it. Let the masters replicate everything from each other, or set the \
                     same rules in [filter]"
                ));
            }
        }
    }
    warnings
}

/// Whether the relay has the rule that a column of SHOW REPLICA STATUS shows: the same list, in any order.
fn has_rule(rules: &FilterConfig, column: &str, value: &str) -> bool {
    let list = match column {
        "Replicate_Do_DB" => &rules.replicate_do_db,
        "Replicate_Ignore_DB" => &rules.replicate_ignore_db,
        "Replicate_Do_Table" => &rules.replicate_do_table,
        "Replicate_Ignore_Table" => &rules.replicate_ignore_table,
        "Replicate_Wild_Do_Table" => &rules.replicate_wild_do_table,
        "Replicate_Wild_Ignore_Table" => &rules.replicate_wild_ignore_table,
        _ => return false,
    };
    let mut shown: Vec<&str> = shown(value).collect();
    let mut ours: Vec<&str> = list.iter().map(String::as_str).collect();
    shown.sort_unstable();
    ours.sort_unstable();
    shown == ours
}

/// The entries of a column of SHOW REPLICA STATUS.
fn shown(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

/// Whether the relay drops at least what this rule drops, see `filters.md`. A rule about tables is not covered by one about
/// databases: a statement is dropped by its default database, which need not be that of the tables that it changes.
fn drops_the_same(rules: &FilterConfig, column: &str, value: &str) -> bool {
    let has_all = |list: &[String]| shown(value).all(|entry| list.iter().any(|one| one == entry));
    let passes_tables =
        !rules.replicate_do_table.is_empty() || !rules.replicate_wild_do_table.is_empty();
    let has_databases = !rules.replicate_do_db.is_empty() || !rules.replicate_ignore_db.is_empty();
    match column {
        // The rules see other names.
        _ if !rules.replicate_rewrite_db.is_empty() => false,
        "Replicate_Ignore_DB" => match rules.replicate_do_db.as_slice() {
            [] => has_all(&rules.replicate_ignore_db),
            // In other case it may be the same database.
            list => {
                !shown(value).any(|entry| list.iter().any(|one| one.eq_ignore_ascii_case(entry)))
            }
        },
        "Replicate_Ignore_Table" => !passes_tables && has_all(&rules.replicate_ignore_table),
        // With rules about databases, these are not asked about CREATE DATABASE.
        "Replicate_Wild_Ignore_Table" => {
            !passes_tables && !has_databases && has_all(&rules.replicate_wild_ignore_table)
        }
        _ => false,
    }
}

/// A warning if rules differ, where it is not known what the sources replicate.
pub fn rules_that_differ(sources: &[SourceConfig]) -> Option<String> {
    let (first, others) = sources.split_first()?;
    let rules = first.filter.current();
    let other = others
        .iter()
        .find(|other| other.filter.current() != rules)?;
    Some(format!(
        "sources {} and {} have different rules: if one of them logs what it replicates from the other \
         (log_slave_updates), {REMEDY}",
        first.name, other.name
    ))
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
            rules_of: Vec::new(),
            rules: Arc::new(FilterConfig {
                replicate_ignore_db: ignored.iter().map(|db| (*db).to_owned()).collect(),
                ..FilterConfig::default()
            }),
        }
    }

    #[test]
    fn sources_that_filter_what_they_replicate_from_another_are_named() {
        let column = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let m1 = source("m1", 86, &["x", "y"], None);
        let m2 = |server_id, rules: &[(String, String)]| RuledSource {
            rules_of: vec![(server_id, rules.to_vec())],
            ..source("m2", 18, &["x", "y"], None)
        };
        let same = column("Replicate_Ignore_DB", "y,x");
        let other = column("Replicate_Ignore_Domain_Ids", "2");
        let warnings = |m2| filtering_sources(&[m1.clone(), m2]);
        assert!(warnings(m2(86, std::slice::from_ref(&same))).is_empty());
        // A server that is not followed.
        assert!(warnings(m2(7, std::slice::from_ref(&other))).is_empty());
        let found = warnings(m2(86, &[same, other]));
        assert_eq!(found.len(), 1);
        let begin = "the server of source m2 replicates from that of m1 with rules of its own \
                     (Replicate_Ignore_Domain_Ids=2): ";
        assert!(found[0].starts_with(begin), "{found:?}");
        let wider = column("Replicate_Ignore_DB", "x,y,z");
        assert_eq!(warnings(m2(86, &[wider])).len(), 1);
    }

    /// What its server drops of the other one, the relay drops as well.
    #[test]
    fn source_whose_rules_drop_less_than_the_relays_is_not_named() {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        let is_named = |rules: FilterConfig, column: &str, value: &str| {
            let m2 = RuledSource {
                rules_of: vec![(86, vec![(column.to_owned(), value.to_owned())])],
                rules: Arc::new(rules),
                ..source("m2", 18, &[], None)
            };
            !filtering_sources(&[source("m1", 86, &[], None), m2]).is_empty()
        };
        let does = || FilterConfig {
            replicate_do_db: list(&["test", "Shop"]),
            replicate_ignore_db: list(&["mysql"]),
            ..FilterConfig::default()
        };
        assert!(!is_named(does(), "Replicate_Ignore_DB", "mysql, tmp"));
        assert!(is_named(does(), "Replicate_Ignore_DB", "mysql,test"));
        assert!(is_named(does(), "Replicate_Ignore_DB", "shop"));
        // `USE test; GRANT …` is dropped there, and not here.
        assert!(is_named(does(), "Replicate_Wild_Ignore_Table", "mysql.%"));
        let tables = || FilterConfig {
            replicate_ignore_table: list(&["a.t", "a.u"]),
            replicate_wild_ignore_table: list(&["mysql.%", "tmp.%"]),
            ..FilterConfig::default()
        };
        let databases = FilterConfig {
            replicate_ignore_db: list(&["x", "y"]),
            ..tables()
        };
        for (rules, column, covered, other) in [
            (databases.clone(), "Replicate_Ignore_DB", "y", "y,z"),
            (tables(), "Replicate_Ignore_Table", "a.u", "a.t,a.v"),
            (
                tables(),
                "Replicate_Wild_Ignore_Table",
                "mysql.%",
                "mysql.%,sys.%",
            ),
        ] {
            assert!(!is_named(rules.clone(), column, covered), "{column}");
            assert!(is_named(rules, column, other), "{column}");
        }
        // CREATE DATABASE tmp passes here.
        assert!(is_named(databases, "Replicate_Wild_Ignore_Table", "tmp.%"));
        // Another rule lets some of it pass.
        let passes = FilterConfig {
            replicate_wild_do_table: list(&["mysql.user"]),
            ..tables()
        };
        assert!(is_named(passes, "Replicate_Wild_Ignore_Table", "mysql.%"));
        let passes = FilterConfig {
            replicate_do_table: list(&["a.t"]),
            ..tables()
        };
        assert!(is_named(passes, "Replicate_Ignore_Table", "a.t"));
        // These drop everything else.
        assert!(is_named(does(), "Replicate_Do_DB", "test"));
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
