//! The temporary tables that a statement creates, renames or drops.

use super::parser::{Parser, TableName};
use super::statement::dialect_of;
use super::statement_tables::find;
use super::touched::Touched;
use super::unclear::Unclear;
use crate::binlog::status_variables::StatusVariables;

/// How a server begins the statement with which it drops the temporary tables of a session that has
/// ended. A replica that logs it again replaces the text.
const AT_SESSION_END: &[u8] = b"DROP /*!40005 TEMPORARY */ TABLE IF EXISTS ";

/// Bytes of a name with its database: more than servers accept.
const NAME_LEN_MAX: usize = 1024;

/// How a statement changes the temporary tables of its session. A table is named
/// `database.table`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemporaryTableChange {
    /// This one now exists.
    Created {
        /// Its name.
        table: Box<[u8]>,
        /// Whether it may have existed before.
        may_exist: bool,
    },
    /// These no longer exist.
    Dropped {
        /// Their names.
        tables: Vec<Box<[u8]>>,
        /// Whether the server has generated the statement because the session has ended.
        at_session_end: bool,
    },
    /// The first no longer exists, and the second does.
    Renamed(Box<[u8]>, Box<[u8]>),
    /// Some table was created, renamed or dropped: the statement cannot be read with certainty.
    Unclear,
}

/// How a statement changes the temporary tables of its session, if it does. `text` may be only the
/// beginning of a long statement; then `whole` is false.
pub fn temporary_table_change(
    text: &[u8],
    whole: bool,
    database: &[u8],
    variables: &StatusVariables,
    mariadb: bool,
) -> Option<TemporaryTableChange> {
    let reader = Reader { text, database };
    let read = Parser::new(text, whole, dialect_of(variables, mariadb))
        .and_then(|mut parser| reader.change(&mut parser));
    read.unwrap_or(Some(TemporaryTableChange::Unclear))
}

/// The tables whose rows a statement changes, named as in [`TemporaryTableChange`]; none if that is not
/// certain. Other statements do not show whether their session has a temporary table of that name: `CREATE TABLE` does
/// not look for one, and neither does MySQL's `RENAME TABLE`.
pub fn changed_tables(
    text: &[u8],
    whole: bool,
    database: &[u8],
    variables: &StatusVariables,
    mariadb: bool,
) -> Vec<Box<[u8]>> {
    let changes_rows =
        |mut parser: Parser<'_>| parser.accept_any(&["INSERT", "REPLACE", "UPDATE", "DELETE"]);
    let dialect = dialect_of(variables, mariadb);
    if !Parser::new(text, whole, dialect)
        .and_then(changes_rows)
        .unwrap_or(false)
    {
        return Vec::new();
    }
    let tables = match find(text, whole, dialect) {
        Ok(Touched::Tables(tables) | Touched::Update(tables)) => tables,
        _ => Vec::new(),
    };
    let reader = Reader { text, database };
    let names = tables.iter().map(|table| reader.name(table));
    names.filter_map(Result::ok).collect()
}

/// A table's former name and its new one, named as in [`TemporaryTableChange`].
pub type Rename = (Box<[u8]>, Box<[u8]>);

/// The tables that a `RENAME TABLE` renames, in its order; none for another statement, or if it cannot be read with certainty.
pub fn renamed_tables(
    text: &[u8],
    database: &[u8],
    variables: &StatusVariables,
    mariadb: bool,
) -> Vec<Rename> {
    let reader = Reader { text, database };
    let read = Parser::new(text, true, dialect_of(variables, mariadb))
        .and_then(|mut parser| reader.renamed(&mut parser));
    read.unwrap_or_default()
}

struct Reader<'a> {
    text: &'a [u8],
    database: &'a [u8],
}

impl Reader<'_> {
    fn change(&self, parser: &mut Parser<'_>) -> Result<Option<TemporaryTableChange>, Unclear> {
        if parser.accept("CREATE")? {
            return self.create(parser);
        }
        if parser.accept("DROP")? {
            return self.drop(parser);
        }
        if parser.accept("ALTER")? {
            parser.skip_all(&["ONLINE", "OFFLINE", "IGNORE"])?;
            if !parser.accept_any(&["TABLE", "SEQUENCE"])? {
                return Ok(None);
            }
            parser.accept_if_exists()?;
            let from = parser.table()?;
            // Without RENAME the table keeps its name.
            return match parser.skip_to(&["RENAME"]) {
                Ok(()) => self.renamed_in_alter(from, parser),
                Err(_) => Ok(None),
            };
        }
        if parser.accept("RENAME")? && parser.accept_any(&["TABLE", "TABLES"])? {
            parser.accept_if_exists()?;
            let from = parser.table()?;
            parser.skip_to(&["TO"])?;
            parser.take()?;
            let to = parser.table()?;
            return match parser.accept_symbol(b',')? {
                true => Err(Unclear::Syntax), // A temporary table may be one of several.
                false => Ok(Some(TemporaryTableChange::Renamed(
                    self.name(&from)?,
                    self.name(&to)?,
                ))),
            };
        }
        Ok(None)
    }

    fn create(&self, parser: &mut Parser<'_>) -> Result<Option<TemporaryTableChange>, Unclear> {
        let mut may_exist = parser.accept("OR")?;
        if may_exist {
            parser.expect("REPLACE")?;
        }
        if !parser.accept("TEMPORARY")? {
            return Ok(None);
        }
        if !parser.accept_any(&["TABLE", "SEQUENCE"])? {
            return Err(Unclear::Syntax);
        }
        may_exist |= parser.accept_if_exists()?;
        let table = self.name(&parser.table()?)?;
        Ok(Some(TemporaryTableChange::Created { table, may_exist }))
    }

    fn drop(&self, parser: &mut Parser<'_>) -> Result<Option<TemporaryTableChange>, Unclear> {
        parser.accept("TEMPORARY")?;
        if !parser.accept_any(&["TABLE", "TABLES", "SEQUENCE"])? {
            return Ok(None);
        }
        parser.accept_if_exists()?;
        let tables = parser.tables()?;
        let names = tables.iter().map(|table| self.name(table));
        Ok(Some(TemporaryTableChange::Dropped {
            tables: names.collect::<Result<_, _>>()?,
            at_session_end: self.text.starts_with(AT_SESSION_END),
        }))
    }

    fn renamed_in_alter(
        &self,
        from: TableName,
        parser: &mut Parser<'_>,
    ) -> Result<Option<TemporaryTableChange>, Unclear> {
        parser.take()?;
        if parser.accept_any(&["COLUMN", "INDEX", "KEY"])? {
            return match parser.skip_to(&["RENAME"]) {
                Ok(()) => self.renamed_in_alter(from, parser),
                Err(_) => Ok(None),
            };
        }
        parser.accept_any(&["TO", "AS"])?;
        parser.accept_symbol(b'=')?;
        let to = parser.table()?;
        let (from, to) = (self.name(&from)?, self.name(&to)?);
        Ok(Some(TemporaryTableChange::Renamed(from, to)))
    }

    fn renamed(&self, parser: &mut Parser<'_>) -> Result<Vec<Rename>, Unclear> {
        let mut renamed = Vec::new();
        if !parser.accept("RENAME")? || !parser.accept_any(&["TABLE", "TABLES"])? {
            return Ok(renamed);
        }
        parser.accept_if_exists()?;
        loop {
            let from = parser.table()?;
            parser.skip_to(&["TO"])?;
            parser.take()?;
            let to = parser.table()?;
            renamed.push((self.name(&from)?, self.name(&to)?));
            if !parser.accept_symbol(b',')? {
                return Ok(renamed);
            }
        }
    }

    /// A table's full name, as the servers with lower_case_table_names compare it.
    fn name(&self, table: &TableName) -> Result<Box<[u8]>, Unclear> {
        let database = table.database.as_deref().unwrap_or(self.database);
        let name = [database, b".", &table.table].concat();
        match name.len() > NAME_LEN_MAX {
            true => Err(Unclear::Syntax),
            false => Ok(name.to_ascii_lowercase().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Option<TemporaryTableChange> {
        let variables = StatusVariables::default();
        temporary_table_change(text.as_bytes(), true, b"Test", &variables, true)
    }

    fn name(name: &str) -> Box<[u8]> {
        name.as_bytes().into()
    }

    #[test]
    fn statements_that_create_temporary_tables() {
        for (text, table, may_exist) in [
            ("create temporary table T (a int)", "test.t", false),
            (
                "CREATE TEMPORARY TABLE IF NOT EXISTS `o``x`.`t t` SELECT 1",
                "o`x.t t",
                true,
            ),
            (
                "CREATE OR REPLACE TEMPORARY TABLE t ENGINE=MyISAM",
                "test.t",
                true,
            ),
            ("CREATE TEMPORARY SEQUENCE s", "test.s", false),
        ] {
            let table = name(table);
            let expected = Some(TemporaryTableChange::Created { table, may_exist });
            assert_eq!(change(text), expected, "{text}");
        }
        assert_eq!(change("CREATE TABLE t (a int)"), None);
        assert_eq!(change("INSERT INTO t SELECT * FROM temporary"), None);
    }

    #[test]
    fn statements_that_drop_temporary_tables() {
        let dropped = |tables: &[&str], at_session_end| {
            let tables = tables.iter().map(|table| name(table)).collect();
            Some(TemporaryTableChange::Dropped {
                tables,
                at_session_end,
            })
        };
        for (text, expected) in [
            ("DROP TEMPORARY TABLE t", dropped(&["test.t"], false)),
            ("drop table t, o.u", dropped(&["test.t", "o.u"], false)),
            (
                "DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `t2`,`tt`",
                dropped(&["test.t2", "test.tt"], true),
            ),
            (
                "DROP TEMPORARY TABLE IF EXISTS `test`.`tt` /* generated by server */",
                dropped(&["test.tt"], false),
            ),
            ("DROP DATABASE t", None),
        ] {
            assert_eq!(change(text), expected, "{text}");
        }
    }

    #[test]
    fn tables_that_a_statement_changes() {
        let variables = StatusVariables::default();
        let changed = |text: &str| changed_tables(text.as_bytes(), true, b"test", &variables, true);
        assert_eq!(changed("INSERT INTO T SELECT * FROM u"), [name("test.t")]);
        assert_eq!(changed("UPDATE o.t SET a = 1"), [name("o.t")]);
        for text in [
            "SET a = 1",
            "CREATE TABLE t (a INT)",
            "CREATE OR REPLACE TABLE t (a INT)",
            "RENAME TABLE t TO u",
            "DROP TABLE t",
            "ALTER TABLE t ADD b INT",
        ] {
            assert!(changed(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn statements_that_rename_temporary_tables() {
        let renamed = Some(TemporaryTableChange::Renamed(
            name("test.t"),
            name("test.u"),
        ));
        for text in [
            "ALTER TABLE t RENAME u",
            "ALTER TABLE t ADD COLUMN (b int), RENAME COLUMN a TO c, RENAME TO u",
            "RENAME TABLE t TO u",
        ] {
            assert_eq!(change(text), renamed, "{text}");
        }
        assert_eq!(change("ALTER TABLE t ADD b INT"), None);
    }

    #[test]
    fn renamed_tables_are_in_the_order_of_the_statement() {
        let renamed = |text: &str| {
            let variables = StatusVariables::default();
            renamed_tables(text.as_bytes(), b"test", &variables, true)
        };
        let pair = |from: &str, to: &str| (name(from), name(to));
        assert_eq!(
            renamed("/* c */ RENAME TABLES IF EXISTS T WAIT 5 TO tmp, tmp TO o.T"),
            [pair("test.t", "test.tmp"), pair("test.tmp", "o.t")]
        );
        for text in [
            "ALTER TABLE t RENAME u",
            "RENAME USER a TO b",
            "RENAME TABLE t",
        ] {
            assert!(renamed(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_statement_that_cannot_be_read_is_unclear() {
        let unclear = Some(TemporaryTableChange::Unclear);
        assert_eq!(change("CREATE TEMPORARY 'x"), unclear);
        assert_eq!(change("RENAME TABLE t TO u, v TO w"), unclear);
        assert_eq!(change("DROP TABLE"), unclear);
    }
}
