//! A server's answer to a statement, as a client sees it.

use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row, Value};

/// The type of a column, as clients distinguish them. `Null`: of a column that has no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Integer,
    Decimal,
    Real,
    Time,
    Text,
    Null,
}

/// Columns and rows, or the error's code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    Rows(Vec<(String, Family)>, Vec<Vec<Option<String>>>),
    Error(u16),
}

impl Answered {
    /// Whether the columns are the same, or the error.
    pub fn is_alike(&self, other: &Answered) -> bool {
        match (self, other) {
            (Answered::Rows(ours, _), Answered::Rows(theirs, _)) => {
                ours.len() == theirs.len() && self.begins(other)
            }
            _ => self == other,
        }
    }

    /// Whether the columns are the first ones of the other's.
    pub fn begins(&self, other: &Answered) -> bool {
        let is_same = |(a, b): (&(String, Family), &(String, Family))| {
            a.0 == b.0 && (a.1 == b.1 || a.1 == Family::Null || b.1 == Family::Null)
        };
        match (self, other) {
            (Answered::Rows(ours, _), Answered::Rows(theirs, _)) => {
                ours.len() <= theirs.len() && ours.iter().zip(theirs).all(is_same)
            }
            _ => false,
        }
    }

    /// The rows; none for an error.
    pub fn rows(&self) -> &[Vec<Option<String>>] {
        match self {
            Answered::Rows(_, rows) => rows,
            Answered::Error(_) => &[],
        }
    }

    /// The values of the first column, in order; empty for an error.
    pub fn first_column(&self) -> Vec<Option<&str>> {
        let mut values: Vec<_> = self.rows().iter().map(|row| row[0].as_deref()).collect();
        values.sort();
        values
    }

    pub fn outline(&self) -> String {
        match self {
            Answered::Error(code) => format!("error {code}"),
            Answered::Rows(columns, rows) => {
                let names = self.first_column();
                format!(
                    "{columns:?}, {} rows: {:?} {names:?}",
                    rows.len(),
                    rows.first()
                )
            }
        }
    }
}

fn family(column_type: ColumnType) -> Family {
    use ColumnType::*;
    match column_type {
        MYSQL_TYPE_TINY | MYSQL_TYPE_SHORT | MYSQL_TYPE_LONG | MYSQL_TYPE_LONGLONG
        | MYSQL_TYPE_INT24 => Family::Integer,
        MYSQL_TYPE_DECIMAL | MYSQL_TYPE_NEWDECIMAL => Family::Decimal,
        MYSQL_TYPE_FLOAT | MYSQL_TYPE_DOUBLE => Family::Real,
        MYSQL_TYPE_DATETIME | MYSQL_TYPE_TIMESTAMP | MYSQL_TYPE_DATETIME2 => Family::Time,
        MYSQL_TYPE_NULL => Family::Null,
        _ => Family::Text,
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(format!("{other:?}")),
    }
}

pub async fn ask(conn: &mut Conn, statement: &str) -> Answered {
    let mut result = match conn.query_iter(statement).await {
        Ok(result) => result,
        Err(Error::Server(error)) => return Answered::Error(error.code),
        Err(error) => panic!("{statement}: {error}"),
    };
    let columns = result
        .columns()
        .map(|columns| columns.to_vec())
        .unwrap_or_default();
    let rows: Vec<Row> = match result.collect().await {
        Ok(rows) => rows,
        Err(Error::Server(error)) => return Answered::Error(error.code),
        Err(error) => panic!("{statement}: {error}"),
    };
    let rows: Vec<Vec<Option<String>>> = rows
        .into_iter()
        .map(|row| row.unwrap().into_iter().map(text).collect())
        .collect();
    let with_family = columns.iter().enumerate().map(|(index, column)| {
        let is_null = rows.iter().all(|row| row[index].is_none());
        let found = match is_null {
            true => Family::Null,
            false => family(column.column_type()),
        };
        (column.name_str().into_owned(), found)
    });
    Answered::Rows(with_family.collect(), rows)
}
