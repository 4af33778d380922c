//! Whether a statement passes, by its default database and by the tables that it changes.

use super::parser::TableName;
use super::rules::{Rules, TableMatch};
use super::statement_tables::find;
use super::tokenizer::{Dialect, Token, Tokenizer};
use super::touched::Touched;
use super::unclear::Unclear;
use crate::binlog::status_variables::StatusVariables;

const ANSI_QUOTES: u64 = 0x4;
const NO_BACKSLASH_ESCAPES: u64 = 0x10_0000;

/// Collations of character sets in which an ASCII byte can be the second half of a character:
/// big5, sjis, gbk, cp932, gb18030.
const UNSAFE_COLLATIONS: &[u16] = &[1, 13, 28, 84, 87, 88, 95, 96, 248, 249, 250];
/// MariaDB adds this to a collation's number for its NOPAD variant.
const NOPAD: u16 = 1024;
/// From this number on, MariaDB's collations are Unicode collations.
const MARIADB_UNICODE: u16 = 2048;

/// The tables of accounts and privileges in all servers. A server checks the rules as if the
/// statement changed its own of these tables, in an unknown order.
const ACCOUNT_TABLES: &[&str] = &[
    "user",
    "db",
    "tables_priv",
    "columns_priv",
    "procs_priv",
    "proxies_priv",
    "role_edges",
    "default_roles",
    "global_grants",
    "password_history",
    "global_priv",
    "roles_mapping",
    "host",
];

/// A statement with the context from its event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a> {
    /// The default database after rewriting; empty when there is none.
    pub(super) database: &'a [u8],
    /// The database in the event: the one that CREATE, DROP and ALTER DATABASE name.
    pub(super) event_database: &'a [u8],
    pub(super) text: &'a [u8],
    /// Whether `text` is complete.
    pub(super) whole: bool,
    pub(super) variables: &'a StatusVariables,
    pub(super) mariadb: bool,
    /// Whether the rules apply to the database that CREATE, ALTER or DROP DATABASE names in its text.
    pub(super) names_in_text: bool,
}

/// How the text of a statement with these variables is read.
pub(super) fn dialect_of(variables: &StatusVariables, mariadb: bool) -> Dialect {
    let mode = variables.sql_mode.unwrap_or(0);
    Dialect {
        ansi_quotes: mode & ANSI_QUOTES != 0,
        plain_backslash: mode & NO_BACKSLASH_ESCAPES != 0,
        mariadb,
        reads_versions: false,
    }
}

impl Statement<'_> {
    /// Whether it passes all rules.
    pub(super) fn passes(&self, rules: &Rules) -> Result<bool, Unclear> {
        if !rules.database_passes(self.database) {
            return Ok(false);
        }
        let is_renamed = self.database != self.event_database;
        if (rules.has_wild() || (is_renamed && rules.has_database_rules()))
            && let Some(name) = self.changed_database()?
        {
            return self.database_statement_passes(rules, name);
        }
        if !rules.has_table_rules() {
            return Ok(true);
        }
        match self.touched()? {
            Touched::Nothing | Touched::Always | Touched::Database => Ok(true),
            Touched::OnlyReads => Ok(false),
            Touched::Tables(tables) => self.tables_pass(rules, tables.iter()),
            Touched::UpdateAmong(tables) => self.all_agree(rules, &tables),
            Touched::Update(tables) => match self.variables.table_map_for_update {
                Some(map) => {
                    let numbered = (0..u64::BITS).zip(&tables);
                    let changed = numbered.filter(|(number, _)| map >> number & 1 != 0);
                    self.tables_pass(rules, changed.map(|(_, table)| table))
                }
                None if self.variables.complete => self.tables_pass(rules, tables.iter()),
                None => self.all_agree(rules, &tables),
            },
            Touched::Accounts(table) => {
                Ok(self.tables_pass_if_any(rules, table.as_ref())? && accounts_pass(rules)?)
            }
        }
    }

    fn dialect(&self) -> Dialect {
        dialect_of(self.variables, self.mariadb)
    }

    fn touched(&self) -> Result<Touched, Unclear> {
        let charset = self.variables.client_charset.unwrap_or(0);
        if is_unsafe(charset) && !self.text.is_ascii() {
            return Err(Unclear::CharacterSet);
        }
        let touched = find(self.text, self.whole, self.dialect())?;
        let is_plain = |table: &TableName| {
            table.table.is_ascii() && table.database.as_deref().is_none_or(<[u8]>::is_ascii)
        };
        let names = match &touched {
            Touched::Tables(tables) | Touched::Update(tables) | Touched::UpdateAmong(tables) => {
                tables.as_slice()
            }
            Touched::Accounts(table) => table.as_slice(),
            _ => &[],
        };
        if !is_utf8(charset) && !names.iter().all(is_plain) {
            return Err(Unclear::CharacterSet);
        }
        Ok(touched)
    }

    fn matched(&self, rules: &Rules, table: &TableName) -> Result<TableMatch, Unclear> {
        let database = table.database.as_deref().unwrap_or(self.database);
        rules.table(database, &table.table)
    }

    /// The first table with a matching rule decides.
    fn tables_pass<'t>(
        &self,
        rules: &Rules,
        tables: impl Iterator<Item = &'t TableName>,
    ) -> Result<bool, Unclear> {
        let mut changes_any = false;
        for table in tables {
            changes_any = true;
            match self.matched(rules, table)? {
                TableMatch::Do => return Ok(true),
                TableMatch::Ignore => return Ok(false),
                TableMatch::None => {}
            }
        }
        Ok(changes_any && rules.passes_unmatched())
    }

    fn tables_pass_if_any(
        &self,
        rules: &Rules,
        table: Option<&TableName>,
    ) -> Result<bool, Unclear> {
        match table {
            Some(_) => self.tables_pass(rules, table.into_iter()),
            None => Ok(true),
        }
    }

    fn all_agree(&self, rules: &Rules, tables: &[TableName]) -> Result<bool, Unclear> {
        agreed(rules, tables.iter().map(|table| self.matched(rules, table)))
    }

    /// The database that CREATE, DROP or ALTER DATABASE changes.
    fn changed_database(&self) -> Result<Option<&[u8]>, Unclear> {
        let mut tokenizer = Tokenizer::new(self.text, self.whole, self.dialect());
        let first = match tokenizer.next() {
            Ok(first) if first.is_any(&["CREATE", "DROP", "ALTER"]) => first,
            // Other statements do not change a database; unreadable ones are refused later.
            _ => return Ok(None),
        };
        let mut object = tokenizer.next()?;
        if object.is("OR") {
            tokenizer.next()?;
            object = tokenizer.next()?;
        }
        if !object.is_any(&["DATABASE", "SCHEMA"]) {
            return Ok(None);
        }
        if !first.is("ALTER") {
            return Ok(Some(self.event_database));
        }
        // The name may be missing; then it is the default database, rewritten.
        Ok(Some(match tokenizer.next()? {
            Token::Quoted { .. } => self.event_database,
            Token::Word(word) if word.eq_ignore_ascii_case(self.event_database) => {
                self.event_database
            }
            _ => self.database,
        }))
    }

    /// The other checks for a database. MariaDB and MySQL 5.5 use the name in the text, which is not
    /// rewritten.
    fn database_statement_passes(&self, rules: &Rules, name: &[u8]) -> Result<bool, Unclear> {
        if self.names_in_text {
            return Ok(rules.database_passes(name) && rules.wild_passes_database(name)?);
        }
        // MySQL uses the new name, although the text keeps the old one. It skips the wild rules when
        // there are database rules, which have kept it.
        match rules.has_database_rules() {
            true => Ok(true),
            false => rules.wild_passes_database(self.database),
        }
    }
}

fn accounts_pass(rules: &Rules) -> Result<bool, Unclear> {
    let matched = |table: &&str| rules.table(b"mysql", table.as_bytes());
    agreed(rules, ACCOUNT_TABLES.iter().map(matched))
}

/// Whether tables pass when it is unknown which are changed, and in which order.
fn agreed(
    rules: &Rules,
    mut matches: impl Iterator<Item = Result<TableMatch, Unclear>>,
) -> Result<bool, Unclear> {
    let first = matches.next().unwrap_or(Err(Unclear::Order))?;
    for other in matches {
        if other? != first {
            return Err(Unclear::Order);
        }
    }
    Ok(match first {
        TableMatch::Do => true,
        TableMatch::Ignore => false,
        TableMatch::None => rules.passes_unmatched(),
    })
}

fn is_unsafe(collation: u16) -> bool {
    UNSAFE_COLLATIONS
        .iter()
        .any(|id| *id == collation || id + NOPAD == collation)
}

fn is_utf8(collation: u16) -> bool {
    let collation = match collation {
        MARIADB_UNICODE.. => return true,
        NOPAD.. => collation - NOPAD,
        _ => collation,
    };
    matches!(collation, 33 | 45 | 46 | 76 | 83 | 192..=215 | 223..=247 | 255..=323 | 576..=610)
}

#[cfg(test)]
mod tests;
