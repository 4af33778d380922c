//! The tables of `information_schema`: those that monitoring tools and clients read.

use super::process_list;
use super::sql_errors::no_such_table;
use super::statement_context::StatementContext;
use super::status_counters;
use super::value::Value;
use super::variables;
use crate::binlog::format_description::version_numbers;
use crate::flavor::Flavor;
use crate::protocol::ServerError;

/// The only database.
pub const SCHEMA: &str = "information_schema";
/// "The feature is disabled; see the documentation".
const ER_FEATURE_DISABLED_SEE_DOC: u16 = 3167;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub sql_type: &'static str,
    /// Whether it can be NULL.
    pub is_nullable: bool,
}

const fn column(name: &'static str, sql_type: &'static str) -> SchemaColumn {
    SchemaColumn {
        name,
        sql_type,
        is_nullable: false,
    }
}

const fn nullable(name: &'static str, sql_type: &'static str) -> SchemaColumn {
    SchemaColumn {
        name,
        sql_type,
        is_nullable: true,
    }
}

/// How the rows of a table are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// There are none: the relay has no tables of users, and no plugins.
    Nothing,
    Processes,
    Schemata,
    Variables,
    Counters,
}

/// A table.
#[derive(Debug, Clone)]
pub struct SchemaTable {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: Vec<SchemaColumn>,
    content: Content,
}

const PROCESSLIST: [SchemaColumn; 8] = {
    let [id, user, host, db, command, time, state, info] = process_list::COLUMNS;
    [
        column(id, "bigint unsigned"),
        column(user, "varchar(32)"),
        column(host, "varchar(261)"),
        nullable(db, "varchar(64)"),
        column(command, "varchar(16)"),
        column(time, "int"),
        nullable(state, "varchar(64)"),
        nullable(info, "longtext"),
    ]
};
const INNODB_CMP: [SchemaColumn; 6] = [
    column("page_size", "int"),
    column("compress_ops", "int"),
    column("compress_ops_ok", "int"),
    column("compress_time", "int"),
    column("uncompress_ops", "int"),
    column("uncompress_time", "int"),
];
const INNODB_CMPMEM: [SchemaColumn; 6] = [
    column("page_size", "int"),
    column("buffer_pool_instance", "int"),
    column("pages_used", "int"),
    column("pages_free", "int"),
    column("relocation_ops", "bigint"),
    column("relocation_time", "int"),
];
const SCHEMATA: [SchemaColumn; 5] = [
    column("CATALOG_NAME", "varchar(512)"),
    column("SCHEMA_NAME", "varchar(64)"),
    column("DEFAULT_CHARACTER_SET_NAME", "varchar(64)"),
    column("DEFAULT_COLLATION_NAME", "varchar(64)"),
    nullable("SQL_PATH", "varchar(512)"),
];
const NAMED_VALUES: [SchemaColumn; 2] = [
    column("VARIABLE_NAME", "varchar(64)"),
    nullable("VARIABLE_VALUE", "varchar(2048)"),
];
/// The names of those of the empty tables; the columns that all servers have.
const COLUMNS: [&str; 20] = [
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "COLUMN_NAME",
    "ORDINAL_POSITION",
    "COLUMN_DEFAULT",
    "IS_NULLABLE",
    "DATA_TYPE",
    "CHARACTER_MAXIMUM_LENGTH",
    "CHARACTER_OCTET_LENGTH",
    "NUMERIC_PRECISION",
    "NUMERIC_SCALE",
    "DATETIME_PRECISION",
    "CHARACTER_SET_NAME",
    "COLLATION_NAME",
    "COLUMN_TYPE",
    "COLUMN_KEY",
    "EXTRA",
    "PRIVILEGES",
    "COLUMN_COMMENT",
];
const KEY_COLUMN_USAGE: [&str; 12] = [
    "CONSTRAINT_CATALOG",
    "CONSTRAINT_SCHEMA",
    "CONSTRAINT_NAME",
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "COLUMN_NAME",
    "ORDINAL_POSITION",
    "POSITION_IN_UNIQUE_CONSTRAINT",
    "REFERENCED_TABLE_SCHEMA",
    "REFERENCED_TABLE_NAME",
    "REFERENCED_COLUMN_NAME",
];
const PLUGINS: [&str; 11] = [
    "PLUGIN_NAME",
    "PLUGIN_VERSION",
    "PLUGIN_STATUS",
    "PLUGIN_TYPE",
    "PLUGIN_TYPE_VERSION",
    "PLUGIN_LIBRARY",
    "PLUGIN_LIBRARY_VERSION",
    "PLUGIN_AUTHOR",
    "PLUGIN_DESCRIPTION",
    "PLUGIN_LICENSE",
    "LOAD_OPTION",
];
const STATISTICS: [&str; 16] = [
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "NON_UNIQUE",
    "INDEX_SCHEMA",
    "INDEX_NAME",
    "SEQ_IN_INDEX",
    "COLUMN_NAME",
    "COLLATION",
    "CARDINALITY",
    "SUB_PART",
    "PACKED",
    "NULLABLE",
    "INDEX_TYPE",
    "COMMENT",
    "INDEX_COMMENT",
];
const TABLES: [&str; 21] = [
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "TABLE_TYPE",
    "ENGINE",
    "VERSION",
    "ROW_FORMAT",
    "TABLE_ROWS",
    "AVG_ROW_LENGTH",
    "DATA_LENGTH",
    "MAX_DATA_LENGTH",
    "INDEX_LENGTH",
    "DATA_FREE",
    "AUTO_INCREMENT",
    "CREATE_TIME",
    "UPDATE_TIME",
    "CHECK_TIME",
    "TABLE_COLLATION",
    "CHECKSUM",
    "CREATE_OPTIONS",
    "TABLE_COMMENT",
];

/// Where servers show variables in `information_schema`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VariableTables {
    Served,
    /// MySQL 5.7, unless a variable is set.
    Disabled,
    /// MySQL 8.0 and later.
    Removed,
}

fn variable_tables(context: &StatementContext<'_>) -> VariableTables {
    let numbers = version_numbers(context.relay.version);
    match context.relay.flavor {
        Flavor::MySql if numbers >= (8, 0, 0) => VariableTables::Removed,
        Flavor::MySql if numbers >= (5, 7, 6) => VariableTables::Disabled,
        _ => VariableTables::Served,
    }
}

/// All tables, by name.
pub fn all(context: &StatementContext<'_>) -> Vec<SchemaTable> {
    let table = |name, columns: &[SchemaColumn], content| SchemaTable {
        name,
        columns: columns.to_vec(),
        content,
    };
    let empty = |name, columns: &[&'static str]| SchemaTable {
        name,
        columns: columns
            .iter()
            .map(|name| nullable(name, "varchar(512)"))
            .collect(),
        content: Content::Nothing,
    };
    let mut schemata = table("SCHEMATA", &SCHEMATA, Content::Schemata);
    schemata.columns.extend(last_of_schemata(context));
    let mut tables = vec![
        empty("COLUMNS", &COLUMNS),
        table("INNODB_CMP", &INNODB_CMP, Content::Nothing),
        table("INNODB_CMPMEM", &INNODB_CMPMEM, Content::Nothing),
        empty("KEY_COLUMN_USAGE", &KEY_COLUMN_USAGE),
        empty("PLUGINS", &PLUGINS),
        table("PROCESSLIST", &PROCESSLIST, Content::Processes),
        schemata,
        empty("STATISTICS", &STATISTICS),
        empty("TABLES", &TABLES),
    ];
    if variable_tables(context) == VariableTables::Served {
        for (name, content) in [
            ("GLOBAL_STATUS", Content::Counters),
            ("GLOBAL_VARIABLES", Content::Variables),
            ("SESSION_STATUS", Content::Counters),
            ("SESSION_VARIABLES", Content::Variables),
        ] {
            tables.push(table(name, &NAMED_VALUES, content));
        }
    }
    tables.sort_by_key(|table| table.name);
    tables
}

fn last_of_schemata(context: &StatementContext<'_>) -> Option<SchemaColumn> {
    let numbers = version_numbers(context.relay.version);
    match context.relay.flavor {
        Flavor::MySql => {
            (numbers >= (8, 0, 16)).then_some(column("DEFAULT_ENCRYPTION", "varchar(3)"))
        }
        Flavor::MariaDb => {
            (numbers >= (10, 5, 0)).then_some(column("SCHEMA_COMMENT", "varchar(1024)"))
        }
    }
}

/// A table by its name, ignoring case; `schema` is empty where the statement names none.
///
/// # Errors
/// It does not exist.
pub fn find(
    context: &StatementContext<'_>,
    schema: &str,
    name: &str,
) -> Result<SchemaTable, ServerError> {
    let schema = match (schema, context.variables.database) {
        ("", Some(database)) => database,
        _ => schema,
    };
    if !schema.eq_ignore_ascii_case(SCHEMA) {
        return Err(no_such_table(schema, name));
    }
    let mut tables = all(context).into_iter();
    if let Some(table) = tables.find(|table| table.name.eq_ignore_ascii_case(name)) {
        return Ok(table);
    }
    let upper = name.to_ascii_uppercase();
    let is_disabled = matches!(
        upper.as_str(),
        "GLOBAL_STATUS" | "GLOBAL_VARIABLES" | "SESSION_STATUS" | "SESSION_VARIABLES"
    );
    if is_disabled && variable_tables(context) == VariableTables::Disabled {
        let text = format!(
            "The 'INFORMATION_SCHEMA.{upper}' feature is disabled; see the documentation for \
             'show_compatibility_56'"
        );
        return Err(ServerError::new(ER_FEATURE_DISABLED_SEE_DOC, text));
    }
    Err(no_such_table(schema, name))
}

impl SchemaTable {
    /// Whether it never has rows.
    pub fn is_always_empty(&self) -> bool {
        self.content == Content::Nothing
    }

    /// The rows; `statement` is the caller's own.
    pub fn rows(&self, context: &StatementContext<'_>, statement: &str) -> Vec<Vec<Value>> {
        match self.content {
            Content::Nothing => Vec::new(),
            Content::Processes => {
                let rows = process_list::rows(context, statement).into_iter();
                rows.map(Vec::from).collect()
            }
            Content::Schemata => vec![schemata(context, self.columns.len())],
            Content::Variables => {
                let all = variables::all(&context.relay, context.variables);
                let shown = all.iter().map(|variable| {
                    let name = variable.name.to_ascii_uppercase();
                    vec![
                        Value::Text(name),
                        Value::Text(variables::shown_value(variable)),
                    ]
                });
                shown.collect()
            }
            Content::Counters => {
                let all = status_counters::all(context).into_iter();
                all.map(|(name, value)| {
                    vec![Value::Text(name.to_ascii_uppercase()), Value::Text(value)]
                })
                .collect()
            }
        }
    }
}

/// The row of the only database.
fn schemata(context: &StatementContext<'_>, count: usize) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    let set = variables::system_character_set(&context.relay);
    let last = match context.relay.flavor {
        Flavor::MySql => "NO",
        Flavor::MariaDb => "",
    };
    let mut row = vec![
        text("def"),
        text(SCHEMA),
        text(set),
        Value::Text(format!("{set}_general_ci")),
        Value::Null,
        text(last),
    ];
    row.truncate(count);
    row
}
