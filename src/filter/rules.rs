//! The rules, and their result for a database or a table.
//!
//! Database rules are checked first. Database names are compared byte by byte; on MySQL they are
//! compared case-insensitively if the source folds names (`lower_case_table_names`). Then table
//! rules are checked, in the order `do_table`, `ignore_table`, `wild_do_table`,
//! `wild_ignore_table`; the first rule that matches decides. How table names are compared differs
//! between the servers: see [`Comparison`].

use super::names::{Comparison, is_table, matches_any};
use super::unclear::Unclear;
use crate::flavor::Flavor;

/// The rules of one source, in the forms of MySQL's options of the same names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleLists {
    /// `replicate_do_db`: names.
    pub do_db: Vec<String>,
    /// `replicate_ignore_db`: names.
    pub ignore_db: Vec<String>,
    /// `replicate_do_table`: `database.table`.
    pub do_table: Vec<String>,
    /// `replicate_ignore_table`: `database.table`.
    pub ignore_table: Vec<String>,
    /// `replicate_wild_do_table`: `database.table` with `%`, `_` and `\` as in LIKE.
    pub wild_do_table: Vec<String>,
    /// `replicate_wild_ignore_table`: the same.
    pub wild_ignore_table: Vec<String>,
    /// `replicate_rewrite_db`: old and new name. Only the first match applies, once.
    pub rewrite_db: Vec<(String, String)>,
}

/// The result of the table rules for one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableMatch {
    /// A `do` rule matches first.
    Do,
    /// An `ignore` rule matches first.
    Ignore,
    /// No rule matches.
    None,
}

/// [`RuleLists`], prepared for evaluation.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    lists: RuleLists,
    folds_case: bool,
    tables: Comparison,
}

impl Rules {
    pub(super) fn new(lists: RuleLists, flavor: Flavor, folds_case: bool) -> Self {
        let tables = match (flavor, folds_case) {
            (Flavor::MySql, false) => Comparison::Bytes,
            (Flavor::MySql, true) => Comparison::Folded,
            (Flavor::MariaDb, _) => Comparison::Collation,
        };
        Self {
            lists,
            // MariaDB compares names of databases byte by byte, whatever its own setting is.
            folds_case: folds_case && flavor == Flavor::MySql,
            tables,
        }
    }

    /// Asked for every transaction.
    pub(super) fn passes_all(&self) -> bool {
        !self.has_database_rules() && !self.has_table_rules() && self.lists.rewrite_db.is_empty()
    }

    pub(super) fn has_database_rules(&self) -> bool {
        !self.lists.do_db.is_empty() || !self.lists.ignore_db.is_empty()
    }

    pub(super) fn has_table_rules(&self) -> bool {
        !self.lists.do_table.is_empty() || !self.lists.ignore_table.is_empty() || self.has_wild()
    }

    pub(super) fn has_wild(&self) -> bool {
        !self.lists.wild_do_table.is_empty() || !self.lists.wild_ignore_table.is_empty()
    }

    fn is_database(&self, rule: &str, database: &[u8]) -> bool {
        rule.as_bytes() == database || (self.folds_case && equal_folded(rule, database))
    }

    /// The new name of the database, if a rewrite rule matches.
    pub(super) fn renamed(&self, database: &[u8]) -> Option<&str> {
        let mut rules = self.lists.rewrite_db.iter();
        let rule = rules.find(|(from, _)| self.is_database(from, database));
        rule.map(|(_, to)| to.as_str())
    }

    /// Whether the database rules keep it; `database` is the name after rewriting, empty if a
    /// statement has none.
    pub(super) fn database_passes(&self, database: &[u8]) -> bool {
        let is_in = |list: &[String]| list.iter().any(|rule| self.is_database(rule, database));
        match self.lists.do_db.is_empty() {
            true => !is_in(&self.lists.ignore_db),
            false => is_in(&self.lists.do_db),
        }
    }

    /// Whether the wild rules keep CREATE, DROP and ALTER of a database: they are checked for a table
    /// with an empty name.
    pub(super) fn wild_passes_database(&self, database: &[u8]) -> Result<bool, Unclear> {
        let lists = &self.lists;
        if matches_any(self.tables, &lists.wild_do_table, database, b"")? {
            return Ok(true);
        }
        if matches_any(self.tables, &lists.wild_ignore_table, database, b"")? {
            return Ok(false);
        }
        Ok(lists.wild_do_table.is_empty())
    }

    /// The result of the table rules for a table.
    pub(super) fn table(&self, database: &[u8], table: &[u8]) -> Result<TableMatch, Unclear> {
        let lists = &self.lists;
        if is_table(self.tables, &lists.do_table, database, table)? {
            return Ok(TableMatch::Do);
        }
        if is_table(self.tables, &lists.ignore_table, database, table)? {
            return Ok(TableMatch::Ignore);
        }
        if matches_any(self.tables, &lists.wild_do_table, database, table)? {
            return Ok(TableMatch::Do);
        }
        if matches_any(self.tables, &lists.wild_ignore_table, database, table)? {
            return Ok(TableMatch::Ignore);
        }
        Ok(TableMatch::None)
    }

    /// Whether tables that no rule matches are kept: unless there is a `do` rule.
    pub(super) fn passes_unmatched(&self) -> bool {
        self.lists.do_table.is_empty() && self.lists.wild_do_table.is_empty()
    }

    /// Whether a change to one table, named after rewriting, passes all rules.
    pub(super) fn row_passes(&self, database: &[u8], table: &[u8]) -> Result<bool, Unclear> {
        if !self.database_passes(database) {
            return Ok(false);
        }
        if !self.has_table_rules() {
            return Ok(true);
        }
        Ok(match self.table(database, table)? {
            TableMatch::Do => true,
            TableMatch::Ignore => false,
            TableMatch::None => self.passes_unmatched(),
        })
    }
}

fn equal_folded(rule: &str, name: &[u8]) -> bool {
    if rule.is_ascii() && name.is_ascii() {
        return rule.as_bytes().eq_ignore_ascii_case(name);
    }
    let lower = |c: char| c.to_lowercase();
    std::str::from_utf8(name).is_ok_and(|name| {
        rule.chars()
            .flat_map(lower)
            .eq(name.chars().flat_map(lower))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn rules(lists: RuleLists) -> Rules {
        Rules::new(lists, Flavor::MariaDb, false)
    }

    /// do_db, ignore_db, databases that pass, databases that do not.
    #[test]
    fn database_rules_decide_by_name() {
        type Row<'a> = (&'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str]);
        let rows: &[Row<'_>] = &[
            (&[], &[], &["a", ""], &[]),
            (&["a"], &[], &["a"], &["b", "A", ""]),
            (&["a"], &["a", "x"], &["a"], &["x", "b"]),
            (&[], &["x"], &["a", "X", ""], &["x"]),
            (&["a", "b"], &[], &["a", "b"], &["ab", "c"]),
        ];
        for (do_db, ignore_db, pass, drop) in rows {
            let rules = rules(RuleLists {
                do_db: list(do_db),
                ignore_db: list(ignore_db),
                ..RuleLists::default()
            });
            for name in *pass {
                assert!(rules.database_passes(name.as_bytes()), "{do_db:?} {name}");
            }
            for name in *drop {
                assert!(!rules.database_passes(name.as_bytes()), "{do_db:?} {name}");
            }
        }
    }

    #[test]
    fn database_names_ignore_case_only_for_a_mysql_source_that_does() {
        let lists = RuleLists {
            do_db: list(&["Ärger"]),
            rewrite_db: vec![("From".into(), "to".into())],
            ..RuleLists::default()
        };
        let folding = Rules::new(lists.clone(), Flavor::MySql, true);
        assert!(folding.database_passes("äRGER".as_bytes()));
        assert!(!folding.database_passes(b"arger"));
        assert_eq!(folding.renamed(b"fROM"), Some("to"));
        for (flavor, folds) in [(Flavor::MySql, false), (Flavor::MariaDb, true)] {
            let rules = Rules::new(lists.clone(), flavor, folds);
            assert_eq!(rules.renamed(b"fROM"), None, "{flavor}");
            assert!(!rules.database_passes("äRGER".as_bytes()), "{flavor}");
        }
    }

    #[test]
    fn only_the_first_matching_rewrite_applies_once() {
        let pairs = [("a", "b"), ("b", "c"), ("a", "d")];
        let rules = rules(RuleLists {
            rewrite_db: pairs.map(|(a, b)| (a.into(), b.into())).to_vec(),
            ..RuleLists::default()
        });
        assert_eq!(rules.renamed(b"a"), Some("b"));
        assert_eq!(rules.renamed(b"b"), Some("c"));
        assert_eq!(rules.renamed(b"c"), None);
    }

    /// do, ignore, wild do, wild ignore; a table; whether a row change passes.
    #[test]
    fn table_rules_are_checked_in_order() {
        type Row<'a> = ([&'a [&'a str]; 4], &'a str, bool);
        let rows: &[Row<'_>] = &[
            ([&[], &[], &[], &[]], "a.t", true),
            ([&["a.t"], &[], &[], &[]], "a.t", true),
            ([&["a.t"], &[], &[], &[]], "a.u", false),
            ([&["a.t"], &["a.t"], &[], &[]], "a.t", true),
            ([&[], &["a.t"], &[], &[]], "a.t", false),
            ([&[], &["a.t"], &[], &[]], "a.u", true),
            ([&[], &["a.t"], &["a.%"], &[]], "a.t", false),
            ([&[], &["a.t"], &["a.%"], &[]], "a.u", true),
            ([&[], &["a.t"], &["a.%"], &[]], "b.u", false),
            ([&["a.t"], &[], &[], &["a.%"]], "a.t", true),
            ([&["a.t"], &[], &[], &["a.%"]], "a.u", false),
            ([&[], &[], &["a.t%"], &["a.%"]], "a.tt", true),
            ([&[], &[], &["a.t%"], &["a.%"]], "a.u", false),
            ([&[], &[], &[], &["a.%"]], "a.u", false),
            ([&[], &[], &[], &["a.%"]], "b.u", true),
            ([&["A.T"], &[], &[], &[]], "a.t", true),
            ([&[], &[], &["A.T_"], &[]], "a.tx", true),
        ];
        for ([do_table, ignore_table, wild_do, wild_ignore], name, expected) in rows {
            let rules = rules(RuleLists {
                do_table: list(do_table),
                ignore_table: list(ignore_table),
                wild_do_table: list(wild_do),
                wild_ignore_table: list(wild_ignore),
                ..RuleLists::default()
            });
            let (database, table) = name.split_once('.').unwrap();
            let passes = rules.row_passes(database.as_bytes(), table.as_bytes());
            assert_eq!(passes, Ok(*expected), "{rules:?} {name}");
        }
    }

    #[test]
    fn database_rules_are_checked_before_table_rules() {
        let rules = rules(RuleLists {
            do_db: list(&["a"]),
            do_table: list(&["b.t", "a.t"]),
            ..RuleLists::default()
        });
        assert_eq!(rules.row_passes(b"b", b"t"), Ok(false));
        assert_eq!(rules.row_passes(b"a", b"t"), Ok(true));
        assert_eq!(rules.row_passes(b"a", b"u"), Ok(false));
    }

    #[test]
    fn wild_rules_decide_on_databases() {
        let passes = |wild_do: &[&str], wild_ignore: &[&str], database: &str| {
            let rules = rules(RuleLists {
                wild_do_table: list(wild_do),
                wild_ignore_table: list(wild_ignore),
                ..RuleLists::default()
            });
            rules.wild_passes_database(database.as_bytes()).unwrap()
        };
        assert!(passes(&["a.%"], &[], "a"));
        assert!(!passes(&["a.t%"], &[], "a"));
        assert!(!passes(&["a.%"], &[], "b"));
        assert!(!passes(&[], &["a.%"], "a"));
        assert!(passes(&[], &["a.t%"], "a"));
        assert!(passes(&["a%.%"], &["ab.%"], "ab"));
    }

    #[test]
    fn upper_case_table_rules_depend_on_the_server() {
        let lists = RuleLists {
            ignore_table: list(&["a.T"]),
            wild_ignore_table: list(&["b.T%"]),
            ..RuleLists::default()
        };
        let judge = |flavor, folds_case| {
            let rules = Rules::new(lists.clone(), flavor, folds_case);
            [(b"a", &b"t"[..]), (b"b", b"t1"), (b"b", b"T1")]
                .map(|(database, table)| rules.row_passes(database, table).unwrap())
        };
        assert_eq!(judge(Flavor::MySql, false), [true, true, false]);
        assert_eq!(judge(Flavor::MySql, true), [false, false, false]);
        assert_eq!(judge(Flavor::MariaDb, false), [false, false, false]);
    }

    #[test]
    fn letters_that_only_a_collation_equates_are_an_error() {
        let rules = rules(RuleLists {
            ignore_table: list(&["a.tur"]),
            wild_do_table: list(&["b.é%"]),
            ..RuleLists::default()
        });
        assert_eq!(rules.table(b"a", "tür".as_bytes()), Err(Unclear::Letters));
        assert_eq!(rules.table(b"a", b"t\xffr"), Err(Unclear::Letters));
        assert_eq!(rules.table(b"b", b"e1"), Err(Unclear::Letters));
        assert_eq!(rules.table(b"b", "É1".as_bytes()), Ok(TableMatch::Do));
        assert_eq!(rules.table(b"a", "türe".as_bytes()), Ok(TableMatch::None));
        let mysql = Rules::new(rules.lists.clone(), Flavor::MySql, false);
        assert_eq!(mysql.table(b"a", "tür".as_bytes()), Ok(TableMatch::None));
    }
}
