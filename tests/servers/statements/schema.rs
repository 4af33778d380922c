//! `information_schema`: its tables, and as the default database.

use super::rule::Rule::{self, Alike, Equal, FirstColumns, Here, SameNames};

/// The last ones choose the database, so they must be the last of all.
pub const STATEMENTS: &[(&str, Rule)] = &[
    (
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE table_schema = 'nosuch'",
        Equal,
    ),
    (
        "SELECT * FROM information_schema.TABLES WHERE table_schema = 'nosuch'",
        FirstColumns("MariaDB has more columns"),
    ),
    (
        "SELECT * FROM information_schema.COLUMNS WHERE table_schema = 'nosuch'",
        FirstColumns("MariaDB, and MySQL 5.7 and later have more columns"),
    ),
    (
        "SELECT * FROM information_schema.STATISTICS WHERE table_schema = 'nosuch'",
        FirstColumns("newer versions have more columns"),
    ),
    (
        "SELECT * FROM information_schema.KEY_COLUMN_USAGE WHERE table_schema = 'nosuch'",
        Equal,
    ),
    (
        "SELECT * FROM information_schema.PLUGINS WHERE plugin_name = 'nosuch'",
        FirstColumns("MariaDB has more columns"),
    ),
    (
        "SELECT schema_name AS name FROM information_schema.SCHEMATA WHERE schema_name LIKE 'information%'",
        Equal,
    ),
    (
        "SELECT * FROM information_schema.SCHEMATA WHERE schema_name = 'information_schema'",
        Equal,
    ),
    (
        "SELECT p.id AS id, p.time AS t FROM information_schema.PROCESSLIST p WHERE p.id = CONNECTION_ID() ORDER BY \
         p.time DESC, 1 LIMIT 1",
        Alike,
    ),
    (
        "SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE id = CONNECTION_ID() ORDER BY NULL",
        Equal,
    ),
    (
        "SELECT VARIABLE_VALUE FROM INFORMATION_SCHEMA.GLOBAL_VARIABLES WHERE VARIABLE_NAME = 'log_bin'",
        Equal,
    ),
    (
        "SELECT VARIABLE_NAME FROM INFORMATION_SCHEMA.GLOBAL_STATUS WHERE VARIABLE_NAME IN ('UPTIME', \
         'threads_running') ORDER BY VARIABLE_NAME DESC",
        Equal,
    ),
    (
        "SELECT VARIABLE_NAME FROM INFORMATION_SCHEMA.GLOBAL_STATUS g JOIN INFORMATION_SCHEMA.GLOBAL_VARIABLES v",
        Equal,
    ),
    ("DESCRIBE information_schema.PROCESSLIST", Alike),
    ("SHOW COLUMNS FROM information_schema.INNODB_CMP", SameNames),
    (
        "SHOW FULL COLUMNS FROM information_schema.PROCESSLIST WHERE Field = 'USER' AND Collation LIKE 'utf8mb3%'",
        Alike,
    ),
    (
        "SHOW FULL COLUMNS FROM information_schema.PROCESSLIST WHERE Field = 'USER' AND Collation LIKE \
         'utf8%general_ci' AND `Null` = 'NO'",
        Alike,
    ),
    ("SELECT @@character_set_system", Equal),
    (
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE id = CONNECTION_ID() GROUP BY user, host",
        Equal,
    ),
    (
        "SELECT SUM(schema_name) FROM information_schema.SCHEMATA WHERE schema_name LIKE 'information%'",
        Here(0, "a sum of texts is a DOUBLE on servers"),
    ),
    (
        "SELECT 1 AS n FROM information_schema.SCHEMATA CROSS JOIN information_schema.PROCESSLIST LIMIT 1",
        Equal,
    ),
    (
        "SHOW FULL COLUMNS FROM PROCESSLIST FROM information_schema LIKE 'ID'",
        Alike,
    ),
    ("DESCRIBE information_schema.NOSUCH", Equal),
    ("USE INFORMATION_SCHEMA", Equal),
    ("SELECT DATABASE()", Equal),
    ("SHOW TABLES LIKE 'PROCESSLIST'", Equal),
    ("SELECT COUNT(*) FROM PROCESSLIST WHERE id = 0", Equal),
    ("SELECT 1 FROM nosuch", Equal),
    (
        "SELECT db, command FROM PROCESSLIST WHERE id = CONNECTION_ID()",
        Equal,
    ),
    ("DESCRIBE PROCESSLIST", Alike),
    ("DESC nosuch", Equal),
    ("USE nosuch", Equal),
    ("SELECT DATABASE()", Equal),
];
