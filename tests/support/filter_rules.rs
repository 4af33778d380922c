//! Random `replicate-*` rules, in the syntax of the relay and of both servers.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::servers::Kind;

/// One set of rules.
#[derive(Clone, Debug, Default)]
pub struct FilterRules {
    pub do_db: Vec<String>,
    pub ignore_db: Vec<String>,
    pub do_table: Vec<String>,
    pub ignore_table: Vec<String>,
    pub wild_do_table: Vec<String>,
    pub wild_ignore_table: Vec<String>,
    pub rewrite_db: Vec<(String, String)>,
}

impl FilterRules {
    /// Rules about these databases and tables; most kinds of rules are omitted.
    pub fn random(rng: &mut StdRng, databases: &[String], tables: &[&str]) -> FilterRules {
        let mut rules = FilterRules::default();
        if rng.random_bool(0.3) {
            rules.do_db = some(rng, |rng| one(rng, databases));
        }
        if rng.random_bool(0.25) {
            rules.ignore_db = some(rng, |rng| one(rng, databases));
        }
        if rng.random_bool(0.3) {
            rules.do_table = some(rng, |rng| table(rng, databases, tables));
        }
        if rng.random_bool(0.3) {
            rules.ignore_table = some(rng, |rng| table(rng, databases, tables));
        }
        if rng.random_bool(0.3) {
            rules.wild_do_table = some(rng, |rng| pattern(rng, databases));
        }
        if rng.random_bool(0.3) {
            rules.wild_ignore_table = some(rng, |rng| pattern(rng, databases));
        }
        if rng.random_bool(0.3) {
            let from = one(rng, databases);
            let to = one(rng, databases);
            if from != to {
                rules.rewrite_db = vec![(from, to)];
            }
        }
        rules
    }

    fn lists(&self) -> [(&'static str, &Vec<String>); 6] {
        [
            ("replicate_do_db", &self.do_db),
            ("replicate_ignore_db", &self.ignore_db),
            ("replicate_do_table", &self.do_table),
            ("replicate_ignore_table", &self.ignore_table),
            ("replicate_wild_do_table", &self.wild_do_table),
            ("replicate_wild_ignore_table", &self.wild_ignore_table),
        ]
    }

    /// Lines for the end of a `[[source]]` section.
    pub fn toml_lines(&self) -> Vec<String> {
        let mut lines = vec!["[source.filter]".to_owned()];
        lines.extend(self.lists().map(|(key, list)| format!("{key} = {list:?}")));
        let rewrites = self.rewrites("->");
        lines.push(format!("replicate_rewrite_db = {rewrites:?}"));
        lines
    }

    fn rewrites(&self, arrow: &str) -> Vec<String> {
        let pairs = self.rewrite_db.iter();
        pairs
            .map(|(from, to)| format!("{from}{arrow}{to}"))
            .collect()
    }

    /// The options that a replica is started with where no statement can set them.
    pub fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        for (key, list) in self.lists() {
            let key = key.replace('_', "-");
            options.extend(list.iter().map(|rule| format!("--{key}={rule}")));
        }
        let rewrites = self.rewrites("->");
        options.extend(
            rewrites
                .iter()
                .map(|pair| format!("--replicate-rewrite-db={pair}")),
        );
        options
    }

    /// The statements that give them to a stopped replica.
    pub fn statements(&self, kind: Kind) -> String {
        match kind.is_mysql() {
            true => {
                let mut parts: Vec<String> = Vec::new();
                for (key, list) in self.lists() {
                    let quoted: Vec<String> = list
                        .iter()
                        .map(|rule| match rule.split_once('.') {
                            _ if key.contains("wild") => {
                                format!("'{}'", rule.replace('\\', "\\\\"))
                            }
                            Some((database, table)) => format!("`{database}`.`{table}`"),
                            None => format!("`{rule}`"),
                        })
                        .collect();
                    parts.push(format!("{key} = ({})", quoted.join(", ")));
                }
                let pairs: Vec<String> = self
                    .rewrites(", ")
                    .iter()
                    .map(|p| format!("({p})"))
                    .collect();
                parts.push(format!("REPLICATE_REWRITE_DB = ({})", pairs.join(", ")));
                format!("CHANGE REPLICATION FILTER {}", parts.join(", "))
            }
            false => {
                let mut parts: Vec<String> = Vec::new();
                for (key, list) in self.lists() {
                    let list = list.join(",").replace('\\', "\\\\");
                    parts.push(format!("SET GLOBAL {key} = '{list}'"));
                }
                let rewrites = self.rewrites("->").join(",");
                parts.push(format!("SET GLOBAL replicate_rewrite_db = '{rewrites}'"));
                parts.join("; ")
            }
        }
    }
}

fn some(rng: &mut StdRng, mut make: impl FnMut(&mut StdRng) -> String) -> Vec<String> {
    let count = rng.random_range(1..=3);
    let mut list: Vec<String> = (0..count).map(|_| make(rng)).collect();
    list.sort();
    list.dedup();
    list
}

fn one(rng: &mut StdRng, names: &[String]) -> String {
    names.choose(rng).expect("there are some").clone()
}

fn table(rng: &mut StdRng, databases: &[String], tables: &[&str]) -> String {
    let table = tables.choose(rng).expect("there are some");
    let table = match rng.random_bool(0.2) {
        true => table.to_uppercase(),
        false => (*table).to_owned(),
    };
    format!("{}.{table}", one(rng, databases))
}

fn pattern(rng: &mut StdRng, databases: &[String]) -> String {
    let database = one(rng, databases);
    let stem = &database[..database.len() - 1];
    match rng.random_range(0..8) {
        0 => format!("{stem}%.t%"),
        1 => format!("{stem}_.u1"),
        2 => format!("{database}.t_"),
        3 => format!("{stem}%.%1"),
        4 => format!("{database}.T%"),
        5 => format!("{database}.n\\_%"),
        _ => format!("{database}.%"),
    }
}

/// A generator that gives the same for the same seed.
pub fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
