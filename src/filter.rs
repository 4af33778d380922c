//! Which changes are kept, by MySQL's `replicate-*` rules.
//!
//! [`Filter`] holds the rules; [`trim::Trim`] applies them to the events of one transaction as they
//! arrive, and keeps the remaining events well-formed. A replica of the relay without rules ends up
//! with the same data as a replica of the source with these rules:
//!
//! | | database rules check | then table rules check |
//! |---|---|---|
//! | a statement | its *default database*, whatever its text names; without one no `do` rule matches | the tables that it *changes*, in the order of its text; the first with a matching rule decides |
//! | a row change | the table's database | the table |
//! | CREATE, DROP, ALTER DATABASE | the database that it names | the wild rules, for `database.`; MySQL: only without database rules |
//!
//! `replicate_rewrite_db` applies before all of these. It changes the default database of a
//! statement and the database of a row change, never a statement's text. For CREATE, DROP and ALTER
//! DATABASE all rules see the new name; MariaDB then checks them again with the name in the text.
//! Transaction keywords (BEGIN, COMMIT, SAVEPOINT, XA …) always pass. In all of this a source of MySQL
//! 5.5 is treated as one of MariaDB: both compare names, and check those of databases, in the same way.
//!
//! The server parses a statement to find its tables, and so does [`Filter`]. Where the result is not
//! certain, it reports an error and does not guess.
#![doc = include_str!("filter/filters.md")]

mod definitions;
mod names;
mod parser;
mod rewrite;
mod rules;
mod statement;
mod statement_tables;
mod table_references;
mod temporary_tables;
mod tokenizer;
mod touched;
pub mod trim;
mod unclear;

pub use rules::RuleLists;
pub use temporary_tables::{
    Rename, TemporaryTableChange, changed_tables, renamed_tables, temporary_table_change,
};
pub use unclear::Unclear;

use crate::flavor::Flavor;
use rules::Rules;

/// The rules of one source, and the properties of the source that they depend on.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    rules: Rules,
    mariadb: bool,
    /// Whether database and wild rules are both applied to the database that CREATE, ALTER or DROP
    /// DATABASE names in its text.
    names_in_text: bool,
}

impl Filter {
    /// `lists`, for a source of this flavor. Names of databases are compared byte by byte, or, with
    /// `folds_case` (the source's `lower_case_table_names` is not 0), on MySQL case-insensitively.
    pub fn new(lists: RuleLists, flavor: Flavor, folds_case: bool) -> Self {
        Self {
            rules: Rules::new(lists, flavor, folds_case),
            mariadb: flavor == Flavor::MariaDb,
            names_in_text: flavor == Flavor::MariaDb,
        }
    }

    /// `lists`, for a source of MySQL 5.5 or older. Its replicas apply rules as those of MariaDB do,
    /// whose code began with that version: see `sql/rpl_filter.cc` and `sql/sql_parse.cc` of 5.5.
    pub fn for_mysql_55(lists: RuleLists) -> Self {
        Self {
            rules: Rules::new(lists, Flavor::MariaDb, false),
            mariadb: false,
            names_in_text: true,
        }
    }

    /// Whether the statements are those of MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.mariadb
    }

    /// Whether everything is kept unchanged.
    pub fn passes_all(&self) -> bool {
        self.rules.passes_all()
    }
}
