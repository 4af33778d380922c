//! Stage 2: which changes pass, by MySQL's `replicate-*` rules.
//!
//! [`Filter`] is the rules; [`trim::Trim`] applies them to the events of one transaction as they
//! arrive, and keeps what is left of it well-formed. For now the rules are by database:
//!
//! - a statement is judged by its *default database*, whatever it names in its text; one without
//!   a default database (so CREATE USER, most often) passes no `do` rule, as on a real replica;
//! - a row change is judged by its table's database;
//! - transaction keywords (BEGIN, COMMIT, SAVEPOINT, XA …) always pass.

pub mod trim;

/// The rules of one source: `replicate_do_db` and `replicate_ignore_db`.
///
/// As in MySQL, when there is any `do` rule the `ignore` rules are not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    do_db: Vec<Vec<u8>>,
    ignore_db: Vec<Vec<u8>>,
    fold_case: bool,
}

impl Filter {
    /// Rules by database name. Names are compared byte by byte, or, with `fold_case` (the source's
    /// `lower_case_table_names` is not 0), without regard to case.
    pub fn new(do_db: &[String], ignore_db: &[String], fold_case: bool) -> Self {
        let names = |list: &[String]| {
            list.iter()
                .map(|name| fold(name.as_bytes(), fold_case))
                .collect::<Vec<_>>()
        };
        Self {
            do_db: names(do_db),
            ignore_db: names(ignore_db),
            fold_case,
        }
    }

    /// Whether everything passes.
    pub fn passes_all(&self) -> bool {
        self.do_db.is_empty() && self.ignore_db.is_empty()
    }

    /// Whether statements with this default database, and changes to tables of it, pass.
    /// `database` is empty where a statement has none.
    pub fn passes(&self, database: &[u8]) -> bool {
        if !self.do_db.is_empty() {
            return self.is_in(&self.do_db, database);
        }
        !self.is_in(&self.ignore_db, database)
    }

    fn is_in(&self, names: &[Vec<u8>], database: &[u8]) -> bool {
        names.iter().any(|name| {
            name == database || (self.fold_case && *name == fold(database, self.fold_case))
        })
    }
}

fn fold(name: &[u8], fold_case: bool) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) if fold_case => text.to_lowercase().into_bytes(),
        _ => name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn no_rules_pass_all() {
        let filter = Filter::default();
        assert!(filter.passes_all());
        assert!(filter.passes(b"any"));
    }

    #[test]
    fn do_rules_win_over_ignore_rules() {
        let filter = Filter::new(&names(&["test"]), &names(&["test", "x"]), false);
        assert!(filter.passes(b"test"));
        assert!(!filter.passes(b"x") && !filter.passes(b"other"));
        assert!(!filter.passes(b"TEST"));
        assert!(
            !filter.passes(b""),
            "no default database is not in the list"
        );
    }

    #[test]
    fn ignore_rules() {
        let filter = Filter::new(&[], &names(&["x"]), false);
        assert!(!filter.passes(b"x"));
        assert!(filter.passes(b"test") && filter.passes(b""));
    }

    #[test]
    fn case_folds_only_where_the_source_folds() {
        let filter = Filter::new(&names(&["Ärger"]), &[], true);
        assert!(filter.passes("äRGER".as_bytes()));
        assert!(!filter.passes(b"arger"));
    }
}
