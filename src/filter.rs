//! Stage 2: which changes pass, by MySQL's `replicate-*` rules.
//!
//! [`Filter`] is the rules; [`trim::Trim`] applies them to the events of one transaction as they
//! arrive, and keeps what is left of it well-formed. A replica without rules behind the relay ends
//! as one would that has the rules itself and follows the source:
//!
//! | | database rules look at | then table rules look at |
//! |---|---|---|
//! | a statement | its *default database*, whatever it names in its text; without one it passes no `do` rule | the tables that it *changes*, in the order of its text; the first with a matching rule decides |
//! | a row change | the table's database | the table |
//! | CREATE, DROP, ALTER DATABASE | the database named | the wild rules, for `database.`; MySQL: only without database rules |
//!
//! `replicate_rewrite_db` comes before all of these. It changes the default database of a
//! statement and the database of a row change, never a statement's text. Of CREATE, DROP and ALTER
//! DATABASE all rules see the new name; MariaDB asks them once more about the one in the text.
//! Transaction keywords (BEGIN, COMMIT, SAVEPOINT, XA …) always pass.
//!
//! The server parses a statement to find its tables; so does [`Filter`], and where it cannot with
//! certainty, that is an error, not a guess.

mod definitions;
mod names;
mod parser;
mod rewrite;
mod rules;
mod statement;
mod statement_tables;
mod table_references;
mod tokenizer;
mod touched;
pub mod trim;
mod unclear;

pub use rules::RuleLists;
pub use unclear::Unclear;

use crate::flavor::Flavor;
use rules::Rules;

/// The rules of one source, and what must be known of it to apply them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    rules: Rules,
    mariadb: bool,
}

impl Filter {
    /// `lists`, for a source of this flavor. Names of databases are compared byte by byte, or, with
    /// `folds_case` (the source's `lower_case_table_names` is not 0), on MySQL without regard to
    /// case.
    pub fn new(lists: RuleLists, flavor: Flavor, folds_case: bool) -> Self {
        Self {
            rules: Rules::new(lists, flavor, folds_case),
            mariadb: flavor == Flavor::MariaDb,
        }
    }

    /// Whether everything passes as it is.
    pub fn passes_all(&self) -> bool {
        self.rules.passes_all()
    }
}
